//! The transformer: MiniLM in rust-bert with the tuned layers laid over the base, and two heads on the mean of its
//! token states.

mod alloc;
mod attention;
mod encode;
mod lanes;
mod network;
mod packed;
mod product;
mod rounding;

use std::path::Path;

use super::calibrate::probabilities;
use super::manifest::{Kind, Manifest, same};
use super::package::Package;
use super::{ClassifyConfig, Logits, ModelInfo, ScoreError, Scorer, Text, verdict};
use crate::item::{Embedding, Verdict};
pub use alloc::keep_buffers;
pub use encode::{Encoded, Encoder, bucketed};
use lanes::{BatchSize, Lanes};
pub use network::{Batch, Network, is_tuned};
pub use packed::{Packed, Pass};
pub use product::Precision;

/// Name and version of how text goes in: title and summary as a pair, lower-cased word pieces, cut to the manifest's
/// `max_tokens`, mean of the token states. Raise the number with any change to it.
pub const FEATURES: &str = "wordpiece-pair-mean/1";

/// The transformer as a [`Scorer`].
pub struct BertScorer {
    lanes: Lanes,
    /// Tells directions of these weights from those of others.
    space: String,
    encoder: Encoder,
    temperature: f32,
    batch: BatchSize,
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
        // The lanes are the threads.
        set_threads(1);
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
        network.overlay(package, tuned_layers)?;
        network.vs.freeze();
        let precision = Precision::best(config.int8);
        let packed = Packed::new(&network.vs, network.layers, network.heads, precision)?;
        Ok(Self {
            lanes: Lanes::new(packed, config.threads),
            space: manifest.weights_blake3.clone(),
            encoder: Encoder::open(base, max_tokens)?,
            temperature: manifest.temperature,
            batch: BatchSize { items: config.batch_items, tokens: config.batch_tokens },
            info: ModelInfo::new(&manifest.id, &manifest.thresholds, config),
        })
    }

    /// Hash of the tuned weights.
    pub fn weights(&self) -> &str {
        &self.space
    }

    /// Calibrated probabilities of the grades, and logits of the stages, of each text.
    pub fn probabilities(&mut self, texts: &[Text]) -> Result<Logits, ScoreError> {
        let temperature = self.temperature;
        let both = self.lanes.run(&self.encoder.encode_all(texts), self.batch, |network, batch| {
            Ok(calibrated(&network.pass(batch)?, temperature)?.collect())
        });
        Ok(both?.into_iter().unzip())
    }
}

impl Scorer for BertScorer {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let (temperature, space) = (self.temperature, &self.space);
        self.lanes.run(&self.encoder.encode_all(texts), self.batch, |network, batch| {
            let pass = network.pass(batch)?;
            let about: Vec<f32> = pass.about.reshape([-1]).try_into().map_err(inference)?;
            let about = about.chunks_exact(about.len() / batch.len().max(1));
            let texts = calibrated(&pass, temperature)?.zip(about);
            texts
                .map(|((grade, stage), about)| {
                    let verdict = verdict(grade, &stage)?;
                    Ok(Verdict { embedding: Embedding::of(space, about), ..verdict })
                })
                .collect()
        })
    }
}

/// Probabilities of the grades and logits of the stages, of each text of a pass.
fn calibrated(pass: &Pass, temperature: f32) -> Result<impl Iterator<Item = ([f32; 3], [f32; 6])>, ScoreError> {
    let rows = rows::<3>(&pass.grades)?.into_iter().zip(rows::<6>(&pass.stages)?);
    Ok(rows.map(move |(grade, stage)| (probabilities(&grade, temperature), stage)))
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
    use tch::no_grad;

    use super::super::config::tests::shipped;
    use super::*;

    #[test]
    fn the_serving_pass_is_rust_berts() {
        let config = shipped();
        let network = Network::open(&config.base_dir()).expect("the base model is there: run `make setup`");
        let packed = |precision| Packed::new(&network.vs, network.layers, network.heads, precision).expect("packs");
        let encoder = Encoder::open(&config.base_dir(), 80).expect("opens");
        let texts = ["Envoys resume truce talks", "x", "", "Rain"].map(|title| {
            encoder.encode(&Text::new(title, "Officials from both sides met for six hours in the lakeside town."))
        });
        let texts: Vec<&Encoded> = texts.iter().collect();
        let pass = |precision| no_grad(|| packed(precision).pass(&texts)).expect("runs");
        let Pass { grades: grade, stages: stage, .. } = pass(Precision::Single);
        let (grade_there, stage_there) = no_grad(|| network.logits(&Batch::of(&texts), false)).expect("runs");
        let apart = |a: &tch::Tensor, b: &tch::Tensor| (a - b).abs().max().double_value(&[]);
        assert!(apart(&grade, &grade_there) < 1e-4 && apart(&stage, &stage_there) < 1e-4);

        let Pass { grades: rounded, stages: rounded_stage, .. } = pass(Precision::Eight);
        let (apart, stage_apart) = (apart(&grade, &rounded), apart(&stage, &rounded_stage));
        assert!(apart > 0.0 && apart < 0.1 && stage_apart < 0.1, "{apart} {stage_apart}");
    }
}
