//! `demarche label`: a person grades items at the terminal; the answers are training data.

use std::collections::HashSet;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::data::{DataError, Labelled};
use crate::classify::{ClassifyConfig, ScoreError, Scorer, Text};
use crate::item::{Identity, Stage};

/// What `demarche label` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct LabelArgs {
    /// Items to label, one JSON object a line with title and summary
    #[arg(value_name = "FILE", required_unless_present = "from_alerts")]
    pub file: Option<PathBuf>,
    /// Label alerts from this alert file instead
    #[arg(long, value_name = "FILE", conflicts_with = "file")]
    pub from_alerts: Option<PathBuf>,
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
    #[serde(default)]
    id: String,
    title: Option<String>,
    #[serde(default)]
    summary: String,
    #[serde(default)]
    date: String,
    #[serde(default)]
    source: String,
    item: Option<AlertItem>,
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
    args: &LabelArgs,
    config: &ClassifyConfig,
    keys: &mut dyn BufRead,
    screen: &mut dyn Write,
) -> Result<(), LabelError> {
    let path = args.file.as_ref().or(args.from_alerts.as_ref()).cloned().unwrap_or_default();
    let items = read(&path)?;
    let mut scorer = crate::classify::build(config)?;
    let mut labels = Labels::open(&args.out)?;
    let failed = |source| LabelError::Io { path: args.out.clone(), source };
    let mut at = 0;
    while let Some(item) = items.get(at) {
        if labels.known.contains(&item.id) {
            at += 1;
            continue;
        }
        let left = items[at..].iter().filter(|item| !labels.known.contains(&item.id)).count();
        show(item, scorer.as_mut(), left, screen)?.map_err(failed)?;
        match ask(keys, screen).map_err(failed)? {
            Answer::Grade(grade, stage) => {
                labels.add(&Labelled { grade, stage, ..item.clone() })?;
                at += 1;
            }
            Answer::Skip => at += 1,
            Answer::Undo => match labels.undo()? {
                Some(id) => at = items.iter().position(|item| item.id == id).unwrap_or(at),
                None => writeln!(screen, "nothing to undo").map_err(failed)?,
            },
            Answer::Quit => break,
        }
    }
    writeln!(screen, "{} labels in {}", labels.lines.len(), args.out.display()).map_err(failed)
}

/// Items with an id, a title and an empty grade.
fn read(path: &Path) -> Result<Vec<Labelled>, DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let mut items = Vec::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(path).map_err(io)?).lines()) {
        let line = line.map_err(io)?;
        if line.trim().is_empty() {
            continue;
        }
        let bad = |reason: String| DataError::Line { path: path.into(), line: number, reason };
        let line: Line = serde_json::from_str(&line).map_err(|error| bad(error.to_string()))?;
        items.push(item(line).ok_or_else(|| bad("it has neither a title nor an alert's item".into()))?);
    }
    if items.is_empty() { Err(DataError::Empty { path: path.into() }) } else { Ok(items) }
}

fn item(line: Line) -> Option<Labelled> {
    let (id, title, summary, date) = match (line.item, line.title) {
        (Some(item), _) => (item.id, item.title, item.summary, item.published.chars().take(10).collect()),
        (None, Some(title)) => (line.id, title, line.summary, line.date),
        (None, None) => return None,
    };
    let id = if id.is_empty() { Identity::of(&[&title, &summary]).to_string() } else { id };
    let (source, draw) = (line.source, "user".to_owned());
    Some(Labelled { id, title, summary, grade: 0, stage: Stage::None, date, source, draw })
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

/// Without control characters: an item's text must not steer the terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(600).collect()
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
            Some('2') => return stage(keys, screen),
            Some('s') => return Ok(Answer::Skip),
            Some('u') => return Ok(Answer::Undo),
            Some('q') | None => return Ok(Answer::Quit),
            Some(_) => {}
        }
    }
}

fn stage(keys: &mut dyn BufRead, screen: &mut dyn Write) -> std::io::Result<Answer> {
    loop {
        let stage = match key("stage: p planned, h held, o offer, a agreed, r refused, x none", keys, screen)? {
            Some('p') => Stage::Planned,
            Some('h') => Stage::Held,
            Some('o') => Stage::Offer,
            Some('a') => Stage::Agreed,
            Some('r') => Stage::Refused,
            Some('x') => Stage::None,
            Some(_) => continue,
            None => return Ok(Answer::Quit),
        };
        return Ok(Answer::Grade(2, stage));
    }
}

/// The first letter of the next line that is typed; none at the end of input.
fn key(question: &str, keys: &mut dyn BufRead, screen: &mut dyn Write) -> std::io::Result<Option<char>> {
    write!(screen, "[{question}] ")?;
    screen.flush()?;
    let mut line = String::new();
    if keys.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    Ok(Some(line.trim().chars().next().map_or(' ', |c| c.to_ascii_lowercase())))
}

/// The file of labels. Each is on disk before the next item is shown.
struct Labels {
    path: PathBuf,
    lines: Vec<(String, String)>,
    known: HashSet<String>,
}

impl Labels {
    fn open(path: &Path) -> Result<Self, LabelError> {
        let mut labels = Self { path: path.into(), lines: Vec::new(), known: HashSet::new() };
        if path.exists() {
            match super::data::read(path) {
                Ok(items) => items.iter().try_for_each(|item| labels.remember(item))?,
                Err(DataError::Empty { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(labels)
    }

    fn remember(&mut self, item: &Labelled) -> Result<(), LabelError> {
        let line = serde_json::to_string(item).map_err(|error| self.failed(error.into()))?;
        self.known.insert(item.id.clone());
        self.lines.push((item.id.clone(), line));
        Ok(())
    }

    fn add(&mut self, item: &Labelled) -> Result<(), LabelError> {
        self.remember(item)?;
        let line = self.lines.last().map(|(_, line)| line.as_str()).unwrap_or_default();
        let file = OpenOptions::new().create(true).append(true).open(&self.path);
        file.and_then(|mut file| writeln!(file, "{line}")).map_err(|source| self.failed(source))
    }

    /// Takes the last label back; its item's id, if there was one.
    fn undo(&mut self) -> Result<Option<String>, LabelError> {
        let Some((id, _)) = self.lines.pop() else { return Ok(None) };
        self.known.remove(&id);
        let text: String = self.lines.iter().map(|(_, line)| format!("{line}\n")).collect();
        // The old file stays whole until the new one is.
        let fresh = self.path.with_extension("new");
        std::fs::write(&fresh, text)
            .and_then(|()| std::fs::rename(&fresh, &self.path))
            .map_err(|source| self.failed(source))?;
        Ok(Some(id))
    }

    fn failed(&self, source: std::io::Error) -> LabelError {
        LabelError::Io { path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::ScorerKind;
    use crate::classify::config::tests::shipped;

    fn session(dir: &Path, keys: &str) -> String {
        let file = dir.join("items.jsonl");
        std::fs::write(
            &file,
            "{\"title\":\"a\"}\n{\"title\":\"b\\u001b[2J\"}\n{\"id\":\"3\",\"title\":\"c\",\"date\":\"2026-06-01\"}\n",
        )
        .expect("written");
        let args = LabelArgs { file: Some(file), from_alerts: None, out: dir.join("mine.jsonl") };
        let config = ClassifyConfig { scorer: ScorerKind::Linear, ..shipped() };
        let mut screen = Vec::new();
        run(&args, &config, &mut keys.as_bytes(), &mut screen).expect("runs");
        String::from_utf8(screen).expect("text")
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
    fn alerts_and_odd_lines() {
        let dir = tempfile::tempdir().expect("directory");
        let file = dir.path().join("alerts.jsonl");
        let alert = "{\"schema\":\"demarche.alert/1\",\"item\":{\"id\":\"x\",\"title\":\"t\",\"published\":\"2026-06-01T10:00:00Z\"}}";
        std::fs::write(&file, alert).expect("written");
        let items = read(&file).expect("reads");
        assert_eq!((items[0].id.as_str(), items[0].title.as_str(), items[0].date.as_str()), ("x", "t", "2026-06-01"));
        std::fs::write(&file, "{\"summary\":\"s\"}").expect("written");
        assert!(read(&file).expect_err("refused").to_string().contains("line 1"));
    }
}
