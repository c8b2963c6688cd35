//! Two scorers in a row: the first settles what is clearly not an alert, both judge the rest.

use super::joint::Joint;
use super::manifest::CascadeRule;
use super::{AlertOn, ClassifyConfig, ModelInfo, ScoreError, Scored, Scorer, Text, reasons};
use crate::item::{GradeProbs, Reason, Verdict};

/// Phrases that the careful scorer is asked about when it says why: those that weigh most with the quick one. Each costs as much as
/// an item, and alerts would otherwise cost more than all that is no alert; a third weighed 0.02 in the middle of 1,132 alerts.
const TRIED: usize = 2;

/// A quick scorer in front of a careful one.
pub struct Cascade<A, B> {
    quick: A,
    careful: B,
    alert_on: AlertOn,
    /// Below this probability, the quick scorer's word is final.
    below: f32,
    joint: Joint,
    info: ModelInfo,
}

/// The threshold below which the quick scorer's word is final, if `rule` was made for this transformer.
pub fn settles_below(rule: Option<&CascadeRule>, transformer: &str, alert_on: AlertOn) -> Option<f32> {
    rule.filter(|rule| rule.transformer == transformer).map(|rule| rule.below(alert_on))
}

impl CascadeRule {
    /// The probability of what is alerted on below which the quick scorer settles an item.
    fn below(&self, alert_on: AlertOn) -> f32 {
        match alert_on {
            AlertOn::Negotiation => self.negotiation,
            AlertOn::Diplomacy => self.diplomacy,
        }
    }
}

impl<A: Scorer, B: Scorer> Cascade<A, B> {
    /// `quick` in front of `careful`, for which `rule` was made.
    pub fn new(quick: A, careful: B, rule: &CascadeRule, config: &ClassifyConfig) -> Self {
        let info = ModelInfo::new(&careful.model().id, &rule.thresholds, config);
        let (alert_on, below) = (config.alert_on, rule.below(config.alert_on));
        Self { quick, careful, alert_on, below, joint: rule.joint, info }
    }

    fn settled(&self, grade: &GradeProbs) -> bool {
        let probability = match self.alert_on {
            AlertOn::Negotiation => grade.negotiation,
            AlertOn::Diplomacy => grade.negotiation + grade.diplomacy,
        };
        probability < self.below
    }

    /// Those of `texts` that are not settled, and their places.
    fn open<'a>(&self, texts: &[Text], grades: impl Iterator<Item = &'a GradeProbs>) -> (Vec<usize>, Vec<Text>) {
        let open = grades.enumerate().filter(|(_, grade)| !self.settled(grade));
        open.map(|(i, _)| (i, texts[i].clone())).unzip()
    }

    fn both(&self, careful: &GradeProbs, quick: &GradeProbs) -> GradeProbs {
        GradeProbs::from_order(self.joint.probabilities(&careful.in_order(), &quick.in_order()))
    }
}

impl<A: Scorer, B: Scorer> Scorer for Cascade<A, B> {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let mut verdicts = self.quick.score(texts)?;
        let (open, passed_on) = self.open(texts, verdicts.iter().map(|verdict| &verdict.grade));
        for (i, careful) in open.into_iter().zip(self.careful.score(&passed_on)?) {
            verdicts[i] = Verdict { grade: self.both(&careful.grade, &verdicts[i].grade), ..careful };
        }
        Ok(verdicts)
    }

    fn grades(&mut self, texts: &[Text]) -> Result<Vec<GradeProbs>, ScoreError> {
        let mut grades = self.quick.grades(texts)?;
        let (open, passed_on) = self.open(texts, grades.iter());
        for (i, careful) in open.into_iter().zip(self.careful.grades(&passed_on)?) {
            grades[i] = self.both(&careful, &grades[i]);
        }
        Ok(grades)
    }

    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        let mut promising = |scored: &Scored| {
            let spans = reasons::spans(&scored.text);
            reasons::promising(&scored.text, spans, TRIED, &mut |texts| self.quick.grades(texts))
        };
        let spans = scored.iter().map(&mut promising).collect::<Result<_, _>>()?;
        self.explain_by(scored, spans)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::shipped;
    use super::super::manifest::Thresholds;
    use super::super::worker::tests::Fake;
    use super::*;

    fn rule() -> CascadeRule {
        let thresholds = Thresholds { default: 0.4, recall: 0.2, precision: 0.6, diplomacy: 0.3 };
        let joint = Joint { weight: 0.0, temperature: 1.0 };
        CascadeRule { transformer: "fake".into(), negotiation: 0.25, diplomacy: 0.05, joint, thresholds }
    }

    fn texts() -> [Text; 4] {
        ["a", "aaaa", "aa", "aaa"].map(|title| Text::new(title, ""))
    }

    fn scores(rule: &CascadeRule) -> (Vec<f32>, Cascade<Fake, Fake>) {
        let mut cascade = Cascade::new(Fake::default(), Fake::default(), rule, &shipped());
        (cascade.score(&texts()).expect("scores").iter().map(Verdict::score).collect(), cascade)
    }

    #[test]
    fn only_what_is_not_clear_is_passed_on() {
        let (scores, mut cascade) = scores(&rule());
        assert!(scores.iter().zip([0.1, 0.4, 0.2, 0.3]).all(|(a, b)| (a - b).abs() < 1e-5), "{scores:?}");
        assert_eq!((cascade.quick.scored, cascade.careful.scored), (4, 2));
        let grades = cascade.grades(&texts()).expect("grades");
        assert!(grades.iter().zip(&scores).all(|(grade, score)| grade.negotiation == *score), "{grades:?}");
        assert_eq!((cascade.model().id.as_str(), cascade.model().threshold), ("fake", 0.4));
    }

    #[test]
    fn what_is_passed_on_is_scored_by_both() {
        let joint = Joint { weight: 1.0, temperature: 1.0 };
        let (scores, _) = scores(&CascadeRule { joint, ..rule() });
        // The odds of both, multiplied; what is settled is the quick one's.
        let twice = |p: f32| p * p / (p * p + (1.0 - p) * (1.0 - p));
        assert!(scores.iter().zip([0.1, twice(0.4), 0.2, twice(0.3)]).all(|(a, b)| (a - b).abs() < 1e-4), "{scores:?}");
    }

    #[test]
    fn a_rule_holds_for_its_own_transformer_only() {
        let rule = rule();
        assert_eq!(settles_below(Some(&rule), "fake", AlertOn::Negotiation), Some(0.25));
        assert_eq!(settles_below(Some(&rule), "fake", AlertOn::Diplomacy), Some(0.05));
        assert_eq!(settles_below(Some(&rule), "b", AlertOn::Negotiation), None);
        assert_eq!(settles_below(None, "a", AlertOn::Negotiation), None);
    }
}
