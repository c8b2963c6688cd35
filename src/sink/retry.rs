//! When a sink that failed is tried again. Pure: time and chance are passed in.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};

use crate::schedule::Jitter;
use crate::store::Failure;

use super::{SinkError, Verdict};

/// How often and how long a sink is tried.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Retry {
    /// First wait; doubles.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
    /// Share of a wait that is added at most, at random (0–1).
    pub jitter: f64,
    /// An alert that was tried for so long is parked; `None`: never.
    pub give_up: Option<Duration>,
}

/// What follows from a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// The same alert again, at the failure's `next_try`.
    Again(Failure),
    /// The alert is parked, the next one tried.
    Park(String),
    /// Nothing more goes to this sink.
    Close(Failure),
}

impl Retry {
    /// For what is on this machine: a full disk is found free again within a minute, and nothing is ever given up.
    pub fn local() -> Self {
        let (first, longest) = (Duration::from_secs(1), Duration::from_secs(60));
        Self { first, longest, jitter: 0.0, give_up: None }
    }

    /// What follows from `error` after the failures `before`.
    pub fn after(&self, before: Option<&Failure>, error: &SinkError, now: DateTime<Utc>, jitter: Jitter) -> Next {
        let text = error.to_string();
        let since = before.and_then(|failure| failure.since).unwrap_or(now);
        let tries = before.map_or(0, |failure| failure.tries).saturating_add(1);
        let failed = |next_try| Failure { tries, since: Some(since), next_try, error: text.clone() };
        let asked = match error.verdict() {
            Verdict::Closed => return Next::Close(failed(None)),
            Verdict::Never => return Next::Park(text),
            Verdict::Later(asked) => asked,
        };
        if tries >= LEAST_TRIES && self.is_given_up(since, now) {
            return Next::Park(format!("{text} (tried {tries} times since {})", since.format("%Y-%m-%d %H:%M UTC")));
        }
        let wait = self.wait(tries, jitter).max(asked.unwrap_or_default().min(LONGEST_ASKED));
        Next::Again(failed(Some(now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1)))))
    }

    fn is_given_up(&self, since: DateTime<Utc>, now: DateTime<Utc>) -> bool {
        let tried = (now - since).to_std().unwrap_or_default();
        self.give_up.is_some_and(|most| tried >= most)
    }

    fn wait(&self, tries: u32, jitter: Jitter) -> Duration {
        let factor = 2_u32.checked_pow(tries.saturating_sub(1)).unwrap_or(u32::MAX);
        jitter.stretch(self.first.saturating_mul(factor).min(self.longest), self.jitter)
    }
}

/// Tries before an alert is given up, whatever the clock says: one that was set forward must not park what has failed once.
const LEAST_TRIES: u32 = 5;

/// Most that a receiver's `Retry-After` counts: a header of ten years must not silence a sink.
const LONGEST_ASKED: Duration = Duration::from_secs(86_400);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fetch::FetchError;

    const HOUR: Duration = Duration::from_secs(3600);

    fn retry() -> Retry {
        Retry { first: Duration::from_secs(5), longest: HOUR, jitter: 0.5, give_up: Some(24 * HOUR) }
    }

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn status(status: u16, retry_after: Option<Duration>) -> SinkError {
        let source = FetchError::Status { status, retry_after, not_before: None, host: "desk.example".into() };
        SinkError::Post { name: "desk".into(), source }
    }

    fn again(next: Next) -> Failure {
        let Next::Again(failure) = next else { panic!("{next:?}") };
        failure
    }

    #[test]
    fn tried_for_hours_with_longer_and_longer_waits_then_parked() {
        let (mut time, mut before, mut waits) = (now(), None, Vec::new());
        let parked = loop {
            match retry().after(before.as_ref(), &status(500, None), time, Jitter::of(1, waits.len() as i64)) {
                Next::Again(failure) => {
                    waits.push((failure.next_try.unwrap() - time).to_std().unwrap());
                    time = failure.next_try.unwrap();
                    before = Some(failure);
                }
                Next::Park(reason) => break reason,
                closed @ Next::Close(_) => panic!("{closed:?}"),
            }
        };
        assert!(waits[0] >= Duration::from_secs(5) && waits[0] <= Duration::from_millis(7_500), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= HOUR.mul_f64(1.5)));
        assert!((time - now()).num_hours() >= 24 && waits.len() > 20, "{} tries", waits.len());
        assert!(parked.contains("tried"), "{parked}");
    }

    #[test]
    fn the_receiver_may_ask_for_more_time_but_not_for_ever() {
        let asked = |time| again(retry().after(None, &status(429, Some(time)), now(), Jitter::of(1, 1)));
        assert_eq!(asked(2 * HOUR).next_try, Some(now() + TimeDelta::hours(2)));
        assert_eq!(asked(10_000 * HOUR).next_try, Some(now() + TimeDelta::days(1)));
        assert!(asked(Duration::ZERO).next_try.unwrap() > now());
    }

    #[test]
    fn gone_closes_and_refused_parks() {
        assert!(matches!(retry().after(None, &status(410, None), now(), Jitter::of(1, 1)), Next::Close(_)));
        assert!(matches!(retry().after(None, &status(413, None), now(), Jitter::of(1, 1)), Next::Park(_)));
    }

    #[test]
    fn a_clock_that_was_set_forward_gives_nothing_up() {
        let before = Failure { tries: 1, since: Some(DateTime::UNIX_EPOCH), next_try: None, error: String::new() };
        again(retry().after(Some(&before), &status(500, None), now(), Jitter::of(1, 1)));
    }

    #[test]
    fn what_is_on_this_machine_is_never_given_up() {
        let since = Some(now() - TimeDelta::days(400));
        let before = Failure { tries: 9_999, since, next_try: None, error: String::new() };
        let error = SinkError::Write { path: "a".into(), source: std::io::ErrorKind::StorageFull.into() };
        let failure = again(Retry::local().after(Some(&before), &error, now(), Jitter::of(1, 1)));
        assert_eq!(failure.next_try, Some(now() + TimeDelta::seconds(60)));
    }

    proptest! {
        #[test]
        fn every_wait_lies_within_its_bounds(tries in 0u32..u32::MAX, asked in 0u64..u64::MAX / 1_000, seed: i64) {
            let before = Failure { tries, since: Some(now()), next_try: None, error: String::new() };
            let error = status(503, Some(Duration::from_secs(asked)));
            let failure = again(retry().after(Some(&before), &error, now(), Jitter::of(seed, 0)));
            let wait = (failure.next_try.unwrap() - now()).to_std().unwrap();
            prop_assert!(wait >= Duration::from_secs(5) && wait <= 24 * HOUR);
        }
    }
}
