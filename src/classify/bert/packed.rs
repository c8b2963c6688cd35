//! The forward pass for serving: rust-bert's network with rust-bert's weights, in fewer and larger steps. Texts of a batch
//! lie end to end without padding, query, key and value come from one product, and each activation is one operation
//! instead of five. `Network` stays what is trained and what this pass is tested against.

use tch::nn::VarStore;
use tch::{Kind, Tensor};

use super::super::ScoreError;
use super::attention::attend;
use super::product::{Precision, Product};
use super::{Encoded, inference};

/// Keeps the variance of a norm away from zero; BERT's value.
const EPSILON: f64 = 1e-12;

/// A network ready to serve. It shares the weights that it neither rearranges nor rounds.
pub struct Packed {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    norm: Affine,
    layers: Vec<Layer>,
    heads: i64,
    grade: Affine,
    stage: Affine,
}

/// What a pass gives, one row a text.
pub struct Pass {
    /// Grade logits, `[n, 3]`.
    pub grades: Tensor,
    /// Stage logits, `[n, 6]`.
    pub stages: Tensor,
    /// What the texts are about, `[n, width]`: the mean of the token states in front of the last layer, which turns them towards
    /// the grades.
    pub about: Tensor,
}

/// A matrix and a bias, or the scale and shift of a norm.
struct Affine {
    weight: Tensor,
    bias: Tensor,
}

impl Affine {
    fn linear(&self, x: &Tensor) -> Result<Tensor, ScoreError> {
        x.f_linear(&self.weight, Some(&self.bias)).map_err(inference)
    }

    fn norm(&self, x: &Tensor) -> Result<Tensor, ScoreError> {
        let size = self.bias.size();
        x.f_layer_norm(size, Some(&self.weight), Some(&self.bias), EPSILON, false).map_err(inference)
    }
}

impl Affine {
    fn shared(&self) -> Self {
        Self { weight: self.weight.shallow_clone(), bias: self.bias.shallow_clone() }
    }
}

struct Layer {
    /// Query, key and value, one under the other.
    attend: Product,
    output: Product,
    output_norm: Affine,
    widen: Product,
    narrow: Product,
    narrow_norm: Affine,
}

impl Layer {
    fn shared(&self) -> Self {
        Self {
            attend: self.attend.shared(),
            output: self.output.shared(),
            output_norm: self.output_norm.shared(),
            widen: self.widen.shared(),
            narrow: self.narrow.shared(),
            narrow_norm: self.narrow_norm.shared(),
        }
    }
}

impl Packed {
    /// Takes the weights of a network with `layers` layers of `heads` attention heads, to multiply in `precision`.
    pub fn new(vs: &VarStore, layers: usize, heads: i64, precision: Precision) -> Result<Self, ScoreError> {
        let variables = vs.variables();
        let tensor = |name: &str| {
            let found = variables.get(name).map(|variable| variable.detach());
            found.ok_or_else(|| ScoreError::Inference(format!("the network has no tensor {name}")))
        };
        let affine = |name: &str| -> Result<Affine, ScoreError> {
            Ok(Affine { weight: tensor(&format!("{name}.weight"))?, bias: tensor(&format!("{name}.bias"))? })
        };
        let norm = affine("embeddings.LayerNorm")?;
        let scale = 1.0 / ((norm.bias.numel() as f64) / heads as f64).sqrt();
        let layer = |n: usize| -> Result<Layer, ScoreError> {
            let part = |name: &str| affine(&format!("encoder.layer.{n}.{name}"));
            let product = |of: Affine| Product::new(of.weight, of.bias, precision);
            let (q, k, v) = (part("attention.self.query")?, part("attention.self.key")?, part("attention.self.value")?);
            // What the scores are divided by is the same for all of them.
            let q = Affine { weight: q.weight * scale, bias: q.bias * scale };
            Ok(Layer {
                attend: product(Affine {
                    weight: Tensor::cat(&[q.weight, k.weight, v.weight], 0),
                    bias: Tensor::cat(&[q.bias, k.bias, v.bias], 0),
                })?,
                output: product(part("attention.output.dense")?)?,
                output_norm: part("attention.output.LayerNorm")?,
                widen: product(part("intermediate.dense")?)?,
                narrow: product(part("output.dense")?)?,
                narrow_norm: part("output.LayerNorm")?,
            })
        };
        Ok(Self {
            words: tensor("embeddings.word_embeddings.weight")?,
            positions: tensor("embeddings.position_embeddings.weight")?,
            segments: tensor("embeddings.token_type_embeddings.weight")?,
            norm,
            layers: (0..layers).map(layer).collect::<Result<_, _>>()?,
            heads,
            grade: affine("head.grade")?,
            stage: affine("head.stage")?,
        })
    }

    /// One pass over `texts`.
    pub fn pass(&self, texts: &[&Encoded]) -> Result<Pass, ScoreError> {
        let lengths: Vec<i64> = texts.iter().map(|text| text.ids.len() as i64).collect();
        let mut x = self.embed(texts)?;
        let mut before = None;
        for layer in &self.layers {
            before = Some(x.shallow_clone());
            let attended = attend(&layer.attend.of(&x)?, &lengths, self.heads)?;
            x = layer.output_norm.norm(&(layer.output.of(&attended)? + x))?;
            let wide = layer.widen.of(&x)?.f_gelu("none").map_err(inference)?;
            x = layer.narrow_norm.norm(&(layer.narrow.of(&wide)? + x))?;
        }
        let pooled = means(&x, &lengths)?;
        let about = means(before.as_ref().unwrap_or(&x), &lengths)?;
        Ok(Pass { grades: self.grade.linear(&pooled)?, stages: self.stage.linear(&pooled)?, about })
    }

    /// Another handle on the same weights: one network cannot be used by two threads, two handles can.
    pub fn shared(&self) -> Self {
        Self {
            words: self.words.shallow_clone(),
            positions: self.positions.shallow_clone(),
            segments: self.segments.shallow_clone(),
            norm: self.norm.shared(),
            layers: self.layers.iter().map(Layer::shared).collect(),
            heads: self.heads,
            grade: self.grade.shared(),
            stage: self.stage.shared(),
        }
    }

    fn embed(&self, texts: &[&Encoded]) -> Result<Tensor, ScoreError> {
        let gather = |table: &Tensor, of: &dyn Fn(&Encoded) -> Vec<i64>| {
            let index: Vec<i64> = texts.iter().flat_map(|text| of(text)).collect();
            table.f_index_select(0, &Tensor::from_slice(&index)).map_err(inference)
        };
        let words = gather(&self.words, &|text| text.ids.clone())?;
        let positions = gather(&self.positions, &|text| (0..text.ids.len() as i64).collect())?;
        let segments = gather(&self.segments, &|text| text.segments.clone())?;
        self.norm.norm(&(words + positions + segments))
    }
}

/// The mean of each text's token states.
fn means(states: &Tensor, lengths: &[i64]) -> Result<Tensor, ScoreError> {
    let states = states.f_split_with_sizes(lengths, 0).map_err(inference)?;
    let means: Vec<Tensor> = states.iter().map(|state| state.mean_dim(0, false, Kind::Float)).collect();
    Tensor::f_stack(&means, 0).map_err(inference)
}
