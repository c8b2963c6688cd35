//! The linear model's trainer: softmax regression by AdaGrad over hashed n-grams, then rounding to small integers.

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize};

use super::data::{Labelled, stage_class};
use super::progress::{Progress, say};
use super::{Rng, TrainArgs, TrainError, Trained, dev_ap};
#[cfg(feature = "bert")]
use crate::classify::calibrate;
use crate::classify::features::{FEATURES, GROUPS, Group, visit};
use crate::classify::linear::{GRADE_BITS, GRADE_LANES, LinearModel, STAGE_BITS, STAGE_LANES, weights};
use crate::classify::manifest::{CascadeRule, Kind};
use crate::classify::package::Package;
use crate::classify::{ClassifyConfig, Text, softmax};

/// Pull of every touched weight towards zero at each step: with a few thousand items and a quarter of a million weights,
/// less learns the outlets by heart.
const DECAY: f32 = 1e-6;

/// A softmax regression in training: one row of `N` weights for each bucket, and AdaGrad's sums of squares.
struct Regression<const N: usize> {
    bits: u32,
    weight: Vec<[f32; N]>,
    squares: Vec<[f32; N]>,
    bias: [f32; N],
    bias_squares: [f32; N],
}

impl<const N: usize> Regression<N> {
    fn new(bits: u32) -> Self {
        let zeros = || vec![[0.0; N]; 1 << bits];
        Self { bits, weight: zeros(), squares: zeros(), bias: [0.0; N], bias_squares: [1e-6; N] }
    }

    fn bucket(&self, hash: u32) -> usize {
        (hash >> (32 - self.bits)) as usize
    }

    /// One step towards `target` on one text's `features` (hash and value).
    fn step(&mut self, features: &[(u32, f32)], target: &[f32; N], lr: f32) {
        let mut logits = self.bias;
        for &(hash, value) in features {
            let row = &self.weight[self.bucket(hash)];
            (0..N).for_each(|i| logits[i] += value * row[i]);
        }
        let p = softmax(&logits);
        let error: [f32; N] = std::array::from_fn(|i| p[i] - target[i]);
        for ((bias, squares), e) in self.bias.iter_mut().zip(&mut self.bias_squares).zip(error) {
            *squares += e * e;
            *bias -= lr * e / squares.sqrt();
        }
        for &(hash, value) in features {
            let bucket = self.bucket(hash);
            let (row, squares) = (&mut self.weight[bucket], &mut self.squares[bucket]);
            for i in 0..N {
                let gradient = error[i] * value + DECAY * row[i];
                squares[i] += gradient * gradient;
                row[i] -= lr * gradient / (squares[i].sqrt() + 1e-3);
            }
        }
    }

    /// Weights as small integers in rows of `lanes`, the scale of each output, and the biases.
    fn rounded(&self, lanes: usize) -> (Vec<u8>, Vec<f32>, Vec<f32>) {
        let top = |i: usize| self.weight.iter().map(|row| row[i].abs()).fold(1e-9_f32, f32::max);
        let scale: Vec<f32> = (0..N).map(|i| top(i) / 127.0).collect();
        let mut table = vec![0_u8; self.weight.len() * lanes];
        for (bytes, row) in table.chunks_exact_mut(lanes).zip(&self.weight) {
            for i in 0..N {
                bytes[i] = (row[i] / scale[i]).round() as i8 as u8;
            }
        }
        (table, scale, self.bias.to_vec())
    }
}

/// What one text teaches: how probable each of `N` classes is to be.
struct Lesson<const N: usize> {
    text: Text,
    target: [f32; N],
}

/// Trains on the labels, for the stage on `staged` too, and with `--unlabelled` on what the configured transformer says of that pool;
/// scores dev with the rounded model.
pub fn train(
    items: &[Labelled],
    staged: &[Labelled],
    dev: &[Labelled],
    args: &TrainArgs,
    config: &ClassifyConfig,
) -> Result<Trained, TrainError> {
    let grade = |item: &Labelled| item.grades.unwrap_or_else(|| one_hot(usize::from(item.grade)));
    let of_grade = |item: &Labelled| Lesson { text: item.text(), target: grade(item) };
    let of_stage = |item: &Labelled| Some(Lesson { text: item.text(), target: one_hot(stage_class(item)?) });
    let grades: Vec<Lesson<3>> = items.iter().map(of_grade).collect();
    let stages: Vec<Lesson<6>> = items.iter().chain(staged).filter_map(of_stage).collect();
    // The two share no weight: the stages are learnt once, whatever is learnt of the grades.
    let stage = learn(&stages, STAGE_BITS, true, args);
    let first = fit(&grades, &stage, args)?;
    let ((weights, model), cascade) = match &args.unlabelled {
        Some(pool) => distilled(pool, (grades, &stage), &first.1, (items, dev), args, config)?,
        None => (first, None),
    };
    let (dev_grades, dev_stages): (Vec<_>, Vec<_>) = dev.iter().map(|item| model.logits(&item.text())).unzip();
    say(&format!("linear model: average precision on dev {:.4}", dev_ap(&dev_grades, dev)));
    Ok(Trained { kind: Kind::Linear, features: FEATURES, weights, transformer: None, cascade, dev_grades, dev_stages })
}

type Fitted = (Vec<u8>, LinearModel);

#[cfg(feature = "bert")]
fn distilled(
    pool: &Path,
    (mut grades, stage): (Vec<Lesson<3>>, &Regression<6>),
    first: &LinearModel,
    (items, dev): (&[Labelled], &[Labelled]),
    args: &TrainArgs,
    config: &ClassifyConfig,
) -> Result<(Fitted, Option<CascadeRule>), TrainError> {
    let taught = super::distil::teach(pool, first, items, dev, args, config)?;
    grades.extend(taught.learnt.iter().map(|t| Lesson { text: t.text.clone(), target: t.grade }));
    let fitted = fit(&grades, stage, args)?;
    let logits: Vec<[f32; 3]> = dev.iter().map(|item| fitted.1.logits(&item.text()).0).collect();
    let grades: Vec<usize> = dev.iter().map(|item| usize::from(item.grade)).collect();
    let rule = super::distil::rule(&taught, &fitted.1, calibrate::temperature(&logits, &grades));
    Ok((fitted, Some(rule)))
}

#[cfg(not(feature = "bert"))]
fn distilled(
    pool: &Path,
    _: (Vec<Lesson<3>>, &Regression<6>),
    _: &LinearModel,
    _: (&[Labelled], &[Labelled]),
    _: &TrainArgs,
    _: &ClassifyConfig,
) -> Result<(Fitted, Option<CascadeRule>), TrainError> {
    Err(TrainError::Argument(format!("--unlabelled {}: this build has no transformer to grade it", pool.display())))
}

/// Fits the grades; returns the rounded model, with the stages, as bytes and as read back.
fn fit(grades: &[Lesson<3>], stage: &Regression<6>, args: &TrainArgs) -> Result<Fitted, TrainError> {
    let grade = learn(grades, GRADE_BITS, false, args);
    let package = Package { name: "the new model".into(), manifest: "".into(), weights: write(&grade, stage)?.into() };
    let model = LinearModel::load(&package)?;
    Ok((package.weights.into_owned(), model))
}

/// Learns every lesson once an epoch, in random order, at a rate that falls to nothing. `words`: from word n-grams alone.
fn learn<const N: usize>(lessons: &[Lesson<N>], bits: u32, words: bool, args: &TrainArgs) -> Regression<N> {
    let (epochs, lr) = (args.epochs.unwrap_or(15), args.lr.unwrap_or(0.1) as f32);
    let mut regression = Regression::new(bits);
    let mut rng = Rng(args.seed);
    let mut order: Vec<usize> = (0..lessons.len()).collect();
    let mut features = Vec::new();
    let mut progress = Progress::new("training", epochs * lessons.len());
    for epoch in 0..epochs {
        rng.shuffle(&mut order);
        let lr = lr * (1.0 - epoch as f32 / epochs as f32);
        for lesson in order.iter().map(|&i| &lessons[i]) {
            collect(&lesson.text, words, &mut features);
            regression.step(&features, &lesson.target, lr);
        }
        progress.advance(lessons.len(), &format!("epoch {} of {epochs}", epoch + 1));
    }
    regression
}

/// The features of a text with their values; `words`: only word n-grams, which are all that stages are read from.
fn collect(text: &Text, words: bool, features: &mut Vec<(u32, f32)>) {
    features.clear();
    let mut groups = Vec::new();
    let mut seen = [0_u32; GROUPS];
    visit(text, |group, hash| {
        seen[group as usize] += 1;
        if !words || matches!(group, Group::TitleWords | Group::SummaryWords) {
            features.push((hash, 0.0));
            groups.push(group as usize);
        }
    });
    let weigh = weights(&seen);
    features.iter_mut().zip(groups).for_each(|(feature, group)| feature.1 = weigh[group]);
}

fn one_hot<const N: usize>(class: usize) -> [f32; N] {
    std::array::from_fn(|i| if i == class { 1.0 } else { 0.0 })
}

fn write(grade: &Regression<3>, stage: &Regression<6>) -> Result<Vec<u8>, TrainError> {
    let (grade_table, grade_scale, grade_bias) = grade.rounded(GRADE_LANES);
    let (stage_table, stage_scale, stage_bias) = stage.rounded(STAGE_LANES);
    let bytes = |numbers: Vec<f32>| numbers.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let parts = [
        ("grade.weight", Dtype::I8, vec![1 << GRADE_BITS, GRADE_LANES], grade_table),
        ("grade.scale", Dtype::F32, vec![3], bytes(grade_scale)),
        ("grade.bias", Dtype::F32, vec![3], bytes(grade_bias)),
        ("stage.weight", Dtype::I8, vec![1 << STAGE_BITS, STAGE_LANES], stage_table),
        ("stage.scale", Dtype::F32, vec![6], bytes(stage_scale)),
        ("stage.bias", Dtype::F32, vec![6], bytes(stage_bias)),
    ];
    let views = parts
        .iter()
        .map(|(name, dtype, shape, data)| TensorView::new(*dtype, shape.clone(), data).map(|view| (*name, view)));
    let bytes = views.collect::<Result<Vec<_>, _>>().and_then(|views| serialize(views, &None));
    bytes.map_err(|error| TrainError::Argument(format!("weights that cannot be written ({error})")))
}
