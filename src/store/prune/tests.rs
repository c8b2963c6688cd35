//! Time is moved by passing it in; documents come as the pipeline commits them.

use chrono::TimeDelta;

use super::*;
use crate::dedup;
use crate::item::Entry;
use crate::schedule::History;
use crate::store::{FeedSpec, Health, Hub, Intake, Judged, Origin, Poll, PollCounts, Raised, Settled};

const KEEP: Keep = Keep {
    items: Duration::from_secs(30 * 86_400),
    alerts: Duration::from_secs(60 * 86_400),
    seen: Duration::from_secs(90 * 86_400),
    stories: Duration::from_secs(17 * 86_400),
};

struct Fixture {
    store: Store,
    now: DateTime<Utc>,
    dir: tempfile::TempDir,
}

fn entry(number: usize) -> Entry {
    Entry {
        guid: Some(format!("urn:item:{number}")),
        title: format!("Item {number}"),
        link: Some(format!("https://news.example/{number}")),
        summary: "Envoys of both sides met on the island for a second day and left without a word to the press. "
            .repeat(4),
        published: None,
        updated: None,
        authors: vec![],
        categories: vec![],
        language: None,
    }
}

impl Fixture {
    /// A store with two feeds, and the one sink there always is.
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        // Years pass here: the disk need not keep up.
        store.connection.pragma_update(None, "synchronous", "OFF").unwrap();
        let spec =
            |name: &str| FeedSpec { url: format!("https://{name}.example/"), title: None, tags: vec![], floor_s: None };
        store.add_feeds(&[spec("a"), spec("b")]).unwrap();
        store.sync_sinks(&[("output".into(), "file".into())]).unwrap();
        Self { store, now: DateTime::from_timestamp(1_790_000_000, 0).unwrap(), dir }
    }

    fn pass(&mut self, days: i64) {
        self.now += TimeDelta::days(days);
    }

    /// A document of `feed` that lists these items.
    fn document(&mut self, feed: i64, items: impl Iterator<Item = usize>) -> PollCounts {
        let sorted = dedup::sort(items.map(entry).collect(), "https://a.example/", Default::default(), self.now);
        let intake = Intake { candidates: sorted.candidates, rejected: 0, policy: sorted.policy };
        let history = History { last_document: Some(self.now), ..History::default() };
        let health = Health {
            status: Some(200),
            error: None,
            errors_in_row: 0,
            validators: None,
            next_poll: Some(self.now),
            history: history.to_json(),
            hub: Hub::Unknown,
            moved_to: None,
            penalty: None,
        };
        let poll = Poll { feed, at: self.now, origin: Origin::Live, health: Some(health), own_title: None, intake };
        self.store.commit_polls(&[poll]).unwrap()[0]
    }

    /// Judges what waits; each `nth` item is an alert.
    fn judge(&mut self, nth: i64) {
        let judged: Vec<Judged> = self
            .store
            .pending(10_000)
            .unwrap()
            .iter()
            .map(|pending| Judged {
                row: pending.row,
                score: Some(0.5),
                alert: (pending.row % nth == 0).then(|| Raised::alone(pending.item.id, "{}".repeat(500))),
            })
            .collect();
        self.store.commit_verdicts(&judged, self.now).unwrap();
    }

    fn deliver(&mut self) {
        let cursor = self.count("SELECT coalesce(max(seq), 0) FROM outbox");
        self.store.settle("output", &Settled { cursor, taken: 1, parked: vec![] }, self.now).unwrap();
    }

    fn count(&self, sql: &str) -> i64 {
        self.store.connection.query_row(sql, [], |row| row.get(0)).unwrap()
    }

    /// Prunes until the hand has gone round and nothing is left to forget.
    fn prune(&mut self) -> Pruned {
        let (mut all, mut hand) = (Pruned::default(), Hand::default());
        loop {
            let (pruned, next) = self.store.prune(&KEEP, hand, self.now).unwrap();
            all.add(pruned);
            hand = next;
            if hand == Hand::default() && pruned == Pruned::default() {
                return all;
            }
        }
    }
}

#[test]
fn items_go_by_age_then_alerts_then_what_was_known_of_them() {
    let mut fixture = Fixture::new();
    fixture.document(1, 0..10);
    fixture.judge(2);
    fixture.deliver();
    assert_eq!(fixture.prune(), Pruned::default());
    fixture.pass(31);
    fixture.document(1, 10..11);
    assert_eq!(
        fixture.prune(),
        Pruned { items: 5, alerts: 0, keys: 0, stories: 5 },
        "an item stays as long as its alert"
    );
    fixture.pass(30);
    assert_eq!(
        fixture.prune(),
        Pruned { items: 4, alerts: 4, keys: 0, stories: 0 },
        "the newest alert stays, and its item"
    );
    fixture.pass(60);
    fixture.document(1, 11..12);
    assert_eq!(fixture.prune().keys, 9 * 3, "three keys of each item whose row is gone");
    assert_eq!(fixture.document(1, 0..1).new, 1);
}

#[test]
fn what_waits_stays_whatever_its_age() {
    let mut fixture = Fixture::new();
    fixture.document(1, 0..4);
    fixture.pass(400);
    assert_eq!(fixture.prune(), Pruned::default(), "no verdict yet");
    fixture.judge(1);
    fixture.pass(400);
    assert_eq!(fixture.prune(), Pruned { stories: 4, ..Pruned::default() }, "not delivered yet");
}

#[test]
fn an_item_is_known_as_long_as_its_feed_may_list_it() {
    let mut fixture = Fixture::new();
    fixture.document(1, 0..10);
    fixture.judge(1000);
    // A year of "not modified", of errors, or of sleep: no document says that the items are gone.
    fixture.pass(365);
    assert_eq!(fixture.prune().keys, 0);
    assert_eq!(fixture.document(1, 0..11).new, 1, "only the eleventh");
    // From now on the feed lists something else.
    fixture.pass(89);
    fixture.document(1, 20..21);
    assert_eq!(fixture.prune().keys, 0);
    fixture.pass(2);
    fixture.document(1, 20..21);
    fixture.judge(1000);
    assert!(fixture.prune().keys >= 9 * 3);
}

#[test]
fn another_feed_that_listed_an_item_last_keeps_it_known() {
    let mut fixture = Fixture::new();
    fixture.document(1, 0..5);
    fixture.judge(1000);
    fixture.pass(2);
    assert_eq!(fixture.document(2, 0..5).duplicate, 5);
    for _ in 0..20 {
        fixture.pass(10);
        fixture.document(1, 50..51);
        fixture.judge(1000);
        fixture.prune();
    }
    assert_eq!(fixture.document(2, 0..5).duplicate, 5, "the second feed was silent and lists them still");
}

#[test]
fn a_feed_that_is_no_longer_watched_keeps_nothing() {
    let mut fixture = Fixture::new();
    fixture.document(1, 0..5);
    fixture.judge(1000);
    fixture.store.remove_feed("https://a.example/").unwrap();
    fixture.pass(91);
    assert_eq!(fixture.prune().keys, 4 * 3, "the newest item stays, and its keys");
}

#[test]
fn the_number_of_the_newest_item_is_not_given_away_again() {
    let mut fixture = Fixture::new();
    fixture.document(1, 0..3);
    fixture.judge(1000);
    fixture.pass(40);
    fixture.prune();
    assert_eq!(fixture.count("SELECT max(id) FROM item"), 3);
    fixture.document(1, 3..4);
    assert_eq!(fixture.count("SELECT max(id) FROM item"), 4);
}

/// A small year: the file stops growing once the longest age is reached. `cargo bench --bench retention` is the large one.
#[test]
fn a_year_of_constant_flow_ends_as_large_as_its_first_months() {
    const A_DAY: usize = 40;
    let mut fixture = Fixture::new();
    let mut sizes = Vec::new();
    for day in 0..365 {
        // A feed lists two days' items.
        fixture.document(1, day * A_DAY..(day + 2) * A_DAY);
        fixture.judge(10);
        fixture.deliver();
        fixture.prune();
        fixture.pass(1);
        sizes.push(fixture.count("SELECT (SELECT page_count FROM pragma_page_count) * 4096"));
    }
    assert!(sizes[364] * 10 <= sizes[130] * 11, "{} bytes after 130 days, {} after a year", sizes[130], sizes[364]);
    let kept = (fixture.count("SELECT count(*) FROM item"), fixture.count("SELECT count(*) FROM seen"));
    assert!(kept.0 < 40 * A_DAY as i64 && kept.1 < 3 * 95 * A_DAY as i64, "{kept:?}");
    assert!(fixture.dir.path().join("demarche.sqlite").exists());
    assert_eq!(fixture.document(1, 364 * A_DAY..366 * A_DAY).new, 0);
}
