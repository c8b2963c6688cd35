//! Several batches at once, each on a thread of its own. libtorch can share one batch between threads instead, but they then
//! wait for each other at every step, by spinning, which a machine with other work to do makes many times slower.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::no_grad;

use super::super::ScoreError;
use super::packed::Packed;
use super::{Encoded, shared_out};

/// A network for each thread; they share the weights.
pub struct Lanes(Vec<Packed>);

/// Bounds of one batch.
#[derive(Debug, Clone, Copy)]
pub struct BatchSize {
    /// Texts at most.
    pub items: usize,
    /// Padded tokens at most, unless it is one text alone.
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

/// Times that every lane is given a batch, at least: the first batches are of the longest texts, and a lane that had them is given
/// the shortest behind them. More would make batches so small that they are slower.
const ROUNDS: usize = 2;

/// Indexes of `texts` in batches of like length, the longest first, within `size`: as many batches as come out even on `lanes`, with
/// as many texts in each, so that the lanes end together. (A lane without work waits for the one that has some.)
fn even(texts: &[Encoded], size: BatchSize, lanes: usize) -> Vec<Vec<usize>> {
    let rounds = texts.len().div_ceil(size.items.saturating_mul(lanes)).max(ROUNDS);
    let mut batches = shared_out(texts, rounds * lanes, size.tokens);
    batches.reverse();
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_len(n: usize) -> Encoded {
        Encoded { ids: vec![1; n], segments: vec![0; n] }
    }

    fn tokens(texts: &[Encoded], lanes: usize) -> Vec<usize> {
        let batches = even(texts, BatchSize { items: 8, tokens: 500 }, lanes);
        assert!(batches.iter().all(|batch| batch.len() <= 8), "{batches:?}");
        let mut all = batches.concat();
        all.sort_unstable();
        assert_eq!(all, (0..texts.len()).collect::<Vec<_>>());
        batches.iter().map(|batch| batch.iter().map(|&i| texts[i].ids.len()).sum()).collect()
    }

    #[test]
    fn lanes_get_as_much_work() {
        let texts: Vec<_> = (0..25).map(|n| of_len(24 + 2 * (n * 7 % 25))).collect();
        let work = tokens(&texts, 2);
        // The lane with the first batch is given the last.
        let apart = (work[0] + work[3]).abs_diff(work[1] + work[2]);
        assert!(work.len() == 4 && apart <= 72, "{work:?}");
        assert_eq!(tokens(&texts[..2], 2).len(), 2);
        assert_eq!(tokens(&texts[..1], 2).len(), 1);
        assert_eq!(tokens(&[], 2), [0; 0]);
    }

    #[test]
    fn both_bounds_hold() {
        let long: Vec<_> = (0..9).map(|_| of_len(150)).collect();
        assert!(tokens(&long, 1).iter().all(|&tokens| tokens <= 500));
        assert_eq!(tokens(&[of_len(600), of_len(3)], 1), [600, 3]);
    }

    #[test]
    fn no_lane_is_left_a_batch_over() {
        for (n, lanes) in [(15, 2), (20, 2), (32, 2), (128, 2), (64, 4), (512, 3)] {
            let texts: Vec<_> = (0..n).map(|n| of_len(8 + n * 29 % 42)).collect();
            assert_eq!(tokens(&texts, lanes).len() % lanes, 0, "{n} texts, {lanes} lanes");
        }
    }
}
