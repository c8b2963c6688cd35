//! What is learnt: word pieces, and for each text how probable its grades and its stages are to be.

use tch::{Kind, Tensor};

use crate::classify::STAGES;
use crate::classify::bert::Encoded;
use crate::item::Stage;
use crate::train::data::{Labelled, stage_class};

/// Share of the target that goes to the other classes: labels are wrong in a few per cent of cases.
const SMOOTHING: f32 = 0.05;
/// Weight of the stage's loss beside the grade's. Only one item in five has a stage: with less it is learnt too late.
const STAGE_WEIGHT: f64 = 1.0;
/// Share of what teachers say in the target of an item that has a label too. Teachers know better than a label that slipped, and
/// worse than one that did not.
const TAUGHT: f32 = 0.5;

/// Texts and what is to be learnt of each.
pub(super) struct Lessons<'a> {
    /// Word pieces.
    pub texts: &'a [Encoded],
    /// One for each text.
    pub targets: Vec<Target>,
}

/// Probabilities to be learnt of one text.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// Of the grades, in order; none where the stage alone is learnt.
    pub grade: Option<[f32; 3]>,
    /// Of the stages in the order of [`STAGES`], and how much they count, 0 to 1.
    pub stage: Option<([f32; 6], f32)>,
}

/// What teachers say of one text: probabilities of the grades and of the stages.
pub(super) type Taught = ([f32; 3], [f32; 6]);

impl Target {
    /// Of a label, and of what the line says that a teacher gives of its grade and its stage.
    pub fn of(item: &Labelled, graded: bool) -> Self {
        let stage = match (stage_class(item).map(smoothed), item.stages) {
            (Some(label), Some(taught)) => Some(mixed(label, taught)),
            (label, taught) => label.or(taught),
        };
        let grade = graded.then(|| item.grades.unwrap_or_else(|| smoothed(usize::from(item.grade))));
        Self { grade, stage: stage.map(|stage| (stage, 1.0)) }
    }

    /// Of teachers alone. The stage counts as much as they take the text for a negotiation.
    pub fn taught((grade, stage): Taught) -> Self {
        Self { grade: Some(grade), stage: Some((stage, grade[2])) }
    }

    /// Of a label and teachers both.
    pub fn with((grade, stage): Taught, item: &Labelled) -> Self {
        let Self { grade: label, stage: staged } = Self::of(item, true);
        Self {
            grade: label.map(|label| mixed(label, grade)),
            stage: staged.map(|(label, counts)| (mixed(label, stage), counts)),
        }
    }
}

fn mixed<const N: usize>(label: [f32; N], taught: [f32; N]) -> [f32; N] {
    std::array::from_fn(|i| (1.0 - TAUGHT) * label[i] + TAUGHT * taught[i])
}

fn smoothed<const N: usize>(class: usize) -> [f32; N] {
    std::array::from_fn(|i| SMOOTHING / N as f32 + if i == class { 1.0 - SMOOTHING } else { 0.0 })
}

impl Lessons<'_> {
    /// Cross-entropy of the grades and of the stages, each over what has a target. `batch` says which texts the logits are of.
    pub fn loss(&self, batch: &[usize], grades: &Tensor, stages: &Tensor, stage_weights: &Tensor) -> Tensor {
        let targets = || batch.iter().map(|&i| &self.targets[i]);
        let grade = targets().map(|target| target.grade.map(|grade| (grade, 1.0)));
        let stage = targets().map(|target| target.stage);
        let even = Tensor::ones([3], (Kind::Float, grades.device()));
        cross_entropy(grades, grade, &even) + STAGE_WEIGHT * cross_entropy(stages, stage, stage_weights)
    }

    /// How far two readings of each text of `batch` are apart, one in the first half of the rows and one in the second: the
    /// symmetric Kullback–Leibler divergence of the grades, and of the stages where there is one (Liang et al. 2021,
    /// "R-Drop: Regularized Dropout for Neural Networks").
    pub fn apart(&self, batch: &[usize], grades: &Tensor, stages: &Tensor) -> Tensor {
        let counts = |of: &dyn Fn(&Target) -> f32| batch.iter().map(|&i| of(&self.targets[i])).collect::<Vec<f32>>();
        let graded = counts(&|target| f32::from(u8::from(target.grade.is_some())));
        let staged = counts(&|target| target.stage.map_or(0.0, |(_, counts)| counts));
        divergence(grades, &graded) + STAGE_WEIGHT * divergence(stages, &staged)
    }

    /// What tells these lessons from others.
    pub fn fingerprint(&self, hasher: &mut blake3::Hasher) {
        for (text, target) in self.texts.iter().zip(&self.targets) {
            hasher.update(format!("{:?} {:?} {target:?}\n", text.ids, text.segments).as_bytes());
        }
    }
}

/// The mean over the rows that have a target, each by what it counts.
fn cross_entropy<const N: usize>(
    logits: &Tensor,
    targets: impl Iterator<Item = Option<([f32; N], f32)>>,
    weights: &Tensor,
) -> Tensor {
    let (mut flat, mut counted) = (Vec::new(), 0.0);
    for target in targets {
        let (target, counts) = target.unwrap_or(([0.0; N], 0.0));
        counted += f64::from(counts);
        flat.extend(target.map(|p| p * counts));
    }
    let target = Tensor::from_slice(&flat).view([-1, N as i64]) * weights;
    -(target * logits.log_softmax(-1, Kind::Float)).sum(Kind::Float) / counted.max(1.0)
}

/// The mean of the divergence between the rows of both halves, each by what it counts.
fn divergence(logits: &Tensor, counts: &[f32]) -> Tensor {
    let half = counts.len() as i64;
    let logs = logits.log_softmax(-1, Kind::Float);
    let (one, other) = (logs.narrow(0, 0, half), logs.narrow(0, half, half));
    let apart = ((one.exp() - other.exp()) * (one - other)).sum_dim_intlist(-1, false, Kind::Float) / 2.0;
    (apart * Tensor::from_slice(counts)).sum(Kind::Float) / f64::from(counts.iter().sum::<f32>().max(1.0))
}

/// Rare stages count more, by the root of their rarity; 1 on average over the items. `none`, the rarest, counts no more than
/// the average: it is what is left over, has nothing of its own to be learnt, and would be guessed too often.
pub(super) fn stage_weights<'a>(items: impl IntoIterator<Item = &'a Labelled>) -> Tensor {
    let mut counts = [0.0_f32; STAGES.len()];
    items.into_iter().filter_map(stage_class).for_each(|class| counts[class] += 1.0);
    let raw = counts.map(|n| 1.0 / (n + 1.0).sqrt());
    let mean = raw.iter().zip(counts).map(|(w, n)| w * n).sum::<f32>() / counts.iter().sum::<f32>().max(1.0);
    let mut weights = raw.map(|w| w / mean.max(1e-6));
    for (weight, stage) in weights.iter_mut().zip(STAGES) {
        *weight = if stage == Stage::None { weight.min(1.0) } else { *weight };
    }
    Tensor::from_slice(&weights)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn signed() -> Labelled {
        serde_json::from_str(r#"{"title":"Envoys sign accord","grade":2,"stage":"agreed"}"#).expect("an item")
    }

    /// How hard `targets` pull at each row of grades and stages.
    fn pulls(targets: Vec<Target>) -> Vec<(f64, f64)> {
        let rows = targets.len();
        let lessons = Lessons { texts: &[], targets };
        let logits =
            |width: i64| Tensor::zeros([rows as i64, width], (Kind::Float, tch::Device::Cpu)).set_requires_grad(true);
        let (grades, stages) = (logits(3), logits(6));
        let batch: Vec<usize> = (0..rows).collect();
        lessons.loss(&batch, &grades, &stages, &stage_weights(&[signed()])).backward();
        let pull = |logits: &Tensor, row| logits.grad().get(row).abs().sum(Kind::Double).double_value(&[]);
        (0..rows as i64).map(|row| (pull(&grades, row), pull(&stages, row))).collect()
    }

    #[test]
    fn what_is_learnt_for_its_stage_alone_moves_no_grade() {
        let found = pulls(vec![Target::of(&signed(), true), Target::of(&signed(), false)]);
        assert!(found[0].0 > 0.1 && found[0].1 > 0.1 && found[1].1 > 0.1, "{found:?}");
        assert_eq!(found[1].0, 0.0);
    }

    #[test]
    fn a_text_that_teachers_take_for_no_negotiation_teaches_no_stage() {
        let stage = [0.9, 0.1, 0.0, 0.0, 0.0, 0.0];
        let found = pulls(vec![Target::taught(([0.0, 0.1, 0.9], stage)), Target::taught(([1.0, 0.0, 0.0], stage))]);
        assert!(found[0].0 > 0.1 && found[0].1 > 0.1 && found[1].0 > 0.1, "{found:?}");
        assert_eq!(found[1].1, 0.0);
    }

    #[test]
    fn stages_in_the_data_are_learnt_beside_a_label_or_alone() {
        let taught = [0.0, 0.8, 0.0, 0.2, 0.0, 0.0];
        let stage =
            |grade| Target::of(&Labelled { grade, stages: Some(taught), ..signed() }, false).stage.expect("a stage").0;
        assert_eq!(stage(1), taught);
        let both = stage(2);
        assert!((both.iter().sum::<f32>() - 1.0).abs() < 1e-6 && both[3] > 0.5 && both[1] > 0.4, "{both:?}");
    }

    #[test]
    fn grades_in_the_data_take_the_place_of_the_label() {
        let taught = [0.1, 0.7, 0.2];
        let item = Labelled { grades: Some(taught), ..signed() };
        assert_eq!((Target::of(&item, true).grade, Target::of(&item, false).grade), (Some(taught), None));
    }

    #[test]
    fn teachers_and_label_share_the_target() {
        let target = Target::with(([0.0, 1.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0, 0.0]), &signed());
        let grade = target.grade.expect("a grade");
        assert!((grade.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{grade:?}");
        assert!(grade[1] > 0.5 && grade[2] > 0.4 && grade[0] < 0.02, "{grade:?}");
        let (stage, counts) = target.stage.expect("a stage");
        assert!(stage[1] > 0.5 && stage[3] > 0.4 && counts == 1.0, "{stage:?}");
    }

    /// The formula is libtorch's own where a target is one class.
    #[test]
    fn two_readings_are_apart_as_far_as_they_differ() {
        let lessons = Lessons { texts: &[], targets: vec![Target::of(&signed(), true), Target::of(&signed(), false)] };
        let even = Tensor::zeros([4, 6], (Kind::Float, tch::Device::Cpu));
        let apart = |grades: [f32; 12]| {
            let grades = Tensor::from_slice(&grades).view([4, 3]);
            lessons.apart(&[0, 1], &grades, &even).double_value(&[])
        };
        let alike = [0.0, 1.0, 2.0, 3.0, 0.0, 0.0, 0.0, 1.0, 2.0, 0.0, 0.0, 0.0];
        // The second has no grade to be learnt: how it is read does not matter.
        assert!(apart(alike).abs() < 1e-6, "{}", apart(alike));
        let mut further = alike;
        further[8] = 3.0;
        let near = apart(further);
        further[8] = 5.0;
        assert!(0.0 < near && near < apart(further));
    }

    #[test]
    fn the_loss_of_labels_is_libtorchs() {
        let items: Vec<Labelled> = vec![signed(); 3];
        let logits = |width| Tensor::arange(3 * width, (Kind::Float, tch::Device::Cpu)).view([3, width]).sin();
        let (grades, stages) = (logits(3), logits(6));
        let weights = stage_weights(&items);
        let targets = items.iter().map(|item| Target::of(item, true)).collect();
        let ours = Lessons { texts: &[], targets }.loss(&[0, 1, 2], &grades, &stages, &weights);
        let theirs = |logits: &Tensor, class: i64, weights: Option<&Tensor>| {
            let target = Tensor::from_slice(&[class; 3]);
            logits.cross_entropy_loss(&target, weights, tch::Reduction::Sum, -100, f64::from(SMOOTHING)) / 3.0
        };
        let theirs = theirs(&grades, 2, None) + theirs(&stages, 3, Some(&weights));
        let (ours, theirs) = (ours.double_value(&[]), theirs.double_value(&[]));
        assert!((ours - theirs).abs() < 1e-5, "{ours} {theirs}");
    }
}
