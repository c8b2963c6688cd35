//! `demarche backfill`: history through the same pipeline.

use std::path::PathBuf;

use clap::Args;
use futures_util::FutureExt;

use super::flow::{FlowArgs, block_on, drive};
use super::setup::setup;
use super::{Common, Exit, summary};
use crate::backfill::{Files, read_files};
use crate::pipeline::{Mode, feed_documents};
use crate::store::Store;

/// Arguments of `backfill`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  demarche backfill archive/ --state ./history --out history.jsonl")]
pub struct BackfillArgs {
    /// Feed documents (RSS, Atom, JSON Feed) or directories of them.
    #[arg(required = true, value_name = "FILE|DIR")]
    sources: Vec<PathBuf>,
    /// Print the closing totals as one JSON object on standard output.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    flow: FlowArgs,
}

pub(super) fn run(common: &Common, args: BackfillArgs) -> anyhow::Result<Exit> {
    let mut setup = setup(common)?;
    args.flow.lay_over(&mut setup)?;
    let files = Files::find(&args.sources)?;
    let _lock = Store::lock(&setup.state)?;
    let store = super::state::open(&setup)?;
    let totals = block_on(drive(&setup, store, Mode::Once, |flow, stop| {
        let (store, tally, stop_reading) = (flow.store.clone(), flow.tally.clone(), stop.clone());
        Ok(feed_documents(flow, |documents| read_files(files, store, tally, documents, stop_reading).boxed(), stop))
    }))?;
    summary::show(&totals, args.json, "files", &setup.alert_file())?;
    Ok(summary::exit(&totals))
}
