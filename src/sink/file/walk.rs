//! An alert file and those it was rotated to, by us or by logrotate: which they are, in order of time, each of them open.
//!
//! Everybody who reads alerts back goes this way: the daemon after a crash, the salvage of a damaged database, `alerts list`.

use std::collections::HashMap;
use std::fs::{File, Metadata};
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use super::closed::Names;
use super::{Compression, is_same};

/// How often a walk begins anew because a file was moved while it went on (rotation, compression, logrotate). Each takes
/// milliseconds of the file's time; who moves files all the time cannot be read.
const MOVED_AT_MOST: usize = 10;

/// How many equal listings in a row count: a file moves twice at once at most, when it is closed and when it is compressed, and
/// each move can hide it from one of them.
const EQUAL: usize = 3;

/// In which order files are visited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// As the alerts were written.
    OldestFirst,
    /// For those who look for the latest.
    NewestFirst,
}

/// A file of the walk, open.
#[derive(Debug)]
pub struct Part {
    /// Where it was found.
    pub path: PathBuf,
    file: File,
}

impl Part {
    /// Its text from the beginning, unpacked.
    ///
    /// # Errors
    /// If unpacking cannot begin. A packed file that is cut off fails where it is read to its end.
    pub fn text(self) -> io::Result<Box<dyn BufRead>> {
        Ok(match Compression::of(&self.path) {
            Compression::Zstd => Box::new(BufReader::new(zstd::Decoder::new(self.file)?)),
            Compression::Gzip => Box::new(BufReader::new(flate2::read::MultiGzDecoder::new(self.file))),
            Compression::None => Box::new(BufReader::new(self.file)),
        })
    }

    /// The file itself, if its text stands in it as it is and can be read from any place.
    pub(super) fn plain(self) -> Result<File, Self> {
        if Compression::of(&self.path) == Compression::None { Ok(self.file) } else { Err(self) }
    }
}

/// What a walk came by.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Walked {
    /// Files that were visited.
    pub files: usize,
    /// Closed files that could not be read, or not to their end; the log names them.
    pub unreadable: usize,
}

/// Shows the alert file at `path` and those it was rotated to to `visit`, until it has seen enough. If one is moved or
/// removed meanwhile, it is all shown anew, so that none is missed. A closed file that cannot be read is named in the log and
/// passed over.
///
/// # Errors
/// If the directory or the alert file itself cannot be read.
pub fn walk(
    path: &Path,
    order: Order,
    mut visit: impl FnMut(Part) -> io::Result<ControlFlow<()>>,
) -> io::Result<Walked> {
    for _ in 0..MOVED_AT_MOST {
        if let Some(walked) = walk_once(path, order, &mut visit)? {
            return Ok(walked);
        }
    }
    tracing::warn!(path = %path.display(), "alert files were moved again and again while they were read; some may be missing");
    Ok(Walked { files: 1, unreadable: 1 })
}

/// `None` if a file was moved meanwhile.
fn walk_once(
    path: &Path,
    order: Order,
    visit: &mut impl FnMut(Part) -> io::Result<ControlFlow<()>>,
) -> io::Result<Option<Walked>> {
    let mut files = listed(path)?;
    if order == Order::NewestFirst {
        files.reverse();
    }
    let mut walked = Walked::default();
    for found in files {
        let current = found.path == path;
        let (file, name) = (found.open(), found.path);
        walked.files += 1;
        let seen = match file {
            Ok(None) => return Ok(None),
            Ok(Some(file)) => visit(Part { path: name.clone(), file }),
            Err(error) => Err(error),
        };
        match seen {
            Ok(ControlFlow::Break(())) => break,
            Ok(ControlFlow::Continue(())) => {}
            Err(error) if current => return Err(error),
            Err(error) => {
                tracing::warn!(file = %name.display(), %error, "cannot read an old alert file; passed over");
                walked.unreadable += 1;
            }
        }
    }
    Ok(Some(walked))
}

/// A file in the listing.
#[derive(Debug)]
struct Found {
    path: PathBuf,
    metadata: Metadata,
    /// When it was closed, and which of that second: by its name, or else by its last change.
    at: (SystemTime, u32),
    /// The current one is opened at once: no file that takes its place can then have its number on the disk.
    file: Option<File>,
}

impl Found {
    /// `None` if it is not there any more, or another one in its place.
    fn open(&self) -> io::Result<Option<File>> {
        if let Some(file) = &self.file {
            let here = std::fs::metadata(&self.path).is_ok_and(|named| is_same(&named, &self.metadata));
            return if here { file.try_clone().map(Some) } else { Ok(None) };
        }
        match File::open(&self.path) {
            Ok(file) => Ok(is_same(&file.metadata()?, &self.metadata).then_some(file)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// The files, oldest first. A listing may miss a file that is renamed at that moment, under both of its names.
fn listed(path: &Path) -> io::Result<Vec<Found>> {
    let (mut last, mut equal) = (list(path)?, 1);
    for _ in 0..EQUAL * MOVED_AT_MOST {
        let again = list(path)?;
        let same = |(a, b): (&Found, &Found)| a.path == b.path && is_same(&a.metadata, &b.metadata);
        equal = if last.len() == again.len() && last.iter().zip(&again).all(same) { equal + 1 } else { 1 };
        last = again;
        if equal == EQUAL {
            break;
        }
    }
    Ok(last)
}

fn list(path: &Path) -> io::Result<Vec<Found>> {
    let names = Names::of(path);
    let entries = match std::fs::read_dir(names.dir()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    // By their names without `.zst` or `.gz`: while a file is compressed, both are there, and the plain one is whole.
    let mut closed: HashMap<PathBuf, Found> = HashMap::new();
    for entry in entries {
        let entry = entry?;
        let Some(name) = entry.file_name().to_str().filter(|name| names.is_sibling(name)).map(str::to_owned) else {
            continue;
        };
        // One that vanishes while we look is not in the next listing either, or under another name.
        let Ok(metadata) = entry.metadata() else { continue };
        if !metadata.is_file() {
            continue;
        }
        let at = names.closed_at(&name).map_or((metadata.modified()?, 0), |(at, count)| (at.into(), count));
        let found = Found { path: entry.path(), metadata, at, file: None };
        if Compression::of(&found.path) == Compression::None {
            closed.insert(found.path.clone(), found);
        } else {
            closed.entry(found.path.with_extension("")).or_insert(found);
        }
    }
    let mut files: Vec<Found> = closed.into_values().collect();
    files.sort_by(|a, b| (a.at, &a.path).cmp(&(b.at, &b.path)));
    files.extend(current(path)?);
    Ok(files)
}

/// The file itself, if it is one: not a pipe or a device.
fn current(path: &Path) -> io::Result<Option<Found>> {
    if !std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file()) {
        return Ok(None);
    }
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let metadata = file.metadata()?;
    Ok(Some(Found { path: path.to_owned(), at: (metadata.modified()?, 0), metadata, file: Some(file) }))
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use chrono::{DateTime, TimeDelta, Utc};

    use super::super::closed;
    use super::super::{FilePolicy, Fsync};
    use super::*;

    /// What the files hold, in order; those that cannot be read to their end count for what was read.
    fn texts(path: &Path, order: Order) -> (String, Walked) {
        let mut text = Vec::new();
        let walked = walk(path, order, |part| part.text()?.read_to_end(&mut text).map(|_| ControlFlow::Continue(())));
        (String::from_utf8(text).unwrap(), walked.unwrap())
    }

    fn desk(files: &[(&str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            let bytes = match name.rsplit('.').next() {
                Some("zst") => zstd::encode_all(text.as_bytes(), 1).unwrap(),
                Some("gz") => {
                    let mut bytes = Vec::new();
                    let packed = flate2::read::GzEncoder::new(text.as_bytes(), flate2::Compression::fast());
                    { packed }.read_to_end(&mut bytes).unwrap();
                    bytes
                }
                _ => text.as_bytes().to_vec(),
            };
            std::fs::write(dir.path().join(name), bytes).unwrap();
        }
        let path = dir.path().join("alerts.jsonl");
        (dir, path)
    }

    #[test]
    fn in_order_of_time_however_they_are_packed() {
        let (dir, path) = desk(&[
            ("alerts.jsonl", "f"),
            ("alerts-20260102T000000Z.jsonl", "b"),
            ("alerts-20260101T000000Z.jsonl.zst", "a"),
            ("alerts-20260102T000000Z-10.jsonl.gz", "d"),
            ("alerts-20260102T000000Z-2.jsonl.zst", "c"),
            ("alerts.jsonl.1.gz", "e"),
            ("alerts-20260103T000000Z.jsonl.zst.part", "x"),
            ("alerts-notes.jsonl", "x"),
            ("others.jsonl", "x"),
        ]);
        // logrotate's names say no time: their last change does, which is now.
        assert_eq!(texts(&path, Order::OldestFirst), ("abcdef".into(), Walked { files: 6, unreadable: 0 }));
        assert_eq!(texts(&path, Order::NewestFirst).0, "fedcba");
        assert_eq!(texts(&dir.path().join("none.jsonl"), Order::OldestFirst), (String::new(), Walked::default()));
        assert_eq!(texts(Path::new("/nowhere/alerts.jsonl"), Order::OldestFirst).1, Walked::default());
        assert_eq!(texts(&dir.path().join("alerts-20260101T000000Z.jsonl.zst"), Order::OldestFirst).0, "a");
    }

    #[test]
    fn one_that_is_there_packed_and_plain_is_visited_once() {
        let (_dir, path) = desk(&[
            ("alerts-20260101T000000Z.jsonl", "a"),
            ("alerts-20260101T000000Z.jsonl.zst", "a"),
            ("alerts-20260102T000000Z.jsonl.zst", "b"),
            ("alerts-20260102T000000Z.jsonl.gz", "b"),
            ("alerts.jsonl.1", "c"),
            ("alerts.jsonl.1.gz", "half of it"),
        ]);
        assert_eq!(texts(&path, Order::OldestFirst).0, "abc");
    }

    #[test]
    fn a_packed_file_that_is_cut_off_gives_what_it_has_and_the_rest_follows() {
        let long: String =
            (0..200_000).map(|n: u32| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
        for end in ["zst", "gz"] {
            let name = format!("alerts-20260101T000000Z.jsonl.{end}");
            let (dir, path) = desk(&[(&name, &long), ("alerts.jsonl", "the rest")]);
            let packed = std::fs::read(dir.path().join(&name)).unwrap();
            std::fs::write(dir.path().join(&name), &packed[..packed.len() - 20]).unwrap();
            let (text, walked) = texts(&path, Order::OldestFirst);
            assert!(text.ends_with("the rest") && text.len() > 8, "{end}: {}", text.len());
            assert_eq!(walked, Walked { files: 2, unreadable: 1 });
        }
    }

    #[test]
    fn a_current_file_that_cannot_be_read_is_an_error() {
        let (_dir, path) = desk(&[("alerts.jsonl", "a")]);
        let refused = walk(&path, Order::OldestFirst, |_| Err(io::ErrorKind::PermissionDenied.into()));
        assert_eq!(refused.unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }

    #[test]
    fn a_file_that_is_moved_while_another_is_read_is_not_missed() {
        let (dir, path) = desk(&[("alerts.jsonl.2", "a"), ("alerts.jsonl.1", "b"), ("alerts.jsonl", "c")]);
        for (age, end) in [(2, ".2"), (1, ".1")] {
            let old = File::options().append(true).open(dir.path().join(format!("alerts.jsonl{end}"))).unwrap();
            old.set_modified(SystemTime::now() - std::time::Duration::from_secs(age * 60)).unwrap();
        }
        let (mut text, mut moved) = (Vec::new(), false);
        walk(&path, Order::OldestFirst, |part| {
            if !std::mem::replace(&mut moved, true) {
                // As logrotate does it, from the oldest on.
                for (from, to) in [(".2", ".3"), (".1", ".2"), ("", ".1")] {
                    let name = |end: &str| dir.path().join(format!("alerts.jsonl{end}"));
                    std::fs::rename(name(from), name(to)).unwrap();
                }
            }
            part.text()?.read_to_end(&mut text).map(|_| ControlFlow::Continue(()))
        })
        .unwrap();
        assert_eq!(text, b"aabc", "begun anew, and then whole");
    }

    /// Whatever stood in the files when a walk began is found by it, though they are closed and compressed meanwhile.
    #[test]
    fn nothing_is_missed_while_files_are_closed_and_compressed() {
        const FILES: usize = 200;
        let (dir, path) = desk(&[]);
        let (written, done) = (AtomicUsize::new(0), AtomicBool::new(false));
        let policy = FilePolicy { compression: Compression::Zstd, ..FilePolicy::plain(Fsync::Never) };
        let start: DateTime<Utc> = "2026-03-01T12:00:00Z".parse().unwrap();
        let mut whole = 0;
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for n in 0..FILES {
                    std::fs::write(&path, format!("<{n}>")).unwrap();
                    written.store(n + 1, Ordering::SeqCst);
                    super::super::rotate::rotate(&path, start + TimeDelta::seconds(n as i64)).unwrap();
                    closed::tidy(&path, &policy, start);
                    std::thread::sleep(std::time::Duration::from_millis(1));
                }
                done.store(true, Ordering::SeqCst);
            });
            while !done.load(Ordering::SeqCst) {
                let before = written.load(Ordering::SeqCst);
                let (text, walked) = texts(&path, Order::NewestFirst);
                if walked.unreadable == 0 {
                    let missing = (0..before).find(|n| !text.contains(&format!("<{n}>")));
                    assert_eq!(missing, None, "of {before}: {:?}", std::fs::read_dir(dir.path()).unwrap().count());
                    whole += 1;
                }
            }
        });
        assert!(whole > 0);
        assert_eq!(texts(&path, Order::OldestFirst).0, (0..FILES).map(|n| format!("<{n}>")).collect::<String>());
    }
}
