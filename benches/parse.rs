//! The whole parse beside bare feed-rs, over the same clean feeds in one run.
//!
//! `DEMARCHE_BENCH_FEEDS=FOLDER cargo bench --no-default-features --bench parse` takes the feeds from a folder; without
//! it they are generated. Only documents that bare feed-rs reads with entries are taken, so that both do the same work.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use demarche::parse::{Context, parse};

/// Most bytes taken from a folder: enough for every kind of feed in it, few enough for a run of a minute.
const MAX_BYTES: usize = 24 * 1024 * 1024;

fn throughput(criterion: &mut Criterion) {
    let feeds =
        std::env::var_os("DEMARCHE_BENCH_FEEDS").map_or_else(generated, |folder| from_folder(Path::new(&folder)));
    let bytes: usize = feeds.iter().map(Vec::len).sum();
    let mut group = criterion.benchmark_group(format!("{} clean feeds", feeds.len()));
    group.sample_size(10).throughput(Throughput::Bytes(bytes as u64));
    group.bench_function("whole parse", |bencher| {
        bencher.iter(|| feeds.iter().filter(|feed| black_box(parse(feed, &Context::default())).is_ok()).count());
    });
    group.bench_function("bare feed-rs", |bencher| {
        bencher.iter(|| feeds.iter().filter(|feed| black_box(feed_rs::parser::parse(feed.as_slice())).is_ok()).count());
    });
    group.finish();
}

fn from_folder(folder: &Path) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> =
        std::fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut feeds: Vec<_> =
        paths.iter().filter_map(|path| std::fs::read(path).ok()).filter(|body| is_clean(body)).collect();
    let mut sum = 0;
    feeds.retain(|feed| {
        sum += feed.len();
        sum <= MAX_BYTES
    });
    assert!(!feeds.is_empty(), "no clean feed in {}", folder.display());
    feeds
}

fn is_clean(body: &[u8]) -> bool {
    feed_rs::parser::parse(body).is_ok_and(|feed| !feed.entries.is_empty())
}

/// One feed each of the shapes that are common: short descriptions, whole articles, Atom.
fn generated() -> Vec<Vec<u8>> {
    let words = "Delegates from both sides met again on Monday to settle what the first round had left open. ";
    let item = |n: usize, repeats: usize| {
        let text = words.repeat(repeats);
        format!(
            "<item><title>Round {n}: delegates meet again</title><link>https://news.example.org/{n}</link>\
             <guid isPermaLink=\"false\">news-{n}</guid><pubDate>Mon, 04 Mar 2024 09:30:00 GMT</pubDate>\
             <category>Diplomacy</category><description><![CDATA[<p>{text}</p>]]></description></item>"
        )
    };
    let entry = |n: usize| {
        format!(
            "<entry><title>Note {n}</title><id>tag:think.example,2024:{n}</id><link href=\"https://think.example/{n}\"/>\
             <updated>2024-03-04T09:30:00Z</updated><author><name>Ada</name></author>\
             <summary type=\"html\">&lt;p&gt;{words}&lt;/p&gt;</summary></entry>"
        )
    };
    let rss = |count: usize, repeats: usize| {
        let items: String = (0..count).map(|n| item(n, repeats)).collect();
        format!("<rss version=\"2.0\"><channel><title>World desk</title><language>en</language>{items}</channel></rss>")
    };
    let entries: String = (0..100).map(entry).collect();
    let atom =
        format!("<feed xmlns=\"http://www.w3.org/2005/Atom\" xml:lang=\"en\"><title>Notes</title>{entries}</feed>");
    [rss(100, 3), rss(40, 60), atom].map(String::into_bytes).into()
}

criterion_group!(benches, throughput);
criterion_main!(benches);
