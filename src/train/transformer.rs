//! The transformer's trainer: the last layers and the heads by AdamW, or the heads alone on frozen states.

mod adamw;
mod average;
mod checkpoint;
mod hide;
mod lessons;
mod teach;
mod tune;

use std::path::Path;

use safetensors::tensor::{Dtype, TensorView, serialize};
use tch::nn::{self, OptimizerConfig};
use tch::{Kind, Tensor, no_grad};

use super::data::Labelled;
use super::progress::say;
use super::{Rng, TrainArgs, TrainError, Trained, TransformerPart};
use crate::classify::bert::{
    Batch, Encoded, Encoder, FEATURES, Network, bucketed, inference, is_of_stage, is_tuned, keep_buffers, rows,
    set_threads,
};
use crate::classify::manifest::{self, Manifest};
use crate::classify::package::Package;
use crate::classify::{ClassifyConfig, Logits, ScoreError};
use lessons::{Lessons, Target, stage_weights};
use teach::Lecture;

/// Share of all steps over which the learning rate rises before it falls.
const WARM_UP: f64 = 0.1;
/// Times through the data, unless told.
const EPOCHS: usize = 4;
/// Learning rate at its height, unless told.
const RATE: f64 = 6e-5;

/// Trains what `args` asks for and scores dev with the weights as they will be read back.
pub fn train(
    graded: &[Labelled],
    staged: &[Labelled],
    dev: &[Labelled],
    args: &TrainArgs,
    config: &ClassifyConfig,
) -> Result<Trained, TrainError> {
    keep_buffers();
    set_threads(config.threads);
    tch::manual_seed(args.seed as i64);
    let base = config.base_dir();
    let mut network = Network::open(&base, stage_layers(args)?)?;
    if args.keep_stages && network.own() == 0 {
        let reason = "--keep-stages: in the model of --base the stage has no layers of its own";
        return Err(TrainError::Argument(reason.into()));
    }
    // Where stages are learnt by layers of their own, all others stay.
    let tuned = match args {
        TrainArgs { stage_layers: 1.., .. } => 0,
        // Below lie layers that the stage's own read.
        TrainArgs { keep_stages: true, .. } => args.layers.min(network.own()),
        _ => args.layers.min(network.layers),
    };
    let laid = args.base.as_ref().map_or(Ok(0), |dir| lay(&mut network, dir))?;
    if let Some(dir) = &args.stage_from {
        lay_stage(&mut network, dir)?;
    }
    // What was tuned before is part of the result, whether it is tuned on or not.
    let written = tuned.max(laid);
    let encoder = Encoder::open(&base, args.max_tokens)?;
    let encode = |items: &[Labelled]| items.iter().map(|item| encoder.encode(&item.text())).collect::<Vec<Encoded>>();
    let (mut texts, dev_texts) = (encode(graded), encode(dev));
    texts.extend(encode(staged));
    let lecture = teach::lecture(graded, &[graded, staged, dev], args, config)?;
    texts.extend(lecture.pool.iter().map(|(text, _)| encoder.encode(text)));
    if !lecture.pool.is_empty() {
        say(&format!("{} items of the pool are learnt from the teachers", lecture.pool.len()));
    }
    // The lanes that asked the teachers left one.
    set_threads(config.threads);
    let mut lessons = Lessons { texts: &texts, targets: targets(graded, staged, lecture) };
    if args.keep_stages {
        lessons.targets.iter_mut().for_each(|target| target.stage = None);
    }
    let weights = stage_weights(graded.iter().chain(staged));
    for (name, variable) in network.vs.variables() {
        let open = match args.stage_layers {
            0 => is_tuned(&name, network.layers, tuned) && !(args.keep_stages && is_of_stage(&name)),
            _ => is_of_stage(&name),
        };
        let _ = variable.set_requires_grad(open);
    }
    if !args.average.is_empty() {
        average::into(&mut network, &args.average, tuned)?;
    } else if tuned == 0 && args.stage_layers == 0 {
        fit_heads(&network, &lessons, &weights, args)?;
    } else {
        tune::fine_tune(&network, &lessons, &weights, (&dev_texts, dev), args)?;
    }
    round_to_half(&mut network);
    let (dev_grades, dev_stages) = predict(&network, &dev_texts)?;
    Ok(Trained {
        kind: manifest::Kind::Transformer,
        features: FEATURES,
        weights: write(&network, written)?,
        transformer: Some(TransformerPart {
            tuned_layers: written,
            stage_layers: network.own(),
            max_tokens: args.max_tokens,
            base: network.base.clone(),
        }),
        cascade: None,
        dev_grades,
        dev_stages,
    })
}

/// What is to be learnt, in the order of the texts: graded, staged, pool.
fn targets(graded: &[Labelled], staged: &[Labelled], lecture: Lecture) -> Vec<Target> {
    let mut taught = lecture.labelled.into_iter();
    let graded = graded.iter().map(|item| match taught.next() {
        Some(taught) => Target::with(taught, item),
        None => Target::of(item, true),
    });
    let mut targets: Vec<Target> = graded.collect();
    targets.extend(staged.iter().map(|item| Target::of(item, false)));
    targets.extend(lecture.pool.into_iter().map(|(_, taught)| Target::taught(taught)));
    targets
}

/// Upper layers of the stage's own: those asked for, or those of the model that is gone on from.
fn stage_layers(args: &TrainArgs) -> Result<usize, ScoreError> {
    match args.base.iter().chain(&args.average).next() {
        Some(dir) if args.stage_layers == 0 => Ok(manifest(&Package::read(dir)?)?.stage_layers.unwrap_or(0)),
        _ => Ok(args.stage_layers),
    }
}

/// Lays the tuned weights in `dir` over the base, and says how many layers they are.
fn lay(network: &mut Network, dir: &Path) -> Result<usize, ScoreError> {
    let (package, manifest) = checked(network, dir)?;
    let tuned = manifest.tuned_layers.unwrap_or(0);
    network.overlay(&package, tuned, manifest.stage_layers.unwrap_or(0))?;
    Ok(tuned)
}

/// Has the stage's own layers and head start as those of the transformer in `dir`.
fn lay_stage(network: &mut Network, dir: &Path) -> Result<(), ScoreError> {
    let (package, manifest) = checked(network, dir)?;
    network.overlay_stage(&package, manifest.stage_layers.unwrap_or(0))
}

/// The transformer in `dir`, whole and of this base.
fn checked(network: &Network, dir: &Path) -> Result<(Package, Manifest), ScoreError> {
    let package = Package::read(dir)?;
    let manifest = manifest(&package)?;
    manifest.check_weights(&package.name, &package.weights)?;
    manifest.base.as_ref().map_or(Ok(()), |base| base.check(&package.name, &network.base))?;
    Ok((package, manifest))
}

fn manifest(package: &Package) -> Result<Manifest, ScoreError> {
    Manifest::parse(&package.name, &package.manifest, manifest::Kind::Transformer, FEATURES)
}

/// The heads alone: the states never change, so they are computed once.
fn fit_heads(network: &Network, lessons: &Lessons<'_>, weights: &Tensor, args: &TrainArgs) -> Result<(), ScoreError> {
    let (epochs, lr) = (args.epochs.unwrap_or(60), args.lr.unwrap_or(1e-3));
    let pooled = pooled(network, lessons.texts)?;
    let mut optimizer = nn::Adam::default().build(&network.vs, lr).map_err(inference)?;
    let mut rng = Rng(args.seed);
    let mut order: Vec<usize> = (0..lessons.texts.len()).collect();
    let total = epochs * order.len().div_ceil(args.batch);
    let mut step = 0;
    for _ in 0..epochs {
        rng.shuffle(&mut order);
        for batch in order.chunks(args.batch) {
            let index: Vec<i64> = batch.iter().map(|&i| i as i64).collect();
            let index = Tensor::from_slice(&index);
            let (grades, stages) = network.heads(&pooled.each_ref().map(|pooled| pooled.index_select(0, &index)));
            optimizer.set_lr(lr * schedule(step, total));
            optimizer.backward_step(&lessons.loss(batch, &grades, &stages, weights));
            step += 1;
        }
    }
    Ok(())
}

/// Share of the full learning rate at `step` of `total`: up in a line, then down in a line.
fn schedule(step: usize, total: usize) -> f64 {
    let done = (step as f64 + 1.0) / total.max(1) as f64;
    if done < WARM_UP { done / WARM_UP } else { ((1.0 - done) / (1.0 - WARM_UP)).max(0.0) }
}

/// Batches in random order, each of like length: shuffled, sorted inside windows of sixteen batches, shuffled again.
fn batches(texts: &[Encoded], size: usize, rng: &mut Rng) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..texts.len()).collect();
    rng.shuffle(&mut order);
    for window in order.chunks_mut(size * 16) {
        window.sort_by_key(|&i| texts[i].ids.len());
    }
    let mut batches: Vec<Vec<usize>> = order.chunks(size).map(<[usize]>::to_vec).collect();
    rng.shuffle(&mut batches);
    batches
}

/// What [`Network::pooled`] gives for each text, in the order of the texts.
fn pooled(network: &Network, texts: &[Encoded]) -> Result<[Tensor; 2], ScoreError> {
    let (mut rows, mut order) = ([Vec::new(), Vec::new()], Vec::new());
    for batch in bucketed(texts, 8, 1024) {
        let encoded: Vec<&Encoded> = batch.iter().map(|&i| &texts[i]).collect();
        let pooled = no_grad(|| network.pooled(&Batch::of(&encoded), false))?;
        rows.iter_mut().zip(pooled).for_each(|(rows, pooled)| rows.push(pooled));
        order.extend(batch.into_iter().map(|i| i as i64));
    }
    let places = Tensor::f_from_slice(&order).map_err(inference)?.argsort(0, false);
    let [grade, stage] = rows.map(|rows| Tensor::f_cat(&rows, 0).and_then(|rows| rows.f_index_select(0, &places)));
    Ok([grade.map_err(inference)?, stage.map_err(inference)?])
}

fn predict(network: &Network, texts: &[Encoded]) -> Result<Logits, ScoreError> {
    let (grades, stages) = no_grad(|| Ok::<_, ScoreError>(network.heads(&pooled(network, texts)?)))?;
    Ok((rows::<3>(&grades)?, rows::<6>(&stages)?))
}

/// What is written is half precision; what is measured must be the same.
fn round_to_half(network: &mut Network) {
    for (_, mut variable) in network.vs.variables() {
        if variable.requires_grad() {
            no_grad(|| {
                let rounded = variable.to_kind(Kind::Half).to_kind(Kind::Float);
                variable.copy_(&rounded);
            });
        }
    }
}

/// The tuned tensors in half precision.
fn write(network: &Network, tuned: usize) -> Result<Vec<u8>, ScoreError> {
    let mut parts: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for (name, variable) in network.vs.variables() {
        if is_tuned(&name, network.layers, tuned) {
            let half = no_grad(|| variable.detach().to_kind(Kind::Half).contiguous());
            let mut bytes = vec![0_u8; half.numel() * 2];
            half.f_copy_data_u8(&mut bytes, half.numel()).map_err(inference)?;
            parts.push((name, half.size().iter().map(|&n| n as usize).collect(), bytes));
        }
    }
    parts.sort();
    let views: Result<Vec<_>, _> = parts
        .iter()
        .map(|(name, shape, bytes)| Ok((name, TensorView::new(Dtype::F16, shape.clone(), bytes)?)))
        .collect();
    let views = views.map_err(|error: safetensors::SafeTensorError| inference(error))?;
    serialize(views, &None).map_err(inference)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_rises_then_falls_to_nothing() {
        let rates: Vec<f64> = (0..100).map(|step| schedule(step, 100)).collect();
        assert!(rates[0] > 0.0 && rates[4] < rates[9] && rates[50] < rates[10]);
        assert!(rates.iter().all(|rate| (0.0..=1.0).contains(rate)) && rates[99] < 1e-9);
    }

    #[test]
    fn every_item_is_in_one_batch() {
        let texts: Vec<Encoded> =
            (0..100).map(|n| Encoded { ids: vec![1; n % 7 + 1], segments: vec![0; n % 7 + 1] }).collect();
        let mut seen: Vec<usize> = batches(&texts, 16, &mut Rng(1)).into_iter().flatten().collect();
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<_>>());
    }
}
