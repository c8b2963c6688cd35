//! What `run`, `backfill` and `demo` share: flags over the configuration, and the parts of a flow.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use tokio_util::sync::CancellationToken;

use super::exit::UsageError;
use super::progress::Progress;
use super::setup::{Setup, secret};
use crate::classify::{AlertOn, ClassifyConfig, Prefilter, Threshold, Worker};
use crate::pipeline::{AlertRule, Flow, Handles, Mode, Stages, Tally, Totals};
use crate::sink::{OpenError, Outlet, Parts};
use crate::store::{Store, StoreHandle, StoreThread};

/// Flags over the configuration that every flow has.
#[derive(Debug, Default, Args)]
pub struct FlowArgs {
    /// Alert file, over `output.file`; a pipe or a device will do, and `-` is standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Least probability of an alert (0–1), over `model.threshold`.
    #[arg(long, value_name = "X")]
    pub threshold: Option<f32>,
    /// Networks (CIDR) or hosts that may be fetched from although they are not public, besides `fetch.allow_net`.
    #[arg(long, value_name = "CIDR", num_args = 1..)]
    pub allow_net: Vec<String>,
}

/// How long the end of the program waits for a thread that hangs in a system call. Everything has had `run.drain` by then, and
/// what hangs is not yet marked as done: longer only delays the next start.
const HUNG_WRITE: Duration = Duration::from_secs(1);

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
    let done = runtime.block_on(work);
    // What has ended ends at once here; a write that hangs (a reader of standard output that has stopped) never does.
    runtime.shutdown_timeout(HUNG_WRITE);
    done
}

/// What stays from one configuration to the next while the program runs.
#[derive(Default)]
pub(super) struct Session {
    /// Ends everything.
    pub stop: CancellationToken,
    /// What was done since the start.
    pub tally: Arc<Tally>,
    /// Whether the caller shows how far it is.
    quiet: bool,
    scorer: Option<(ClassifyConfig, Arc<Worker>)>,
}

/// Everything that a run needs and that may fail to be had, ready.
pub(super) struct Opened {
    store: StoreHandle,
    thread: StoreThread,
    outlets: Vec<Outlet>,
    scorer: Arc<Worker>,
    rule: AlertRule,
    mode: Mode,
}

impl Session {
    /// One whose caller shows how far it is.
    pub fn quiet() -> Self {
        Self { quiet: true, ..Self::default() }
    }

    /// Opens the sinks and loads the model, unless it is the one that is loaded.
    pub async fn open(&mut self, setup: &Setup, mut store: Store, mode: Mode) -> anyhow::Result<Opened> {
        let outlets = open_sinks(setup)?;
        let known: Vec<_> = outlets.iter().map(|sink| (sink.name.clone(), sink.address.clone())).collect();
        let model = &setup.config().model;
        let scorer = match &self.scorer {
            Some((config, scorer)) if config == model => scorer.clone(),
            _ => Arc::new(Worker::from_config(model).await?),
        };
        let rule = rule(model, &scorer);
        tracing::info!(model = scorer.model().id, threshold = rule.threshold, "model loaded");
        self.scorer = Some((model.clone(), scorer.clone()));
        store.sync_sinks(&known)?;
        // Of a backfill that was killed.
        store.merge_keys()?;
        let (store, thread) = StoreHandle::start(store).context("start the store's thread")?;
        Ok(Opened { store, thread, outlets, scorer, rule, mode })
    }

    /// Starts `stages` on what was opened and waits until they end. SIGTERM and SIGINT end them, SIGHUP calls `hang_up`.
    pub async fn run(
        &self,
        setup: &Setup,
        opened: Opened,
        hang_up: impl Fn(&Handles),
        stages: impl FnOnce(Flow, &CancellationToken) -> anyhow::Result<Stages>,
    ) -> anyhow::Result<()> {
        let Opened { store, thread, outlets, scorer, rule, mode } = opened;
        // A stage that fails ends this run; only a signal ends the session.
        let stop = self.stop.child_token();
        let handles = Handles::of(&stop);
        let tally = self.tally.clone();
        let stories = setup.config().stories.clone();
        let prefilter = Prefilter::new(&setup.config().model, &scorer.model(), rule.threshold)?.map(Arc::new);
        let keep = setup.config().state.keep(stories.window);
        let actors = Arc::new(super::setup::extractor(&setup.loaded)?);
        let handles_of_flow = handles.clone();
        let flow = Flow {
            store,
            scorer,
            rule,
            actors,
            stories,
            prefilter,
            outlets,
            handles: handles_of_flow,
            keep,
            mode,
            tally,
        };
        let work = async {
            let stages = stages(flow, &stop)?;
            anyhow::Ok(stages.join(setup.config().run.drain).await?)
        };
        let progress = if self.quiet { Progress::none(&self.tally) } else { Progress::start(&self.tally, mode) };
        let work = progress.beside(work);
        let work = crate::notify::beside(mode, &handles.pulse, &self.tally, &self.stop, work);
        let signals = crate::shutdown::on_signals(&self.stop, || hang_up(&handles), work);
        signals.await.context("install signal handlers")??;
        tokio::task::block_in_place(|| thread.join());
        Ok(())
    }

    /// What was done since the start.
    pub fn totals(&self) -> Totals {
        self.tally.totals()
    }
}

/// One run over one configuration.
pub(super) async fn drive(
    mut session: Session,
    setup: &Setup,
    store: Store,
    mode: Mode,
    stages: impl FnOnce(Flow, &CancellationToken) -> anyhow::Result<Stages>,
) -> anyhow::Result<Totals> {
    let opened = session.open(setup, store, mode).await?;
    session.run(setup, opened, |handles| handles.reopen.ask(), stages).await?;
    Ok(session.totals())
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

/// What is an alert by this configuration.
pub(super) fn rule(model: &ClassifyConfig, scorer: &Worker) -> AlertRule {
    let info = scorer.model();
    let threshold = match model.alert_on {
        AlertOn::Negotiation => info.threshold,
        AlertOn::Diplomacy => info.threshold_diplomacy,
    };
    AlertRule { on: model.alert_on, threshold }
}
