//! Scoring throughput and memory on 2,000 items, in batches bucketed by length as the pipeline hands them over.
//!
//! The items are made up here, at a mean of some 45 word pieces; `DEMARCHE_BENCH_ITEMS=FILE` takes labelled or unlabelled
//! JSON lines with `title` and `summary` instead. The cache is off: every item is scored.

use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use demarche::classify::{self, ClassifyConfig, ScorerKind, Text};
use demarche::pipeline::capacity::JUDGE_BATCH;

/// Items in one measured pass.
const ITEMS: usize = 2_000;

#[derive(serde::Deserialize)]
struct Section {
    model: ClassifyConfig,
}

#[derive(serde::Deserialize)]
struct Line {
    title: String,
    #[serde(default)]
    summary: String,
}

fn scoring(c: &mut Criterion) {
    let items = items();
    let mut group = c.benchmark_group("scoring");
    group
        .throughput(Throughput::Elements(items.len() as u64))
        .sample_size(10)
        .measurement_time(Duration::from_secs(60));
    for kind in kinds() {
        let before = resident_mib();
        let mut scorer = classify::build(&config(kind)).expect("the model loads: run `make setup`");
        group.bench_function(BenchmarkId::from_parameter(name(kind)), |b| {
            b.iter(|| {
                for batch in items.chunks(JUDGE_BATCH) {
                    black_box(scorer.score(batch).expect("scores"));
                }
            });
        });
        println!("{}: resident {} MiB before loading, {} MiB at its peak", name(kind), before, peak_mib());
    }
    group.finish();
}

/// The cheapest first, so that each one's peak memory is its own.
fn kinds() -> Vec<ScorerKind> {
    if cfg!(feature = "bert") {
        vec![ScorerKind::Linear, ScorerKind::Auto, ScorerKind::Transformer]
    } else {
        vec![ScorerKind::Linear]
    }
}

fn name(kind: ScorerKind) -> String {
    format!("{kind:?}").to_lowercase()
}

fn config(kind: ScorerKind) -> ClassifyConfig {
    let section: Section = toml::from_str(demarche::config::DEFAULTS).expect("the defaults are valid");
    ClassifyConfig { scorer: kind, cache_items: 0, ..section.model }
}

fn items() -> Vec<Text> {
    let Some(path) = std::env::var_os("DEMARCHE_BENCH_ITEMS") else { return (0..ITEMS).map(made_up).collect() };
    let lines = std::fs::read_to_string(&path).expect("DEMARCHE_BENCH_ITEMS names a readable file");
    let parse = |line: &str| serde_json::from_str::<Line>(line).map(|item| Text::new(item.title, item.summary));
    lines.lines().take(ITEMS).map(|line| parse(line).expect("one JSON object a line")).collect()
}

/// One item in a hundred is about talks; the others are what fills a feed. Each differs in length and words.
fn made_up(n: usize) -> Text {
    const WHO: [&str; 7] = [
        "The city council",
        "A chipmaker",
        "The national team",
        "Regional police",
        "The central bank",
        "A film studio",
        "The health ministry",
    ];
    const DID: [&str; 6] = ["presented", "delayed", "reviewed", "expanded", "sold", "opened"];
    const WHAT: [&str; 9] = [
        "a new tram line",
        "its quarterly figures",
        "the winter programme",
        "an inquiry into last week's fire",
        "a plan for cheaper housing",
        "the second season of its series",
        "a vaccine study",
        "its largest warehouse",
        "the transfer of a young striker",
    ];
    const MORE: [&str; 5] = [
        "Officials expect results by the end of the month.",
        "Residents had waited for years and voiced mixed feelings at a meeting on Thursday evening.",
        "Analysts called the step surprising but said that the costs looked manageable.",
        "Work begins in the spring.",
        "A spokeswoman declined to give further details when asked about the budget.",
    ];
    let title = match n % 100 {
        0 => format!("Envoys of both governments resume truce talks in the capital, round {n}"),
        _ => format!("{} {} {} ({n})", WHO[n % 7], DID[n % 6], WHAT[n % 9]),
    };
    let summary: Vec<&str> = (0..n % 4).map(|i| MORE[(n / 4 + i) % 5]).collect();
    Text::new(title, summary.join(" "))
}

/// A line of /proc/self/status in MiB; 0 where there is none.
fn status_mib(key: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) / 1024
}

fn resident_mib() -> u64 {
    status_mib("VmRSS:")
}

fn peak_mib() -> u64 {
    status_mib("VmHWM:")
}

criterion_group!(benches, scoring);
criterion_main!(benches);
