//! `alerts follow`: what is appended, as it comes; the file may be rotated, replaced or missing for a while.

use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
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
    let mut tail = Tail::at_end(path)?;
    if path.exists() {
        let mut latest = read::Latest::new(Some(limit));
        read::each(path, |line| {
            if takes(&line.view) {
                latest.push(line);
            }
        })?;
        latest.iter().try_for_each(show)?;
    }
    loop {
        std::thread::sleep(LOOK);
        tail.fresh(path)?.iter().filter(|line| takes(&line.view)).try_for_each(show)?;
    }
}

/// Where reading stopped.
struct Tail {
    open: Option<(File, u64)>,
    partial: Vec<u8>,
}

impl Tail {
    /// At the end of what is there.
    fn at_end(path: &Path) -> std::io::Result<Self> {
        let mut tail = Self { open: None, partial: Vec::new() };
        if path.exists() {
            tail.reopen(path)?;
            if let Some((file, _)) = &mut tail.open {
                file.seek(SeekFrom::End(0))?;
            }
        }
        Ok(tail)
    }

    fn reopen(&mut self, path: &Path) -> std::io::Result<()> {
        let file = File::open(path)?;
        let inode = file.metadata()?.ino();
        self.open = Some((file, inode));
        self.partial.clear();
        Ok(())
    }

    /// The alerts that were added since the last look: the rest of the old file first, when it was rotated away.
    fn fresh(&mut self, path: &Path) -> std::io::Result<Vec<read::Line>> {
        let mut lines = self.rest()?;
        let Ok(now) = std::fs::metadata(path) else { return Ok(lines) };
        let same = match &mut self.open {
            Some((file, inode)) => *inode == now.ino() && file.stream_position()? <= now.len(),
            None => false,
        };
        if !same {
            self.reopen(path)?;
            lines.extend(self.rest()?);
        }
        Ok(lines)
    }

    /// Whole lines from where reading stopped.
    fn rest(&mut self) -> std::io::Result<Vec<read::Line>> {
        let Some((file, _)) = &mut self.open else { return Ok(Vec::new()) };
        BufReader::new(file).read_to_end(&mut self.partial)?;
        let whole = self.partial.iter().rposition(|&byte| byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.partial.drain(..whole).collect();
        Ok(lines.split(|&byte| byte == b'\n').filter_map(read::parse).collect())
    }
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
        let mut tail = Tail::at_end(&path).unwrap();
        assert_eq!(ids(tail.fresh(&path).unwrap()), "");
        append("{\"alert_id\":\"a\"}\n{\"alert_id\":");
        assert_eq!(ids(tail.fresh(&path).unwrap()), "a");
        append("\"b\"}\n");
        assert_eq!(ids(tail.fresh(&path).unwrap()), "b");
        append("{\"alert_id\":\"c\"}\n");
        std::fs::rename(&path, dir.path().join("alerts-1.jsonl")).unwrap();
        append("{\"alert_id\":\"d\"}\n");
        assert_eq!(ids(tail.fresh(&path).unwrap()), "c d");
        std::fs::write(&path, "").unwrap();
        assert_eq!(ids(tail.fresh(&path).unwrap()), "");
        append("{\"alert_id\":\"e\"}\n");
        assert_eq!(ids(tail.fresh(&path).unwrap()), "e");
    }
}
