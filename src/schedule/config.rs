//! Section `[schedule]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::time::Duration;

use serde::Deserialize;

use super::scope::Scope;

/// When feeds are polled.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// Least time between polls of a feed that answers conditional requests.
    #[serde(with = "humantime_serde")]
    pub floor: Duration,
    /// Least time between polls of a feed that never gave a validator, so that each poll transfers the whole of it.
    #[serde(with = "humantime_serde")]
    pub floor_without_validators: Duration,
    /// Longest time between polls of a feed that answers, and the most that a server's hint counts.
    #[serde(with = "humantime_serde")]
    pub ceiling: Duration,
    /// Share of the interval that is added at most, at random (0–1).
    pub jitter: f64,
    /// The same after an error (0–1): feeds that failed together must not come back together.
    pub error_jitter: f64,
    /// First wait after 429 without `Retry-After`; doubles.
    #[serde(with = "humantime_serde")]
    pub rate_limited: Duration,
    /// Most that a `Retry-After` or the doubling of `rate_limited` counts.
    #[serde(with = "humantime_serde")]
    pub retry_after_cap: Duration,
    /// Whose other feeds wait too when a server asks to be left alone.
    pub penalty_scope: Scope,
    /// Age of the last document from which a feed that is silent beyond its habit is asked without conditions, in case
    /// its 304s are wrong.
    #[serde(with = "humantime_serde")]
    pub refetch_after: Duration,
    /// Requests to one host at the same time.
    pub host_concurrency: usize,
    /// Least time between the starts of two requests to one host.
    #[serde(with = "humantime_serde")]
    pub host_gap: Duration,
    /// Least time between a poll and a check by hand.
    #[serde(with = "humantime_serde")]
    pub manual_cooldown: Duration,
}

impl ScheduleConfig {
    /// Longer than any wait before a feed's first poll or a hub's next question: what lies further ahead was planned under
    /// a clock that was wrong.
    pub fn longest_plan(&self) -> Duration {
        /// A month: the longest lease that hubs are known to grant.
        const LEASE: Duration = Duration::from_secs(31 * 86_400);
        self.retry_after_cap.saturating_mul(2).max(LEASE)
    }
}
