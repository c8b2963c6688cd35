//! The alert file and the files it was rotated into, line by line.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::super::exit::UsageError;

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

/// Calls `take` for every alert, oldest file first; returns how many lines are none (they are named in the log).
pub(in crate::cli) fn each(path: &Path, mut take: impl FnMut(Line)) -> anyhow::Result<usize> {
    let mut unreadable = 0;
    for file in files(path)? {
        let open = File::open(&file).map_err(|error| cannot(&file, &error))?;
        let mut reader = BufReader::new(open);
        for number in 1_usize.. {
            let mut bytes = Vec::new();
            let read = std::io::Read::take(&mut reader, LONGEST).read_until(b'\n', &mut bytes);
            match read.map_err(|error| cannot(&file, &error))? {
                0 => break,
                _ => match parse(&bytes) {
                    Some(line) => take(line),
                    // A last line without its end is being written just now.
                    None if !bytes.ends_with(b"\n") => break,
                    None => {
                        tracing::warn!(file = %file.display(), line = number, "passed over a line that is no alert");
                        unreadable += 1;
                    }
                },
            }
        }
    }
    Ok(unreadable)
}

/// A line of the file as an alert.
pub(in crate::cli) fn parse(bytes: &[u8]) -> Option<Line> {
    let line = std::str::from_utf8(bytes).ok()?.trim_end_matches(['\n', '\r']);
    let view: View = serde_json::from_str(line).ok()?;
    (!view.alert_id.is_empty()).then(|| Line { line: line.to_owned(), view })
}

/// The files that the alert file was rotated into, in order of their names (times), and the file itself.
fn files(path: &Path) -> anyhow::Result<Vec<PathBuf>> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let part = |text: Option<&std::ffi::OsStr>| text.and_then(|text| text.to_str()).unwrap_or_default().to_owned();
    let (stem, end) = (part(path.file_stem()) + "-", part(path.extension()));
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir)
        .map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())).collect())
        .unwrap_or_default();
    files.retain(|file| part(file.file_name()).starts_with(&stem) && part(file.extension()) == end);
    files.sort();
    if path.exists() {
        files.push(path.to_owned());
    }
    if files.is_empty() {
        let what = format!("read {}: there is no alert file yet; name one with --file or --state", path.display());
        return Err(UsageError(what).into());
    }
    Ok(files)
}

fn cannot(file: &Path, error: &std::io::Error) -> anyhow::Error {
    anyhow::anyhow!("read {}: {error}", file.display())
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

    #[test]
    fn rotated_files_come_first_and_bad_lines_are_counted() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write("alerts.jsonl", "{\"alert_id\":\"c\"}\nnot one\n{\"alert_id\":\"d\"}\n{\"alert_id\":\"half");
        write("alerts-20260102T000000Z.jsonl", "{\"alert_id\":\"b\"}\n");
        write("alerts-20260101T000000Z.jsonl", "{\"alert_id\":\"a\"}\r\n");
        write("others.jsonl", "{\"alert_id\":\"x\"}\n");
        let mut ids = Vec::new();
        let unreadable = each(&dir.path().join("alerts.jsonl"), |line| ids.push(line.view.alert_id)).unwrap();
        assert_eq!((ids.join(" ").as_str(), unreadable), ("a b c d", 1));
        let missing = each(&dir.path().join("none.jsonl"), |_| ()).unwrap_err().to_string();
        assert!(missing.contains("no alert file yet"), "{missing}");
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
