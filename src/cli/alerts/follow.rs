//! `alerts follow`: what is appended, as it comes; the file may be rotated, replaced or missing for a while.

use std::fs::{File, Metadata};
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::Exit;
use super::read::{self, Line, View};

/// How often the file is looked at: what a person takes for "at once", at next to no cost.
const LOOK: Duration = Duration::from_millis(300);

/// Shows the latest `limit` alerts that are taken, then the new ones until the process is ended.
pub(in crate::cli) fn run(
    path: &Path,
    takes: &dyn Fn(&View) -> bool,
    limit: usize,
    show: &dyn Fn(&Line) -> std::io::Result<()>,
) -> anyhow::Result<Exit> {
    let mut tail = Tail::new(path)?;
    let mut latest = read::Latest::new(Some(limit));
    tail.reader.all(|line| {
        if takes(&line.view) {
            latest.push(line);
        }
    })?;
    latest.iter().try_for_each(show)?;
    loop {
        std::thread::sleep(LOOK);
        tail.fresh()?.iter().filter(|line| takes(&line.view)).try_for_each(show)?;
    }
}

/// Where reading stopped.
struct Tail {
    path: PathBuf,
    open: Option<(File, Metadata)>,
    partial: Vec<u8>,
    /// What was shown, or was there before.
    reader: read::Reader,
}

impl Tail {
    /// At the end of what is there; what is in it is for the reader to meet.
    fn new(path: &Path) -> std::io::Result<Self> {
        let reader = read::Reader::new(path);
        let mut tail = Self { path: path.to_owned(), open: None, partial: Vec::new(), reader };
        if path.exists() {
            tail.reopen()?;
            if let Some((file, _)) = &mut tail.open {
                file.seek(SeekFrom::End(0))?;
            }
        }
        Ok(tail)
    }

    fn reopen(&mut self) -> std::io::Result<()> {
        let file = File::open(&self.path)?;
        let metadata = file.metadata()?;
        self.open = Some((file, metadata));
        self.partial.clear();
        Ok(())
    }

    /// The alerts that were added since the last look. When the file was rotated away: the rest of the old one, those that were
    /// closed since, and the new one.
    fn fresh(&mut self) -> anyhow::Result<Vec<read::Line>> {
        let mut lines = self.rest()?;
        let Ok(now) = std::fs::metadata(&self.path) else { return Ok(lines) };
        let same = match &mut self.open {
            Some((file, open)) => is_same(open, &now) && file.stream_position()? <= now.len(),
            None => false,
        };
        if !same && self.reopen().is_ok() {
            lines.extend(self.reader.news()?);
            lines.extend(self.rest()?);
        }
        Ok(lines)
    }

    /// The new ones of the whole lines from where reading stopped.
    fn rest(&mut self) -> std::io::Result<Vec<read::Line>> {
        let Some((file, _)) = &mut self.open else { return Ok(Vec::new()) };
        BufReader::new(file).read_to_end(&mut self.partial)?;
        let whole = self.partial.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.partial.drain(..whole).collect();
        let lines = lines.split(|&byte| byte == b'\n').filter_map(read::parse);
        Ok(lines.filter(|line| self.reader.is_new(line)).collect())
    }
}

fn is_same(a: &Metadata, b: &Metadata) -> bool {
    (a.dev(), a.ino()) == (b.dev(), b.ino())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn ids(lines: Vec<read::Line>) -> String {
        lines.into_iter().map(|line| line.view.alert_id).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn nothing_is_missed_across_rotation_and_nothing_shown_by_halves() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let append = |text: &str| {
            File::options().create(true).append(true).open(&path).unwrap().write_all(text.as_bytes()).unwrap();
        };
        let mut tail = Tail::new(&path).unwrap();
        assert_eq!(ids(tail.fresh().unwrap()), "");
        append("{\"alert_id\":\"a\"}\n{\"alert_id\":");
        assert_eq!(ids(tail.fresh().unwrap()), "a");
        append("\"b\"}\n");
        assert_eq!(ids(tail.fresh().unwrap()), "b");
        append("{\"alert_id\":\"c\"}\n");
        std::fs::rename(&path, dir.path().join("alerts-1.jsonl")).unwrap();
        append("{\"alert_id\":\"d\"}\n");
        assert_eq!(ids(tail.fresh().unwrap()), "c d");
        std::fs::write(&path, "").unwrap();
        assert_eq!(ids(tail.fresh().unwrap()), "");
        append("{\"alert_id\":\"e\"}\n");
        assert_eq!(ids(tail.fresh().unwrap()), "e");
        // Twice between two looks, and compressed.
        append("{\"alert_id\":\"f\"}\n");
        std::fs::rename(&path, dir.path().join("alerts-20260101T000000Z.jsonl")).unwrap();
        let packed = zstd::encode_all(&b"{\"alert_id\":\"g\"}\n"[..], 1).unwrap();
        std::fs::write(dir.path().join("alerts-20260102T000000Z.jsonl.zst"), packed).unwrap();
        append("{\"alert_id\":\"h\"}\n");
        assert_eq!(ids(tail.fresh().unwrap()), "f g h");
        assert_eq!(ids(tail.fresh().unwrap()), "");
    }
}
