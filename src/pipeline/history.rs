//! History taken in, group by group: each is committed with how far its sources have been read, then judged, before the
//! next is. So what an item meets in the store does not depend on how quick the stages are, nor on where a run was broken
//! off.

use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use futures_util::future::BoxFuture;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::commit::Backlog;
use super::persist::Persist;
use super::{Flow, PipelineError, Stages, Tally, capacity, judging};
use crate::item::{Entry, Identity};
use crate::store::{Batch, SourceCounts};

/// How often it is looked whether what an earlier run left waiting has been judged.
const LEFT_OVER: Duration = Duration::from_millis(20);

/// Told what each batch came to.
pub type Taken = dyn Fn(&Batch, &SourceCounts) + Send + Sync;

/// What a backfill is to the pipeline.
pub struct History {
    /// What its positions are kept under.
    pub run: Identity,
    /// Where records that cannot be read go.
    pub rejects: Option<Rejects>,
    /// Told what each batch came to once it is taken in.
    pub taken: Box<Taken>,
    /// Items that share one transaction.
    pub group: usize,
    /// Whether the quick model judges alone.
    pub quick: bool,
}

/// What a group holds so far. When it is full depends on the sources and the model alone.
#[derive(Debug, Default)]
struct Filled {
    items: usize,
    open: usize,
    bytes: usize,
    batches: usize,
}

impl Filled {
    fn add(&mut self, batch: &Batch) {
        self.items += batch.sightings.len();
        self.open += batch.sightings.iter().filter(|sighting| !sighting.settled).count();
        let text = |entry: &Entry| entry.title.len() + entry.summary.len();
        self.bytes += batch.sightings.iter().map(|sighting| text(&sighting.candidate.item.entry)).sum::<usize>();
        self.batches += 1;
    }

    fn is_full(&self, most: usize) -> bool {
        let Self { items, open, bytes, batches } = *self;
        let full = items >= most || open >= capacity::HISTORY_OPEN || bytes >= capacity::HISTORY_BYTES;
        full || batches >= capacity::HISTORY_BATCHES
    }
}

/// The file of rejects: JSON lines, cut back to what was committed when a run goes on.
#[derive(Debug)]
pub struct Rejects {
    path: PathBuf,
    file: File,
    length: u64,
}

impl Rejects {
    /// Opens `path` and keeps its first `length` bytes.
    ///
    /// # Errors
    /// [`PipelineError::Unwritable`].
    pub fn open(path: &Path, length: u64) -> Result<Self, PipelineError> {
        let failed = |source| PipelineError::Unwritable { path: path.to_owned(), source };
        let mut file = File::options().create(true).truncate(false).write(true).open(path).map_err(failed)?;
        let length = length.min(file.metadata().map_err(failed)?.len());
        file.set_len(length).map_err(failed)?;
        file.seek(SeekFrom::End(0)).map_err(failed)?;
        Ok(Self { path: path.to_owned(), file, length })
    }

    fn append<'a>(&mut self, lines: impl Iterator<Item = &'a String>) -> Result<(), PipelineError> {
        let mut block = String::new();
        lines.for_each(|line| {
            block.push_str(line);
            block.push('\n');
        });
        if block.is_empty() {
            return Ok(());
        }
        let written = self.file.write_all(block.as_bytes()).and_then(|()| self.file.sync_data());
        written.map_err(|source| PipelineError::Unwritable { path: self.path.clone(), source })?;
        self.length += block.len() as u64;
        Ok(())
    }
}

/// Runs what `source` sends through the same judge and deliver as live data.
pub fn feed_history(
    flow: Flow,
    history: History,
    source: impl FnOnce(mpsc::Sender<Vec<Batch>>) -> BoxFuture<'static, Result<(), PipelineError>>,
    stop: &CancellationToken,
) -> Stages {
    let ahead = if history.quick { capacity::HISTORY_AHEAD_QUICK } else { capacity::HISTORY_AHEAD };
    let (sender, batches) = mpsc::channel(ahead);
    let mut stages = Stages::new(stop.clone());
    stages.spawn("read", source(sender));
    let tally = flow.tally.clone();
    let (persist, backlog, wake) = judging(&mut stages, flow, stop);
    stages.spawn("take in", TakeIn { persist, tally, backlog, wake, history }.run(batches));
    stages
}

struct TakeIn {
    persist: Persist,
    tally: Arc<Tally>,
    backlog: Arc<Backlog>,
    /// Wakes the judge.
    wake: mpsc::Sender<()>,
    history: History,
}

impl TakeIn {
    async fn run(mut self, mut batches: mpsc::Receiver<Vec<Batch>>) -> Result<(), PipelineError> {
        self.left_over().await?;
        let (mut group, mut filled) = (Vec::new(), Filled::default());
        while let Some(bundle) = batches.recv().await {
            for batch in bundle {
                filled.add(&batch);
                let full = batch.flush || filled.is_full(self.history.group);
                group.push(batch);
                if full {
                    filled = Filled::default();
                    self.take_in(std::mem::take(&mut group)).await?;
                }
            }
        }
        // Cut short, a group would end elsewhere than in a run that is not stopped: it is read again.
        if group.is_empty() || self.persist.stop.is_cancelled() { Ok(()) } else { self.take_in(group).await }
    }

    /// Waits for the verdicts on what an earlier run left.
    async fn left_over(&self) -> Result<(), PipelineError> {
        while self.persist.call(|store| store.pending_count()).await? > 0 && !self.persist.stop.is_cancelled() {
            tokio::time::sleep(LEFT_OVER).await;
        }
        Ok(())
    }

    async fn take_in(&mut self, group: Vec<Batch>) -> Result<(), PipelineError> {
        if self.persist.stop.is_cancelled() {
            return Ok(());
        }
        if let Some(rejects) = &mut self.history.rejects {
            tokio::task::block_in_place(|| rejects.append(group.iter().flat_map(|batch| &batch.rejects)))?;
        }
        let (run, length) = (self.history.run, self.history.rejects.as_ref().map_or(0, |rejects| rejects.length));
        let group = Arc::new(group);
        let committed = group.clone();
        let (counts, waiting) = self
            .persist
            .call(move |store| {
                let counts = store.commit_history(run, &committed, length, Utc::now())?;
                Ok((counts, store.pending_count()?))
            })
            .await?;
        for (batch, counts) in group.iter().zip(&counts) {
            self.tally.history(counts);
            (self.history.taken)(batch, counts);
        }
        self.judged(waiting).await;
        Ok(())
    }

    /// Waits until the judge is through with the group.
    async fn judged(&self, waiting: usize) {
        self.backlog.set(waiting);
        if waiting == 0 {
            return;
        }
        // Full means that a wake-up is waiting already; closed means that the judge has failed and says so itself.
        let _ = self.wake.try_send(());
        tokio::select! {
            () = self.backlog.empty() => {}
            () = self.persist.stop.cancelled() => {}
        }
    }
}
