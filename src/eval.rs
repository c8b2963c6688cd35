//! Measuring a model on labelled items.

pub mod metrics;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::classify::{self, ClassifyConfig, STAGES, ScoreError, Scorer, Text};
use crate::item::Verdict;
use crate::train::data::{self, DataError, Labelled};

/// What `demarche eval` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct EvalArgs {
    /// Labelled items, one JSON object a line
    #[arg(long, value_name = "FILE")]
    pub data: PathBuf,
    /// One JSON object instead of a table
    #[arg(long)]
    pub json: bool,
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

/// The measures, by the names that `--json` gives them. All but counts and speed lie between 0 and 1.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// Id of the model.
    pub model: String,
    /// Items measured.
    pub n: usize,
    /// Items of grade 2 among them.
    pub n_negotiation: usize,
    /// Average precision of grade 2 against the rest.
    pub ap_negotiation: f64,
    /// Average precision of grades 1 and 2 against grade 0.
    pub ap_diplomacy: f64,
    /// Threshold on the score that the next three are at.
    pub threshold: f64,
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
    /// Items scored a second, loading aside.
    pub items_per_s: f64,
}

/// Scores the file with the configured model and writes the report to `out`.
pub fn run(args: &EvalArgs, config: &ClassifyConfig, out: &mut dyn std::io::Write) -> Result<(), EvalError> {
    let items = data::read(&args.data)?;
    // Every item is scored, also one whose text came before: the cache would flatter the speed.
    let mut scorer = classify::build(&ClassifyConfig { cache_items: 0, ..config.clone() })?;
    let report = evaluate(scorer.as_mut(), &items)?;
    if args.json {
        let line = serde_json::to_string(&report).map_err(std::io::Error::other)?;
        writeln!(out, "{line}")?;
    } else {
        write_table(&report, out)?;
    }
    Ok(())
}

/// Scores `items` and measures.
pub fn evaluate(scorer: &mut dyn Scorer, items: &[Labelled]) -> Result<Report, ScoreError> {
    let texts: Vec<Text> = items.iter().map(Labelled::text).collect();
    let started = Instant::now();
    let verdicts = scorer.score(&texts)?;
    let info = scorer.model();
    Ok(report(&info.id, info.threshold, items, &verdicts, started.elapsed()))
}

fn report(model: &str, threshold: f32, items: &[Labelled], verdicts: &[Verdict], took: Duration) -> Report {
    let score: Vec<f32> = verdicts.iter().map(Verdict::score).collect();
    let wide: Vec<f32> = verdicts.iter().map(|v| v.grade.negotiation + v.grade.diplomacy).collect();
    let two: Vec<bool> = items.iter().map(|item| item.grade == 2).collect();
    let one: Vec<bool> = items.iter().map(|item| item.grade >= 1).collect();
    let at = metrics::at_threshold(&score, &two, threshold);
    let (guess, truth): (Vec<_>, Vec<_>) = (items.iter().zip(verdicts))
        .filter(|(item, _)| item.grade == 2)
        .map(|(item, verdict)| (verdict.stage.label, item.stage))
        .unzip();
    Report {
        model: model.into(),
        n: items.len(),
        n_negotiation: two.iter().filter(|&&p| p).count(),
        ap_negotiation: metrics::average_precision(&score, &two),
        ap_diplomacy: metrics::average_precision(&wide, &one),
        threshold: f64::from(threshold),
        precision: at.precision,
        recall: at.recall,
        f1: at.f1,
        ece: metrics::calibration_error(&score, &two),
        stage_macro_f1: metrics::macro_f1(&guess, &truth, &STAGES),
        items_per_s: items.len() as f64 / took.as_secs_f64().max(1e-9),
    }
}

fn write_table(report: &Report, out: &mut dyn std::io::Write) -> std::io::Result<()> {
    writeln!(out, "model                  {}", report.model)?;
    writeln!(out, "items                  {} ({} negotiations)", report.n, report.n_negotiation)?;
    writeln!(
        out,
        "average precision      {:.4} negotiation, {:.4} diplomacy",
        report.ap_negotiation, report.ap_diplomacy
    )?;
    writeln!(
        out,
        "at threshold {:.3}     precision {:.4}, recall {:.4}, F1 {:.4}",
        report.threshold, report.precision, report.recall, report.f1
    )?;
    writeln!(out, "calibration error      {:.4}", report.ece)?;
    writeln!(out, "stage macro-F1         {:.4}", report.stage_macro_f1)?;
    writeln!(out, "items per second       {:.0}", report.items_per_s)
}
