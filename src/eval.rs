//! Measuring a model on labelled items.

pub mod bootstrap;
pub mod compare;
pub mod metrics;
mod plots;
mod table;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::classify::{self, ClassifyConfig, STAGES, ScoreError, Scorer, Text};
use crate::item::{Stage, Verdict};
use crate::train::data::{self, DataError, Labelled};
use compare::Comparison;

/// False alarms and misses listed at most, each.
const WORST: usize = 10;
/// A source with fewer items says nothing by itself; it goes into "others".
const SOURCE_ITEMS: usize = 20;

/// What `demarche eval` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct EvalArgs {
    /// Labelled items, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
    /// Draw the precision–recall curve and the reliability diagram as SVG into this directory
    #[arg(long, value_name = "DIR")]
    pub plots: Option<PathBuf>,
    /// Compare with the transformer in this directory, by paired bootstrap
    #[arg(long, value_name = "DIR")]
    pub compare: Option<PathBuf>,
}

/// Why a model could not be measured. Each message fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum EvalError {
    /// The labelled file.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Loading or running the model.
    #[error(transparent)]
    Model(#[from] ScoreError),
    /// Writing the result.
    #[error("write the result: {0}")]
    Write(#[from] std::io::Error),
}

/// One item's truth and what the model said of it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Probability of grade 2.
    pub score: f32,
    /// Probability of grade 1 or 2.
    pub wide: f32,
    /// The true grade.
    pub grade: u8,
    /// The stage that was guessed.
    pub guess: Stage,
    /// The true stage.
    pub stage: Stage,
}

/// What is measured; everything lies between 0 and 1.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Measures {
    /// Average precision of grade 2 against the rest.
    pub ap_negotiation: f64,
    /// Average precision of grades 1 and 2 against grade 0.
    pub ap_diplomacy: f64,
    /// Share of alerts that are of grade 2.
    pub precision: f64,
    /// Share of grade 2 that is an alert.
    pub recall: f64,
    /// Harmonic mean of precision and recall.
    pub f1: f64,
    /// Expected calibration error of the score, ten bins.
    pub ece: f64,
    /// Mean F1 of the stages over the items of grade 2.
    pub stage_macro_f1: f64,
}

/// The result, in the order and by the names of `--json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Id of the model.
    pub model: String,
    /// Items measured.
    pub n: usize,
    /// Items of grade 2 among them.
    pub n_negotiation: usize,
    /// Threshold on the score that precision, recall and F1 are at.
    pub threshold: f64,
    /// The measures on all items.
    #[serde(flatten)]
    pub measures: Measures,
    /// Items scored a second, loading aside.
    pub items_per_s: f64,
    /// Bootstrap 95 % intervals of the measures, by name.
    pub intervals: BTreeMap<&'static str, [f64; 2]>,
    /// By month of publication.
    pub months: BTreeMap<String, Slice>,
    /// By outlet.
    pub sources: BTreeMap<String, Slice>,
    /// By how the item was drawn; `natural` is the fair sample.
    pub draws: BTreeMap<String, Slice>,
    /// Items that are not of grade 2 with the highest scores.
    pub worst_false_alarms: Vec<Miss>,
    /// Items of grade 2 with the lowest scores.
    pub worst_misses: Vec<Miss>,
    /// Against `--compare`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub comparison: Option<Comparison>,
}

/// The measures that mean something on a part of the items.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Slice {
    /// Items.
    pub n: usize,
    /// Items of grade 2 among them.
    pub n_negotiation: usize,
    /// Average precision of grade 2; 0 without any.
    pub ap_negotiation: f64,
    /// Share of alerts that are of grade 2; 0 without alerts.
    pub precision: f64,
    /// Share of grade 2 that is an alert; 0 without any.
    pub recall: f64,
}

/// An item that the model got wrong.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Miss {
    /// Its id.
    pub id: String,
    /// Its headline.
    pub title: String,
    /// Its true grade.
    pub grade: u8,
    /// Its score.
    pub score: f32,
}

/// Scores the file with the configured model and writes the report to `out`.
pub fn run(args: &EvalArgs, config: &ClassifyConfig, out: &mut dyn std::io::Write) -> Result<(), EvalError> {
    let items = data::read(&args.data)?;
    // Every item is scored, also one whose text came before: the cache would flatter the speed.
    let config = ClassifyConfig { cache_items: 0, ..config.clone() };
    let (mut report, scored) = evaluate(classify::build(&config)?.as_mut(), &items)?;
    if let Some(dir) = &args.compare {
        let other = classify::build(&ClassifyConfig { dir: dir.clone(), ..config })?;
        report.comparison = Some(compare::compare(&scored, report.threshold as f32, other, &items)?);
    }
    if let Some(dir) = &args.plots {
        plots::write(dir, &scored)?;
    }
    if args.json {
        let line = serde_json::to_string(&report).map_err(std::io::Error::other)?;
        writeln!(out, "{line}")?;
    } else {
        table::write(&report, out)?;
    }
    Ok(())
}

/// Scores `items` and measures.
pub fn evaluate(scorer: &mut dyn Scorer, items: &[Labelled]) -> Result<(Report, Vec<Scored>), ScoreError> {
    let texts: Vec<Text> = items.iter().map(Labelled::text).collect();
    let started = Instant::now();
    let verdicts = scorer.score(&texts)?;
    let took = started.elapsed();
    let scored = pair(items, &verdicts);
    let info = scorer.model();
    Ok((report(&info.id, info.threshold, items, &scored, took), scored))
}

/// Truth and verdict of each item.
pub fn pair(items: &[Labelled], verdicts: &[Verdict]) -> Vec<Scored> {
    let one = |(item, verdict): (&Labelled, &Verdict)| Scored {
        score: verdict.score(),
        wide: verdict.grade.negotiation + verdict.grade.diplomacy,
        grade: item.grade,
        guess: verdict.stage.label,
        stage: item.stage,
    };
    items.iter().zip(verdicts).map(one).collect()
}

/// All measures of `scored` at `threshold`.
pub fn measure(scored: &[Scored], threshold: f32) -> Measures {
    let score: Vec<f32> = scored.iter().map(|s| s.score).collect();
    let wide: Vec<f32> = scored.iter().map(|s| s.wide).collect();
    let two: Vec<bool> = scored.iter().map(|s| s.grade == 2).collect();
    let one: Vec<bool> = scored.iter().map(|s| s.grade >= 1).collect();
    let at = metrics::at_threshold(&score, &two, threshold);
    let (guess, truth): (Vec<_>, Vec<_>) = scored.iter().filter(|s| s.grade == 2).map(|s| (s.guess, s.stage)).unzip();
    Measures {
        ap_negotiation: metrics::average_precision(&score, &two),
        ap_diplomacy: metrics::average_precision(&wide, &one),
        precision: at.precision,
        recall: at.recall,
        f1: at.f1,
        ece: metrics::calibration_error(&score, &two),
        stage_macro_f1: metrics::macro_f1(&guess, &truth, &STAGES),
    }
}

fn report(model: &str, threshold: f32, items: &[Labelled], scored: &[Scored], took: Duration) -> Report {
    let worst = |alarms: bool| {
        let mut wrong: Vec<(&Labelled, &Scored)> = items
            .iter()
            .zip(scored)
            .filter(|(_, s)| (s.grade < 2) == alarms && (s.score >= threshold) == alarms)
            .collect();
        wrong.sort_by(|(_, a), (_, b)| if alarms { b.score.total_cmp(&a.score) } else { a.score.total_cmp(&b.score) });
        wrong.truncate(WORST);
        wrong.into_iter().map(|(item, s)| miss(item, s)).collect()
    };
    Report {
        model: model.into(),
        n: items.len(),
        n_negotiation: scored.iter().filter(|s| s.grade == 2).count(),
        threshold: f64::from(threshold),
        measures: measure(scored, threshold),
        items_per_s: items.len() as f64 / took.as_secs_f64().max(1e-9),
        intervals: bootstrap::intervals(scored, threshold),
        months: slices(items, scored, threshold, 1, |item| item.date.get(..7).unwrap_or("unknown")),
        sources: slices(items, scored, threshold, SOURCE_ITEMS, |item| &item.source),
        draws: slices(items, scored, threshold, 1, |item| &item.draw),
        worst_false_alarms: worst(true),
        worst_misses: worst(false),
        comparison: None,
    }
}

fn miss(item: &Labelled, scored: &Scored) -> Miss {
    Miss { id: item.id.clone(), title: item.title.clone(), grade: item.grade, score: scored.score }
}

/// Measures by the value of `key`; values with fewer than `least` items go into "others".
fn slices<'a>(
    items: &'a [Labelled],
    scored: &[Scored],
    threshold: f32,
    least: usize,
    key: impl Fn(&'a Labelled) -> &'a str,
) -> BTreeMap<String, Slice> {
    let mut groups: BTreeMap<&str, Vec<Scored>> = BTreeMap::new();
    for (item, scored) in items.iter().zip(scored) {
        let name = if key(item).is_empty() { "unknown" } else { key(item) };
        groups.entry(name).or_default().push(*scored);
    }
    let mut named: BTreeMap<String, Vec<Scored>> = BTreeMap::new();
    for (name, group) in groups {
        let name = if group.len() < least { "others" } else { name };
        named.entry(name.to_owned()).or_default().extend(group);
    }
    named.into_iter().map(|(name, group)| (name, slice(&group, threshold))).collect()
}

fn slice(scored: &[Scored], threshold: f32) -> Slice {
    let all = measure(scored, threshold);
    Slice {
        n: scored.len(),
        n_negotiation: scored.iter().filter(|s| s.grade == 2).count(),
        ap_negotiation: all.ap_negotiation,
        precision: all.precision,
        recall: all.recall,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::verdict;

    fn item(id: usize, grade: u8, source: &str) -> Labelled {
        Labelled {
            id: id.to_string(),
            title: format!("title {id}"),
            summary: String::new(),
            grade,
            stage: if grade == 2 { Stage::Held } else { Stage::None },
            date: "2026-06-01".into(),
            source: source.into(),
            draw: String::new(),
            grades: None,
            stages: None,
        }
    }

    #[test]
    fn a_report_lists_slices_and_the_worst() {
        let items = [item(1, 2, "a"), item(2, 0, "a"), item(3, 2, "b"), item(4, 1, "b")];
        let scores = [0.9, 0.8, 0.2, 0.1];
        let held = [0.0, 1.0, 0.0, 0.0, 0.0, 0.0];
        let verdicts: Vec<Verdict> =
            scores.iter().map(|&s| verdict([1.0 - s, 0.0, s], &held).expect("finite")).collect();
        let scored = pair(&items, &verdicts);
        let report = report("m", 0.5, &items, &scored, Duration::from_secs(2));
        assert_eq!((report.n, report.n_negotiation), (4, 2));
        assert_eq!((report.measures.precision, report.measures.recall), (0.5, 0.5));
        assert!((report.items_per_s - 2.0).abs() < 1e-6 && (report.measures.stage_macro_f1 - 1.0).abs() < 1e-9);
        assert_eq!(report.worst_false_alarms[0].id, "2");
        assert_eq!(report.worst_misses[0].id, "3");
        assert_eq!(report.months["2026-06"].n, 4);
        assert_eq!(report.sources["others"].n, 4, "no outlet has enough items to stand alone");
        assert_eq!(report.draws["unknown"].n, 4);
        let json = serde_json::to_value(&report).expect("JSON");
        for key in "n ap_negotiation ap_diplomacy threshold precision recall f1 ece items_per_s".split(' ') {
            assert!(json[key].is_number(), "{key}");
        }
    }
}
