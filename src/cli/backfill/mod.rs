//! `demarche backfill`: history through the same pipeline.

mod days;
mod progress;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use futures_util::FutureExt;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use progress::Live;

use super::exit::UsageError;
use super::flow::{FlowArgs, Session, block_on, drive};
use super::setup::{Setup, credentials, setup};
use super::{Common, Exit, state};
use crate::backfill::{
    Caps, Digest, FieldMap, Limits, Pages, Plan, Rules, Source, Web, Window, Work, read_sources, sort_into,
};
use crate::fetch::Fetcher;
use crate::item::Identity;
use crate::pipeline::{Flow, History, Mode, Rejects, Stages, Totals, feed_history};
use crate::schedule::HostGate;
use crate::store::{Batch, Resume, SourceCounts, Store};

/// Arguments of `backfill`.
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  \
    demarche backfill archive/ --state ./history --out history.jsonl\n  \
    demarche backfill CC-NEWS-20240501.warc.gz --since 2024-05-01 --rejects rejects.jsonl --state ./history\n  \
    zcat items.jsonl.gz | demarche backfill - --field title=headline --dry-run --state ./history\n\n\
    A run that was broken off goes on where it was when the same command is given again.")]
pub struct BackfillArgs {
    /// Addresses of feeds and sitemaps, OPML files, files, directories, patterns, `-` for standard input: feeds, JSON and JSONL of items, CSV and TSV, WARC, GDELT's knowledge
    /// graph and article lists, exports of feed readers, news sitemaps, packed (gz, zst, bz2, zip, tar) or not.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<String>,
    /// Only what was published from this day (UTC) or time on.
    #[arg(long, value_name = "DATE", value_parser = days::since)]
    since: Option<chrono::DateTime<Utc>>,
    /// Only what was published up to this day, with it, or this time.
    #[arg(long, value_name = "DATE", value_parser = days::until)]
    until: Option<chrono::DateTime<Utc>>,
    /// How older pages of a feed are asked for where it names none itself.
    #[arg(long, value_enum, default_value = "auto", value_name = "HOW")]
    pages: Pages,
    /// Read the snapshots of each feed in the Wayback Machine (`backfill.wayback`) instead of the feed.
    #[arg(long)]
    wayback: bool,
    /// Stop after so many items.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// What a field of JSON objects or a column of tables is, such as title=headline or published=meta.date; the usual names are
    /// known.
    #[arg(long, value_name = "FIELD=NAME")]
    field: Vec<String>,
    /// Count what a run would find; nothing is written or remembered.
    #[arg(long)]
    dry_run: bool,
    /// Write what cannot be read to this file, a JSON line each, with its place; a dry run only counts it.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Write the alerts by published time, once all sources are read, instead of as they come.
    #[arg(long)]
    sort: bool,
    /// Write what was found to this file as one page: alerts by time, stage, story and feed.
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
    /// Pieces parsed at once; if left out as many as there are processors, and one more where the linear model scores alone.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=512))]
    jobs: Option<u16>,
    /// Start anew although an earlier run was broken off.
    #[arg(long)]
    restart: bool,
    /// Print the closing counts as one JSON object on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flow: FlowArgs,
}

impl BackfillArgs {
    /// What cannot be meant.
    fn check(&self) -> anyhow::Result<()> {
        let refuse = |what: &str| Err(UsageError(what.into()).into());
        match (self.since, self.until) {
            (Some(since), Some(until)) if since >= until => refuse("read from --since on: it is later than --until"),
            _ if self.limit == Some(0) => refuse("stop after no items: --limit takes 1 or more"),
            _ => Ok(()),
        }
    }

    /// The sources. One that is not there does not keep the others from being read: it is told of in its place.
    fn sources(&self) -> anyhow::Result<Vec<Source>> {
        let parsed: Vec<Result<Source, String>> = self.sources.iter().map(|text| Source::parse(text)).collect();
        let others = parsed.iter().any(Result::is_ok);
        let named = self.sources.iter().zip(parsed);
        let source = |(text, parsed): (&String, Result<Source, String>)| match parsed {
            Err(_) if others && !text.contains("://") => Ok(Source::path(text)),
            parsed => parsed.map_err(|error| UsageError(error).into()),
        };
        named.map(source).collect()
    }

    /// The files that this run writes, and its state: not to be read as history.
    fn own(&self, setup: &Setup) -> Vec<PathBuf> {
        let written = [self.rejects.clone(), self.report.clone(), Some(setup.alert_file()), Some(setup.state.clone())];
        written.into_iter().flatten().filter_map(|path| std::path::absolute(path).ok()).collect()
    }
}

/// Refuses a source that would be written over.
fn spare(sources: &[Source], own: &[PathBuf]) -> anyhow::Result<()> {
    let real = |path: &Path| std::fs::canonicalize(path).ok();
    for source in sources {
        let Source::Path(path) = source else { continue };
        if path.is_file() && own.iter().any(|own| own == path || (real(own).is_some() && real(own) == real(path))) {
            let name = source.name();
            return Err(UsageError(format!("read {name}: this run would write to it; name another file")).into());
        }
    }
    Ok(())
}

pub(super) fn run(common: &Common, args: BackfillArgs) -> anyhow::Result<Exit> {
    let mut setup = setup(common)?;
    args.flow.lay_over(&mut setup)?;
    if args.json && setup.config().output.file.as_os_str() == "-" {
        return Err(UsageError("print the counts: --json and --out - both want standard output".into()).into());
    }
    args.check()?;
    // A rehearsal has another state, and the same files to keep from reading.
    let own = args.own(&setup);
    if args.dry_run {
        return rehearse(&mut setup, &args, &own);
    }
    let _lock = Store::lock(&setup.state)?;
    once(&mut setup, &args, &own)
}

/// On a copy of the state, if there is any: what is known counts, and nothing is left behind.
fn rehearse(setup: &mut Setup, args: &BackfillArgs, own: &[PathBuf]) -> anyhow::Result<Exit> {
    let copy = tempfile::tempdir().context("make a temporary directory")?;
    let lock = Store::is_in(&setup.state).then(|| Store::lock(&setup.state)).transpose()?;
    if lock.is_some() {
        state::open(setup)?.copy_to(copy.path())?;
    }
    setup.state = copy.path().to_owned();
    setup.loaded.config.output.file = "dry-run.jsonl".into();
    setup.loaded.config.sink.clear();
    once(setup, args, own)
}

/// One backfill on the state of `setup`.
fn once(setup: &mut Setup, args: &BackfillArgs, own: &[PathBuf]) -> anyhow::Result<Exit> {
    let backfill = Backfill::new(args)?;
    spare(&backfill.sources, own)?;
    if let Some(page) = &args.report {
        // That it cannot be written is to be known before hours of reading.
        let opened = std::fs::File::options().create(true).append(true).open(page);
        opened.with_context(|| format!("write {}", page.display()))?;
    }
    let mut store = state::open(setup)?;
    if args.restart {
        store.forget_history(backfill.run)?;
    }
    let resume = store.begin_history(backfill.run, Utc::now())?;
    let out = setup.alert_file();
    // One that was begun with --sort has alerts waiting to be sorted, whatever it goes on with.
    let unsorted = backfill.unsorted(setup)?;
    let sort = args.sort || unsorted.exists();
    if sort {
        setup.loaded.config.output.file = unsorted;
    }
    let setup = &*setup;
    let session = Session::quiet();
    let live = Live::new(&backfill.sources, &resume, session.tally.clone());
    let showing = live.show(&backfill.sources, setup.log.bars()).context("show the progress")?;
    let stages = |flow: Flow, stop: &CancellationToken| backfill.stages(setup, args, (&resume, own), &live, flow, stop);
    let totals = block_on(drive(session, setup, store, Mode::Once, stages))?;
    drop(showing);
    let mut store = state::open(setup)?;
    store.merge_keys()?;
    let report = backfill.table(&mut store, &totals)?;
    if sort && (report.done() || args.limit.is_some()) {
        sort_into(&setup.alert_file(), &out)?;
    }
    if let Some(page) = &args.report {
        backfill.page(&store, &report, page)?;
    }
    let shown = report.show(args.json, if args.dry_run { Path::new("nowhere (dry run)") } else { &out });
    // One that has come to its end and said so is forgotten: the next begins anew, and knows what it has read.
    if report.done() {
        store.forget_history(backfill.run)?;
    }
    shown?;
    Ok(report.exit(args.limit.is_some()))
}

struct Backfill {
    run: Identity,
    sources: Vec<Source>,
}

impl Backfill {
    fn new(args: &BackfillArgs) -> anyhow::Result<Self> {
        let sources = args.sources()?;
        let mut key: Vec<String> = sources.iter().map(Source::key).collect();
        key.push(format!("{:?}", (args.since, args.until, &args.field, args.pages, args.wayback)));
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        Ok(Self { run: Identity::of(&key), sources })
    }

    fn stages(
        &self,
        setup: &Setup,
        args: &BackfillArgs,
        (resume, own): (&Resume, &[PathBuf]),
        live: &Arc<Live>,
        flow: Flow,
        stop: &CancellationToken,
    ) -> anyhow::Result<Stages> {
        let config = setup.config();
        let work = Work {
            fields: FieldMap::new(&args.field).map_err(UsageError)?,
            window: Window { since: args.since, until: args.until },
            prefilter: flow.prefilter.clone(),
            keep_rejects: args.rejects.is_some(),
        };
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let backfill = &config.backfill;
        let caps = Caps { size: backfill.max_unpacked.as_u64(), ratio: backfill.max_ratio };
        let plan = Plan {
            sources: self.sources.clone(),
            limits: Limits { record: bytes(backfill.max_record), document: bytes(backfill.max_document), caps },
            jobs: args.jobs.map_or_else(|| jobs(config.model.is_quick()), usize::from),
            limit: args.limit,
            resume: resume.sources.clone(),
            own: own.to_vec(),
            web: self.sources.iter().any(|source| source.feeds().is_some()).then(|| web(setup, args)).transpose()?,
        };
        let rejects = args.rejects.as_deref().filter(|_| !args.dry_run);
        let rejects = rejects.map(|path| Rejects::open(path, resume.rejects)).transpose()?;
        let live = live.clone();
        let taken = Box::new(move |batch: &Batch, counts: &SourceCounts| live.taken(batch.source, counts, batch.done));
        let quick = config.model.is_quick();
        let history = History { run: self.run, rejects, taken, group: config.backfill.group, quick };
        let (work, stopping) = (Arc::new(work), stop.clone());
        Ok(feed_history(flow, history, |batches| read_sources(plan, work, batches, stopping).boxed(), stop))
    }

    /// Where alerts stand until they are sorted.
    fn unsorted(&self, setup: &Setup) -> anyhow::Result<PathBuf> {
        Ok(std::path::absolute(setup.state.join(format!("backfill-{}.jsonl", self.run)))?)
    }

    /// Writes the page.
    fn page(&self, store: &Store, report: &table::Report, path: &Path) -> anyhow::Result<()> {
        let mut digest = Digest::default();
        store.alerts_of_history(self.run, |line| digest.add(line))?;
        let sources: Vec<String> = self.sources.iter().map(Source::name).collect();
        let page = digest.html(&sources, report.read(), Utc::now());
        std::fs::write(path, page).with_context(|| format!("write {}", path.display()))
    }

    /// What the backfill came to.
    fn table(&self, store: &mut Store, totals: &Totals) -> anyhow::Result<table::Report> {
        let resume = store.begin_history(self.run, Utc::now())?;
        let judged = store.judged_history(self.run)?;
        let rows = self.sources.iter().enumerate().map(|(index, source)| {
            let state = resume.sources.get(&index).cloned().unwrap_or_default();
            table::Row {
                source: source.name(),
                done: state.done,
                counts: state.counts,
                judged: judged.get(&index).copied().unwrap_or_default(),
            }
        });
        Ok(table::Report { rows: rows.collect(), totals: *totals })
    }
}

/// How sources on the web are asked.
fn web(setup: &Setup, args: &BackfillArgs) -> anyhow::Result<Web> {
    let config = setup.config();
    let window = Window { since: args.since, until: args.until };
    let wayback = args.wayback.then(|| config.backfill.wayback.clone());
    Ok(Web {
        fetcher: Fetcher::new(&config.fetch)?,
        credentials: credentials(&setup.loaded)?,
        gate: Mutex::new(HostGate::new(config.schedule.host_concurrency, config.schedule.host_gap)),
        max_pages: config.backfill.max_pages,
        max_rest: config.backfill.max_rest,
        max_document: usize::try_from(config.backfill.max_document.as_u64()).unwrap_or(usize::MAX),
        rules: Rules { window, pages: args.pages, wayback },
    })
}

/// One for each processor, and one more where no transformer wants them: while one hands over, the next is at work.
fn jobs(quick: bool) -> usize {
    std::thread::available_parallelism().map_or(1, usize::from) + usize::from(quick)
}
