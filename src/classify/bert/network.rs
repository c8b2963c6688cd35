//! The network itself: base weights, tuned weights over them, forward pass.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use rust_bert::bert::{BertConfig, BertEmbeddings, BertLayer, BertModel};
use safetensors::tensor::Dtype;
use sha2::{Digest, Sha256};
use tch::nn::{self, Module};
use tch::{Device, Kind, Tensor, no_grad};

use super::super::config::BASE_MODEL;
use super::super::manifest::{Base, same};
use super::super::package::Package;
use super::super::{GRADES, STAGES, ScoreError};
use super::{Encoded, inference};

/// What to do when a file of the base model is missing or damaged.
pub(super) const REMEDY: &str = "run `make setup`, or point `[model] base` at a directory with all-MiniLM-L6-v2";

/// The word pieces of the base model, in the order of their numbers.
pub(super) const VOCABULARY: &str = "vocab.txt";

/// What an attention score is lowered by where there is only padding; BERT's value.
const HIDDEN: f64 = -10_000.0;

/// A base model with two heads, each on a mean of token states: the grade's on those of the last layer, the stage's too, or on those
/// of upper layers of its own.
pub struct Network {
    /// Every variable by its name in the weights files.
    pub vs: nn::VarStore,
    /// The base model that was read.
    pub base: Base,
    /// Layers in the encoder.
    pub layers: usize,
    /// Attention heads of a layer.
    pub heads: i64,
    bert: BertModel<BertEmbeddings>,
    /// The stage's own upper layers; none where it is read from the same states as the grade.
    own: Vec<BertLayer>,
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
    /// Reads `config.json` and `model.safetensors` of the base model in `dir`. The heads start at random, and so do `own` upper layers of the
    /// stage's.
    pub fn open(dir: &Path, own: usize) -> Result<Self, ScoreError> {
        let weights = dir.join("model.safetensors");
        let base = Base {
            name: BASE_MODEL.into(),
            sha256: sha256(&weights)?,
            vocabulary_sha256: Some(sha256(&dir.join(VOCABULARY))?),
        };
        let config = BertConfig { output_hidden_states: Some(own > 0), ..read_config(&dir.join("config.json"))? };
        let layers = usize::try_from(config.num_hidden_layers).unwrap_or_default();
        let mut vs = nn::VarStore::new(Device::Cpu);
        let bert = BertModel::new_with_optional_pooler(vs.root(), &config, false);
        let head = |name: &str, outputs: usize| {
            nn::linear(vs.root() / "head" / name, config.hidden_size, outputs as i64, Default::default())
        };
        let (grade, stage) = (head("grade", GRADES.len()), head("stage", STAGES.len()));
        let own =
            (layers.saturating_sub(own)..layers).map(|n| BertLayer::new(vs.root() / "stage" / "layer" / n, &config));
        let own = own.collect();
        let missing = vs.load_partial(&weights).map_err(|error| damaged(&weights, error))?;
        if let Some(name) = missing.iter().find(|name| !name.starts_with("head.") && !name.starts_with(OWN)) {
            return Err(damaged(&weights, format!("tensor {name} is missing")));
        }
        let heads = config.num_attention_heads;
        Ok(Self { vs, base, layers, heads, bert, own, grade, stage })
    }

    /// Upper layers of the stage's own.
    pub fn own(&self) -> usize {
        self.own.len()
    }

    /// Has the stage's own layers start as what the grade's are.
    pub fn branch_off(&mut self) -> Result<(), ScoreError> {
        let variables = self.vs.variables();
        let pairs = variables.iter().filter_map(|(name, variable)| Some((name.strip_prefix(OWN)?, variable)));
        for (name, own) in pairs {
            let trunk = variables.get(&format!("encoder.{name}"));
            let trunk = trunk.ok_or_else(|| inference(format!("the network has no tensor encoder.{name}")))?;
            no_grad(|| own.shallow_clone().f_copy_(trunk).map_err(inference))?;
        }
        Ok(())
    }

    /// Lays the tuned tensors of `package` over the base. All that `tuned_layers` and `stage_layers` promise must be there; where the
    /// package has none for the stage, the stage's own layers branch off from the grade's.
    pub fn overlay(&mut self, package: &Package, tuned_layers: usize, stage_layers: usize) -> Result<(), ScoreError> {
        if tuned_layers > self.layers {
            let reason = format!("tuned_layers = {tuned_layers}, but the base has {}", self.layers);
            return Err(ScoreError::Manifest { model: package.name.clone(), reason });
        }
        if stage_layers >= self.layers {
            let reason =
                format!("stage_layers = {stage_layers}, but of the base's {} one at least is shared", self.layers);
            return Err(ScoreError::Manifest { model: package.name.clone(), reason });
        }
        if stage_layers > 0 {
            same(&package.name, "stage_layers", &stage_layers.to_string(), &self.own().to_string())?;
        }
        let layers = self.layers;
        self.put(package, |name| is_tuned(name, layers, tuned_layers) && (stage_layers > 0 || !name.starts_with(OWN)))?;
        if stage_layers == 0 { self.branch_off() } else { Ok(()) }
    }

    /// Lays what serves the stage alone in `package`, whose manifest says `stage_layers`, over what is there.
    pub fn overlay_stage(&mut self, package: &Package, stage_layers: usize) -> Result<(), ScoreError> {
        same(&package.name, "stage_layers", &stage_layers.to_string(), &self.own().to_string())?;
        self.put(package, is_of_stage)
    }

    /// Copies the tensors of `package` into the variables whose names are `wanted`; all of them must be there.
    fn put(&mut self, package: &Package, wanted: impl Fn(&str) -> bool) -> Result<(), ScoreError> {
        let tensors = package.tensors()?;
        for (name, mut variable) in self.vs.variables().into_iter().filter(|(name, _)| wanted(name)) {
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

    /// Means of the token states, one row a text: for the grade, and for the stage.
    pub fn pooled(&self, batch: &Batch, train: bool) -> Result<[Tensor; 2], ScoreError> {
        let output = self
            .bert
            .forward_t(Some(&batch.ids), Some(&batch.mask), Some(&batch.segments), None, None, None, None, train)
            .map_err(inference)?;
        let mask = batch.mask.to_kind(Kind::Float).unsqueeze(-1);
        let mean = |states: &Tensor| {
            let sum = (states * &mask).sum_dim_intlist(1, false, Kind::Float);
            sum / mask.sum_dim_intlist(1, false, Kind::Float)
        };
        let grade = mean(&output.hidden_state);
        // The state in front of the stage's own layers: that behind the last one that both share.
        let fork = self.layers.checked_sub(self.own() + 1);
        let Some(shared) = output.all_hidden_states.as_ref().zip(fork).and_then(|(states, fork)| states.get(fork))
        else {
            return Ok([grade.shallow_clone(), grade]);
        };
        let padding = (batch.mask.eq(0).to_kind(Kind::Float) * HIDDEN).unsqueeze(1).unsqueeze(1);
        let through = |states: Tensor, layer: &BertLayer| {
            layer.forward_t(&states, Some(&padding), None, None, train).hidden_state
        };
        Ok([grade, mean(&self.own.iter().fold(shared.shallow_clone(), through))])
    }

    /// Grade and stage logits, one row a text.
    pub fn logits(&self, batch: &Batch, train: bool) -> Result<(Tensor, Tensor), ScoreError> {
        let [grade, stage] = self.pooled(batch, train)?;
        let grade = grade.dropout(0.1, train);
        let stage = if self.own.is_empty() { grade.shallow_clone() } else { stage.dropout(0.1, train) };
        Ok(self.heads(&[grade, stage]))
    }

    /// The two heads on what [`Network::pooled`] gives.
    pub fn heads(&self, [grade, stage]: &[Tensor; 2]) -> (Tensor, Tensor) {
        (self.grade.forward(grade), self.stage.forward(stage))
    }
}

/// What the names of the stage's own layers begin with, where those of the grade's begin with `encoder.`.
const OWN: &str = "stage.";

/// Whether the variable `name` is tuned when the last `tuned` of `layers` layers are: those layers, the stage's own, and the heads.
pub fn is_tuned(name: &str, layers: usize, tuned: usize) -> bool {
    let layer = name.strip_prefix("encoder.layer.").and_then(|rest| rest.split('.').next()?.parse::<usize>().ok());
    is_of_stage(name) || name.starts_with("head.") || layer.is_some_and(|layer| layer + tuned >= layers)
}

/// Whether the variable `name` serves the stage alone: layers of its own, and its head.
pub fn is_of_stage(name: &str) -> bool {
    name.starts_with(OWN) || name.starts_with("head.stage.")
}

fn read_config(path: &PathBuf) -> Result<BertConfig, ScoreError> {
    let file = File::open(path).map_err(|source| file_error(path, source))?;
    serde_json::from_reader(BufReader::new(file)).map_err(|error| damaged(path, error))
}

/// Of a file, in hex.
fn sha256(path: &Path) -> Result<String, ScoreError> {
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
    use crate::classify::config::tests::shipped;

    #[test]
    fn tuned_are_the_last_layers_and_the_heads() {
        assert!(is_tuned("head.grade.weight", 6, 0));
        assert!(is_tuned("encoder.layer.5.output.dense.bias", 6, 1));
        assert!(!is_tuned("encoder.layer.4.output.dense.bias", 6, 1));
        assert!(is_tuned("encoder.layer.0.output.dense.bias", 6, 6));
        assert!(!is_tuned("embeddings.word_embeddings.weight", 6, 6));
        assert!(is_tuned("stage.layer.5.output.dense.bias", 6, 0));
        assert!(is_of_stage("head.stage.bias") && !is_of_stage("head.grade.bias"));
    }

    #[test]
    fn the_stages_own_layers_branch_off_from_what_is_there() {
        let base = shipped().base_dir();
        let mut network = Network::open(&base, 2).expect("the base model is there: run `make setup`");
        let text = Encoded { ids: vec![101, 4_000, 5_000, 102], segments: vec![0; 4] };
        let batch = Batch::of(&[&text, &text]);
        let apart = |network: &Network| {
            let [grade, stage] = no_grad(|| network.pooled(&batch, false)).expect("runs");
            (grade - stage).abs().max().double_value(&[])
        };
        assert!(apart(&network) > 0.01);
        network.branch_off().expect("branches off");
        assert!(apart(&network) < 1e-5);
    }

    #[test]
    fn fewer_layers_of_the_stages_own_are_no_start_for_more() {
        let package = Package::transformer(&shipped()).expect("built in");
        let mut network = Network::open(&shipped().base_dir(), 2).expect("the base model is there: run `make setup`");
        let message = network.overlay_stage(&package, 3).expect_err("refused").to_string();
        assert!(message.contains("stage_layers") && message.contains('3') && message.contains('2'), "{message}");
    }

    #[test]
    fn a_missing_base_names_the_file_and_the_remedy() {
        let message = Network::open(Path::new("/nonexistent"), 0).err().expect("fails").to_string();
        assert!(message.contains("/nonexistent/model.safetensors") && message.contains("make setup"), "{message}");
    }
}
