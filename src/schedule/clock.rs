//! Clocks are set, and machines sleep: the time of day is compared with the steady clock, which does neither.

use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};

/// A difference up to here is the usual correction of a clock, and shorter than every plan. Larger would let a host wait that
/// long for its next request after the clock was set back; smaller would make much of a slow machine.
const SLACK: TimeDelta = TimeDelta::minutes(2);

/// The two clocks at the last look.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    wall: DateTime<Utc>,
    steady: Instant,
}

impl Clock {
    /// Begins to watch.
    pub fn new(wall: DateTime<Utc>, steady: Instant) -> Self {
        Self { wall, steady }
    }

    /// How far the time of day has jumped since the last look: less than nothing when the clock was set back, more when it
    /// was set ahead or the machine slept.
    pub fn look(&mut self, wall: DateTime<Utc>, steady: Instant) -> Option<TimeDelta> {
        let passed = TimeDelta::from_std(steady.saturating_duration_since(self.steady)).unwrap_or(TimeDelta::MAX);
        let jump = (wall - self.wall).checked_sub(&passed).unwrap_or(TimeDelta::MIN);
        *self = Self { wall, steady };
        (jump.abs() > SLACK).then_some(jump)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_jump_is_what_the_steady_clock_does_not_know_of() {
        let (mut wall, mut steady) = ("2026-03-01T12:00:00Z".parse().unwrap(), Instant::now());
        let mut clock = Clock::new(wall, steady);
        let mut look = |by: TimeDelta, passed: u64| {
            wall += by;
            steady += Duration::from_secs(passed);
            clock.look(wall, steady)
        };
        assert_eq!(look(TimeDelta::seconds(30), 30), None);
        assert_eq!(look(TimeDelta::days(3), 3 * 86_400), None, "a long wait is no jump");
        assert_eq!(look(TimeDelta::seconds(60), 30), None, "half a minute is a correction");
        assert_eq!(look(TimeDelta::hours(8) + TimeDelta::seconds(30), 30), Some(TimeDelta::hours(8)));
        assert_eq!(look(TimeDelta::seconds(30), 30), None, "said once");
        assert_eq!(look(TimeDelta::days(-365), 0), Some(TimeDelta::days(-365)));
    }
}
