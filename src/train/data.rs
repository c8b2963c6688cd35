//! Labelled items: one JSON object a line.

use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::classify::Text;
use crate::item::{Identity, Stage};

/// A line of a labelled file. Only `title` and `grade` must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Id of the item; made from its text where the line has none.
    #[serde(default)]
    pub id: String,
    /// Headline.
    pub title: String,
    /// Start of the body.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub summary: String,
    /// 0 neither, 1 diplomacy, 2 negotiation.
    pub grade: u8,
    /// Stage of a negotiation.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub stage: Stage,
    /// Day of publication, `YYYY-MM-DD`; may be empty.
    #[serde(default)]
    pub date: String,
    /// Name of the outlet; may be empty.
    #[serde(default)]
    pub source: String,
    /// How the item was drawn (`natural` is a fair sample); may be empty.
    #[serde(default)]
    pub draw: String,
}

fn null_is_absent<'de, D: serde::Deserializer<'de>, T: Default + Deserialize<'de>>(value: D) -> Result<T, D::Error> {
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl Labelled {
    /// What a scorer reads of it.
    pub fn text(&self) -> Text {
        Text::new(&self.title, &self.summary)
    }

    fn both(&self) -> (&str, &str) {
        (&self.title, &self.summary)
    }
}

/// Why a labelled file cannot be used. Each message fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// The file cannot be read.
    #[error("read {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A line is not a labelled item.
    #[error("read line {line} of {path}: {reason}")]
    Line {
        /// The file.
        path: PathBuf,
        /// Line number, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Nothing to learn from or to measure on.
    #[error("use {path}: it holds no items")]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Too few items to keep a tenth out.
    #[error(
        "keep a tenth of the data out to measure on: there are too few items of each grade; name a file with --dev"
    )]
    TooFew,
    /// An item is in two training files, where it would count twice, or with two grades.
    #[error("train on both files: item {id} (\"{title}\") is in two of them; remove it from one")]
    Twice {
        /// The item.
        id: String,
        /// Its headline.
        title: String,
    },
    /// An item is in both files, so that the measure would be of memory.
    #[error("measure on {dev}: its item {id} (\"{title}\") is also in the training data; remove it from one of them")]
    Overlap {
        /// The development file.
        dev: PathBuf,
        /// The item.
        id: String,
        /// Its headline.
        title: String,
    },
}

/// Reads a labelled file. An id that comes twice is refused: the same item would count twice, or with two grades.
pub fn read(path: &Path) -> Result<Vec<Labelled>, DataError> {
    let io = |source| DataError::Io { path: path.into(), source };
    let reader = BufReader::new(File::open(path).map_err(io)?);
    let mut items: Vec<Labelled> = Vec::new();
    let mut first_seen: HashMap<String, usize> = HashMap::new();
    for (number, line) in (1..).zip(reader.lines()) {
        let line = line.map_err(io)?;
        if line.trim().is_empty() {
            continue;
        }
        let item = parse(&line).map_err(|reason| DataError::Line { path: path.into(), line: number, reason })?;
        if let Some(first) = first_seen.insert(item.id.clone(), number) {
            let reason = format!("id {} is already on line {first}", item.id);
            return Err(DataError::Line { path: path.into(), line: number, reason });
        }
        items.push(item);
    }
    if items.is_empty() { Err(DataError::Empty { path: path.into() }) } else { Ok(items) }
}

/// Reads several labelled files, each to a list of its own. An item may be in one of them only.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<Labelled>>, DataError> {
    let mut known: HashSet<String> = HashSet::new();
    let mut fresh = |file: Vec<Labelled>| match file.iter().find(|item| !known.insert(item.id.clone())) {
        Some(item) => Err(DataError::Twice { id: item.id.clone(), title: item.title.clone() }),
        None => Ok(file),
    };
    paths.iter().map(|path| fresh(read(path)?)).collect()
}

/// Keeps a tenth of the items out of training, always the same ones: which tenth is a matter of their text.
///
/// # Errors
/// When one of the parts has no negotiation or nothing else: nothing could be learnt from it or measured on it.
pub fn split(items: Vec<Labelled>) -> Result<(Vec<Labelled>, Vec<Labelled>), DataError> {
    let kept_out = |item: &Labelled| Identity::of(&[&item.title, &item.summary]).0[0].is_multiple_of(10);
    let (dev, items): (Vec<_>, Vec<_>) = items.into_iter().partition(kept_out);
    let both = |part: &[Labelled]| {
        let negotiations = part.iter().filter(|item| item.grade == 2).count();
        negotiations > 0 && negotiations < part.len()
    };
    if both(&dev) && both(&items) { Ok((items, dev)) } else { Err(DataError::TooFew) }
}

/// Refuses development items that were trained on, by id or by text.
pub fn refuse_overlap(train: &[Labelled], dev: &[Labelled], dev_path: &Path) -> Result<(), DataError> {
    let ids: HashSet<&str> = train.iter().map(|item| item.id.as_str()).collect();
    let texts: HashSet<(&str, &str)> = train.iter().map(Labelled::both).collect();
    match dev.iter().find(|item| ids.contains(item.id.as_str()) || texts.contains(&item.both())) {
        None => Ok(()),
        Some(item) => Err(DataError::Overlap { dev: dev_path.into(), id: item.id.clone(), title: item.title.clone() }),
    }
}

fn parse(line: &str) -> Result<Labelled, String> {
    let mut item: Labelled = serde_json::from_str(line).map_err(|error| error.to_string())?;
    if item.grade > 2 {
        return Err(format!("grade {} is not 0, 1 or 2", item.grade));
    }
    if item.grade < 2 && item.stage != Stage::None {
        return Err(format!(
            "grade {} has stage {:?}, but only a negotiation (grade 2) has one",
            item.grade, item.stage
        ));
    }
    if item.id.is_empty() {
        item.id = Identity::of(&[&item.title, &item.summary]).to_string();
    }
    Ok(item)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn read_lines(lines: &str) -> Result<Vec<Labelled>, DataError> {
        let mut file = tempfile::NamedTempFile::new().expect("temporary file");
        file.write_all(lines.as_bytes()).expect("written");
        read(file.path())
    }

    fn complaint(lines: &str) -> String {
        read_lines(lines).expect_err("refused").to_string()
    }

    #[test]
    fn reads_the_full_form_and_the_short_one() {
        let items = read_lines(
            "{\"id\":\"1\",\"title\":\"t\",\"summary\":\"s\",\"date\":\"2026-06-01\",\"source\":\"x\",\"draw\":\"hard\",\
             \"grade\":2,\"stage\":\"held\"}\n\n{\"title\":\"u\",\"grade\":0}\n",
        )
        .expect("reads");
        assert_eq!((items.len(), items[0].stage, items[1].stage), (2, Stage::Held, Stage::None));
        assert_eq!(items[1].id.len(), 32);
    }

    #[test]
    fn bad_lines_are_named() {
        assert!(complaint("{\"title\":\"t\",\"grade\":0}\n{\"title\":\"t\",\"grade\":3}").contains("line 2"));
        assert!(complaint("{\"title\":\"t\",\"grade\":-1}").contains("line 1"));
        assert!(complaint("{\"title\":\"t\",\"grade\":2,\"stage\":\"maybe\"}").contains("maybe"));
        assert!(complaint("{\"title\":\"t\",\"grade\":0,\"stage\":\"held\"}").contains("only a negotiation"));
        assert!(complaint("not json").contains("line 1"));
        assert!(complaint("").contains("no items"));
    }

    #[test]
    fn duplicates_and_overlap_are_refused() {
        let twice = "{\"title\":\"t\",\"grade\":0}\n{\"title\":\"t\",\"grade\":1}";
        assert!(complaint(twice).contains("already on line 1"));
        let items = read_lines("{\"title\":\"t\",\"grade\":0}").expect("reads");
        assert!(refuse_overlap(&items, &items, Path::new("dev.jsonl")).is_err());
        assert!(refuse_overlap(&items, &[], Path::new("dev.jsonl")).is_ok());
        let same_text = read_lines("{\"id\":\"other\",\"title\":\"t\",\"grade\":0}").expect("reads");
        let error = refuse_overlap(&items, &same_text, Path::new("dev.jsonl")).expect_err("the text was trained on");
        assert!(error.to_string().contains("dev.jsonl") && error.to_string().contains("other"), "{error}");
        let file = tempfile::NamedTempFile::new().expect("temporary file");
        std::fs::write(file.path(), "{\"title\":\"t\",\"grade\":0}").expect("written");
        let paths = [file.path().to_path_buf(), file.path().to_path_buf()];
        assert!(read_all(&paths).expect_err("twice").to_string().contains("in two of them"));
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let item = &read_lines(r#"{"title":"a","summary":null,"grade":1,"stage":null}"#).expect("an item")[0];
        assert_eq!((item.summary.as_str(), item.stage), ("", Stage::None));
    }

    #[test]
    fn a_tenth_is_kept_out_and_always_the_same() {
        let item = |n: u64| parse(&format!(r#"{{"title":"Item {n}","grade":{}}}"#, n % 3)).expect("an item");
        let (train, dev) = split((0..1000).map(item).collect()).expect("enough");
        assert_eq!(train.len() + dev.len(), 1000);
        assert!((60..=140).contains(&dev.len()), "{}", dev.len());
        assert_eq!(split((0..1000).map(item).collect()).expect("enough").1, dev);
        assert!(matches!(split((0..3).map(item).collect()), Err(DataError::TooFew)));
    }
}
