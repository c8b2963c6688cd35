//! Several batches at once, each on a thread of its own. libtorch can share one batch between threads instead, but they then
//! wait for each other at every step, by spinning, which a machine with other work to do makes many times slower.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::no_grad;

use super::super::ScoreError;
use super::Encoded;
use super::packed::Packed;

/// A network for each thread; they share the weights.
pub struct Lanes(Vec<Packed>);

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchSize {
    /// Texts at most.
    pub items: usize,
    /// Tokens at most, unless it is one text alone.
    pub tokens: usize,
}

impl Lanes {
    /// As many lanes as `threads`; 0: one for each processor.
    pub fn new(network: Packed, threads: usize) -> Self {
        let processors = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let lanes = if threads == 0 { processors() } else { threads };
        Self(std::iter::repeat_with(|| network.shared()).take(lanes).collect())
    }

    /// Runs `pass` on batches of texts of like length; what it gives for each text, in the order of the texts.
    pub fn run<T: Send>(
        &mut self,
        texts: &[Encoded],
        size: BatchSize,
        pass: impl Fn(&Packed, &[&Encoded]) -> Result<Vec<T>, ScoreError> + Sync,
    ) -> Result<Vec<T>, ScoreError> {
        let batches = even(texts, size, self.0.len().max(1));
        let taken = AtomicUsize::new(0);
        let next = || batches.get(taken.fetch_add(1, Ordering::Relaxed));
        let work = |network: &Packed| {
            let mut done = Vec::new();
            while let Some(batch) = next() {
                let items: Vec<&Encoded> = batch.iter().map(|&i| &texts[i]).collect();
                done.extend(batch.iter().copied().zip(no_grad(|| pass(network, &items))?));
            }
            Ok(done)
        };
        let mut done = self.spread(batches.len(), &work)?;
        done.sort_unstable_by_key(|&(place, _)| place);
        Ok(done.into_iter().map(|(_, result)| result).collect())
    }

    /// Has up to `most` lanes do `work`, the first of them on this thread.
    fn spread<T: Send>(
        &mut self,
        most: usize,
        work: &(impl Fn(&Packed) -> Result<Vec<T>, ScoreError> + Sync),
    ) -> Result<Vec<T>, ScoreError> {
        let Some((here, others)) = self.0.split_first_mut() else { return Ok(Vec::new()) };
        std::thread::scope(|scope| {
            let others = others.iter_mut().take(most.saturating_sub(1));
            let others: Vec<_> = others.map(|lane| scope.spawn(move || work(lane))).collect();
            let mut done = work(here)?;
            for other in others {
                // A panic goes on to whoever guards the scorer.
                done.extend(other.join().unwrap_or_else(|panic| resume_unwind(panic))?);
            }
            Ok(done)
        })
    }
}

/// Indexes of `texts` in batches of like length, the longest first, within `size`: as many batches as come out even on `lanes`, and
/// about as many tokens in each, so that the lanes end together. (A lane without work waits for the one that has some.)
fn even(texts: &[Encoded], size: BatchSize, lanes: usize) -> Vec<Vec<usize>> {
    let length = |i: usize| texts[i].ids.len();
    let all: usize = (0..texts.len()).map(length).sum();
    let rounds = texts.len().div_ceil(size.items * lanes).max(all.div_ceil(size.tokens * lanes)).max(1);
    let share = all.div_ceil(rounds * lanes);
    let mut order: Vec<usize> = (0..texts.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(length(i)));
    let mut batches: Vec<Vec<usize>> = Vec::new();
    let (mut open, mut given) = (0, 0);
    for i in order {
        // A text goes where most of it belongs.
        let (due, after) = (given + length(i) / 2 >= batches.len() * share, open + length(i));
        match batches.last_mut() {
            Some(batch) if !due && batch.len() < size.items && after <= size.tokens => {
                batch.push(i);
                open = after;
            }
            _ => {
                batches.push(vec![i]);
                open = length(i);
            }
        }
        given += length(i);
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_len(n: usize) -> Encoded {
        Encoded { ids: vec![1; n], segments: vec![0; n] }
    }

    fn tokens(texts: &[Encoded], lanes: usize) -> Vec<usize> {
        let batches = even(texts, BatchSize { items: 8, tokens: 400 }, lanes);
        assert!(batches.iter().all(|batch| batch.len() <= 8), "{batches:?}");
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..texts.len()).collect::<Vec<_>>());
        batches.iter().map(|batch| batch.iter().map(|&i| texts[i].ids.len()).sum()).collect()
    }

    #[test]
    fn lanes_get_as_many_batches_of_like_work() {
        let texts: Vec<_> = (0..25).map(|n| of_len(24 + 2 * (n * 7 % 25))).collect();
        assert_eq!(tokens(&texts, 2), [286, 304, 302, 308]);
        assert_eq!(tokens(&texts[..2], 2).len(), 2);
        assert_eq!(tokens(&texts[..1], 2).len(), 1);
        assert_eq!(tokens(&[], 2), [0; 0]);
    }

    #[test]
    fn both_bounds_hold() {
        let long: Vec<_> = (0..9).map(|_| of_len(150)).collect();
        assert!(tokens(&long, 1).iter().all(|&tokens| tokens <= 400));
        assert_eq!(tokens(&[of_len(500), of_len(3)], 1), [500, 3]);
        let short: Vec<_> = (0..20).map(|n| of_len(if n < 4 { 80 } else { 3 })).collect();
        assert!(tokens(&short, 2).len() >= 4);
    }
}
