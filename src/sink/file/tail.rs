//! The end of the alert file: made whole at start, and compared with the outbox after a crash.

use std::collections::{BTreeSet, HashSet};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use super::walk::{Order, walk};
use crate::sink::{AlertId, alert_number};

/// How much is read at once when a file is read from its end, bytes.
const CHUNK: u64 = 64 * 1024;

/// Which of `waiting` stand in the alert file or in those it was rotated to. Alerts are written in order, so the search
/// goes back from the last line of the newest file and ends with the first line of `settled`.
pub(super) fn written(
    path: &Path,
    waiting: &HashSet<String>,
    settled: &HashSet<String>,
) -> io::Result<HashSet<String>> {
    let mut found = HashSet::new();
    search(path, &mut |id| {
        found.extend(waiting.get(id).cloned());
        settled.contains(id)
    })?;
    Ok(found)
}

/// The ids of the alerts in the alert file and in those it was rotated to, the newest `most`, sorted.
pub(super) fn ids(path: &Path, most: usize) -> io::Result<Vec<AlertId>> {
    // Not a list: a file that is moved meanwhile is searched anew.
    let mut ids = BTreeSet::new();
    search(path, &mut |id| {
        ids.extend(alert_number(id).filter(|_| ids.len() < most));
        ids.len() >= most
    })?;
    Ok(ids.into_iter().collect())
}

/// What is done with the id of each alert that is found; true ends the search.
type Look<'a> = dyn FnMut(&str) -> bool + 'a;

/// Goes back through the alert file and those it was rotated to.
fn search(path: &Path, look: &mut Look<'_>) -> io::Result<()> {
    walk(path, Order::NewestFirst, |part| {
        let ended = match part.plain() {
            Ok(file) => backwards(file, look)?,
            Err(packed) => forwards(packed.text()?, look)?,
        };
        Ok(if ended { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    })?;
    Ok(())
}

/// A compressed file can be read from its beginning only.
fn forwards(text: impl BufRead, look: &mut Look<'_>) -> io::Result<bool> {
    let mut ended = false;
    for line in text.split(b'\n') {
        ended |= look_at(&line?, look);
    }
    Ok(ended)
}

fn backwards(mut file: File, look: &mut Look<'_>) -> io::Result<bool> {
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
            if look_at(line, look) {
                return Ok(true);
            }
        }
        end = start;
    }
    Ok(look_at(&rest, look))
}

/// Lines that are not alerts (a file edited by hand) are none of ours.
fn look_at(line: &[u8], look: &mut Look<'_>) -> bool {
    serde_json::from_slice::<Known>(line).is_ok_and(|known| look(known.alert_id))
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
