//! `demarche backfill` broken off and begun again, and with other numbers of workers: the output depends on the sources alone.

#[path = "support/history.rs"]
mod history;
#[path = "support/program.rs"]
mod program;

use std::path::Path;

use history::{History, gzip, item, read_counts};
use program::{Program, rss, talks, weather};
use serde_json::Value;

/// What must be the same however often a run was broken off: the alerts but for when they were written, and the rejects.
fn outcome(program: &Program, rejects: &Path) -> (Vec<Value>, String) {
    let mut alerts = program.alerts();
    for alert in &mut alerts {
        alert.as_object_mut().unwrap().remove("emitted_at");
    }
    (alerts, std::fs::read_to_string(rejects).unwrap_or_default())
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
        command.args(&paths);
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
            child.wait().unwrap();
            kills += 1;
            continue;
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
