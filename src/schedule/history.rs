//! What the schedule remembers of a feed between polls; stored as JSON beside it.

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::fetch::ErrorClass;
use crate::item::PollHints;

/// Memory of the rate of new items. Shorter forgets a weekly habit; longer is slow to notice that a feed has come alive.
const MEMORY_DAYS: f64 = 7.0;

/// What is assumed of a feed at first, items a day: enough to poll it at its floor until its habit shows.
const FIRST_GUESS_PER_DAY: f64 = 2.0;

/// A feed that had entries for this long and then has none is suspicious; younger ones may just have started.
const HABIT_OF_ENTRIES: TimeDelta = TimeDelta::days(14);

/// Silence of this many usual gaps between items is beyond a feed's habit ...
const GAPS_OF_SILENCE: f64 = 10.0;
/// ... within these bounds: busy feeds have holidays, and nothing is habitual in a yearly feed.
const SHORTEST_SILENCE_DAYS: f64 = 7.0;
const LONGEST_SILENCE_DAYS: f64 = 90.0;

/// The schedule's memory of a feed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// What its last document said about polling.
    pub hints: PollHints,
    /// Whether it ever gave a validator.
    pub validators: bool,
    /// Failed polls in a row that count against it.
    pub errors: u32,
    /// Of these, the last ones that were all of the same class.
    pub same_class: u32,
    /// That class.
    pub class: Option<ErrorClass>,
    /// New items a day, averaged over about a week.
    pub per_day: f64,
    /// The highest that `per_day` has been lately: its habit, which silence wears off slowly.
    pub habit_per_day: f64,
    /// Items it had brought by the last poll; `None` until the backlog of the first one is known.
    pub counted: Option<u64>,
    /// When it last answered well.
    pub polled: Option<DateTime<Utc>>,
    /// When it last brought a new item, as far as known.
    pub last_new: Option<DateTime<Utc>>,
    /// When it last sent a document (not a 304).
    pub last_document: Option<DateTime<Utc>>,
    /// When it was last asked for one without conditions although it had given validators.
    pub refetched: Option<DateTime<Utc>>,
    /// Since when its documents have had entries.
    pub filled_since: Option<DateTime<Utc>>,
    /// Since when they have none, after a time with.
    pub emptied: Option<DateTime<Utc>>,
    /// A permanent redirect that has been seen but not adopted yet.
    pub moved: Option<Move>,
}

/// A permanent redirect under observation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Move {
    /// Where to.
    pub to: String,
    /// First sighting.
    pub since: DateTime<Utc>,
    /// Sightings.
    pub times: u32,
}

impl History {
    /// Reads what was stored; what cannot be read counts as nothing known.
    pub fn from_json(json: Option<&str>) -> Self {
        json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
    }

    /// As it is stored.
    pub fn to_json(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }

    /// Takes a good answer in: `items` is how many the feed had brought before this poll.
    pub(super) fn answered(&mut self, items: u64, now: DateTime<Utc>) {
        match (self.polled, self.counted) {
            (Some(last), Some(counted)) => self.brought(items.saturating_sub(counted), last, now),
            (Some(last), None) => self.last_new = Some(last),
            (None, _) => {
                self.per_day = FIRST_GUESS_PER_DAY;
                self.last_new = Some(now);
            }
        }
        self.counted = self.polled.map(|_| items);
        self.polled = Some(now);
        self.errors = 0;
        self.same_class = 0;
        self.class = None;
    }

    /// The poll at `last` brought `new` items.
    fn brought(&mut self, new: u64, last: DateTime<Utc>, now: DateTime<Utc>) {
        let days = days(now - last).max(0.0);
        self.per_day = self.per_day * (-days / MEMORY_DAYS).exp() + new as f64 / MEMORY_DAYS;
        // Ten times slower than the rate itself.
        self.habit_per_day = (self.habit_per_day * (-days / (10.0 * MEMORY_DAYS)).exp()).max(self.per_day);
        if new > 0 {
            self.last_new = Some(last);
        }
    }

    /// Takes a document in.
    pub(super) fn document(&mut self, hints: &PollHints, entries: usize, now: DateTime<Utc>) {
        self.hints = hints.clone();
        self.last_document = Some(now);
        if entries > 0 {
            self.filled_since.get_or_insert(now);
            self.emptied = None;
        } else if self.filled_since.take().is_some_and(|since| now - since >= HABIT_OF_ENTRIES) {
            self.emptied = Some(now);
        }
    }

    /// Takes a failure in.
    pub(super) fn failed(&mut self, class: ErrorClass) {
        self.same_class = if self.class == Some(class) { self.same_class.saturating_add(1) } else { 1 };
        self.errors = self.errors.saturating_add(1);
        self.class = Some(class);
    }

    /// Whether its entries vanished after weeks of having some ("silent zero").
    pub fn is_silent_zero(&self) -> bool {
        self.emptied.is_some()
    }

    /// Whether it is silent far beyond its habit.
    pub fn is_stale(&self, now: DateTime<Utc>) -> bool {
        let usual_gap = 1.0 / self.habit_per_day.max(f64::MIN_POSITIVE);
        let silence = (usual_gap * GAPS_OF_SILENCE).clamp(SHORTEST_SILENCE_DAYS, LONGEST_SILENCE_DAYS);
        self.last_new.is_some_and(|last| days(now - last) > silence)
    }

    /// Whether to ask once without conditions: the 304s have lasted `after` and beyond the feed's habit.
    pub fn wants_refetch(&self, after: std::time::Duration, now: DateTime<Utc>) -> bool {
        let last = self.last_document.max(self.refetched);
        let old = last.is_some_and(|last| (now - last).to_std().is_ok_and(|age| age >= after));
        old && self.is_stale(now)
    }
}

fn days(delta: TimeDelta) -> f64 {
    delta.num_seconds() as f64 / 86_400.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    /// Polls every six hours for `days`, `per_poll` new items each time.
    fn live(history: &mut History, from: DateTime<Utc>, days: i64, per_poll: u64) -> DateTime<Utc> {
        let mut now = from;
        for _ in 0..days * 4 {
            now += TimeDelta::hours(6);
            let items = history.counted.unwrap_or(30) + per_poll;
            history.answered(items, now);
        }
        now
    }

    #[test]
    fn the_backlog_of_the_first_poll_is_no_rate() {
        let mut history = History::default();
        history.answered(0, start());
        history.answered(500, start() + TimeDelta::hours(1));
        history.answered(500, start() + TimeDelta::hours(2));
        assert!(history.per_day <= FIRST_GUESS_PER_DAY, "{}", history.per_day);
    }

    #[test]
    fn the_rate_settles_at_what_the_feed_brings() {
        let mut history = History::default();
        live(&mut history, start(), 60, 3);
        assert!((history.per_day - 12.0).abs() < 1.5, "{}", history.per_day);
    }

    #[test]
    fn rule_56_a_feed_that_falls_silent_is_stale_by_its_own_habit() {
        let mut busy = History::default();
        let fell_silent = live(&mut busy, start(), 60, 3);
        let later = live(&mut busy, fell_silent, 6, 0);
        assert!(!busy.is_stale(later));
        let later = live(&mut busy, fell_silent, 10, 0);
        assert!(busy.is_stale(later));
        // One item in four days: ten days of silence are nothing.
        let mut slow = History::default();
        let mut now = start();
        for _ in 0..12 {
            now = live(&mut slow, now, 4, 0);
            slow.answered(slow.counted.unwrap_or(0) + 1, now + TimeDelta::minutes(1));
        }
        let later = live(&mut slow, now, 10, 0);
        assert!(!slow.is_stale(later));
        let later = live(&mut slow, now, 91, 0);
        assert!(slow.is_stale(later));
    }

    #[test]
    fn rule_56_entries_that_vanish_after_weeks_are_flagged_until_they_are_back() {
        let mut history = History::default();
        let hints = PollHints::default();
        history.document(&hints, 20, start());
        history.document(&hints, 0, start() + TimeDelta::days(3));
        assert!(!history.is_silent_zero(), "it may just have started");
        history.document(&hints, 20, start() + TimeDelta::days(4));
        history.document(&hints, 0, start() + TimeDelta::days(20));
        assert!(history.is_silent_zero());
        history.document(&hints, 1, start() + TimeDelta::days(21));
        assert!(!history.is_silent_zero());
    }

    #[test]
    fn rule_10_not_modified_for_ever_ends_in_one_unconditional_request_a_week_at_most() {
        let week = std::time::Duration::from_secs(7 * 86_400);
        let mut history = History::default();
        let busy_until = live(&mut history, start(), 30, 3);
        history.document(&PollHints::default(), 20, busy_until);
        let now = live(&mut history, busy_until, 6, 0);
        assert!(!history.wants_refetch(week, now));
        let now = live(&mut history, busy_until, 9, 0);
        assert!(history.wants_refetch(week, now));
        history.refetched = Some(now);
        let later = live(&mut history, now, 6, 0);
        assert!(!history.wants_refetch(week, later));
        let later = live(&mut history, now, 7, 0);
        assert!(history.wants_refetch(week, later));
    }

    #[test]
    fn memory_that_cannot_be_read_counts_as_none() {
        assert_eq!(History::from_json(Some("{\"errors\": \"many\"}")), History::default());
        let history = History { errors: 3, class: Some(ErrorClass::Dns), ..History::default() };
        assert_eq!(History::from_json(history.to_json().as_deref()), history);
    }
}
