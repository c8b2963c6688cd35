//! From the outbox to the sinks: a lane for each, so that none waits for another.

use std::sync::Arc;

use tokio::sync::{Notify, mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::lane::Lane;
use super::persist::Persist;
use super::{Mode, PipelineError, Tally};
use crate::sink::Outlet;

/// Asks the sinks to open anew what they write to (SIGHUP, after logrotate). Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reopen(Arc<Notify>);

impl Reopen {
    /// Asks; a question that is not yet answered stands for this one too.
    pub fn ask(&self) {
        self.0.notify_one();
    }
}

/// What the lanes are told: that there may be work, and how often they were asked to reopen. The end of the channel is
/// the end of the work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    pub reopen: u64,
}

pub(super) struct Deliver {
    pub persist: Persist,
    pub outlets: Vec<Outlet>,
    pub reopen: Reopen,
    pub tally: Arc<Tally>,
}

impl Deliver {
    /// Delivers what waits in the outbox until the judge has ended and nothing waits.
    pub async fn run(mut self, mut woken: mpsc::Receiver<()>) -> Result<(), PipelineError> {
        let (calls, called) = watch::channel(Calls::default());
        let ending = self.persist.stop.child_token();
        let mut lanes = self.start(&called, &ending);
        drop(called);
        loop {
            tokio::select! {
                wake = woken.recv() => match wake {
                    Some(()) => calls.send_modify(|_| ()),
                    None => break,
                },
                () = self.reopen.0.notified() => calls.send_modify(|calls| calls.reopen += 1),
                // A lane ends by itself only when it cannot go on.
                Some(ended) = lanes.join_next() => result(ended)?,
            }
        }
        ending.cancel();
        drop(calls);
        let mut first = Ok(());
        while let Some(ended) = lanes.join_next().await {
            first = first.and(result(ended));
        }
        first
    }

    fn start(&mut self, called: &watch::Receiver<Calls>, ending: &CancellationToken) -> JoinSet<Ended> {
        // A run that ends by itself delivers everything; a daemon, or the next configuration, goes on where it was.
        let leave = if self.persist.mode == Mode::Once { &self.persist.stop } else { ending };
        let mut lanes = JoinSet::new();
        for outlet in self.outlets.drain(..) {
            let lane = Lane::new(outlet, self.persist.clone(), self.tally.clone(), leave.clone());
            lanes.spawn(lane.run(called.clone()));
        }
        lanes
    }
}

/// How a lane ended.
type Ended = Result<(), PipelineError>;

fn result(ended: Result<Result<(), PipelineError>, JoinError>) -> Result<(), PipelineError> {
    ended.unwrap_or(Err(PipelineError::Panicked { stage: "deliver" }))
}

#[cfg(test)]
mod tests;
