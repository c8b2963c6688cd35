//! A model's manifest: what it is, what it needs, how well it did, and where its thresholds lie.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::calibrate::Temperatures;
use super::joint::Joint;
use super::{GRADES, STAGE_NAMES, ScoreError};

/// Tokens that a transformer may be made for: below, nothing but the marks between title and summary would be left, and the base
/// has no positions beyond.
pub const READABLE: std::ops::RangeInclusive<usize> = 8..=512;

/// The family of a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Hashed n-grams and one matrix.
    Linear,
    /// Tuned layers and heads over a base model.
    Transformer,
}

/// `manifest.toml`, beside a model's `weights.safetensors`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Id that goes into every alert; changes with every retraining.
    pub id: String,
    /// Family.
    pub kind: Kind,
    /// Name and version of how text becomes numbers; a model fits only the code that made it.
    pub features: String,
    /// Grades in the order of the outputs.
    pub labels: Vec<String>,
    /// Stages in the order of the outputs.
    pub stages: Vec<String>,
    /// Licence of the weights.
    pub licence: String,
    /// What it was trained on, in words.
    pub data: String,
    /// BLAKE3 of the weights file, in hex.
    pub weights_blake3: String,
    /// Logits are divided by this before the softmax, so that scores are probabilities.
    pub temperature: f32,
    /// The same for the stages; without, they are taken as they are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_temperature: Option<f32>,
    /// Layers of the base that were tuned, counted from the top (transformer only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tuned_layers: Option<usize>,
    /// Upper layers that the stage has of its own (transformer only); without, it is read from the same states as the grade.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stage_layers: Option<usize>,
    /// Tokens that go in at most, title and summary together (transformer only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_tokens: Option<usize>,
    /// The base model (transformer only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<Base>,
    /// What this model settles in front of a transformer (linear only).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cascade: Option<CascadeRule>,
    /// Where alerts begin.
    pub thresholds: Thresholds,
    /// Metrics on the development set, by name.
    pub metrics: BTreeMap<String, f64>,
}

/// The base model that a transformer was tuned from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Base {
    /// Its name.
    pub name: String,
    /// SHA-256 of its `model.safetensors`, in hex.
    pub sha256: String,
    /// SHA-256 of its `vocab.txt`, in hex: where word pieces have other numbers, a text is read as another. Without it any is taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vocabulary_sha256: Option<String>,
}

impl Base {
    /// Refuses another base than this, which the model of the name `model` was tuned from.
    pub fn check(&self, model: &str, found: &Self) -> Result<(), ScoreError> {
        same(model, "base.sha256", &self.sha256, &found.sha256)?;
        match (&self.vocabulary_sha256, &found.vocabulary_sha256) {
            (Some(vocabulary), Some(found)) => same(model, "base.vocabulary_sha256", vocabulary, found),
            _ => Ok(()),
        }
    }
}

/// When a linear model's word is final, in front of which transformer, and what both say together of the rest.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CascadeRule {
    /// Id of the transformer that the thresholds were chosen for.
    pub transformer: String,
    /// Alerts on negotiation: below this probability of grade 2 an item is settled.
    pub negotiation: f32,
    /// Alerts on diplomacy: below this probability of grade 1 or 2 an item is settled.
    pub diplomacy: f32,
    /// How the words of both become one.
    pub joint: Joint,
    /// Where alerts begin by both.
    pub thresholds: Thresholds,
}

/// Score thresholds, probabilities 0–1, chosen on the development set.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// On grade 2: balanced.
    pub default: f32,
    /// On grade 2: fewer misses.
    pub recall: f32,
    /// On grade 2: fewer false alarms.
    pub precision: f32,
    /// On grade 1 or 2.
    pub diplomacy: f32,
}

impl Thresholds {
    fn check(&self) -> Result<(), String> {
        let named = [
            ("default", self.default),
            ("recall", self.recall),
            ("precision", self.precision),
            ("diplomacy", self.diplomacy),
        ];
        match named.into_iter().find(|(_, value)| !(0.0..=1.0).contains(value)) {
            Some((name, value)) => Err(format!("thresholds.{name} = {value} is not a probability")),
            None => Ok(()),
        }
    }
}

impl Manifest {
    /// Parses a manifest and checks everything that can be checked without the weights. `model` names it in errors.
    pub fn parse(model: &str, text: &str, kind: Kind, features: &str) -> Result<Self, ScoreError> {
        let bad = |reason: String| ScoreError::Manifest { model: model.into(), reason };
        let manifest: Self =
            toml::from_str(text).map_err(|error| bad(error.to_string().trim_end().replace('\n', " ")))?;
        same(model, "kind", &format!("{:?}", manifest.kind), &format!("{kind:?}"))?;
        same(model, "features", &manifest.features, features)?;
        same(model, "labels", &manifest.labels.join(", "), &GRADES.join(", "))?;
        same(model, "stages", &manifest.stages.join(", "), &STAGE_NAMES.join(", "))?;
        let cascade = manifest.cascade.as_ref();
        let joint = cascade.map(|rule| rule.joint.temperature);
        for t in [Some(manifest.temperature), manifest.stage_temperature, joint].into_iter().flatten() {
            if !(t.is_finite() && t > 0.0) {
                return Err(bad(format!("temperature = {t} is not above zero")));
            }
        }
        if let Some(tokens) = manifest.max_tokens.filter(|tokens| !READABLE.contains(tokens)) {
            return Err(bad(format!("max_tokens = {tokens} is outside 8 to 512, what the base model reads")));
        }
        manifest.thresholds.check().map_err(bad)?;
        if let Some(rule) = cascade {
            rule.thresholds.check().map_err(bad)?;
            if !(rule.joint.weight.is_finite() && rule.joint.weight >= 0.0) {
                return Err(bad(format!("cascade.joint.weight = {} is below zero", rule.joint.weight)));
            }
        }
        Ok(manifest)
    }

    /// What the model's logits are divided by.
    pub fn temperatures(&self) -> Temperatures {
        Temperatures { grade: self.temperature, stage: self.stage_temperature.unwrap_or(1.0) }
    }

    /// Checks the weights file against the manifest's hash.
    pub fn check_weights(&self, model: &str, weights: &[u8]) -> Result<(), ScoreError> {
        same(model, "weights_blake3", &self.weights_blake3, blake3::hash(weights).to_hex().as_str())
    }

    /// The model's labels, as every manifest writes them.
    pub fn label_set() -> (Vec<String>, Vec<String>) {
        (GRADES.map(String::from).to_vec(), STAGE_NAMES.map(String::from).to_vec())
    }
}

/// An error that names both sides, unless they are equal.
pub(crate) fn same(model: &str, what: &'static str, expected: &str, found: &str) -> Result<(), ScoreError> {
    if expected == found {
        return Ok(());
    }
    Err(ScoreError::Mismatch { model: model.into(), what, expected: expected.into(), found: found.into() })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A manifest for tests.
    pub(crate) fn sample(kind: Kind, features: &str, weights: &[u8]) -> Manifest {
        let (labels, stages) = Manifest::label_set();
        Manifest {
            id: "test-1".into(),
            kind,
            features: features.into(),
            labels,
            stages,
            licence: "Apache-2.0 OR MIT".into(),
            data: "none".into(),
            weights_blake3: blake3::hash(weights).to_hex().to_string(),
            temperature: 1.0,
            stage_temperature: None,
            tuned_layers: None,
            stage_layers: None,
            max_tokens: None,
            base: None,
            cascade: None,
            thresholds: Thresholds { default: 0.5, recall: 0.3, precision: 0.7, diplomacy: 0.5 },
            metrics: BTreeMap::new(),
        }
    }

    fn parse(manifest: &Manifest) -> Result<Manifest, ScoreError> {
        Manifest::parse("test", &toml::to_string(manifest).expect("serialisable"), Kind::Linear, "f/1")
    }

    #[test]
    fn survives_a_round_trip() {
        let manifest = sample(Kind::Linear, "f/1", b"");
        assert_eq!(parse(&manifest).expect("parses"), manifest);
    }

    #[test]
    fn a_mismatch_names_both_sides() {
        let wrong = sample(Kind::Linear, "f/2", b"");
        let message = parse(&wrong).expect_err("other features").to_string();
        assert!(message.contains("f/2") && message.contains("f/1"), "{message}");
        let mut wrong = sample(Kind::Linear, "f/1", b"");
        wrong.labels.swap(0, 2);
        assert!(parse(&wrong).is_err());
        assert!(wrong.check_weights("test", b"other").expect_err("hash").to_string().contains("weights_blake3"));
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        let mut manifest = sample(Kind::Linear, "f/1", b"");
        manifest.temperature = 0.0;
        assert!(parse(&manifest).is_err());
        manifest.temperature = 1.0;
        manifest.stage_temperature = Some(-1.0);
        assert!(parse(&manifest).is_err());
        manifest.stage_temperature = None;
        manifest.thresholds.recall = f32::NAN;
        assert!(parse(&manifest).is_err());
        for tokens in [0, 7, 513] {
            manifest = Manifest { max_tokens: Some(tokens), ..sample(Kind::Linear, "f/1", b"") };
            assert!(parse(&manifest).expect_err("refused").to_string().contains("max_tokens"));
        }
    }
}
