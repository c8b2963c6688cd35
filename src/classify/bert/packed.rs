//! The forward pass for serving: rust-bert's network with rust-bert's weights, in fewer and larger steps. Texts of a batch
//! lie end to end without padding, query, key and value come from one product, and each activation is one operation
//! instead of five. `Network` stays what is trained and what this pass is tested against.

use tch::{Kind, Tensor};

use super::super::{STAGES, ScoreError};
use super::attention::attend;
use super::network::Network;
use super::product::{Precision, Product};
use super::{Encoded, inference, rows};

/// Keeps the variance of a norm away from zero; BERT's value.
const EPSILON: f64 = 1e-12;

/// Texts that are less probable than this to be negotiations (before calibration, 0 to 1) are not read for their stage, where it
/// has layers of its own: no threshold in use is as low. Higher, and negotiations that a desk with a low threshold of its own asks
/// for would come without a stage; lower, and what can be no negotiation is read for its stage too.
const STAGED: f32 = 0.02;
/// Stage logits of a text that is not read for its stage: surely `none`.
const NO_STAGE: [f32; STAGES.len()] = [0.0, 0.0, 0.0, 0.0, 0.0, 12.0];

/// A network ready to serve. It shares the weights that it neither rearranges nor rounds.
pub struct Packed {
    words: Tensor,
    positions: Tensor,
    segments: Tensor,
    norm: Affine,
    layers: Vec<Layer>,
    /// The stage's own upper layers.
    own: Vec<Layer>,
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

/// Token states of several texts, end to end, `[tokens, width]`.
struct States {
    /// Tokens of each text.
    lengths: Vec<i64>,
    /// In front of the layers that the stage has its own of.
    shared: Tensor,
    /// In front of the last layer.
    before: Tensor,
    /// Behind the last layer.
    last: Tensor,
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
    /// The states behind this layer, of those in front of it.
    fn of(&self, x: Tensor, lengths: &[i64], heads: i64) -> Result<Tensor, ScoreError> {
        let attended = attend(&self.attend.of(&x)?, lengths, heads)?;
        let x = self.output_norm.norm(&(self.output.of(&attended)? + x))?;
        self.narrow_norm.norm(&(self.widen.gelu_then(&self.narrow, &x)? + x))
    }

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
    /// Takes the weights of `network`, to multiply in `precision`.
    pub fn new(network: &Network, precision: Precision) -> Result<Self, ScoreError> {
        let (variables, layers, heads) = (network.vs.variables(), network.layers, network.heads);
        let tensor = |name: &str| {
            let found = variables.get(name).map(|variable| variable.detach());
            found.ok_or_else(|| ScoreError::Inference(format!("the network has no tensor {name}")))
        };
        let affine = |name: &str| -> Result<Affine, ScoreError> {
            Ok(Affine { weight: tensor(&format!("{name}.weight"))?, bias: tensor(&format!("{name}.bias"))? })
        };
        let norm = affine("embeddings.LayerNorm")?;
        let scale = 1.0 / ((norm.bias.numel() as f64) / heads as f64).sqrt();
        let layer = |of: &str, n: usize| -> Result<Layer, ScoreError> {
            let part = |name: &str| affine(&format!("{of}.layer.{n}.{name}"));
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
            layers: (0..layers).map(|n| layer("encoder", n)).collect::<Result<_, _>>()?,
            own: (layers - network.own()..layers).map(|n| layer("stage", n)).collect::<Result<_, _>>()?,
            heads,
            grade: affine("head.grade")?,
            stage: affine("head.stage")?,
        })
    }

    /// One pass over `texts`.
    pub fn pass(&self, texts: &[&Encoded]) -> Result<Pass, ScoreError> {
        let States { lengths, shared, before, last } = self.states(texts)?;
        let pooled = means(&last, &lengths)?;
        let grades = self.grade.linear(&pooled)?;
        let stages = match self.own.is_empty() {
            true => self.stage.linear(&pooled)?,
            false => self.stages(&shared, &lengths, &grades)?,
        };
        Ok(Pass { grades, stages, about: means(&before, &lengths)? })
    }

    /// A pass for the grade logits alone, `[n, 3]`.
    pub fn grades(&self, texts: &[&Encoded]) -> Result<Tensor, ScoreError> {
        let States { lengths, last, .. } = self.states(texts)?;
        self.grade.linear(&means(&last, &lengths)?)
    }

    fn states(&self, texts: &[&Encoded]) -> Result<States, ScoreError> {
        let lengths: Vec<i64> = texts.iter().map(|text| text.ids.len() as i64).collect();
        let fork = self.layers.len() - self.own.len();
        let mut last = self.embed(texts)?;
        let (mut shared, mut before) = (last.shallow_clone(), last.shallow_clone());
        for (n, layer) in self.layers.iter().enumerate() {
            shared = if n == fork { last.shallow_clone() } else { shared };
            before = last.shallow_clone();
            last = layer.of(last, &lengths, self.heads)?;
        }
        Ok(States { lengths, shared, before, last })
    }

    /// Reads the texts that `grades` do not rule out as negotiations for their stage, from the states in front of its own layers.
    fn stages(&self, shared: &Tensor, lengths: &[i64], grades: &Tensor) -> Result<Tensor, ScoreError> {
        let likely = grades.f_softmax(-1, Kind::Float).and_then(|p| p.f_select(1, 2)).map_err(inference)?;
        let likely: Vec<f32> = likely.try_into().map_err(inference)?;
        let chosen: Vec<usize> = (0..likely.len()).filter(|&i| likely[i] >= STAGED).collect();
        let mut stages = vec![NO_STAGE; likely.len()];
        if !chosen.is_empty() {
            let texts = shared.f_split_with_sizes(lengths, 0).map_err(inference)?;
            let texts: Vec<&Tensor> = chosen.iter().map(|&i| &texts[i]).collect();
            let lengths: Vec<i64> = chosen.iter().map(|&i| lengths[i]).collect();
            let together = Tensor::f_cat(&texts, 0).map_err(inference)?;
            let states = self.own.iter().try_fold(together, |x, layer| layer.of(x, &lengths, self.heads))?;
            let read = rows::<{ STAGES.len() }>(&self.stage.linear(&means(&states, &lengths)?)?)?;
            chosen.into_iter().zip(read).for_each(|(i, row)| stages[i] = row);
        }
        Ok(Tensor::from_slice(stages.as_flattened()).view([stages.len() as i64, STAGES.len() as i64]))
    }

    /// Another handle on the same weights: one network cannot be used by two threads, two handles can.
    pub fn shared(&self) -> Self {
        Self {
            words: self.words.shallow_clone(),
            positions: self.positions.shallow_clone(),
            segments: self.segments.shallow_clone(),
            norm: self.norm.shared(),
            layers: self.layers.iter().map(Layer::shared).collect(),
            own: self.own.iter().map(Layer::shared).collect(),
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
