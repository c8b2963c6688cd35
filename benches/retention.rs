//! A year of constant flow, in moved time: how large the state database grows, and what pruning costs.
//!
//! `cargo bench --bench retention -- [ITEMS A DAY]`. Ages and step sizes are those of the shipped configuration.

use std::path::Path;
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use demarche::config::load;
use demarche::dedup;
use demarche::item::Entry;
use demarche::schedule::History;
use demarche::store::{
    FeedSpec, Hand, Health, Hub, Intake, Judged, Keep, Origin, Poll, Raised, Settled, Store, StoreError,
};

/// A middling desk: some 400 feeds of 25 items a day.
const ITEMS_A_DAY: usize = 10_000;

/// Documents a day: so many commits of items, verdicts and deliveries.
const DOCUMENTS: usize = 100;

/// One item in so many is an alert.
const ALERTS: i64 = 20;

/// As a lead paragraph has it.
const SUMMARY: &str = "Envoys of both sides met on the island for a second day and left without a word to the press, while \
    mediators said that the question of prisoners was nearer to an answer than that of the harbour. ";

fn main() -> Result<(), StoreError> {
    let items = std::env::args().filter_map(|arg| arg.parse().ok()).next().unwrap_or(ITEMS_A_DAY);
    let config = load(None, []).expect("the defaults").config;
    let keep = config.state.keep(config.stories.window);
    let dir = tempfile::tempdir().expect("a temporary directory");
    let mut store = Store::open(dir.path())?;
    store.add_feeds(&[FeedSpec { url: "https://a.example/".into(), title: None, tags: vec![], floor_s: None }])?;
    store.sync_sinks(&[("output".into(), "file".into())])?;
    let mut now = DateTime::from_timestamp(1_790_000_000, 0).expect("a time");
    let (mut pruning, mut steps) = (Duration::ZERO, 0_u32);
    println!("{items} items a day, one in {ALERTS} an alert");
    for day in 1..=365 {
        flow(&mut store, day, items, now)?;
        let started = Instant::now();
        steps += prune(&mut store, &keep, now)?;
        pruning += started.elapsed();
        now += TimeDelta::days(1);
        if day % 30 == 0 || day == 365 {
            println!("day {day:3}: {:7.1} MiB", size(dir.path()) as f64 / f64::from(1 << 20));
        }
    }
    println!("pruning: {} steps, {:.2} ms each", steps, pruning.as_secs_f64() * 1e3 / f64::from(steps));
    Ok(())
}

/// A day's items through both boundaries and out.
fn flow(store: &mut Store, day: usize, items: usize, now: DateTime<Utc>) -> Result<(), StoreError> {
    let a_document = items / DOCUMENTS;
    for document in 0..DOCUMENTS {
        let first = day * items + document * a_document;
        store.commit_polls(&[poll((first..first + a_document).map(entry).collect(), now)])?;
        let judged: Vec<Judged> = store
            .pending(items)?
            .iter()
            .map(|pending| Judged {
                row: pending.row,
                score: Some(0.1),
                alert: (pending.row % ALERTS == 0).then(|| Raised::alone(pending.item.id, SUMMARY.repeat(10))),
            })
            .collect();
        store.commit_verdicts(&judged, now)?;
    }
    let cursor = store.sink("output")?.map_or(0, |sink| sink.cursor + sink.waiting as i64);
    store.settle("output", &Settled { cursor, taken: 1, parked: vec![] }, now)
}

fn poll(entries: Vec<Entry>, now: DateTime<Utc>) -> Poll {
    let sorted = dedup::sort(entries, "https://a.example/", Default::default(), now);
    let health = Health {
        status: Some(200),
        error: None,
        errors_in_row: 0,
        validators: None,
        next_poll: Some(now),
        history: History { last_document: Some(now), ..History::default() }.to_json(),
        hub: Hub::Unknown,
        moved_to: None,
        penalty: None,
    };
    let intake = Intake { candidates: sorted.candidates, rejected: 0, policy: sorted.policy };
    Poll { feed: 1, at: now, origin: Origin::Live, health: Some(health), own_title: None, intake }
}

fn entry(number: usize) -> Entry {
    Entry {
        guid: Some(format!("urn:item:{number}")),
        title: format!("Item {number}: talks on the harbour go into another week"),
        link: Some(format!("https://news.example/world/2026/{number}-talks-on-the-harbour")),
        summary: SUMMARY.repeat(3),
        published: None,
        updated: None,
        authors: vec!["A. Reporter".into()],
        categories: vec!["world".into(), "diplomacy".into()],
        language: Some("en".into()),
    }
}

/// A day's pruning: once round the keys, and on until nothing is old. Returns the steps it took.
fn prune(store: &mut Store, keep: &Keep, now: DateTime<Utc>) -> Result<u32, StoreError> {
    let (mut hand, mut steps) = (Hand::default(), 0);
    loop {
        let (pruned, next) = store.prune(keep, hand, now)?;
        (hand, steps) = (next, steps + 1);
        if hand == Hand::default() && pruned.items + pruned.alerts == 0 {
            return Ok(steps);
        }
    }
}

/// The database with its log.
fn size(dir: &Path) -> u64 {
    let files = std::fs::read_dir(dir).expect("the state directory").filter_map(Result::ok);
    files.filter_map(|file| file.metadata().ok()).map(|file| file.len()).sum()
}
