//! The flow as tasks: intake (schedule → fetch → parse → dedup) ⇒ commit ⇒ judge ⇒ deliver.
//!
//! Between the two durable boundaries the database itself is the queue: a stage reads what waits there, so the path
//! after a crash is the everyday path. Wake-ups only say that there is something to read.

pub mod capacity;
mod commit;
mod deliver;
mod fetch;
mod history;
mod judge;
mod lane;
mod memory;
mod persist;
mod poll;
mod pulse;
mod round;
mod schedule;
mod stages;
mod tally;
mod tidy;
mod timing;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};
use thiserror::Error;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::actors::Extractor;
use crate::classify::{AlertOn, Prefilter, ScoreError, Worker};
use crate::cluster::StoriesConfig;
use crate::fetch::{Credential, Fetcher};
use crate::schedule::{Outage, ScheduleConfig};
use crate::serve::{Serve, ServeConfig};
use crate::sink::{Outlet, SinkError};
use crate::store::{Keep, Poll, StoreError, StoreHandle};
use crate::websub::{Push, WebsubConfig};

pub use commit::{Document, Kind};
pub use deliver::Reopen;
pub use history::{History, Rejects, feed_history};
pub use pulse::{HUNG, Pulse};
pub use stages::Stages;
pub use tally::{Tally, Totals};
pub use timing::Timing;

/// Why a run ended before its work did. What was accepted waits in the state directory for the next run.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The database refused.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The model failed.
    #[error(transparent)]
    Score(#[from] ScoreError),
    /// A sink refused.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// Stages did not finish in time after the run was told to stop.
    #[error("stop within {}: still busy: {stages}", humantime_serde::re::humantime::format_duration(*drain))]
    Stuck {
        /// The stages, by name.
        stages: String,
        /// The time they had.
        drain: Duration,
    },
    /// An address cannot be listened on.
    #[error("listen on {address} ({key}): {source}")]
    Listen {
        /// The address.
        address: String,
        /// Where it is configured.
        key: &'static str,
        /// What the system said.
        source: std::io::Error,
    },
    /// A stage panicked: a fault of this program.
    #[error("finish stage {stage}: it panicked; please report this with the log")]
    Panicked {
        /// The stage.
        stage: &'static str,
    },
    /// A file of a backfill cannot be written.
    #[error("write {path}: {source}")]
    Unwritable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A file or directory of a backfill cannot be read.
    #[error("read {path}: {source}")]
    Unreadable {
        /// The file or directory.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Whether a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Until it is told to stop; passing troubles are waited out.
    Daemon,
    /// Until everything that is due has been polled once; troubles end it.
    Once,
}

/// What an item must reach to be an alert.
#[derive(Debug, Clone, Copy)]
pub struct AlertRule {
    /// Which probability is compared.
    pub on: AlertOn,
    /// Least probability, 0–1.
    pub threshold: f32,
}

/// What every run has: where state lives, who judges, where alerts go.
pub struct Flow {
    /// The store.
    pub store: StoreHandle,
    /// The scorer.
    pub scorer: Arc<Worker>,
    /// What is an alert.
    pub rule: AlertRule,
    /// Who is recognised in it.
    pub actors: Arc<Extractor>,
    /// When alerts are of one story.
    pub stories: StoriesConfig,
    /// What settles items in front of the scorer, if anything does.
    pub prefilter: Option<Arc<Prefilter>>,
    /// Where alerts go.
    pub outlets: Vec<Outlet>,
    /// How it is watched and steered from outside.
    pub handles: Handles,
    /// How long the state is kept.
    pub keep: Keep,
    /// Whether troubles are waited out.
    pub mode: Mode,
    /// The counters.
    pub tally: Arc<Tally>,
}

/// How a run is watched and steered from outside. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handles {
    /// Asks the sinks to open their files anew.
    pub reopen: Reopen,
    /// Whether the stages get on.
    pub pulse: Pulse,
    /// Cancelled, no poll begins any more; those under way are finished and what came in is judged and delivered. Ends
    /// with the run's own token too.
    pub intake: CancellationToken,
}

impl Handles {
    /// Those of a run that ends with `stop`.
    pub fn of(stop: &CancellationToken) -> Self {
        Self { reopen: Reopen::default(), pulse: Pulse::default(), intake: stop.child_token() }
    }
}

/// How feeds are polled.
pub struct Polling {
    /// The fetcher.
    pub fetcher: Arc<Fetcher>,
    /// Secret headers, by the feed's address.
    pub credentials: HashMap<String, Credential>,
    /// Whether any host can be reached.
    pub outage: Mutex<Outage>,
    /// When feeds are due.
    pub schedule: ScheduleConfig,
    /// Fetches at once.
    pub concurrency: usize,
    /// Replaces every floor and server hint.
    pub interval: Option<Duration>,
    /// How hubs reach us; polls notice hubs only where they can.
    pub websub: WebsubConfig,
    /// Where metrics and health are served.
    pub serve: ServeConfig,
    /// Largest document, bytes.
    pub max_body: usize,
    /// When the run began: a run that ends by itself polls each feed once.
    pub started: DateTime<Utc>,
}

/// Polls the feeds in the store until nothing is due ([`Mode::Once`]), the intake is ended or `stop` is cancelled.
pub fn live(flow: Flow, polling: Polling, stop: &CancellationToken) -> Stages {
    let (mode, intake, pulse) = (flow.mode, flow.handles.intake.clone(), flow.handles.pulse.clone());
    let persist = persist::Persist { store: flow.store.clone(), mode, stop: intake.clone(), pulse, stage: "schedule" };
    let (job_sender, jobs) = mpsc::channel(capacity::IN_FLIGHT);
    let (finished_sender, finished) = mpsc::channel(capacity::IN_FLIGHT);
    let (documents_sender, documents) = mpsc::channel(capacity::DOCUMENTS);
    let mut stages = Stages::new(stop.clone());
    let once = (mode == Mode::Once).then_some(polling.started);
    let gate = schedule::gate(&polling.schedule, polling.interval);
    let longest = polling.schedule.longest_plan();
    let schedule =
        schedule::Schedule { persist, once, gate, longest, jobs: job_sender, finished, stop: intake.clone() };
    stages.spawn("schedule", schedule.run());
    if mode == Mode::Daemon {
        let model = flow.scorer.model().id;
        let (tally, handles) = (flow.tally.clone(), flow.handles.clone());
        let serve = Serve { store: flow.store.clone(), tally, handles, model };
        stages.spawn("serve", serve.run(polling.serve, intake.clone()));
    }
    if let Some(callback) = polling.websub.callback.clone().filter(|_| mode == Mode::Daemon) {
        let push = Push {
            fetcher: polling.fetcher.clone(),
            store: flow.store.clone(),
            config: polling.websub.clone(),
            max_body: polling.max_body,
            documents: documents_sender.clone(),
        };
        stages.spawn("websub", push.run(callback, intake.clone()));
    }
    stages.spawn("fetch", fetch::run(polling, jobs, documents_sender, intake, stop.clone()));
    downstream(&mut stages, flow, documents, Some(finished_sender), stop);
    stages
}

fn downstream(
    stages: &mut Stages,
    flow: Flow,
    documents: mpsc::Receiver<Document>,
    finished: Option<mpsc::Sender<schedule::Finished>>,
    stop: &CancellationToken,
) {
    let tally = flow.tally.clone();
    let (persist, backlog, wake) = judging(stages, flow, stop);
    let commit = commit::Commit { persist, tally, backlog, wake, finished };
    stages.spawn("commit", commit.run(documents));
}

/// Starts judge and deliver; gives what the stage in front of them shares with them.
fn judging(
    stages: &mut Stages,
    flow: Flow,
    stop: &CancellationToken,
) -> (persist::Persist, Arc<commit::Backlog>, mpsc::Sender<()>) {
    let (judge_wake, judge_woken) = mpsc::channel(capacity::WAKE);
    let (deliver_wake, deliver_woken) = mpsc::channel(capacity::WAKE);
    let backlog = Arc::new(commit::Backlog::default());
    let Flow { store, scorer, rule, actors, stories, prefilter, outlets, handles, keep, mode, tally } = flow;
    let Handles { reopen, pulse, intake } = handles;
    let persist = persist::Persist { store, mode, stop: stop.clone(), pulse, stage: "commit" };
    let shared = (persist.clone(), backlog.clone(), judge_wake);
    let judge = judge::Judge {
        persist: persist.of("judge"),
        scorer,
        rule,
        actors,
        stories,
        prefilter,
        tally: tally.clone(),
        backlog,
        wake: deliver_wake,
    };
    stages.spawn("judge", judge.run(judge_woken));
    stages.spawn("tidy", tidy::Tidy { persist: persist.of("tidy"), keep }.run(intake));
    stages.spawn(
        "deliver",
        deliver::Deliver { persist: persist.of("deliver"), outlets, reopen, tally }.run(deliver_woken),
    );
    shared
}

/// A poll as the commit stage stores it.
type Polls = Arc<Vec<Poll>>;
