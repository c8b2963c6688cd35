//! From the outbox to the sinks: a lane for each, so that none waits for another.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};

use super::lane::Lane;
use super::persist::Persist;
use super::{PipelineError, Tally, capacity};
use crate::sink::Outlet;

/// What the sinks of a run are told to do.
pub enum Order {
    /// Open anew what they write to (SIGHUP, after logrotate).
    Reopen,
    /// Make way for these: the configuration was read again. The store must know them (`Store::sync_sinks`).
    Replace(Vec<Outlet>),
}

/// Gives orders to the sinks of a run. Cheap to clone.
#[derive(Clone)]
pub struct SinkControl(mpsc::Sender<Order>);

impl SinkControl {
    /// The control, and what goes into the [`Flow`](super::Flow).
    pub fn new() -> (Self, mpsc::Receiver<Order>) {
        let (sender, orders) = mpsc::channel(capacity::ORDERS);
        (Self(sender), orders)
    }

    /// Has the sinks open anew what they write to.
    pub fn reopen(&self) {
        // Full means that an order to the same effect is waiting; closed, that nothing is open any more.
        let _ = self.0.try_send(Order::Reopen);
    }

    /// Puts `outlets` in the place of the sinks there are; each goes on where the store says. Their files must not be open
    /// yet ([`FileSink::later`](crate::sink::FileSink::later)): the present ones still write.
    pub async fn replace(&self, outlets: Vec<Outlet>) {
        // Closed: the run has ended, and the next one begins with the new configuration.
        let _ = self.0.send(Order::Replace(outlets)).await;
    }
}

/// What the lanes are told: that there may be work, how often they were asked to reopen, and whether to make way. The end
/// of the channel is the end of the work.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    pub reopen: u64,
    pub leave: bool,
}

pub(super) struct Deliver {
    pub persist: Persist,
    pub outlets: Vec<Outlet>,
    pub orders: mpsc::Receiver<Order>,
    pub tally: Arc<Tally>,
}

impl Deliver {
    /// Delivers what waits in the outbox until the judge has ended and nothing waits.
    pub async fn run(mut self, mut woken: mpsc::Receiver<()>) -> Result<(), PipelineError> {
        let outlets = std::mem::take(&mut self.outlets);
        let mut lanes = self.start(outlets);
        loop {
            tokio::select! {
                wake = woken.recv() => match wake {
                    Some(()) => lanes.call(|_| ()),
                    None => return lanes.end().await,
                },
                Some(order) = self.orders.recv() => match order {
                    Order::Reopen => lanes.call(|calls| calls.reopen += 1),
                    Order::Replace(outlets) => {
                        lanes.call(|calls| calls.leave = true);
                        lanes.end().await?;
                        lanes = self.start(outlets);
                    }
                },
                // A lane ends by itself only when it cannot go on.
                Some(ended) = lanes.tasks.join_next() => result(ended)?,
            }
        }
    }

    fn start(&self, outlets: Vec<Outlet>) -> Lanes {
        let (calls, called) = watch::channel(Calls::default());
        let mut tasks = JoinSet::new();
        for outlet in outlets {
            tasks.spawn(Lane::new(outlet, self.persist.clone(), self.tally.clone()).run(called.clone()));
        }
        Lanes { calls, tasks }
    }
}

/// The lanes at work.
struct Lanes {
    calls: watch::Sender<Calls>,
    tasks: JoinSet<Result<(), PipelineError>>,
}

impl Lanes {
    fn call(&self, what: impl FnOnce(&mut Calls)) {
        self.calls.send_modify(what);
    }

    /// Waits for every lane to finish its work.
    async fn end(self) -> Result<(), PipelineError> {
        let Self { calls, mut tasks } = self;
        drop(calls);
        let mut first = Ok(());
        while let Some(ended) = tasks.join_next().await {
            first = first.and(result(ended));
        }
        first
    }
}

fn result(ended: Result<Result<(), PipelineError>, JoinError>) -> Result<(), PipelineError> {
    ended.unwrap_or(Err(PipelineError::Panicked { stage: "deliver" }))
}

#[cfg(test)]
mod tests;
