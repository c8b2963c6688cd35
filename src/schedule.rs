//! temporary
use serde::Deserialize;
/// x
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    /// x
    #[serde(with = "humantime_serde")]
    pub floor: std::time::Duration,
}
