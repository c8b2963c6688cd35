//! What `demarche run --once` does, with a scorer that costs nothing: the fetcher, the parser and the store alone.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::Utc;
use demarche::classify::{AlertOn, Flush, ModelInfo, ScoreError, Scored, Scorer, Text, Worker};
use demarche::fetch::Fetcher;
use demarche::item::{GradeProbs, Reason, Stage, StageGuess, Verdict};
use demarche::pipeline::{AlertRule, Flow, Handles, Mode, Polling, Tally, live};
use demarche::sink::{FilePolicy, FileSink, Fsync, Outlet};
use demarche::store::{Keep, Store, StoreHandle};
use tokio_util::sync::CancellationToken;

/// Nothing here grows as old.
const DAY: Duration = Duration::from_secs(86_400);

/// Finds nothing relevant, at no cost.
struct Stub(ModelInfo);

impl Scorer for Stub {
    fn model(&self) -> &ModelInfo {
        &self.0
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        Ok(texts.iter().map(|_| verdict()).collect())
    }

    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        Ok(vec![Vec::new(); scored.len()])
    }
}

fn verdict() -> Verdict {
    Verdict {
        grade: GradeProbs { negotiation: 0.0, diplomacy: 0.0, neither: 1.0 },
        stage: StageGuess { label: Stage::None, confidence: 1.0 },
        reasons: Vec::new(),
        embedding: None,
    }
}

/// Polls every feed in `state` once and prints the totals as JSON.
pub fn run(state: &Path) {
    let config = demarche::config::load(None, std::env::vars()).expect("a configuration").config;
    let mut store = Store::open(state).expect("a database");
    store.watch(None).expect("the feeds");
    store.override_interval(0).expect("the schedule");
    let polling = Polling {
        fetcher: Arc::new(Fetcher::new(&config.fetch).expect("a client")),
        websub: config.websub,
        serve: config.serve,
        max_body: config.fetch.max_body.as_u64() as usize,
        credentials: Default::default(),
        outage: Mutex::default(),
        schedule: config.schedule,
        concurrency: config.fetch.concurrency,
        interval: Some(Duration::ZERO),
        started: Utc::now(),
    };
    let tally = Arc::new(Tally::default());
    tokio::runtime::Runtime::new().expect("a runtime").block_on(async {
        let info = ModelInfo { id: "stub".into(), threshold: 0.5, threshold_diplomacy: 0.5 };
        let (store, thread) = StoreHandle::start(store).expect("a thread");
        let flush = Flush { items: 1, after: Duration::ZERO };
        let policy = FilePolicy::plain(Fsync::Always);
        let file = FileSink::open(&state.join("alerts.jsonl"), policy).expect("a file");
        let stop = CancellationToken::new();
        let flow = Flow {
            store,
            scorer: Arc::new(Worker::start(1, flush, || Ok(Box::new(Stub(info)))).await.expect("a scorer")),
            rule: AlertRule { on: AlertOn::Negotiation, threshold: 0.5 },
            actors: Arc::new(demarche::actors::Extractor::new(&[]).expect("the built-in dictionary")),
            // Nothing is scored here, so that nothing can be saved.
            stories: demarche::cluster::StoriesConfig { copies: 0, ..config.stories.clone() },
            prefilter: None,
            outlets: vec![Outlet::main(file)],
            handles: Handles::of(&stop),
            keep: Keep { items: DAY, alerts: DAY, seen: DAY, stories: DAY },
            mode: Mode::Once,
            tally: tally.clone(),
        };
        live(flow, polling, &stop).join(Duration::from_secs(60)).await.expect("a run to its end");
        tokio::task::block_in_place(|| thread.join());
    });
    println!("{}", serde_json::to_string(&tally.totals()).expect("plain numbers"));
}
