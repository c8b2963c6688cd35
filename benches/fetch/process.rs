//! The processes of a measurement: the origin beside, the measured one, and what it cost.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};

use crate::origin::Kind;

/// This program again, in another role.
pub fn again(role: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.arg("--role").arg(role);
    command
}

/// The origin's process.
pub struct Beside {
    child: Child,
    answers: BufReader<ChildStdout>,
    pub port: u16,
}

/// Requests, 304s and failures that the origin has seen.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    pub requests: u64,
    pub not_modified: u64,
    pub failures: u64,
}

impl Beside {
    pub fn start(kind: Kind, hosts: usize) -> Self {
        let mut command = again("origin");
        command.args([kind.as_str(), &hosts.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the origin's process");
        let mut answers = BufReader::new(child.stdout.take().expect("its output"));
        let mut line = String::new();
        answers.read_line(&mut line).expect("its port");
        Self { child, answers, port: line.trim().parse().expect("a port") }
    }

    pub fn seen(&mut self) -> Seen {
        writeln!(self.child.stdin.as_mut().expect("its input")).expect("an origin that runs");
        let mut line = String::new();
        self.answers.read_line(&mut line).expect("its counts");
        let mut counts = line.split_whitespace().map(|count| count.parse().expect("a count"));
        let mut next = || counts.next().unwrap_or_default();
        Seen { requests: next(), not_modified: next(), failures: next() }
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        // Its input closes, so it ends by itself.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// What a process cost.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub wall: Duration,
    /// User and system time.
    pub cpu: Duration,
    /// Peak resident set, bytes.
    pub peak: u64,
}

/// Runs `command` to its end in a process of its own, so that what the system counts of children is of this one alone.
pub fn measured(command: &Command) -> Cost {
    let mut measure = again("measure");
    measure.arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        measure.env(name, value.unwrap_or_default());
    }
    let output = measure.stderr(Stdio::inherit()).output().expect("a process");
    let text = String::from_utf8(output.stdout).expect("text");
    let numbers: Vec<u64> = text.split_whitespace().map(|number| number.parse().expect("a number")).collect();
    Cost { wall: Duration::from_micros(numbers[0]), cpu: Duration::from_micros(numbers[1]), peak: numbers[2] }
}

/// The role of the process in between: runs the rest of the arguments and prints microseconds of wall and of processor
/// time, and bytes.
pub fn measure(mut args: impl Iterator<Item = String>) {
    let started = Instant::now();
    let mut command = Command::new(args.next().expect("a program"));
    let status = command.args(args).stdout(Stdio::null()).status().expect("a process");
    let wall = started.elapsed();
    assert!(status.code().is_some_and(|code| code == 0 || code == 3), "{status}");
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("the system's count");
    let time = usage.user_time() + usage.system_time();
    let cpu = time.tv_sec() as u64 * 1_000_000 + time.tv_usec() as u64;
    // Linux counts it in KiB.
    println!("{} {cpu} {}", wall.as_micros(), usage.max_rss() as u64 * 1024);
}
