//! `demarche backfill` and the files it is pointed at: named in other ways, changed in between, missing, or its own.

#[path = "support/history.rs"]
mod history;
#[path = "support/program.rs"]
mod program;

use history::{History, items, read_counts, sums_hold};
use serde_json::json;

/// More items than a piece holds, so that a limit ends a run behind the first one.
const MANY: std::ops::Range<usize> = 0..2_000;

/// A run in the directory of sources, on them by their bare names.
fn from_within(history: &History, args: &[&str]) -> (i32, serde_json::Value) {
    let mut all = vec!["backfill", "--json"];
    all.extend(args);
    read_counts(&history.program.command(&all).current_dir(history.files.path()).output().unwrap())
}

#[test]
fn a_run_goes_on_however_its_path_is_spelt() {
    let history = History::new();
    let path = history.file("items.jsonl", items(MANY));
    let (_, counts) = from_within(&history, &["items.jsonl", "--limit", "1500"]);
    assert_eq!(counts["new"], json!(1500), "{counts}");
    let (code, counts) = history.paths(&[&path], &[]);
    sums_hold(&counts);
    assert_eq!((code, &counts["new"]), (0, &json!(500)), "{counts}");
    assert_eq!(history.titles().len(), 200);
}

#[test]
fn items_without_links_are_known_however_their_path_is_spelt() {
    let history = History::new();
    let path = history.file("items.jsonl", format!("{}\n", json!({"title": program::talks(1)})));
    for run in [
        from_within(&history, &["items.jsonl"]),
        from_within(&history, &["./items.jsonl"]),
        history.paths(&[&path], &[]),
    ] {
        assert_eq!(run.0, 0, "{}", run.1);
    }
    assert_eq!(history.titles(), [program::talks(1)]);
}

#[test]
fn a_file_that_has_changed_is_read_from_its_beginning() {
    let history = History::new();
    let path = history.file("items.jsonl", items(MANY));
    history.paths(&[&path], &["--limit", "1500"]);
    history.file("items.jsonl", items(10_000..10_000 + MANY.len() + 1));
    let (_, counts) = history.paths(&[&path], &[]);
    assert_eq!(counts["new"], json!(MANY.len() + 1), "{counts}");
}

#[test]
fn standard_input_is_read_from_its_beginning() {
    let history = History::new();
    let run = |ids: std::ops::Range<usize>, more: &[&str]| {
        let text = history.file("input", items(ids));
        let mut command = history.program.command(&["backfill", "--json", "-"]);
        read_counts(&command.args(more).stdin(std::fs::File::open(text).unwrap()).output().unwrap()).1
    };
    assert_eq!(run(MANY, &["--limit", "1500"])["new"], json!(1500));
    assert_eq!(run(10_000..12_000, &[])["new"], json!(2_000));
}

#[test]
fn what_the_run_writes_is_never_read_nor_written_over() {
    let history = History::new();
    let source = history.file("items.jsonl", items(0..20));
    let name = source.to_str().unwrap();
    for flag in ["--rejects", "--out", "--report"] {
        let output = history.run(&[name, flag, name]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{flag}: {said}");
        assert!(said.contains("this run would write to it"), "{flag}: {said}");
        assert_eq!(std::fs::read_to_string(&source).unwrap(), items(0..20), "{flag}");
    }
    // Everything in one directory, as somebody does who works there: alerts, rejects, page.
    let out = history.files.path().join("alerts-of-it.jsonl");
    for more in [&[][..], &[], &["--dry-run"]] {
        let mut command = history.program.command(&["backfill", "--json", ".", "--rejects", "rejects.jsonl"]);
        command.args(["--report", "page.html"]).arg("--out").arg(&out).args(more).current_dir(history.files.path());
        let (code, counts) = read_counts(&command.output().unwrap());
        assert_eq!((code, &counts["failed"], &counts["rejected"]), (0, &json!(0), &json!(0)), "{counts}");
        assert_eq!(counts["sources"][0]["read"], json!(20), "{more:?}: {counts}");
    }
}

#[test]
fn a_state_among_the_sources_is_passed_over_also_by_a_dry_run() {
    let history = History::new();
    history.file("items.jsonl", items(0..20));
    for more in [&[][..], &["--dry-run"]] {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_demarche"));
        command.env("DEMARCHE_MODEL__SCORER", "linear").env("HOME", history.program.dir.path());
        command.args(["backfill", "--json", ".", "--state", "state"]).args(more).current_dir(history.files.path());
        let (code, counts) = read_counts(&command.output().unwrap());
        assert_eq!((code, &counts["failed"], &counts["sources"][0]["read"]), (0, &json!(0), &json!(20)), "{counts}");
    }
}

#[test]
fn a_source_that_is_missing_does_not_keep_the_others_from_being_read() {
    let history = History::new();
    let there = history.file("items.jsonl", items(0..20));
    let missing = history.files.path().join("nothere.jsonl");
    let (code, counts) = history.paths(&[&missing, &there], &[]);
    assert_eq!((code, &counts["new"], &counts["failed"]), (3, &json!(20), &json!(1)), "{counts}");
    let output = history.run(&[missing.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(2), "alone it is a mistake");
}

#[test]
fn what_cannot_be_meant_is_refused() {
    let history = History::new();
    let there = history.file("items.jsonl", items(0..20));
    for args in [
        &["--limit", "0"][..],
        &["--since", "2024-06-01", "--until", "2024-05-01"],
        &["--report", "/nowhere/page.html"],
    ] {
        let mut all = vec![there.to_str().unwrap()];
        all.extend(args);
        let output = history.run(&all);
        assert!(matches!(output.status.code(), Some(1 | 2)), "{args:?}");
        assert!(history.program.alerts().is_empty(), "{args:?}: nothing is read before it is refused");
    }
}

#[test]
fn a_sorted_run_that_goes_on_without_the_flag_loses_nothing() {
    let history = History::new();
    let path = history.file("items.jsonl", items(MANY));
    let mut running = history.program.command(&["backfill", "--json", "--sort"]);
    running.env("DEMARCHE_BACKFILL__GROUP", "500").arg(&path);
    let mut child = running.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
    let begun = || {
        let names = std::fs::read_dir(history.program.dir.path()).unwrap().flatten();
        names
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("backfill-"))
            .any(|entry| entry.metadata().unwrap().len() > 0)
    };
    while !begun() && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let _ = child.kill();
    child.wait().unwrap();
    let (code, _) = history.paths(&[&path], &[]);
    let titles: std::collections::BTreeSet<String> = history.titles().into_iter().collect();
    assert_eq!((code, titles.len(), history.titles().len()), (0, 200, 200));
}
