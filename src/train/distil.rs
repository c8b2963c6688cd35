//! The transformer grades an unlabelled pool for the linear model, and both settle from where on the linear model's word
//! is final.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::data::{DataError, Labelled};
use super::progress::Progress;
use super::{TrainArgs, TrainError, write};
use crate::classify::bert::BertScorer;
use crate::classify::joint::Joint;
use crate::classify::linear::LinearModel;
use crate::classify::manifest::CascadeRule;
use crate::classify::{ClassifyConfig, Scorer, Text, calibrate, softmax};
use crate::item::Verdict;

/// Items that the labels alone find less diplomatic than this are graded one in [`SPARSE`]: they teach little, and are
/// three quarters of the pool.
const DULL: f32 = 0.03;
/// Share of the dull items that is graded, as 1 in so many.
const SPARSE: u64 = 12;
/// Share of the transformer's alerts that the cascade may lose: 0.3 points of recall.
const MAY_LOSE: f64 = 0.003;
/// Share of the true alerts that the cascade may settle although the transformer would have missed them too.
const UNSURE: f64 = 0.03;

/// Where the teacher's grades are kept while a run goes on, within its directory.
const GRADED: &str = "teacher.jsonl";

/// What the teacher said of the pool.
pub(super) struct Taught {
    /// Learnt from.
    pub learnt: Vec<Graded>,
    /// Dev, with the teacher's grades, and the true ones.
    dev: Vec<(Graded, u8)>,
    transformer: String,
}

/// A text with the transformer's grade probabilities.
pub(super) struct Graded {
    pub text: Text,
    pub grade: [f32; 3],
}

#[derive(Deserialize)]
struct PoolLine {
    title: String,
    #[serde(default)]
    summary: String,
}

#[derive(Serialize, Deserialize)]
struct TeacherLine {
    /// Hash of the weights that gave the grade: another teacher's word is not taken over.
    #[serde(default)]
    teacher: String,
    text: String,
    grade: [f32; 3],
}

/// Grades the pool with the configured transformer. Every grade is kept in `teacher.jsonl` beside the result, so that a
/// run that was broken off goes on.
pub(super) fn teach(
    pool: &Path,
    first: &LinearModel,
    items: &[Labelled],
    dev: &[Labelled],
    args: &TrainArgs,
    config: &ClassifyConfig,
) -> Result<Taught, TrainError> {
    let mut teacher = BertScorer::load(config)?;
    let chosen = choose(pool, first, &[items, dev])?;
    let known = grade(&chosen, &mut teacher, &args.out.join(GRADED))?;
    let mut taught =
        Taught { learnt: Vec::new(), dev: grade_dev(dev, &mut teacher)?, transformer: teacher.model().id.clone() };
    for (key, text) in chosen {
        if let Some(&grade) = known.get(&key) {
            taught.learnt.push(Graded { text, grade });
        }
    }
    // A map's order is random; training's must not be.
    taught.learnt.sort_by(|a, b| (&a.text.title, &a.text.summary).cmp(&(&b.text.title, &b.text.summary)));
    Ok(taught)
}

fn grade_dev(dev: &[Labelled], teacher: &mut BertScorer) -> Result<Vec<(Graded, u8)>, TrainError> {
    let texts: Vec<Text> = dev.iter().map(Labelled::text).collect();
    let verdicts = teacher.score(&texts)?;
    let graded = |text, verdict: &Verdict| Graded { text, grade: verdict.grade.in_order() };
    let graded = texts.into_iter().zip(&verdicts).map(|(text, verdict)| graded(text, verdict));
    Ok(graded.zip(dev.iter().map(|item| item.grade)).collect())
}

/// The pool's texts that are worth grading, by the text's hash; none that is `known`.
pub(super) fn choose(
    pool: &Path,
    first: &LinearModel,
    known: &[&[Labelled]],
) -> Result<HashMap<String, Text>, DataError> {
    let io = |source| DataError::Io { path: pool.into(), source };
    let labelled: HashSet<String> = known.iter().copied().flatten().map(|item| key(&item.text())).collect();
    let mut chosen = HashMap::new();
    for (number, line) in (1..).zip(BufReader::new(File::open(pool).map_err(io)?).lines()) {
        let line: PoolLine = serde_json::from_str(&line.map_err(io)?).map_err(|error| DataError::Line {
            path: pool.into(),
            line: number,
            reason: error.to_string(),
        })?;
        let text = Text::new(line.title, line.summary);
        let key = key(&text);
        let dull = 1.0 - softmax(&first.logits(&text).0)[0] < DULL;
        if !labelled.contains(&key) && (!dull || self::number(&key) % SPARSE == 1) {
            chosen.insert(key, text);
        }
    }
    Ok(chosen)
}

fn grade(
    chosen: &HashMap<String, Text>,
    teacher: &mut BertScorer,
    path: &Path,
) -> Result<HashMap<String, [f32; 3]>, TrainError> {
    let failed = |error: std::io::Error| TrainError::Write { path: path.into(), reason: error.to_string() };
    let whose = teacher.weights().to_owned();
    if let Some(dir) = path.parent() {
        std::fs::create_dir_all(dir).map_err(failed)?;
    }
    let mut known: HashMap<String, [f32; 3]> = match File::open(path) {
        Ok(file) => BufReader::new(file)
            .lines()
            .map_while(Result::ok)
            // A line cut short by the end of an earlier run is graded again.
            .filter_map(|line| serde_json::from_str::<TeacherLine>(&line).ok())
            .filter(|line| line.teacher == whose)
            .map(|line| (line.text, line.grade))
            .collect(),
        Err(_) => HashMap::new(),
    };
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(failed)?;
    let mut out = BufWriter::new(file);
    let mut open: Vec<(&String, &Text)> = chosen.iter().filter(|(key, _)| !known.contains_key(*key)).collect();
    open.sort_by_key(|(key, _)| *key);
    let mut progress = Progress::new("grading the pool", open.len());
    for batch in open.chunks(256) {
        let texts: Vec<Text> = batch.iter().map(|(_, text)| (*text).clone()).collect();
        for ((key, _), verdict) in batch.iter().zip(teacher.score(&texts)?) {
            let grade = verdict.grade.in_order();
            let line = TeacherLine { teacher: whose.clone(), text: (*key).clone(), grade };
            let line = serde_json::to_string(&line).map_err(|error| failed(error.into()))?;
            writeln!(out, "{line}").map_err(failed)?;
            known.insert((*key).clone(), grade);
        }
        out.flush().map_err(failed)?;
        progress.advance(batch.len(), "");
    }
    Ok(known)
}

/// What both models say together, and the thresholds below which the linear model's word is final: as high as the loss on dev
/// allows, where an item is lost that is an alert by right and by both. A dev set has few of those, so no more than the share
/// [`UNSURE`] of all that are alerts by right may be settled either.
pub(super) fn rule(taught: &Taught, model: &LinearModel, temperature: f32) -> CascadeRule {
    let linear = |graded: &Graded| calibrate::probabilities(&model.logits(&graded.text).0, temperature);
    let words: Vec<([f32; 3], [f32; 3])> =
        taught.dev.iter().map(|(graded, _)| (graded.grade, linear(graded))).collect();
    let grades: Vec<u8> = taught.dev.iter().map(|(_, grade)| *grade).collect();
    let joint = Joint::fit(&words, &grades.iter().map(|&grade| usize::from(grade)).collect::<Vec<_>>());
    let both: Vec<[f32; 3]> = words.iter().map(|(careful, quick)| joint.probabilities(careful, quick)).collect();
    let thresholds = write::thresholds(&both, &grades);
    let highest = |least: u8, threshold: f32| {
        let of = |p: &[f32; 3]| if least == 1 { p[1] + p[2] } else { p[2] };
        let right: Vec<usize> = (0..grades.len()).filter(|&i| grades[i] >= least).collect();
        let quick = |items: &[usize]| items.iter().map(|&i| of(&words[i].1)).collect::<Vec<f32>>();
        let found: Vec<usize> = right.iter().copied().filter(|&i| of(&both[i]) >= threshold).collect();
        highest_threshold(quick(&right), UNSURE).min(highest_threshold(quick(&found), MAY_LOSE))
    };
    CascadeRule {
        transformer: taught.transformer.clone(),
        negotiation: highest(2, thresholds.default),
        diplomacy: highest(1, thresholds.diplomacy),
        joint,
        thresholds,
    }
}

/// The highest threshold under which no more than the share `may_lose` of `alerts` lies.
fn highest_threshold(mut alerts: Vec<f32>, may_lose: f64) -> f32 {
    alerts.sort_by(f32::total_cmp);
    let budget = (may_lose * alerts.len() as f64) as usize;
    alerts.get(budget).copied().unwrap_or(0.0)
}

fn key(text: &Text) -> String {
    crate::item::Identity::of(&[&text.title, &text.summary]).to_string()
}

/// A number from the key, the same in every run.
pub(super) fn number(key: &str) -> u64 {
    key.get(..8).and_then(|digits| u64::from_str_radix(digits, 16).ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_threshold_is_as_high_as_the_loss_allows() {
        let alerts: Vec<f32> = (1..=10).map(|i| i as f32 / 10.0).collect();
        assert_eq!(highest_threshold(alerts.clone(), 0.003), 0.1);
        assert_eq!(highest_threshold(alerts, 0.2), 0.3);
        assert_eq!(highest_threshold(Vec::new(), 0.2), 0.0, "nothing is settled without evidence");
    }
}
