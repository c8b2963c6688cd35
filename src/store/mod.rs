//! State: feeds and their schedule, items and their outcomes, the outbox. One SQLite file in WAL mode.
//!
//! [`Store`] is the file itself, synchronous; [`StoreHandle`] is how the pipeline reaches it: one thread owns the
//! connection, so transactions never interleave and no lock is held across an await.

mod clock;
mod config;
mod error;
mod feeds;
mod handle;
mod health;
mod history;
mod items;
mod keys;
mod observe;
mod outbox;
mod place;
mod prune;
mod salvage;
mod sinks;
mod stories;
#[cfg(test)]
mod tests;
mod verdicts;
mod websub;

use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::Connection;

pub use config::StateConfig;
use error::During;
pub use error::StoreError;
pub use feeds::{DueFeed, FeedOrigin, FeedRow, FeedSpec, Penalty};
pub use handle::{StoreHandle, StoreThread};
pub use health::Health;
pub use history::{Batch, JudgedCounts, Outlet, Resume, Sighting, SourceCounts, SourceState};
pub use items::{Intake, Origin, Poll, PollCounts};
use keys::Fresh;
pub use observe::{SinkStanding, Standing};
pub use outbox::Waiting;
use place::Place;
pub use prune::{Hand, Keep, Pruned};
pub use salvage::Salvaged;
pub use sinks::{Failure, Settled, SinkState};
pub use verdicts::{Judged, Pending, Raised};
pub use websub::{Hub, Subscribed};

/// Schema changes in order; the database's `user_version` counts how many it has had.
const MIGRATIONS: [&str; 7] = [
    include_str!("migrations/0001_first.sql"),
    include_str!("migrations/0002_websub.sql"),
    include_str!("migrations/0003_sink.sql"),
    include_str!("migrations/0004_ops.sql"),
    include_str!("migrations/0005_backfill.sql"),
    include_str!("migrations/0006_story.sql"),
    include_str!("migrations/0007_keys.sql"),
];

/// How long a statement waits for another process (such as `feeds add`) to finish its transaction, in milliseconds.
/// Shorter makes such commands fail beside a busy daemon; longer hides a stuck one.
const BUSY_TIMEOUT_MS: u32 = 5_000;

/// Pages kept in memory, KiB. Keys are hashes, so every commit touches leaves all over the index: with SQLite's usual 2 MiB
/// they are read again and written twice within one commit. More only helps databases of many million items.
const CACHE_KIB: i64 = 16 * 1024;

/// Pages (of 4 KiB) in the log before it is moved into the database: a leaf that several commits touch is moved once. More
/// makes the log, and the pause when it is moved, larger.
const CHECKPOINT_PAGES: i64 = 8_000;

/// File name of the database in the state directory.
const DATABASE: &str = "demarche.sqlite";

/// The state database.
#[derive(Debug)]
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// Which file it is.
    place: Place,
    /// Whether the disk has failed since it was opened.
    is_suspect: bool,
    /// Keys of history that are not in the index yet.
    fresh: Fresh,
}

/// Held while a pipeline runs on a state directory; released when dropped or when the process dies.
#[derive(Debug)]
pub struct StateLock {
    _file: File,
}

impl Store {
    /// Opens or makes the database in `dir`.
    ///
    /// # Errors
    /// When the directory cannot be made or written, or the file is not this program's.
    pub fn open(dir: &Path) -> Result<Self, StoreError> {
        let unusable = |source| StoreError::directory(dir, source);
        std::fs::create_dir_all(dir).map_err(unusable)?;
        let path = dir.join(DATABASE);
        let connection = Connection::open(&path).during("open the state database")?;
        let place = Place::of(&path).map_err(unusable)?;
        let mut store = Self { connection, path, place, is_suspect: false, fresh: Fresh::default() };
        store.configure().during("open the state database")?;
        store.migrate()?;
        Ok(store)
    }

    /// Whether there is a database in `dir`.
    pub fn is_in(dir: &Path) -> bool {
        dir.join(DATABASE).exists()
    }

    /// Takes the exclusive right to run a pipeline on `dir`.
    ///
    /// # Errors
    /// [`StoreError::Locked`] when another process has it.
    pub fn lock(dir: &Path) -> Result<StateLock, StoreError> {
        let unusable = |source| StoreError::directory(dir, source);
        std::fs::create_dir_all(dir).map_err(unusable)?;
        let path = dir.join("lock");
        let file = File::options().create(true).truncate(false).write(true).open(&path).map_err(unusable)?;
        match file.try_lock() {
            Ok(()) => Ok(StateLock { _file: file }),
            Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path }),
            Err(TryLockError::Error(source)) => Err(unusable(source)),
        }
    }

    /// WAL with `synchronous = FULL`: what is committed stays, through a killed process and through a power cut.
    /// Transactions take the write lock at once: one that reads first and finds the database changed when it comes to
    /// write would fail, however long the time-out.
    fn configure(&mut self) -> rusqlite::Result<()> {
        self.connection.set_transaction_behavior(rusqlite::TransactionBehavior::Immediate);
        self.connection.pragma_update(None, "busy_timeout", BUSY_TIMEOUT_MS)?;
        self.connection.pragma_update(None, "journal_mode", "WAL")?;
        self.connection.pragma_update(None, "synchronous", "FULL")?;
        self.connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
        self.connection.pragma_update(None, "wal_autocheckpoint", CHECKPOINT_PAGES)?;
        self.connection.pragma_update(None, "foreign_keys", true)
    }

    fn migrate(&mut self) -> Result<(), StoreError> {
        let what = "bring the state database up to date";
        let transaction = self.connection.transaction().during(what)?;
        let found: usize = transaction.pragma_query_value(None, "user_version", |row| row.get(0)).during(what)?;
        if found > MIGRATIONS.len() {
            return Err(StoreError::Newer { path: self.path.clone(), found, known: MIGRATIONS.len() });
        }
        for migration in MIGRATIONS.iter().skip(found) {
            transaction.execute_batch(migration).during(what)?;
        }
        transaction.pragma_update(None, "user_version", MIGRATIONS.len()).during(what)?;
        transaction.commit().during(what)
    }
}

#[cfg(test)]
mod opening {
    use super::*;

    #[test]
    fn opening_twice_keeps_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        Store::open(dir.path()).unwrap();
        Store::open(dir.path()).unwrap();
    }

    #[test]
    fn a_newer_schema_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        store.connection.pragma_update(None, "user_version", 99).unwrap();
        drop(store);
        assert!(Store::open(dir.path()).unwrap_err().to_string().contains("upgrade demarche"));
    }

    #[test]
    fn the_lock_is_exclusive() {
        let dir = tempfile::tempdir().unwrap();
        let held = Store::lock(dir.path()).unwrap();
        assert!(matches!(Store::lock(dir.path()), Err(StoreError::Locked { .. })));
        drop(held);
        Store::lock(dir.path()).unwrap();
    }
}
