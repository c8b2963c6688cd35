//! Scoring: how much is an item about negotiation, at which stage, and which words say so.
//!
//! Two scorers stand behind one trait: the transformer (`bert`, a feature of that name) and the hashed linear model
//! ([`linear`], always there). Both come as a manifest and a weights file, embedded in the binary or read from a
//! directory. A [`worker::Worker`] owns the thread on which a scorer is built and run.

#[cfg(feature = "bert")]
pub mod bert;
pub mod cache;
pub mod calibrate;
pub mod cascade;
pub mod config;
pub mod features;
pub mod joint;
pub mod linear;
pub mod manifest;
pub mod package;
pub mod prefilter;
pub mod reasons;
pub mod worker;

use std::path::PathBuf;

use crate::item::{GradeProbs, Reason, Stage, StageGuess, Verdict};
pub use config::{AlertOn, ClassifyConfig, ScorerKind, Threshold};
pub use manifest::{Manifest, Thresholds};
pub use prefilter::Prefilter;
use reasons::Span;
pub use worker::{Flush, Worker};

/// What a scorer reads of an item.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    /// Headline; may be empty.
    pub title: String,
    /// Start of the body; may be empty.
    pub summary: String,
}

impl Text {
    /// A text from anything that can be a string.
    pub fn new(title: impl Into<String>, summary: impl Into<String>) -> Self {
        Self { title: title.into(), summary: summary.into() }
    }
}

/// What stands in an alert's `model` field and what scores are compared with.
#[derive(Debug, Clone, PartialEq)]
pub struct ModelInfo {
    /// The model's id, from its manifest.
    pub id: String,
    /// Threshold on the probability of grade 2 (0–1).
    pub threshold: f32,
    /// Threshold on the probability of grade 1 or 2 (0–1).
    pub threshold_diplomacy: f32,
}

impl ModelInfo {
    /// A model with those of its `thresholds` that `config` selects.
    fn new(id: &str, thresholds: &Thresholds, config: &ClassifyConfig) -> Self {
        Self {
            threshold: config.threshold(thresholds),
            threshold_diplomacy: config.threshold_diplomacy(thresholds),
            id: id.into(),
        }
    }
}

/// Why a text could not be scored or a model could not be loaded. Each message fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum ScoreError {
    /// A model file is missing or unreadable.
    #[error("read {path} ({source}): {remedy}")]
    File {
        /// The file that was wanted.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
        /// What to do about it.
        remedy: &'static str,
    },
    /// A manifest that is not TOML or lacks a key.
    #[error("read the manifest of {model}: {reason}")]
    Manifest {
        /// Where the manifest is from.
        model: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Manifest and reality differ.
    #[error("load {model}: its manifest says {what} {expected}, but found {found}")]
    Mismatch {
        /// Where the model is from.
        model: String,
        /// The thing compared.
        what: &'static str,
        /// The manifest's side.
        expected: String,
        /// The other side.
        found: String,
    },
    /// Weights that are cut short, of the wrong shape, or not numbers.
    #[error("load the weights of {model}: {reason}")]
    Weights {
        /// Where the model is from.
        model: String,
        /// What is wrong with them.
        reason: String,
    },
    /// The configuration asks for what this build does not hold.
    #[error("use the transformer: this build has no `bert` feature; set [model] scorer = \"linear\"")]
    NotBuilt,
    /// The model ran and failed.
    #[error("score a batch: {0}")]
    Inference(String),
    /// The scorer's thread is gone.
    #[error("reach the scorer: its thread has ended ({0})")]
    WorkerGone(String),
}

/// Scores texts in batches. One verdict for each text, in the order of the texts; reasons are left empty.
pub trait Scorer {
    /// The model behind the scores.
    fn model(&self) -> &ModelInfo;

    /// Scores every text. A text alone and the same text in a batch get the same score to 1e-4.
    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError>;

    /// The grades alone, which cost less where the stage is read by layers of its own.
    fn grades(&mut self, texts: &[Text]) -> Result<Vec<GradeProbs>, ScoreError> {
        Ok(self.score(texts)?.into_iter().map(|verdict| verdict.grade).collect())
    }

    /// For each text the one to three spans on which its score rests most; for alerts, since it costs up to twenty scorings.
    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        let spans = scored.iter().map(|scored| reasons::spans(&scored.text)).collect();
        self.explain_by(scored, spans)
    }

    /// The same, where for each text only these spans come into question.
    fn explain_by(&mut self, scored: &[Scored], spans: Vec<Vec<Span>>) -> Result<Vec<Vec<Reason>>, ScoreError> {
        reasons::by_occlusion(scored, spans, &mut |texts| self.grades(texts))
    }
}

/// A text and what it scored: the probability of grade 2.
#[derive(Debug, Clone, PartialEq)]
pub struct Scored {
    /// The text.
    pub text: Text,
    /// Its score, 0–1.
    pub score: f32,
}

impl<S: Scorer + ?Sized> Scorer for Box<S> {
    fn model(&self) -> &ModelInfo {
        (**self).model()
    }
    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        (**self).score(texts)
    }
    fn grades(&mut self, texts: &[Text]) -> Result<Vec<GradeProbs>, ScoreError> {
        (**self).grades(texts)
    }
    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        (**self).explain(scored)
    }
}

/// Grade logits and stage logits of several texts, in the texts' order.
pub type Logits = (Vec<[f32; 3]>, Vec<[f32; 6]>);

/// The grades in the order of every model's outputs.
pub const GRADES: [&str; 3] = ["neither", "diplomacy", "negotiation"];

/// The stages in the order of every model's outputs.
pub const STAGES: [Stage; 6] = [Stage::Planned, Stage::Held, Stage::Offer, Stage::Agreed, Stage::Refused, Stage::None];

/// Names of [`STAGES`], as manifests and labelled files write them.
pub const STAGE_NAMES: [&str; 6] = {
    let mut names = [""; STAGES.len()];
    let mut at = 0;
    while at < STAGES.len() {
        names[at] = STAGES[at].name();
        at += 1;
    }
    names
};

/// Turns grade probabilities and stage logits into a verdict; an error if any is not a number.
pub(crate) fn verdict(grade: [f32; 3], stage_logits: &[f32; 6]) -> Result<Verdict, ScoreError> {
    let grade = finite(&grade).map(|&grade| GradeProbs::from_order(grade))?;
    let stage = softmax(finite(stage_logits)?);
    let best = likeliest(&stage);
    Ok(Verdict {
        grade,
        stage: StageGuess { label: STAGES[best], confidence: stage[best] },
        reasons: Vec::new(),
        embedding: None,
    })
}

/// What a model gave, if all of it are numbers.
pub(crate) fn finite<const N: usize>(given: &[f32; N]) -> Result<&[f32; N], ScoreError> {
    match given.iter().all(|x| x.is_finite()) {
        true => Ok(given),
        false => Err(ScoreError::Inference("the model gave a score that is not a number".into())),
    }
}

/// The class with the largest logit or probability.
pub(crate) fn likeliest<const N: usize>(classes: &[f32; N]) -> usize {
    (0..N).max_by(|&a, &b| classes[a].total_cmp(&classes[b])).unwrap_or(0)
}

/// Softmax, safe for large values.
pub(crate) fn softmax<const N: usize>(logits: &[f32; N]) -> [f32; N] {
    let top = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp = logits.map(|x| (x - top).exp());
    let sum: f32 = exp.iter().sum();
    exp.map(|x| x / sum)
}

/// `text` cut to at most `bytes`, at a character's edge. News carries its point in its lead, so the tail may go.
pub(crate) fn lead(text: &str, bytes: usize) -> &str {
    let end = (0..=bytes.min(text.len())).rev().find(|&i| text.is_char_boundary(i)).unwrap_or(0);
    &text[..end]
}

/// Builds the scorer that `config` asks for. Call it on the thread that will run the scorer.
pub fn build(config: &ClassifyConfig) -> Result<Box<dyn Scorer>, ScoreError> {
    let scorer: Box<dyn Scorer> = match config.scorer {
        ScorerKind::Linear => Box::new(linear::LinearScorer::load(&package::Package::linear(config)?, config)?),
        ScorerKind::Auto => best(config)?,
        ScorerKind::Transformer => transformer(config)?,
    };
    Ok(Box::new(cache::Cached::new(scorer, config)))
}

/// The cascade, if the linear model's thresholds were chosen for this transformer; else the transformer alone.
#[cfg(feature = "bert")]
fn best(config: &ClassifyConfig) -> Result<Box<dyn Scorer>, ScoreError> {
    let transformer = bert::BertScorer::load(config)?;
    let linear = linear::LinearScorer::load(&package::Package::embedded_linear(), config)?;
    let rule = linear.cascade.clone().filter(|rule| rule.transformer == transformer.model().id);
    Ok(match rule {
        Some(rule) => Box::new(cascade::Cascade::new(linear, transformer, &rule, config)),
        None => Box::new(transformer),
    })
}

#[cfg(feature = "bert")]
fn transformer(config: &ClassifyConfig) -> Result<Box<dyn Scorer>, ScoreError> {
    Ok(Box::new(bert::BertScorer::load(config)?))
}

#[cfg(not(feature = "bert"))]
fn best(config: &ClassifyConfig) -> Result<Box<dyn Scorer>, ScoreError> {
    Ok(Box::new(linear::LinearScorer::load(&package::Package::linear(config)?, config)?))
}

#[cfg(not(feature = "bert"))]
fn transformer(_: &ClassifyConfig) -> Result<Box<dyn Scorer>, ScoreError> {
    Err(ScoreError::NotBuilt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn softmax_sums_to_one_even_for_huge_logits() {
        let p = softmax(&[1e30, 0.0, -1e30]);
        assert!((p.iter().sum::<f32>() - 1.0).abs() < 1e-6 && p[0] > 0.999);
    }

    #[test]
    fn a_score_that_is_not_a_number_is_an_error() {
        assert!(verdict([f32::NAN, 0.5, 0.5], &[0.0; 6]).is_err());
        assert!(verdict([0.0, 0.5, 0.5], &[0.0, f32::INFINITY, 0.0, 0.0, 0.0, 0.0]).is_err());
    }

    #[test]
    fn lead_cuts_at_a_characters_edge() {
        assert_eq!(lead("a\u{1F600}b", 3), "a");
        assert_eq!(lead("short", 100), "short");
    }
}
