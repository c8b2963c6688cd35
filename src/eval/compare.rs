//! Two models on the same items: is the difference more than chance?

use std::collections::BTreeMap;

use serde::Serialize;

use super::bootstrap::{middle_95, named, resample};
use super::{Scored, measure, pair};
use crate::classify::{ScoreError, Scorer, Text};
use crate::train::data::Labelled;

/// Differences from another model, this one's measure less the other's.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// Id of the other model.
    pub other: String,
    /// By measure.
    pub differences: BTreeMap<&'static str, Difference>,
}

/// One measure's difference.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Difference {
    /// On all items.
    pub value: f64,
    /// Its 95 % interval over paired resamples; when it holds 0, the difference may be chance.
    pub interval: [f64; 2],
}

/// Scores `items` with `other` and compares, each model at its own threshold.
pub(super) fn compare(
    this: &[Scored],
    threshold: f32,
    mut other: Box<dyn Scorer>,
    items: &[Labelled],
) -> Result<Comparison, ScoreError> {
    let texts: Vec<Text> = items.iter().map(Labelled::text).collect();
    let verdicts = other.score(&texts)?;
    let info = other.model();
    let that = pair(items, &verdicts);
    Ok(Comparison { other: info.id.clone(), differences: differences(this, threshold, &that, info.threshold) })
}

fn differences(a: &[Scored], at_a: f32, b: &[Scored], at_b: f32) -> BTreeMap<&'static str, Difference> {
    let difference = |picked: &[usize]| {
        let of = |scored: &[Scored], at| named(&measure(&picked.iter().map(|&i| scored[i]).collect::<Vec<_>>(), at));
        of(a, at_a).into_iter().zip(of(b, at_b)).map(|((name, a), (_, b))| (name, a - b)).collect::<Vec<_>>()
    };
    let mut draws: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    resample(a.len(), |picked| {
        difference(picked).into_iter().for_each(|(name, value)| draws.entry(name).or_default().push(value));
    });
    let whole = difference(&(0..a.len()).collect::<Vec<_>>());
    let interval = |name| middle_95(draws.remove(name).unwrap_or_default());
    let mut interval = interval;
    whole.into_iter().map(|(name, value)| (name, Difference { value, interval: interval(name) })).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Stage;

    fn scored(scores: impl Iterator<Item = f32>) -> Vec<Scored> {
        let one = |(i, score)| Scored {
            score,
            wide: score,
            grade: if i % 2 == 0 { 2 } else { 0 },
            guess: Stage::None,
            stage: Stage::None,
        };
        scores.enumerate().map(one).collect()
    }

    #[test]
    fn a_clear_difference_is_seen_and_none_is_not() {
        let good = scored((0..100).map(|i| if i % 2 == 0 { 0.9 } else { 0.1 }));
        let blind = scored((0..100).map(|i| ((i * 37) % 100) as f32 / 100.0));
        let better = differences(&good, 0.5, &blind, 0.5)["ap_negotiation"];
        assert!(better.value > 0.2 && better.interval[0] > 0.0, "{better:?}");
        let same = differences(&good, 0.5, &good, 0.5)["f1"];
        assert_eq!((same.value, same.interval), (0.0, [0.0, 0.0]));
    }
}
