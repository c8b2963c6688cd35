//! The lanes with sinks that are made for it: what they take, refuse and lose.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::Duration;

use chrono::Utc;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::dedup::{self, IdentityPolicy};
use crate::item::Entry;
use crate::pipeline::{Mode, Pulse};
use crate::sink::{Delivery, Filter, Retry, Sink, SinkError, Stories};
use crate::store::{FeedSpec, Intake, Judged, Origin, Poll, Raised, SinkState, Store, StoreHandle, Waiting};

/// What a made-up sink has taken, and what it is to answer.
#[derive(Default)]
struct Seen {
    /// `seq`s in the order of arrival.
    taken: Vec<i64>,
    /// How many of `taken` are safe.
    safe: usize,
    /// For each delivery which of its alerts, by position, are refused; without any more all are taken.
    refuse: VecDeque<Vec<usize>>,
    /// Whether the next sync fails.
    sync_fails: bool,
}

#[derive(Clone, Default)]
struct Made {
    seen: Arc<Mutex<Seen>>,
    most: usize,
    every: Option<Duration>,
    /// How long it takes over each delivery.
    pause: Duration,
}

impl Made {
    fn taken(&self) -> Vec<i64> {
        self.seen.lock().unwrap().taken.clone()
    }
}

fn full() -> SinkError {
    SinkError::Write { path: "made".into(), source: std::io::ErrorKind::StorageFull.into() }
}

impl Sink for Made {
    fn most(&self) -> usize {
        self.most
    }

    fn deliver<'a>(&'a mut self, alerts: &'a [&'a Waiting]) -> BoxFuture<'a, Delivery> {
        let mut seen = self.seen.lock().unwrap();
        let refused = seen.refuse.pop_front().unwrap_or_default();
        let mut delivery = Delivery::default();
        for (at, alert) in alerts.iter().enumerate() {
            if refused.contains(&at) {
                delivery.refused.get_or_insert((alert.seq, full()));
            } else {
                delivery.taken.push(alert.seq);
                seen.taken.push(alert.seq);
            }
        }
        let pause = self.pause;
        async move {
            tokio::time::sleep(pause).await;
            delivery
        }
        .boxed()
    }

    fn sync_every(&self) -> Option<Duration> {
        self.every
    }

    fn sync(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        let mut seen = self.seen.lock().unwrap();
        if std::mem::take(&mut seen.sync_fails) {
            let safe = seen.safe;
            seen.taken.truncate(safe);
            return ready(Err(full())).boxed();
        }
        seen.safe = seen.taken.len();
        ready(Ok(())).boxed()
    }
}

fn outlet(name: &str, sink: &Made) -> Outlet {
    let retry = Retry { first: Duration::from_millis(1), ..Retry::local() };
    let (filter, address) = (Filter::everything(), name.to_owned());
    Outlet {
        name: name.into(),
        sink: Box::new(sink.clone()),
        filter,
        stories: Stories::All,
        retry,
        remote: false,
        address,
    }
}

/// A store with `count` alerts in its outbox, and these sinks.
fn store(dir: &tempfile::TempDir, count: usize, sinks: &[&str]) -> Store {
    let mut store = Store::open(dir.path()).unwrap();
    let sinks: Vec<_> = sinks.iter().map(|name| ((*name).to_owned(), (*name).to_owned())).collect();
    store.sync_sinks(&sinks).unwrap();
    let url = "https://news.example/feed.xml";
    store.add_feeds(&[FeedSpec { url: url.into(), title: None, tags: vec![], floor_s: None }]).unwrap();
    let feed = store.due_feeds(Utc::now(), None, &[], 1).unwrap()[0].id;
    let entry = |n: usize| Entry { guid: Some(n.to_string()), title: format!("Talks {n}"), ..Entry::default() };
    let sorted = dedup::sort((0..count).map(entry).collect(), url, IdentityPolicy::Guid, Utc::now());
    let intake = Intake { candidates: sorted.candidates, ..Intake::default() };
    let poll = Poll { feed, at: Utc::now(), origin: Origin::Live, health: None, own_title: None, intake };
    store.commit_polls(&[poll]).unwrap();
    let raised = |row: i64, item| Raised { id: format!("id-{row}"), ..Raised::alone(item, "{}".into()) };
    let alert = |row: i64, item| Judged { row, score: Some(0.9), alert: Some(raised(row, item)) };
    let judged: Vec<Judged> =
        store.pending(count).unwrap().iter().map(|pending| alert(pending.row, pending.item.id)).collect();
    store.commit_verdicts(&judged, Utc::now()).unwrap();
    store
}

/// Delivers to `outlets` until `during` has ended and nothing waits, and tells how the sinks stand.
async fn deliver<F: Future<Output = ()>>(
    store: Store,
    outlets: Vec<Outlet>,
    during: impl FnOnce(StoreHandle) -> F,
) -> (Result<(), PipelineError>, Vec<SinkState>) {
    let (store, _thread) = StoreHandle::start(store).unwrap();
    let (stop, pulse) = (CancellationToken::new(), Pulse::default());
    let persist = Persist { store: store.clone(), mode: Mode::Daemon, stop: stop.clone(), pulse, stage: "deliver" };
    let (wake, woken) = mpsc::channel(1);
    let stage = Deliver { persist, outlets, reopen: Reopen::default(), tally: Arc::default() }.run(woken);
    let watching = async {
        during(store.clone()).await;
        // As on SIGTERM.
        stop.cancel();
        drop(wake);
    };
    let (ended, ()) = tokio::join!(stage, watching);
    (ended, store.call(|store| store.sinks()).await.unwrap())
}

/// Waits until the sink has settled everything.
async fn settled(store: &StoreHandle, name: &'static str) {
    while store.call(move |store| store.sink(name)).await.unwrap().unwrap().waiting > 0 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

fn all(count: i64) -> Vec<i64> {
    (1..=count).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_fails_is_tried_again_in_order_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (good, bad) = (Made { most: 100, ..Made::default() }, Made { most: 1, ..Made::default() });
    bad.seen.lock().unwrap().refuse = (0..5).map(|n| if n % 2 == 0 { vec![0] } else { vec![] }).collect();
    let outlets = vec![outlet("output", &good), outlet("bad", &bad)];
    let (ended, sinks) =
        deliver(store(&dir, 9, &["output", "bad"]), outlets, |store| async move { settled(&store, "bad").await }).await;
    ended.unwrap();
    assert_eq!((good.taken(), bad.taken()), (all(9), all(9)));
    assert!(sinks.iter().all(|sink| (sink.waiting, sink.taken, sink.tries) == (0, 9, 0)), "{sinks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_behind_a_refusal_is_not_handed_over_again() {
    let dir = tempfile::tempdir().unwrap();
    let several = Made { most: 4, ..Made::default() };
    several.seen.lock().unwrap().refuse = [vec![1], vec![0]].into();
    let outlets = vec![outlet("output", &several)];
    let (ended, _) =
        deliver(store(&dir, 6, &["output"]), outlets, |store| async move { settled(&store, "output").await }).await;
    ended.unwrap();
    let mut taken = several.taken();
    assert_eq!(taken[..3], [1, 3, 4]);
    taken.sort_unstable();
    assert_eq!(taken, all(6));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_marked_before_it_is_safe_and_what_was_lost_is_delivered_anew() {
    let dir = tempfile::tempdir().unwrap();
    let slow = Made { most: 100, every: Some(Duration::from_secs(3600)), ..Made::default() };
    let (watched, seen) = (slow.clone(), slow.seen.clone());
    let outlets = vec![outlet("output", &slow)];
    let (ended, sinks) = deliver(store(&dir, 5, &["output"]), outlets, |store| async move {
        while watched.taken().len() < 5 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let state = store.call(|store| store.sink("output")).await.unwrap().unwrap();
        assert_eq!((state.waiting, state.taken), (5, 0), "not safe yet");
    })
    .await;
    ended.unwrap();
    assert_eq!((sinks[0].waiting, seen.lock().unwrap().safe), (0, 5), "safe at the end of the run");

    let dir = tempfile::tempdir().unwrap();
    let quick = Made { most: 100, every: Some(Duration::from_millis(1)), ..Made::default() };
    quick.seen.lock().unwrap().sync_fails = true;
    let outlets = vec![outlet("output", &quick)];
    let (ended, _) =
        deliver(store(&dir, 5, &["output"]), outlets, |store| async move { settled(&store, "output").await }).await;
    ended.unwrap();
    assert_eq!(quick.taken(), all(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_daemon_that_ends_does_not_wait_for_others_to_take_everything() {
    let dir = tempfile::tempdir().unwrap();
    let (file, slow) =
        (Made { most: 9, ..Made::default() }, Made { most: 1, pause: Duration::from_millis(5), ..Made::default() });
    let outlets = vec![outlet("output", &file), Outlet { remote: true, ..outlet("slow", &slow) }];
    let watched = slow.clone();
    let (ended, sinks) = deliver(store(&dir, 500, &["output", "slow"]), outlets, |_| async move {
        while watched.taken().is_empty() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    ended.unwrap();
    assert_eq!(file.taken(), all(500));
    let (taken, waiting) = (slow.taken(), sinks[1].waiting);
    assert_eq!((taken.clone(), taken.len() as u64 + waiting), (all(taken.len() as i64), 500));
    assert!(waiting > 0, "the others are left for the next run");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_main_file_that_is_full_at_the_end_is_a_failed_run_and_another_sink_is_not() {
    let (good, bad) = (Made { most: 9, ..Made::default() }, Made { most: 9, ..Made::default() });
    bad.seen.lock().unwrap().refuse = vec![vec![0]; 10_000].into();
    for (main, other, fails) in [(&good, &bad, false), (&bad, &good, true)] {
        let dir = tempfile::tempdir().unwrap();
        let outlets = vec![outlet("output", main), outlet("other", other)];
        let store = store(&dir, 3, &["output", "other"]);
        let (ended, _) = deliver(store, outlets, |_| tokio::time::sleep(Duration::from_millis(20))).await;
        assert_eq!(ended.is_err(), fails, "{ended:?}");
    }
}
