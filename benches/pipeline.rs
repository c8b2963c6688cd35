//! The pipeline without the model: documents from disk, parsed, deduplicated, committed, judged by a stub, delivered.
//!
//! What it measures is everything that demarche itself adds around the scorer. `cargo bench --bench pipeline`.

use std::collections::HashMap;
use std::fmt::Write;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use demarche::backfill::{Caps, FieldMap, Limits, Plan, Source, Window, Work, read_sources};
use demarche::classify::{AlertOn, Flush, ModelInfo, ScoreError, Scored, Scorer, Text, Worker};
use demarche::item::{GradeProbs, Identity, Reason, Stage, StageGuess, Verdict};
use demarche::pipeline::{AlertRule, Flow, Handles, History, Mode, Tally, Totals, feed_history};
use demarche::sink::{FilePolicy, FileSink, Fsync, Outlet};
use demarche::store::{Keep, Store, StoreHandle};
use futures_util::FutureExt;
use tokio_util::sync::CancellationToken;

const DOCUMENTS: usize = 100;
const ITEMS: usize = 30;

/// As shipped: the pipeline hands over whole batches, so that this is never waited for.
const FLUSH: Flush = Flush { items: 128, after: Duration::from_millis(20) };

/// Nothing here grows as old.
const MONTH: Duration = Duration::from_secs(30 * 86_400);

/// Finds every twentieth item relevant, at no cost.
struct Stub(ModelInfo);

impl Scorer for Stub {
    fn model(&self) -> &ModelInfo {
        &self.0
    }

    fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
        Ok(texts.iter().map(|text| verdict(text.title.contains("talks"))).collect())
    }

    fn explain(&mut self, scored: &[Scored]) -> Result<Vec<Vec<Reason>>, ScoreError> {
        Ok(vec![Vec::new(); scored.len()])
    }
}

fn verdict(relevant: bool) -> Verdict {
    let negotiation = if relevant { 1.0 } else { 0.0 };
    Verdict {
        grade: GradeProbs { negotiation, diplomacy: 0.0, neither: 1.0 - negotiation },
        stage: StageGuess { label: Stage::Held, confidence: 1.0 },
        reasons: Vec::new(),
        embedding: None,
    }
}

/// RSS documents of real size: 30 items, about 20 KB.
fn write_documents(dir: &Path) {
    for document in 0..DOCUMENTS {
        let mut xml = format!("<rss version=\"2.0\"><channel><title>Outlet {document}</title>");
        for item in 0..ITEMS {
            let n = document * ITEMS + item;
            let subject = if n.is_multiple_of(20) { "talks" } else { "weather" };
            let summary = format!("Paragraph {n} on {subject} with words enough to look like a lead. ").repeat(8);
            write!(
                xml,
                "<item><title>Item {n} on {subject}</title><guid>urn:item:{n}</guid><link>https://o{document}.example/{n}</link>\
                 <pubDate>Tue, 06 Oct 2026 10:00:00 GMT</pubDate><description>{summary}</description></item>"
            )
            .expect("a string takes everything");
        }
        std::fs::write(dir.join(format!("{document}.xml")), xml + "</channel></rss>").expect("a writable directory");
    }
}

fn run(documents: &Path) -> Totals {
    let state = tempfile::tempdir().expect("a temporary directory");
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let tally = Arc::new(Tally::default());
    runtime.block_on(async {
        let info = ModelInfo { id: "stub".into(), threshold: 0.5, threshold_diplomacy: 0.5 };
        let (store, thread) = StoreHandle::start(Store::open(state.path()).expect("a database")).expect("a thread");
        let policy = FilePolicy::plain(Fsync::Never);
        let file = FileSink::open(&state.path().join("alerts.jsonl"), policy).expect("a file");
        let stop = CancellationToken::new();
        let flow = Flow {
            store: store.clone(),
            scorer: Arc::new(Worker::start(1, FLUSH, || Ok(Box::new(Stub(info)))).await.expect("a scorer")),
            rule: AlertRule { on: AlertOn::Negotiation, threshold: 0.5 },
            actors: Arc::new(demarche::actors::Extractor::new(&[]).expect("the built-in dictionary")),
            stories: demarche::config::load(None, []).expect("the defaults").config.stories,
            prefilter: None,
            outlets: vec![Outlet::main(file)],
            handles: Handles::of(&stop),
            keep: Keep { items: MONTH, alerts: MONTH, seen: MONTH, stories: MONTH },
            mode: Mode::Once,
            tally: tally.clone(),
        };
        let caps = Caps { size: u64::MAX, ratio: u64::MAX };
        let plan = Plan {
            sources: vec![Source::Path(documents.to_owned())],
            limits: Limits { record: 1 << 24, document: 1 << 26, caps },
            jobs: 2,
            limit: None,
            resume: HashMap::new(),
            own: Vec::new(),
            web: None,
        };
        let fields = FieldMap::new(&[]).expect("no field is named");
        let work = Arc::new(Work { fields, window: Window::default(), prefilter: None, keep_rejects: false });
        let run = Identity::of(&["bench"]);
        store.call(move |store| store.begin_history(run, chrono::Utc::now())).await.expect("a run begun");
        drop(store);
        let history = History { run, rejects: None, taken: Box::new(|_, _| {}), group: 16 * 1024, quick: true };
        let reading = stop.clone();
        let read = |batches| read_sources(plan, work, batches, reading).boxed();
        feed_history(flow, history, read, &stop).join(Duration::from_secs(60)).await.expect("a run to its end");
        tokio::task::block_in_place(|| thread.join());
    });
    tally.totals()
}

fn bench(criterion: &mut Criterion) {
    let documents = tempfile::tempdir().expect("a temporary directory");
    write_documents(documents.path());
    let totals = run(documents.path());
    assert_eq!((totals.new, totals.delivered), ((DOCUMENTS * ITEMS) as u64, (DOCUMENTS * ITEMS / 20) as u64));
    let mut group = criterion.benchmark_group("pipeline");
    group.throughput(Throughput::Elements(totals.items)).sample_size(10);
    group.bench_function("3,000 items, stub scorer", |bencher| bencher.iter(|| run(documents.path())));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
