//! Temperature scaling: one number that makes softmax outputs probabilities.

use super::softmax;

/// The probabilities of the grades that `logits` stand for, at `temperature`.
pub fn probabilities(logits: &[f32; 3], temperature: f32) -> [f32; 3] {
    softmax(&logits.map(|x| x / temperature))
}

/// Mean negative log-likelihood of the grades under `logits / temperature`.
pub fn loss(logits: &[[f32; 3]], grades: &[usize], temperature: f32) -> f64 {
    let one =
        |(logits, &grade): (&[f32; 3], &usize)| -f64::from(probabilities(logits, temperature)[grade].max(1e-12)).ln();
    logits.iter().zip(grades).map(one).sum::<f64>() / logits.len().max(1) as f64
}

/// The temperature between 0.05 and 20 with the least [`loss`], by golden-section search on its logarithm.
pub fn temperature(logits: &[[f32; 3]], grades: &[usize]) -> f32 {
    const GOLDEN: f32 = 0.618_034;
    let at = |log_t: f32| loss(logits, grades, log_t.exp());
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
        assert!(temperature(&[], &[]).is_finite());
    }
}
