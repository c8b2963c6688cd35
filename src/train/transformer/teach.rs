//! Teachers: what several transformers say together is learnt by one (distillation, Hinton, Vinyals and Dean, 2015). Seeds of
//! one recipe err on different items; their mean knows more than each, and a single network can learn most of it.

use std::path::Path;

use super::lessons::Taught;
use crate::classify::bert::BertScorer;
use crate::classify::linear::LinearModel;
use crate::classify::package::Package;
use crate::classify::{ClassifyConfig, Text, softmax};
use crate::train::data::Labelled;
use crate::train::distil::{choose, number};
use crate::train::progress::Progress;
use crate::train::{TrainArgs, TrainError};

/// Items of the pool that teachers find less diplomatic than this are learnt one in [`SPARSE`]: they are most of it, and teach
/// little.
const DULL: f32 = 0.03;
/// Share of the dull items that is learnt, as 1 in so many.
const SPARSE: u64 = 16;
/// Texts graded between two steps of the progress bar.
const CHUNK: usize = 512;

/// What the teachers say of labelled items, and the texts of the pool that are worth learning with what they say of those.
pub(super) struct Lecture {
    /// One for each labelled item; empty without teachers.
    pub labelled: Vec<Taught>,
    /// Unlabelled.
    pub pool: Vec<(Text, Taught)>,
}

/// Asks the teachers of `args`.
pub(super) fn lecture(
    graded: &[Labelled],
    known: &[&[Labelled]],
    args: &TrainArgs,
    config: &ClassifyConfig,
) -> Result<Lecture, TrainError> {
    if args.teacher.is_empty() {
        return Ok(Lecture { labelled: Vec::new(), pool: Vec::new() });
    }
    let pool = match &args.unlabelled {
        Some(path) => candidates(path, known)?,
        None => Vec::new(),
    };
    let texts: Vec<Text> = graded.iter().map(Labelled::text).chain(pool.iter().map(|(_, text)| text.clone())).collect();
    let mut taught = mean(&texts, args, config)?;
    let of_pool = taught.split_off(graded.len());
    let pool = pool.into_iter().zip(of_pool);
    let worth = |key: &str, taught: &Taught| 1.0 - taught.0[0] >= DULL || number(key).is_multiple_of(SPARSE);
    let pool = pool.filter(|((key, _), taught)| worth(key, taught)).map(|((_, text), taught)| (text, taught));
    Ok(Lecture { labelled: taught, pool: pool.collect() })
}

/// What the shipped linear model does not find dull of the pool, and a few of the rest, in the order of their keys.
fn candidates(path: &Path, known: &[&[Labelled]]) -> Result<Vec<(String, Text)>, TrainError> {
    let quick = LinearModel::load(&Package::embedded_linear())?;
    let mut chosen: Vec<(String, Text)> = choose(path, &quick, known)?.into_iter().collect();
    chosen.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(chosen)
}

/// The mean of the teachers' probabilities.
fn mean(texts: &[Text], args: &TrainArgs, config: &ClassifyConfig) -> Result<Vec<Taught>, TrainError> {
    let mut sums = vec![([0.0; 3], [0.0; 6]); texts.len()];
    let mut progress = Progress::new("asking the teachers", texts.len() * args.teacher.len());
    for dir in &args.teacher {
        let mut teacher = BertScorer::from_package(&Package::read(dir)?, &config.base_dir(), config)?;
        for (texts, sums) in texts.chunks(CHUNK).zip(sums.chunks_mut(CHUNK)) {
            let (grades, stages) = teacher.probabilities(texts)?;
            for ((grade, stage), sum) in grades.into_iter().zip(stages).zip(sums) {
                add(&mut sum.0, grade, args.teacher.len());
                add(&mut sum.1, softmax(&stage), args.teacher.len());
            }
            progress.advance(texts.len(), "");
        }
    }
    Ok(sums)
}

fn add<const N: usize>(sum: &mut [f32; N], more: [f32; N], teachers: usize) {
    sum.iter_mut().zip(more).for_each(|(sum, more)| *sum += more / teachers as f32);
}
