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
    let alert = &program.alerts()[0];
    let id = alert["alert_id"].as_str().unwrap();
    let written = std::fs::read_to_string(program.alert_file()).unwrap();
    std::fs::write(program.alert_file(), format!("# a note\n{written}")).unwrap();
    let output = program.output(&["alerts", "list", "--json"]);
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stdout)), (Some(3), written.into()));
    assert!(String::from_utf8_lossy(&output.stderr).contains("no alert"), "{output:?}");
    assert_eq!(program.output(&["alerts", "show", id]).status.code(), Some(3));
}

/// A file in pieces: of every two alerts a closed file was made, compressed one way or another.
fn rotated(compress: &str) -> (Program, Origin) {
    let (origin, program) = (Origin::start(), Program::new());
    for count in 1..=4 {
        origin.serve("/feed", Response::feed(rss((0..count * 2).map(|id| (id, talks(id))))));
        let mut command = program.once_command(&[origin.url("/feed")], &[]);
        command.env("DEMARCHE_OUTPUT__ROTATE_SIZE", "1B").env("DEMARCHE_OUTPUT__COMPRESS", compress);
        assert!(command.output().unwrap().status.success());
    }
    (program, origin)
}

/// The closed files, the oldest first: their names are times, and the second one of a second has no `-`.
fn closed(program: &Program) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(program.dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let mut closed: Vec<_> = entries.filter(|path| path.to_str().unwrap().contains("/alerts-")).collect();
    closed.sort_by_key(|path| (path.metadata().unwrap().modified().unwrap(), path.clone()));
    closed
}

fn ids(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["alert_id"].to_string()).collect()
}

#[test]
fn closed_files_are_read_too_packed_or_not_each_alert_once_in_order() {
    for compress in ["zstd", "gzip", "none"] {
        let (program, _origin) = rotated(compress);
        assert!(closed(&program).len() >= 3, "{compress}");
        let all = lines(&program, &["list", "--json"]);
        let title =
            |line: &String| serde_json::from_str::<serde_json::Value>(line).unwrap()["item"]["title"].to_string();
        let rounds: Vec<usize> = all
            .iter()
            .map(|line| (0..8).find(|id| title(line).contains(&format!("round {id}:"))).unwrap() / 2)
            .collect();
        assert_eq!(rounds, [0, 0, 1, 1, 2, 2, 3, 3], "{compress}");
        let first = ids(&all)[0].trim_matches('"').to_owned();
        assert_eq!(lines(&program, &["show", "--json", &first]), all[..1], "{compress}");
    }
}

#[test]
fn a_closed_file_that_is_there_packed_and_plain_is_read_once() {
    let (program, _origin) = rotated("zstd");
    let all = lines(&program, &["list", "--json"]);
    let packed = &closed(&program)[0];
    let text = zstd::decode_all(std::fs::File::open(packed).unwrap()).unwrap();
    std::fs::write(packed.with_extension(""), text).unwrap();
    assert_eq!(lines(&program, &["list", "--json"]), all);
}

#[test]
fn a_packed_file_that_is_cut_off_is_named_and_the_rest_is_shown() {
    let (program, _origin) = rotated("zstd");
    let all = lines(&program, &["list", "--json"]);
    let cut = &closed(&program)[1];
    let bytes = std::fs::read(cut).unwrap();
    std::fs::write(cut, &bytes[..bytes.len() / 2]).unwrap();
    let output = program.output(&["alerts", "list", "--json"]);
    let shown: Vec<String> = String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
    assert_eq!(output.status.code(), Some(3));
    assert!(shown.len() < all.len() && shown.ends_with(&all[4..]) && shown.starts_with(&all[..2]), "{shown:?}");
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(log.contains(cut.to_str().unwrap()) && log.contains("cannot read an old alert file"), "{log}");
}

#[test]
fn follow_shows_what_is_there_and_what_comes_in_closed_files_too() {
    use std::io::BufRead;
    let (program, origin) = rotated("zstd");
    let before = ids(&lines(&program, &["list", "--json"]));
    let mut child = program::Running(program.spawn_piped(program.command(&["alerts", "follow", "--json", "-n", "99"])));
    let mut shown = std::io::BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Vec<String> = shown.by_ref().take(before.len()).collect();
    assert_eq!(ids(&first), before);
    for count in 5..=6 {
        origin.serve("/feed", Response::feed(rss((0..count * 2).map(|id| (id, talks(id))))));
        let mut command = program.once_command(&[origin.url("/feed")], &[]);
        command.env("DEMARCHE_OUTPUT__ROTATE_SIZE", "1B");
        assert!(command.output().unwrap().status.success());
    }
    let next: Vec<String> = shown.take(4).collect();
    assert_eq!(ids(&next), ids(&lines(&program, &["list", "--json"]))[8..]);
}

#[test]
fn alerts_are_labelled_from_all_files_of_the_state() {
    use std::io::Write;
    let (program, _origin) = rotated("zstd");
    let out = program.dir.path().join("mine.jsonl");
    let mut command = program.command(&["label", "--from-alerts", "--out", out.to_str().unwrap()]);
    command.stdin(std::process::Stdio::piped());
    let mut child = program.spawn_piped(command);
    child.stdin.take().unwrap().write_all(b"2\nh\n1\nu\n0\nq\n").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).contains("2 labels in"), "{output:?}");
    let labels = program::read_alerts(&out);
    let told: Vec<_> = labels.iter().map(|label| (label["grade"].as_u64(), label["stage"].as_str())).collect();
    assert_eq!(told, [(Some(2), Some("held")), (Some(0), Some("none"))]);
    let titles: Vec<_> = lines(&program, &["list", "--json"]).iter().take(2).map(|line| title(line)).collect();
    assert_eq!(labels.iter().map(|label| label["title"].to_string()).collect::<Vec<_>>(), titles);
}

fn title(line: &str) -> String {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["item"]["title"].to_string()
}
