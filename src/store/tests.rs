//! The store as a whole: what goes in once comes out once.

use chrono::{DateTime, Utc};
use proptest::prelude::*;

use super::*;
use crate::dedup::{self, IdentityPolicy};
use crate::item::Entry;

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

fn entry(guid: &str, link: &str, title: &str) -> Entry {
    Entry {
        guid: Some(guid.into()),
        title: title.into(),
        link: Some(link.into()),
        summary: String::new(),
        published: None,
        updated: None,
        authors: vec![],
        categories: vec![],
        language: None,
    }
}

struct Fixture {
    store: Store,
    feed: i64,
    _dir: tempfile::TempDir,
}

const FEED: &str = "https://news.example/feed.xml";

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.add_feeds(&[FeedSpec { url: FEED.into(), title: None, tags: vec![], floor_s: None }]).unwrap();
        let feed = store.due_feeds(now(), None, &[], 1).unwrap()[0].id;
        Self { store, feed, _dir: dir }
    }

    fn poll(&mut self, entries: Vec<Entry>) -> PollCounts {
        let known = self.policy();
        let sorted = dedup::sort(entries, FEED, known, now());
        let intake = Intake { candidates: sorted.candidates, rejected: sorted.rejected.len(), policy: sorted.policy };
        let poll = Poll { feed: self.feed, at: now(), origin: Origin::Live, health: None, own_title: None, intake };
        self.store.commit_polls(&[poll]).unwrap()[0]
    }

    fn policy(&self) -> IdentityPolicy {
        self.store.feeds(true).unwrap()[0].identity
    }

    fn judge_all(&mut self, alert: bool) -> Vec<i64> {
        let pending = self.store.pending(1000).unwrap();
        let judged: Vec<Judged> = pending
            .iter()
            .map(|p| Judged {
                row: p.row,
                score: Some(0.5),
                alert: alert.then(|| Raised::alone(p.item.id, format!("{{\"row\":{}}}", p.row))),
            })
            .collect();
        self.store.commit_verdicts(&judged, now()).unwrap();
        pending.iter().map(|p| p.row).collect()
    }
}

#[test]
fn an_item_is_new_once() {
    let mut fixture = Fixture::new();
    let entries =
        || vec![entry("1", "https://news.example/1", "Talks open"), entry("2", "https://news.example/2", "Rain")];
    assert_eq!(fixture.poll(entries()), PollCounts { new: 2, ..PollCounts::default() });
    assert_eq!(fixture.poll(entries()), PollCounts { duplicate: 2, ..PollCounts::default() });
    assert_eq!(fixture.store.pending_count().unwrap(), 2);
}

#[test]
fn a_new_headline_is_judged_again_unless_it_has_raised_an_alert() {
    let mut fixture = Fixture::new();
    let with = |title| vec![entry("1", "https://news.example/1", title)];
    fixture.poll(with("Ministers meet"));
    fixture.judge_all(false);
    let counts = fixture.poll(with("Ministers meet for truce talks"));
    assert_eq!((counts.revised, counts.reopened), (1, 1));
    fixture.judge_all(true);
    let counts = fixture.poll(with("Truce talks end"));
    assert_eq!((counts.revised, counts.reopened), (1, 0));
    assert_eq!(fixture.store.pending_count().unwrap(), 0);
    assert_eq!(fixture.store.waiting(0, 10).unwrap().len(), 1);
}

#[test]
fn ids_that_change_every_poll_switch_the_policy() {
    let mut fixture = Fixture::new();
    let poll = |round: u32| {
        (0..4)
            .map(|i| entry(&format!("{round}-{i}"), &format!("https://news.example/{i}"), &format!("Item {i}")))
            .collect()
    };
    assert_eq!(fixture.poll(poll(1)).new, 4);
    assert_eq!(fixture.policy(), IdentityPolicy::Guid);
    assert_eq!(fixture.poll(poll(2)).duplicate, 4);
    assert_eq!(fixture.policy(), IdentityPolicy::Link);
    assert_eq!(fixture.poll(poll(3)).duplicate, 4);
}

#[test]
fn ids_that_repeat_in_a_document_switch_the_policy() {
    let mut fixture = Fixture::new();
    let entries =
        || vec![entry("0", "https://news.example/1", "Talks open"), entry("0", "https://news.example/2", "Rain")];
    assert_eq!(fixture.poll(entries()).new, 2);
    assert_eq!(fixture.policy(), IdentityPolicy::Link);
    assert_eq!(fixture.poll(entries()).duplicate, 2);
}

#[test]
fn nothing_of_a_poll_is_stored_when_one_of_the_group_fails() {
    let mut fixture = Fixture::new();
    let sorted = dedup::sort(vec![entry("1", "https://news.example/1", "Talks")], FEED, IdentityPolicy::Guid, now());
    let poll = |feed| Poll {
        feed,
        at: now(),
        origin: Origin::Live,
        health: None,
        own_title: None,
        intake: Intake { candidates: sorted.candidates.clone(), ..Intake::default() },
    };
    // No such feed: the foreign key refuses its items.
    let mut other = poll(999);
    other.intake.candidates[0].lookup.clear();
    other.intake.candidates[0].item.id = crate::item::Identity([7; 16]);
    assert!(fixture.store.commit_polls(&[poll(fixture.feed), other]).is_err());
    assert_eq!(fixture.store.pending_count().unwrap(), 0);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    /// Whatever a feed lists, in whatever order and however often: every entry has one outcome, and every distinct
    /// item waits exactly once.
    #[test]
    fn every_entry_has_one_outcome(polls in proptest::collection::vec(proptest::collection::vec(0u8..12, 0..10), 1..6)) {
        let mut fixture = Fixture::new();
        let mut distinct = std::collections::BTreeSet::new();
        for poll in polls {
            distinct.extend(poll.iter().copied());
            let entries: Vec<Entry> = poll
                .iter()
                .map(|i| entry(&format!("id-{i}"), &format!("https://news.example/{i}?utm_source=x"), &format!("Item {i}")))
                .collect();
            let count = entries.len() as u64;
            let counts = fixture.poll(entries);
            prop_assert_eq!(counts.new + counts.duplicate + counts.revised + counts.rejected, count);
        }
        prop_assert_eq!(fixture.store.pending_count().unwrap(), distinct.len());
    }
}

/// A transaction that only reads first would fail when it comes to write and another process has written in between.
#[test]
fn a_transaction_has_the_write_lock_from_its_first_moment() {
    let mut fixture = Fixture::new();
    let mut other = Store::open(fixture._dir.path()).unwrap();
    other.connection.pragma_update(None, "busy_timeout", 0).unwrap();
    let spec = || FeedSpec { url: "https://other.example/".into(), title: None, tags: vec![], floor_s: None };
    let begun = fixture.store.connection.transaction().unwrap();
    let error = other.add_feeds(&[spec()]).unwrap_err();
    assert!(error.is_passing(), "{error}");
    drop(begun);
    assert_eq!(other.add_feeds(&[spec()]).unwrap(), 1);
}

impl Fixture {
    /// Adds `count` alerts to the outbox; their `seq`s.
    fn alerts(&mut self, first: usize, count: usize) -> Vec<i64> {
        let entries = (first..first + count)
            .map(|n| entry(&n.to_string(), &format!("https://news.example/{n}"), &format!("Talks {n}")));
        self.poll(entries.collect());
        self.judge_all(true);
        self.store.waiting(0, 1000).unwrap().iter().map(|alert| alert.seq).collect()
    }

    fn sync(&mut self, sinks: &[(&str, &str)]) {
        let sinks: Vec<_> = sinks.iter().map(|(name, address)| ((*name).to_owned(), (*address).to_owned())).collect();
        self.store.sync_sinks(&sinks).unwrap();
    }

    fn settle(&mut self, sink: &str, cursor: i64) {
        self.store.settle(sink, &Settled { cursor, taken: 1, parked: vec![] }, now()).unwrap();
    }

    fn sink(&self, name: &str) -> SinkState {
        self.store.sink(name).unwrap().unwrap()
    }

    fn delivered(&self) -> Vec<i64> {
        let sql = "SELECT seq FROM outbox WHERE delivered IS NOT NULL ORDER BY seq";
        let mut statement = self.store.connection.prepare(sql).unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    }
}

#[test]
fn every_sink_has_its_own_place_and_an_alert_is_delivered_when_the_last_has_it() {
    let mut fixture = Fixture::new();
    fixture.sync(&[("output", "a"), ("desk", "b")]);
    let seqs = fixture.alerts(0, 3);
    fixture.settle("output", seqs[2]);
    assert_eq!((fixture.sink("output").waiting, fixture.sink("desk").waiting), (0, 3));
    assert_eq!(fixture.delivered(), [0; 0]);
    fixture.settle("desk", seqs[0]);
    assert_eq!(fixture.delivered(), seqs[..1]);
    let waiting = fixture.store.waiting(fixture.sink("desk").cursor, 10).unwrap();
    assert_eq!(waiting.iter().map(|alert| alert.seq).collect::<Vec<_>>(), seqs[1..]);
    assert_eq!(fixture.store.settled_ids(seqs[1], 10).unwrap().len(), 2);
}

#[test]
fn a_new_sink_begins_with_the_next_alert_and_one_that_comes_back_where_it_was() {
    let mut fixture = Fixture::new();
    let old = fixture.alerts(0, 2);
    fixture.sync(&[("output", "a"), ("desk", "b")]);
    assert_eq!(fixture.sink("output").waiting, 2, "the main file has its place from the first day");
    assert_eq!(fixture.sink("desk").cursor, old[1]);
    fixture.sync(&[("output", "a")]);
    let new = fixture.alerts(2, 2);
    fixture.settle("output", new[3]);
    assert_eq!(fixture.delivered(), new, "a sink that is not configured holds nothing up");
    fixture.sync(&[("output", "a"), ("desk", "b")]);
    assert_eq!(fixture.sink("desk").waiting, 2);
}

#[test]
fn failures_outlast_a_restart_and_end_with_the_next_success() {
    let mut fixture = Fixture::new();
    fixture.sync(&[("output", "a"), ("desk", "b")]);
    let seqs = fixture.alerts(0, 2);
    let failure = Failure { tries: 3, since: Some(now()), next_try: Some(now()), error: "status 500".into() };
    fixture.store.sink_failed("desk", &failure).unwrap();
    let state = fixture.sink("desk");
    assert_eq!((state.tries, state.next_try, state.closed), (3, Some(now()), None));
    // What is not meant for it is no success.
    fixture.store.settle("desk", &Settled { cursor: seqs[0], ..Settled::default() }, now()).unwrap();
    assert_eq!(fixture.sink("desk").tries, 3);
    fixture
        .store
        .settle("desk", &Settled { cursor: seqs[1], taken: 0, parked: vec![(seqs[1], "status 413".into())] }, now())
        .unwrap();
    let state = fixture.sink("desk");
    assert_eq!((state.tries, state.error, state.parked, state.waiting), (0, None, 1, 0));
}

#[test]
fn a_closed_sink_holds_nothing_up_and_is_opened_by_another_address() {
    let mut fixture = Fixture::new();
    let sinks = [("output", "a"), ("desk", "b")];
    fixture.sync(&sinks);
    let seqs = fixture.alerts(0, 1);
    fixture.store.sink_failed("desk", &Failure { tries: 1, error: "gone".into(), ..Failure::default() }).unwrap();
    fixture.settle("output", seqs[0]);
    assert_eq!(fixture.delivered(), seqs);
    fixture.sync(&sinks);
    assert_eq!(fixture.sink("desk").closed, Some("gone".into()));
    fixture.sync(&[("output", "a"), ("desk", "c")]);
    assert_eq!(fixture.sink("desk").closed, None);
    assert_eq!(fixture.store.sinks().unwrap().len(), 2);
}

#[test]
fn the_main_file_goes_on_where_an_older_version_was() {
    for (delivered, cursor) in [("NULL", 0), ("CASE WHEN seq < 3 THEN 1 END", 2), ("1", 4)] {
        let mut fixture = Fixture::new();
        assert_eq!(fixture.alerts(0, 4), [1, 2, 3, 4]);
        let back = "DROP TABLE sink; DROP TABLE parked;";
        fixture.store.connection.execute_batch(&format!("UPDATE outbox SET delivered = {delivered}; {back}")).unwrap();
        fixture.store.connection.execute_batch(MIGRATIONS[2]).unwrap();
        assert_eq!(fixture.sink("output").cursor, cursor, "{delivered}");
    }
}
