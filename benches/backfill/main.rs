//! Backfill, measured as whole runs of the real binary on made-up history: JSONL of items, and feed documents.
//!
//! `cargo bench --no-default-features --bench backfill` reads 1,000,000 items of JSONL and 1 GB of feed XML;
//! `-- ITEMS MEGABYTES` others. The state is on disk and synced as shipped; one item in fifty is about talks. A quarter of
//! each is read first, to show that memory does not grow with what is read.

#![allow(missing_docs, reason = "a program, not an interface")]

mod made_up;
#[path = "../fetch/process.rs"]
#[allow(dead_code, reason = "the origin is another bench's")]
mod process;
mod origin {
    //! Stands in for the other bench's.
    #[derive(Debug, Clone, Copy)]
    pub struct Kind;
    impl Kind {
        pub fn as_str(self) -> &'static str {
            ""
        }
    }
}

use std::path::Path;
use std::process::Command;

use process::{Cost, measured};

fn main() {
    // `cargo bench` adds an argument of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    if let Some("--role") = args.first().map(String::as_str) {
        return process::measure(args.into_iter().skip(2));
    }
    let number = |at: usize, default: u64| args.get(at).map_or(default, |arg| arg.parse().expect("a number"));
    let (items, megabytes) = (number(0, 1_000_000), number(1, 1_000));
    println!("{:<28} {:>9} {:>8} {:>8} {:>10} {:>8} {:>7}", "", "items", "seconds", "CPU s", "items/s", "MB/s", "MiB");
    for items in [items / 4, items] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let bytes = made_up::jsonl(&dir.path().join("items.jsonl"), items);
        show("JSONL", items, bytes, run(dir.path(), &[]));
        show("JSONL, dry run", items, bytes, run(dir.path(), &["--dry-run"]));
    }
    for megabytes in [megabytes / 4, megabytes] {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let (items, bytes) = made_up::feeds(dir.path(), megabytes * 1_000_000);
        show("feed XML", items, bytes, run(dir.path(), &[]));
    }
}

fn run(source: &Path, more: &[&str]) -> Cost {
    let state = tempfile::tempdir().expect("a temporary directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
    command.env("DEMARCHE_MODEL__SCORER", "linear").env("DEMARCHE_LOG__LEVEL", "error");
    command.args(["backfill", "--json"]).arg(source).arg("--state").arg(state.path()).args(more);
    measured(&command)
}

fn show(what: &str, items: u64, bytes: u64, cost: Cost) {
    let wall = cost.wall.as_secs_f64();
    println!(
        "{what:<28} {items:>9} {wall:>8.1} {:>8.1} {:>10.0} {:>8.1} {:>7.0}",
        cost.cpu.as_secs_f64(),
        items as f64 / wall,
        bytes as f64 / wall / 1e6,
        cost.peak as f64 / (1 << 20) as f64,
    );
}
