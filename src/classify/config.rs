//! The `[model]` section of the configuration.

use std::path::PathBuf;
use std::time::Duration;

use serde::de::{Error, IntoDeserializer, Visitor, value};
use serde::{Deserialize, Deserializer, Serialize};

use super::manifest::Thresholds;

/// Which scorer to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScorerKind {
    /// The best that this build holds: with feature `bert` the cascade, in which the linear model settles what is clear
    /// and both judge the rest; else the linear model.
    Auto,
    /// The transformer alone; an error in a build without it.
    Transformer,
    /// The linear model alone.
    Linear,
}

/// What an alert is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AlertOn {
    /// Grade 2: talks and bargaining between parties that count.
    Negotiation,
    /// Grade 1 or 2: a wider digest.
    Diplomacy,
}

/// A threshold by name, from the model's manifest, or as a number.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Threshold {
    /// One of the manifest's.
    Named(ThresholdName),
    /// A probability, 0–1.
    At(f32),
}

// By hand: of an untagged enum serde says only that no variant fits, in words that mean nothing to a user.
impl<'de> Deserialize<'de> for Threshold {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrNumber)
    }
}

struct NameOrNumber;

impl Visitor<'_> for NameOrNumber {
    type Value = Threshold;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("\"default\", \"recall\", \"precision\" or a number from 0 to 1")
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Threshold, E> {
        let name = ThresholdName::deserialize(text.into_deserializer());
        name.map(Threshold::Named).map_err(|_: value::Error| {
            let expected: &dyn serde::de::Expected = &self;
            E::custom(format!("{text:?} is not {expected}"))
        })
    }

    fn visit_f64<E: Error>(self, number: f64) -> Result<Threshold, E> {
        Ok(Threshold::At(number as f32))
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<Threshold, E> {
        Ok(Threshold::At(number as f32))
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<Threshold, E> {
        Ok(Threshold::At(number as f32))
    }
}

/// The manifest's thresholds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ThresholdName {
    /// Balanced: what the model was chosen by.
    Default,
    /// Misses less, with more false alarms.
    Recall,
    /// Fewer false alarms, with more misses.
    Precision,
}

/// Settings of the classifier. Defaults live in `config/demarche.toml` alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifyConfig {
    /// Which scorer to build.
    pub scorer: ScorerKind,
    /// What an alert is about.
    pub alert_on: AlertOn,
    /// How probable what `alert_on` names must be for an alert.
    pub threshold: Threshold,
    /// Directory of the base model; empty: `all-MiniLM-L6-v2` in the program's cache directory.
    pub base: PathBuf,
    /// Directory of a model of your own (manifest.toml, weights.safetensors); empty: the one in the binary.
    pub dir: PathBuf,
    /// Threads that score, a batch each; 0: one for each processor. In training: those that share a batch.
    pub threads: usize,
    /// Whether the transformer may multiply in eight bits, where the processor does so exactly.
    pub int8: bool,
    /// Texts in one forward pass at most.
    pub batch_items: usize,
    /// Tokens in one forward pass at most, unless it is one text.
    pub batch_tokens: usize,
    /// Texts that wait together for the model before they are scored at once.
    pub flush_items: usize,
    /// How long a text waits for others at most.
    #[serde(with = "humantime_serde")]
    pub flush_after: Duration,
    /// Verdicts kept by the text's hash, so that wire copies cost nothing; 0 turns it off.
    pub cache_items: usize,
    /// Batches waiting for the scorer's thread before the pipeline is held back.
    pub queue: usize,
}

impl ClassifyConfig {
    /// Whether the linear model scores alone.
    pub fn is_quick(&self) -> bool {
        self.scorer == ScorerKind::Linear || !cfg!(feature = "bert")
    }

    /// The threshold that `self` selects from a manifest's, for grade 2.
    pub fn threshold(&self, shipped: &Thresholds) -> f32 {
        match self.threshold {
            Threshold::Named(ThresholdName::Default) => shipped.default,
            Threshold::Named(ThresholdName::Recall) => shipped.recall,
            Threshold::Named(ThresholdName::Precision) => shipped.precision,
            Threshold::At(value) => value,
        }
    }

    /// The threshold on the probability of grade 1 or 2: a number given under `alert_on = "diplomacy"`, else the manifest's.
    pub fn threshold_diplomacy(&self, shipped: &Thresholds) -> f32 {
        match (self.alert_on, self.threshold) {
            (AlertOn::Diplomacy, Threshold::At(value)) => value,
            _ => shipped.diplomacy,
        }
    }

    /// Where the base model is looked for: as configured, else where `make install` put it, else in the cache of
    /// `make setup`.
    pub fn base_dir(&self) -> PathBuf {
        if !self.base.as_os_str().is_empty() {
            return self.base.clone();
        }
        let program = std::env::current_exe().unwrap_or_default();
        let installed = program.parent().unwrap_or(&program).join("../share/demarche").join(BASE_MODEL);
        if installed.is_dir() { installed } else { cache_dir(|name| std::env::var_os(name)).join(BASE_MODEL) }
    }

    /// Every value that is out of range, one line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if let Threshold::At(value) = self.threshold
            && !(0.0..=1.0).contains(&value)
        {
            problems.push(format!("threshold = {value} is not a probability: give 0 to 1, or a name"));
        }
        for (name, value) in [
            ("batch_items", self.batch_items),
            ("batch_tokens", self.batch_tokens),
            ("flush_items", self.flush_items),
            ("queue", self.queue),
        ] {
            if value == 0 {
                problems.push(format!("{name} = 0 would score nothing: give 1 or more"));
            }
        }
        if self.cache_items > MOST_CACHED {
            let given = self.cache_items;
            problems.push(format!(
                "cache_items = {given} would take more than 5 GB of memory, at about 500 bytes each: give {MOST_CACHED} or less"
            ));
        }
        if self.flush_after > LONGEST_WAIT {
            let given = humantime_serde::re::humantime::format_duration(self.flush_after);
            problems.push(format!("flush_after = {given} would only delay alerts: give 10s or less"));
        }
        problems
    }
}

/// Most `cache_items`: 5 GB of memory.
const MOST_CACHED: usize = 10_000_000;

/// Longest `flush_after`: the next poll is seconds away, and a full batch takes about one.
const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// What `models/setup.py` calls the base model's directory.
pub(crate) const BASE_MODEL: &str = "all-MiniLM-L6-v2";

/// Where `models/setup.py` keeps what it fetches. `var` reads the environment.
fn cache_dir(var: impl Fn(&str) -> Option<std::ffi::OsString>) -> PathBuf {
    let dir = |name| var(name).filter(|dir| !dir.is_empty()).map(PathBuf::from);
    let general = || dir("XDG_CACHE_HOME").unwrap_or_else(|| dir("HOME").unwrap_or_default().join(".cache"));
    dir("DEMARCHE_CACHE").unwrap_or_else(|| general().join("demarche"))
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[derive(Deserialize)]
    struct Section {
        model: ClassifyConfig,
    }

    /// The section as it ships.
    pub(crate) fn shipped() -> ClassifyConfig {
        let section: Section = toml::from_str(crate::config::DEFAULTS).expect("the defaults are valid");
        section.model
    }

    #[test]
    fn the_shipped_section_is_complete_and_in_range() {
        assert_eq!(shipped().problems(), Vec::<String>::new());
    }

    #[test]
    fn the_cache_is_that_of_the_set_up() {
        let with = |set: &[(&str, &str)]| {
            let set: Vec<(String, String)> =
                set.iter().map(|(name, dir)| (name.to_string(), dir.to_string())).collect();
            cache_dir(move |name| set.iter().find(|(known, _)| known == name).map(|(_, dir)| dir.into()))
        };
        assert_eq!(with(&[("HOME", "/h")]), PathBuf::from("/h/.cache/demarche"));
        assert_eq!(with(&[("HOME", "/h"), ("XDG_CACHE_HOME", "/x")]), PathBuf::from("/x/demarche"));
        assert_eq!(with(&[("XDG_CACHE_HOME", "/x"), ("DEMARCHE_CACHE", "/d")]), PathBuf::from("/d"));
    }

    #[test]
    fn a_threshold_is_a_name_or_a_number() {
        let thresholds = Thresholds { default: 0.5, recall: 0.3, precision: 0.7, diplomacy: 0.4 };
        let mut config = shipped();
        assert_eq!(config.threshold(&thresholds), 0.5);
        config.threshold = Threshold::Named(ThresholdName::Recall);
        assert_eq!(config.threshold(&thresholds), 0.3);
        config.threshold = Threshold::At(1.5);
        assert_eq!(config.problems().len(), 1);
        assert_eq!(config.threshold_diplomacy(&thresholds), 0.4);
    }

    #[test]
    fn a_wrong_threshold_is_told_what_would_be_right() {
        #[derive(Debug, Deserialize)]
        struct Key {
            threshold: Threshold,
        }
        let read = |value: &str| toml::from_str::<Key>(&format!("threshold = {value}")).map(|key| key.threshold);
        assert_eq!(read("\"recall\""), Ok(Threshold::Named(ThresholdName::Recall)));
        assert_eq!((read("0.25"), read("1")), (Ok(Threshold::At(0.25)), Ok(Threshold::At(1.0))));
        let right = "\"default\", \"recall\", \"precision\" or a number from 0 to 1";
        let error = read("\"recal\"").expect_err("no name");
        assert_eq!(error.message().trim(), format!("\"recal\" is not {right}"));
        assert!(read("true").expect_err("no number").message().contains(right));
    }

    #[test]
    fn the_cache_has_an_upper_bound() {
        let most = ClassifyConfig { cache_items: MOST_CACHED, ..shipped() };
        assert_eq!(most.problems(), Vec::<String>::new());
        let problems = ClassifyConfig { cache_items: MOST_CACHED + 1, ..shipped() }.problems();
        assert!(problems.len() == 1 && problems[0].contains("give 10000000 or less"), "{problems:?}");
    }
}
