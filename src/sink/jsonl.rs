//! The alert file: one JSON object a line, whole lines only.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;

use crate::config::Fsync;

/// Why alerts could not be written. They stay in the outbox and are written when the cause is gone.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The file cannot be opened.
    #[error("open alert file {path}: {source}; make it writable or name another with --out or [output] file")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line cannot be written.
    #[error("write alert file {path}: {source}{}", hint(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space on its disk",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => "; make it writable",
        _ => "",
    }
}

/// The alert file, or standard output.
#[derive(Debug)]
pub struct JsonlSink {
    path: PathBuf,
    target: Target,
    fsync: Fsync,
}

#[derive(Debug)]
enum Target {
    Stdout,
    File {
        file: File,
        /// Bytes up to the end of the last whole line: what a failed write is cut back to.
        whole: u64,
    },
}

impl JsonlSink {
    /// Opens `path` for appending (`-` is standard output) and cuts off a torn last line: its alert is still in the
    /// outbox and will be written anew.
    ///
    /// # Errors
    /// [`SinkError::Open`].
    pub fn open(path: &Path, fsync: Fsync) -> Result<Self, SinkError> {
        let failed = |source| SinkError::Open { path: path.to_owned(), source };
        let target = if path == Path::new("-") { Target::Stdout } else { open_file(path).map_err(failed)? };
        Ok(Self { path: path.to_owned(), target, fsync })
    }

    /// Which of `ids` stand in the file already: asked once at start, for alerts that were written but not marked
    /// delivered when the last run was killed.
    ///
    /// # Errors
    /// [`SinkError::Open`] when the file cannot be read.
    pub fn already_written(&self, ids: &HashSet<String>) -> Result<HashSet<String>, SinkError> {
        let Target::File { .. } = self.target else { return Ok(HashSet::new()) };
        let failed = |source| SinkError::Open { path: self.path.clone(), source };
        let mut found = HashSet::new();
        for line in BufReader::new(File::open(&self.path).map_err(failed)?).split(b'\n') {
            let line = line.map_err(failed)?;
            // Lines that are not alerts (a file edited by hand) are none of ours.
            if let Ok(known) = serde_json::from_slice::<Known>(&line)
                && ids.contains(known.alert_id)
            {
                found.insert(known.alert_id.to_owned());
            }
        }
        Ok(found)
    }

    /// Appends `lines` and their newlines, all or none of them, and syncs them as configured.
    ///
    /// # Errors
    /// [`SinkError::Write`]; the file is then as it was before.
    pub fn append<'a>(&mut self, lines: impl Iterator<Item = &'a str>) -> Result<(), SinkError> {
        let mut block = String::new();
        for line in lines {
            block.push_str(line);
            block.push('\n');
        }
        self.write(block.as_bytes()).map_err(|source| SinkError::Write { path: self.path.clone(), source })
    }

    fn write(&mut self, block: &[u8]) -> io::Result<()> {
        match &mut self.target {
            Target::Stdout => {
                let mut out = io::stdout().lock();
                out.write_all(block)?;
                out.flush()
            }
            Target::File { file, whole } => {
                let written = file.write_all(block).and_then(|()| match self.fsync {
                    Fsync::Always => file.sync_data(),
                    Fsync::Never => Ok(()),
                });
                match written {
                    Ok(()) => *whole += block.len() as u64,
                    Err(error) => {
                        // What cannot be cut now is cut at the next start.
                        let _ = file.set_len(*whole);
                        return Err(error);
                    }
                }
                Ok(())
            }
        }
    }
}

#[derive(Deserialize)]
struct Known<'a> {
    alert_id: &'a str,
}

fn open_file(path: &Path) -> io::Result<Target> {
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir)?;
    }
    let mut file = File::options().create(true).append(true).read(true).open(path)?;
    let length = file.metadata()?.len();
    let whole = mend_tail(&mut file, length, path)?;
    Ok(Target::File { file, whole })
}

/// Makes the file end with a whole line and returns its length: a last line that lacks only its newline gets it, a torn
/// one is cut off.
fn mend_tail(file: &mut File, length: u64, path: &Path) -> io::Result<u64> {
    let whole = last_line_end(file, length)?;
    if whole == length {
        return Ok(length);
    }
    file.seek(SeekFrom::Start(whole))?;
    if serde_json::from_reader::<_, serde_json::Map<String, serde_json::Value>>(BufReader::new(&*file)).is_ok() {
        file.write_all(b"\n")?;
        return Ok(length + 1);
    }
    tracing::warn!(path = %path.display(), bytes = length - whole, "cut off a torn last line");
    file.set_len(whole)?;
    Ok(whole)
}

/// Offset just after the last newline, searched backwards.
fn last_line_end(file: &mut File, length: u64) -> io::Result<u64> {
    const CHUNK: u64 = 64 * 1024;
    let mut end = length;
    while end > 0 {
        let start = end.saturating_sub(CHUNK);
        let mut chunk = Vec::new();
        file.seek(SeekFrom::Start(start))?;
        Read::by_ref(file).take(end - start).read_to_end(&mut chunk)?;
        if let Some(at) = chunk.iter().rposition(|byte| *byte == b'\n') {
            return Ok(start + at as u64 + 1);
        }
        end = start;
    }
    Ok(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write(path: &Path, lines: &[&str]) {
        JsonlSink::open(path, Fsync::Always).unwrap().append(lines.iter().copied()).unwrap();
    }

    #[test]
    fn a_torn_last_line_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        for torn in ["", "{\"alert_id\":\"b", &"x".repeat(200_000)] {
            std::fs::write(&path, format!("{{\"alert_id\":\"a\"}}\n{torn}")).unwrap();
            write(&path, &["{\"alert_id\":\"c\"}"]);
            let text = std::fs::read_to_string(&path).unwrap();
            assert_eq!(text, "{\"alert_id\":\"a\"}\n{\"alert_id\":\"c\"}\n");
        }
    }

    #[test]
    fn a_last_line_that_lacks_its_newline_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        std::fs::write(&path, "{\"alert_id\":\"a\"}").unwrap();
        write(&path, &["{\"alert_id\":\"b\"}"]);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "{\"alert_id\":\"a\"}\n{\"alert_id\":\"b\"}\n");
    }

    #[test]
    fn a_file_that_is_one_torn_line_becomes_empty() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        std::fs::write(&path, "{\"alert").unwrap();
        JsonlSink::open(&path, Fsync::Never).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"");
    }

    #[test]
    fn finds_what_was_written_among_lines_of_others() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        write(&path, &["{\"alert_id\":\"a\"}", "# edited by hand", "{\"other\":1}"]);
        let ids = HashSet::from(["a".to_owned(), "b".to_owned()]);
        let found = JsonlSink::open(&path, Fsync::Never).unwrap().already_written(&ids).unwrap();
        assert_eq!(found, HashSet::from(["a".to_owned()]));
    }

    #[test]
    fn a_directory_in_the_way_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let error = JsonlSink::open(dir.path(), Fsync::Never).unwrap_err().to_string();
        assert!(error.contains("open alert file") && error.contains("--out"), "{error}");
    }
}
