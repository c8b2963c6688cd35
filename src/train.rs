//! Training: labelled items in, a model's directory out. The same core serves `demarche train` and the shipped models.

pub mod data;
#[cfg(feature = "bert")]
mod distil;
pub mod label;
pub mod linear;
mod progress;
#[cfg(feature = "bert")]
pub mod transformer;
mod write;

use std::path::PathBuf;

use clap::builder::RangedU64ValueParser;

use crate::classify::manifest::READABLE;
use crate::classify::{ClassifyConfig, ScoreError};
use crate::eval::metrics;
use data::{DataError, Labelled};

/// What `demarche train` takes.
#[derive(Debug, Clone, clap::Args)]
pub struct TrainArgs {
    /// Labelled items to learn from, one JSON object a line; may be given more than once. Where a line has `grades`, three
    /// probabilities that a teacher gives, they are learnt in the place of its grade
    #[arg(long, required_unless_present_any = ["average", "stage_layers"], value_name = "FILE")]
    pub data: Vec<PathBuf>,
    /// Labelled negotiations of which only the stage is learnt, such as made-up ones whose wording is not to be taken for
    /// what news is like; may be given more than once. Where a line has `stages`, six probabilities that a teacher gives, they are
    /// learnt beside the label, and alone where the grade is not 2 (transformer)
    #[arg(long, value_name = "FILE")]
    pub stages: Vec<PathBuf>,
    /// Labelled items to choose and calibrate on; must not overlap with the data [default: a tenth of the data, kept out]
    #[arg(long, value_name = "FILE")]
    pub dev: Option<PathBuf>,
    /// Directory for manifest.toml and weights.safetensors
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,
    /// A transformer's directory to go on from, such as models/transformer, instead of the base alone
    #[arg(long, value_name = "DIR")]
    pub base: Option<PathBuf>,
    /// Transformers' directories whose weights are averaged instead of training one; several seeds of one recipe make a
    /// steadier model than each of them
    #[arg(long, value_name = "DIR", conflicts_with_all = ["data", "stages", "base", "unlabelled"])]
    pub average: Vec<PathBuf>,
    /// A transformer's directory whose word is learnt beside the labels, and alone where there is no label (`--unlabelled`); of
    /// several the mean, which is better than each (transformer)
    #[arg(long, value_name = "DIR", conflicts_with = "average")]
    pub teacher: Vec<PathBuf>,
    /// Unlabelled items, one JSON object a line, to learn from: graded by the configured transformer for the linear model, by the
    /// teachers for a transformer
    #[arg(long, value_name = "FILE")]
    pub unlabelled: Option<PathBuf>,
    /// Which model to train
    #[arg(long, value_enum, default_value_t = Family::Transformer)]
    pub family: Family,
    /// Id for the manifest [default: family, data and seed]
    #[arg(long)]
    pub id: Option<String>,
    /// What the manifest says of the data
    #[arg(long, default_value = "labelled items of the user's own")]
    pub about: String,
    /// Seed of every random choice
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Upper layers to tune, 0 to 6; 0 trains the heads alone (transformer)
    #[arg(long, default_value_t = 6, value_parser = RangedU64ValueParser::<usize>::new().range(0..=6))]
    pub layers: usize,
    /// Times through the data at most [default: 4; heads alone 60; linear 15]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// Learning rate at its height [default: 6e-5; heads alone 1e-3; linear 0.1]
    #[arg(long)]
    pub lr: Option<f64>,
    /// Items in one step (transformer)
    #[arg(long, default_value_t = 16)]
    pub batch: usize,
    /// Tokens of title and summary together (transformer)
    #[arg(long, default_value_t = 80)]
    pub max_tokens: usize,
    /// Chance of each word piece to be hidden while training, 0 to 0.5: what is learnt leans less on single names
    /// (transformer)
    #[arg(long, value_name = "SHARE", default_value_t = 0.0)]
    pub hide: f64,
    /// Weight of the agreement between two readings of each item with other units left out (R-Drop), 0 to 10; 0 reads each
    /// once, any other takes twice the time (transformer)
    #[arg(long, value_name = "WEIGHT", default_value_t = 0.0)]
    pub r_drop: f64,
    /// Gives the stage so many upper layers of its own, 1 to 5, and trains those and the stage's head alone, on the items of
    /// `--stages`; the grades of `--base` stay what they are. 0: the stage is read from the same states as the grade (transformer)
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = RangedU64ValueParser::<usize>::new().range(0..=5))]
    pub stage_layers: usize,
    /// A transformer's directory whose stage's own layers and head `--stage-layers` starts from, instead of the grade's upper layers:
    /// behind lower layers that have changed a little, they need little to be right again (transformer)
    #[arg(long, value_name = "DIR")]
    pub stage_from: Option<PathBuf>,
    /// Trains the grade alone, and no layer that the stage reads: the stages of `--base`, which must have layers of their own, stay
    /// what they are (transformer)
    #[arg(long)]
    pub keep_stages: bool,
}

/// The families of models.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Family {
    /// MiniLM with tuned layers and heads
    Transformer,
    /// Hashed n-grams
    Linear,
}

/// Why training stopped. Each message fits after "failed to".
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The labelled files.
    #[error(transparent)]
    Data(#[from] DataError),
    /// Loading or running a model.
    #[error(transparent)]
    Model(#[from] ScoreError),
    /// The steps were too long.
    #[error("go on training after {step} steps: the loss is not a number any more; lower --lr")]
    Diverged {
        /// Steps done.
        step: usize,
    },
    /// Writing the result.
    #[error("write {path}: {reason}")]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        reason: String,
    },
    /// An argument out of range.
    #[error("train with {0}")]
    Argument(String),
    /// This build cannot.
    #[error("train the transformer: this build has no `bert` feature; add --family linear")]
    NotBuilt,
}

/// Reads the data, trains, calibrates on dev and writes the model's directory. Says how it goes on stderr.
pub fn run(args: &TrainArgs, config: &ClassifyConfig) -> Result<(), TrainError> {
    check(args)?;
    let Labels { graded, staged, dev } = labels(args)?;
    if args.stage_layers > 0 && staged.is_empty() {
        return Err(TrainError::Argument("--stages without a negotiation (grade 2): nothing would be learnt".into()));
    }
    weigh(&dev)?;
    let trained = match args.family {
        Family::Linear => linear::train(&graded, &staged, &dev, args, config)?,
        #[cfg(feature = "bert")]
        Family::Transformer => transformer::train(&graded, &staged, &dev, args, config)?,
        #[cfg(not(feature = "bert"))]
        Family::Transformer => return Err(TrainError::NotBuilt),
    };
    write::model(trained, &dev, graded.len() + staged.len(), args)
}

struct Labels {
    /// Learnt from.
    graded: Vec<Labelled>,
    /// Learnt from, but the stage alone.
    staged: Vec<Labelled>,
    /// Chosen and calibrated on.
    dev: Vec<Labelled>,
}

fn labels(args: &TrainArgs) -> Result<Labels, TrainError> {
    let mut files = data::read_all(&[&args.data[..], &args.stages].concat())?;
    let mut staged = files.split_off(args.data.len()).concat();
    // Others have no stage to be learnt.
    staged.retain(|item| item.grade == 2 || item.stages.is_some());
    let Some(path) = &args.dev else {
        let (graded, dev) = data::split(files.concat())?;
        return Ok(Labels { graded, staged, dev });
    };
    let (graded, dev) = (files.concat(), data::read(path)?);
    data::refuse_overlap(&graded, &dev, path)?;
    data::refuse_overlap(&staged, &dev, path)?;
    Ok(Labels { graded, staged, dev })
}

/// Negotiations, and others, below which dev says little: each moves precision and recall by more than three points.
const FEW: usize = 30;

/// Refuses a dev that nothing can be measured on, and tells of one that says little.
fn weigh(dev: &[Labelled]) -> Result<(), TrainError> {
    let negotiations = dev.iter().filter(|item| item.grade == 2).count();
    match negotiations.min(dev.len() - negotiations) {
        0 => return Err(DataError::OneSided { items: dev.len(), negotiations }.into()),
        1..FEW => progress::say(&format!(
            "{} items to choose and calibrate on, {negotiations} of them negotiations: scores and thresholds rest on few",
            dev.len()
        )),
        _ => {}
    }
    Ok(())
}

fn check(args: &TrainArgs) -> Result<(), TrainError> {
    let refuse = |what: &str| Err(TrainError::Argument(what.into()));
    match args.family {
        Family::Linear if !args.average.is_empty() => refuse("--average and --family linear: it is for transformers"),
        Family::Linear if args.base.is_some() => {
            refuse("--base and --family linear: a linear model trains in seconds, from nothing")
        }
        Family::Linear if !args.teacher.is_empty() => {
            refuse("--teacher and --family linear: it learns from the configured transformer, `[model] dir`")
        }
        Family::Transformer if args.unlabelled.is_some() && args.teacher.is_empty() => {
            refuse("--unlabelled and no --teacher: somebody has to grade them")
        }
        Family::Linear if args.keep_stages => refuse("--keep-stages and --family linear: it is for transformers"),
        _ if args.keep_stages && (args.base.is_none() || args.stage_layers > 0 || !args.stages.is_empty()) => refuse(
            "--keep-stages and without --base, or with --stages or --stage-layers: it needs a model whose stages stay",
        ),
        Family::Linear if args.stage_layers > 0 => refuse("--stage-layers and --family linear: it is for transformers"),
        _ if args.stage_layers > 0 && (args.base.is_none() || args.stages.is_empty() || args.dev.is_none()) => refuse(
            "--stage-layers and without --base, --stages or --dev: it needs a model whose grades stay, and labelled stages",
        ),
        _ if args.stage_layers > 0 && !(args.data.is_empty() && args.teacher.is_empty() && args.average.is_empty()) => {
            refuse(
                "--stage-layers and --data, --teacher or --average: only stages are learnt; name labelled items with --stages",
            )
        }
        _ if args.stage_from.is_some() && args.stage_layers == 0 => {
            refuse("--stage-from and without --stage-layers: say how many layers of its own the stage has there")
        }
        _ if args.batch == 0 => refuse("--batch 0: at least one item makes a step"),
        _ if args.epochs == Some(0) => refuse("--epochs 0: nothing would be learnt"),
        _ if !READABLE.contains(&args.max_tokens) => refuse("--max-tokens outside 8 to 512, what the base model reads"),
        _ if !(0.0..=0.5).contains(&args.hide) => refuse("--hide outside 0 to 0.5: too little would be left to read"),
        _ if !(0.0..=10.0).contains(&args.r_drop) => {
            refuse("--r-drop outside 0 to 10: agreeing would be all that is learnt")
        }
        _ if args.lr.is_some_and(|lr| !(lr.is_finite() && lr > 0.0)) => {
            refuse("a learning rate that is not above zero")
        }
        _ => Ok(()),
    }
}

/// What a trainer hands over: weights, and what the weights say of dev.
pub struct Trained {
    /// The manifest's family.
    pub kind: crate::classify::manifest::Kind,
    /// The manifest's feature version.
    pub features: &'static str,
    /// The bytes of `weights.safetensors`.
    pub weights: Vec<u8>,
    /// What a transformer's manifest says besides.
    pub transformer: Option<TransformerPart>,
    /// What the linear model settles in front of the transformer that taught it.
    pub cascade: Option<crate::classify::manifest::CascadeRule>,
    /// Grade logits on dev, in its order.
    pub dev_grades: Vec<[f32; 3]>,
    /// Stage logits on dev, in its order.
    pub dev_stages: Vec<[f32; 6]>,
}

/// What only a transformer has.
pub struct TransformerPart {
    /// Layers of the base that were tuned, counted from the top.
    pub tuned_layers: usize,
    /// Upper layers of the stage's own.
    pub stage_layers: usize,
    /// Tokens that go in at most.
    pub max_tokens: usize,
    /// The base model.
    pub base: crate::classify::manifest::Base,
}

/// Average precision of grade 2 on `dev`, for progress lines and early stopping.
pub(crate) fn dev_ap(grades: &[[f32; 3]], dev: &[Labelled]) -> f64 {
    let scores: Vec<f32> = grades.iter().map(|logits| crate::classify::softmax(logits)[2]).collect();
    let positive: Vec<bool> = dev.iter().map(|item| item.grade == 2).collect();
    metrics::average_precision(&scores, &positive)
}

/// SplitMix64: a small generator whose sequence no library can change under us.
pub(crate) struct Rng(pub u64);

impl Rng {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// Fisher–Yates.
    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, (self.next() % (i as u64 + 1)) as usize);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: TrainArgs,
    }

    #[test]
    fn stages_are_learnt_of_negotiations_and_of_what_a_teacher_speaks_of() {
        let dir = tempfile::tempdir().expect("directory");
        let write = |name: &str, lines: &str| {
            std::fs::write(dir.path().join(name), lines).expect("written");
            dir.path().join(name).into_os_string()
        };
        let taught = r#"{"title":"c","grade":1,"stages":[0.2,0.8,0,0,0,0]}"#;
        let lines = [r#"{"title":"a","grade":2,"stage":"held"}"#, r#"{"title":"b","grade":1}"#, taught].join("\n");
        let [stages, dev] = [write("stages.jsonl", &lines), write("dev.jsonl", r#"{"title":"d","grade":0}"#)];
        let line = ["train", "--base", "x", "--stage-layers", "2", "--out", "y"].map(std::ffi::OsString::from);
        let files = ["--stages".into(), stages, "--dev".into(), dev];
        let args = <Line as clap::Parser>::parse_from(line.into_iter().chain(files)).args;
        let staged = labels(&args).expect("reads").staged;
        assert_eq!(staged.iter().map(|item| item.title.as_str()).collect::<Vec<_>>(), ["a", "c"]);
    }

    #[test]
    fn a_seed_gives_one_order() {
        let order = |seed| {
            let mut items: Vec<u32> = (0..20).collect();
            Rng(seed).shuffle(&mut items);
            items
        };
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
        let mut sorted = order(3);
        sorted.sort_unstable();
        assert_eq!(sorted, (0..20).collect::<Vec<_>>());
    }
}
