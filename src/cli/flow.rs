//! What `run`, `backfill` and `demo` share: flags over the configuration, and the parts of a flow.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::UsageError;
use super::progress::Progress;
use super::setup::{Setup, secret};
use crate::classify::{AlertOn, ClassifyConfig, Threshold, Worker};
use crate::pipeline::{AlertRule, Flow, Mode, Reopen, Stages, Tally, Totals};
use crate::sink::{OpenError, Outlet, Parts};
use crate::store::{Store, StoreHandle};

/// Flags over the configuration that every flow has.
#[derive(Debug, Default, Args)]
pub struct FlowArgs {
    /// Alert file, over `output.file`; `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Least probability of an alert (0–1), over `model.threshold`.
    #[arg(long, value_name = "X")]
    pub threshold: Option<f32>,
    /// Networks (CIDR) or hosts that may be fetched from although they are not public, besides `fetch.allow_net`.
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    pub allow_net: Vec<String>,
}

impl FlowArgs {
    /// Lays the flags over the configuration.
    pub(super) fn lay_over(&self, setup: &mut Setup) -> anyhow::Result<()> {
        let config = &mut setup.loaded.config;
        if let Some(out) = &self.out {
            // A flag's path starts where the user stands, a configured one in the state directory.
            config.output.file = if out.as_os_str() == "-" { out.clone() } else { std::path::absolute(out)? };
        }
        if let Some(threshold) = self.threshold {
            config.model.threshold = Threshold::At(threshold);
        }
        config.fetch.allow_net.extend(self.allow_net.iter().cloned());
        check_model(&config.model)
    }
}

fn check_model(model: &ClassifyConfig) -> anyhow::Result<()> {
    let problems = model.problems();
    if problems.is_empty() { Ok(()) } else { Err(UsageError(format!("use [model]: {}", problems.join("; "))).into()) }
}

/// Runs `work` on a runtime of its own and waits for everything it started.
pub(super) fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(work)
}

/// Loads the model, opens the sinks, starts `stages` on them, and waits until they end or a signal comes.
pub(super) async fn drive(
    setup: &Setup,
    store: Store,
    mode: Mode,
    stages: impl FnOnce(Flow, &CancellationToken) -> anyhow::Result<Stages>,
) -> anyhow::Result<Totals> {
    let tally = Arc::new(Tally::default());
    let progress = Progress::start(&tally, mode);
    drive_with(setup, store, mode, tally, progress, stages).await
}

/// As [`drive`], with a progress of the caller's.
pub(super) async fn drive_with(
    setup: &Setup,
    mut store: Store,
    mode: Mode,
    tally: Arc<Tally>,
    progress: Progress,
    stages: impl FnOnce(Flow, &CancellationToken) -> anyhow::Result<Stages>,
) -> anyhow::Result<Totals> {
    let config = setup.config();
    let outlets = open_sinks(setup)?;
    store.sync_sinks(&outlets.iter().map(|sink| (sink.name.clone(), sink.address.clone())).collect::<Vec<_>>())?;
    let (store, thread) = StoreHandle::start(store).context("start the store's thread")?;
    let (stop, reopen) = (CancellationToken::new(), Reopen::default());
    let work = async {
        let scorer = Worker::from_config(&config.model).await?;
        let rule = rule(&config.model, &scorer);
        tracing::info!(model = scorer.model().id, threshold = rule.threshold, "model loaded");
        let flow = Flow { store, scorer, rule, outlets, reopen: reopen.clone(), mode, tally: tally.clone() };
        let stages = stages(flow, &stop)?;
        anyhow::Ok(stages.join(config.run.drain).await?)
    };
    let ended =
        crate::shutdown::on_signals(&stop, &reopen, progress.beside(work)).await.context("install signal handlers")?;
    ended?;
    tokio::task::block_in_place(|| thread.join());
    Ok(tally.totals())
}

/// The main alert file and the sinks of the configuration.
fn open_sinks(setup: &Setup) -> anyhow::Result<Vec<Outlet>> {
    let config = setup.config();
    let parts = Parts {
        main: &setup.alert_file(),
        state: &setup.state,
        output: &config.output,
        delivery: &config.delivery,
        sinks: &config.sink,
        fetch: &config.fetch,
        secrets: &|name| secret(name).map_err(|error| error.to_string()),
    };
    crate::sink::open(&parts).map_err(|error| match error {
        OpenError::Sink(error) => error.into(),
        unusable @ OpenError::Unusable { .. } => UsageError(unusable.to_string()).into(),
    })
}

fn rule(model: &ClassifyConfig, scorer: &Worker) -> AlertRule {
    let info = scorer.model();
    let threshold = match model.alert_on {
        AlertOn::Negotiation => info.threshold,
        AlertOn::Diplomacy => info.threshold_diplomacy,
    };
    AlertRule { on: model.alert_on, threshold }
}
