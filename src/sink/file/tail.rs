//! The end of the alert file: made whole at start, and compared with the outbox after a crash.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::closed::Names;

/// How much is read at once when a file is read from its end, bytes.
const CHUNK: u64 = 64 * 1024;

/// How often the search begins anew because a file was moved (logrotate) while it went on.
const MOVED_AT_MOST: usize = 3;

/// Which of `waiting` stand in the alert file or in those it was rotated to. Alerts are written in order, so the search
/// goes back from the last line of the newest file and ends with the first line of `settled`.
pub(super) fn written(
    path: &Path,
    waiting: &HashSet<String>,
    settled: &HashSet<String>,
) -> io::Result<HashSet<String>> {
    let mut search = Search { waiting, settled, found: HashSet::new() };
    for _ in 0..MOVED_AT_MOST {
        let (ended, moved) = search.look(path)?;
        if ended || !moved {
            break;
        }
    }
    Ok(search.found)
}

/// The alert file and those it was rotated to, by us or by logrotate.
fn newest_first(path: &Path) -> io::Result<Vec<PathBuf>> {
    let names = Names::of(path);
    let mut closed: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(names.dir())? {
        let entry = entry?;
        if entry.file_name().to_str().is_some_and(|name| names.is_sibling(name))
            && let Ok(metadata) = entry.metadata()
            && metadata.is_file()
        {
            closed.push((metadata.modified()?, entry.path()));
        }
    }
    closed.sort();
    let regular = std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file());
    let current = regular.then(|| path.to_owned());
    Ok(current.into_iter().chain(closed.into_iter().rev().map(|(_, path)| path)).collect())
}

struct Search<'a> {
    waiting: &'a HashSet<String>,
    settled: &'a HashSet<String>,
    found: HashSet<String>,
}

impl Search<'_> {
    /// Goes through the files; whether a settled line was found, and whether a file was moved or removed meanwhile.
    fn look(&mut self, path: &Path) -> io::Result<(bool, bool)> {
        let mut moved = false;
        for file in newest_first(path)? {
            match self.read(&file) {
                Ok(true) => return Ok((true, moved)),
                Ok(false) => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => moved = true,
                Err(error) if file == path => return Err(error),
                Err(error) => {
                    tracing::warn!(file = %file.display(), %error, "cannot read an old alert file; passed over");
                }
            }
        }
        Ok((false, moved))
    }

    /// Reads one file; whether a settled line was in it.
    fn read(&mut self, path: &Path) -> io::Result<bool> {
        let end = path.extension().and_then(|end| end.to_str()).unwrap_or_default();
        match end {
            "zst" => self.forwards(zstd::Decoder::new(File::open(path)?)?),
            "gz" => self.forwards(flate2::read::MultiGzDecoder::new(File::open(path)?)),
            _ => self.backwards(File::open(path)?),
        }
    }

    /// A compressed file can be read from its beginning only.
    fn forwards(&mut self, file: impl Read) -> io::Result<bool> {
        let mut ended = false;
        for line in BufReader::new(file).split(b'\n') {
            ended |= self.line(&line?);
        }
        Ok(ended)
    }

    fn backwards(&mut self, mut file: File) -> io::Result<bool> {
        let mut end = file.metadata()?.len();
        // The beginning of a line whose rest is in the chunk behind.
        let mut rest = Vec::new();
        while end > 0 {
            let start = end.saturating_sub(CHUNK);
            let mut chunk = read_at(&mut file, start, end)?;
            chunk.append(&mut rest);
            let mut lines = chunk.split(|byte| *byte == b'\n');
            rest = lines.next().unwrap_or_default().to_vec();
            for line in lines.rev() {
                if self.line(line) {
                    return Ok(true);
                }
            }
            end = start;
        }
        Ok(self.line(&rest))
    }

    /// Takes note of a line; whether it is settled. Lines that are not alerts (a file edited by hand) are none of ours.
    fn line(&mut self, line: &[u8]) -> bool {
        let Ok(Known { alert_id }) = serde_json::from_slice::<Known>(line) else { return false };
        if let Some(id) = self.waiting.get(alert_id) {
            self.found.insert(id.clone());
        }
        self.settled.contains(alert_id)
    }
}

#[derive(Deserialize)]
struct Known<'a> {
    alert_id: &'a str,
}

fn read_at(file: &mut File, start: u64, end: u64) -> io::Result<Vec<u8>> {
    let mut chunk = Vec::new();
    file.seek(SeekFrom::Start(start))?;
    Read::by_ref(file).take(end - start).read_to_end(&mut chunk)?;
    Ok(chunk)
}

/// Makes the file end with a whole line and returns its length: a last line that lacks only its newline gets it, one of
/// ours that is torn is cut off.
pub(super) fn mend(file: &mut File, length: u64, path: &Path) -> io::Result<u64> {
    let whole = last_line_end(file, length)?;
    if whole == length {
        return Ok(length);
    }
    if !is_torn(file, whole)? {
        file.write_all(b"\n")?;
        return Ok(length + 1);
    }
    tracing::warn!(path = %path.display(), bytes = length - whole, "cut off a torn last line");
    file.set_len(whole)?;
    Ok(whole)
}

/// Whether the last line, which begins at `start`, is the beginning of an alert: it opens an object and does not close it.
/// A power cut may leave zeros. Anything else was written by a person.
fn is_torn(file: &mut File, start: u64) -> io::Result<bool> {
    file.seek(SeekFrom::Start(start))?;
    let mut line = BufReader::new(&*file);
    match line.fill_buf()?.first() {
        Some(b'{') => Ok(serde_json::from_reader::<_, serde_json::Map<String, serde_json::Value>>(line).is_err()),
        first => Ok(first == Some(&0)),
    }
}

/// Offset just after the last newline, searched backwards.
fn last_line_end(file: &mut File, length: u64) -> io::Result<u64> {
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        if let Some(at) = read_at(file, start, end)?.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}
