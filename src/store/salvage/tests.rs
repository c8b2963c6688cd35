//! Whatever page is damaged: nothing that feeds still list is lost, and nothing that is in the alert file comes again.

use std::collections::BTreeMap;
use std::os::unix::fs::FileExt;

use super::*;
use crate::dedup;
use crate::item::Entry;
use crate::store::{FeedOrigin, FeedSpec, Intake, Judged, Origin, Poll, Raised, Settled};

const FEED: &str = "https://a.example/";
const ITEMS: usize = 60;
const PAGE: u64 = 4096;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn spec() -> FeedSpec {
    FeedSpec { url: FEED.into(), title: None, tags: vec![], floor_s: None }
}

fn open(dir: &Path) -> Store {
    let store = Store::open(dir).unwrap();
    store.connection.pragma_update(None, "synchronous", "OFF").unwrap();
    store
}

/// As at the start of a run.
fn start(store: &mut Store) {
    store.sync_feeds(&[spec()], FeedOrigin::Config).unwrap();
    store.sync_sinks(&[("output".into(), "file".into())]).unwrap();
}

fn poll(store: &mut Store) {
    let entry = |number: usize| Entry {
        guid: Some(format!("urn:item:{number}")),
        title: format!("Item {number}"),
        link: Some(format!("{FEED}{number}")),
        summary: "They met again. ".repeat(20),
        ..Entry::default()
    };
    let sorted = dedup::sort((0..ITEMS).map(entry).collect(), FEED, Default::default(), now());
    let feed = store.due_feeds(now(), None, &[], 1).unwrap()[0].id;
    let intake = Intake { candidates: sorted.candidates, rejected: 0, policy: sorted.policy };
    let poll = Poll { feed, at: now(), origin: Origin::Live, health: None, own_title: None, intake };
    store.commit_polls(&[poll]).unwrap();
}

/// Judges up to `most` items: those with an even number in their title are alerts.
fn judge(store: &mut Store, most: usize) {
    let judged = |pending: &crate::store::Pending| {
        let number: usize = pending.item.entry.title.trim_start_matches("Item ").parse().unwrap();
        let alert = number.is_multiple_of(2).then(|| Raised::alone(pending.item.id, "x".repeat(400)));
        Judged { row: pending.row, score: Some(0.5), alert }
    };
    let judged: Vec<Judged> = store.pending(most).unwrap().iter().map(judged).collect();
    store.commit_verdicts(&judged, now()).unwrap();
}

/// Writes up to `most` of what waits into `file`, as the sink does: what stands there is not written again.
fn deliver(store: &mut Store, file: &mut BTreeMap<Identity, usize>, most: usize) {
    let cursor = store.sink("output").unwrap().unwrap().cursor;
    let waiting = store.waiting(cursor, most).unwrap();
    for alert in &waiting {
        let id = alert.alert_id.parse().unwrap();
        *file.entry(id).or_insert(0) += 1;
    }
    let Some(last) = waiting.last() else { return };
    store.settle("output", &Settled { cursor: last.seq, taken: 1, parked: vec![] }, now()).unwrap();
}

#[test]
fn whatever_page_is_damaged_nothing_is_lost_and_nothing_comes_twice() {
    let origin = tempfile::tempdir().unwrap();
    let mut store = open(origin.path());
    store.add_feeds(&[FeedSpec { url: "https://added.example/".into(), ..spec() }]).unwrap();
    start(&mut store);
    poll(&mut store);
    judge(&mut store, 2 * ITEMS / 3);
    let mut before = BTreeMap::new();
    deliver(&mut store, &mut before, ITEMS / 6);
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    drop(store);
    let pages = std::fs::metadata(origin.path().join(DATABASE)).unwrap().len() / PAGE;
    assert!(pages > 20, "{pages}");
    let mut kept_feeds = 0;
    for page in 0..pages {
        let dir = tempfile::tempdir().unwrap();
        std::fs::copy(origin.path().join(DATABASE), dir.path().join(DATABASE)).unwrap();
        let file = std::fs::File::options().write(true).open(dir.path().join(DATABASE)).unwrap();
        file.write_all_at(&[0xA5; PAGE as usize], page * PAGE).unwrap();
        let alerted: HashSet<Identity> = before.keys().copied().collect();
        let (mut store, salvaged) = Store::salvage(dir.path(), &alerted, now()).unwrap();
        assert!(salvaged.aside.exists());
        kept_feeds += usize::from(store.feeds(false).unwrap().iter().any(|feed| feed.url == "https://added.example/"));
        let mut file = before.clone();
        start(&mut store);
        poll(&mut store);
        judge(&mut store, 10 * ITEMS);
        deliver(&mut store, &mut file, 10 * ITEMS);
        let twice = file.values().filter(|count| **count > 1).count();
        assert_eq!((file.len(), twice), (ITEMS / 2, 0), "page {page} of {pages}: {salvaged:?}");
        assert_eq!(store.connection.query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0)).unwrap(), "ok");
    }
    // Lost only with the page that they are on, or the one that says where tables are.
    assert!(kept_feeds as u64 + 8 >= pages, "{kept_feeds} of {pages}");
}

#[test]
fn what_is_no_database_at_all_is_set_aside_with_its_log() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join(DATABASE), "this is a letter to an aunt ".repeat(1000)).unwrap();
    assert!(Store::open(dir.path()).unwrap_err().is_damage());
    std::fs::write(dir.path().join("demarche.sqlite-wal"), "so is this").unwrap();
    let first = Store::salvage(dir.path(), &HashSet::new(), now()).unwrap().1.aside;
    assert!(first.file_name().unwrap().to_str().unwrap() == "demarche-damaged-20260921T141320Z.sqlite", "{first:?}");
    assert!(std::fs::read_to_string(&first).unwrap().starts_with("this is a letter"));
    assert!(std::fs::exists(format!("{}-wal", first.display())).unwrap());
    let second = Store::salvage(dir.path(), &HashSet::new(), now()).unwrap().1.aside;
    assert_ne!(first, second);
}

#[test]
fn what_stands_in_the_log_alone_is_read_too() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = open(dir.path());
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    start(&mut store);
    poll(&mut store);
    // As a killed process leaves it.
    std::mem::forget(store);
    let (store, salvaged) = Store::salvage(dir.path(), &HashSet::new(), now()).unwrap();
    assert_eq!(store.pending_count().unwrap(), ITEMS, "{salvaged:?}");
}
