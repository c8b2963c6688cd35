//! The tasks of a run: started by name, waited for, stopped by one door.

use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;

use tokio::task::{Id, JoinSet};
use tokio_util::sync::CancellationToken;

use super::PipelineError;

/// A stage's name and how it ended.
type Ended = (&'static str, Result<(), PipelineError>);

/// The stages of a run. Cancelling the token stops intake; the other stages end as their inputs close.
pub struct Stages {
    tasks: JoinSet<Ended>,
    names: Vec<(Id, &'static str)>,
    running: BTreeSet<&'static str>,
    stop: CancellationToken,
}

impl Stages {
    pub(super) fn new(stop: CancellationToken) -> Self {
        Self { tasks: JoinSet::new(), names: Vec::new(), running: BTreeSet::new(), stop }
    }

    pub(super) fn spawn(
        &mut self,
        name: &'static str,
        stage: impl Future<Output = Result<(), PipelineError>> + Send + 'static,
    ) {
        let handle = self.tasks.spawn(async move { (name, stage.await) });
        self.names.push((handle.id(), name));
        self.running.insert(name);
    }

    /// Waits for every stage. The first failure stops the others; after a stop they have `drain` to finish.
    ///
    /// # Errors
    /// The first stage's failure, or [`PipelineError::Stuck`] with the stages that did not finish.
    pub async fn join(mut self, drain: Duration) -> Result<(), PipelineError> {
        let mut first = Ok(());
        let deadline = self.stop.clone();
        let deadline = async move {
            deadline.cancelled().await;
            tokio::time::sleep(drain).await;
        };
        tokio::pin!(deadline);
        loop {
            tokio::select! {
                ended = self.tasks.join_next_with_id() => match ended {
                    None => return first,
                    Some(ended) => {
                        let result = self.ended(ended);
                        if result.is_err() {
                            self.stop.cancel();
                        }
                        first = first.and(result);
                    }
                },
                () = &mut deadline => return first.and(Err(self.stuck(drain))),
            }
        }
    }

    fn ended(&mut self, ended: Result<(Id, Ended), tokio::task::JoinError>) -> Result<(), PipelineError> {
        let (stage, result) = match ended {
            Ok((_, (stage, result))) => (stage, result),
            Err(error) => {
                let name = self.names.iter().find(|(id, _)| *id == error.id()).map_or("unknown", |(_, name)| *name);
                (name, Err(PipelineError::Panicked { stage: name }))
            }
        };
        self.running.remove(stage);
        tracing::debug!(stage, ok = result.is_ok(), "stage ended");
        result
    }

    fn stuck(&mut self, drain: Duration) -> PipelineError {
        self.tasks.abort_all();
        let stages = self.running.iter().copied().collect::<Vec<_>>().join(", ");
        PipelineError::Stuck { stages, drain }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DRAIN: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_stuck_stage_is_named_after_the_deadline() {
        let stop = CancellationToken::new();
        let mut stages = Stages::new(stop.clone());
        stages.spawn("quick", async { Ok(()) });
        stages.spawn("judge", std::future::pending());
        stop.cancel();
        let error = stages.join(DRAIN).await.unwrap_err().to_string();
        assert_eq!(error, "stop within 30s: still busy: judge");
    }

    #[tokio::test(start_paused = true)]
    async fn a_failing_stage_stops_the_others_and_its_error_is_kept() {
        let stop = CancellationToken::new();
        let mut stages = Stages::new(stop.clone());
        stages.spawn("commit", async { Err(PipelineError::Store(crate::store::StoreError::Gone)) });
        let waiting = stop.clone();
        stages.spawn("schedule", async move {
            waiting.cancelled().await;
            Ok(())
        });
        assert!(matches!(stages.join(DRAIN).await, Err(PipelineError::Store(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_names_its_stage() {
        let mut stages = Stages::new(CancellationToken::new());
        stages.spawn("judge", async { panic!("on purpose") });
        assert!(matches!(stages.join(DRAIN).await, Err(PipelineError::Panicked { stage: "judge" })));
    }
}
