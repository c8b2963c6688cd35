//! What documents say about polling: `<ttl>`, the Syndication module, skipHours and skipDays.

use std::time::Duration;

use chrono::{DateTime, Datelike, DurationRound, TimeDelta, Timelike, Utc};

use super::jitter::Jitter;
use crate::item::PollHints;

/// `<ttl>` as a duration.
pub(super) fn ttl(hints: &PollHints) -> Option<Duration> {
    hints.ttl_min.map(|minutes| Duration::from_secs(u64::from(minutes) * 60))
}

/// Time until the Syndication module expects something new: its period, or, where it names a base, its next beat.
pub(super) fn syndication(hints: &PollHints, now: DateTime<Utc>) -> Option<Duration> {
    let period = i64::from(hints.sy_period_s.filter(|period| *period > 0)?);
    let since_beat = hints.sy_base.map_or(0, |base| now.timestamp().saturating_sub(base).rem_euclid(period));
    Some(Duration::from_secs((period - since_beat).unsigned_abs()))
}

/// `at`, or the first time after it that is neither in a skipped hour nor on a skipped day (GMT). A feed that skips
/// everything is not taken at its word.
pub(super) fn after_skips(hints: &PollHints, at: DateTime<Utc>, jitter: Jitter) -> DateTime<Utc> {
    /// Every combination of hour and day comes up within a week.
    const HOURS_A_WEEK: i64 = 7 * 24;
    /// Not everybody at the first minute.
    const SPREAD_S: f64 = 1800.0;
    if !is_skipped(hints, at) {
        return at;
    }
    let hour = at.duration_trunc(TimeDelta::hours(1)).unwrap_or(at);
    let spread = TimeDelta::seconds((jitter.unit() * SPREAD_S) as i64);
    let hours = (1..=HOURS_A_WEEK).map(|ahead| hour + TimeDelta::hours(ahead));
    hours.into_iter().find(|hour| !is_skipped(hints, *hour)).map_or(at, |hour| hour + spread)
}

fn is_skipped(hints: &PollHints, at: DateTime<Utc>) -> bool {
    hints.skip_hours & (1 << at.hour()) != 0 || hints.skip_days & (1 << at.weekday().num_days_from_monday()) != 0
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_secs(3600);

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn rule_15_ttl_is_in_minutes() {
        assert_eq!(ttl(&PollHints { ttl_min: Some(90), ..PollHints::default() }), Some(Duration::from_secs(5400)));
    }

    #[test]
    fn rule_16_the_period_counts_from_the_base_where_there_is_one() {
        let now = at("2026-03-01T11:30:00Z");
        let daily = PollHints { sy_period_s: Some(86_400), ..PollHints::default() };
        assert_eq!(syndication(&daily, now), Some(24 * HOUR));
        let noon = PollHints { sy_base: Some(at("2000-01-01T12:00:00Z").timestamp()), ..daily.clone() };
        assert_eq!(syndication(&noon, now), Some(HOUR / 2));
        assert_eq!(syndication(&noon, at("2026-03-01T12:00:00Z")), Some(24 * HOUR));
        let future = PollHints { sy_base: Some(at("2030-01-01T12:00:00Z").timestamp()), ..daily };
        assert_eq!(syndication(&future, now), Some(HOUR / 2));
        assert_eq!(syndication(&PollHints { sy_period_s: Some(0), ..PollHints::default() }, now), None);
    }

    #[test]
    fn rule_17_skipped_hours_and_days_are_passed_over() {
        let jitter = Jitter::of(1, 2);
        let night = PollHints { skip_hours: 0b1111, ..PollHints::default() };
        let next = after_skips(&night, at("2026-03-02T01:20:00Z"), jitter);
        assert!((at("2026-03-02T04:00:00Z")..at("2026-03-02T04:30:00Z")).contains(&next), "{next}");
        assert_eq!(after_skips(&night, at("2026-03-02T05:20:00Z"), jitter), at("2026-03-02T05:20:00Z"));
        // 2026-02-28 is a Saturday.
        let weekend = PollHints { skip_days: 0b110_0000, ..PollHints::default() };
        let next = after_skips(&weekend, at("2026-02-28T15:00:00Z"), jitter);
        assert!((at("2026-03-02T00:00:00Z")..at("2026-03-02T00:30:00Z")).contains(&next), "{next}");
    }

    #[test]
    fn rule_17_a_feed_that_skips_everything_is_polled_all_the_same() {
        let all = PollHints { skip_hours: 0xff_ffff, skip_days: 0x7f, ..PollHints::default() };
        assert_eq!(after_skips(&all, at("2026-03-02T01:20:00Z"), Jitter::of(1, 2)), at("2026-03-02T01:20:00Z"));
    }
}
