//! `demarche feeds check`: fetch feeds now and report what is found. Nothing of it is stored but the time of the check.

use std::collections::BTreeMap;
use std::io::Write;
use std::time::Duration;

use anyhow::Context;
use chrono::{DateTime, Utc};
use clap::Args;
use futures_util::StreamExt;
use serde::Serialize;
use url::Url;

use super::exit::UsageError;
use super::feeds::feeds;
use super::flow::block_on;
use super::setup::{Setup, address, credentials};
use super::{Exit, table};
use crate::alert::public_url;
use crate::fetch::{Credential, Fetcher, Outcome, Request, Validators};
use crate::item::{Document, Format, PollHints};
use crate::parse::{self, parse};
use crate::schedule::{self, History, Terms, Why};
use crate::store::{FeedRow, Store};

/// Arguments of `feeds check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// Addresses; they need not be in the list.
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    urls: Vec<String>,
    /// Every feed in the list.
    #[arg(long)]
    all: bool,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

/// What a check found.
#[derive(Debug, Default, Serialize)]
struct Finding {
    url: String,
    status: Option<u16>,
    /// Where it was found, if redirects led elsewhere.
    found_at: Option<String>,
    format: Option<Format>,
    title: Option<String>,
    entries: Option<usize>,
    newest: Option<DateTime<Utc>>,
    validators: bool,
    /// Seconds that server and document ask for, by name.
    declared_s: BTreeMap<&'static str, u64>,
    /// Seconds between polls that follow from it all, without jitter.
    interval_s: Option<u64>,
    why: Option<Why>,
    problems: Vec<String>,
}

/// A feed to check, and what the state knows of it.
struct Subject {
    url: String,
    known: Option<FeedRow>,
}

pub(super) fn run(setup: &Setup, args: &CheckArgs) -> anyhow::Result<Exit> {
    let subjects = subjects(setup, args)?;
    let checker = Checker {
        setup,
        fetcher: Fetcher::new(&setup.config().fetch)?,
        credentials: credentials(&setup.loaded)?,
        started: Utc::now(),
    };
    let findings = block_on(async { Ok(checker.all(subjects).await) })?;
    show(&findings, args.json)?;
    let failed = findings.iter().filter(|finding| finding.entries.is_none() && finding.status != Some(304)).count();
    Ok(match failed {
        0 => Exit::Ok,
        n if n == findings.len() => Exit::Failed,
        _ => Exit::Partly,
    })
}

/// What to check, less what was fetched a moment ago.
fn subjects(setup: &Setup, args: &CheckArgs) -> anyhow::Result<Vec<Subject>> {
    let now = Utc::now();
    let mut known = feeds(setup, true)?;
    let cool = |row: &FeedRow| {
        let last = row.last_poll.max(row.last_check)?;
        let left = setup.config().schedule.manual_cooldown.checked_sub((now - last).to_std().unwrap_or_default())?;
        Some(Duration::from_secs(left.as_secs() + 1))
    };
    if args.all {
        known.retain(|row| row.active && row.gone.is_none() && cool(row).is_none());
        return Ok(known.into_iter().map(|row| Subject { url: row.url.clone(), known: Some(row) }).collect());
    }
    let mut subjects = Vec::new();
    for url in &args.urls {
        let url = address(url)?;
        let row = known.iter().position(|row| row.url == url).map(|at| known.swap_remove(at));
        if let Some(left) = row.as_ref().and_then(cool) {
            let left = humantime_serde::re::humantime::format_duration(left);
            let message =
                format!("check {}: it was fetched a moment ago; let it cool down for {left}", public_url(&url));
            return Err(UsageError(message).into());
        }
        subjects.push(Subject { url, known: row });
    }
    let mut store = Store::open(&setup.state)?;
    subjects.iter().try_for_each(|subject| store.checked(&subject.url, now))?;
    Ok(subjects)
}

struct Checker<'a> {
    setup: &'a Setup,
    fetcher: Fetcher,
    credentials: std::collections::HashMap<String, Credential>,
    started: DateTime<Utc>,
}

impl Checker<'_> {
    /// Checks several hosts at once, the feeds of one host one after the other.
    async fn all(&self, subjects: Vec<Subject>) -> Vec<Finding> {
        let mut hosts: BTreeMap<String, Vec<Subject>> = BTreeMap::new();
        for subject in subjects {
            let host = Url::parse(&subject.url).map(|url| schedule::host(&url)).unwrap_or_default();
            hosts.entry(host).or_default().push(subject);
        }
        let concurrency = self.setup.config().fetch.concurrency.max(1);
        let work = hosts.into_values().map(|subjects| self.host(subjects));
        let mut findings: Vec<Finding> = futures_util::stream::iter(work)
            .buffer_unordered(concurrency)
            .flat_map(futures_util::stream::iter)
            .collect()
            .await;
        findings.sort_by(|a, b| a.url.cmp(&b.url));
        findings
    }

    async fn host(&self, subjects: Vec<Subject>) -> Vec<Finding> {
        let mut findings = Vec::new();
        for (position, subject) in subjects.into_iter().enumerate() {
            if position > 0 {
                tokio::time::sleep(self.setup.config().schedule.host_gap).await;
            }
            findings.push(self.one(&subject).await);
        }
        findings
    }

    async fn one(&self, subject: &Subject) -> Finding {
        let mut finding = Finding { url: public_url(&subject.url), ..Finding::default() };
        let row = subject.known.as_ref();
        let polled = row.and_then(|row| row.moved_to.as_deref()).unwrap_or(&subject.url);
        let Ok(url) = Url::parse(polled) else { return finding };
        let validators: Validators = row
            .and_then(|row| row.validators.as_deref())
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let request = Request { url: &url, validators: &validators, credential: self.credentials.get(&subject.url) };
        match self.fetcher.fetch(&request, self.started).await {
            Err(error) => {
                finding.status = error.status();
                finding.problems.push(format!("{}: {error}", error.class()));
            }
            Ok(answer) => self.answered(&mut finding, subject, &url, answer),
        }
        finding
    }

    fn answered(&self, finding: &mut Finding, subject: &Subject, url: &Url, answer: crate::fetch::Answer) {
        let row = subject.known.as_ref();
        let mut history = History::from_json(row.and_then(|row| row.history.as_deref()));
        finding.status = Some(answer.status);
        finding.validators = !answer.validators.is_empty();
        if answer.final_url.as_str() != public_url(url.as_str()) {
            finding.found_at = Some(answer.final_url.to_string());
        }
        if let Some(new) = &answer.permanent_redirect {
            finding.problems.push(format!("it has moved for good: list it as {new}"));
        }
        if let Outcome::Fresh { body, content_type } = &answer.outcome {
            let context = parse::Context { content_type: content_type.as_deref(), url: Some(&answer.final_url) };
            match parse(body, &context) {
                Ok(document) => finding.document(&document, &mut history),
                Err(error) => finding.problems.push(error.to_string()),
            }
        }
        finding.declare(&history.hints, answer.not_before);
        history.validators |= finding.validators;
        history.polled.get_or_insert(self.started);
        if !history.validators {
            finding.problems.push("it gives no ETag or Last-Modified: every poll transfers the whole of it".into());
        }
        let floor = row.and_then(|row| row.floor_s).map(Duration::from_secs);
        let terms = Terms { floor, ..Terms::default() };
        let (interval, why) =
            schedule::interval(&self.setup.config().schedule, terms, &history, answer.not_before, self.started);
        (finding.interval_s, finding.why) = (Some(interval.as_secs()), Some(why));
        finding.flags(&history, self.started);
    }
}

impl Finding {
    fn document(&mut self, document: &Document, history: &mut History) {
        self.format = Some(document.format);
        self.title.clone_from(&document.title);
        self.entries = Some(document.entries.len());
        self.newest = document.entries.iter().filter_map(|entry| entry.published.or(entry.updated)).max();
        history.hints = document.hints.clone();
        if document.entries.is_empty() {
            self.problems.push("it has no entries".into());
        } else if self.newest.is_none() {
            self.problems.push("its entries have no dates: the time of first sight counts".into());
        }
        if history.per_day == 0.0 {
            history.per_day = per_day(document);
        }
    }

    fn declare(&mut self, hints: &PollHints, not_before: Option<Duration>) {
        let declared = [
            ("cache", not_before.map(|left| left.as_secs())),
            ("ttl", hints.ttl_min.map(|minutes| u64::from(minutes) * 60)),
            ("sy", hints.sy_period_s.map(u64::from)),
        ];
        self.declared_s.extend(declared.into_iter().filter_map(|(name, seconds)| Some((name, seconds?))));
    }

    fn flags(&mut self, history: &History, now: DateTime<Utc>) {
        if history.is_silent_zero() {
            self.problems.push("its entries have vanished after weeks with some (silent zero)".into());
        }
        if history.is_stale(now) {
            self.problems.push("it is silent far beyond its habit (stale)".into());
        }
    }

    fn row(&self) -> [String; 8] {
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".into());
        let spoken =
            |seconds: u64| humantime_serde::re::humantime::format_duration(Duration::from_secs(seconds)).to_string();
        let declared: Vec<String> =
            self.declared_s.iter().map(|(name, seconds)| format!("{name} {}", spoken(*seconds))).collect();
        [
            or_dash(self.status.map(|status| status.to_string())),
            or_dash(self.format.map(|format| table::word(&format))),
            or_dash(self.entries.map(|entries| entries.to_string())),
            or_dash(self.newest.map(|newest| newest.format("%Y-%m-%d %H:%M").to_string())),
            or_dash(Some(declared.join(", ")).filter(|text| !text.is_empty())),
            or_dash(self.interval_s.map(spoken)),
            self.url.clone(),
            self.problems.join("; "),
        ]
    }
}

/// Items a day by the dates of the document; the schedule learns the true rate by polling.
fn per_day(document: &Document) -> f64 {
    let dates: Vec<DateTime<Utc>> = document.entries.iter().filter_map(|entry| entry.published).collect();
    match (dates.iter().min(), dates.iter().max()) {
        (Some(first), Some(last)) if last > first => {
            dates.len() as f64 * 86_400.0 / (*last - *first).num_seconds() as f64
        }
        _ => 1.0,
    }
}

fn show(findings: &[Finding], json: bool) -> anyhow::Result<()> {
    if json {
        let mut out = std::io::stdout().lock();
        for finding in findings {
            writeln!(out, "{}", serde_json::to_string(finding)?).context("write to standard output")?;
        }
        return Ok(());
    }
    let rows: Vec<[String; 8]> = findings.iter().map(Finding::row).collect();
    let headings = ["status", "format", "entries", "newest", "declared", "polled every", "feed", "problems"];
    Ok(table::print(headings, &rows)?)
}
