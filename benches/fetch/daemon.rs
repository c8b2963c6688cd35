//! The daemon over time: very many feeds, and very long.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rusqlite::Connection;

use crate::origin::Kind;
use crate::process::{Beside, Seen};
use crate::receiver::Receiver;
use crate::rounds::register;

/// How often memory and file descriptors are looked at.
const SAMPLE: Duration = Duration::from_secs(10);

/// 100,000 feeds, all due within `seconds`.
pub fn many(seconds: u64) {
    const FEEDS: usize = 100_000;
    let hosts = 10_000;
    let mut beside = Beside::start(Kind::Small, hosts);
    let state = tempfile::tempdir().expect("a directory");
    register(state.path(), FEEDS, hosts, beside.port);
    let planned = plan(state.path(), Duration::from_secs(seconds));
    println!(
        "{FEEDS} feeds on {hosts} hosts, all due within {seconds} s (an hour's load is {:.0} times less)",
        3600.0 / seconds as f64
    );
    let started = Instant::now();
    let mut daemon = Daemon::start(state.path(), &["--log-level", "error"]);
    while beside.seen().requests == 0 {
        std::thread::sleep(Duration::from_millis(10));
    }
    println!("start-up to the first request: {:.2} s", started.elapsed().as_secs_f64());
    daemon.watch(&mut beside, Duration::from_secs(seconds + 20), |_, seen| seen.requests < FEEDS as u64);
    let samples = daemon.stop();
    println!("peak memory: {:.0} MB, most file descriptors: {}", samples.peak() as f64 / 1e6, samples.most_fds());
    lateness(state.path(), &planned);
}

/// Items in the soak's database before it starts: their keys are larger than what SQLite keeps of the database in memory,
/// so that its cache fills in the first minutes, as it has long since in a daemon that runs for months, and not in the
/// middle of what is watched.
const OLD_ITEMS: u32 = 300_000;

/// The soak's threshold: words at random score low, and some of them are to be alerts.
const THRESHOLD: &str = "0.01";

/// A thousand feeds as they are usually polled, once the first poll of each is over.
pub fn idle(minutes: u64) {
    let feeds = 1_000;
    let mut beside = Beside::start(Kind::Fixed, feeds);
    let state = tempfile::tempdir().expect("a directory");
    register(state.path(), feeds, feeds, beside.port);
    println!("{feeds} feeds with the schedule as shipped, {minutes} min after each was polled once");
    let mut daemon = Daemon::start(state.path(), &["--log-level", "error"]);
    daemon.watch(&mut beside, Duration::from_secs(900), |_, seen| seen.requests < feeds as u64);
    // The last documents are judged, and the database is at rest.
    std::thread::sleep(SAMPLE);
    let (from, before) = (Instant::now(), daemon.processor_time());
    daemon.samples.clear();
    daemon.watch(&mut beside, daemon.started.elapsed() + Duration::from_secs(minutes * 60), |_, _| true);
    let share = (daemon.processor_time() - before).as_secs_f64() / from.elapsed().as_secs_f64();
    let samples = daemon.stop();
    println!("processor: {:.2} % of a core; peak memory: {:.0} MB", share * 100.0, samples.peak() as f64 / 1e6);
}

/// Sinks of the soak: besides the alert file, a webhook that comes and goes, and a file of stories.
const SINKS: &str = "[delivery]\ntimeout = \"2s\"\nretry_first = \"1s\"\nretry_longest = \"10s\"\n
    [[sink]]\nname = \"desk\"\ntype = \"webhook\"\nallow_net = [\"127.0.0.0/8\"]\nurl = \"http://127.0.0.1:PORT/\"\n
    [[sink]]\nname = \"stories\"\ntype = \"file\"\nfile = \"stories.jsonl\"\nstories = \"first\"\nrotate_size = \"1MiB\"\n";

/// The soak: 600 feeds polled every 30 s, one in twenty failing, alerts to a webhook that comes and goes, on a database that is
/// not young.
pub fn soak(minutes: u64) {
    let feeds = 600;
    let mut beside = Beside::start(Kind::Changing, feeds);
    let receiver = Receiver::start();
    let state = tempfile::tempdir().expect("a directory");
    register(state.path(), feeds, feeds, beside.port);
    age(state.path());
    let config = state.path().join("demarche.toml");
    std::fs::write(&config, SINKS.replace("PORT", &receiver.port.to_string())).expect("a configuration");
    let config = config.to_str().expect("a path").to_owned();
    println!(
        "{OLD_ITEMS} items from before; {feeds} feeds every 30 s for {minutes} min, one in twenty failing, new items every minute"
    );
    let flags = ["--interval", "30s", "--log-level", "off", "--threshold", THRESHOLD, "--config", &config];
    let mut daemon = Daemon::start(state.path(), &flags);
    daemon.watch(&mut beside, Duration::from_secs(minutes * 60), |sample, seen| {
        println!(
            "{:>6} s  {:>7.1} MB  {:>4} fds  {:>7} requests  {:>7} unchanged  {:>6} failed  {:>7} posted",
            sample.at.as_secs(),
            sample.memory as f64 / 1e6,
            sample.fds,
            seen.requests,
            seen.not_modified,
            seen.failures,
            receiver.taken()
        );
        true
    });
    daemon.stop().drift();
}

/// Puts items of a year ago into the database, all of them judged, each with two keys.
fn age(state: &Path) {
    let database = Connection::open(state.join("demarche.sqlite")).expect("the database");
    let item = "INSERT INTO item (identity, feed, origin, first_seen, published, published_source, content, entry, outcome, score)
                WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
                SELECT randomblob(16), 1 + i % 600, 'live', ?2, ?2, 'feed', randomblob(16), '{}', 'irrelevant', 0.0 FROM n";
    let seen = "INSERT INTO seen (key, item, feed, last_seen)
                SELECT identity, id, feed, first_seen FROM item UNION ALL SELECT content, id, feed, first_seen FROM item";
    let year_ago = chrono::Utc::now().timestamp_millis() - 365 * 86_400_000;
    database.execute(item, rusqlite::params![OLD_ITEMS, year_ago]).expect("the items");
    database.execute(seen, []).expect("their keys");
}

/// Spreads the feeds evenly over `over` from a second from now; returns when each is due, Unix milliseconds.
fn plan(state: &Path, over: Duration) -> HashMap<i64, i64> {
    let database = Connection::open(state.join("demarche.sqlite")).expect("the database");
    let from = chrono::Utc::now().timestamp_millis() + 1000;
    let sql = "UPDATE feed SET next_poll = ?1 + (id * 7919 % 100000) * ?2 / 100000";
    database.execute(sql, [from, over.as_millis() as i64]).expect("the schedule");
    rows(&database, "SELECT id, next_poll FROM feed")
}

fn rows(database: &Connection, sql: &str) -> HashMap<i64, i64> {
    let mut statement = database.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).expect("rows");
    rows.collect::<Result<_, _>>().expect("rows")
}

/// How late each feed was polled.
fn lateness(state: &Path, planned: &HashMap<i64, i64>) {
    let database = Connection::open(state.join("demarche.sqlite")).expect("the database");
    let polled = rows(&database, "SELECT id, last_poll FROM feed WHERE last_poll IS NOT NULL");
    let mut late: Vec<i64> = polled.iter().map(|(feed, at)| at - planned[feed]).collect();
    late.sort_unstable();
    let at = |share: f64| late.get(((late.len() - 1) as f64 * share) as usize).copied().unwrap_or_default();
    println!(
        "polled {} of {}; late by (ms): earliest {}, median {}, 99 % {}, most {}",
        polled.len(),
        planned.len(),
        at(0.0),
        at(0.5),
        at(0.99),
        at(1.0)
    );
}

/// The real binary as a daemon.
struct Daemon {
    child: Child,
    started: Instant,
    samples: Vec<Sample>,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    /// Resident set, bytes.
    memory: u64,
    fds: usize,
}

struct Samples(Vec<Sample>);

impl Daemon {
    fn start(state: &Path, args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
        command.arg("run").args(args).arg("--state").arg(state).args(["--allow-net", "127.0.0.0/8"]);
        command.env("DEMARCHE_MODEL__SCORER", "linear").env("DEMARCHE_FETCH__TIMEOUT", "5s").stdout(Stdio::null());
        let child = command.spawn().expect("the daemon");
        Self { child, started: Instant::now(), samples: Vec::new() }
    }

    /// Samples for `time`, or as long as `go_on` says.
    fn watch(&mut self, beside: &mut Beside, time: Duration, mut go_on: impl FnMut(&Sample, Seen) -> bool) {
        while self.started.elapsed() < time {
            std::thread::sleep(SAMPLE.min(time.saturating_sub(self.started.elapsed())));
            let sample = self.sample();
            self.samples.push(sample);
            if !go_on(&sample, beside.seen()) {
                return;
            }
        }
    }

    fn sample(&self) -> Sample {
        let process = format!("/proc/{}", self.child.id());
        let status = std::fs::read_to_string(format!("{process}/status")).expect("a daemon that runs");
        let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("its memory");
        let kib: u64 = kib.trim().trim_end_matches(" kB").parse().expect("a number");
        let fds = std::fs::read_dir(format!("{process}/fd")).expect("its file descriptors").count();
        Sample { at: self.started.elapsed(), memory: kib * 1024, fds }
    }

    /// What it has used of all cores together since it began.
    fn processor_time(&self) -> Duration {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("a daemon that runs");
        let behind_name = stat.rsplit(')').next().unwrap_or_default();
        let ticks =
            behind_name.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().expect("a number"));
        // Linux counts in hundredths of a second, whatever the kernel's own tick.
        Duration::from_millis(ticks.sum::<u64>() * 10)
    }

    /// Ends the daemon as systemd does.
    fn stop(mut self) -> Samples {
        let pid = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).expect("a daemon that runs");
        let status = self.child.wait().expect("its end");
        assert!(status.success(), "{status}");
        Samples(self.samples)
    }
}

impl Samples {
    fn peak(&self) -> u64 {
        self.0.iter().map(|sample| sample.memory).max().unwrap_or_default()
    }

    fn most_fds(&self) -> usize {
        self.0.iter().map(|sample| sample.fds).max().unwrap_or_default()
    }

    /// The middle of the run's second fifth against that of its last one: the first is for warming up.
    fn drift(&self) {
        let fifth = self.0.len() / 5;
        let middle = |from: usize| {
            let mut part: Vec<Sample> = self.0[from..from + fifth].to_vec();
            part.sort_by_key(|sample| sample.memory);
            let memory = part[fifth / 2].memory as f64 / 1e6;
            part.sort_by_key(|sample| sample.fds);
            (memory, part[fifth / 2].fds)
        };
        let (early, late) = (middle(fifth), middle(self.0.len() - fifth));
        println!("memory {:.1} MB -> {:.1} MB, file descriptors {} -> {}", early.0, late.0, early.1, late.1);
    }
}
