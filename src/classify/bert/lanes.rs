//! Several batches at once, each on a thread of its own. libtorch can share one batch between threads instead, but they then
//! wait for each other at every step, by spinning, which a machine with other work to do makes many times slower.

use std::num::NonZeroUsize;
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

use tch::no_grad;

use super::super::ScoreError;
use super::packed::Packed;
use super::{Encoded, bucketed};

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
        // Few texts are shared out too: no lane is idle while another has several.
        let items = size.items.min(texts.len().div_ceil(self.0.len().max(1)));
        let batches = bucketed(texts, items, size.tokens);
        let taken = AtomicUsize::new(0);
        // From the end, where the longest are: what is left for last is short, and the lanes end together.
        let next = || batches.iter().rev().nth(taken.fetch_add(1, Ordering::Relaxed));
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
