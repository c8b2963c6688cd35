//! Whether the stages get on with their work: what each of them is at, and since when. An idle stage is at nothing; one
//! that waits out a full disk is not at it while it waits.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Longest time that one piece of work (a transaction, a batch of texts, a block of lines) may take. The slowest that are
/// known, a batch through the transformer on a starved machine or a sync on a dying disk, end in seconds; what takes longer
/// has hung, and only a restart helps. Lower would restart a slow machine for ever.
pub const HUNG: Duration = Duration::from_secs(120);

/// What is being worked on, by everybody; cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Pulse(Arc<Mutex<Working>>);

#[derive(Debug, Default)]
struct Working {
    next: u64,
    /// As many as there are stages and sinks at most: each is at one thing at a time.
    now: Vec<(u64, &'static str, Instant)>,
    /// What stages wait out: as many at most.
    troubles: Vec<(u64, &'static str, String)>,
}

/// Work, or a wait, that lasts until this is dropped.
#[derive(Debug)]
pub(super) struct Work {
    pulse: Pulse,
    id: u64,
}

impl Pulse {
    /// Notes that `stage` begins a piece of work.
    pub(super) fn begin(&self, stage: &'static str) -> Work {
        let mut working = self.lock();
        working.next += 1;
        let id = working.next;
        working.now.push((id, stage, Instant::now()));
        Work { pulse: self.clone(), id }
    }

    /// Notes that `stage` waits until `error` is mended.
    pub(super) fn trouble(&self, stage: &'static str, error: String) -> Work {
        let mut working = self.lock();
        working.next += 1;
        let id = working.next;
        working.troubles.push((id, stage, error));
        Work { pulse: self.clone(), id }
    }

    /// What is waited out, by whom.
    pub fn troubles(&self) -> Vec<(&'static str, String)> {
        self.lock().troubles.iter().map(|(_, stage, error)| (*stage, error.clone())).collect()
    }

    /// The stage that has been at one piece of work for longest, if that is longer than `limit`.
    pub fn hung(&self, limit: Duration) -> Option<(&'static str, Duration)> {
        let oldest =
            self.lock().now.iter().map(|(_, stage, since)| (*stage, since.elapsed())).max_by_key(|(_, at)| *at);
        oldest.filter(|(_, at)| *at > limit)
    }

    /// No panic happens under the lock; should one, the list is still whole.
    fn lock(&self) -> MutexGuard<'_, Working> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Work {
    fn drop(&mut self) {
        let mut working = self.pulse.lock();
        working.now.retain(|(id, ..)| *id != self.id);
        working.troubles.retain(|(id, ..)| *id != self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn only_one_long_piece_of_work_is_hung() {
        let pulse = Pulse::default();
        for _ in 0..10 {
            let _work = pulse.begin("judge");
            tokio::time::advance(HUNG / 2).await;
            assert_eq!(pulse.hung(HUNG), None);
        }
        tokio::time::advance(HUNG * 10).await;
        assert_eq!(pulse.hung(HUNG), None, "idle is not hung");
        let stuck = pulse.begin("commit");
        tokio::time::advance(HUNG + Duration::from_secs(1)).await;
        let _young = pulse.begin("judge");
        assert_eq!(pulse.hung(HUNG), Some(("commit", HUNG + Duration::from_secs(1))));
        drop(stuck);
        assert_eq!(pulse.hung(HUNG), None);
    }
}
