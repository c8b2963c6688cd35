//! First durable boundary: new items together with their feed's validators and health.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Notify, mpsc};

use super::persist::Persist;
use super::schedule::Finished;
use super::{PipelineError, Polls, Tally, capacity};
use crate::store::Poll;

/// What the commit stage is sent: a poll to store, and whether it brought a document, was unmodified, or failed.
#[derive(Debug)]
pub struct Document {
    /// The poll.
    pub poll: Poll,
    /// How it ended.
    pub kind: Kind,
}

/// How a poll ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// With a document.
    Fresh,
    /// With 304.
    NotModified,
    /// With an error.
    Failed,
}

/// How many items wait for a verdict; intake pauses above the high-water mark.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    waiting: AtomicUsize,
    room: Notify,
}

impl Backlog {
    pub fn set(&self, waiting: usize) {
        self.waiting.store(waiting, Ordering::Release);
        if waiting < capacity::PENDING_HIGH_WATER {
            self.room.notify_one();
        }
    }

    /// Until nothing waits.
    pub async fn empty(&self) {
        while self.waiting.load(Ordering::Acquire) > 0 {
            self.room.notified().await;
        }
    }

    async fn room(&self) {
        while self.waiting.load(Ordering::Acquire) >= capacity::PENDING_HIGH_WATER {
            self.room.notified().await;
        }
    }
}

pub(super) struct Commit {
    pub persist: Persist,
    pub tally: Arc<Tally>,
    pub backlog: Arc<Backlog>,
    /// Wakes the judge.
    pub wake: mpsc::Sender<()>,
    /// Tells the schedule which feeds are free again.
    pub finished: Option<mpsc::Sender<Finished>>,
}

impl Commit {
    /// Stores what arrives, in groups, until intake closes.
    pub async fn run(self, mut documents: mpsc::Receiver<Document>) -> Result<(), PipelineError> {
        let mut group = Vec::new();
        loop {
            if !self.has_room().await {
                return Ok(());
            }
            if documents.recv_many(&mut group, capacity::COMMIT_GROUP).await == 0 {
                return Ok(());
            }
            self.store(std::mem::take(&mut group)).await?;
        }
    }

    /// False when the run stops while the judge is behind: what was not stored is fetched again.
    async fn has_room(&self) -> bool {
        tokio::select! {
            biased;
            () = self.backlog.room() => true,
            () = self.persist.stop.cancelled() => false,
        }
    }

    async fn store(&self, group: Vec<Document>) -> Result<(), PipelineError> {
        let (polls, kinds): (Vec<Poll>, Vec<Kind>) = group.into_iter().map(|d| (d.poll, d.kind)).unzip();
        let reports: Vec<Finished> = polls.iter().filter_map(report).collect();
        let polls: Polls = Arc::new(polls);
        let (counts, waiting) = self
            .persist
            .call(move |store| {
                let counts = store.commit_polls(&polls)?;
                Ok((counts, store.pending_count()?))
            })
            .await?;
        self.backlog.set(waiting);
        for (kind, counts) in kinds.into_iter().zip(counts) {
            match kind {
                Kind::Fresh => self.tally.document(counts),
                Kind::NotModified => self.tally.not_modified(),
                Kind::Failed => self.tally.failed(),
            }
        }
        if waiting > 0 {
            // Full means that a wake-up is waiting already; closed means that the judge has failed and says so itself.
            let _ = self.wake.try_send(());
        }
        self.free(reports).await;
        Ok(())
    }

    async fn free(&self, reports: Vec<Finished>) {
        let Some(finished) = &self.finished else { return };
        for report in reports {
            // The schedule may have ended: then nobody waits for this.
            let _ = finished.send(report).await;
        }
    }
}

/// What the schedule wants to know; nothing of documents that it did not ask for.
fn report(poll: &Poll) -> Option<Finished> {
    let health = poll.health.as_ref()?;
    Some(Finished { feed: poll.feed, next_poll: health.next_poll, penalty: health.penalty.clone() })
}
