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

use super::calibrate::{Temperatures, probabilities};
use super::manifest::{Kind, Manifest};
use super::package::Package;
use super::{ClassifyConfig, Logits, ModelInfo, ScoreError, Scorer, Text, finite, verdict};
use crate::item::{Embedding, GradeProbs, Verdict};
pub use alloc::keep_buffers;
use encode::shared_out;
pub use encode::{Encoded, Encoder, bucketed};
use lanes::{BatchSize, Lanes};
pub use network::{Batch, Network, is_of_stage, is_tuned};
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
    temperatures: Temperatures,
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
        let stage_layers = manifest.stage_layers.unwrap_or(0);
        let mut network = Network::open(base, stage_layers)?;
        wanted.check(&package.name, &network.base)?;
        network.overlay(package, tuned_layers, stage_layers)?;
        network.vs.freeze();
        let precision = Precision::best(config.int8);
        let packed = Packed::new(&network, precision)?;
        Ok(Self {
            lanes: Lanes::new(packed, config.threads),
            space: manifest.weights_blake3.clone(),
            encoder: Encoder::open(base, max_tokens)?,
            temperatures: manifest.temperatures(),
            batch: BatchSize { items: config.batch_items, tokens: config.batch_tokens },
            info: ModelInfo::new(&manifest.id, &manifest.thresholds, config),
        })
    }

    /// Hash of the tuned weights.
    pub fn weights(&self) -> &str {
        &self.space
    }

    /// Calibrated probabilities of the grades, and calibrated logits of the stages, of each text.
    pub fn probabilities(&mut self, texts: &[Text]) -> Result<Logits, ScoreError> {
        let temperatures = self.temperatures;
        let both = self.lanes.run(&self.encoder.encode_all(texts), self.batch, |network, batch| {
            Ok(calibrated(&network.pass(batch)?, temperatures)?.collect())
        });
        Ok(both?.into_iter().unzip())
    }
}

impl Scorer for BertScorer {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let (temperatures, space) = (self.temperatures, &self.space);
        self.lanes.run(&self.encoder.encode_all(texts), self.batch, |network, batch| {
            let pass = network.pass(batch)?;
            let about: Vec<f32> = pass.about.reshape([-1]).try_into().map_err(inference)?;
            let about = about.chunks_exact(about.len() / batch.len().max(1));
            let texts = calibrated(&pass, temperatures)?.zip(about);
            texts
                .map(|((grade, stage), about)| {
                    let verdict = verdict(grade, &stage)?;
                    Ok(Verdict { embedding: Embedding::of(space, about), ..verdict })
                })
                .collect()
        })
    }

    fn grades(&mut self, texts: &[Text]) -> Result<Vec<GradeProbs>, ScoreError> {
        let temperature = self.temperatures.grade;
        self.lanes.run(&self.encoder.encode_all(texts), self.batch, |network, batch| {
            let grades = graded(&network.grades(batch)?, temperature)?;
            grades.iter().map(|grade| finite(grade).map(|&grade| GradeProbs::from_order(grade))).collect()
        })
    }
}

/// Probabilities of the grades, of each row of grade logits.
fn graded(logits: &tch::Tensor, temperature: f32) -> Result<Vec<[f32; 3]>, ScoreError> {
    Ok(rows::<3>(logits)?.iter().map(|row| probabilities(row, temperature)).collect())
}

/// Probabilities of the grades and calibrated logits of the stages, of each text of a pass.
fn calibrated(pass: &Pass, of: Temperatures) -> Result<impl Iterator<Item = ([f32; 3], [f32; 6])>, ScoreError> {
    let stages = rows::<6>(&pass.stages)?.into_iter().map(move |row| row.map(|x| x / of.stage));
    Ok(graded(&pass.grades, of.grade)?.into_iter().zip(stages))
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

    /// Grade and stage logits of some texts as they are served, and as rust-bert has them.
    fn both_ways(network: &Network, precision: Precision) -> [(tch::Tensor, tch::Tensor); 2] {
        let encoder = Encoder::open(&shipped().base_dir(), 80).expect("opens");
        let texts = ["Envoys resume truce talks", "x", "", "Rain"].map(|title| {
            encoder.encode(&Text::new(title, "Officials from both sides met for six hours in the lakeside town."))
        });
        let texts: Vec<&Encoded> = texts.iter().collect();
        let packed = Packed::new(network, precision).expect("packs");
        let Pass { grades, stages, .. } = no_grad(|| packed.pass(&texts)).expect("runs");
        [(grades, stages), no_grad(|| network.logits(&Batch::of(&texts), false)).expect("runs")]
    }

    fn apart(a: &tch::Tensor, b: &tch::Tensor) -> f64 {
        (a - b).abs().max().double_value(&[])
    }

    #[test]
    fn the_serving_pass_is_rust_berts() {
        for own in [0, 3] {
            let mut network =
                Network::open(&shipped().base_dir(), own).expect("the base model is there: run `make setup`");
            let [(grades, stages), there] = both_ways(&network, Precision::Single);
            assert!(apart(&grades, &there.0) < 1e-4 && apart(&stages, &there.1) < 1e-4);

            // Layers at random, as the stage's own are until now, are rounded worse than trained ones.
            network.branch_off().expect("branches off");
            let [(grades, stages), there] = both_ways(&network, Precision::Eight);
            let (grade, stage) = (apart(&grades, &there.0), apart(&stages, &there.1));
            assert!(grade > 0.0 && grade < 0.1 && stage < 0.1, "{grade} {stage}");
        }
    }
}
