//! The state of a run after an epoch, so that a run that was broken off goes on where it was.

use std::path::{Path, PathBuf};

use tch::Tensor;

use super::lessons::Lessons;
use super::tune::State;
use crate::classify::ScoreError;
use crate::classify::bert::inference;
use crate::classify::package::MANIFEST;
use crate::train::TrainArgs;
use crate::train::data::Labelled;

/// File name inside the run's directory.
const FILE: &str = "checkpoint.safetensors";

/// Where a run keeps its state, and what tells its own from another's.
pub(super) struct Checkpoint {
    path: PathBuf,
    run: Vec<i64>,
}

impl Checkpoint {
    pub(super) fn of(args: &TrainArgs, lessons: &Lessons<'_>, dev: &[Labelled]) -> Self {
        Self { path: args.out.join(FILE), run: fingerprint(args, lessons, dev) }
    }

    /// Reads the state of the same run back, if there is any; `state` is a fresh one.
    pub(super) fn restore(&self, state: &mut State) -> Result<bool, ScoreError> {
        if !self.path.exists() {
            return Ok(false);
        }
        let tensors = Tensor::read_safetensors(&self.path).map_err(|error| self.bad(error.to_string()))?;
        let find = |name: &str| {
            let found = tensors.iter().find(|(n, _)| n == name).map(|(_, tensor)| tensor);
            found.ok_or_else(|| self.bad(format!("tensor {name} is missing")))
        };
        if Vec::<i64>::try_from(find("run")?).map_err(inference)? != self.run {
            return Err(self.bad("it is of a run with other data or settings".into()));
        }
        let counts = Vec::<i64>::try_from(find("counts")?).map_err(inference)?;
        let scores = Vec::<f64>::try_from(find("scores")?).map_err(inference)?;
        let ([epoch, step, best_epoch], [best]) = (&counts[..], &scores[..]) else {
            return Err(self.bad("it is damaged".into()));
        };
        (state.epoch, state.step) = (*epoch as usize, *step as usize);
        (state.best_epoch, state.best) = (*best_epoch as usize, *best);
        state
            .tensors()
            .into_iter()
            .try_for_each(|(name, mut tensor)| tch::no_grad(|| tensor.f_copy_(find(&name)?).map_err(inference)))?;
        Ok(true)
    }

    /// Writes the state; the old file stays whole until the new one is.
    pub(super) fn save(&self, state: &State) -> Result<(), ScoreError> {
        let counts = [state.epoch, state.step, state.best_epoch].map(|n| n as i64);
        let mut tensors = state.tensors();
        tensors.push(("run".into(), Tensor::from_slice(&self.run)));
        tensors.push(("counts".into(), Tensor::from_slice(&counts)));
        tensors.push(("scores".into(), Tensor::from_slice(&[state.best])));
        let fresh = self.path.with_extension("new");
        let io = |source| ScoreError::File { path: self.path.clone(), source, remedy: "choose another --out" };
        std::fs::create_dir_all(self.path.parent().unwrap_or(Path::new("."))).map_err(io)?;
        Tensor::write_safetensors(&tensors, &fresh).map_err(|error| self.bad(error.to_string()))?;
        std::fs::rename(&fresh, &self.path).map_err(io)
    }

    /// The run is over: its result stands beside.
    pub(super) fn remove(&self) {
        // What cannot be removed is refused by the next run, which says so.
        let _ = std::fs::remove_file(&self.path);
    }

    fn bad(&self, reason: String) -> ScoreError {
        let source = std::io::Error::new(std::io::ErrorKind::InvalidData, reason);
        ScoreError::File {
            path: self.path.clone(),
            source,
            remedy: "remove it to start afresh, or choose another --out",
        }
    }
}

/// Everything that decides how the run goes on.
fn fingerprint(args: &TrainArgs, lessons: &Lessons<'_>, dev: &[Labelled]) -> Vec<i64> {
    let mut hasher = blake3::Hasher::new();
    let settings = (
        args.seed,
        args.layers,
        args.stage_layers,
        args.keep_stages,
        args.epochs,
        args.batch,
        args.max_tokens,
        &args.base,
        &args.stage_from,
    );
    let reals = [args.lr, Some(args.hide), Some(args.r_drop)].map(|real| real.map(f64::to_bits));
    hasher.update(format!("{settings:?} {reals:?}").as_bytes());
    // The manifest has the hash of the weights. One that cannot be read has been refused before.
    for dir in args.base.iter().chain(&args.stage_from) {
        hasher.update(&std::fs::read(dir.join(MANIFEST)).unwrap_or_default());
    }
    lessons.fingerprint(&mut hasher);
    for item in dev {
        hasher.update(format!("{:?} {}\n", item.both(), item.grade).as_bytes());
    }
    hasher.finalize().as_bytes().iter().map(|&byte| i64::from(byte)).collect()
}
