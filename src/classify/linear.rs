//! The linear model: hashed n-grams, one small matrix, no native library. Some ten microseconds an item.

use safetensors::tensor::Dtype;

use super::calibrate::{Temperatures, probabilities};
use super::features::{FEATURES, GROUPS, Group, visit};
use super::manifest::{CascadeRule, Kind, Manifest};
use super::package::Package;
use super::{ClassifyConfig, ModelInfo, ScoreError, Scorer, Text, verdict};
use crate::item::Verdict;

/// Bits of a hash that choose a grade's bucket: 2^18 buckets of 4 bytes are 1 MiB, which stays in the processor's cache.
pub const GRADE_BITS: u32 = 18;
/// Bits of a hash that choose a stage's bucket; stages rest on few words, so fewer will do.
pub const STAGE_BITS: u32 = 15;
/// Lanes of a grade bucket: three grades and one of padding, so that a bucket is one aligned word.
pub const GRADE_LANES: usize = 4;
/// Lanes of a stage bucket: six stages and two of padding.
pub const STAGE_LANES: usize = 8;
/// How much each [`Group`] counts: the title is what an item is mainly about.
pub const GROUP_SCALE: [f32; GROUPS] = [1.0, 1.0, 0.7, 0.7];

/// A linear model as it is loaded: small integers and one scale for each output.
pub struct LinearModel {
    grade: Vec<[i8; GRADE_LANES]>,
    grade_scale: [f32; 3],
    grade_bias: [f32; 3],
    stage: Vec<[i8; STAGE_LANES]>,
    stage_scale: [f32; 6],
    stage_bias: [f32; 6],
}

impl LinearModel {
    /// Reads and checks the weights.
    pub fn load(package: &Package) -> Result<Self, ScoreError> {
        let tensors = package.tensors()?;
        let table = |name, bits: u32, lanes| -> Result<Vec<u8>, ScoreError> {
            Ok(package.tensor(&tensors, name, Dtype::I8, &[1 << bits, lanes])?.data().to_vec())
        };
        let grade = table("grade.weight", GRADE_BITS, GRADE_LANES)?;
        let stage = table("stage.weight", STAGE_BITS, STAGE_LANES)?;
        Ok(Self {
            grade: grade.chunks_exact(GRADE_LANES).map(|b| std::array::from_fn(|i| b[i] as i8)).collect(),
            grade_scale: array(package.floats(&tensors, "grade.scale", &[3])?),
            grade_bias: array(package.floats(&tensors, "grade.bias", &[3])?),
            stage: stage.chunks_exact(STAGE_LANES).map(|b| std::array::from_fn(|i| b[i] as i8)).collect(),
            stage_scale: array(package.floats(&tensors, "stage.scale", &[6])?),
            stage_bias: array(package.floats(&tensors, "stage.bias", &[6])?),
        })
    }

    /// Grade and stage logits of one text. Allocates nothing.
    pub fn logits(&self, text: &Text) -> ([f32; 3], [f32; 6]) {
        let mut grade = [[0_i32; GRADE_LANES]; GROUPS];
        let mut stage = [[0_i32; STAGE_LANES]; GROUPS];
        let mut seen = [0_u32; GROUPS];
        visit(text, |group, hash| {
            let g = group as usize;
            seen[g] += 1;
            add(&mut grade[g], &self.grade[(hash >> (32 - GRADE_BITS)) as usize]);
            if matches!(group, Group::TitleWords | Group::SummaryWords) {
                add(&mut stage[g], &self.stage[(hash >> (32 - STAGE_BITS)) as usize]);
            }
        });
        let weigh = weights(&seen);
        let total = |sums: &dyn Fn(usize) -> i32| (0..GROUPS).map(|g| weigh[g] * sums(g) as f32).sum::<f32>();
        (
            std::array::from_fn(|i| self.grade_bias[i] + self.grade_scale[i] * total(&|g| grade[g][i])),
            std::array::from_fn(|i| self.stage_bias[i] + self.stage_scale[i] * total(&|g| stage[g][i])),
        )
    }
}

/// What one n-gram of each group counts, given how many the text has of each.
pub fn weights(seen: &[u32; GROUPS]) -> [f32; GROUPS] {
    std::array::from_fn(|g| GROUP_SCALE[g] / (seen[g].max(1) as f32).sqrt())
}

fn add<const N: usize>(sums: &mut [i32; N], bucket: &[i8; N]) {
    for (sum, &weight) in sums.iter_mut().zip(bucket) {
        *sum += i32::from(weight);
    }
}

/// A vector whose length has been checked, as an array.
fn array<const N: usize>(values: Vec<f32>) -> [f32; N] {
    std::array::from_fn(|i| values.get(i).copied().unwrap_or_default())
}

/// The linear model as a [`Scorer`].
pub struct LinearScorer {
    model: LinearModel,
    temperatures: Temperatures,
    info: ModelInfo,
    /// When this model's word is final in front of a transformer.
    pub cascade: Option<CascadeRule>,
}

impl LinearScorer {
    /// Loads a model, with the thresholds that `config` selects.
    pub fn load(package: &Package, config: &ClassifyConfig) -> Result<Self, ScoreError> {
        let manifest = Manifest::parse(&package.name, &package.manifest, Kind::Linear, FEATURES)?;
        manifest.check_weights(&package.name, &package.weights)?;
        Ok(Self {
            model: LinearModel::load(package)?,
            temperatures: manifest.temperatures(),
            info: ModelInfo::new(&manifest.id, &manifest.thresholds, config),
            cascade: manifest.cascade,
        })
    }
}

impl Scorer for LinearScorer {
    fn model(&self) -> &ModelInfo {
        &self.info
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        let one = |text| {
            let (grade, stage) = self.model.logits(text);
            verdict(probabilities(&grade, self.temperatures.grade), &stage.map(|x| x / self.temperatures.stage))
        };
        texts.iter().map(one).collect()
    }
}
