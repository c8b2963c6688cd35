//! Files of history beside a state, and runs of `demarche backfill` on them.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Output;

use serde_json::{Value, json};

use crate::program::{Program, talks, weather};

/// A place for sources beside a state.
pub struct History {
    pub program: Program,
    pub files: tempfile::TempDir,
}

impl History {
    pub fn new() -> Self {
        Self { program: Program::new(), files: tempfile::tempdir().unwrap() }
    }

    pub fn file(&self, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
        let path = self.files.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    pub fn run(&self, args: &[&str]) -> Output {
        let mut all = vec!["backfill", "--json"];
        all.extend(args);
        self.program.output(&all)
    }

    /// Reads the directory of sources; exit code and counts.
    pub fn all(&self, args: &[&str]) -> (i32, Value) {
        self.paths(&[self.files.path()], args)
    }

    pub fn paths(&self, paths: &[&Path], args: &[&str]) -> (i32, Value) {
        let mut all: Vec<&str> = paths.iter().map(|path| path.to_str().unwrap()).collect();
        all.extend(args);
        read_counts(&self.run(&all))
    }

    pub fn titles(&self) -> Vec<String> {
        self.program.alerts().iter().map(|alert| alert["item"]["title"].as_str().unwrap().to_owned()).collect()
    }
}

pub fn read_counts(output: &Output) -> (i32, Value) {
    let text = String::from_utf8_lossy(&output.stderr);
    let counts = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {text}"));
    (output.status.code().unwrap(), counts)
}

pub fn item(id: usize) -> String {
    let title = if id.is_multiple_of(10) { talks(id) } else { weather(id) };
    let day = 1 + id % 28;
    json!({"url": format!("https://outlet.example/{id}"), "title": title, "published_at": format!("2024-05-{day:02}T10:00:00Z"),
        "source": "Outlet"})
    .to_string()
        + "\n"
}

pub fn items(ids: std::ops::Range<usize>) -> String {
    ids.map(item).collect()
}

pub fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes.as_ref()).unwrap();
    encoder.finish().unwrap()
}

/// One record of a web archive.
pub fn answer(id: usize, kind: &str, body: &str) -> String {
    let block = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n\r\n{body}");
    format!(
        "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://o.example/{id}\r\nWARC-Date: 2024-05-02T00:00:00Z\r\n\
         Content-Length: {}\r\n\r\n{block}\r\n\r\n",
        block.len()
    )
}

pub fn sums_hold(counts: &Value) {
    for source in counts["sources"].as_array().unwrap() {
        let n = |name: &str| source[name].as_u64().unwrap();
        assert_eq!(n("read"), n("new") + n("duplicate") + n("revised") + n("outside") + n("rejected"), "{source}");
        assert_eq!(n("new") + n("reopened"), n("alert") + n("irrelevant") + n("unscorable"), "{source}");
    }
}

/// Most memory that any program held which this test has run to its end, bytes.
pub fn peak_of_all() -> u64 {
    let usage = nix::sys::resource::getrusage(nix::sys::resource::UsageWho::RUSAGE_CHILDREN).unwrap();
    usage.max_rss() as u64 * 1024
}
