//! Killed and aborted at every moment of delivery: at the end the alerts are those of an undisturbed run, each of them
//! once, every line whole, in the main file and in a second one that is rotated and compressed all the time.
//!
//! `DEMARCHE_KILLS` and `DEMARCHE_ALERTS` raise the counts, `DEMARCHE_SEED` changes the moments. The full count:
//! `cargo test --release --test crash -- --ignored --nocapture`.

#[path = "support/program.rs"]
mod program;
mod support;

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use program::{Program, Running, rss, signal, talks, wait_until};
use support::{Origin, Response};

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(600);

/// Feeds that the alerts come from.
const FEEDS: usize = 20;

/// Items that a feed lists while the program is killed: those of many lives, so that none slips by unseen.
const WINDOW: usize = 30;

/// How often new items appear.
const SLICE: Duration = Duration::from_millis(20);

/// A main file that is synced in one way or another, and a copy that is rotated every few lines.
const CONFIG: &str = r#"
[output]
fsync_interval = "50ms"
[schedule]
host_concurrency = 8
host_gap = "0s"
[[sink]]
name = "copy"
type = "file"
file = "copy.jsonl"
rotate_size = "16KiB"
"#;

/// Feeds whose items appear one after the other.
struct News {
    origin: Origin,
    total: usize,
    revealed: usize,
}

impl News {
    fn new(total: usize) -> Self {
        let news = Self { origin: Origin::start(), total, revealed: 0 };
        (0..FEEDS).for_each(|feed| news.serve(feed, 0));
        news
    }

    /// Serves the items of `feed` from its `first` on.
    fn serve(&self, feed: usize, first: usize) {
        let items = (first..self.revealed.saturating_sub(feed).div_ceil(FEEDS)).map(|n| feed + n * FEEDS);
        let document = rss(items.map(|id| (id, talks(id))));
        self.origin.serve(&format!("/{feed}"), Response::feed(document));
    }

    /// Lets `count` more items appear.
    fn reveal(&mut self, count: usize) {
        self.revealed = (self.revealed + count).min(self.total);
        let listed = self.revealed / FEEDS;
        (0..FEEDS).for_each(|feed| self.serve(feed, listed.saturating_sub(WINDOW)));
    }

    /// Lists everything there is.
    fn reveal_all(&mut self) {
        self.revealed = self.total;
        (0..FEEDS).for_each(|feed| self.serve(feed, 0));
    }

    fn urls(&self) -> Vec<String> {
        (0..FEEDS).map(|feed| self.origin.url(&format!("/{feed}"))).collect()
    }
}

/// A program with two alert files.
struct Desk {
    program: Program,
    config: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let program = Program::new();
        let config = program.dir.path().join("demarche.toml");
        std::fs::write(&config, CONFIG).unwrap();
        Self { program, config }
    }

    /// Everything the feeds list becomes an alert.
    fn daemon(&self, news: &News, fsync: &str) -> Command {
        let mut command =
            self.program.command(&["run", "--interval", "100ms", "--threshold", "0", "--allow-net", "127.0.0.1"]);
        command.arg("--config").arg(&self.config).env("DEMARCHE_OUTPUT__FSYNC", fsync);
        for url in news.urls() {
            command.arg("--feed").arg(url);
        }
        command
    }

    /// How often each alert stands in the files that begin with `name`; every line must be whole.
    fn alerts(&self, name: &str) -> BTreeMap<String, usize> {
        let mut found = BTreeMap::new();
        for entry in std::fs::read_dir(self.program.dir.path()).unwrap() {
            let path = entry.unwrap().path();
            let file_name = path.file_name().unwrap().to_str().unwrap();
            if !file_name.starts_with(name) || file_name.ends_with(".part") {
                continue;
            }
            let text = read(&path);
            assert!(text.is_empty() || text.ends_with('\n'), "a torn last line in {}", path.display());
            for line in text.lines() {
                let alert: serde_json::Value = serde_json::from_str(line).expect("a whole line");
                *found.entry(alert["alert_id"].as_str().unwrap().to_owned()).or_default() += 1;
            }
        }
        found
    }

    /// Lets it run until both files have everything, and stops it.
    fn finish(&self, news: &News) {
        let mut child = Program::start(self.daemon(news, "always"));
        wait_until("every alert is there", PATIENCE, || {
            std::thread::sleep(Duration::from_millis(200));
            taken(self.program.dir.path()).iter().all(|count| *count >= news.total as i64)
        });
        signal("TERM", child.0.id());
        wait_until("the daemon has stopped", PATIENCE, || child.0.try_wait().unwrap().is_some());
        assert_eq!(child.0.wait().unwrap().code(), Some(0));
    }

    /// Compares with what a run gives that nobody disturbs.
    fn is_undisturbed(&self, news: &News) {
        let undisturbed = Program::new();
        let (code, _, log) = undisturbed.once(&news.urls(), &["--threshold", "0"]);
        assert_eq!(code, 0, "{log}");
        let expected: Vec<String> =
            undisturbed.alerts().iter().map(|alert| alert["alert_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(expected.len(), news.total);
        for name in ["alerts", "copy"] {
            let found = self.alerts(name);
            let lost = expected.iter().filter(|id| !found.contains_key(*id)).count();
            let twice = found.values().filter(|count| **count > 1).count();
            println!("{name}: {} alerts, {lost} lost, {twice} more than once, 0 torn", found.len());
            assert_eq!((lost, twice, found.len()), (0, 0, expected.len()), "{name}");
        }
    }
}

/// Alerts that each sink has taken.
fn taken(state: &Path) -> Vec<i64> {
    let database = rusqlite::Connection::open(state.join("demarche.sqlite")).unwrap();
    let mut statement = database.prepare("SELECT (SELECT count(*) FROM outbox WHERE seq <= cursor) FROM sink").unwrap();
    statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
}

/// The text of a file, which may be compressed; one that is compressed while we look is read in its new place.
fn read(path: &Path) -> String {
    let mut text = String::new();
    let file = std::fs::File::open(path).unwrap();
    match path.extension().unwrap().to_str().unwrap() {
        "zst" => zstd::Decoder::new(file).unwrap().read_to_string(&mut text).unwrap(),
        _ => { file }.read_to_string(&mut text).unwrap(),
    };
    text
}

/// Numbers that look random and are the same for the same seed (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}

fn number(name: &str, usual: u64) -> u64 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(usual)
}

/// Waits for the life's end while news come in.
fn live(child: &mut Running, news: &mut News, life: Duration, each_slice: usize) {
    let end = Instant::now() + life;
    while Instant::now() < end {
        std::thread::sleep(SLICE);
        news.reveal(each_slice);
    }
    child.0.kill().unwrap();
    child.0.wait().unwrap();
}

fn killed(kills: u64, alerts: u64) {
    let (kills, alerts) = (number("DEMARCHE_KILLS", kills), number("DEMARCHE_ALERTS", alerts));
    let seed = number("DEMARCHE_SEED", 20_260_301);
    let mut dice = Dice(seed.max(1));
    // The program takes its time to start; from then on any moment is as good as the other.
    let lives: Vec<Duration> = (0..kills).map(|_| Duration::from_millis(100 + dice.below(1_400))).collect();
    let slices = lives.iter().sum::<Duration>().as_millis() / SLICE.as_millis();
    let each_slice = (alerts as usize).div_ceil(slices.max(1) as usize);
    let (desk, mut news, started) = (Desk::new(), News::new(alerts as usize), Instant::now());
    for life in lives {
        let fsync = ["always", "interval", "never"][dice.below(3) as usize];
        let mut child = Program::start(desk.daemon(&news, fsync));
        live(&mut child, &mut news, life, each_slice);
    }
    println!("{kills} kills in {:.0} s, seed {seed}", started.elapsed().as_secs_f64());
    println!("then, of {alerts} alerts, each sink has {:?}", taken(desk.program.dir.path()));
    news.reveal_all();
    desk.finish(&news);
    desk.is_undisturbed(&news);
}

#[test]
fn killed_at_random_moments_nothing_is_lost_torn_or_there_twice() {
    killed(20, 1_200);
}

/// The full count: some minutes.
#[test]
#[ignore = "takes minutes; the same at a tenth of the count runs always"]
fn killed_two_hundred_times_over_twenty_thousand_alerts() {
    killed(200, 20_000);
}

/// Only a build for tests has the steps.
#[cfg(debug_assertions)]
#[test]
fn aborted_between_every_two_steps_of_delivery_nothing_is_lost_torn_or_there_twice() {
    use demarche::sink::step::Step;
    use std::os::unix::process::ExitStatusExt;
    const SIGABRT: i32 = 6;
    // Every life needs some dozens of news to get to its step a third time.
    let (desk, mut news) = (Desk::new(), News::new(4_000));
    for count in 1..=3 {
        for step in Step::ALL {
            let fsync = ["always", "interval", "never"][count - 1];
            let mut command = desk.daemon(&news, fsync);
            command.env("DEMARCHE_ABORT_AT", format!("{}:{count}", step.name()));
            let mut child = Program::start(command);
            wait_until(&format!("the program has aborted at step {step:?}"), PATIENCE, || {
                std::thread::sleep(SLICE);
                // Never far ahead of what is written: a slow start must not use the news up.
                let written = std::fs::read(desk.program.alert_file()).unwrap_or_default();
                let written = written.iter().filter(|byte| **byte == b'\n').count();
                news.reveal(if news.revealed < written + 60 { 4 } else { 0 });
                child.0.try_wait().unwrap().is_some()
            });
            assert_eq!(child.0.wait().unwrap().signal(), Some(SIGABRT), "{step:?}");
        }
    }
    news.reveal_all();
    desk.finish(&news);
    desk.is_undisturbed(&news);
}
