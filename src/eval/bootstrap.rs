//! Intervals by resampling the items with replacement. The resamples are the same in every run.

use std::collections::BTreeMap;

use super::{Measures, Scored, measure};
use crate::train::Rng;

/// Resamples. The ends of a 95 % interval rest on 25 of them each; more would only smooth the last digit.
const RESAMPLES: usize = 1_000;
/// Seed of the resamples.
const SEED: u64 = 20_260_601;

/// 95 % intervals of every measure, by name.
pub fn intervals(scored: &[Scored], threshold: f32) -> BTreeMap<&'static str, [f64; 2]> {
    let mut draws: BTreeMap<&'static str, Vec<f64>> = BTreeMap::new();
    resample(scored.len(), |picked| {
        let sample: Vec<Scored> = picked.iter().map(|&i| scored[i]).collect();
        for (name, value) in named(&measure(&sample, threshold)) {
            draws.entry(name).or_default().push(value);
        }
    });
    draws.into_iter().map(|(name, values)| (name, middle_95(values))).collect()
}

/// The measures by their names in the report.
pub(super) fn named(measures: &Measures) -> [(&'static str, f64); 7] {
    [
        ("ap_negotiation", measures.ap_negotiation),
        ("ap_diplomacy", measures.ap_diplomacy),
        ("precision", measures.precision),
        ("recall", measures.recall),
        ("f1", measures.f1),
        ("ece", measures.ece),
        ("stage_macro_f1", measures.stage_macro_f1),
    ]
}

/// Calls `each` with the indexes of every resample of `n` items.
pub(super) fn resample(n: usize, mut each: impl FnMut(&[usize])) {
    let mut rng = Rng(SEED);
    let mut picked = vec![0; n];
    for _ in 0..RESAMPLES {
        picked.iter_mut().for_each(|index| *index = (rng.next() % n.max(1) as u64) as usize);
        each(&picked);
    }
}

/// The ends of the middle 95 % of `values`.
pub(super) fn middle_95(mut values: Vec<f64>) -> [f64; 2] {
    values.sort_by(f64::total_cmp);
    let at = |share: f64| values.get((share * values.len() as f64) as usize).copied().unwrap_or_default();
    [at(0.025), at(0.975)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Stage;

    #[test]
    fn an_interval_holds_the_measure_and_is_the_same_in_every_run() {
        let scored: Vec<Scored> = (0..200)
            .map(|i| Scored {
                score: i as f32 / 200.0,
                wide: i as f32 / 200.0,
                grade: if i % 3 == 0 || i > 150 { 2 } else { 0 },
                guess: Stage::Held,
                stage: Stage::Held,
            })
            .collect();
        let whole = measure(&scored, 0.5);
        let intervals = intervals(&scored, 0.5);
        for (name, value) in named(&whole) {
            let [low, high] = intervals[name];
            // Resampling adds noise to a calibration error, so its interval lies above it.
            assert!((low..=high).contains(&value) || name == "ece", "{name}: {value} outside {low}..{high}");
        }
        assert_eq!(intervals, super::intervals(&scored, 0.5));
    }
}
