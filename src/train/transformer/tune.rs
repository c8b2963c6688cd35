//! Fine-tuning: epochs of AdamW, a running mean of the weights, and the epoch that did best on dev.

use tch::{Tensor, no_grad};

use super::adamw::{self, Variable};
use super::checkpoint::Checkpoint;
use super::lessons::Lessons;
use super::{batches, hide, predict, schedule};
use crate::classify::bert::{Batch, Encoded, Network};
use crate::classify::{calibrate, likeliest, softmax};
use crate::eval::metrics::average_precision;
use crate::train::data::{Labelled, staged};
use crate::train::progress::{Progress, say};
use crate::train::{Rng, TrainArgs, TrainError};

/// Share of the running mean of the weights that stays at each step: it looks back some 200 steps, which evens out what
/// single batches pull at. The mean is what is measured and kept.
const SMOOTH: f64 = 0.995;
/// Epochs without a better one on dev before the rest is left out.
const PATIENCE: usize = 2;

/// Everything that a run needs to go on after an epoch.
pub(super) struct State {
    /// Epochs done.
    pub epoch: usize,
    /// Steps done.
    pub step: usize,
    /// The epoch that did best on dev.
    pub best_epoch: usize,
    /// How well.
    pub best: f64,
    variables: Vec<Variable>,
    /// The running mean of each variable, and its value in the best epoch.
    kept: Vec<(Tensor, Tensor)>,
}

impl State {
    fn new(network: &Network) -> Self {
        let mut tuned: Vec<(String, Tensor)> =
            network.vs.variables().into_iter().filter(|(_, variable)| variable.requires_grad()).collect();
        tuned.sort_by(|a, b| a.0.cmp(&b.0));
        let copy = |value: &Tensor| value.detach().copy();
        let kept = tuned.iter().map(|(_, value)| (copy(value), copy(value))).collect();
        let variables = tuned.into_iter().map(|(name, value)| Variable::new(name, value)).collect();
        Self { epoch: 0, step: 0, best_epoch: 0, best: f64::NEG_INFINITY, variables, kept }
    }

    /// Every tensor by a name for the checkpoint.
    pub(super) fn tensors(&self) -> Vec<(String, Tensor)> {
        let of = |(v, (smooth, best)): (&Variable, &(Tensor, Tensor))| {
            let parts =
                [("value", &v.value), ("mean", &v.mean), ("square", &v.square), ("smooth", smooth), ("best", best)];
            parts.map(|(part, tensor)| (format!("{part}.{}", v.name), tensor.detach()))
        };
        self.variables.iter().zip(&self.kept).flat_map(of).collect()
    }

    fn step(&mut self, rate: f64) {
        self.step += 1;
        adamw::step(&mut self.variables, rate, i32::try_from(self.step).unwrap_or(i32::MAX));
        // A young mean forgets faster: it began at the untrained weights.
        let stays = SMOOTH.min(self.step as f64 / (self.step as f64 + 9.0));
        no_grad(|| {
            for (variable, (smooth, _)) in self.variables.iter().zip(&mut self.kept) {
                let _ = smooth.lerp_(&variable.value, 1.0 - stays);
            }
        });
    }

    /// Runs `work` with the running means in the network's place.
    fn with_means<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let values: Vec<Tensor> = self.variables.iter().map(|variable| variable.value.detach().copy()).collect();
        self.set(|(smooth, _)| smooth.shallow_clone());
        let result = work();
        for (variable, value) in self.variables.iter_mut().zip(values) {
            no_grad(|| variable.value.copy_(&value));
        }
        result
    }

    fn set(&mut self, to: impl Fn(&(Tensor, Tensor)) -> Tensor) {
        for (variable, kept) in self.variables.iter_mut().zip(&self.kept) {
            no_grad(|| variable.value.copy_(&to(kept)));
        }
    }

    fn offer(&mut self, score: f64) {
        if score > self.best {
            (self.best, self.best_epoch) = (score, self.epoch);
            for (smooth, best) in &mut self.kept {
                best.copy_(smooth);
            }
        }
    }
}

/// Tunes the network's open variables on `train`; leaves the means of the epoch that did best on `dev` in it.
pub(super) fn fine_tune(
    network: &Network,
    train: &Lessons<'_>,
    stage_weights: &Tensor,
    (dev_texts, dev): (&[Encoded], &[Labelled]),
    args: &TrainArgs,
) -> Result<(), TrainError> {
    let epochs = args.epochs.unwrap_or(super::EPOCHS);
    let checkpoint = Checkpoint::of(args, train, dev);
    let mut state = State::new(network);
    if checkpoint.restore(&mut state)? {
        say(&format!("going on after epoch {}", state.epoch));
    }
    while state.epoch < epochs && state.epoch - state.best_epoch < PATIENCE {
        epoch(network, train, stage_weights, &mut state, epochs, args)?;
        let (grades, stages) = state.with_means(|| predict(network, dev_texts))?;
        let (score, said) = if args.stage_layers > 0 { by_stages(&stages, dev) } else { by_grades(&grades, dev) };
        say(&format!("epoch {}: {said} on dev", state.epoch));
        state.offer(score);
        checkpoint.save(&state)?;
    }
    say(&format!("epoch {} is kept", state.best_epoch));
    state.set(|(_, best)| best.shallow_clone());
    checkpoint.remove();
    Ok(())
}

/// One time through the data. Its random choices depend on seed and epoch alone, so a resumed run makes the same.
fn epoch(
    network: &Network,
    train: &Lessons<'_>,
    stage_weights: &Tensor,
    state: &mut State,
    epochs: usize,
    args: &TrainArgs,
) -> Result<(), TrainError> {
    let seed = args.seed.wrapping_mul(1_000).wrapping_add(state.epoch as u64);
    tch::manual_seed(seed as i64);
    let total = epochs * train.texts.len().div_ceil(args.batch);
    let mut progress = Progress::new("training", train.texts.len());
    let mut rng = Rng(seed);
    for batch in batches(train.texts, args.batch, &mut rng) {
        let hidden: Vec<Encoded> = batch.iter().map(|&i| hide::some(&train.texts[i], args.hide, &mut rng)).collect();
        adamw::zero_grad(&mut state.variables);
        let loss = loss(network, train, stage_weights, (&batch, &hidden), args.r_drop)?;
        let value = loss.double_value(&[]);
        if !value.is_finite() {
            return Err(TrainError::Diverged { step: state.step });
        }
        loss.backward();
        let rate = args.lr.unwrap_or(super::RATE) * schedule(state.step, total);
        state.step(rate);
        let note = format!("epoch {} of {epochs}, loss {value:.3}", state.epoch + 1);
        progress.advance(batch.len(), &note);
    }
    state.epoch += 1;
    Ok(())
}

/// The loss on a batch: places of its texts, and the texts with some word pieces hidden. With `r_drop` each is read twice, with other
/// units left out, and the two are held to agree.
fn loss(
    network: &Network,
    train: &Lessons<'_>,
    stage_weights: &Tensor,
    (batch, hidden): (&[usize], &[Encoded]),
    r_drop: f64,
) -> Result<Tensor, TrainError> {
    let times = if r_drop > 0.0 { 2 } else { 1 };
    let places = batch.repeat(times);
    let encoded: Vec<&Encoded> = std::iter::repeat_n(hidden, times).flatten().collect();
    let (grades, stages) = network.logits(&Batch::of(&encoded), true)?;
    let loss = train.loss(&places, &grades, &stages, stage_weights);
    Ok(if times == 2 { loss + r_drop * train.apart(batch, &grades, &stages) } else { loss })
}

/// How well the grades are told, and in words: the mean logarithm of the true grade's probability once calibrated, which rests on all of
/// dev, where average precision rests on its few negotiations.
fn by_grades(grades: &[[f32; 3]], dev: &[Labelled]) -> (f64, String) {
    let p: Vec<[f32; 3]> = grades.iter().map(softmax).collect();
    let ap = |score: &dyn Fn(&[f32; 3]) -> f32, least: u8| {
        let scores: Vec<f32> = p.iter().map(score).collect();
        average_precision(&scores, &dev.iter().map(|item| item.grade >= least).collect::<Vec<_>>())
    };
    let (negotiation, diplomacy) = (ap(&|p| p[2], 2), ap(&|p| p[1] + p[2], 1));
    let classes: Vec<usize> = dev.iter().map(|item| usize::from(item.grade)).collect();
    let loss = calibrate::loss(grades, &classes, calibrate::temperature(grades, &classes));
    (-loss, format!("loss {loss:.4}, average precision {negotiation:.4}, with diplomacy {diplomacy:.4}"))
}

/// How well the stages of the negotiations are told, and in words: the mean logarithm of the true stage's probability, which few items
/// tell more of than how many stages are right.
fn by_stages(stages: &[[f32; 6]], dev: &[Labelled]) -> (f64, String) {
    let (logits, classes) = staged(stages, dev);
    let right = logits.iter().zip(&classes).filter(|(logits, class)| likeliest(logits) == **class).count();
    let loss = calibrate::loss(&logits, &classes, 1.0);
    (-loss, format!("loss of the stages {loss:.4}, {:.3} of them right", right as f64 / classes.len().max(1) as f64))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::super::lessons::{Target, stage_weights};
    use super::*;
    use crate::classify::bert::{Encoder, is_tuned};
    use crate::classify::config::tests::shipped;
    use crate::train::Family;

    fn args(out: PathBuf) -> TrainArgs {
        TrainArgs {
            data: Vec::new(),
            stages: Vec::new(),
            dev: None,
            out,
            base: None,
            average: Vec::new(),
            teacher: Vec::new(),
            unlabelled: None,
            family: Family::Transformer,
            id: None,
            about: String::new(),
            seed: 1,
            layers: 1,
            epochs: Some(2),
            lr: None,
            batch: 4,
            max_tokens: 32,
            hide: 0.0,
            r_drop: 0.0,
            stage_layers: 0,
            stage_from: None,
            keep_stages: false,
        }
    }

    fn items() -> Vec<Labelled> {
        let path = std::path::Path::new("tests/data/labelled.jsonl");
        crate::train::data::read(path).expect("the samples are valid").into_iter().step_by(5).collect()
    }

    /// A network with its last layer open, and the samples as it reads them.
    fn start(items: &[Labelled]) -> (Network, Vec<Encoded>) {
        let base = shipped().base_dir();
        tch::manual_seed(7);
        let network = Network::open(&base, 0).expect("the base model is there: run `make setup`");
        for (name, variable) in network.vs.variables() {
            let _ = variable.set_requires_grad(is_tuned(&name, network.layers, 1));
        }
        let encoder = Encoder::open(&base, 32).expect("opens");
        (network, items.iter().map(|item| encoder.encode(&item.text())).collect())
    }

    fn lessons<'a>(items: &[Labelled], texts: &'a [Encoded]) -> (Lessons<'a>, Tensor) {
        let targets = items.iter().map(|item| Target::of(item, true)).collect();
        (Lessons { texts, targets }, stage_weights(items))
    }

    fn sums(state: &State) -> Vec<f64> {
        state.tensors().iter().map(|(_, tensor)| tensor.abs().sum(tch::Kind::Double).double_value(&[])).collect()
    }

    #[test]
    fn an_epoch_is_better_by_how_probable_it_makes_the_labels_however_sure_it_sounds() {
        let dev: Vec<Labelled> = [0, 1, 2, 0, 2].map(|grade| Labelled { grade, ..items().swap_remove(0) }).into();
        // The fourth is taken for grade 1: a little, or surely. Both put every negotiation first.
        let of = |slip: f32| {
            let row = |class: usize, by: f32| std::array::from_fn(|i| if i == class { by } else { 0.0 });
            [row(0, 3.0), row(1, 3.0), row(2, 3.0), row(1, slip), row(2, 3.0)]
        };
        let [(little, said), (sure, _)] = [0.5, 6.0].map(|slip| by_grades(&of(slip), &dev));
        assert!(little > sure && said.contains("average precision 1.0000"), "{little} {sure} {said}");
        let (louder, _) = by_grades(&of(0.5).map(|row| row.map(|x| 4.0 * x)), &dev);
        assert!((louder - little).abs() < 1e-3, "{louder} {little}");
    }

    /// libtorch has one generator of chance for the whole process, and other tests draw from it at the same time.
    #[test]
    fn a_resumed_run_ends_where_an_unbroken_one_does() {
        let alone = concat!(module_path!(), "::alone_a_resumed_run_ends_where_an_unbroken_one_does");
        let (_crate, name) = alone.split_once("::").expect("a path");
        let program = std::env::current_exe().expect("this test's program");
        let run =
            std::process::Command::new(program).args(["--exact", name, "--ignored", "--test-threads", "1"]).output();
        let output = run.expect("runs");
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(
            output.status.success() && said.contains("1 passed"),
            "{said}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    }

    #[test]
    #[ignore = "run by the test above, in a process of its own"]
    fn alone_a_resumed_run_ends_where_an_unbroken_one_does() {
        let dir = tempfile::tempdir().expect("directory");
        let (args, items) = (args(dir.path().into()), items());
        let (network, texts) = start(&items);
        let (lessons, weights) = lessons(&items, &texts);
        let checkpoint = Checkpoint::of(&args, &lessons, &items);
        let mut unbroken = State::new(&network);
        let untrained = sums(&unbroken);
        epoch(&network, &lessons, &weights, &mut unbroken, 2, &args).expect("trains");
        unbroken.offer(0.5);
        checkpoint.save(&unbroken).expect("saves");
        epoch(&network, &lessons, &weights, &mut unbroken, 2, &args).expect("trains");

        let (network, _) = start(&items);
        let mut resumed = State::new(&network);
        assert!(checkpoint.restore(&mut resumed).expect("reads"));
        assert_eq!((resumed.epoch, resumed.best_epoch), (1, 1));
        epoch(&network, &lessons, &weights, &mut resumed, 2, &args).expect("trains");
        assert_eq!(sums(&resumed), sums(&unbroken));
        assert_ne!(sums(&resumed), untrained);
    }

    #[test]
    fn another_runs_checkpoint_and_a_damaged_one_are_refused() {
        let dir = tempfile::tempdir().expect("directory");
        let items = items();
        let (network, texts) = start(&items);
        let (lessons, _) = lessons(&items, &texts);
        let mut state = State::new(&network);
        let mut args = args(dir.path().into());
        Checkpoint::of(&args, &lessons, &items).save(&state).expect("saves");
        args.seed = 2;
        let complaint = |state: &mut State| {
            let error = Checkpoint::of(&args, &lessons, &items).restore(state).expect_err("refused").to_string();
            assert!(error.contains("checkpoint.safetensors") && error.contains("--out"), "{error}");
            error
        };
        assert!(complaint(&mut state).contains("other data or settings"));
        let file = dir.path().join("checkpoint.safetensors");
        let half = std::fs::read(&file).expect("reads");
        std::fs::write(&file, &half[..half.len() / 2]).expect("writes");
        complaint(&mut state);
    }
}
