//! Labelled items: one JSON object a line.

use std::collections::{HashMap, HashSet, hash_map::Entry};
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::classify::{GRADES, STAGES, Text};
use crate::item::{Identity, Stage};

/// A line of a labelled file. Only `title` and `grade` must be there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Labelled {
    /// Id of the item; made from its text where the line has none.
    #[serde(default, deserialize_with = "null_is_absent")]
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
    #[serde(default, deserialize_with = "null_is_absent")]
    pub date: String,
    /// Name of the outlet; may be empty.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub source: String,
    /// How the item was drawn (`natural` is a fair sample); may be empty.
    #[serde(default, deserialize_with = "null_is_absent")]
    pub draw: String,
    /// How probable each grade is in a teacher's eyes, 0 to 2: learnt in the place of `grade`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grades: Option<[f32; GRADES.len()]>,
    /// How probable each stage is in a teacher's eyes, in the order of [`STAGES`]: learnt beside the stage of a negotiation, and
    /// alone of a text that is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<[f32; STAGES.len()]>,
}

/// Many programs write null for what they do not know.
pub(super) fn null_is_absent<'de, D, T>(value: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(value)?.unwrap_or_default())
}

impl Labelled {
    /// What a scorer reads of it.
    pub fn text(&self) -> Text {
        Text::new(&self.title, &self.summary)
    }

    /// Two items of the same text are one to whoever learns, whatever their ids.
    pub(super) fn text_identity(&self) -> Identity {
        Identity::of(&[&self.title, &self.summary])
    }

    /// Title and summary.
    pub fn both(&self) -> (&str, &str) {
        (&self.title, &self.summary)
    }
}

/// The stage of a labelled negotiation as its place in [`STAGES`].
pub(super) fn stage_class(item: &Labelled) -> Option<usize> {
    (item.grade == 2).then(|| STAGES.iter().position(|&stage| stage == item.stage)).flatten()
}

/// Of what a model says of `items`: the stage logits of the negotiations, and the stage that each has as its place in [`STAGES`].
pub(super) fn staged(stages: &[[f32; 6]], items: &[Labelled]) -> (Vec<[f32; 6]>, Vec<usize>) {
    stages.iter().zip(items).filter_map(|(logits, item)| Some((*logits, stage_class(item)?))).unzip()
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
    /// All that is measured on is alike.
    #[error(
        "choose and calibrate: of {items} items to measure on, {negotiations} are negotiations (grade 2); there must be some of \
         both kinds"
    )]
    OneSided {
        /// Items.
        items: usize,
        /// Of grade 2.
        negotiations: usize,
    },
    /// An item is in two training files, where it would count twice, or with two grades.
    #[error("train on {first} and {second}: item {id} (\"{title}\") is in both, {same}; remove it from one")]
    Twice {
        /// The file that was read first.
        first: PathBuf,
        /// The other one.
        second: PathBuf,
        /// The item.
        id: String,
        /// Its headline.
        title: String,
        /// What of it is the same.
        same: String,
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

/// Reads a labelled file. An id or a text that comes twice is refused: the same item would count twice, or with two grades.
pub fn read(path: &Path) -> Result<Vec<Labelled>, DataError> {
    let mut items: Vec<Labelled> = Vec::new();
    let mut seen = Seen::default();
    for line in lines(path)? {
        let (number, line) = line?;
        let bad = |reason| DataError::Line { path: path.into(), line: number, reason };
        let item = parse(&line).map_err(bad)?;
        if let Some((first, same)) = seen.before(&item, number) {
            return Err(bad(same.on_line(first, &item)));
        }
        items.push(item);
    }
    if items.is_empty() { Err(DataError::Empty { path: path.into() }) } else { Ok(items) }
}

/// Reads several labelled files, each to a list of its own. An item may be in one of them only.
pub fn read_all(paths: &[PathBuf]) -> Result<Vec<Vec<Labelled>>, DataError> {
    let mut seen = Seen::default();
    let mut fresh = |path: &PathBuf| {
        let items = read(path)?;
        match items.iter().find_map(|item| Some((item, seen.before(item, path.clone())?))) {
            Some((item, (first, same))) => Err(same.in_files(first, path.clone(), item)),
            None => Ok(items),
        }
    };
    paths.iter().map(&mut fresh).collect()
}

/// The lines of a file that hold something, with their numbers.
pub(super) fn lines(path: &Path) -> Result<impl Iterator<Item = Result<(usize, String), DataError>>, DataError> {
    let io = move |source| DataError::Io { path: path.into(), source };
    let lines = BufReader::new(File::open(path).map_err(io)?).lines();
    let numbered = (1..).zip(lines).map(move |(number, line)| Ok((number, without_mark(number, line.map_err(io)?))));
    Ok(numbered.filter(|line| !matches!(line, Ok((_, text)) if text.trim().is_empty())))
}

/// Windows programs begin a file of UTF-8 with a byte order mark, which is no JSON.
fn without_mark(number: usize, line: String) -> String {
    match line.strip_prefix('\u{feff}') {
        Some(rest) if number == 1 => rest.to_owned(),
        _ => line,
    }
}

/// What is wrong with a line. To serde every line is the first: its number would contradict that in the file.
pub(super) fn reason(error: &serde_json::Error) -> String {
    let (text, column) = (error.to_string(), error.column());
    match text.strip_suffix(&format!(" at line {} column {column}", error.line())) {
        Some(what) => format!("{what} at column {column}"),
        None => text,
    }
}

/// Where (on which line, in which file) each id was first, and each text with its grade.
struct Seen<P> {
    ids: HashMap<String, P>,
    texts: HashMap<Identity, (P, u8)>,
}

impl<P> Default for Seen<P> {
    fn default() -> Self {
        Self { ids: HashMap::new(), texts: HashMap::new() }
    }
}

impl<P: Clone> Seen<P> {
    /// Where the item was before, if it was; else notes it. The text goes first: an id may be made from it.
    fn before(&mut self, item: &Labelled, place: P) -> Option<(P, Same)> {
        match self.texts.entry(item.text_identity()) {
            Entry::Occupied(text) => return Some((text.get().0.clone(), Same::Text { grade: text.get().1 })),
            Entry::Vacant(text) => text.insert((place.clone(), item.grade)),
        };
        self.ids.insert(item.id.clone(), place).map(|first| (first, Same::Id))
    }
}

/// What makes an item the same as an earlier one.
enum Same {
    Id,
    /// The text, and the earlier one's grade.
    Text {
        grade: u8,
    },
}

impl Same {
    fn on_line(&self, first: usize, item: &Labelled) -> String {
        match *self {
            Self::Id => format!("id {} is already on line {first}", item.id),
            Self::Text { grade } if grade == item.grade => {
                format!("the same text is already on line {first}; it would count twice")
            }
            Self::Text { grade } => {
                format!("the same text is already on line {first}, with grade {grade} instead of {}", item.grade)
            }
        }
    }

    fn in_files(&self, first: PathBuf, second: PathBuf, item: &Labelled) -> DataError {
        let same = match *self {
            Self::Id => "under the same id".to_owned(),
            Self::Text { grade } if grade == item.grade => "with the same text".to_owned(),
            Self::Text { grade } => format!("with the same text but grade {grade} and grade {}", item.grade),
        };
        DataError::Twice { first, second, id: item.id.clone(), title: item.title.clone(), same }
    }
}

/// Keeps a tenth of the items out of training, always the same ones: which tenth is a matter of their text.
///
/// # Errors
/// When one of the parts has no negotiation or nothing else: nothing could be learnt from it or measured on it.
pub fn split(items: Vec<Labelled>) -> Result<(Vec<Labelled>, Vec<Labelled>), DataError> {
    let kept_out = |item: &Labelled| item.text_identity().0[0].is_multiple_of(10);
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
    let mut item: Labelled = serde_json::from_str(line).map_err(|error| reason(&error))?;
    if item.grade > 2 {
        return Err(format!("grade {} is not 0, 1 or 2", item.grade));
    }
    if item.grade < 2 && item.stage != Stage::None {
        return Err(format!(
            "grade {} has stage {:?}, but only a negotiation (grade 2) has one",
            item.grade, item.stage
        ));
    }
    if item.grades.is_some_and(|grades| !is_distribution(&grades)) {
        return Err("`grades` are not probabilities that add up to 1".into());
    }
    if item.stages.is_some_and(|stages| !is_distribution(&stages)) {
        return Err("`stages` are not probabilities that add up to 1".into());
    }
    if item.id.is_empty() {
        item.id = item.text_identity().to_string();
    }
    Ok(item)
}

/// Whether these are probabilities, of which one is true; rounded to three digits they may be out by some thousandths.
fn is_distribution(probabilities: &[f32]) -> bool {
    probabilities.iter().all(|p| (0.0..=1.0).contains(p)) && (probabilities.iter().sum::<f32>() - 1.0).abs() < 0.01
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
        let stages = |of: &str| format!("{{\"title\":\"t\",\"grade\":1,\"stages\":[{of}]}}");
        assert!(complaint(&stages("0.5,0.5,0.5,0,0,0")).contains("add up to 1"));
        assert!(complaint(&stages("0.5,0.5")).contains("line 1"));
        let unlikely = "{\"title\":\"t\",\"grade\":1,\"grades\":[0.5,0.5,0.5]}";
        assert!(complaint(unlikely).contains("`grades` are not probabilities"));
        assert_eq!(read_lines(&stages("0.5,0.25,0.251,0,0,0")).expect("reads")[0].stages.expect("stages")[1], 0.25);
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
        assert!(read_all(&paths).expect_err("twice").to_string().contains("is in both, with the same text; remove"));
    }

    #[test]
    fn the_same_text_under_two_ids_is_refused_and_both_places_named() {
        let (one, other) = (r#"{"id":"a","title":"t","grade":1}"#, r#"{"id":"b","title":"t","grade":2}"#);
        let error = complaint(&format!("{one}\n\n{other}\n"));
        assert!(error.contains("read line 3 of"), "{error}");
        assert!(error.contains("the same text is already on line 1, with grade 1 instead of 2"), "{error}");
        let error = complaint(&format!("{one}\n{}\n", other.replace('2', "1")));
        assert!(error.contains("the same text is already on line 1; it would count twice"), "{error}");
        let error = complaint(&format!("{one}\n{}\n", other.replace("\"b\"", "\"a\"").replace("\"t\"", "\"u\"")));
        assert!(error.contains("id a is already on line 1"), "{error}");

        let dir = tempfile::tempdir().expect("directory");
        let paths = [dir.path().join("one.jsonl"), dir.path().join("other.jsonl")];
        std::fs::write(&paths[0], one).expect("written");
        std::fs::write(&paths[1], other).expect("written");
        let error = read_all(&paths).expect_err("two grades").to_string();
        assert!(error.contains("one.jsonl and ") && error.contains("other.jsonl: item b"), "{error}");
        assert!(error.contains("with the same text but grade 1 and grade 2"), "{error}");
    }

    #[test]
    fn a_byte_order_mark_is_passed_over_at_the_start_alone() {
        assert_eq!(read_lines("\u{feff}{\"title\":\"t\",\"grade\":0}\n").expect("reads")[0].title, "t");
        assert!(complaint("{\"title\":\"t\",\"grade\":0}\n\u{feff}{\"title\":\"u\",\"grade\":0}").contains("line 2"));
        assert!(complaint("\u{feff}\n").contains("no items"));
    }

    #[test]
    fn a_complaint_names_one_line_only() {
        for wrong in ["{\"title\":\"t\"}", "{\"title\":7,\"grade\":0}", "{\"title\":", "not json"] {
            let error = complaint(&format!("{{\"title\":\"a\",\"grade\":0}}\n{wrong}\n"));
            assert!(error.contains("read line 2 of") && error.contains("at column"), "{error}");
            assert!(!error.contains("line 1"), "{error}");
        }
    }

    #[test]
    fn null_is_as_good_as_absent() {
        let item = &read_lines(r#"{"title":"a","summary":null,"grade":1,"stage":null}"#).expect("an item")[0];
        assert_eq!((item.summary.as_str(), item.stage), ("", Stage::None));
        let line = r#"{"title":"a","grade":1,"id":null,"date":null,"source":null,"draw":null}"#;
        let item = &read_lines(line).expect("an item")[0];
        assert_eq!((item.date.as_str(), item.source.as_str(), item.draw.as_str()), ("", "", ""));
        assert_eq!(item.id, item.text_identity().to_string(), "made from the text");
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
