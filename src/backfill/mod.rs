//! History as a source of work, through the same parser, identity, model and alerts as live data.
//!
//! ```text
//! source → walk → unpack → cut into pieces ──▶ parse, sort, quick model ──▶ take in ⇒ judge ⇒ deliver
//!                  one thread                    as many as --jobs            in the order of the source
//! ```
//!
//! A piece's borders, the groups that are committed and the order of everything depend on the sources alone, never on
//! timing; so a run that was broken off and goes on writes what one that was not would have.

mod config;
mod elements;
mod extsort;
mod feeder;
mod fields;
mod lines;
mod members;
mod mend;
mod meter;
mod page;
mod piece;
mod read;
mod report;
mod sitemap;
mod sniff;
mod sort;
mod source;
mod table;
mod walk;
mod warc;
mod web;
mod wide;
mod work;

use std::cmp::Ordering;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::Utc;
use futures_util::{StreamExt, stream};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use feeder::{Feeder, Stop};
use piece::{Bundle, Content, Position};
use read::{Reading, unreadable};
use walk::{Unlisted, Walk};
use web::Visit;

pub use config::BackfillConfig;
pub use fields::FieldMap;
pub use meter::Caps;
pub use read::Limits;
pub use report::Digest;
pub use sort::{SortError, sort_into};
pub use source::Source;
pub use web::{Pages, Rules, Web};
pub use work::{Window, Work};

use crate::pipeline::{PipelineError, capacity};
use crate::store::{Batch, SourceCounts, SourceState};

/// What is read, and how.
pub struct Plan {
    /// The sources, in order.
    pub sources: Vec<Source>,
    /// What is too much.
    pub limits: Limits,
    /// Pieces that are parsed at once.
    pub jobs: usize,
    /// Items after which reading ends.
    pub limit: Option<u64>,
    /// How far an earlier run has come.
    pub resume: HashMap<usize, SourceState>,
    /// Files and directories that the run itself writes to: passed over in directories and patterns.
    pub own: Vec<PathBuf>,
    /// How sources on the web are asked, if there are any.
    pub web: Option<Web>,
}

/// Reads the sources of `plan` and sends what they hold, in order, until they end or the run is told to stop.
///
/// # Errors
/// Only for faults of this program; a source's faults are part of what is sent.
pub async fn read_sources(
    plan: Plan,
    work: Arc<Work>,
    batches: mpsc::Sender<Vec<Batch>>,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let (sender, pieces) = mpsc::channel(capacity::HISTORY_PIECES);
    let (jobs, limit) = (plan.jobs, plan.limit);
    let last: HashMap<usize, String> =
        plan.resume.iter().map(|(source, state)| (*source, state.position.clone())).collect();
    let begun = last.iter().map(|(source, position)| (*source, Position::parse(position)));
    let begun = begun.filter(|(_, position)| position.taken > 0).collect();
    let reading = read_all(plan, work.clone(), sender, stop);
    let parsing = parse_all(pieces, work, jobs, Ordered { batches, left: limit, begun, last });
    tokio::try_join!(reading, parsing).map(|_| ())
}

async fn read_all(
    plan: Plan,
    work: Arc<Work>,
    pieces: mpsc::Sender<Bundle>,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let room = Arc::new(Semaphore::new(capacity::HISTORY_ROOM_KIB));
    for (index, source) in plan.sources.into_iter().enumerate() {
        let state = plan.resume.get(&index).cloned().unwrap_or_default();
        if state.done || pieces.is_closed() || stop.is_cancelled() {
            continue;
        }
        let position = Position::parse(&state.position);
        if let (Some(feeds), Some(web)) = (source.feeds(), &plan.web) {
            let (pieces, stop, frontier) = (pieces.clone(), stop.clone(), position.web.unwrap_or_default());
            let visit = Visit { web, source: index, pieces, stop, frontier, sent: position.pieces };
            // That it ends early is seen by whoever takes its pieces.
            let _ = visit.run(&feeds).await;
            continue;
        }
        let mut feeder = Feeder::new(pieces.clone(), room.clone(), stop.clone(), index);
        let (work, limits, own) = (work.clone(), plan.limits.clone(), plan.own.clone());
        let read = move || {
            let mut reading = Reading { feeder: &mut feeder, fields: &work.fields, limits: &limits };
            read_local(&source, &own, &position, &mut reading)
        };
        tokio::task::spawn_blocking(read).await.map_err(|_| PipelineError::Panicked { stage: "read" })?;
    }
    Ok(())
}

/// Reads a local source from `position` on. That it ends early is seen by whoever takes its pieces.
fn read_local(source: &Source, own: &[PathBuf], position: &Position, reading: &mut Reading<'_>) {
    let walk = match source {
        Source::Stdin => {
            // What comes this time need not be what came last time: it is read from its beginning, and what is known is known.
            reading.feeder.begin("-", 0, None);
            let ended = reading.stream("-", std::io::stdin().lock());
            return drop(ended.and_then(|()| reading.feeder.end()));
        }
        Source::Path(path) => Walk::tree(path),
        Source::Glob(pattern) => match Walk::glob(pattern) {
            Ok(walk) => walk,
            Err(_) => return,
        },
        Source::Web(_) | Source::Opml(..) => return,
    };
    let walk = walk.filter(|file| !file.as_ref().is_ok_and(|path| is_own(path, source, own)));
    let _ = read_files(walk, source, position, reading);
}

fn read_files(
    walk: impl Iterator<Item = Result<PathBuf, Unlisted>>,
    source: &Source,
    position: &Position,
    reading: &mut Reading<'_>,
) -> Result<(), Stop> {
    let mut found = false;
    for file in walk {
        let (path, unlisted) = match file {
            Ok(path) => (path, None),
            Err((path, error)) => (path, Some(error)),
        };
        found = true;
        let name = path.display().to_string();
        let stamp = stamp(&path);
        let known = match Path::new(&name).cmp(Path::new(&position.file)) {
            Ordering::Less => continue,
            Ordering::Equal if position.stamp == stamp => position.pieces,
            Ordering::Equal => {
                tracing::warn!("{name} has changed since the run was broken off: it is read again from its beginning");
                0
            }
            Ordering::Greater => 0,
        };
        reading.feeder.begin(&name, known, stamp);
        match unlisted {
            Some(error) => reading.feeder.send(&name.as_str().into(), Content::Failed(unreadable(&name, &error)))?,
            None => reading.file(&path, &name)?,
        }
    }
    if !found {
        let name = source.name();
        reading.feeder.begin(&name, 0, None);
        let reject = piece::Reject::of(&name, "no files", "nothing matches");
        reading.feeder.send(&name.as_str().into(), Content::Failed(reject))?;
    }
    reading.feeder.end()
}

/// Whether the run writes to `path` itself. What lies in its state directory is read if the source lies in there too.
fn is_own(path: &Path, source: &Source, own: &[PathBuf]) -> bool {
    let within =
        |own: &PathBuf| path.starts_with(own) && !matches!(source, Source::Path(root) if root.starts_with(own));
    own.iter().any(within)
}

/// What tells a file from what it was before.
fn stamp(path: &Path) -> Option<u64> {
    let file = std::fs::metadata(path).ok()?;
    let written = file.modified().ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    let hash = blake3::hash(format!("{} {}", file.len(), written.as_nanos()).as_bytes());
    hash.as_bytes().first_chunk().map(|first| u64::from_le_bytes(*first))
}

/// Parses pieces, several at once, and passes on what they come to in their order.
async fn parse_all(
    pieces: mpsc::Receiver<Bundle>,
    work: Arc<Work>,
    jobs: usize,
    mut ordered: Ordered,
) -> Result<(), PipelineError> {
    let pieces = stream::unfold(pieces, |mut pieces| async { pieces.recv().await.map(|piece| (piece, pieces)) });
    let parsed = pieces.map(|bundle| {
        let work = work.clone();
        let batch = move |piece| work::batch(piece, &work, Utc::now());
        tokio::task::spawn_blocking(move || {
            // The room is given back when all of it is parsed.
            let Bundle { pieces, room: _room } = bundle;
            pieces.into_iter().map(batch).collect::<Vec<Batch>>()
        })
    });
    let mut parsed = std::pin::pin!(parsed.buffered(jobs.max(1)));
    while let Some(bundle) = parsed.next().await {
        let bundle = bundle.map_err(|_| PipelineError::Panicked { stage: "parse" })?;
        if !ordered.pass_on(bundle).await {
            break;
        }
    }
    Ok(())
}

/// What comes after parsing: in order again.
struct Ordered {
    batches: mpsc::Sender<Vec<Batch>>,
    /// Items that may still be taken in.
    left: Option<u64>,
    /// Where an earlier run was cut within a piece that has not come yet.
    begun: HashMap<usize, Position>,
    /// The last position of each source.
    last: HashMap<usize, String>,
}

impl Ordered {
    /// Whether there may be more.
    async fn pass_on(&mut self, mut bundle: Vec<Batch>) -> bool {
        let mut ends = None;
        for (place, batch) in bundle.iter_mut().enumerate() {
            let taken = self.pass_over(batch);
            let cut = self.cut(batch, taken);
            for note in &batch.notes {
                tracing::warn!("{note}");
            }
            if cut {
                ends = Some(place + 1);
                break;
            }
        }
        bundle.truncate(ends.unwrap_or(usize::MAX));
        self.batches.send(bundle).await.is_ok() && ends.is_none()
    }

    /// Takes out of the piece that an earlier run was cut in what that run has taken in and counted; how many items.
    fn pass_over(&mut self, batch: &mut Batch) -> u64 {
        let Some(begun) = self.begun.remove(&batch.source) else { return 0 };
        let Position { file, pieces, stamp, .. } = Position::parse(&batch.position);
        if (file, pieces, stamp) != (begun.file, begun.pieces + 1, begun.stamp) {
            return 0;
        }
        let taken = begun.taken.min(batch.sightings.len() as u64);
        batch.sightings.drain(..taken as usize);
        batch.counts = SourceCounts { read: batch.sightings.len() as u64, ..SourceCounts::default() };
        (batch.notes, batch.rejects) = Default::default();
        taken
    }

    /// Cuts a batch to the items that are left, and says then that the next run goes on within it. `taken` of its items were known
    /// before.
    fn cut(&mut self, batch: &mut Batch, taken: u64) -> bool {
        let Some(left) = &mut self.left else { return false };
        let items = batch.sightings.len() as u64;
        let over = items.saturating_sub(*left);
        *left -= items - over;
        if over > 0 {
            batch.sightings.truncate((items - over) as usize);
            batch.counts.read -= over;
            batch.done = false;
            let reached = Position::parse(&batch.position);
            let web = self.last.get(&batch.source).and_then(|before| Position::parse(before).web);
            let (pieces, taken) = (reached.pieces.saturating_sub(1), taken + items - over);
            batch.position = Position { pieces, taken, web, ..reached }.text();
        }
        self.last.insert(batch.source, batch.position.clone());
        over > 0 || *left == 0
    }
}
