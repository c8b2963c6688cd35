//! What can go wrong with the state database, with the remedy in the message.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use rusqlite::ErrorCode;
use thiserror::Error;

/// Why the store could not do what was asked.
#[derive(Debug, Error)]
pub enum StoreError {
    /// The state directory cannot be made or entered.
    #[error("use state directory {path}: {source}{}; name another with --state or [state] dir", whose(.owner))]
    Directory {
        /// The directory.
        path: PathBuf,
        /// To whom it belongs and who we are, where that is the trouble.
        owner: Option<(u32, u32)>,
        /// What the system said.
        source: std::io::Error,
    },
    /// Another process runs on the same state.
    #[error("lock {path}: another demarche is running on this state; stop it or name another directory with --state")]
    Locked {
        /// The lock file.
        path: PathBuf,
    },
    /// The database was written by a newer version.
    #[error("open {path}: written by a newer demarche (schema {found}, this one knows {known}); upgrade demarche")]
    Newer {
        /// The database file.
        path: PathBuf,
        /// Schema version found.
        found: usize,
        /// Newest schema version this program knows.
        known: usize,
    },
    /// The database is no longer where it was opened.
    #[error(
        "find the state database {path}: {source}; put it back (is its disk mounted?), or restart demarche to begin without it"
    )]
    Vanished {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A damaged database cannot be moved out of the way.
    #[error("set the damaged database {path} aside: {source}")]
    SetAside {
        /// The database file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// SQLite refused.
    #[error("{what}: {}", remedy(.source))]
    Sqlite {
        /// What was being done.
        what: &'static str,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// A row holds what this program did not write.
    #[error("read {what} from the database: {source}")]
    Row {
        /// Which column.
        what: &'static str,
        /// Why it is unreadable.
        source: serde_json::Error,
    },
    /// The store's thread has gone.
    #[error("reach the store: its thread has ended")]
    Gone,
}

impl StoreError {
    /// Whether the database is damaged, or none at all.
    pub fn is_damage(&self) -> bool {
        matches!(self.code(), Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
    }

    /// Whether waiting may help: the disk is full or read-only, or somebody holds the database.
    pub fn is_passing(&self) -> bool {
        let busy = [ErrorCode::DatabaseBusy, ErrorCode::DatabaseLocked];
        self.is_of_the_disk()
            || matches!(self, Self::Vanished { .. })
            || self.code().is_some_and(|code| busy.contains(&code))
    }

    /// Whether the disk, or what it is mounted as, is the trouble.
    pub(super) fn is_of_the_disk(&self) -> bool {
        let disk = [ErrorCode::DiskFull, ErrorCode::ReadOnly, ErrorCode::SystemIoFailure, ErrorCode::CannotOpen];
        self.code().is_some_and(|code| disk.contains(&code))
    }

    fn code(&self) -> Option<ErrorCode> {
        let Self::Sqlite { source, .. } = self else { return None };
        source.sqlite_error_code()
    }

    /// A state directory that cannot be used, with its owner where we are somebody else.
    pub(super) fn directory(path: &Path, source: std::io::Error) -> Self {
        let we = nix::unistd::geteuid().as_raw();
        let owner = std::fs::metadata(path).ok().map(|directory| directory.uid());
        let owner = owner.filter(|owner| source.kind() == std::io::ErrorKind::PermissionDenied && *owner != we);
        Self::Directory { path: path.to_owned(), owner: owner.map(|owner| (owner, we)), source }
    }
}

fn whose(owner: &Option<(u32, u32)>) -> String {
    owner.map_or(String::new(), |(owner, we)| {
        format!(": it belongs to user {owner} and this is user {we}; run as its owner, or give it to this user (chown)")
    })
}

fn remedy(error: &rusqlite::Error) -> String {
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => "; free some space on its disk",
        Some(ErrorCode::ReadOnly) => "; make the state directory writable",
        Some(ErrorCode::CannotOpen) => "; check that the state directory exists and is writable",
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            "; `demarche run` sets it aside and goes on with what can be read of it; or move the file away to start afresh"
        }
        _ => "",
    };
    format!("{error}{hint}")
}

/// Names what was being done when SQLite refused.
pub(super) trait During<T> {
    fn during(self, what: &'static str) -> Result<T, StoreError>;
}

impl<T> During<T> for Result<T, rusqlite::Error> {
    fn during(self, what: &'static str) -> Result<T, StoreError> {
        self.map_err(|source| StoreError::Sqlite { what, source })
    }
}
