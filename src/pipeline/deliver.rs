//! From the outbox to the alert file: append, sync, then mark delivered.

use std::collections::HashSet;
use std::sync::Arc;

use chrono::Utc;
use tokio::sync::mpsc;

use super::persist::{Pauses, Persist};
use super::{PipelineError, Tally, capacity};
use crate::sink::{JsonlSink, SinkError};
use crate::store::Waiting;

pub(super) struct Deliver {
    pub persist: Persist,
    pub sink: JsonlSink,
    pub tally: Arc<Tally>,
}

impl Deliver {
    /// Delivers what waits in the outbox until the judge has ended and nothing waits.
    pub async fn run(mut self, mut woken: mpsc::Receiver<()>) -> Result<(), PipelineError> {
        let mut written = self.left_by_a_crash().await?;
        loop {
            self.drain(&mut written).await?;
            if woken.recv().await.is_none() {
                // The judge's last commit may have come after our last look.
                return self.drain(&mut written).await;
            }
        }
    }

    /// Delivers until nothing waits.
    async fn drain(&mut self, written: &mut HashSet<String>) -> Result<(), PipelineError> {
        loop {
            let batch = self.persist.call(|store| store.waiting(capacity::DELIVERY_BATCH)).await?;
            if batch.is_empty() {
                return Ok(());
            }
            self.deliver(batch, written).await?;
        }
    }

    /// Alerts that stand in the file though the outbox does not say so: the last run was killed in between. Only the
    /// first batch can be such.
    async fn left_by_a_crash(&mut self) -> Result<HashSet<String>, PipelineError> {
        let waiting = self.persist.call(|store| store.waiting(capacity::DELIVERY_BATCH)).await?;
        if waiting.is_empty() {
            return Ok(HashSet::new());
        }
        let ids = waiting.into_iter().map(|alert| alert.alert_id).collect();
        Ok(tokio::task::block_in_place(|| self.sink.already_written(&ids))?)
    }

    async fn deliver(&mut self, batch: Vec<Waiting>, written: &mut HashSet<String>) -> Result<(), PipelineError> {
        let fresh: Vec<&Waiting> = batch.iter().filter(|alert| !written.remove(&alert.alert_id)).collect();
        if !fresh.is_empty() {
            self.append(&fresh).await?;
        }
        let (count, seqs) = (fresh.len(), batch.iter().map(|alert| alert.seq).collect::<Arc<[i64]>>());
        self.persist.call(move |store| store.mark_delivered(&seqs, Utc::now())).await?;
        self.tally.delivered(count);
        Ok(())
    }

    async fn append(&mut self, alerts: &[&Waiting]) -> Result<(), SinkError> {
        let mut pauses = Pauses::new();
        loop {
            let lines = alerts.iter().map(|alert| alert.line.as_str());
            match tokio::task::block_in_place(|| self.sink.append(lines)) {
                Ok(()) => return Ok(()),
                Err(error) => {
                    if !self.persist.wait(&mut pauses, &error).await {
                        return Err(error);
                    }
                }
            }
        }
    }
}
