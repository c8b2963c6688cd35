//! Temperature scaling (Guo et al. 2017): one number that makes softmax outputs probabilities.

use super::softmax;

/// What a model's logits are divided by.
#[derive(Debug, Clone, Copy)]
pub struct Temperatures {
    /// Those of the grades.
    pub grade: f32,
    /// Those of the stages.
    pub stage: f32,
}

/// The probabilities of the classes that `logits` stand for, at `temperature`.
pub fn probabilities<const N: usize>(logits: &[f32; N], temperature: f32) -> [f32; N] {
    softmax(&logits.map(|x| x / temperature))
}

/// Mean negative log-likelihood of the classes under `logits / temperature`.
pub fn loss<const N: usize>(logits: &[[f32; N]], classes: &[usize], temperature: f32) -> f64 {
    let one =
        |(logits, &class): (&[f32; N], &usize)| -f64::from(probabilities(logits, temperature)[class].max(1e-12)).ln();
    logits.iter().zip(classes).map(one).sum::<f64>() / logits.len().max(1) as f64
}

/// The temperature between 0.05 and 20 with the least [`loss`], by golden-section search on its logarithm.
pub fn temperature<const N: usize>(logits: &[[f32; N]], classes: &[usize]) -> f32 {
    const GOLDEN: f32 = 0.618_034;
    let at = |log_t: f32| loss(logits, classes, log_t.exp());
    let (mut low, mut high) = (0.05_f32.ln(), 20_f32.ln());
    // 40 steps shrink the interval to a part in 10^8: beyond what f32 can tell apart.
    for _ in 0..40 {
        let (a, b) = (high - GOLDEN * (high - low), low + GOLDEN * (high - low));
        if at(a) < at(b) { high = b } else { low = a }
    }
    ((low + high) / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overconfident_logits_are_cooled() {
        // Right nine times in ten, but says it with odds of e^8.
        let logits = vec![[8.0, 0.0, -50.0]; 100];
        let grades: Vec<usize> = (0..100).map(|i| usize::from(i % 10 == 0)).collect();
        let t = temperature(&logits, &grades);
        assert!((f64::from(softmax(&[8.0 / t, 0.0, -50.0 / t])[0]) - 0.9).abs() < 0.01, "temperature {t}");
    }

    #[test]
    fn no_items_give_a_usable_temperature() {
        assert!(temperature::<3>(&[], &[]).is_finite());
    }
}
