//! `demarche backfill` broken off and begun again, and with other numbers of workers: the output depends on the sources alone.

#[path = "support/history.rs"]
mod history;
#[path = "support/program.rs"]
mod program;

use std::path::Path;

use history::{History, gzip, item, read_counts};
use program::{Program, rss, talks, weather};
use serde_json::Value;

/// The bytes of the file of alerts, but for when each was written.
fn written(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap();
    let line = |line: &str| {
        let (before, rest) = line.split_once("\"emitted_at\":\"").unwrap();
        let (_, behind) = rest.split_once('"').unwrap();
        format!("{before}\"emitted_at\":\"\"{behind}\n")
    };
    text.lines().map(line).collect()
}

#[test]
fn the_output_is_the_same_to_the_byte_for_any_number_of_workers() {
    let sources = History::new();
    // Documents of very unlike size, so that workers finish in another order than they begin.
    for n in 0..60 {
        let ids = (n * 100..n * 100 + if n % 3 == 0 { 100 } else { 2 })
            .map(|id| (id, if id % 7 == 0 { talks(id / 2) } else { weather(id) }));
        sources.file(&format!("{n:03}.xml"), rss(ids));
        sources
            .file(&format!("{n:03}.jsonl.gz"), gzip((n * 50..n * 50 + 80).map(item).collect::<String>() + "broken\n"));
    }
    let run = |flags: &[&str]| {
        let (program, rejects) = (Program::new(), sources.files.path().with_extension("rejects"));
        let _ = std::fs::remove_file(&rejects);
        let mut command = program.command(&["backfill", "--json", "--rejects", rejects.to_str().unwrap()]);
        let output = command.args(flags).arg(sources.files.path()).output().unwrap();
        let (code, counts) = read_counts(&output);
        assert_eq!(code, 3);
        let rejects = std::fs::read_to_string(rejects).unwrap();
        (written(&program.alert_file()), rejects, counts)
    };
    for sorted in [&[][..], &["--sort"]] {
        let (alerts, rejects, counts) = run(&[sorted, &["--jobs", "1"]].concat());
        assert!(alerts.lines().count() > 300 && rejects.lines().count() == 60);
        for jobs in ["4", "16"] {
            let other = run(&[sorted, &["--jobs", jobs]].concat());
            assert!(other.0 == alerts, "the alerts of {jobs} workers differ {sorted:?}");
            assert!(other.1 == rejects, "the rejects of {jobs} workers differ");
            assert_eq!(other.2["sources"], counts["sources"]);
        }
    }
}

/// What must be the same however often a run was broken off: the alerts but for when they were written, and the rejects.
fn outcome(program: &Program, rejects: &Path) -> (Vec<Value>, String) {
    let mut alerts = program.alerts();
    for alert in &mut alerts {
        alert.as_object_mut().unwrap().remove("emitted_at");
    }
    (alerts, std::fs::read_to_string(rejects).unwrap_or_default())
}

fn is_through(counts: &Value) -> bool {
    counts["sources"].as_array().unwrap().iter().all(|source| source["done"] == true)
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_as_one_that_is_not() {
    let sources = History::new();
    // Revised headlines, duplicates and broken lines in between: what an item meets in the store matters.
    let line = |n: usize| match n % 100 {
        7 => "broken\n".to_owned(),
        8 => item(n / 2),
        9 => item(n - 9).replace("Foreign ministers", "Ministers"),
        10 => item(n - 9).replace("Rain", "Snow"),
        n if n.is_multiple_of(10) && n != 50 => item(n + 1),
        _ => item(n),
    };
    sources.file("a.jsonl.gz", gzip((0..18_000).map(line).collect::<String>()));
    for n in 0..40 {
        let ids =
            (n * 100..(n + 1) * 100).map(|id| (id + 100_000, if id % 400 == 0 { talks(id) } else { weather(id) }));
        sources.file(&format!("b/{n:03}.xml"), rss(ids));
    }
    sources.file("c.jsonl", (18_000..30_000).map(line).collect::<String>());
    let paths = ["a.jsonl.gz", "b", "c.jsonl"].map(|name| sources.files.path().join(name).display().to_string());
    let command = |program: &Program, rejects: &Path| {
        let mut command = program.command(&["backfill", "--json", "--rejects", rejects.to_str().unwrap()]);
        // Small groups: each is a place to go on from.
        command.args(&paths).env("DEMARCHE_BACKFILL__GROUP", "1500");
        command
    };
    let whole = Program::new();
    let rejects = whole.dir.path().join("rejects");
    let (code, expected_counts) = read_counts(&command(&whole, &rejects).output().unwrap());
    assert_eq!(code, 3);
    let expected = outcome(&whole, &rejects);
    assert!(expected.0.len() > 300, "{}", expected.0.len());

    let broken_off = Program::new();
    let rejects = broken_off.dir.path().join("rejects");
    let mut kills = 0;
    let counts = loop {
        let mut child = broken_off.spawn_piped(command(&broken_off, &rejects));
        let patience = std::time::Duration::from_millis(400 + 200 * kills);
        std::thread::sleep(patience);
        if kills < 12 && child.try_wait().unwrap().is_none() {
            if kills % 3 == 2 {
                nix::sys::signal::kill(
                    nix::unistd::Pid::from_raw(child.id() as i32),
                    nix::sys::signal::Signal::SIGTERM,
                )
                .unwrap();
            } else {
                child.kill().unwrap();
            }
            let output = child.wait_with_output().unwrap();
            kills += 1;
            // Asked to end in its last moments it may have come to its end: another would begin anew.
            match serde_json::from_slice::<Value>(&output.stdout) {
                Ok(counts) if is_through(&counts) => break counts,
                _ => continue,
            }
        }
        break read_counts(&child.wait_with_output().unwrap()).1;
    };
    assert!(kills >= 3, "it was through after {kills} kills");
    let found = outcome(&broken_off, &rejects);
    assert_eq!(found.0.len(), expected.0.len());
    for (found, expected) in found.0.iter().zip(&expected.0) {
        assert_eq!(found, expected);
    }
    assert!(found == expected);
    assert_eq!(counts["sources"], expected_counts["sources"]);
}
