//! Metrics of ranked and thresholded scores. Pure; each is the textbook's definition.

/// Average precision: the mean of the precision at each positive, in order of falling score. Items of equal score count as
/// one step, so their order does not matter. 0 when there is no positive.
pub fn average_precision(scores: &[f32], positive: &[bool]) -> f64 {
    let mut ranked: Vec<(f32, bool)> = scores.iter().copied().zip(positive.iter().copied()).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (mut hits, mut seen, mut area) = (0_usize, 0_usize, 0.0);
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        let new = tied.iter().filter(|(_, positive)| *positive).count();
        seen += tied.len();
        hits += new;
        area += new as f64 * hits as f64 / seen as f64;
    }
    if hits == 0 { 0.0 } else { area / hits as f64 }
}

/// Precision, recall and their harmonic mean at one threshold.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AtThreshold {
    /// Share of alerts that are right; 0 without alerts.
    pub precision: f64,
    /// Share of positives that are alerts; 0 without positives.
    pub recall: f64,
    /// Harmonic mean of the two.
    pub f1: f64,
}

/// Scores at or above `threshold` are alerts.
pub fn at_threshold(scores: &[f32], positive: &[bool], threshold: f32) -> AtThreshold {
    let alerts = scores.iter().filter(|&&s| s >= threshold).count();
    let positives = positive.iter().filter(|&&p| p).count();
    let hits = scores.iter().zip(positive).filter(|&(&s, &p)| p && s >= threshold).count();
    let share = |part: usize, whole: usize| if whole == 0 { 0.0 } else { part as f64 / whole as f64 };
    AtThreshold {
        precision: share(hits, alerts),
        recall: share(hits, positives),
        f1: share(2 * hits, alerts + positives),
    }
}

/// Expected calibration error over ten bins of equal width: the gap between mean score and share of positives, weighted by
/// the items in the bin.
pub fn calibration_error(scores: &[f32], positive: &[bool]) -> f64 {
    reliability(scores, positive).iter().map(|bin| bin.items as f64 * (bin.score - bin.positives).abs()).sum::<f64>()
        / scores.len().max(1) as f64
}

/// One bin of a reliability diagram.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Bin {
    /// Items whose score lies in the bin.
    pub items: usize,
    /// Their mean score.
    pub score: f64,
    /// The share of them that is positive.
    pub positives: f64,
}

/// Ten bins of equal width over 0–1.
pub fn reliability(scores: &[f32], positive: &[bool]) -> [Bin; 10] {
    let mut bins = [Bin::default(); 10];
    for (&score, &positive) in scores.iter().zip(positive) {
        let bin = &mut bins[((score * 10.0) as usize).min(9)];
        bin.items += 1;
        bin.score += f64::from(score);
        bin.positives += f64::from(u8::from(positive));
    }
    for bin in &mut bins {
        let items = bin.items.max(1) as f64;
        (bin.score, bin.positives) = (bin.score / items, bin.positives / items);
    }
    bins
}

/// Mean over the classes that occur in `truth` of each class's F1.
pub fn macro_f1<T: Copy + PartialEq>(guess: &[T], truth: &[T], classes: &[T]) -> f64 {
    let f1 = |class: T| {
        let count = |of: &dyn Fn(T, T) -> bool| guess.iter().zip(truth).filter(|&(&g, &t)| of(g, t)).count();
        let (right, said, there) =
            (count(&|g, t| g == class && t == class), count(&|g, _| g == class), count(&|_, t| t == class));
        (there > 0).then(|| 2.0 * right as f64 / (said + there) as f64)
    };
    let each: Vec<f64> = classes.iter().filter_map(|&class| f1(class)).collect();
    if each.is_empty() { 0.0 } else { each.iter().sum::<f64>() / each.len() as f64 }
}

/// The threshold with the best F1, halfway between the scores it parts.
pub fn best_f1_threshold(scores: &[f32], positive: &[bool]) -> f32 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(|a, b| b.total_cmp(a));
    sorted.dedup();
    let halfway = |i: usize| (sorted[i] + sorted.get(i + 1).copied().unwrap_or(0.0)) / 2.0;
    let f1 = |&t: &f32| at_threshold(scores, positive, t).f1;
    (0..sorted.len()).map(halfway).max_by(|a, b| f1(a).total_cmp(&f1(b))).unwrap_or(0.5)
}

/// The threshold at which precision and recall lie furthest beyond what is `wanted` of each, the worse of the two counting;
/// the middle of all that are as good.
pub fn balanced_threshold(scores: &[f32], positive: &[bool], wanted: (f64, f64)) -> f32 {
    let mut sorted = scores.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.dedup();
    let margin = |threshold: f32| {
        let at = at_threshold(scores, positive, threshold);
        (at.precision - wanted.0).min(at.recall - wanted.1)
    };
    // Between two scores every threshold parts the items alike.
    let low = |i: usize| if i == 0 { 0.0 } else { sorted[i - 1] };
    let margins: Vec<f64> = sorted.iter().map(|&score| margin(score)).collect();
    let best = margins.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let as_good: Vec<usize> = (0..sorted.len()).filter(|&i| margins[i] >= best).collect();
    match (as_good.first(), as_good.last()) {
        (Some(&first), Some(&last)) => (low(first) + sorted[last]) / 2.0,
        _ => 0.5,
    }
}

/// A threshold that reaches `recall`: halfway between the lowest score that is needed for it and the next below, so that it does
/// not hang on a score's last digits.
pub fn threshold_for_recall(scores: &[f32], positive: &[bool], recall: f64) -> f32 {
    let mut hits: Vec<f32> = scores.iter().zip(positive).filter(|(_, p)| **p).map(|(s, _)| *s).collect();
    hits.sort_by(|a, b| b.total_cmp(a));
    let needed = (recall * hits.len() as f64).ceil() as usize;
    let Some(&lowest) = hits.get(needed.saturating_sub(1)) else { return 0.5 };
    let below = scores.iter().copied().filter(|&score| score < lowest).fold(0.0, f32::max);
    (lowest + below) / 2.0
}

/// The lowest threshold from which on precision stays at or above `precision`.
pub fn threshold_for_precision(scores: &[f32], positive: &[bool], precision: f64) -> f32 {
    let mut hits: Vec<f32> = scores.iter().zip(positive).filter(|(_, p)| **p).map(|(s, _)| *s).collect();
    hits.sort_by(|a, b| a.total_cmp(b));
    hits.into_iter().find(|&t| at_threshold(scores, positive, t).precision >= precision).unwrap_or(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: [f32; 5] = [0.9, 0.8, 0.7, 0.6, 0.1];
    const POSITIVE: [bool; 5] = [true, false, true, false, false];

    fn near(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-6
    }

    #[test]
    fn average_precision_by_hand() {
        assert!(near(average_precision(&SCORES, &POSITIVE), (1.0 + 2.0 / 3.0) / 2.0));
        assert!(near(average_precision(&[0.5; 4], &[true, false, false, true]), 0.5));
        assert!(near(average_precision(&[], &[]), 0.0));
    }

    #[test]
    fn precision_recall_and_f1_by_hand() {
        let at = at_threshold(&SCORES, &POSITIVE, 0.8);
        assert!(near(at.precision, 0.5) && near(at.recall, 0.5) && near(at.f1, 0.5));
        let none = at_threshold(&SCORES, &POSITIVE, 1.0);
        assert!(near(none.precision, 0.0) && near(none.f1, 0.0));
    }

    #[test]
    fn calibration_error_by_hand() {
        assert!(near(calibration_error(&[0.25; 4], &[true, false, false, false]), 0.0));
        assert!(near(calibration_error(&[1.0, 0.0], &[false, false]), 0.5));
        assert!(near(calibration_error(&[], &[]), 0.0));
    }

    #[test]
    fn macro_f1_by_hand() {
        assert!(near(macro_f1(&['a', 'a', 'b'], &['a', 'b', 'b'], &['a', 'b', 'c']), 2.0 / 3.0));
    }

    #[test]
    fn thresholds_by_hand() {
        assert!((best_f1_threshold(&SCORES, &POSITIVE) - 0.65).abs() < 1e-6);
        assert!((balanced_threshold(&SCORES, &POSITIVE, (0.6, 0.9)) - 0.65).abs() < 1e-6);
        assert!((balanced_threshold(&SCORES, &POSITIVE, (0.9, 0.4)) - 0.85).abs() < 1e-6);
        assert!((balanced_threshold(&[], &[], (0.9, 0.9)) - 0.5).abs() < 1e-6);
        assert!((threshold_for_recall(&SCORES, &POSITIVE, 0.9) - 0.65).abs() < 1e-6);
        assert!((threshold_for_recall(&SCORES, &POSITIVE, 0.5) - 0.85).abs() < 1e-6);
        assert_eq!(threshold_for_precision(&SCORES, &POSITIVE, 0.9), 0.9);
    }
}
