//! Spreading polls in time, only ever later.

use std::time::Duration;

/// A source of spread that is settled by its seed, so that the schedule stays a pure function.
#[derive(Debug, Clone, Copy)]
pub struct Jitter(u64);

impl Jitter {
    /// A source for one poll: `a` and `b` are what tells it from others, such as the feed and the time.
    pub fn of(a: i64, b: i64) -> Self {
        Self(mix(mix(a as u64) ^ b as u64))
    }

    /// A number in 0..1.
    pub fn unit(self) -> f64 {
        // 53 bits: what a double holds.
        (mix(self.0) >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// `wait` and up to `share` of it more.
    pub fn stretch(self, wait: Duration, share: f64) -> Duration {
        wait + wait.mul_f64(share.clamp(0.0, 1.0) * self.unit())
    }
}

/// The finaliser of SplitMix64: neighbouring seeds give unrelated numbers.
fn mix(seed: u64) -> u64 {
    let mut z = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// How far polls that are overdue at start-up are spread: quick for a list of feeds, an hour for a hundred thousand.
pub fn startup_spread(overdue: u64) -> Duration {
    /// About 28 polls a second: an hour for 100,000 feeds.
    const EACH: Duration = Duration::from_millis(36);
    const MOST: Duration = Duration::from_secs(3600);
    EACH.saturating_mul(overdue.try_into().unwrap_or(u32::MAX)).min(MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_20_neighbours_are_spread_evenly() {
        let mut buckets = [0; 10];
        for feed in 0..10_000 {
            buckets[(Jitter::of(feed, 1_700_000_000).unit() * 10.0) as usize] += 1;
        }
        assert!(buckets.iter().all(|count| (800..1200).contains(count)), "{buckets:?}");
    }

    #[test]
    fn rule_11_jitter_is_only_upward() {
        let hour = Duration::from_secs(3600);
        for feed in 0..1000 {
            let wait = Jitter::of(feed, 0).stretch(hour, 0.1);
            assert!((hour..=hour.mul_f64(1.1)).contains(&wait));
        }
    }

    #[test]
    fn rule_20_start_up_is_spread_by_the_number_of_feeds() {
        assert!(startup_spread(40) < Duration::from_secs(2));
        assert_eq!(startup_spread(100_000), Duration::from_secs(3600));
        assert_eq!(startup_spread(u64::MAX), Duration::from_secs(3600));
    }
}
