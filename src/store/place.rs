//! Whether the database is still where it was opened: a mount may vanish, or come back as another, under an open file, and
//! what is written then goes nowhere.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::{Store, StoreError};

/// Which file a path leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    device: u64,
    inode: u64,
}

impl Place {
    pub fn of(path: &Path) -> io::Result<Self> {
        std::fs::metadata(path).map(|file| Self { device: file.dev(), inode: file.ino() })
    }
}

impl Store {
    /// Makes sure that the open database is the one at its path. After a failure of the disk, or with another file there,
    /// it is opened anew; one that is gone is not made anew, since the directory may be that beneath a mount.
    pub(super) fn check_place(&mut self) -> Result<(), StoreError> {
        let gone = |source| StoreError::Vanished { path: self.path.clone(), source };
        if Place::of(&self.path).map_err(gone)? == self.place && !self.is_suspect {
            return Ok(());
        }
        let directory = self.path.parent().unwrap_or(Path::new(".")).to_owned();
        let again = Self::open(&directory)?;
        tracing::warn!(path = %self.path.display(), "opened the state database anew");
        *self = again;
        Ok(())
    }

    /// Notes how a piece of work ended: a disk that failed may be back under another name, which an open file does not see.
    pub(super) fn note<T>(&mut self, result: &Result<T, StoreError>) {
        self.is_suspect |= result.as_ref().is_err_and(StoreError::is_of_the_disk);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{FeedSpec, StoreHandle};

    fn spec(url: &str) -> FeedSpec {
        FeedSpec { url: url.into(), title: None, tags: vec![], floor_s: None }
    }

    #[tokio::test]
    async fn a_database_that_vanishes_takes_nothing_and_goes_on_when_it_is_back() {
        let dir = tempfile::tempdir().unwrap();
        let (here, away) = (dir.path().join("state"), dir.path().join("away"));
        let (store, _thread) = StoreHandle::start(Store::open(&here).unwrap()).unwrap();
        let add = |url: &'static str| store.call(move |store| store.add_feeds(&[spec(url)]));
        assert_eq!(add("https://a.example/").await.unwrap(), 1);
        std::fs::rename(&here, &away).unwrap();
        // What is beneath the mount.
        std::fs::create_dir(&here).unwrap();
        let error = add("https://b.example/").await.unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("put it back"), "{error}");
        assert_eq!(std::fs::read_dir(&here).unwrap().count(), 0, "nothing is made there");
        std::fs::remove_dir(&here).unwrap();
        std::fs::rename(&away, &here).unwrap();
        assert_eq!(add("https://b.example/").await.unwrap(), 1);
        assert_eq!(store.call(|store| store.feeds(true)).await.unwrap().len(), 2);
    }

    #[tokio::test]
    async fn another_database_in_its_place_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (here, away, other) = (dir.path().join("state"), dir.path().join("away"), dir.path().join("other"));
        let (store, _thread) = StoreHandle::start(Store::open(&here).unwrap()).unwrap();
        Store::open(&other).unwrap().add_feeds(&[spec("https://other.example/")]).unwrap();
        std::fs::rename(&here, &away).unwrap();
        std::fs::rename(&other, &here).unwrap();
        assert_eq!(store.call(|store| store.feeds(true)).await.unwrap()[0].url, "https://other.example/");
    }

    /// The limit on pages stands in for a disk that is full.
    #[tokio::test]
    async fn a_full_disk_refuses_whole_transactions_and_ends_by_itself() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        let pages: u32 = store.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        store.connection.pragma_update(None, "max_page_count", pages).unwrap();
        let (store, _thread) = StoreHandle::start(store).unwrap();
        let many = || (0..500).map(|n| spec(&format!("https://{n}.example/{}", "x".repeat(200)))).collect::<Vec<_>>();
        let error = store.call(move |store| store.add_feeds(&many())).await.unwrap_err();
        assert!(error.is_passing() && error.to_string().contains("free some space"), "{error}");
        assert_eq!(store.call(|store| store.feeds(true)).await.unwrap().len(), 0);
        assert_eq!(
            store.call(move |store| store.add_feeds(&many())).await.unwrap(),
            500,
            "opened anew, without the limit"
        );
    }
}
