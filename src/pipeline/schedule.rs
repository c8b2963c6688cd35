//! Hands out feeds as they fall due. The schedule itself is in the store; this stage holds a window of what is due, and
//! what is in flight.

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::persist::Persist;
use super::{PipelineError, capacity};
use crate::item::FeedId;
use crate::schedule::{HostGate, ScheduleConfig};
use crate::store::{DueFeed, Penalty};

/// How often the store is asked when nothing is known to fall due: a feed that another process adds (`feeds add`) is
/// noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Due feeds held in memory. More than can be in flight, so that a few busy hosts do not hold up the others.
const WINDOW: usize = 4 * capacity::IN_FLIGHT;

/// How soon the store is asked again for feeds of other hosts, when it had none and the window is full of feeds whose
/// hosts are busy. That question reads past every due feed of the busy hosts.
const LOOK_PAST: Duration = Duration::from_secs(1);

/// What the commit stage reports of a poll.
#[derive(Debug)]
pub(super) struct Finished {
    pub feed: FeedId,
    /// When it is polled next.
    pub next_poll: Option<DateTime<Utc>>,
    /// Whose other feeds wait too.
    pub penalty: Option<Penalty>,
}

/// The stage.
pub(super) struct Schedule {
    pub persist: Persist,
    /// Set for a run that ends by itself: every feed due is polled once since that time.
    pub once: Option<DateTime<Utc>>,
    pub gate: HostGate,
    pub jobs: mpsc::Sender<DueFeed>,
    pub finished: mpsc::Receiver<Finished>,
    pub stop: CancellationToken,
}

/// The gate as configured; a set interval lifts the gap with every other floor.
pub(super) fn gate(config: &ScheduleConfig, interval: Option<Duration>) -> HostGate {
    HostGate::new(config.host_concurrency, if interval.is_some() { Duration::ZERO } else { config.host_gap })
}

impl Schedule {
    /// Hands out due feeds until the run stops or, with `once`, none is left.
    pub async fn run(mut self) -> Result<(), PipelineError> {
        let mut window = Window::new(Utc::now());
        while !self.stop.is_cancelled() {
            self.refill(&mut window).await?;
            let now = Utc::now();
            self.gate.sweep(now);
            for feed in window.admitted(&mut self.gate, now) {
                // There is always room: the channel holds as many as may be in flight.
                if self.jobs.send(feed).await.is_err() {
                    return Ok(());
                }
            }
            if self.once.is_some() && window.is_done() {
                return Ok(());
            }
            self.wait(&mut window).await;
        }
        Ok(())
    }

    /// Reads more of what is due when the window runs low, or when all that it holds has to wait for busy hosts.
    async fn refill(&mut self, window: &mut Window) -> Result<(), PipelineError> {
        let now = Utc::now();
        if window.is_low() && now >= window.refill_at {
            let limit = WINDOW + window.known();
            let (due, next) = self.read(now, Vec::new(), limit).await?;
            let complete = due.len() < limit;
            window.take(due);
            window.complete = complete;
            window.refill_at = if complete { next } else { now };
        } else if window.is_stuck(&self.gate, now) && now >= window.look_past_at {
            window.make_room();
            let closed = self.gate.closed(now).map(str::to_owned).collect();
            let (others, _) = self.read(now, closed, WINDOW / 2).await?;
            window.look_past_at = if others.is_empty() { now + LOOK_PAST } else { now };
            window.take(others);
        }
        Ok(())
    }

    /// Feeds due at `now`, and when the next one after them is.
    async fn read(
        &self,
        now: DateTime<Utc>,
        closed: Vec<String>,
        limit: usize,
    ) -> Result<(Vec<DueFeed>, DateTime<Utc>), PipelineError> {
        let once = self.once;
        let work = move |store: &mut crate::store::Store| {
            Ok((store.due_feeds(now, once, &closed, limit)?, store.next_due(now)?))
        };
        let (due, next) = self.persist.call(work).await?;
        let latest = now + LONGEST_SLEEP;
        Ok((due, next.map_or(latest, |next| next.min(latest))))
    }

    async fn wait(&mut self, window: &mut Window) {
        let wake_at = window.wake_at(&self.gate, Utc::now());
        let pause = (wake_at - Utc::now()).to_std().unwrap_or_default();
        tokio::select! {
            Some(report) = self.finished.recv() => {
                self.take_report(window, report);
                while let Ok(report) = self.finished.try_recv() {
                    self.take_report(window, report);
                }
            }
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    fn take_report(&mut self, window: &mut Window, report: Finished) {
        if let Some(host) = window.in_flight.remove(&report.feed) {
            self.gate.end(&host, Utc::now());
        }
        if let Some(next) = report.next_poll {
            window.refill_at = window.refill_at.min(next);
        }
        if let Some(penalty) = report.penalty {
            window.due.retain(|feed| !penalty.holds_for(feed));
        }
    }
}

/// What is due and not yet handed out, as far as it is in memory, and what is in flight.
struct Window {
    due: VecDeque<DueFeed>,
    in_flight: HashMap<FeedId, String>,
    /// Whether the store has nothing due that is not here.
    complete: bool,
    refill_at: DateTime<Utc>,
    look_past_at: DateTime<Utc>,
}

impl Window {
    fn new(now: DateTime<Utc>) -> Self {
        let (due, in_flight) = (VecDeque::new(), HashMap::new());
        Self { due, in_flight, complete: false, refill_at: now, look_past_at: now }
    }

    fn is_low(&self) -> bool {
        self.due.len() < WINDOW / 4
    }

    fn has_room(&self) -> bool {
        self.in_flight.len() < capacity::IN_FLIGHT
    }

    fn is_done(&self) -> bool {
        self.complete && self.due.is_empty() && self.in_flight.is_empty()
    }

    /// How many of the store's due feeds are here already.
    fn known(&self) -> usize {
        self.due.len() + self.in_flight.len()
    }

    fn is_stuck(&self, gate: &HostGate, now: DateTime<Utc>) -> bool {
        !self.complete && self.has_room() && !self.is_low() && self.due.iter().all(|feed| !gate.admits(&feed.host, now))
    }

    /// Forgets the half that would come last; it is still in the store.
    fn make_room(&mut self) {
        self.due.truncate(WINDOW / 2);
    }

    fn take(&mut self, due: Vec<DueFeed>) {
        let here: HashSet<FeedId> = self.due.iter().map(|feed| feed.id).chain(self.in_flight.keys().copied()).collect();
        self.due.extend(due.into_iter().filter(|feed| !here.contains(&feed.id)));
    }

    /// Takes out what may start now, as far as there is room in flight.
    fn admitted(&mut self, gate: &mut HostGate, now: DateTime<Utc>) -> Vec<DueFeed> {
        let mut admitted = Vec::new();
        let mut rest = VecDeque::with_capacity(self.due.len());
        for feed in self.due.drain(..) {
            if self.in_flight.len() < capacity::IN_FLIGHT && gate.admits(&feed.host, now) {
                gate.start(feed.host.clone(), now);
                self.in_flight.insert(feed.id, feed.host.clone());
                admitted.push(feed);
            } else {
                rest.push_back(feed);
            }
        }
        self.due = rest;
        admitted
    }

    /// When there may be something to do, if no poll finishes before.
    fn wake_at(&self, gate: &HostGate, now: DateTime<Utc>) -> DateTime<Utc> {
        let latest = now + LONGEST_SLEEP;
        if !self.has_room() {
            return latest;
        }
        let refill = if self.is_low() { self.refill_at } else { latest };
        let opening = if self.due.is_empty() { None } else { gate.next_opening(now) };
        let look_past = self.is_stuck(gate, now).then_some(self.look_past_at);
        [Some(refill), opening, look_past].into_iter().flatten().fold(latest, DateTime::min)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::IdentityPolicy;
    use crate::pipeline::Pulse;
    use crate::schedule::Scope;

    fn due(id: FeedId, host: &str) -> DueFeed {
        DueFeed {
            id,
            url: format!("https://{host}/{id}"),
            moved_to: None,
            host: host.into(),
            site: host.into(),
            items: 0,
            floor_s: None,
            validators: None,
            history: None,
            identity: IdentityPolicy::Guid,
            pushed: false,
        }
    }

    fn ids(feeds: &[DueFeed]) -> Vec<FeedId> {
        feeds.iter().map(|feed| feed.id).collect()
    }

    #[test]
    fn rule_45_one_poll_a_host_at_a_time() {
        let now = Utc::now();
        let (mut window, mut gate) = (Window::new(now), HostGate::new(1, Duration::ZERO));
        window.take(vec![due(1, "a"), due(2, "a"), due(3, "b")]);
        assert_eq!(ids(&window.admitted(&mut gate, now)), [1, 3]);
        assert!(window.admitted(&mut gate, now).is_empty());
        gate.end("a", now);
        assert_eq!(ids(&window.admitted(&mut gate, now)), [2]);
    }

    #[test]
    fn rule_46_no_more_in_flight_than_there_is_room_for() {
        let now = Utc::now();
        let (mut window, mut gate) = (Window::new(now), HostGate::new(1, Duration::ZERO));
        window.take((0..1000).map(|id| due(id, &id.to_string())).collect());
        assert_eq!(window.admitted(&mut gate, now).len(), capacity::IN_FLIGHT);
        assert!(window.admitted(&mut gate, now).is_empty() && !window.has_room());
    }

    #[test]
    fn a_feed_is_not_taken_twice() {
        let now = Utc::now();
        let (mut window, mut gate) = (Window::new(now), HostGate::new(1, Duration::ZERO));
        window.take(vec![due(1, "a"), due(2, "a")]);
        window.admitted(&mut gate, now);
        window.take(vec![due(1, "a"), due(2, "a"), due(3, "a")]);
        assert_eq!(window.due.iter().map(|feed| feed.id).collect::<Vec<_>>(), [2, 3]);
    }

    #[tokio::test]
    async fn rule_47_the_window_holds_a_part_of_a_long_schedule() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = crate::store::Store::open(dir.path()).unwrap();
        let spec = |n| crate::store::FeedSpec {
            url: format!("https://h{n}.example/"),
            title: None,
            tags: vec![],
            floor_s: None,
        };
        store.add_feeds(&(0..5_000).map(spec).collect::<Vec<_>>()).unwrap();
        let (store, _thread) = crate::store::StoreHandle::start(store).unwrap();
        let (jobs, _jobs) = mpsc::channel(capacity::IN_FLIGHT);
        let (_finished, finished) = mpsc::channel(1);
        let gate = HostGate::new(1, Duration::ZERO);
        let (mode, stop) = (crate::pipeline::Mode::Daemon, CancellationToken::new());
        let persist = Persist { store, mode, stop: stop.clone(), pulse: Pulse::default(), stage: "schedule" };
        let mut schedule = Schedule { persist, once: None, gate, jobs, finished, stop };
        let mut window = Window::new(Utc::now());
        for _ in 0..3 {
            schedule.refill(&mut window).await.unwrap();
            assert_eq!((window.due.len(), window.complete), (WINDOW, false));
        }
    }

    #[test]
    fn a_window_full_of_a_busy_host_makes_room_for_others() {
        let now = Utc::now();
        let (mut window, mut gate) = (Window::new(now), HostGate::new(1, Duration::from_secs(1)));
        window.take((0..WINDOW as i64).map(|id| due(id, "big")).collect());
        window.admitted(&mut gate, now);
        assert!(window.is_stuck(&gate, now));
        window.make_room();
        window.take(vec![due(9999, "small")]);
        assert_eq!(ids(&window.admitted(&mut gate, now)), [9999]);
    }

    #[test]
    fn rule_32_a_penalty_holds_for_what_is_in_memory_too() {
        let penalty = |scope, of: &str| Penalty { scope, of: of.into(), until: Utc::now() };
        assert!(penalty(Scope::Host, "a").holds_for(&due(1, "a")));
        assert!(!penalty(Scope::Host, "b").holds_for(&due(1, "a")));
        assert!(!penalty(Scope::Url, "a").holds_for(&due(1, "a")));
    }
}
