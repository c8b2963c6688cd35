//! How long it takes from an item fetched to its line on disk: the real pipeline, polling over loopback HTTP, with items
//! that become alerts at a steady pace.
//!
//! `cargo bench --bench delivery [-- SECONDS [ITEMS_A_SECOND]]`: by default a minute at 50 a second. An item counts as
//! fetched when the origin has sent the last byte of its document, and its line as on disk when the sink says so: written
//! and, with `fsync = "always"`, synced. `DEMARCHE_MODEL__SCORER=linear` leaves the transformer out of it.

#![allow(missing_docs, reason = "a program, not an interface")]

use std::collections::HashMap;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use chrono::Utc;
use demarche::classify::{AlertOn, Worker};
use demarche::config::Config;
use demarche::fetch::Fetcher;
use demarche::pipeline::{AlertRule, Flow, Handles, Mode, Polling, Tally, live};
use demarche::sink::{Delivery, FilePolicy, FileSink, Fsync, Outlet, Sink};
use demarche::store::{FeedSpec, Keep, Store, StoreHandle, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

/// Nothing gets old here.
const DAY: Duration = Duration::from_secs(86_400);

/// Feeds, each polled once a second.
const FEEDS: usize = 50;

/// Items in a document: the new ones before old ones, as feeds have it.
const LISTED: usize = 30;

/// Items of the first seconds count for nothing: the model is cold.
const WARM_UP: Duration = Duration::from_secs(3);

/// When each item was fetched and when its line was on disk, by its number.
#[derive(Default)]
struct Times {
    fetched: Mutex<HashMap<usize, Instant>>,
    on_disk: Mutex<HashMap<usize, Instant>>,
}

fn main() {
    // `cargo bench` adds an argument of its own.
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut number = |usual: u64| args.next().map_or(usual, |arg| arg.parse().expect("a number"));
    let (seconds, pace) = (number(60), number(50));
    println!(
        "{pace} items a second in {FEEDS} feeds that are polled once a second, all of them alerts, for {seconds} s"
    );
    println!("fsync       items   p50 ms   p90 ms   p99 ms   max ms");
    for (name, fsync) in [("always", Fsync::Always), ("never", Fsync::Never)] {
        report(name, &measure(Duration::from_secs(seconds), pace, fsync));
    }
}

fn report(name: &str, waits: &[Duration]) {
    let at = |share: f64| waits[((waits.len() - 1) as f64 * share).round() as usize].as_secs_f64() * 1e3;
    let count = waits.len();
    println!("{name:<10} {count:>6}   {:>6.1}   {:>6.1}   {:>6.1}   {:>6.1}", at(0.5), at(0.9), at(0.99), at(1.0));
}

/// The waits of all items, the shortest first.
fn measure(time: Duration, pace: u64, fsync: Fsync) -> Vec<Duration> {
    let state = tempfile::tempdir().expect("a directory");
    let config = demarche::config::load(None, std::env::vars()).expect("a configuration").config;
    let times = Arc::new(Times::default());
    let port = origin(times.clone(), pace, Instant::now());
    let store = feeds(state.path(), port);
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(run(store, config, state.path(), time, fsync, times.clone()));
    let fetched = times.fetched.lock().expect("no panic");
    let on_disk = times.on_disk.lock().expect("no panic");
    let first = fetched.values().min().copied().expect("an item") + WARM_UP;
    let warm =
        on_disk.iter().filter_map(|(item, end)| Some((fetched.get(item)?, end))).filter(|(start, _)| **start > first);
    let mut waits: Vec<Duration> = warm.map(|(start, end)| end.saturating_duration_since(*start)).collect();
    waits.sort_unstable();
    waits
}

fn feeds(state: &Path, port: u16) -> Store {
    let mut store = Store::open(state).expect("a database");
    // Each feed has a host of its own: all of 127.0.0.0/8 is this machine.
    let url = |feed: usize| format!("http://{}:{port}/{feed}", Ipv4Addr::new(127, 0, 1, feed as u8 + 1));
    let spec = |feed| FeedSpec { url: url(feed), title: None, tags: Vec::new(), floor_s: None };
    store.add_feeds(&(0..FEEDS).map(spec).collect::<Vec<_>>()).expect("the feeds");
    store.watch(None).expect("the feeds");
    store
}

async fn run(store: Store, mut config: Config, state: &Path, time: Duration, fsync: Fsync, times: Arc<Times>) {
    config.fetch.allow_net.push("127.0.0.0/8".into());
    let file = FileSink::open(&state.join("alerts.jsonl"), FilePolicy::plain(fsync)).expect("a file");
    let outlet = Outlet::main(file);
    let (store, thread) = StoreHandle::start(store).expect("a thread");
    let stop = CancellationToken::new();
    let flow = Flow {
        store,
        scorer: Arc::new(Worker::from_config(&config.model).await.expect("a scorer")),
        rule: AlertRule { on: AlertOn::Negotiation, threshold: 0.0 },
        actors: Arc::new(demarche::actors::Extractor::new(&[]).expect("the built-in dictionary")),
        stories: config.stories.clone(),
        prefilter: None,
        outlets: vec![Outlet { sink: Box::new(Timed { inner: outlet.sink, times }), ..outlet }],
        handles: Handles::of(&stop),
        keep: Keep { items: DAY, alerts: DAY, seen: DAY, stories: DAY },
        mode: Mode::Daemon,
        tally: Arc::new(Tally::default()),
    };
    let polling = Polling {
        fetcher: Arc::new(Fetcher::new(&config.fetch).expect("a client")),
        websub: config.websub,
        serve: config.serve,
        max_body: config.fetch.max_body.as_u64() as usize,
        credentials: HashMap::new(),
        outage: Mutex::default(),
        schedule: config.schedule,
        concurrency: config.fetch.concurrency,
        interval: Some(Duration::from_secs(1)),
        started: Utc::now(),
    };
    let stages = live(flow, polling, &stop);
    let ending = async {
        tokio::time::sleep(time + WARM_UP).await;
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(stages.join(Duration::from_secs(30)), ending);
    ended.expect("a run to its end");
    tokio::task::block_in_place(|| thread.join());
}

/// The alert file, with a look at the clock when it has taken something.
struct Timed {
    inner: Box<dyn Sink>,
    times: Arc<Times>,
}

impl Sink for Timed {
    fn most(&self) -> usize {
        self.inner.most()
    }

    fn deliver<'a>(&'a mut self, alerts: &'a [&'a Waiting]) -> BoxFuture<'a, Delivery> {
        async move {
            let delivery = self.inner.deliver(alerts).await;
            let now = Instant::now();
            let mut on_disk = self.times.on_disk.lock().expect("no panic");
            on_disk.extend(alerts.iter().filter_map(|alert| Some((number(&alert.line)?, now))));
            delivery
        }
        .boxed()
    }
}

/// The number of an item, from its alert's line.
fn number(line: &str) -> Option<usize> {
    let rest = line.split_once("https://outlet.example/")?.1;
    rest.split_once('"')?.0.parse().ok()
}

/// Serves the feeds on a thread of its own; item `n` appears `n / pace` seconds after `start` in feed `n % FEEDS`.
fn origin(times: Arc<Times>, pace: u64, start: Instant) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let times = times.clone();
            // A client that hangs up at the end is part of it.
            std::thread::spawn(move || serve(stream, &times, pace, start));
        }
    });
    port
}

fn serve(stream: TcpStream, times: &Times, pace: u64, start: Instant) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(());
        }
        let feed: usize = line.split_whitespace().nth(1).and_then(|path| path[1..].parse().ok()).unwrap_or(0);
        while line.trim_end() != "" {
            line.clear();
            stream.read_line(&mut line)?;
        }
        let appeared = (start.elapsed().as_secs_f64() * pace as f64) as usize;
        let items: Vec<usize> = (feed..appeared.max(1)).step_by(FEEDS).rev().take(LISTED).collect();
        let body = document(&items);
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/rss+xml\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.get_mut().write_all((head + &body).as_bytes())?;
        let now = Instant::now();
        let mut fetched = times.fetched.lock().expect("no panic");
        for item in items {
            fetched.entry(item).or_insert(now);
        }
    }
}

fn document(items: &[usize]) -> String {
    let mut xml = String::from("<rss version=\"2.0\"><channel><title>Outlet</title><language>en</language>");
    for n in items {
        let summary =
            format!("Envoys of both sides met mediators for the round numbered {n} and spoke of a truce. ").repeat(3);
        // A string takes everything.
        let _ = write!(
            xml,
            "<item><title>Foreign ministers hold ceasefire talks, round {n}</title><guid isPermaLink=\"false\">item-{n}</guid>\
             <link>https://outlet.example/{n}</link><pubDate>Tue, 06 Oct 2026 10:00:00 GMT</pubDate>\
             <description>{summary}</description></item>"
        );
    }
    xml + "</channel></rss>"
}
