//! Two models' word on a text as one: a logarithmic opinion pool (Genest and Zidek, 1986). They err on different items, so what
//! they say together is more often right than what the better of them says alone.

use serde::{Deserialize, Serialize};

use super::calibrate;

/// Weights that are tried: twentieths up to the careful model's own.
const STEPS: u8 = 20;
/// The least probability that is told apart from none.
const LEAST: f32 = 1e-7;

/// How the words of a careful model and a quick one are joined.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Joint {
    /// How much the quick model's word weighs, where the careful one's weighs 1.
    pub weight: f32,
    /// What the sum of logarithms is divided by, so that the result is a probability.
    pub temperature: f32,
}

impl Joint {
    /// The probabilities of the grades by both.
    pub fn probabilities(&self, careful: &[f32; 3], quick: &[f32; 3]) -> [f32; 3] {
        calibrate::probabilities(&sum(careful, quick, self.weight), self.temperature)
    }

    /// The least weight that no other beats on labelled items by more than a standard error: what is left over is chance.
    pub fn fit(words: &[([f32; 3], [f32; 3])], grades: &[usize]) -> Self {
        let at = |step: u8| {
            let weight = f32::from(step) / f32::from(STEPS);
            let logits: Vec<[f32; 3]> = words.iter().map(|(careful, quick)| sum(careful, quick, weight)).collect();
            let joint = Self { weight, temperature: calibrate::temperature(&logits, grades) };
            let one = |(logits, &grade): (&[f32; 3], &usize)| calibrate::loss(&[*logits], &[grade], joint.temperature);
            (joint, logits.iter().zip(grades).map(one).collect::<Vec<f64>>())
        };
        let tried: Vec<(Self, Vec<f64>)> = (0..=STEPS).map(at).collect();
        let total = |losses: &[f64]| losses.iter().sum::<f64>();
        let best = tried.iter().min_by(|a, b| total(&a.1).total_cmp(&total(&b.1)));
        let chosen = best.and_then(|(_, best)| tried.iter().find(|(_, losses)| is_level(losses, best)));
        chosen.map_or(Self { weight: 0.0, temperature: 1.0 }, |(joint, _)| *joint)
    }
}

fn sum(careful: &[f32; 3], quick: &[f32; 3], weight: f32) -> [f32; 3] {
    std::array::from_fn(|i| careful[i].max(LEAST).ln() + weight * quick[i].max(LEAST).ln())
}

/// Whether the mean of `losses` lies within a standard error of the mean of `best`, item by item.
fn is_level(losses: &[f64], best: &[f64]) -> bool {
    let n = losses.len().max(1) as f64;
    let differences = || losses.iter().zip(best).map(|(a, b)| a - b);
    let mean = differences().sum::<f64>() / n;
    let variance = differences().map(|d| (d - mean).powi(2)).sum::<f64>() / n;
    mean <= (variance / n).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVEN: [f32; 3] = [1.0 / 3.0; 3];

    fn on(grade: usize, sure: f32) -> [f32; 3] {
        std::array::from_fn(|i| if i == grade { sure } else { (1.0 - sure) / 2.0 })
    }

    #[test]
    fn a_quick_model_without_an_opinion_changes_nothing() {
        let joint = Joint { weight: 0.7, temperature: 1.0 };
        let (careful, both) = (on(2, 0.8), joint.probabilities(&on(2, 0.8), &EVEN));
        assert!(careful.iter().zip(both).all(|(a, b)| (a - b).abs() < 1e-5), "{both:?}");
    }

    #[test]
    fn agreement_makes_surer_and_zero_is_bounded() {
        let joint = Joint { weight: 0.5, temperature: 1.0 };
        assert!(joint.probabilities(&on(2, 0.8), &on(2, 0.8))[2] > 0.85);
        let both = joint.probabilities(&[0.0, 0.0, 1.0], &[1.0, 0.0, 0.0]);
        assert!(both.iter().all(|p| p.is_finite()) && both[2] > both[0]);
    }

    #[test]
    fn one_that_errs_elsewhere_is_heard_and_a_guesser_is_not() {
        // The careful model is right four times in five; where it is wrong, the helper is right.
        let grades: Vec<usize> = (0..300).map(|i| i % 3).collect();
        let careful = |i: usize| if i.is_multiple_of(5) { on((i + 1) % 3, 0.6) } else { on(i % 3, 0.8) };
        let helper = |i: usize| if i.is_multiple_of(7) { EVEN } else { on(i % 3, 0.7) };
        let guesser = |i: usize| on(i * i / 7 % 3, 0.7);
        let fit = |quick: &dyn Fn(usize) -> [f32; 3]| {
            Joint::fit(&(0..300).map(|i| (careful(i), quick(i))).collect::<Vec<_>>(), &grades)
        };
        assert!(fit(&helper).weight > 0.3, "{:?}", fit(&helper));
        assert!(fit(&guesser).weight < 0.1, "{:?}", fit(&guesser));
        assert_eq!(Joint::fit(&[], &[]).weight, 0.0);
    }
}
