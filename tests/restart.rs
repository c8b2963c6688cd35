//! Killed, stopped, started again: nothing lost, nothing twice, every line whole.

#[path = "support/program.rs"]
mod program;
mod support;

use std::time::Duration;

use program::{Program, rss, signal, talks, wait_until, weather};
use support::{Origin, Response};

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(20);

const FEEDS: usize = 12;
const ITEMS: usize = 40;

/// Feeds that answer one after the other, half of their items relevant.
fn busy_origin() -> (Origin, Vec<String>) {
    let origin = Origin::start();
    let mut urls = Vec::new();
    for feed in 0..FEEDS {
        let items =
            (0..ITEMS).map(|i| feed * ITEMS + i).map(|id| (id, if id % 2 == 0 { talks(id) } else { weather(id) }));
        let path = format!("/{feed}");
        origin.serve(&path, Response::feed(rss(items)).etag(&format!("\"{feed}\"")).delay(Duration::from_millis(15)));
        urls.push(origin.url(&path));
    }
    (origin, urls)
}

#[test]
fn killed_again_and_again_the_alerts_are_those_of_an_undisturbed_run() {
    let (_origin, feeds) = busy_origin();
    let undisturbed = Program::new();
    undisturbed.once(&feeds, &[]);
    let expected = undisturbed.alerted();
    assert_eq!(expected.len(), FEEDS * ITEMS / 2);

    let program = Program::new();
    // From before the first poll to past the end of an undisturbed run, in steps that share no rhythm with it.
    for millis in (20..600).step_by(37) {
        let mut child = program.spawn(program.once_command(&feeds, &[]));
        std::thread::sleep(Duration::from_millis(millis));
        // It may have finished already.
        let _ = child.kill();
        child.wait().unwrap();
    }
    let (code, _, log) = program.once(&feeds, &[]);
    assert_eq!(code, 0, "{log}");
    assert_eq!(program.alerted(), expected);
}

#[test]
fn a_line_written_but_not_marked_is_not_written_again() {
    let (_origin, feeds) = busy_origin();
    let program = Program::new();
    program.once(&feeds[..1], &["--out", "/dev/full"]);
    // What the outbox holds now, written to the file as a run that was killed before it could mark it would have.
    let other = Program::new();
    other.once(&feeds[..1], &[]);
    let text = std::fs::read_to_string(other.alert_file()).unwrap();
    let half: String = text.lines().take(7).map(|line| format!("{line}\n")).collect();
    std::fs::write(program.alert_file(), half + "{\"schema\":\"demarche.alert/1\",\"alert_id\":\"torn").unwrap();
    let (_, totals, _) = program.once(&feeds[..1], &[]);
    assert_eq!(totals["delivered"].as_u64().unwrap() as usize, ITEMS / 2 - 7);
    assert_eq!(program.alerted(), other.alerted());
}

#[test]
fn a_state_that_is_made_anew_repeats_nothing_in_the_file() {
    let (_origin, feeds) = busy_origin();
    let program = Program::new();
    program.once(&feeds[..1], &[]);
    for name in ["demarche.sqlite", "demarche.sqlite-wal", "demarche.sqlite-shm"] {
        // The last two are there or not.
        let _ = std::fs::remove_file(program.dir.path().join(name));
    }
    let (code, totals, log) = program.once(&feeds[..2], &[]);
    assert_eq!((code, &totals["alert"], &totals["delivered"]), (0, &ITEMS.into(), &(ITEMS / 2).into()), "{log}");
    assert_eq!(program.alerted().len(), ITEMS);
    program.once(&feeds[..3], &[]);
    assert_eq!(program.alerted().len(), ITEMS + ITEMS / 2);
}

#[test]
fn a_daemon_polls_again_and_stops_when_it_is_told_to() {
    let origin = Origin::start();
    origin.script("/f", [Response::feed(rss([(1, talks(1))])), Response::feed(rss([(1, talks(1)), (2, talks(2))]))]);
    let program = Program::new();
    let url = origin.url("/f");
    let mut child =
        program.spawn(program.command(&["run", "--feed", &url, "--interval", "100ms", "--allow-net", "127.0.0.1"]));
    wait_until("both alerts are there", PATIENCE, || {
        std::fs::read_to_string(program.alert_file()).is_ok_and(|text| text.lines().count() == 2)
    });
    signal("TERM", child.id());
    wait_until("the daemon has stopped", PATIENCE, || child.try_wait().unwrap().is_some());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    assert_eq!(program.alerted().len(), 2);
}

#[test]
fn stopped_in_the_middle_the_next_run_finishes() {
    let (_origin, feeds) = busy_origin();
    let program = Program::new();
    let mut child = program.spawn(program.once_command(&feeds, &[]));
    wait_until("the first alerts are there", PATIENCE, || {
        program.alert_file().metadata().is_ok_and(|file| file.len() > 0)
    });
    signal("TERM", child.id());
    assert_eq!(child.wait().unwrap().code(), Some(0));
    program.once(&feeds, &[]);
    assert_eq!(program.alerted().len(), FEEDS * ITEMS / 2);
}

#[test]
fn two_runs_on_one_state_are_one_too_many() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss([(1, weather(1))])));
    let program = Program::new();
    let url = origin.url("/f");
    let args = ["run", "--feed", &url, "--interval", "1h", "--allow-net", "127.0.0.1"];
    let mut daemon = program.spawn(program.command(&args));
    wait_until("the daemon polls", PATIENCE, || !origin.requests("/f").is_empty());
    let second = program.output(&args);
    let log = String::from_utf8(second.stderr).unwrap();
    assert_eq!(second.status.code(), Some(1));
    assert!(log.contains("another demarche is running on this state"), "{log}");
    daemon.kill().unwrap();
    daemon.wait().unwrap();
}
