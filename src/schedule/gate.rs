//! One gate a host: how many requests at once, and how soon after each other.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

/// Holds requests back so that no host is hurried. A host that is idle has no state here.
#[derive(Debug)]
pub struct HostGate {
    concurrency: usize,
    gap: TimeDelta,
    hosts: HashMap<String, Busy>,
}

#[derive(Debug)]
struct Busy {
    in_flight: usize,
    free_at: DateTime<Utc>,
}

impl HostGate {
    /// A gate that admits `concurrency` requests to a host at once (at least one), their starts `gap` apart.
    pub fn new(concurrency: usize, gap: Duration) -> Self {
        let gap = TimeDelta::from_std(gap).unwrap_or(TimeDelta::MAX);
        Self { concurrency: concurrency.max(1), gap, hosts: HashMap::new() }
    }

    /// Whether a request to `host` may start at `now`.
    pub fn admits(&self, host: &str, now: DateTime<Utc>) -> bool {
        self.hosts.get(host).is_none_or(|busy| busy.in_flight < self.concurrency && busy.free_at <= now)
    }

    /// Notes that one starts.
    pub fn start(&mut self, host: String, now: DateTime<Utc>) {
        let free_at = after(now, self.gap);
        let busy = self.hosts.entry(host).or_insert(Busy { in_flight: 0, free_at });
        busy.in_flight += 1;
        busy.free_at = free_at;
    }

    /// Notes that one has ended. The gap counts from here too: the request may have started later than it was let
    /// through.
    pub fn end(&mut self, host: &str, now: DateTime<Utc>) {
        if let Some(busy) = self.hosts.get_mut(host) {
            busy.in_flight = busy.in_flight.saturating_sub(1);
            busy.free_at = busy.free_at.max(after(now, self.gap));
        }
    }

    /// Takes over a jump of the clock: waits go on as they were.
    pub fn shift(&mut self, jump: TimeDelta) {
        for busy in self.hosts.values_mut() {
            busy.free_at = busy.free_at.checked_add_signed(jump).unwrap_or(busy.free_at);
        }
    }

    /// Forgets hosts that are idle.
    pub fn sweep(&mut self, now: DateTime<Utc>) {
        self.hosts.retain(|_, busy| busy.in_flight > 0 || busy.free_at > now);
    }

    /// The hosts that admit nothing at `now`.
    pub fn closed(&self, now: DateTime<Utc>) -> impl Iterator<Item = &str> {
        self.hosts.keys().map(String::as_str).filter(move |host| !self.admits(host, now))
    }

    /// The next time at which a host that is closed for its gap alone opens.
    pub fn next_opening(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let waiting = self.hosts.values().filter(|busy| busy.in_flight < self.concurrency);
        waiting.map(|busy| busy.free_at).filter(|free_at| *free_at > now).min()
    }

    /// How many hosts have state.
    pub fn len(&self) -> usize {
        self.hosts.len()
    }

    /// Whether none has.
    pub fn is_empty(&self) -> bool {
        self.hosts.is_empty()
    }
}

fn after(now: DateTime<Utc>, gap: TimeDelta) -> DateTime<Utc> {
    now.checked_add_signed(gap).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn start() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn rule_45_one_request_at_a_time_and_a_gap_between() {
        let mut gate = HostGate::new(1, Duration::from_secs(2));
        let second = TimeDelta::seconds(1);
        gate.start("a".into(), start());
        assert!(!gate.admits("a", start() + second * 9), "one is under way");
        assert!(gate.admits("b", start()));
        gate.end("a", start());
        assert!(!gate.admits("a", start() + second), "the gap");
        assert_eq!(gate.next_opening(start() + second), Some(start() + second * 2));
        assert!(gate.admits("a", start() + second * 2));
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_host_closed() {
        let mut gate = HostGate::new(1, Duration::from_secs(2));
        gate.start("a".into(), start());
        gate.end("a", start());
        let back = TimeDelta::days(-365);
        gate.shift(back);
        assert!(!gate.admits("a", start() + back + TimeDelta::seconds(1)));
        assert!(gate.admits("a", start() + back + TimeDelta::seconds(2)));
    }

    #[test]
    fn rule_47_idle_hosts_have_no_state() {
        let mut gate = HostGate::new(1, Duration::from_secs(1));
        for host in 0..1000 {
            gate.start(host.to_string(), start());
            gate.end(&host.to_string(), start());
        }
        gate.start("busy".into(), start());
        gate.sweep(start() + TimeDelta::seconds(1));
        assert_eq!(gate.len(), 1);
        assert_eq!(gate.closed(start() + TimeDelta::seconds(1)).collect::<Vec<_>>(), ["busy"]);
    }

    proptest! {
        #[test]
        fn rule_45_the_gate_never_admits_more_than_it_may(
            concurrency in 1_usize..4,
            gap_ms in 0_u64..50,
            steps in prop::collection::vec((0_i64..30, 0_usize..3, any::<bool>()), 1..200),
        ) {
            let mut gate = HostGate::new(concurrency, Duration::from_millis(gap_ms));
            let mut now = start();
            let mut model: HashMap<usize, (usize, Option<DateTime<Utc>>)> = HashMap::new();
            for (pause_ms, host, ends) in steps {
                now += TimeDelta::milliseconds(pause_ms);
                let (in_flight, last) = model.entry(host).or_default();
                if ends && *in_flight > 0 {
                    gate.end(&host.to_string(), now);
                    *in_flight -= 1;
                    *last = Some(now);
                } else if gate.admits(&host.to_string(), now) {
                    prop_assert!(*in_flight < concurrency);
                    prop_assert!(last.is_none_or(|last| now - last >= TimeDelta::milliseconds(gap_ms as i64)));
                    gate.start(host.to_string(), now);
                    *in_flight += 1;
                    *last = Some(now);
                }
                gate.sweep(now);
            }
        }
    }
}
