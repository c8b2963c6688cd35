//! The daemon when its disk fails it: it says so, takes in nothing that it cannot store, and goes on by itself.

#[path = "support/program.rs"]
mod program;
mod support;

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use program::{Program, read_alerts, rss, signal, talks, wait_until_or};
use support::{Origin, Response};

/// How long a condition is waited for before the test fails: pauses grow, and the machine may be busy.
const PATIENCE: Duration = Duration::from_secs(60);

/// A daemon on one feed, and what it logs.
struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
    state: PathBuf,
    _program: Program,
}

impl Daemon {
    /// Its state lies in a folder of its own, so that it can be moved. It outlives the signal that a limit on the size of
    /// files sends, as it would not get it from a disk that is full.
    fn start(feed: &str) -> Self {
        let program = Program::new();
        let state = program.dir.path().join("state");
        let mut shell = Command::new("sh");
        shell.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_demarche")]);
        shell.args(["run", "--interval", "100ms", "--allow-net", "127.0.0.0/8", "--feed", feed, "--state"]).arg(&state);
        shell.env("DEMARCHE_MODEL__SCORER", "linear").stdin(Stdio::null()).stdout(Stdio::null());
        let mut child = shell.stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, kept) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            lines.map_while(Result::ok).for_each(|line| *kept.lock().unwrap() += &(line + "\n"))
        });
        Self { child, log, state, _program: program }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    fn waits_until(&mut self, what: &str, mut condition: impl FnMut(&Self) -> bool) {
        let kept = self.log.clone();
        wait_until_or(
            what,
            PATIENCE,
            || kept.lock().unwrap().clone(),
            || {
                assert_eq!(self.child.try_wait().unwrap(), None, "ended before {what}: {}", self.log());
                condition(self)
            },
        );
    }

    /// The items in the alert file, none of them twice.
    fn alerted(&self) -> usize {
        let alerts = read_alerts(&self.state.join("alerts.jsonl"));
        let ids: std::collections::BTreeSet<_> = alerts.iter().map(|alert| alert["item"]["id"].to_string()).collect();
        assert_eq!(ids.len(), alerts.len(), "an alert is there twice");
        ids.len()
    }

    fn limit_files(&self, bytes: &str) {
        let id = self.child.id().to_string();
        let limited = Command::new("prlimit").args(["--pid", &id, &format!("--fsize={bytes}:unlimited")]).status();
        assert!(limited.unwrap().success());
    }

    fn ends(&mut self) {
        signal("TERM", self.child.id());
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn items(count: usize) -> Response {
    Response::feed(rss((0..count).map(|id| (id, talks(id)))))
}

#[test]
fn a_disk_that_takes_nothing_is_waited_out() {
    let origin = Origin::start();
    origin.serve("/f", items(3));
    let mut daemon = Daemon::start(&origin.url("/f"));
    daemon.waits_until("the first alerts are there", |daemon| daemon.alerted() == 3);
    daemon.limit_files("1");
    origin.serve("/f", items(8));
    daemon.waits_until("it says so", |daemon| daemon.log().contains("nothing more is taken in until this is mended"));
    assert_eq!(daemon.alerted(), 3);
    daemon.limit_files("unlimited");
    daemon.waits_until("it goes on", |daemon| daemon.alerted() == 8);
    daemon.ends();
}

#[test]
fn a_state_directory_that_vanishes_is_waited_for() {
    let origin = Origin::start();
    origin.serve("/f", items(3));
    let mut daemon = Daemon::start(&origin.url("/f"));
    daemon.waits_until("the first alerts are there", |daemon| daemon.alerted() == 3);
    let away = daemon.state.with_file_name("away");
    std::fs::rename(&daemon.state, &away).unwrap();
    origin.serve("/f", items(8));
    daemon.waits_until("it says so", |daemon| daemon.log().contains("put it back"));
    assert!(!daemon.state.join("demarche.sqlite").exists(), "nothing is made where nothing is mounted");
    let _ = std::fs::remove_dir_all(&daemon.state);
    std::fs::rename(&away, &daemon.state).unwrap();
    daemon.waits_until("it goes on", |daemon| daemon.alerted() == 8);
    daemon.ends();
}

#[test]
fn a_state_directory_of_somebody_else_is_named_with_its_owner() {
    let program = Program::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
    command.args(["run", "--once", "--feed", "http://127.0.0.1:9/f", "--state"]);
    // Root may write everywhere: then somebody else is asked to, if the program's libraries are not in root's own home.
    let somebody = || Command::new(env!("CARGO_BIN_EXE_demarche")).arg("--version").uid(65_534).status().unwrap();
    if nix::unistd::geteuid().is_root() {
        if !somebody().success() {
            return;
        }
        command.arg(program.dir.path()).uid(65_534).env("HOME", "/");
    } else {
        command.arg("/usr");
    }
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("belongs to user 0 and this is user") && log.contains("chown"), "{log}");
}
