//! Keeps the database as large as its ages allow: a little at a time, beside the flow.

use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::persist::Persist;
use super::{Mode, PipelineError};
use crate::store::{Keep, Pruned};

/// Between two steps when nothing is old. A step looks at 2,000 keys, so that a day's steps go once round seventeen million;
/// shorter only wakes the disk.
const REST: Duration = Duration::from_secs(10);

/// Between two steps when there is more to forget: the flow goes first.
const BREATH: Duration = Duration::from_millis(100);

/// Steps of a run that ends by itself, at its start: enough for what a day brings, when such a run comes each day, in well
/// under a second.
const STEPS_OF_ONE_RUN: usize = 20;

pub(super) struct Tidy {
    pub persist: Persist,
    pub keep: Keep,
}

impl Tidy {
    /// Forgets what is old until the run stops; a run that ends by itself forgets some of it and goes on.
    pub async fn run(self, stop: CancellationToken) -> Result<(), PipelineError> {
        let mut hand = self.persist.call(|store| store.any_hand()).await?;
        let mut forgotten = Pruned::default();
        for step in 1.. {
            let keep = self.keep;
            let (pruned, next) = self.persist.call(move |store| store.prune(&keep, hand, Utc::now())).await?;
            hand = next;
            forgotten.add(pruned);
            let ends = self.persist.mode == Mode::Once && step >= STEPS_OF_ONE_RUN;
            if ends || !rest(if pruned.is_full() { BREATH } else { REST }, self.persist.mode, &stop).await {
                break;
            }
        }
        if forgotten != Pruned::default() {
            let Pruned { items, alerts, keys, stories } = forgotten;
            tracing::debug!(items, alerts, keys, stories, "forgot what is older than [state] keeps");
        }
        Ok(())
    }
}

/// False when the run stops. A run that ends by itself has no time to rest.
async fn rest(pause: Duration, mode: Mode, stop: &CancellationToken) -> bool {
    if mode == Mode::Once {
        return !stop.is_cancelled();
    }
    tokio::select! {
        () = tokio::time::sleep(pause) => true,
        () = stop.cancelled() => false,
    }
}
