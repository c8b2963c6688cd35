//! temporary
use super::{Exit, setup::Setup};
use clap::Args;
/// x
#[derive(Debug, Args)]
pub struct CheckArgs {
    urls: Vec<String>,
}
pub(super) fn run(_: &Setup, _: CheckArgs) -> anyhow::Result<Exit> {
    Ok(Exit::Ok)
}
