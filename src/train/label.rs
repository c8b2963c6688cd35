//! `demarche label`: a person grades items at the terminal; the answers are training data.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use super::data::{self, DataError, Labelled, null_is_absent};
use crate::alert::SCHEMA;
use crate::classify::{ClassifyConfig, ScoreError, Scorer, Text};
use crate::item::{Identity, Stage};

/// What `demarche label` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct LabelArgs {
    /// Items to label, one JSON object a line with title and summary
    #[arg(value_name = "FILE", required_unless_present = "from_alerts")]
    pub file: Option<PathBuf>,
    /// Label alerts instead: of this alert file or, if none is named, of the configured one; files that it was rotated into
    /// are read too
    #[arg(long, value_name = "FILE", num_args = 0..=1, conflicts_with = "file")]
    pub from_alerts: Option<Option<PathBuf>>,
    /// Where the labels go; what is in it already is not asked again
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
}

/// Why labelling stopped. Each message fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum LabelError {
    /// The items or the labels so far.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The model that shows its score beside the item.
    #[error(transparent)]
    Model(#[from] ScoreError),
    /// The labels or the terminal.
    #[error("keep the labels in {path}: {source}")]
    Io {
        /// The file of labels.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// A line of the input: an item, or an alert that holds one.
#[derive(Deserialize)]
struct Line {
    #[serde(default, deserialize_with = "null_is_absent")]
    id: String,
    title: Option<String>,
    #[serde(default, deserialize_with = "null_is_absent")]
    summary: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    date: String,
    #[serde(default, deserialize_with = "null_is_absent")]
    source: String,
    item: Option<AlertItem>,
    /// In an alert an object with a title; in items of one's own it may be anything.
    #[serde(default)]
    feed: Value,
}

#[derive(Deserialize)]
struct AlertItem {
    id: String,
    title: String,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    published: String,
}

/// Asks about every item that has no label yet: keys 0, 1, 2 (then the stage), s skip, u undo, q quit.
pub fn run(
    items: &[Labelled],
    out: &Path,
    config: &ClassifyConfig,
    keys: &mut dyn BufRead,
    screen: &mut dyn Write,
) -> Result<(), LabelError> {
    let mut session = Session { items, labels: Labels::open(out)?, at: 0, steps: Vec::new() };
    let mut scorer = crate::classify::build(config)?;
    let failed = |source| LabelError::Io { path: out.to_owned(), source };
    while let Some(item) = session.next() {
        show(item, scorer.as_mut(), session.left(), screen)?.map_err(failed)?;
        match ask(keys, screen).map_err(failed)? {
            Answer::Grade(grade, stage) => session.grade(item, grade, stage)?,
            Answer::Skip => session.step(None),
            Answer::Undo => {
                let said = session.undo()?;
                writeln!(screen, "{said}").map_err(failed)?;
            }
            Answer::Quit => break,
        }
    }
    writeln!(screen, "{} labels in {}", session.labels.count, out.display()).map_err(failed)
}

/// The items of a file, with an empty grade.
///
/// # Errors
/// A line that is no item, or a file without any.
pub fn read(path: &Path) -> Result<Vec<Labelled>, DataError> {
    some(path, data::lines(path)?, false)
}

/// The items of alerts, `lines` of the file at `path`.
///
/// # Errors
/// As of [`read`].
pub fn of_alerts(path: &Path, lines: Vec<String>) -> Result<Vec<Labelled>, DataError> {
    some(path, (1..).zip(lines).map(Ok), true)
}

fn some(
    path: &Path,
    lines: impl Iterator<Item = Result<(usize, String), DataError>>,
    alerts: bool,
) -> Result<Vec<Labelled>, DataError> {
    let mut items = Vec::new();
    for line in lines {
        let (number, line) = line?;
        let bad = |reason: String| DataError::Line { path: path.into(), line: number, reason };
        let value: Value = serde_json::from_str(&line).map_err(|error| bad(data::reason(&error)))?;
        if alerts && is_no_alert(&value) {
            continue;
        }
        let line: Line = serde_json::from_value(value).map_err(|error| bad(data::reason(&error)))?;
        items.push(item(line).ok_or_else(|| bad("it has neither a title nor an alert's item".into()))?);
    }
    if items.is_empty() { Err(DataError::Empty { path: path.into() }) } else { Ok(items) }
}

/// A sink that tells stories writes lines of another schema between the alerts.
fn is_no_alert(line: &Value) -> bool {
    line["schema"].as_str().is_some_and(|schema| schema != SCHEMA)
}

fn item(line: Line) -> Option<Labelled> {
    let outlet = line.feed["title"].as_str().unwrap_or_default().to_owned();
    let (id, title, summary, date, source) = match (line.item, line.title) {
        (Some(item), _) => (item.id, item.title, item.summary, item.published.chars().take(10).collect(), outlet),
        (None, Some(title)) => (line.id, title, line.summary, line.date, line.source),
        (None, None) => return None,
    };
    let id = if id.is_empty() { Identity::of(&[&title, &summary]).to_string() } else { id };
    Some(Labelled {
        id,
        title,
        summary,
        grade: 0,
        stage: Stage::None,
        date,
        source,
        draw: "user".to_owned(),
        grades: None,
        stages: None,
    })
}

/// The items, how far the person has come, and what can be taken back.
struct Session<'a> {
    items: &'a [Labelled],
    labels: Labels,
    at: usize,
    steps: Vec<Step>,
}

/// An answer of this session: which item it was about, and the label, unless the item was skipped.
struct Step {
    at: usize,
    label: Option<Kept>,
}

/// A label in the file: its grade and the bytes that it added.
struct Kept {
    grade: u8,
    bytes: Range<u64>,
}

impl<'a> Session<'a> {
    /// The next item without a label.
    fn next(&mut self) -> Option<&'a Labelled> {
        let items = self.items;
        self.at += items.get(self.at..)?.iter().position(|item| !self.labels.has(item))?;
        items.get(self.at)
    }

    fn left(&self) -> usize {
        self.items.iter().skip(self.at).filter(|item| !self.labels.has(item)).count()
    }

    fn grade(&mut self, item: &Labelled, grade: u8, stage: Stage) -> Result<(), LabelError> {
        let bytes = self.labels.add(&Labelled { grade, stage, ..item.clone() })?;
        self.step(Some(Kept { grade, bytes }));
        Ok(())
    }

    fn step(&mut self, label: Option<Kept>) {
        self.steps.push(Step { at: self.at, label });
        self.at += 1;
    }

    /// Takes the last answer back and says which. What was labelled before this session stays: nobody sees it here.
    fn undo(&mut self) -> Result<String, LabelError> {
        let Some(Step { at, label }) = self.steps.pop() else {
            return Ok("nothing to undo in this session".into());
        };
        self.at = at;
        let Some(item) = self.items.get(at) else { return Ok(String::new()) };
        let what = match label {
            Some(Kept { grade, bytes }) => {
                self.labels.remove(item, bytes)?;
                grade.to_string()
            }
            None => "skip".into(),
        };
        Ok(format!("took back: {what} \"{}\"", printable(&item.title)))
    }
}

fn show(
    item: &Labelled,
    scorer: &mut dyn Scorer,
    left: usize,
    screen: &mut dyn Write,
) -> Result<std::io::Result<()>, ScoreError> {
    let verdicts = scorer.score(&[Text::new(&item.title, &item.summary)])?;
    let score = verdicts.first().map_or(0.0, |verdict| verdict.score());
    Ok(writeln!(screen, "\n{}\n{}\nscore {score:.2}, {left} left", printable(&item.title), printable(&item.summary)))
}

/// On one line, without characters that control: an item's text must steer neither the terminal nor the order of the
/// letters beside it.
pub(crate) fn printable(text: &str) -> String {
    let text = text.chars().map(|c| if c.is_whitespace() { ' ' } else { c });
    text.filter(|c| !c.is_control() && !matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'))
        .take(600)
        .collect()
}

enum Answer {
    Grade(u8, Stage),
    Skip,
    Undo,
    Quit,
}

fn ask(keys: &mut dyn BufRead, screen: &mut dyn Write) -> std::io::Result<Answer> {
    loop {
        match key("2 negotiation, 1 diplomacy, 0 neither, s skip, u undo, q quit", keys, screen)? {
            Some('0') => return Ok(Answer::Grade(0, Stage::None)),
            Some('1') => return Ok(Answer::Grade(1, Stage::None)),
            Some('2') => {
                if let Some(answer) = stage(keys, screen)? {
                    return Ok(answer);
                }
            }
            Some('s') => return Ok(Answer::Skip),
            Some('u') => return Ok(Answer::Undo),
            Some('q') | None => return Ok(Answer::Quit),
            Some(_) => {}
        }
    }
}

/// None: back to the grade.
fn stage(keys: &mut dyn BufRead, screen: &mut dyn Write) -> std::io::Result<Option<Answer>> {
    const QUESTION: &str = "stage: p planned, h held, o offer, a agreed, r refused, x none, u back, q quit";
    loop {
        let stage = match key(QUESTION, keys, screen)? {
            Some('p') => Stage::Planned,
            Some('h') => Stage::Held,
            Some('o') => Stage::Offer,
            Some('a') => Stage::Agreed,
            Some('r') => Stage::Refused,
            Some('x') => Stage::None,
            Some('u') => return Ok(None),
            Some('q') | None => return Ok(Some(Answer::Quit)),
            Some(_) => continue,
        };
        return Ok(Some(Answer::Grade(2, stage)));
    }
}

/// The first letter of the next line that is typed; none at the end of input.
fn key(question: &str, keys: &mut dyn BufRead, screen: &mut dyn Write) -> std::io::Result<Option<char>> {
    write!(screen, "[{question}] ")?;
    screen.flush()?;
    // A keyboard may type what is not UTF-8: no key of ours, but no reason to end either.
    let mut line = Vec::new();
    if keys.read_until(b'\n', &mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(String::from_utf8_lossy(&line).trim().chars().next().map_or(' ', |c| c.to_ascii_lowercase())))
}

/// The file of labels. Each is on disk before the next item is shown.
struct Labels {
    path: PathBuf,
    count: usize,
    ids: HashSet<String>,
    texts: HashSet<Identity>,
}

impl Labels {
    fn open(path: &Path) -> Result<Self, LabelError> {
        let mut labels = Self { path: path.into(), count: 0, ids: HashSet::new(), texts: HashSet::new() };
        // Nobody should answer a question whose answer cannot be kept.
        open(path).map_err(|source| labels.failed(source))?;
        match data::read(path) {
            Ok(items) => items.iter().for_each(|item| labels.remember(item)),
            Err(DataError::Empty { .. }) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(labels)
    }

    /// Whether the item has a label, be it under another id: the same text twice is no training data.
    fn has(&self, item: &Labelled) -> bool {
        self.ids.contains(&item.id) || self.texts.contains(&item.text_identity())
    }

    fn remember(&mut self, item: &Labelled) {
        self.count += 1;
        self.ids.insert(item.id.clone());
        self.texts.insert(item.text_identity());
    }

    /// Adds a label; the bytes of the file that are new.
    fn add(&mut self, item: &Labelled) -> Result<Range<u64>, LabelError> {
        let line = serde_json::to_string(item).map_err(|error| self.failed(error.into()))?;
        let bytes = append(&self.path, &line).map_err(|source| self.failed(source))?;
        self.remember(item);
        Ok(bytes)
    }

    /// Takes the last label out of the file. No other byte changes: other lines may hold more than is read here.
    fn remove(&mut self, item: &Labelled, bytes: Range<u64>) -> Result<(), LabelError> {
        shorten(&self.path, bytes).map_err(|source| self.failed(source))?;
        self.count -= 1;
        self.ids.remove(&item.id);
        self.texts.remove(&item.text_identity());
        Ok(())
    }

    fn failed(&self, source: std::io::Error) -> LabelError {
        LabelError::Io { path: self.path.clone(), source }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().create(true).read(true).append(true).open(path)
}

/// Writes a line at the end of the file, on a line of its own; where the new bytes are.
fn append(path: &Path, line: &str) -> std::io::Result<Range<u64>> {
    let mut file = open(path)?;
    let start = file.seek(SeekFrom::End(0))?;
    let gap = if start == 0 || last_byte(&mut file)? == b'\n' { "" } else { "\n" };
    let text = format!("{gap}{line}\n");
    file.write_all(text.as_bytes())?;
    Ok(start..start + text.len() as u64)
}

fn last_byte(file: &mut File) -> std::io::Result<u8> {
    let mut last = [0];
    file.seek(SeekFrom::End(-1))?;
    file.read_exact(&mut last)?;
    Ok(last[0])
}

/// Cuts `bytes` off the end of the file.
fn shorten(path: &Path, bytes: Range<u64>) -> std::io::Result<()> {
    let file = OpenOptions::new().write(true).open(path)?;
    if file.metadata()?.len() != bytes.end {
        return Err(std::io::Error::other("it has changed since that label; take the line out by hand"));
    }
    file.set_len(bytes.start)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::ScorerKind;
    use crate::classify::config::tests::shipped;

    const ITEMS: &str =
        "{\"title\":\"a\"}\n{\"title\":\"b\\u001b[2J\"}\n{\"id\":\"3\",\"title\":\"c\",\"date\":\"2026-06-01\"}\n";

    fn try_session(dir: &Path, items: &str, keys: &[u8]) -> Result<String, LabelError> {
        let file = dir.join("items.jsonl");
        std::fs::write(&file, items).expect("written");
        let config = ClassifyConfig { scorer: ScorerKind::Linear, ..shipped() };
        let (mut keys, mut screen) = (keys, Vec::new());
        run(&read(&file)?, &dir.join("mine.jsonl"), &config, &mut keys, &mut screen)?;
        Ok(String::from_utf8(screen).expect("text"))
    }

    fn alerts(file: &Path) -> Result<Vec<Labelled>, DataError> {
        let lines: Result<Vec<_>, _> =
            super::super::data::lines(file)?.map(|line| line.map(|(_, text)| text)).collect();
        of_alerts(file, lines?)
    }

    fn session(dir: &Path, keys: &str) -> String {
        try_session(dir, ITEMS, keys.as_bytes()).expect("runs")
    }

    fn bytes(dir: &Path) -> String {
        std::fs::read_to_string(dir.join("mine.jsonl")).expect("reads")
    }

    fn labels(dir: &Path) -> Vec<(String, u8, Stage)> {
        let items = super::super::data::read(&dir.join("mine.jsonl")).expect("reads");
        items.into_iter().map(|item| (item.title, item.grade, item.stage)).collect()
    }

    #[test]
    fn labels_undoes_and_resumes() {
        let dir = tempfile::tempdir().expect("directory");
        let screen = session(dir.path(), "1\n?\n0\nu\n2\nh\nq\n");
        assert!(!screen.contains('\u{1b}'), "an item's text does not steer the terminal");
        assert_eq!(labels(dir.path())[0], ("a".into(), 1, Stage::None));
        assert_eq!((labels(dir.path()).len(), labels(dir.path())[1].1, labels(dir.path())[1].2), (2, 2, Stage::Held));
        let screen = session(dir.path(), "0\n");
        assert!(screen.contains("1 left") && !screen.contains("2 left"), "{screen}");
        assert_eq!(labels(dir.path()).len(), 3);
    }

    #[test]
    fn undo_takes_back_this_session_alone_and_says_what() {
        let dir = tempfile::tempdir().expect("directory");
        // Of an earlier session: an item of another file, with a key that is not known here.
        let earlier = "{\"title\":\"elsewhere\",\"grade\":2,\"note\":\"mine\"}\n";
        std::fs::write(dir.path().join("mine.jsonl"), earlier).expect("written");
        let screen = session(dir.path(), "1\nu\nu\n");
        assert!(screen.contains("took back: 1 \"a\"") && screen.contains("nothing to undo"), "{screen}");
        assert_eq!(bytes(dir.path()), earlier);
        let screen = session(dir.path(), "1\n2\na\nu\nu\n0\n");
        assert!(screen.contains("took back: 2 \"b[2J\"\n"), "{screen}");
        assert!(bytes(dir.path()).starts_with(earlier));
        assert_eq!(labels(dir.path())[1..], [("a".into(), 0, Stage::None)]);
    }

    #[test]
    fn undo_takes_back_a_skip() {
        let dir = tempfile::tempdir().expect("directory");
        let screen = session(dir.path(), "s\nu\n1\ns\nu\nu\n2\nx\n");
        assert_eq!(screen.matches("took back: skip \"a\"").count(), 1, "{screen}");
        assert!(screen.contains("took back: skip \"b[2J\"") && screen.contains("took back: 1 \"a\""), "{screen}");
        assert_eq!(labels(dir.path()), [("a".into(), 2, Stage::None)]);
    }

    #[test]
    fn a_file_without_a_final_newline_stays_whole() {
        let dir = tempfile::tempdir().expect("directory");
        let earlier = "{\"title\":\"elsewhere\",\"grade\":2}";
        std::fs::write(dir.path().join("mine.jsonl"), earlier).expect("written");
        session(dir.path(), "1\nu\n");
        assert_eq!(bytes(dir.path()), earlier);
        session(dir.path(), "1\n0\n");
        assert_eq!(labels(dir.path()).len(), 3);
        assert!(bytes(dir.path()).starts_with(&format!("{earlier}\n{{")));
    }

    #[test]
    fn undo_cuts_nothing_that_another_program_wrote() {
        let dir = tempfile::tempdir().expect("directory");
        let path = dir.path().join("mine.jsonl");
        let added = append(&path, "{}").expect("written");
        append(&path, "{}").expect("written");
        assert!(shorten(&path, added).is_err());
        assert_eq!(bytes(dir.path()), "{}\n{}\n");
    }

    #[test]
    fn the_stage_can_be_left_for_the_grade_or_for_good() {
        let dir = tempfile::tempdir().expect("directory");
        session(dir.path(), "2\nu\n1\n2\nq\n0\n");
        assert_eq!(labels(dir.path()), [("a".into(), 1, Stage::None)]);
    }

    #[test]
    fn a_key_that_is_not_utf_8_ends_nothing() {
        let dir = tempfile::tempdir().expect("directory");
        try_session(dir.path(), ITEMS, b"\xe9\n1\n").expect("runs");
        assert_eq!(labels(dir.path()), [("a".into(), 1, Stage::None)]);
    }

    #[test]
    fn what_cannot_be_written_is_told_before_the_first_question() {
        let dir = tempfile::tempdir().expect("directory");
        std::fs::create_dir(dir.path().join("mine.jsonl")).expect("directory");
        let error = try_session(dir.path(), ITEMS, b"").expect_err("no file");
        assert!(error.to_string().starts_with("keep the labels in"), "{error}");
    }

    #[test]
    fn an_item_steers_neither_the_terminal_nor_the_letters_beside_it() {
        assert_eq!(printable("one\ntwo\tthree\u{2029}four"), "one two three four");
        assert_eq!(printable("\u{202e}a\u{2066}b\u{2069}\u{1b}[2J\u{202a}"), "ab[2J");
    }

    #[test]
    fn the_same_text_under_another_id_is_not_asked_again() {
        let dir = tempfile::tempdir().expect("directory");
        let items = "{\"id\":\"1\",\"title\":\"a\"}\n{\"id\":\"2\",\"title\":\"a\",\"summary\":null}\n";
        try_session(dir.path(), items, b"1\n0\n").expect("runs");
        assert_eq!(labels(dir.path()), [("a".into(), 1, Stage::None)]);
    }

    #[test]
    fn alerts_give_their_outlet_and_other_schemas_are_passed_over() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("alerts.jsonl");
        let lines = "\u{feff}{\"schema\":\"demarche.story_update/1\",\"story\":{}}\n\
             {\"schema\":\"demarche.alert/1\",\"item\":{\"id\":\"x\",\"title\":\"t\"},\"feed\":{\"title\":\"The Wire\"}}\n\
             {\"schema\":\"demarche.alert/1\",\"item\":{\"id\":\"y\",\"title\":\"u\"},\"feed\":{\"title\":null}}\n";
        std::fs::write(&file, lines).expect("written");
        let sources: Vec<String> = alerts(&file).expect("reads").into_iter().map(|item| item.source).collect();
        assert_eq!(sources, ["The Wire", ""]);
        assert!(read(&file).expect_err("no item").to_string().contains("read line 1 of"));
    }

    #[test]
    fn alerts_and_odd_lines() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("alerts.jsonl");
        let alert = "{\"schema\":\"demarche.alert/1\",\"item\":{\"id\":\"x\",\"title\":\"t\",\"published\":\"2026-06-01T10:00:00Z\"}}";
        std::fs::write(&file, alert).expect("written");
        let items = alerts(&file).expect("reads");
        assert_eq!((items[0].id.as_str(), items[0].title.as_str(), items[0].date.as_str()), ("x", "t", "2026-06-01"));
        std::fs::write(&file, "{\"summary\":\"s\"}").expect("written");
        assert!(alerts(&file).expect_err("refused").to_string().contains("line 1"));
    }
}
