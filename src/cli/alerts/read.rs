//! The alert file and the files it was rotated into, line by line.

use std::collections::{HashSet, VecDeque};
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::ops::ControlFlow;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::exit::UsageError;
use crate::item::Identity;
use crate::sink::{Order, walk};

/// Longest line that is taken for an alert, bytes: several times what an item can hold. A file that is no alert file must
/// not be read into memory whole.
const LONGEST: u64 = 4 * 1024 * 1024;

/// A line of the file.
pub(in crate::cli) struct Line {
    /// As it stands there.
    pub line: String,
    /// What is shown and asked of it.
    pub view: View,
}

impl Line {
    /// What makes two lines the same alert.
    fn key(&self) -> Identity {
        Identity::of(&[&self.view.alert_id])
    }
}

/// The fields that are shown and filtered by. What a line lacks (an older program wrote it) is empty.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct View {
    pub alert_id: String,
    pub emitted_at: Option<DateTime<Utc>>,
    pub origin: String,
    pub score: f32,
    pub stage: Stage,
    pub reasons: Vec<Reason>,
    pub item: Item,
    pub feed: Feed,
    pub story: Option<Story>,
    pub actors: Vec<Actor>,
    pub places: Vec<String>,
    pub model: Model,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Stage {
    pub label: String,
    pub confidence: f32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Reason {
    pub text: String,
    pub weight: f32,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Item {
    pub id: String,
    pub title: String,
    pub summary: String,
    pub url: Option<String>,
    pub published: Option<DateTime<Utc>>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Feed {
    pub url: String,
    pub title: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Story {
    pub id: String,
    pub first_seen: Option<DateTime<Utc>>,
    pub size: u64,
    pub sources: u64,
    pub events: Vec<serde_json::Value>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Actor {
    pub id: String,
    pub name: String,
    pub country: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(in crate::cli) struct Model {
    pub id: String,
    pub threshold: f32,
}

impl View {
    /// Whether `id` is the start of the alert's or the item's id.
    pub fn is_known_as(&self, id: &str) -> bool {
        !id.is_empty() && (self.alert_id.starts_with(id) || self.item.id.starts_with(id))
    }
}

/// Calls `take` for every alert, oldest first; returns how many lines or files could not be read (they are named in the log).
pub(in crate::cli) fn each(path: &Path, take: impl FnMut(Line)) -> anyhow::Result<usize> {
    let (files, unreadable) = Reader::new(path).all(take)?;
    if files == 0 {
        let what = format!("read {}: there is no alert file yet; name one with --file or --state", path.display());
        return Err(UsageError(what).into());
    }
    Ok(unreadable)
}

/// The alert file and the files it was rotated into, read so that every alert is met once: in whichever of them it stands, and
/// though a file is moved, copied or edited meanwhile.
pub(in crate::cli) struct Reader {
    path: PathBuf,
    /// The alerts that were met, by the hashes of their ids: some bytes for each.
    seen: HashSet<Identity>,
}

impl Reader {
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), seen: HashSet::new() }
    }

    /// Calls `take` for every alert, oldest first; returns how many files there are, and how many lines or files could not be read.
    pub fn all(&mut self, mut take: impl FnMut(Line)) -> anyhow::Result<(usize, usize)> {
        let seen = &mut self.seen;
        let mut once = |line: Line| {
            if seen.insert(line.key()) {
                take(line);
            }
        };
        if is_stream(&self.path) {
            let text = File::open(&self.path).map(BufReader::new);
            let unreadable = text.and_then(|text| lines(text, &self.path, &mut once));
            return Ok((1, unreadable.map_err(|error| cannot(&self.path, &error))?));
        }
        let mut unreadable = 0;
        let walked = walk(&self.path, Order::OldestFirst, |part| {
            let name = part.path.clone();
            unreadable += lines(part.text()?, &name, &mut once)?;
            Ok(ControlFlow::Continue(()))
        });
        let walked = walked.map_err(|error| cannot(&self.path, &error))?;
        Ok((walked.files, walked.unreadable + unreadable))
    }

    /// The alerts that came since the last look, also in files that were closed meanwhile.
    pub fn news(&mut self) -> anyhow::Result<Vec<Line>> {
        let (mut files, mut fresh) = (Vec::new(), HashSet::new());
        let walked = walk(&self.path, Order::NewestFirst, |part| {
            let (name, mut new, mut known) = (part.path.clone(), Vec::new(), false);
            lines(part.text()?, &name, &mut |line| match line.key() {
                key if self.seen.contains(&key) => known = true,
                key if fresh.insert(key) => new.push(line),
                _ => {}
            })?;
            files.push(new);
            // What is known stands before what is not.
            Ok(if known { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        });
        walked.map_err(|error| cannot(&self.path, &error))?;
        self.seen.extend(fresh);
        Ok(files.into_iter().rev().flatten().collect())
    }

    /// Whether this alert is met for the first time.
    pub fn is_new(&mut self, line: &Line) -> bool {
        self.seen.insert(line.key())
    }
}

/// Hands over the alerts in `text`; returns how many lines are none.
fn lines(mut text: impl BufRead, name: &Path, take: &mut impl FnMut(Line)) -> io::Result<usize> {
    let mut unreadable = 0;
    for number in 1_usize.. {
        let mut bytes = Vec::new();
        let read = io::Read::take(&mut text, LONGEST).read_until(b'\n', &mut bytes)?;
        let is_whole = bytes.ends_with(b"\n");
        match parse(&bytes) {
            _ if read == 0 => break,
            Some(line) => take(line),
            // A last line without its end is being written just now.
            None if !is_whole && (read as u64) < LONGEST => break,
            None => {
                tracing::warn!(file = %name.display(), line = number, "passed over a line that is no alert");
                unreadable += 1;
                if !is_whole {
                    text.skip_until(b'\n')?;
                }
            }
        }
    }
    Ok(unreadable)
}

fn cannot(file: &Path, error: &io::Error) -> anyhow::Error {
    anyhow::anyhow!("read {}: {error}", file.display())
}

/// Whether it is what a shell puts in a file's place: `--file <(ssh desk cat alerts.jsonl)`. It can be read once, and has no
/// files beside it.
fn is_stream(path: &Path) -> bool {
    std::fs::metadata(path).is_ok_and(|metadata| metadata.file_type().is_fifo())
}

/// A line of the file as an alert.
pub(in crate::cli) fn parse(bytes: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']);
    let view: View = serde_json::from_str(line).ok()?;
    (!view.alert_id.is_empty()).then(|| Line { line: line.to_owned(), view })
}

/// The last so many of what is pushed, or all of it.
pub(in crate::cli) struct Latest {
    lines: VecDeque<Line>,
    most: Option<usize>,
}

impl Latest {
    pub fn new(most: Option<usize>) -> Self {
        Self { lines: VecDeque::new(), most }
    }

    pub fn push(&mut self, line: Line) {
        self.lines.push_back(line);
        if self.most.is_some_and(|most| self.lines.len() > most) {
            self.lines.pop_front();
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Line> {
        self.lines.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: &str) -> String {
        format!("{{\"alert_id\":\"{id}\"}}\n")
    }

    fn ids(lines: Vec<Line>) -> String {
        lines.into_iter().map(|line| line.view.alert_id).collect::<Vec<_>>().join(" ")
    }

    fn read(path: &Path) -> (String, usize) {
        let mut found = Vec::new();
        let unreadable = each(path, |line| found.push(line)).unwrap();
        (ids(found), unreadable)
    }

    #[test]
    fn rotated_files_come_first_packed_or_not_and_bad_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("alerts.jsonl", &(line("d") + "not one\n" + &line("e") + "{\"alert_id\":\"half"));
        write("alerts-20260103T000000Z.jsonl", &line("c"));
        write("alerts-20260101T000000Z.jsonl", "{\"alert_id\":\"a\"}\r\n");
        let packed = zstd::encode_all(line("b").as_bytes(), 1).unwrap();
        std::fs::write(dir.path().join("alerts-20260102T000000Z.jsonl.zst"), packed).unwrap();
        write("others.jsonl", &line("x"));
        assert_eq!(read(&dir.path().join("alerts.jsonl")), ("a b c d e".into(), 1));
        let missing = each(&dir.path().join("none.jsonl"), |_| ()).unwrap_err().to_string();
        assert!(missing.contains("no alert file yet"), "{missing}");
    }

    #[test]
    fn an_alert_that_stands_in_two_files_is_met_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        std::fs::write(&path, line("a") + &line("b")).unwrap();
        std::fs::write(dir.path().join("alerts.jsonl.bak"), line("a")).unwrap();
        assert_eq!(read(&path), ("a b".into(), 0));
    }

    #[test]
    fn a_line_too_long_for_an_alert_hides_nothing_behind_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        std::fs::write(&path, line("a") + &"x".repeat(LONGEST as usize + 7) + "\n" + &line("b")).unwrap();
        assert_eq!(read(&path), ("a b".into(), 1));
    }

    #[test]
    fn news_are_those_of_all_files_since_the_last_look() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let close = |day: u32| std::fs::rename(&path, dir.path().join(format!("alerts-202601{day:02}T000000Z.jsonl")));
        std::fs::write(&path, line("a")).unwrap();
        close(1).unwrap();
        std::fs::write(&path, line("b")).unwrap();
        let mut reader = Reader::new(&path);
        assert_eq!((reader.all(|_| ()).unwrap(), ids(reader.news().unwrap())), ((2, 0), String::new()));
        std::fs::write(&path, line("b") + &line("c")).unwrap();
        close(2).unwrap();
        std::fs::write(&path, line("d")).unwrap();
        close(3).unwrap();
        std::fs::write(&path, line("e")).unwrap();
        assert_eq!(ids(reader.news().unwrap()), "c d e");
        assert_eq!(ids(reader.news().unwrap()), "");
    }

    #[test]
    fn the_latest_are_kept() {
        let mut latest = Latest::new(Some(2));
        for id in ["a", "b", "c"] {
            latest.push(parse(format!("{{\"alert_id\":\"{id}\"}}").as_bytes()).unwrap());
        }
        assert_eq!(latest.iter().map(|line| line.view.alert_id.as_str()).collect::<Vec<_>>(), ["b", "c"]);
    }
}
