//! Remembers verdicts by the text's hash, so that a wire story carried by forty papers is scored once.

use std::collections::{HashMap, HashSet};
use std::num::NonZeroUsize;

use lru::LruCache;

use super::{ClassifyConfig, ModelInfo, ScoreError, Scored, Scorer, Text};
use crate::item::{Identity, Reason, Verdict};

/// A scorer with a bounded memory of what it said.
pub struct Cached<S> {
    inner: S,
    seen: Option<LruCache<Identity, Verdict>>,
}

impl<S: Scorer> Cached<S> {
    /// Wraps `inner`; `cache_items = 0` remembers nothing.
    pub fn new(inner: S, config: &ClassifyConfig) -> Self {
        Self { inner, seen: NonZeroUsize::new(config.cache_items).map(LruCache::new) }
    }
}

impl<S: Scorer> Scorer for Cached<S> {
    fn model(&self) -> &ModelInfo {
        self.inner.model()
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let Some(seen) = &mut self.seen else { return self.inner.score(texts) };
        let keys: Vec<Identity> = texts.iter().map(|t| Identity::of(&[&t.title, &t.summary])).collect();
        let mut verdicts: Vec<Option<Verdict>> = keys.iter().map(|key| seen.get(key).cloned()).collect();
        // Copies of a wire story often come in one batch: the first stands for all of them.
        let mut first = HashSet::new();
        let missing: Vec<usize> =
            (0..texts.len()).filter(|&i| verdicts[i].is_none() && first.insert(keys[i])).collect();
        let asked: Vec<Text> = missing.iter().map(|&i| texts[i].clone()).collect();
        let mut fresh = HashMap::new();
        for (i, verdict) in missing.into_iter().zip(self.inner.score(&asked)?) {
            seen.put(keys[i], verdict.clone());
            fresh.insert(keys[i], verdict);
        }
        for (verdict, key) in verdicts.iter_mut().zip(&keys).filter(|(verdict, _)| verdict.is_none()) {
            *verdict = fresh.get(key).cloned();
        }
        Ok(verdicts.into_iter().flatten().collect())
    }

    // Past the cache: the variants that an explanation tries are never seen again.
    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        self.inner.explain(scored)
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::shipped;
    use super::super::worker::tests::Fake;
    use super::*;

    #[test]
    fn a_text_seen_before_is_not_scored_again() {
        let mut cached = Cached::new(Fake::default(), &shipped());
        let texts = [Text::new("a", ""), Text::new("bb", "")];
        let first = cached.score(&texts).expect("scores");
        let again = cached.score(&[texts[1].clone(), Text::new("ccc", ""), texts[0].clone()]).expect("scores");
        assert_eq!(cached.inner.scored, 3);
        assert_eq!((&again[0], &again[2]), (&first[1], &first[0]));
    }

    #[test]
    fn equal_texts_of_one_batch_are_scored_once() {
        // Even where the memory is too small for the batch.
        for cache_items in [1, 8192] {
            let config = ClassifyConfig { cache_items, ..shipped() };
            let mut cached = Cached::new(Fake::default(), &config);
            let texts = ["a", "bb", "a", "ccc", "bb", "a"].map(|title| Text::new(title, ""));
            let scores: Vec<f32> = cached.score(&texts).expect("scores").iter().map(Verdict::score).collect();
            assert_eq!(scores, [0.1, 0.2, 0.1, 0.3, 0.2, 0.1]);
            assert_eq!(cached.inner.scored, 3);
        }
    }
}
