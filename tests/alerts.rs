//! `demarche alerts`: what was written, read back.

#[path = "support/program.rs"]
mod program;
mod support;

use program::{Program, rss, talks};
use support::{Origin, Response};

fn desk() -> Program {
    let origin = Origin::start();
    origin.serve("/feed", Response::feed(rss((0..5).map(|id| (id, talks(id))))));
    let program = Program::new();
    assert_eq!(program.once(&[origin.url("/feed")], &[]).0, 0);
    program
}

fn lines(program: &Program, args: &[&str]) -> Vec<String> {
    let output = program.output(&[&["alerts"], args].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn list_gives_the_lines_as_they_were_written() {
    let program = desk();
    let written = std::fs::read_to_string(program.alert_file()).unwrap();
    assert_eq!(lines(&program, &["list", "--json"]), written.lines().collect::<Vec<_>>());
    assert_eq!(lines(&program, &["list", "--json", "-n", "2"]), written.lines().skip(3).collect::<Vec<_>>());
    assert_eq!(lines(&program, &["list", "--since", "1h"]).len(), 6);
    assert_eq!(lines(&program, &["list", "--until", "1h", "--json"]), Vec::<String>::new());
}

#[test]
fn show_finds_an_alert_by_the_start_of_its_id() {
    let program = desk();
    let alert = &program.alerts()[2];
    let (id, title) = (alert["alert_id"].as_str().unwrap(), alert["item"]["title"].as_str().unwrap());
    let shown = lines(&program, &["show", &id[..10]]);
    assert_eq!(shown[0], title);
    assert!(shown.iter().any(|line| line.starts_with("reason")), "{shown:?}");
    let missing = program.output(&["alerts", "show", "nothing"]);
    assert_eq!(missing.status.code(), Some(2));
}

#[test]
fn an_edited_line_is_named_and_the_rest_is_shown() {
    let program = desk();
    let written = std::fs::read_to_string(program.alert_file()).unwrap();
    std::fs::write(program.alert_file(), format!("# a note\n{written}")).unwrap();
    let output = program.output(&["alerts", "list", "--json"]);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout)), (Some(3), written.into()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no alert"), "{output:?}");
}
