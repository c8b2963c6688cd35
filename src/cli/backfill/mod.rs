//! `demarche backfill`: history through the same pipeline.

mod days;
mod table;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use chrono::Utc;
use clap::Args;
use futures_util::FutureExt;
use tokio::sync::Mutex;

use super::exit::UsageError;
use super::flow::{FlowArgs, block_on, drive};
use super::setup::{Setup, credentials, setup};
use super::{Common, Exit};
use crate::backfill::{Caps, FieldMap, Limits, Pages, Plan, Rules, Source, Web, Window, Work, read_sources};
use crate::classify::Prefilter;
use crate::fetch::Fetcher;
use crate::item::Identity;
use crate::pipeline::{Flow, History, Mode, Rejects, Stages, Totals, feed_history};
use crate::schedule::HostGate;
use crate::store::{Resume, Store};

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
    /// Read the snapshots of each feed in the Wayback Machine ([backfill] wayback) instead of the feed.
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
    /// Write what cannot be read to this file, a JSON line each, with its place.
    #[arg(long, value_name = "FILE")]
    rejects: Option<PathBuf>,
    /// Pieces parsed at once; as many as there are processors if left out.
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

pub(super) fn run(common: &Common, args: BackfillArgs) -> anyhow::Result<Exit> {
    let mut setup = setup(common)?;
    args.flow.lay_over(&mut setup)?;
    if args.json && setup.config().output.file.as_os_str() == "-" {
        return Err(UsageError("print the counts: --json and --out - both want standard output".into()).into());
    }
    let _lock = Store::lock(&setup.state)?;
    match args.dry_run {
        false => once(&setup, &args),
        true => {
            // On a copy of the state: what is known counts, and nothing is left behind.
            let copy = tempfile::tempdir().context("make a temporary directory")?;
            Store::open(&setup.state)?.copy_to(copy.path())?;
            setup.state = copy.path().to_owned();
            setup.loaded.config.output.file = "dry-run.jsonl".into();
            setup.loaded.config.sink.clear();
            once(&setup, &args)
        }
    }
}

/// One backfill on the state of `setup`.
fn once(setup: &Setup, args: &BackfillArgs) -> anyhow::Result<Exit> {
    let backfill = Backfill::new(args)?;
    let mut store = Store::open(&setup.state)?;
    if args.restart {
        store.forget_history(backfill.run)?;
    }
    let resume = store.begin_history(backfill.run, Utc::now())?;
    let totals =
        block_on(drive(setup, store, Mode::Once, |flow, stop| Ok(backfill.stages(setup, args, &resume, flow, stop)?)))?;
    let mut store = Store::open(&setup.state)?;
    let report = backfill.close(&mut store, &totals)?;
    let file = if args.dry_run { Path::new("nowhere (dry run)").to_owned() } else { setup.alert_file() };
    report.show(args.json, &file)?;
    Ok(report.exit())
}

struct Backfill {
    run: Identity,
    sources: Vec<Source>,
}

impl Backfill {
    fn new(args: &BackfillArgs) -> anyhow::Result<Self> {
        let sources = args.sources.iter().map(|text| Source::parse(text).map_err(UsageError));
        let sources = sources.collect::<Result<Vec<_>, _>>()?;
        let mut key: Vec<String> = sources.iter().map(Source::key).collect();
        key.push(format!("{:?}", (args.since, args.until, &args.field, args.pages, args.wayback)));
        let key: Vec<&str> = key.iter().map(String::as_str).collect();
        Ok(Self { run: Identity::of(&key), sources })
    }

    fn stages(
        &self,
        setup: &Setup,
        args: &BackfillArgs,
        resume: &Resume,
        flow: Flow,
        stop: &tokio_util::sync::CancellationToken,
    ) -> anyhow::Result<Stages> {
        let config = setup.config();
        let prefilter = Prefilter::new(&config.model, &flow.scorer.model(), flow.rule.threshold)?;
        let work = Work {
            fields: FieldMap::new(&args.field).map_err(UsageError)?,
            window: Window { since: args.since, until: args.until },
            prefilter,
            keep_rejects: args.rejects.is_some(),
        };
        let bytes = |size: bytesize::ByteSize| usize::try_from(size.as_u64()).unwrap_or(usize::MAX);
        let backfill = &config.backfill;
        let caps = Caps { size: backfill.max_unpacked.as_u64(), ratio: backfill.max_ratio };
        let plan = Plan {
            sources: self.sources.clone(),
            limits: Limits { record: bytes(backfill.max_record), document: bytes(backfill.max_document), caps },
            jobs: args.jobs.map_or_else(jobs, usize::from),
            limit: args.limit,
            resume: resume.sources.clone(),
            web: self.sources.iter().any(|source| source.feeds().is_some()).then(|| web(setup, args)).transpose()?,
        };
        let rejects = args.rejects.as_deref().filter(|_| !args.dry_run);
        let rejects = rejects.map(|path| Rejects::open(path, resume.rejects)).transpose()?;
        let history = History { run: self.run, rejects, taken: Box::new(|_, _| {}) };
        let (work, stopping) = (Arc::new(work), stop.clone());
        Ok(feed_history(flow, history, |batches| read_sources(plan, work, batches, stopping).boxed(), stop))
    }

    /// What the backfill came to; one that has come to its end is forgotten.
    fn close(&self, store: &mut Store, totals: &Totals) -> anyhow::Result<table::Report> {
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
        let report = table::Report { rows: rows.collect(), totals: *totals };
        if report.done() {
            store.forget_history(self.run)?;
        }
        Ok(report)
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

fn jobs() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
