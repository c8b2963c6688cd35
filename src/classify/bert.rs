//! The transformer: MiniLM in rust-bert with the tuned layers laid over the base, and two heads on the mean of its
//! token states.

mod alloc;
mod encode;
mod network;
mod packed;

use std::path::Path;

use tch::no_grad;

use super::calibrate::probabilities;
use super::manifest::{Kind, Manifest, same};
use super::package::Package;
use super::{ClassifyConfig, ModelInfo, ScoreError, Scorer, Text, verdict};
use crate::item::{Embedding, Verdict};
pub use alloc::keep_buffers;
pub use encode::{Encoded, Encoder, bucketed};
pub use network::{Batch, Network, is_tuned};
pub use packed::Packed;

/// Name and version of how text goes in: title and summary as a pair, lower-cased word pieces, cut to the manifest's
/// `max_tokens`, mean of the token states. Raise the number with any change to it.
pub const FEATURES: &str = "wordpiece-pair-mean/1";

/// The transformer as a [`Scorer`].
pub struct BertScorer {
    network: Packed,
    /// The base as it is: made to tell what texts are about, which the tuned layers have unlearned.
    base: Packed,
    base_sha256: String,
    encoder: Encoder,
    temperature: f32,
    batch_items: usize,
    batch_tokens: usize,
    info: ModelInfo,
}

impl BertScorer {
    /// Loads base and tuned weights, checking every hash. Build it on the thread that will run it.
    pub fn load(config: &ClassifyConfig) -> Result<Self, ScoreError> {
        Self::from_package(&Package::transformer(config)?, &config.base_dir(), config)
    }

    /// Loads the tuned part from `package` and the base from `base`.
    pub fn from_package(package: &Package, base: &Path, config: &ClassifyConfig) -> Result<Self, ScoreError> {
        keep_buffers();
        set_threads(config.threads);
        let manifest = Manifest::parse(&package.name, &package.manifest, Kind::Transformer, FEATURES)?;
        manifest.check_weights(&package.name, &package.weights)?;
        let incomplete = || ScoreError::Manifest {
            model: package.name.clone(),
            reason: "a transformer's manifest needs base, max_tokens and tuned_layers".into(),
        };
        let wanted = manifest.base.as_ref().ok_or_else(incomplete)?;
        let max_tokens = manifest.max_tokens.ok_or_else(incomplete)?;
        let tuned_layers = manifest.tuned_layers.ok_or_else(incomplete)?;
        let mut network = Network::open(base)?;
        same(&package.name, "base.sha256", &wanted.sha256, &network.base_sha256)?;
        let base_layers = Packed::new(&network.vs, network.layers, network.heads)?.with_own_layers();
        network.overlay(package, tuned_layers)?;
        network.vs.freeze();
        Ok(Self {
            network: Packed::new(&network.vs, network.layers, network.heads)?,
            base: base_layers,
            base_sha256: network.base_sha256,
            encoder: Encoder::open(base, max_tokens)?,
            temperature: manifest.temperature,
            batch_items: config.batch_items,
            batch_tokens: config.batch_tokens,
            info: ModelInfo::new(&manifest, config),
        })
    }
}

impl Scorer for BertScorer {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let encoded: Vec<Encoded> = texts.iter().map(|text| self.encoder.encode(text)).collect();
        let mut verdicts: Vec<Option<Verdict>> = vec![None; texts.len()];
        for batch in bucketed(&encoded, self.batch_items, self.batch_tokens) {
            let items: Vec<&Encoded> = batch.iter().map(|&i| &encoded[i]).collect();
            let (grades, stages) = no_grad(|| self.network.logits(&items))?;
            for ((&i, grade), stage) in batch.iter().zip(rows::<3>(&grades)?).zip(rows::<6>(&stages)?) {
                verdicts[i] = Some(verdict(probabilities(&grade, self.temperature), &stage)?);
            }
        }
        Ok(verdicts.into_iter().flatten().collect())
    }

    fn embed(&mut self, text: &Text) -> Result<Option<Embedding>, ScoreError> {
        let pooled = no_grad(|| self.base.pooled(&[&self.encoder.encode(text)]))?;
        let values: Vec<f32> = pooled.reshape([-1]).try_into().map_err(inference)?;
        Ok(Embedding::of(&self.base_sha256, &values))
    }
}

/// The rows of an `[n, N]` tensor.
pub fn rows<const N: usize>(tensor: &tch::Tensor) -> Result<Vec<[f32; N]>, ScoreError> {
    let flat: Vec<f32> = tensor.reshape([-1]).try_into().map_err(inference)?;
    Ok(flat.chunks_exact(N).map(|row| std::array::from_fn(|i| row[i])).collect())
}

/// Says how many threads libtorch may use on this thread's behalf; 0: one for each processor.
pub fn set_threads(threads: usize) {
    let all = || std::thread::available_parallelism().map_or(1, usize::from);
    tch::set_num_threads(i32::try_from(if threads == 0 { all() } else { threads }).unwrap_or(1));
}

pub(crate) fn inference(error: impl std::fmt::Display) -> ScoreError {
    ScoreError::Inference(error.to_string().lines().next().unwrap_or_default().to_string())
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::shipped;
    use super::*;

    #[test]
    fn the_serving_pass_is_rust_berts() {
        let config = shipped();
        let network = Network::open(&config.base_dir()).expect("the base model is there: run `make setup`");
        let packed = Packed::new(&network.vs, network.layers, network.heads).expect("packs");
        let encoder = Encoder::open(&config.base_dir(), 80).expect("opens");
        let texts = ["Envoys resume truce talks", "x", "", "Rain"].map(|title| {
            encoder.encode(&Text::new(title, "Officials from both sides met for six hours in the lakeside town."))
        });
        let texts: Vec<&Encoded> = texts.iter().collect();
        let (grade, stage) = no_grad(|| packed.logits(&texts)).expect("runs");
        let (grade_there, stage_there) = no_grad(|| network.logits(&Batch::of(&texts), false)).expect("runs");
        let apart = |a: &tch::Tensor, b: &tch::Tensor| (a - b).abs().max().double_value(&[]);
        assert!(apart(&grade, &grade_there) < 1e-4 && apart(&stage, &stage_there) < 1e-4);
    }
}
