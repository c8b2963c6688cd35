//! The mean of several trained networks. Networks tuned from one base by one recipe lie close enough together that the mean
//! of their weights is a network too, and one that has forgotten what each alone had learnt by heart.

use std::path::PathBuf;

use tch::{Tensor, no_grad};

use super::lay;
use crate::classify::ScoreError;
use crate::classify::bert::{Network, is_tuned};
use crate::classify::manifest::same;

/// Puts the mean of the transformers in `dirs` into `network`. Each must have the same layers tuned.
pub(super) fn into(network: &mut Network, dirs: &[PathBuf], tuned: usize) -> Result<(), ScoreError> {
    let layers = network.layers;
    let open = |network: &Network| {
        let mut open: Vec<(String, Tensor)> =
            network.vs.variables().into_iter().filter(|(name, _)| is_tuned(name, layers, tuned)).collect();
        open.sort_by(|a, b| a.0.cmp(&b.0));
        open
    };
    let mut sums: Vec<Tensor> = open(network).iter().map(|(_, value)| value.detach().zeros_like()).collect();
    for dir in dirs {
        let found = lay(network, dir)?;
        same(&dir.display().to_string(), "tuned_layers", &found.to_string(), &tuned.to_string())?;
        sums.iter_mut().zip(open(network)).for_each(|(sum, (_, value))| *sum += value.detach());
    }
    for ((_, mut value), sum) in open(network).into_iter().zip(sums) {
        no_grad(|| value.copy_(&(sum / dirs.len() as f64)));
    }
    Ok(())
}
