//! Store calls that wait out a passing trouble (disk full, read-only, busy) in a daemon, and end a single run.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Mode, PipelineError};
use crate::store::{Store, StoreError, StoreHandle};

/// First pause after a failure; doubles up to [`LONGEST_PAUSE`]. Shorter would spin on a full disk.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// Longest pause: how late a daemon notices that the disk is free again.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The store with patience.
#[derive(Clone)]
pub(super) struct Persist {
    pub store: StoreHandle,
    pub mode: Mode,
    pub stop: CancellationToken,
}

impl Persist {
    /// Runs `work` until it succeeds, fails for good, or the run stops.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Store) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, PipelineError> {
        let mut pauses = Pauses::new();
        loop {
            let error = match self.store.call(work.clone()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if !error.is_passing() || !self.wait(&mut pauses, &error).await {
                return Err(error.into());
            }
        }
    }

    /// Waits for the next try; false when there is none.
    async fn wait(&self, pauses: &mut Pauses, error: &(dyn std::error::Error + Sync)) -> bool {
        if self.mode == Mode::Once || self.stop.is_cancelled() {
            return false;
        }
        let pause = pauses.next();
        tracing::error!(error = %error, retry_in_s = pause.as_secs(), "nothing more is taken in until this is mended");
        tokio::select! {
            () = tokio::time::sleep(pause) => true,
            () = self.stop.cancelled() => false,
        }
    }
}

/// Doubling pauses.
struct Pauses(Duration);

impl Pauses {
    pub fn new() -> Self {
        Self(FIRST_PAUSE)
    }

    fn next(&mut self) -> Duration {
        let pause = self.0;
        self.0 = (pause * 2).min(LONGEST_PAUSE);
        pause
    }
}
