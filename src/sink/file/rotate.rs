//! Closing the current file: when, and under what name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Timelike, Utc};

use super::closed::Names;
use super::{Compression, Rotation};
use crate::sink::step::{self, Step};

/// More closed files of one second than this are not believed.
const SAME_SECOND: u32 = 1_000;

/// Whether the current file of `length` bytes, written to at `last`, is to be closed before `more` bytes are added.
pub(super) fn is_due(rotation: &Rotation, length: u64, last: DateTime<Utc>, more: u64, now: DateTime<Utc>) -> bool {
    // A block larger than the limit gets a file of its own. A clock that was set back closes nothing.
    let outgrown = rotation.size.is_some_and(|most| length.saturating_add(more) > most);
    let of_another_day = rotation.daily && now.date_naive() > last.date_naive();
    length > 0 && (outgrown || of_another_day)
}

/// Gives the current file a closed name; the current name is then free.
pub(super) fn rotate(path: &Path, now: DateTime<Utc>) -> io::Result<()> {
    let closed = free_name(path, now)?;
    std::fs::rename(path, &closed)?;
    sync_directory(path);
    step::pass(Step::Renamed);
    tracing::info!(path = %path.display(), closed = %closed.display(), "closed the alert file; starting a new one");
    Ok(())
}

/// A closed name that no file has, compressed or not, since `rename` would replace it; and behind those of the same second,
/// though earlier ones may have been removed.
fn free_name(path: &Path, now: DateTime<Utc>) -> io::Result<PathBuf> {
    let names = Names::of(path);
    let second = now.with_nanosecond(0).unwrap_or(now);
    let same = names.list()?.into_iter().filter(|file| file.at.0 == second).map(|file| file.at.1 + 1);
    for count in same.max().unwrap_or(0)..SAME_SECOND {
        let name = names.closed(now, count);
        if !is_taken(&name)? {
            return Ok(name);
        }
    }
    Err(io::Error::new(io::ErrorKind::AlreadyExists, "every name of this second is taken"))
}

/// Whether a closed file has this name, compressed or not. A listing may miss a file that is being compressed under both of
/// its names; asked for in this order it is found, since the compressed one is there before the other goes.
fn is_taken(name: &Path) -> io::Result<bool> {
    for how in Compression::ALL {
        if with_end(name, how.end()).try_exists()? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// `path` with `end` behind its name.
pub(super) fn with_end(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// Makes a new name outlast a power cut. Not every file system can: then the name is as safe as it makes it.
pub(super) fn sync_directory(path: &Path) {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if let Err(error) = File::open(dir).and_then(|dir| dir.sync_all()) {
        tracing::debug!(dir = %dir.display(), %error, "cannot sync the directory");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn by_size_before_the_limit_is_passed() {
        let (rotation, now) = (Rotation { size: Some(100), daily: false }, time("2026-03-01T12:00:00Z"));
        assert!(!is_due(&rotation, 60, now, 40, now));
        assert!(is_due(&rotation, 60, now, 41, now));
        assert!(!is_due(&rotation, 0, now, 1_000, now));
    }

    #[test]
    fn by_day_with_the_first_alert_of_the_next() {
        let (rotation, last) = (Rotation { size: None, daily: true }, time("2026-03-01T23:59:59Z"));
        assert!(!is_due(&rotation, 60, last, 1, time("2026-03-01T23:59:59Z")));
        assert!(is_due(&rotation, 60, last, 1, time("2026-03-02T00:00:00Z")));
        assert!(!is_due(&rotation, 0, last, 1, time("2026-03-02T00:00:00Z")));
        assert!(!is_due(&rotation, 60, last, 1, time("2026-02-27T12:00:00Z")), "the clock was set back");
    }

    #[test]
    fn no_closed_file_is_ever_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let (path, now) = (dir.path().join("alerts.jsonl"), time("2026-03-01T12:00:00Z"));
        for (count, text) in ["a", "b", "c"].iter().enumerate() {
            std::fs::write(&path, text).unwrap();
            rotate(&path, now).unwrap();
            assert!(!path.exists());
            assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), count + 1);
        }
    }
}
