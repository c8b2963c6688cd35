//! Section `[state]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::time::Duration;

use serde::Deserialize;

use super::Keep;

/// Keys are looked at when they are seen, and noted once a day: a shorter memory would forget what a feed still lists.
const SHORTEST_MEMORY: Duration = Duration::from_secs(2 * 86_400);

/// How long after its end a story is still known: a sink that was down must be told of it as it was. One that is down for
/// longer is told of its later alerts as of a story that begins.
const SINK_DOWN: Duration = Duration::from_secs(14 * 86_400);

/// Where state lives, and how long.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StateConfig {
    /// Directory of the database; `auto` follows systemd, then the XDG base directories.
    pub dir: String,
    /// How long items are kept after their intake.
    #[serde(with = "humantime_serde")]
    pub keep_items: Duration,
    /// How long alerts are kept after their delivery.
    #[serde(with = "humantime_serde")]
    pub keep_alerts: Duration,
    /// How long an item is known after the last document that listed it.
    #[serde(with = "humantime_serde")]
    pub keep_seen: Duration,
}

impl StateConfig {
    /// How long what is kept; stories are silent for `window` at most.
    pub fn keep(&self, window: Duration) -> Keep {
        let stories = window + SINK_DOWN;
        Keep { items: self.keep_items, alerts: self.keep_alerts, seen: self.keep_seen, stories }
    }

    /// What is wrong with the values.
    pub fn problems(&self) -> Vec<String> {
        let short = self.keep_seen < SHORTEST_MEMORY;
        short
            .then(|| "`keep_seen` must be two days at least: what feeds still list would come again".to_owned())
            .into_iter()
            .collect()
    }
}
