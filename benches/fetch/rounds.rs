//! 1,000 real-size feeds, all on hosts of their own: a cold round (all new) and a warm one (all 304).

use std::path::Path;
use std::process::Command;

use demarche::store::{FeedSpec, Store};

use crate::origin::{self, Kind};
use crate::process::{Beside, again, measured};

const FEEDS: usize = 1_000;
/// The best of so many is what the program costs; the others are what else the machine does.
const ROUNDS: usize = 3;

pub fn cold_and_warm() {
    let mut beside = Beside::start(Kind::Fixed, FEEDS);
    println!("{FEEDS} feeds of 15-25 KB and 30 items, gzip, ETag, one host each; origin in a process of its own");
    println!("best of {ROUNDS}                          wall s   cpu s   peak MB   requests   304");
    report("scoring off", &mut beside, |state| {
        let mut command = again("poller");
        command.arg(state);
        command
    });
    report("run --once, linear model", &mut beside, |state| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
        command.args(["run", "--once", "--interval", "0s", "--json", "--log-level", "error", "--state"]).arg(state);
        command.env("DEMARCHE_MODEL__SCORER", "linear");
        command
    });
}

fn report(name: &str, beside: &mut Beside, command: impl Fn(&Path) -> Command) {
    let mut rows = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        let state = tempfile::tempdir().expect("a directory");
        register(state.path(), FEEDS, FEEDS, beside.port);
        for round in &mut rows {
            let before = beside.seen();
            let cost = measured(command(state.path()).env("DEMARCHE_FETCH__ALLOW_NET", "[\"127.0.0.0/8\"]"));
            let after = beside.seen();
            round.push((cost, after.requests - before.requests, after.not_modified - before.not_modified));
        }
    }
    for (round, runs) in ["cold", "warm"].iter().zip(rows) {
        let (cost, requests, unchanged) = runs.into_iter().min_by_key(|(cost, ..)| cost.wall).expect("a round");
        println!(
            "{:<34} {:>6.2}  {:>6.2}  {:>8.1}  {requests:>9}  {unchanged:>4}",
            format!("{round}, {name}"),
            cost.wall.as_secs_f64(),
            cost.cpu.as_secs_f64(),
            cost.peak as f64 / 1e6
        );
    }
}

/// Puts `feeds` feeds on `hosts` hosts into the state.
pub fn register(state: &Path, feeds: usize, hosts: usize, port: u16) {
    let spec = |n| FeedSpec { url: origin::url(n, hosts, port), title: None, tags: Vec::new(), floor_s: None };
    let mut store = Store::open(state).expect("a database");
    store.add_feeds(&(0..feeds).map(spec).collect::<Vec<_>>()).expect("the feeds");
}
