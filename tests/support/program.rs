//! The real binary, run as a user runs it, with a state directory of its own and a clean environment.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A state directory, and the binary to run on it.
pub struct Program {
    pub dir: tempfile::TempDir,
}

impl Program {
    pub fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    pub fn alert_file(&self) -> PathBuf {
        self.dir.path().join("alerts.jsonl")
    }

    /// The binary with the linear scorer (it needs no set-up, and both builds have it) and this state directory.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("DEMARCHE_") || name.starts_with("XDG_"))
        {
            command.env_remove(name);
        }
        command.env("DEMARCHE_MODEL__SCORER", "linear").env("HOME", self.dir.path());
        command.args(args).arg("--state").arg(self.dir.path()).stdin(Stdio::null());
        command
    }

    pub fn output(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// `run --once --json` on these feeds, with loopback allowed and no floor.
    pub fn once_command(&self, feeds: &[String], more: &[&str]) -> Command {
        let mut args = vec!["run", "--once", "--json", "--interval", "0s", "--allow-net", "127.0.0.0/8"];
        args.extend(more);
        for feed in feeds {
            args.extend(["--feed", feed]);
        }
        self.command(&args)
    }

    /// Runs once and returns the exit code, the totals and what was logged.
    pub fn once(&self, feeds: &[String], more: &[&str]) -> (i32, Value, String) {
        let output = self.once_command(feeds, more).output().unwrap();
        let totals = serde_json::from_slice(&output.stdout).unwrap_or(Value::Null);
        (output.status.code().unwrap_or(-1), totals, String::from_utf8(output.stderr).unwrap())
    }

    /// Starts `command` without its output; it does not outlive the test.
    pub fn start(mut command: Command) -> Running {
        Running(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    pub fn spawn(&self, mut command: Command) -> Child {
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// Starts a command whose standard output is wanted.
    pub fn spawn_piped(&self, mut command: Command) -> Child {
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    }

    /// The alerts in the file; every line must be whole.
    pub fn alerts(&self) -> Vec<Value> {
        read_alerts(&self.alert_file())
    }

    /// The ids of the alerted items; none may be there twice.
    pub fn alerted(&self) -> BTreeSet<String> {
        let alerts = self.alerts();
        let ids: BTreeSet<String> =
            alerts.iter().map(|alert| alert["item"]["id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(ids.len(), alerts.len(), "an alert is there twice");
        ids
    }
}

/// A process that ends with the test, however the test ends.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits for a condition, `patience` at most; `log` says what went on when it was in vain.
pub fn wait_until_or(what: &str, patience: Duration, log: impl Fn() -> String, mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < patience, "waited in vain until {what}: {}", log());
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same where there is no log.
pub fn wait_until(what: &str, patience: Duration, condition: impl FnMut() -> bool) {
    wait_until_or(what, patience, String::new, condition);
}

/// Sends a signal by its name, as `kill` knows it.
pub fn signal(name: &str, pid: u32) {
    assert!(Command::new("kill").args([format!("-{name}"), pid.to_string()]).status().unwrap().success());
}

pub fn read_alerts(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    assert!(text.is_empty() || text.ends_with('\n'), "a torn last line: {text:?}");
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// RSS with these items (id, headline), as one outlet would write it.
pub fn rss(items: impl IntoIterator<Item = (usize, String)>) -> String {
    let items: String = items
        .into_iter()
        .map(|(id, title)| {
            format!(
                "<item><guid isPermaLink=\"false\">item-{id}</guid><title>{title}</title><link>https://outlet.example/{id}</link>\
                 <pubDate>Tue, 06 Oct 2026 10:00:00 GMT</pubDate></item>"
            )
        })
        .collect();
    format!("<rss version=\"2.0\"><channel><title>Outlet</title>{items}</channel></rss>")
}

/// A headline that every scorer finds relevant.
pub fn talks(id: usize) -> String {
    format!(
        "Foreign ministers hold ceasefire talks, round {id}: envoys of both sides meet mediators in Doha for peace negotiations"
    )
}

/// A headline that no scorer finds relevant.
pub fn weather(id: usize) -> String {
    format!("Rain clears by evening in district {id}, warm weekend ahead")
}
