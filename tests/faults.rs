//! What goes wrong on the way, and what the user reads then: each feed's own trouble, and the disk's.

#[path = "support/program.rs"]
mod program;
mod support;

use std::time::Duration;

use program::{Program, rss, talks};
use support::{Origin, Response};

/// Polls a feed with this trouble beside a good one: the good one goes on, and the log names the cause.
fn beside_a_good_feed(trouble: Response, cause: &str) {
    let origin = Origin::start();
    origin.serve("/bad", trouble);
    origin.serve("/good", Response::feed(rss([(1, talks(1))])));
    let program = Program::new();
    let mut command = program.once_command(&[origin.url("/bad"), origin.url("/good")], &[]);
    let output = command.env("DEMARCHE_FETCH__READ_TIMEOUT", "300ms").output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(3), "{log}");
    assert!(log.contains(cause), "no `{cause}` in: {log}");
    assert_eq!(program.alerted().len(), 1);
    let listed = String::from_utf8(program.output(&["feeds", "list", "--json", "--all"]).stdout).unwrap();
    let bad = listed.lines().find(|line| line.contains("/bad")).unwrap();
    assert!(bad.contains("\"errors_in_row\":1") && !bad.contains("\"error_class\":null"), "{bad}");
}

#[test]
fn a_missing_feed() {
    beside_a_good_feed(Response::status(404), "404");
}

#[test]
fn a_broken_server() {
    beside_a_good_feed(Response::status(503), "503");
}

#[test]
fn a_server_that_never_answers() {
    beside_a_good_feed(Response::status(200).delay(Duration::from_secs(5)), "time");
}

#[test]
fn a_captcha_page() {
    let page = Response::status(200).header("content-type", "text/html").body(include_str!("fixtures/captcha.html"));
    beside_a_good_feed(page, "find a feed");
}

#[test]
fn garbage() {
    beside_a_good_feed(Response::feed(vec![0xff, 0x00, 0xfe, 0x13, 0x37]), "poll failed");
}

#[test]
fn nothing_at_all() {
    beside_a_good_feed(Response::feed(""), "poll failed");
}

#[test]
fn an_endless_body() {
    beside_a_good_feed(Response::feed(vec![b' '; 1 << 20]).endless(), "large");
}

#[test]
fn when_every_feed_fails_the_run_has_failed() {
    let program = Program::new();
    let origin = Origin::start();
    assert_eq!(program.once(&[origin.url("/nowhere")], &[]).0, 1);
}

#[test]
fn private_addresses_are_refused_unless_allowed() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss([(1, talks(1))])));
    let program = Program::new();
    let output = program.output(&["run", "--once", "--feed", &origin.url("/f")]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(log.contains("allow_net"), "{log}");
    assert!(origin.all_requests().is_empty());
}

#[test]
fn a_full_disk_is_named_and_the_alert_is_delivered_later() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss([(1, talks(1))])));
    let program = Program::new();
    let feeds = [origin.url("/f")];
    let (code, _, log) = program.once(&feeds, &["--out", "/dev/full"]);
    assert_eq!(code, 1, "{log}");
    assert!(log.contains("write alert file /dev/full") && log.contains("free some space"), "{log}");
    let (code, totals, log) = program.once(&feeds, &[]);
    assert_eq!((code, &totals["delivered"]), (0, &1.into()), "{log}");
    assert_eq!(program.alerted().len(), 1);
}

#[test]
fn an_alert_file_that_cannot_be_made_is_named() {
    let program = Program::new();
    let (code, _, log) = program.once(&["http://127.0.0.1:9/f".into()], &["--out", "/proc/nowhere/alerts.jsonl"]);
    assert_eq!(code, 1);
    assert!(log.contains("open alert file /proc/nowhere/alerts.jsonl") && log.contains("--out"), "{log}");
}

#[test]
fn a_state_directory_that_cannot_be_made_is_named() {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_demarche"));
    let output = command.args(["feeds", "list", "--state", "/proc/nowhere"]).output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{log}");
    assert!(log.contains("use state directory /proc/nowhere") && log.contains("--state"), "{log}");
}

#[test]
fn a_database_that_is_none_is_named() {
    let program = Program::new();
    std::fs::write(program.dir.path().join("demarche.sqlite"), "this is not a database, whatever its name says")
        .unwrap();
    let output = program.output(&["feeds", "list"]);
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("move the file away"), "{log}");
}

#[test]
fn a_missing_model_is_named() {
    let program = Program::new();
    let mut command = program.command(&["score", "Envoys meet"]);
    command.env("DEMARCHE_MODEL__DIR", "/nowhere/model");
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains("/nowhere/model"), "{log}");
}

#[cfg(feature = "bert")]
#[test]
fn a_missing_base_model_is_named_with_its_remedy() {
    let program = Program::new();
    let mut command = program.command(&["score", "Envoys meet"]);
    command.env("DEMARCHE_MODEL__SCORER", "transformer").env("DEMARCHE_MODEL__BASE", program.dir.path());
    let output = command.output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(log.contains(program.dir.path().to_str().unwrap()) && log.contains("make setup"), "{log}");
}

#[test]
fn a_damaged_database_is_set_aside_and_no_alert_comes_twice() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss((0..5).map(|id| (id, talks(id))))));
    let program = Program::new();
    let feeds = [origin.url("/f")];
    program.once(&feeds, &[]);
    let alerts = std::fs::read(program.alert_file()).unwrap();
    assert_eq!(program.alerted().len(), 5);
    std::fs::write(program.dir.path().join("demarche.sqlite"), "a disk that fails writes what it likes").unwrap();
    origin.serve("/f", Response::feed(rss((1..7).map(|id| (id, talks(id))))));
    let (code, totals, log) = program.once(&feeds, &[]);
    assert_eq!((code, &totals["alert"]), (0, &2.into()), "{log}");
    assert!(log.contains("set aside") && log.contains("demarche-damaged-"), "{log}");
    assert_eq!(program.alerted().len(), 7);
    assert!(std::fs::read(program.alert_file()).unwrap().starts_with(&alerts), "the lines before are untouched");
    let names: Vec<_> =
        std::fs::read_dir(program.dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(
        names.iter().filter(|name| name.to_string_lossy().starts_with("demarche-damaged-")).count(),
        1,
        "{names:?}"
    );
}

/// The first pages are good, so that the database opens; the run comes upon the damage.
#[test]
fn damage_that_a_run_comes_upon_is_set_aside_too() {
    use std::os::unix::fs::FileExt;
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss((0..200).map(|id| (id, talks(id))))));
    let program = Program::new();
    let feeds = [origin.url("/f")];
    program.once(&feeds, &[]);
    let database = program.dir.path().join("demarche.sqlite");
    let file = std::fs::File::options().write(true).open(&database).unwrap();
    let pages = file.metadata().unwrap().len() / 4096;
    // The schema, and the roots of what was made first, stand in the first third.
    for page in pages / 3..pages {
        file.write_all_at(&[0xA5; 4096], page * 4096).unwrap();
    }
    let (code, totals, log) = program.once(&feeds, &[]);
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("set aside"), "{log}");
    assert_eq!(totals["alert"], 0, "{log}");
    assert_eq!(program.alerted().len(), 200);
}
