//! Closed files: their names, their compression, how long they are kept.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, NaiveDateTime, Utc};

use super::rotate::{sync_directory, with_end};
use super::{Compression, FilePolicy, Keep};
use crate::sink::step::{self, Step};

/// How closed files of the alert file `alerts.jsonl` are called: `alerts-20260301T120000Z.jsonl`, with `-1`, `-2`, … for
/// more within a second, and `.zst` or `.gz` behind.
#[derive(Debug)]
pub(super) struct Names {
    dir: PathBuf,
    /// `alerts`.
    stem: String,
    /// `.jsonl`.
    end: String,
}

/// The time in a closed name.
const STAMP: &str = "%Y%m%dT%H%M%SZ";

/// Ends the name of a compressed copy that is not complete.
const PART: &str = ".part";

/// A closed file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closed {
    pub path: PathBuf,
    /// When it was closed, and which of that second.
    pub at: (DateTime<Utc>, u32),
    pub is_compressed: bool,
    pub bytes: u64,
}

impl Names {
    pub fn of(path: &Path) -> Self {
        let text = |part: Option<&std::ffi::OsStr>| part.map(|part| part.to_string_lossy().into_owned());
        Self {
            dir: path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned(),
            stem: text(path.file_stem()).unwrap_or_default(),
            end: text(path.extension()).map(|end| format!(".{end}")).unwrap_or_default(),
        }
    }

    /// The name of a file that is closed now.
    pub fn closed(&self, now: DateTime<Utc>, count: u32) -> PathBuf {
        let more = if count == 0 { String::new() } else { format!("-{count}") };
        self.dir.join(format!("{}-{}{more}{}", self.stem, now.format(STAMP), self.end))
    }

    /// When the file of this name was closed and whether it is compressed, if it is a closed one at all.
    fn read(&self, name: &str) -> Option<((DateTime<Utc>, u32), bool)> {
        let rest = name.strip_prefix(&self.stem)?.strip_prefix('-')?;
        let (how, rest) = Compression::split(rest);
        let stamp = rest.strip_suffix(&self.end)?;
        let (stamp, count) = match stamp.split_once('-') {
            Some((stamp, count)) => (stamp, count.parse().ok()?),
            None => (stamp, 0),
        };
        let at = NaiveDateTime::parse_from_str(stamp, STAMP).ok()?;
        Some(((at.and_utc(), count), how != Compression::None))
    }

    /// When the file of this name was closed by us, and which of that second.
    pub fn closed_at(&self, name: &str) -> Option<(DateTime<Utc>, u32)> {
        self.read(name).map(|(at, _)| at)
    }

    /// The closed files, the oldest first.
    pub fn list(&self) -> io::Result<Vec<Closed>> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(&self.dir)? {
            let entry = entry?;
            let name = entry.file_name();
            let Some((at, is_compressed)) = name.to_str().and_then(|name| self.read(name)) else { continue };
            // One that vanishes while we look is none.
            let Ok(bytes) = entry.metadata().map(|metadata| metadata.len()) else { continue };
            found.push(Closed { path: entry.path(), at, is_compressed, bytes });
        }
        found.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
        Ok(found)
    }

    /// Whether the file of this name is, or was made of, the alert file: ours, or moved away by logrotate.
    pub fn is_sibling(&self, name: &str) -> bool {
        let whole = format!("{}{}", self.stem, self.end);
        let moved = name.strip_prefix(&whole).is_some_and(|rest| rest.starts_with(['.', '-']));
        (moved || self.read(name).is_some()) && !name.ends_with(PART)
    }

    pub fn dir(&self) -> &Path {
        &self.dir
    }
}

/// Which closed files are not kept any longer. Pure.
pub(super) fn outlived<'a>(files: &'a [Closed], keep: &Keep, now: DateTime<Utc>) -> Vec<&'a Path> {
    let mut total: u64 = files.iter().map(|file| file.bytes).sum();
    let mut gone = Vec::new();
    for file in files {
        let age = (now - file.at.0).to_std().unwrap_or_default();
        let (old, large) = (keep.age.is_some_and(|most| age > most), keep.total.is_some_and(|most| total > most));
        if old || large {
            total -= file.bytes;
            gone.push(file.path.as_path());
        }
    }
    gone
}

/// Compresses what is not compressed and removes what is not kept. Whatever fails is said and tried again after the next
/// rotation.
pub(super) fn tidy(path: &Path, policy: &FilePolicy, now: DateTime<Utc>) {
    if let Err(error) = try_tidy(path, policy, now) {
        tracing::warn!(path = %path.display(), %error, "cannot look after closed alert files; they stay as they are");
    }
}

fn try_tidy(path: &Path, policy: &FilePolicy, now: DateTime<Utc>) -> io::Result<()> {
    let names = Names::of(path);
    for file in names.list()?.iter().filter(|file| !file.is_compressed) {
        match compress(&file.path, policy.compression) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                tracing::warn!(file = %file.path.display(), "a closed alert file has vanished; nothing else depends on it");
            }
            Err(error) => tracing::warn!(file = %file.path.display(), %error, "cannot compress a closed alert file"),
            Ok(()) => {}
        }
    }
    for old in outlived(&names.list()?, &policy.keep, now) {
        match std::fs::remove_file(old) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                tracing::warn!(file = %old.display(), %error, "cannot remove an old alert file");
            }
            _ => tracing::info!(file = %old.display(), "removed an old alert file"),
        }
    }
    Ok(())
}

/// Replaces a closed file by a compressed one. Killed at any moment, one of both is whole; a second go ends the work.
pub(super) fn compress(path: &Path, how: Compression) -> io::Result<()> {
    if how == Compression::None {
        return Ok(());
    }
    let end = how.end();
    let (place, part) = (with_end(path, end), with_end(path, &format!("{end}{PART}")));
    let copied = copy(path, &part, how);
    if copied.is_err() {
        // Nothing needs it; it may not even be there.
        let _ = std::fs::remove_file(&part);
        return copied;
    }
    step::pass(Step::Compressed);
    std::fs::rename(&part, &place)?;
    sync_directory(path);
    step::pass(Step::Placed);
    std::fs::remove_file(path)
}

fn copy(from: &Path, to: &Path, how: Compression) -> io::Result<()> {
    let mut source = File::open(from)?;
    let file = File::create(to)?;
    // The levels that their libraries take for granted: a newsroom's day takes less than a second.
    let mut file = if how == Compression::Zstd {
        let mut encoder = zstd::Encoder::new(file, zstd::DEFAULT_COMPRESSION_LEVEL)?;
        encoder.include_checksum(true)?;
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()?
    } else {
        let mut encoder = flate2::write::GzEncoder::new(file, flate2::Compression::default());
        io::copy(&mut source, &mut encoder)?;
        encoder.finish()?
    };
    file.flush()?;
    file.set_modified(source.metadata()?.modified()?)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn time(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn names_are_read_as_they_are_given() {
        for path in ["/x/alerts.jsonl", "/x/alerts", "alerts.of.mine.jsonl"] {
            let names = Names::of(Path::new(path));
            let now = time("2026-03-01T12:00:00Z");
            for count in [0, 7] {
                let name = names.closed(now, count).file_name().unwrap().to_str().unwrap().to_owned();
                assert_eq!(names.read(&name), Some(((now, count), false)), "{name}");
                assert_eq!(names.read(&format!("{name}.zst")), Some(((now, count), true)));
                assert!(names.is_sibling(&name) && !names.is_sibling(&format!("{name}.zst.part")));
            }
        }
    }

    #[test]
    fn files_of_others_are_left_alone() {
        let names = Names::of(Path::new("/x/alerts.jsonl"));
        for name in
            ["alerts.jsonl", "alerts-old.jsonl", "alerts-20260301.jsonl", "other-20260301T120000Z.jsonl", "notes"]
        {
            assert_eq!(names.read(name), None, "{name}");
        }
        assert!(names.is_sibling("alerts.jsonl.1") && names.is_sibling("alerts.jsonl-20260301.gz"));
        assert!(!names.is_sibling("alerts.jsonl") && !names.is_sibling("alerts.jsonlx"));
    }

    fn closed(day: u32, bytes: u64) -> Closed {
        let at = time(&format!("2026-03-{day:02}T00:00:00Z"));
        Closed { path: format!("{day}").into(), at: (at, 0), is_compressed: false, bytes }
    }

    fn days(gone: &[&Path]) -> Vec<String> {
        gone.iter().map(|path| path.display().to_string()).collect()
    }

    #[test]
    fn the_oldest_go_by_age_and_by_total_size() {
        let files = [closed(1, 50), closed(2, 50), closed(3, 50)];
        let now = time("2026-03-04T00:00:00Z");
        let day = Duration::from_secs(86_400);
        assert_eq!(days(&outlived(&files, &Keep { age: Some(2 * day), total: None }, now)), ["1"]);
        assert_eq!(days(&outlived(&files, &Keep { age: None, total: Some(60) }, now)), ["1", "2"]);
        assert_eq!(days(&outlived(&files, &Keep { age: Some(3 * day), total: Some(150) }, now)), [""; 0]);
        assert_eq!(days(&outlived(&files, &Keep { age: None, total: None }, now)), [""; 0]);
    }

    #[test]
    fn compressed_files_hold_what_was_in_them() {
        let dir = tempfile::tempdir().unwrap();
        for (how, end) in [(Compression::Zstd, ".zst"), (Compression::Gzip, ".gz")] {
            let path = dir.path().join("alerts-20260301T120000Z.jsonl");
            std::fs::write(&path, "{\"alert_id\":\"a\"}\n").unwrap();
            // As a run that was killed has left it.
            std::fs::write(with_end(&path, &format!("{end}.part")), "half").unwrap();
            compress(&path, how).unwrap();
            assert!(!path.exists() && !with_end(&path, &format!("{end}.part")).exists());
            let file = File::open(with_end(&path, end)).unwrap();
            let text = match how {
                Compression::Zstd => io::read_to_string(zstd::Decoder::new(file).unwrap()).unwrap(),
                _ => io::read_to_string(flate2::read::GzDecoder::new(file)).unwrap(),
            };
            assert_eq!(text, "{\"alert_id\":\"a\"}\n");
        }
    }

    /// While a file is compressed, a listing may miss it under both of its names; its name must not be given again.
    #[test]
    fn files_closed_within_a_second_keep_their_names_while_they_are_compressed() {
        const SECONDS: i64 = 300;
        let dir = tempfile::tempdir().unwrap();
        let (path, start) = (dir.path().join("alerts.jsonl"), time("2026-03-01T12:00:00Z"));
        let policy = FilePolicy { compression: Compression::Zstd, ..FilePolicy::plain(super::super::Fsync::Never) };
        let done = std::sync::atomic::AtomicBool::new(false);
        let close = |second: i64, text: &str| {
            std::fs::write(&path, text).unwrap();
            super::super::rotate::rotate(&path, start + chrono::TimeDelta::seconds(second)).unwrap();
        };
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    tidy(&path, &policy, start);
                }
            });
            for second in 0..SECONDS {
                close(second, "a");
                close(second, "b");
                close(second, "c");
            }
            done.store(true, std::sync::atomic::Ordering::Relaxed);
        });
        tidy(&path, &policy, start);
        let read =
            |file: Closed| io::read_to_string(zstd::Decoder::new(File::open(file.path).unwrap()).unwrap()).unwrap();
        let held: String = Names::of(&path).list().unwrap().into_iter().map(read).collect();
        assert_eq!(held, "abc".repeat(SECONDS as usize));
    }

    #[test]
    fn a_closed_file_that_vanished_is_passed_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts-20260301T120000Z.jsonl");
        assert_eq!(compress(&path, Compression::Zstd).unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
