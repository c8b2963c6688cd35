//! `demarche run`: the daemon, or one round with `--once`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::UsageError;
use super::flow::{FlowArgs, Opened, Session, block_on};
use super::reload::{self, Reload};
use super::setup::{Setup, address, configured_feeds, credentials, read_opml, setup};
use super::state::Repairs;
use super::{Common, Exit, summary};
use crate::fetch::Fetcher;
use crate::pipeline::{Flow, Mode, Polling, Totals, live};
use crate::schedule::startup_spread;
use crate::store::{FeedOrigin, FeedSpec, Store};

/// Arguments of `run`.
#[derive(Debug, Default, Args)]
#[command(after_help = "Examples:\n  \
    demarche run --config /etc/demarche/demarche.toml\n  \
    demarche run --once --opml feeds.opml --state ./state --out alerts.jsonl\n  \
    demarche run --once --feed https://news.example/world.xml --state ./state --out - | jq .item.title")]
pub struct RunArgs {
    /// Poll everything that is due once, judge it, write the alerts, exit.
    #[arg(long)]
    pub once: bool,
    /// Watch this feed instead of the configured ones; may be repeated.
    #[arg(long, value_name = "URL", num_args = 1..)]
    pub feed: Vec<String>,
    /// Watch the feeds of this OPML file instead of the configured ones.
    #[arg(long, value_name = "FILE")]
    pub opml: Vec<PathBuf>,
    /// Poll every DURATION ("90s", "2h"), whatever floors and servers say: for tests and feeds of your own.
    #[arg(long, value_name = "DURATION", value_parser = humantime_serde::re::humantime::parse_duration)]
    pub interval: Option<Duration>,
    /// With --once: print the closing totals as one JSON object on standard output.
    #[arg(long, requires = "once")]
    pub json: bool,
    #[command(flatten)]
    pub flow: FlowArgs,
}

pub(super) fn run(common: &Common, args: RunArgs) -> anyhow::Result<Exit> {
    let mut setup = setup(common)?;
    args.flow.lay_over(&mut setup)?;
    if args.json && setup.config().output.file.as_os_str() == "-" {
        return Err(UsageError("print the totals: --json and --out - both want standard output".into()).into());
    }
    let _lock = Store::lock(&setup.state)?;
    raise_file_limit();
    let (totals, setup) = block_on(watch(common, &args, setup))?;
    summary::show(&totals, args.json, "feeds", &setup.alert_file())?;
    if args.once && totals.sources() == 0 {
        say_when(&setup)?;
    }
    Ok(if args.once { summary::exit(&totals) } else { Exit::Ok })
}

/// Nothing was due: floors and servers' hints hold across runs.
fn say_when(setup: &Setup) -> anyhow::Result<()> {
    let Some(next) = Store::open(&setup.state)?.next_due(Utc::now())? else { return Ok(()) };
    let next = next.format("%Y-%m-%d %H:%M UTC");
    Ok(writeln!(
        std::io::stderr(),
        "no feed was due; the next is at {next} (--interval polls feeds of your own sooner)"
    )?)
}

/// Runs over the configuration, and over the next one when a reload asks for it: the old run finishes what it has begun,
/// and the next goes on from the state directory. What cannot be run is refused, and the old configuration stays.
async fn watch(common: &Common, args: &RunArgs, mut setup: Setup) -> anyhow::Result<(Totals, Setup)> {
    let mut session = Session::default();
    let mut last: Option<Setup> = None;
    let mut repairs = Repairs::default();
    loop {
        let opened = open(&setup, args, &mut session).await;
        let (opened, polling) = match repairs.after(&setup, &session.stop, opened) {
            Ok(Some(ready)) => ready,
            Ok(None) => continue,
            Err(error) => match last.take() {
                Some(old) => {
                    reload::refused(&error);
                    setup = old;
                    continue;
                }
                None => return Err(error),
            },
        };
        let reload = Reload::new(common, args, &setup);
        let stages = |flow: Flow, stop: &CancellationToken| Ok(live(flow, polling, stop));
        let ended = session.run(&setup, opened, |handles| reload.hang_up(handles), stages).await;
        if repairs.after(&setup, &session.stop, ended)?.is_none() {
            continue;
        }
        match reload.next() {
            Some(next) if !session.stop.is_cancelled() => last = Some(std::mem::replace(&mut setup, next)),
            _ => return Ok((session.totals(), setup)),
        }
    }
}

/// Everything a run over `setup` needs.
async fn open(setup: &Setup, args: &RunArgs, session: &mut Session) -> anyhow::Result<(Opened, Polling)> {
    let config = setup.config();
    setup.log.set_level(&config.log.level)?;
    let mut store = Store::open(&setup.state)?;
    plan(&mut store, setup, args, named_feeds(args)?)?;
    let polling = Polling {
        fetcher: Arc::new(Fetcher::new(&config.fetch)?),
        credentials: credentials(&setup.loaded)?,
        outage: Mutex::default(),
        schedule: config.schedule.clone(),
        concurrency: config.fetch.concurrency,
        interval: args.interval,
        websub: config.websub.clone(),
        serve: config.serve,
        max_body: usize::try_from(config.fetch.max_body.as_u64()).unwrap_or(usize::MAX),
        started: Utc::now(),
    };
    let mode = if args.once { Mode::Once } else { Mode::Daemon };
    Ok((session.open(setup, store, mode).await?, polling))
}

/// Lets the process open as many files as it may: a round over thousands of hosts has a connection to each of the last
/// seconds' hosts, and the usual limit of 1,024 is there for programs that use `select`.
fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised =
        getrlimit(Resource::RLIMIT_NOFILE).and_then(|(_, most)| setrlimit(Resource::RLIMIT_NOFILE, most, most));
    if let Err(error) = raised {
        tracing::warn!(%error, "cannot raise the limit of open files; thousands of hosts at once may exceed it");
    }
}

/// The feeds of `--feed` and `--opml`; empty means the configured ones.
fn named_feeds(args: &RunArgs) -> anyhow::Result<Vec<FeedSpec>> {
    let mut feeds = Vec::new();
    for path in &args.opml {
        feeds.extend(read_opml(path)?);
    }
    for url in &args.feed {
        feeds.push(FeedSpec { url: address(url)?, title: None, tags: Vec::new(), floor_s: None });
    }
    Ok(feeds)
}

/// Brings the store's list of feeds in line with what this run is to watch.
fn plan(store: &mut Store, setup: &Setup, args: &RunArgs, named: Vec<FeedSpec>) -> anyhow::Result<()> {
    let only_named = !args.feed.is_empty() || !args.opml.is_empty();
    if !only_named {
        store.sync_feeds(&configured_feeds(&setup.loaded)?, FeedOrigin::Config)?;
    }
    store.sync_feeds(&named, FeedOrigin::Flag)?;
    store.watch(only_named.then_some(named.as_slice()))?;
    match args.interval {
        Some(interval) => store.override_interval(i64::try_from(interval.as_millis()).unwrap_or(i64::MAX))?,
        None if args.once => {}
        None => store.spread_overdue(Utc::now(), startup_spread)?,
    }
    if store.watched_feeds()? == 0 {
        return Err(UsageError(
            "find a feed to watch: name some with --feed or --opml, add some with `demarche feeds add URL`, or list \
             OPML files under [feeds] opml"
                .into(),
        )
        .into());
    }
    Ok(())
}
