//! How long scoring takes, and of how much at once.

use std::time::Duration;

use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};

/// Two distributions since the start. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Seconds from handing a batch over to its verdicts.
    pub seconds: Histogram,
    /// Texts in a batch.
    pub items: Histogram,
}

impl Default for Timing {
    /// From a millisecond (what the prefilter settles) to half a minute (a starved machine), and from one text to a full
    /// batch and beyond, each bound twice the last.
    fn default() -> Self {
        Self {
            seconds: Histogram::new(exponential_buckets(0.001, 2.0, 16)),
            items: Histogram::new(exponential_buckets(1.0, 2.0, 9)),
        }
    }
}

impl Timing {
    /// A batch of `items` texts took `time`.
    pub fn observe(&self, items: usize, time: Duration) {
        self.seconds.observe(time.as_secs_f64());
        self.items.observe(items as f64);
    }
}
