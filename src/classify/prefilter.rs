//! The quick model on its own, for history: items that it settles never reach the scorer's thread, so that as many
//! processors as there are can sort them out. What it says is what the whole scorer would.

use super::cascade::settles_below;
use super::linear::LinearModel;
use super::manifest::{Kind, Manifest};
use super::package::Package;
use super::{AlertOn, ClassifyConfig, ModelInfo, ScoreError, Text, calibrate, features, linear, verdict};

/// Tells items that are clearly not an alert.
pub struct Prefilter {
    model: LinearModel,
    temperature: f32,
    alert_on: AlertOn,
    below: f32,
}

impl Prefilter {
    /// The prefilter in front of the scorer whose model is `model`, which raises alerts from `threshold` on; none, if that
    /// scorer judges every item itself.
    ///
    /// # Errors
    /// When the linear model cannot be loaded.
    pub fn new(config: &ClassifyConfig, model: &ModelInfo, threshold: f32) -> Result<Option<Self>, ScoreError> {
        let own = linear::LinearScorer::load(&Package::linear(config)?, config);
        if own.as_ref().is_ok_and(|scorer| super::Scorer::model(scorer).id == model.id) {
            return Self::load(&Package::linear(config)?, config, threshold).map(Some);
        }
        let package = Package::embedded_linear();
        let rule = linear::LinearScorer::load(&package, config)?.cascade;
        let below = match config.scorer {
            super::ScorerKind::Auto => settles_below(rule.as_ref(), &model.id, config.alert_on),
            _ => None,
        };
        // Where less than the rule's bound is an alert, the quick model's word on what lies between would be one.
        below.map(|below| Self::load(&package, config, below.min(threshold))).transpose()
    }

    fn load(package: &Package, config: &ClassifyConfig, below: f32) -> Result<Self, ScoreError> {
        let manifest = Manifest::parse(&package.name, &package.manifest, Kind::Linear, features::FEATURES)?;
        let (model, temperature) = (LinearModel::load(package)?, manifest.temperature);
        Ok(Self { model, temperature, alert_on: config.alert_on, below })
    }

    /// Whether `text` is settled: it raises no alert, whatever a more careful model would say.
    pub fn settles(&self, text: &Text) -> bool {
        let (grade, stage) = self.model.logits(text);
        // What is not a number is for the scorer to complain of.
        verdict(calibrate::probabilities(&grade, self.temperature), &stage).is_ok_and(|verdict| {
            let probability = match self.alert_on {
                AlertOn::Negotiation => verdict.grade.negotiation,
                AlertOn::Diplomacy => verdict.grade.negotiation + verdict.grade.diplomacy,
            };
            probability < self.below
        })
    }
}

#[cfg(all(test, feature = "bert"))]
mod tests {
    use super::super::config::tests::shipped;
    use super::*;

    #[test]
    fn nothing_is_settled_that_a_lower_threshold_makes_an_alert() {
        let package = Package::transformer(&shipped()).expect("is built in");
        let features = super::super::bert::FEATURES;
        let manifest = Manifest::parse("shipped", &package.manifest, Kind::Transformer, features).expect("parses");
        let model = ModelInfo { id: manifest.id, threshold: 0.5, threshold_diplomacy: 0.5 };
        let dull = Text::new("Striker scores twice in cup final", "The home side won 3-1 after a goal in each half.");
        let settles = |threshold| {
            let prefilter = Prefilter::new(&shipped(), &model, threshold).expect("loads").expect("the rule fits");
            prefilter.settles(&dull)
        };
        assert!(settles(0.5) && !settles(0.0));
    }
}
