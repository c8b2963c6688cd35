//! How an alert file is kept. The defaults and their reasons are in `config/demarche.toml`.

use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

/// When the alert file is synced to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Fsync {
    /// After every block of lines.
    Always,
    /// After a while; alerts count as delivered from then on.
    Interval,
    /// Left to the operating system.
    Never,
}

/// How closed files are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Compression {
    /// Not at all.
    None,
    /// As `.zst`.
    Zstd,
    /// As `.gz`.
    Gzip,
}

impl Compression {
    /// The plain one first.
    pub(super) const ALL: [Self; 3] = [Self::None, Self::Zstd, Self::Gzip];

    /// What stands behind the names of files compressed so.
    pub(super) const fn end(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Zstd => ".zst",
            Self::Gzip => ".gz",
        }
    }

    /// How the file of this name is compressed, and what it was called before.
    pub(super) fn split(name: &str) -> (Self, &str) {
        let compressed = Self::ALL.into_iter().filter(|how| *how != Self::None);
        let mut known = compressed.filter_map(|how| Some((how, name.strip_suffix(how.end())?)));
        known.next().unwrap_or((Self::None, name))
    }

    /// How a file is compressed, by its name.
    pub(super) fn of(path: &Path) -> Self {
        path.file_name().and_then(|name| name.to_str()).map_or(Self::None, |name| Self::split(name).0)
    }
}

/// When the current file is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rotation {
    /// Before it grows beyond this, bytes; `None`: however large.
    pub size: Option<u64>,
    /// With the first alert of a day (UTC).
    pub daily: bool,
}

/// How long closed files are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Those closed longer ago are removed; `None`: however old.
    pub age: Option<Duration>,
    /// The oldest are removed until all of them together take no more, bytes; `None`: however much.
    pub total: Option<u64>,
}

/// All of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FilePolicy {
    /// When the file is synced to disk.
    pub fsync: Fsync,
    /// How long lines may wait for it with [`Fsync::Interval`].
    pub fsync_interval: Duration,
    /// When the current file is closed.
    pub rotation: Rotation,
    /// How closed files are compressed.
    pub compression: Compression,
    /// How long closed files are kept.
    pub keep: Keep,
}

impl FilePolicy {
    /// One file that only grows.
    pub fn plain(fsync: Fsync) -> Self {
        Self {
            fsync,
            fsync_interval: Duration::from_secs(1),
            rotation: Rotation { size: None, daily: false },
            compression: Compression::None,
            keep: Keep { age: None, total: None },
        }
    }

    /// Whether closed files are to be touched.
    pub fn tidies(&self) -> bool {
        self.compression != Compression::None || self.keep.age.is_some() || self.keep.total.is_some()
    }
}
