//! When a feed is polled next, and why. Pure: time and the spread of polls are passed in.
//!
//! [`plan`] is the whole of it for one poll; [`HostGate`] keeps hosts from being hurried, [`Outage`] tells our own
//! trouble from that of the feeds.

mod backoff;
mod clock;
mod config;
mod gate;
mod hints;
mod history;
mod jitter;
mod outage;
mod redirect;
mod scope;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use crate::fetch::ErrorClass;
use crate::item::PollHints;

pub use clock::Clock;
pub use config::ScheduleConfig;
pub use gate::HostGate;
pub use history::{History, Move};
pub use jitter::{Jitter, startup_spread};
pub use outage::Outage;
pub use scope::{Scope, host, site};

/// What the user wants of a feed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Terms {
    /// Least time between polls, instead of the configured floors.
    pub floor: Option<Duration>,
    /// Time between polls whatever floors and servers say.
    pub interval: Option<Duration>,
    /// Least time between polls of a feed whose hub pushes; `None` if it has none.
    pub pushed: Option<Duration>,
}

/// How a poll went.
#[derive(Debug, Clone, Copy)]
pub enum Polled<'a> {
    /// With a good answer.
    Answered(Answered<'a>),
    /// Without.
    Failed(Failed),
    /// Without, while no host at all can be reached: nothing is held against the feed.
    Outage,
}

/// A good answer, as far as the schedule minds.
#[derive(Debug, Clone, Copy)]
pub struct Answered<'a> {
    /// The address that was polled.
    pub url: &'a Url,
    /// The document; `None` for 304.
    pub document: Option<Document<'a>>,
    /// Cache lifetime.
    pub not_before: Option<Duration>,
    /// Whether there is a validator for the next request.
    pub validators: bool,
    /// How many items the feed had brought before this poll.
    pub items_before: u64,
    /// Where permanent redirects lead.
    pub permanent_redirect: Option<&'a Url>,
    /// Whether validators were held back on purpose ([`History::wants_refetch`]).
    pub refetch: bool,
}

/// A document, as far as the schedule minds.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
    /// What it says about polling.
    pub hints: &'a PollHints,
    /// How many entries it has.
    pub entries: usize,
}

/// A failure, as far as the schedule minds.
#[derive(Debug, Clone, Copy)]
pub struct Failed {
    /// What kind.
    pub class: ErrorClass,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// Cache lifetime of the error page.
    pub not_before: Option<Duration>,
    /// Whether validators were held back on purpose.
    pub refetch: bool,
}

/// What settled the next poll.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Why {
    /// `--interval`.
    Interval,
    /// The floor.
    Floor,
    /// The floor for feeds without validators.
    NoValidators,
    /// The feed brings little.
    Quiet,
    /// `Cache-Control` or `Expires`.
    CacheLifetime,
    /// A hub pushes the feed; the poll is its safety net.
    Pushed,
    /// `<ttl>`.
    Ttl,
    /// The Syndication module.
    Syndication,
    /// skipHours or skipDays.
    Skip,
    /// `Retry-After`.
    RetryAfter,
    /// An error.
    BackOff,
    /// Our own outage.
    Outage,
    /// 410: never.
    Gone,
}

/// What follows from a poll.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// When to poll next; `None`: never again.
    pub next: Option<DateTime<Utc>>,
    /// What settled it.
    pub why: Why,
    /// The memory to keep.
    pub history: History,
    /// Until when the server asked that its other feeds wait too.
    pub penalty: Option<DateTime<Utc>>,
    /// The feed's new address, when a permanent redirect has proved lasting.
    pub moved_to: Option<Url>,
}

/// Plans the poll after the one at `now`.
pub fn plan(
    config: &ScheduleConfig,
    terms: Terms,
    history: &History,
    polled: &Polled<'_>,
    now: DateTime<Utc>,
    jitter: Jitter,
) -> Plan {
    let mut plan = Plan { next: None, why: Why::Gone, history: history.clone(), penalty: None, moved_to: None };
    let wait = match polled {
        Polled::Answered(answered) => {
            plan.moved_to = take_in(&mut plan.history, answered, now);
            let (wait, why) = interval(config, terms, &plan.history, answered.not_before, now);
            Some((jitter.stretch(wait, config.jitter), why))
        }
        Polled::Failed(failed) => {
            plan.history.failed(failed.class);
            if failed.refetch {
                plan.history.refetched = Some(now);
            }
            let floor = base(config, terms, &plan.history).0;
            let wait = backoff::wait(config, floor, &plan.history, failed);
            plan.penalty = wait.filter(|_| backoff::concerns_others(failed)).map(|(wait, _)| later(now, wait));
            wait.map(|(wait, why)| (jitter.stretch(wait, config.error_jitter), why))
        }
        Polled::Outage => Some((jitter.stretch(base(config, terms, history).0, config.error_jitter), Why::Outage)),
    };
    let Some((wait, why)) = wait else { return plan };
    (plan.next, plan.why) = match terms.interval {
        Some(interval) => {
            plan.penalty = None;
            (Some(later(now, interval)), Why::Interval)
        }
        None => settle(&plan.history, later(now, wait), why, jitter),
    };
    plan
}

fn settle(history: &History, at: DateTime<Utc>, why: Why, jitter: Jitter) -> (Option<DateTime<Utc>>, Why) {
    let allowed = hints::after_skips(&history.hints, at, jitter);
    (Some(allowed), if allowed == at { why } else { Why::Skip })
}

fn take_in(history: &mut History, answered: &Answered<'_>, now: DateTime<Utc>) -> Option<Url> {
    history.answered(answered.items_before, now);
    history.validators |= answered.validators;
    if let Some(document) = answered.document {
        history.document(document.hints, document.entries, now);
    }
    if answered.refetch {
        history.refetched = Some(now);
    }
    redirect::sighting(history, answered.url, answered.permanent_redirect, now)
}

/// The wait after a good answer: the largest of the floor, the feed's habit and the server's hints, the latter two no
/// larger than the ceiling.
pub fn interval(
    config: &ScheduleConfig,
    terms: Terms,
    history: &History,
    not_before: Option<Duration>,
    now: DateTime<Utc>,
) -> (Duration, Why) {
    let base = base(config, terms, history);
    let wishes = [
        (Some(habit(history)), Why::Quiet),
        (not_before, Why::CacheLifetime),
        (hints::ttl(&history.hints), Why::Ttl),
        (hints::syndication(&history.hints, now), Why::Syndication),
    ];
    let wishes = wishes.into_iter().filter_map(|(wish, why)| Some((wish?.min(config.ceiling), why)));
    let wishes = wishes.chain(terms.pushed.map(|least| (least, Why::Pushed)));
    wishes.fold(base, |largest, wish| if wish.0 > largest.0 { wish } else { largest })
}

/// The least wait. A feed that never answered is not known to lack validators.
fn base(config: &ScheduleConfig, terms: Terms, history: &History) -> (Duration, Why) {
    match terms.floor {
        Some(floor) => (floor, Why::Floor),
        None if history.validators || history.polled.is_none() => (config.floor, Why::Floor),
        None => (config.floor_without_validators, Why::NoValidators),
    }
}

/// A twelfth of the usual gap between new items: an item is seen late by no more than that, and a feed that brings two
/// a day or more is polled at its floor.
fn habit(history: &History) -> Duration {
    const POLLS_A_GAP: f64 = 12.0;
    /// A year: what a rate of nothing comes to.
    const LONGEST_S: f64 = 365.0 * 86_400.0;
    let gap_s = 86_400.0 / history.per_day.max(f64::MIN_POSITIVE);
    Duration::from_secs_f64((gap_s / POLLS_A_GAP).min(LONGEST_S))
}

fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    /// Far beyond every cap, and safe to add.
    const LONGEST: TimeDelta = TimeDelta::days(366);
    now + TimeDelta::from_std(wait).unwrap_or(LONGEST).min(LONGEST)
}

#[cfg(test)]
mod tests;
