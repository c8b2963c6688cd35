//! Feed documents from files and directories.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use chrono::Utc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::dedup;
use crate::item::Document as FeedDocument;
use crate::parse::{Context, ParseError, parse};
use crate::pipeline::{Document, Kind, PipelineError, Tally};
use crate::store::{Intake, Origin, Poll, StoreError, StoreHandle};

/// Largest document that is read, in bytes: the fetcher's default cap is a quarter of it, archives may be longer.
const LARGEST: u64 = 64 * 1024 * 1024;

/// The files of a backfill: the arguments in order, each directory's files by name, nothing twice.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Files(Vec<PathBuf>);

impl Files {
    /// Walks `paths`.
    ///
    /// # Errors
    /// [`PipelineError::Unreadable`] for the first path that is not there or a directory that cannot be listed.
    pub fn find(paths: &[PathBuf]) -> Result<Self, PipelineError> {
        let (mut files, mut seen) = (Vec::new(), BTreeSet::new());
        for path in paths {
            walk(path, &mut |file| {
                if seen.insert(file.clone()) {
                    files.push(file);
                }
            })?;
        }
        Ok(Self(files))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

fn walk(path: &Path, found: &mut impl FnMut(PathBuf)) -> Result<(), PipelineError> {
    let failed = |source| PipelineError::Unreadable { path: path.to_owned(), source };
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        found(path.to_owned());
        return Ok(());
    }
    let entries: Result<Vec<_>, _> = std::fs::read_dir(path).map_err(failed)?.collect();
    let mut children: Vec<PathBuf> = entries.map_err(failed)?.into_iter().map(|entry| entry.path()).collect();
    children.sort();
    // A link to a directory is not followed: it may lead back here.
    children.retain(|child| !(child.is_symlink() && child.is_dir()));
    children.iter().try_for_each(|child| walk(child, found))
}

/// Reads and parses every file and sends what it holds to the pipeline. A file that fails is counted and logged; the
/// rest goes on.
pub async fn read_files(
    files: Files,
    store: StoreHandle,
    tally: Arc<Tally>,
    documents: mpsc::Sender<Document>,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    for path in files.0 {
        if stop.is_cancelled() {
            break;
        }
        let name = path.display().to_string();
        let read = tokio::task::spawn_blocking(move || read_one(&path)).await;
        let read = read.map_err(|_| PipelineError::Panicked { stage: "read" })?;
        let document = match read {
            Ok(parsed) => document(parsed, &name, &store).await?,
            Err(error) => {
                tracing::warn!(file = name, error, "passed over a file");
                tally.failed();
                continue;
            }
        };
        if documents.send(document).await.is_err() {
            break;
        }
    }
    Ok(())
}

fn read_one(path: &Path) -> Result<FeedDocument, String> {
    use std::io::Read;
    let mut body = Vec::new();
    let file = std::fs::File::open(path).map_err(|error| format!("read: {error}"))?;
    file.take(LARGEST + 1).read_to_end(&mut body).map_err(|error| format!("read: {error}"))?;
    if body.len() as u64 > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    parse(&Bytes::from(body), &Context::default()).map_err(|error: ParseError| error.to_string())
}

/// The document under the address it gives itself, so that its items are those that polling the feed gave; under its
/// site's, or its file's, if it gives none.
async fn document(parsed: FeedDocument, file: &str, store: &StoreHandle) -> Result<Document, StoreError> {
    let scope = parsed.self_url.clone().or_else(|| parsed.site.clone()).unwrap_or_else(|| format!("file:{file}"));
    let address = scope.clone();
    let (feed, policy) = store.call(move |store| store.backfill_feed(&address)).await?;
    let now = Utc::now();
    let sorted = dedup::sort(parsed.entries, &scope, policy, now);
    let intake = Intake { candidates: sorted.candidates, rejected: sorted.rejected.len(), policy: sorted.policy };
    let poll = Poll { feed, at: now, origin: Origin::Backfill, health: None, own_title: parsed.title, intake };
    Ok(Document { poll, kind: Kind::Fresh })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_come_in_order_and_once() {
        let dir = tempfile::tempdir().unwrap();
        for name in ["b.xml", "a.xml"] {
            std::fs::write(dir.path().join(name), "").unwrap();
        }
        let files = Files::find(&[dir.path().to_owned(), dir.path().join("a.xml")]).unwrap();
        assert_eq!(files.0, [dir.path().join("a.xml"), dir.path().join("b.xml")]);
    }

    #[test]
    fn a_missing_path_is_named() {
        let error = Files::find(&["/nowhere/feed.xml".into()]).unwrap_err().to_string();
        assert!(error.starts_with("read /nowhere/feed.xml"), "{error}");
    }
}
