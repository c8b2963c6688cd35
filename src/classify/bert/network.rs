//! The network itself: base weights, tuned weights over them, forward pass.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rust_bert::bert::{BertConfig, BertEmbeddings, BertModel};
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};
use tch::nn::{self, Module};
use tch::{Device, Kind, Tensor, no_grad};

use super::super::package::Package;
use super::super::{GRADES, STAGES, ScoreError};
use super::{Encoded, inference};

/// What to do when a file of the base model is missing or damaged.
pub(super) const REMEDY: &str = "run `make setup`, or point `[model] base` at a directory with all-MiniLM-L6-v2";

/// A base model with two heads on the mean of its token states.
pub struct Network {
    /// Every variable by its name in the weights files.
    pub vs: nn::VarStore,
    /// SHA-256 of the base's `model.safetensors`, in hex.
    pub base_sha256: String,
    /// Layers in the encoder.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: i64,
    bert: BertModel<BertEmbeddings>,
    grade: nn::Linear,
    stage: nn::Linear,
}

/// Texts padded to the longest of them.
pub struct Batch {
    ids: Tensor,
    mask: Tensor,
    segments: Tensor,
}

impl Batch {
    /// Pads `items` with zeros (`[PAD]`), which the mask hides.
    pub fn of(items: &[&Encoded]) -> Self {
        let width = items.iter().map(|item| item.ids.len()).max().unwrap_or(0);
        let padded = |values: &dyn Fn(&Encoded) -> Vec<i64>| -> Tensor {
            let flat: Vec<i64> = items
                .iter()
                .flat_map(|item| {
                    let mut row = values(item);
                    row.resize(width, 0);
                    row
                })
                .collect();
            Tensor::from_slice(&flat).view([items.len() as i64, width as i64])
        };
        Self {
            ids: padded(&|item| item.ids.clone()),
            mask: padded(&|item| vec![1; item.ids.len()]),
            segments: padded(&|item| item.segments.clone()),
        }
    }
}

impl Network {
    /// Reads `config.json` and `model.safetensors` of the base model. The heads start at random.
    pub fn open(base: &Path) -> Result<Self, ScoreError> {
        let weights = base.join("model.safetensors");
        let base_sha256 = sha256(&weights)?;
        let config = read_config(&base.join("config.json"))?;
        let mut vs = nn::VarStore::new(Device::Cpu);
        let bert = BertModel::new_with_optional_pooler(vs.root(), &config, false);
        let head = |name: &str, outputs: usize| {
            nn::linear(vs.root() / "head" / name, config.hidden_size, outputs as i64, Default::default())
        };
        let (grade, stage) = (head("grade", GRADES.len()), head("stage", STAGES.len()));
        let missing = vs.load_partial(&weights).map_err(|error| damaged(&weights, error))?;
        if let Some(name) = missing.iter().find(|name| !name.starts_with("head.")) {
            return Err(damaged(&weights, format!("tensor {name} is missing")));
        }
        let layers = usize::try_from(config.num_hidden_layers).unwrap_or_default();
        let heads = config.num_attention_heads;
        Ok(Self { vs, base_sha256, layers, heads, bert, grade, stage })
    }

    /// Lays the tuned tensors of `package` over the base. All that `tuned_layers` promises must be there.
    pub fn overlay(&mut self, package: &Package, tuned_layers: usize) -> Result<(), ScoreError> {
        if tuned_layers > self.layers {
            let reason = format!("tuned_layers = {tuned_layers}, but the base has {}", self.layers);
            return Err(ScoreError::Manifest { model: package.name.clone(), reason });
        }
        let tensors = package.tensors()?;
        for (name, mut variable) in self.vs.variables() {
            if !is_tuned(&name, self.layers, tuned_layers) {
                continue;
            }
            let shape: Vec<usize> = variable.size().iter().map(|&n| n as usize).collect();
            let dtype = tensors.tensor(&name).map_or(Dtype::F16, |view| view.dtype());
            let view = package.tensor(&tensors, &name, dtype, &shape)?;
            let tensor = Tensor::try_from(view).map_err(|error| package.bad(format!("tensor {name}: {error}")))?;
            let tensor = tensor.to_kind(Kind::Float);
            if !bool::try_from(tensor.isfinite().all()).unwrap_or(false) {
                return Err(package.bad(format!("tensor {name} holds a value that is not a number")));
            }
            no_grad(|| variable.f_copy_(&tensor)).map_err(inference)?;
        }
        Ok(())
    }

    /// Mean of the token states, one row a text.
    pub fn pooled(&self, batch: &Batch, train: bool) -> Result<Tensor, ScoreError> {
        let states = self
            .bert
            .forward_t(Some(&batch.ids), Some(&batch.mask), Some(&batch.segments), None, None, None, None, train)
            .map_err(inference)?
            .hidden_state;
        let mask = batch.mask.to_kind(Kind::Float).unsqueeze(-1);
        let sum = (states * &mask).sum_dim_intlist(1, false, Kind::Float);
        Ok(sum / mask.sum_dim_intlist(1, false, Kind::Float))
    }

    /// Grade and stage logits, one row a text.
    pub fn logits(&self, batch: &Batch, train: bool) -> Result<(Tensor, Tensor), ScoreError> {
        let pooled = self.pooled(batch, train)?.dropout(0.1, train);
        Ok(self.heads(&pooled))
    }

    /// The two heads on pooled states.
    pub fn heads(&self, pooled: &Tensor) -> (Tensor, Tensor) {
        (self.grade.forward(pooled), self.stage.forward(pooled))
    }
}

/// Whether the variable `name` is tuned when the last `tuned` of `layers` layers are: those layers and the heads.
pub fn is_tuned(name: &str, layers: usize, tuned: usize) -> bool {
    let layer = name.strip_prefix("encoder.layer.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    name.starts_with("head.") || layer.is_some_and(|layer| layer + tuned >= layers)
}

fn read_config(path: &PathBuf) -> Result<BertConfig, ScoreError> {
    let file = File::open(path).map_err(|source| file_error(path, source))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|error| damaged(path, error))
}

fn sha256(path: &PathBuf) -> Result<String, ScoreError> {
    let mut file = File::open(path).map_err(|source| file_error(path, source))?;
    let mut hasher = Sha256::new();
    let mut chunk = vec![0; 1 << 20];
    loop {
        let n = file.read(&mut chunk).map_err(|source| file_error(path, source))?;
        if n == 0 {
            return Ok(hasher.finalize().iter().map(|byte| format!("{byte:02x}")).collect());
        }
        hasher.update(&chunk[..n]);
    }
}

pub(super) fn file_error(path: &Path, source: std::io::Error) -> ScoreError {
    ScoreError::File { path: path.into(), source, remedy: REMEDY }
}

fn damaged(path: &Path, error: impl std::fmt::Display) -> ScoreError {
    file_error(path, std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tuned_are_the_last_layers_and_the_heads() {
        assert!(is_tuned("head.grade.weight", 6, 0));
        assert!(is_tuned("encoder.layer.5.output.dense.bias", 6, 1));
        assert!(!is_tuned("encoder.layer.4.output.dense.bias", 6, 1));
        assert!(is_tuned("encoder.layer.0.output.dense.bias", 6, 6));
        assert!(!is_tuned("embeddings.word_embeddings.weight", 6, 6));
    }

    #[test]
    fn a_missing_base_names_the_file_and_the_remedy() {
        let message = Network::open(Path::new("/nonexistent")).err().expect("fails").to_string();
        assert!(message.contains("/nonexistent/model.safetensors") && message.contains("make setup"), "{message}");
    }
}
