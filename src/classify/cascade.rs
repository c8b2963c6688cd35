//! Two scorers in a row: the first settles what is clearly not an alert, the second judges the rest.

use super::manifest::CascadeRule;
use super::{AlertOn, ModelInfo, ScoreError, Scored, Scorer, Text, reasons};
use crate::item::{Reason, Verdict};

/// Phrases that the careful scorer is asked about when it says why: those that weigh most with the quick one, as many as are
/// told. Each costs as much as an item, and alerts would otherwise cost more than all that is no alert.
const TRIED: usize = 3;

/// A quick scorer in front of a careful one.
pub struct Cascade<A, B> {
    quick: A,
    careful: B,
    alert_on: AlertOn,
    threshold: f32,
}

/// The threshold below which the quick scorer's word is final, if `rule` was made for this transformer.
pub fn settles_below(rule: Option<&CascadeRule>, transformer: &str, alert_on: AlertOn) -> Option<f32> {
    let rule = rule.filter(|rule| rule.transformer == transformer)?;
    Some(match alert_on {
        AlertOn::Negotiation => rule.negotiation,
        AlertOn::Diplomacy => rule.diplomacy,
    })
}

impl<A: Scorer, B: Scorer> Cascade<A, B> {
    /// `quick` settles items whose probability of what is alerted on lies below `threshold`.
    pub fn new(quick: A, careful: B, alert_on: AlertOn, threshold: f32) -> Self {
        Self { quick, careful, alert_on, threshold }
    }

    fn settled(&self, verdict: &Verdict) -> bool {
        let probability = match self.alert_on {
            AlertOn::Negotiation => verdict.grade.negotiation,
            AlertOn::Diplomacy => verdict.grade.negotiation + verdict.grade.diplomacy,
        };
        probability < self.threshold
    }
}

impl<A: Scorer, B: Scorer> Scorer for Cascade<A, B> {
    fn model(&self) -> &ModelInfo {
        self.careful.model()
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let mut verdicts = self.quick.score(texts)?;
        let open: Vec<usize> = (0..texts.len()).filter(|&i| !self.settled(&verdicts[i])).collect();
        let passed_on: Vec<Text> = open.iter().map(|&i| texts[i].clone()).collect();
        for (i, verdict) in open.into_iter().zip(self.careful.score(&passed_on)?) {
            verdicts[i] = verdict;
        }
        Ok(verdicts)
    }

    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        let mut promising = |scored: &Scored| {
            let spans = reasons::spans(&scored.text);
            reasons::promising(&scored.text, spans, TRIED, &mut |texts| self.quick.score(texts))
        };
        let spans = scored.iter().map(&mut promising).collect::<Result<_, _>>()?;
        self.careful.explain_by(scored, spans)
    }
}

#[cfg(test)]
mod tests {
    use super::super::worker::tests::Fake;
    use super::*;

    #[test]
    fn only_what_is_not_clear_is_passed_on() {
        let mut cascade = Cascade::new(Fake::default(), Fake::default(), AlertOn::Negotiation, 0.25);
        let texts = ["a", "aaaa", "aa", "aaa"].map(|title| Text::new(title, ""));
        let scores: Vec<f32> = cascade.score(&texts).expect("scores").iter().map(Verdict::score).collect();
        assert_eq!(scores, [0.1, 0.4, 0.2, 0.3]);
        assert_eq!((cascade.quick.scored, cascade.careful.scored), (4, 2));
    }

    #[test]
    fn a_rule_holds_for_its_own_transformer_only() {
        let rule = CascadeRule { transformer: "a".into(), negotiation: 0.01, diplomacy: 0.05 };
        assert_eq!(settles_below(Some(&rule), "a", AlertOn::Negotiation), Some(0.01));
        assert_eq!(settles_below(Some(&rule), "a", AlertOn::Diplomacy), Some(0.05));
        assert_eq!(settles_below(Some(&rule), "b", AlertOn::Negotiation), None);
        assert_eq!(settles_below(None, "a", AlertOn::Negotiation), None);
    }
}
