//! The alerts of a backfill in the order of their published times. They are written to a file beside first, as they come;
//! at the end that file is sorted outside of memory and put behind what the alert file holds.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use thiserror::Error;

use super::extsort::{Sorted, Sorter};

/// Why alerts could not be put in order. They stand in the file beside, and the same command tries again.
#[derive(Debug, Error)]
#[error("sort {from} into {into}: {source}")]
pub struct SortError {
    /// The alerts as they came.
    from: PathBuf,
    /// The alert file.
    into: PathBuf,
    /// What the system said.
    source: io::Error,
}

#[derive(Deserialize)]
struct Line {
    item: Item,
}

#[derive(Deserialize)]
struct Item {
    published: DateTime<Utc>,
}

/// Puts the alerts of `from` behind those of `into` (`-`: on standard output), by published time and, where that is the
/// same, as they came; then `from` goes. Broken off at any moment and called again, it ends the same.
///
/// # Errors
/// When either cannot be read, or the new file not written; both are then as they were.
pub fn sort_into(from: &Path, into: &Path) -> Result<(), SortError> {
    put(from, into).map_err(|source| SortError { from: from.to_owned(), into: into.to_owned(), source })
}

fn put(from: &Path, into: &Path) -> io::Result<()> {
    let reader = match File::open(from) {
        Ok(file) => BufReader::new(file),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return remove(&beside(from)),
        Err(error) => return Err(error),
    };
    let sorted = sorted(reader)?;
    if into == Path::new("-") {
        write(sorted, &mut io::stdout().lock())?;
    } else {
        replace(sorted, into, kept(from, into)?)?;
    }
    // In this order: without the alerts as they came, the length beside them means nothing.
    remove(from)?;
    remove(&beside(from))
}

fn sorted(mut reader: impl BufRead) -> io::Result<Sorted> {
    let mut sorter = Sorter::default();
    let (mut line, mut number) = (Vec::new(), 0_u64);
    while reader.read_until(b'\n', &mut line)? > 0 {
        let published = serde_json::from_slice::<Line>(&line).map_or(0, |line| line.item.published.timestamp());
        // Times before 1970 come before others: the sign bit is turned.
        let key = (published as u64 ^ (1 << 63)).to_be_bytes();
        sorter.push(&[&key[..], &number.to_be_bytes(), &line].concat())?;
        line.clear();
        number += 1;
    }
    sorter.sorted()
}

fn write(sorted: Sorted, out: &mut impl Write) -> io::Result<()> {
    for record in sorted {
        out.write_all(record?.get(16..).unwrap_or_default())?;
    }
    out.flush()
}

/// The new file takes the place of the old one, of which the first `kept` bytes stay, as a whole.
fn replace(sorted: Sorted, into: &Path, kept: u64) -> io::Result<()> {
    let directory = into.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    // As any new file: the user's mask takes its part of this.
    let readable = std::fs::Permissions::from_mode(0o666);
    let mut whole = tempfile::Builder::new().permissions(readable).tempfile_in(directory)?;
    let mut out = BufWriter::new(&mut whole);
    if kept > 0 {
        io::copy(&mut File::open(into)?.take(kept), &mut out)?;
    }
    write(sorted, &mut out)?;
    drop(out);
    whole.as_file().sync_all()?;
    whole.persist(into).map(drop).map_err(|error| error.error)
}

/// How much the alert file held before the first try, noted beside the alerts as they came.
fn kept(from: &Path, into: &Path) -> io::Result<u64> {
    let note = beside(from);
    if let Ok(text) = std::fs::read_to_string(&note)
        && let Ok(kept) = text.trim().parse()
    {
        return Ok(kept);
    }
    let kept = match std::fs::metadata(into) {
        Ok(old) => old.len(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => 0,
        Err(error) => return Err(error),
    };
    let mut file = File::create(&note)?;
    writeln!(file, "{kept}")?;
    file.sync_all()?;
    Ok(kept)
}

fn beside(from: &Path) -> PathBuf {
    from.with_extension("kept")
}

fn remove(path: &Path) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_come_by_time_behind_those_that_are_there_once() {
        let dir = tempfile::tempdir().unwrap();
        let (from, into) = (dir.path().join("from.jsonl"), dir.path().join("into"));
        let line = |day: &str, n: u8| format!("{{\"n\":{n},\"item\":{{\"published\":\"{day}T00:00:00Z\"}}}}\n");
        let days = [line("2024-05-02", 1), line("1969-05-01", 2), line("2024-05-02", 3), line("2024-05-01", 4)];
        let [a, b, c, d] = &days;
        let expected = ["old\n", b, d, a, c].concat();
        std::fs::write(&into, "old\n").unwrap();
        // Broken off behind the last step that shows, it does the same again.
        for _ in 0..2 {
            std::fs::write(&from, days.concat()).unwrap();
            std::fs::write(beside(&from), "4\n").unwrap();
            sort_into(&from, &into).unwrap();
            assert_eq!(std::fs::read_to_string(&into).unwrap(), expected);
            assert!(!from.exists() && !beside(&from).exists());
        }
        sort_into(&from, &into).unwrap();
        std::fs::write(&from, a).unwrap();
        sort_into(&from, &into).unwrap();
        assert_eq!(std::fs::read_to_string(&into).unwrap(), expected + a);
    }
}
