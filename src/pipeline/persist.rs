//! Store calls that wait out a passing trouble (disk full, read-only, busy) in a daemon, and end a single run.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::pulse::{Pulse, Work};
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
    pub pulse: Pulse,
    /// Who works with it, for the pulse.
    pub stage: &'static str,
}

impl Persist {
    /// The same for another stage.
    pub fn of(&self, stage: &'static str) -> Self {
        Self { stage, ..self.clone() }
    }

    /// Notes that the stage begins a piece of work, which lasts until the answer is dropped.
    pub fn begin(&self) -> Work {
        self.pulse.begin(self.stage)
    }

    /// Runs `work` until it succeeds, fails for good, or the run stops.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl Fn(&mut Store) -> Result<T, StoreError> + Clone + Send + 'static,
    ) -> Result<T, PipelineError> {
        let mut pauses = Pauses::new();
        loop {
            let at_work = self.begin();
            let error = match self.store.call(work.clone()).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            drop(at_work);
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
        let _trouble = self.pulse.trouble(self.stage, error.to_string());
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
