//! How long a feed rests after an error.

use std::time::Duration;

use super::{Failed, History, ScheduleConfig, Why};
use crate::fetch::ErrorClass;

const DAY: Duration = Duration::from_secs(86_400);

/// A feed that is not found this often in a row is asked weekly from then on: about a week of waits that double to a
/// day. Fewer would lose a feed over a long weekend's mistake.
const NOT_FOUND_DAILY: u32 = 12;

/// The wait after a failure, `None` for never. `floor` is the least wait of this feed.
pub(super) fn wait(
    config: &ScheduleConfig,
    floor: Duration,
    history: &History,
    failed: &Failed,
) -> Option<(Duration, Why)> {
    if failed.class == ErrorClass::Gone {
        return None;
    }
    let (wait, why) = match failed.retry_after {
        Some(asked) => (asked.min(config.retry_after_cap), Why::RetryAfter),
        None => (own(config, floor, history, failed.class), Why::BackOff),
    };
    let cached = failed.not_before.unwrap_or_default().min(config.ceiling);
    Some(if cached > wait.max(floor) { (cached, Why::CacheLifetime) } else { (wait.max(floor), why) })
}

/// The wait where the server names none.
fn own(config: &ScheduleConfig, floor: Duration, history: &History, class: ErrorClass) -> Duration {
    match class {
        ErrorClass::RateLimited => doubled(config.rate_limited, history.same_class, config.retry_after_cap),
        ErrorClass::NotFound if history.same_class > NOT_FOUND_DAILY => 7 * DAY,
        _ => doubled(floor, history.errors, config.ceiling.max(floor)),
    }
}

/// `first` doubled with every error after the first one.
fn doubled(first: Duration, errors: u32, most: Duration) -> Duration {
    let factor = 2_u32.checked_pow(errors.saturating_sub(1)).unwrap_or(u32::MAX);
    first.saturating_mul(factor).min(most)
}

/// Whether the server wants to be left alone as a whole.
pub(super) fn concerns_others(failed: &Failed) -> bool {
    failed.class == ErrorClass::RateLimited || failed.retry_after.is_some()
}
