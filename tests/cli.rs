//! The commands around the flow: what they print, and how they end.

#[path = "support/program.rs"]
mod program;

use std::io::Write;
use std::process::{Output, Stdio};

use program::Program;
use serde_json::Value;

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

fn json_lines(output: Output) -> Vec<Value> {
    text(output.stdout).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn fixture(name: &str) -> String {
    format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn with_input(program: &Program, args: &[&str], input: &str) -> Output {
    let mut command = program.command(args);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn parse_answers_for_every_file_in_order() {
    let program = Program::new();
    let names = [fixture("talks.rss2.xml"), "/nowhere.xml".into(), fixture("captcha.html"), fixture("talks.json")];
    let output = with_input(&program, &["parse", "--json", "--files-from", "-"], &(names.join("\n") + "\n"));
    assert_eq!(output.status.code(), Some(3));
    let seen = json_lines(output);
    assert_eq!(seen.iter().map(|line| line["file"].as_str().unwrap()).collect::<Vec<_>>(), names);
    assert_eq!(seen.iter().map(|line| line["ok"].as_bool().unwrap()).collect::<Vec<_>>(), [true, false, false, true]);
    assert_eq!((&seen[0]["n_entries"], &seen[0]["error"]), (&3.into(), &Value::Null));
    assert!(seen[1]["error"].as_str().unwrap().contains("read"));
    let entry = &seen[0]["entries"][0];
    assert!(entry["published"].is_i64() && entry["title"].is_string() && entry["authors"].is_array(), "{entry}");
}

#[test]
fn parse_reads_standard_input() {
    let program = Program::new();
    let output = with_input(&program, &["parse", "-"], &std::fs::read_to_string(fixture("talks.atom.xml")).unwrap());
    assert_eq!(output.status.code(), Some(0));
    assert!(text(output.stdout).contains("3 entries"));
}

#[test]
fn score_tells_talks_from_weather() {
    let program = Program::new();
    let input = format!("{}\n{}\n", program::talks(1), program::weather(1));
    let scored = json_lines(with_input(&program, &["score", "--json"], &input));
    assert_eq!((&scored[0]["alert"], &scored[1]["alert"]), (&true.into(), &false.into()), "{scored:?}");
    assert!(!scored[0]["reasons"].as_array().unwrap().is_empty());
    let table = text(program.output(&["score", &program::talks(1)]).stdout);
    assert!(table.starts_with("score") && table.contains("yes"), "{table}");
}

#[test]
fn score_alerts_on_what_the_configuration_says() {
    let program = Program::new();
    // Foreign policy without talks: below the threshold of one rule, above that of the other.
    let text = "Foreign ministry recalls its ambassador over the sanctions and expels two diplomats";
    let scored = |on: &str| {
        let mut command = program.command(&["score", "--json", text]);
        let output = command.env("DEMARCHE_MODEL__ALERT_ON", on).output().unwrap();
        json_lines(output).remove(0)
    };
    let (talks, all) = (scored("negotiation"), scored("diplomacy"));
    assert_eq!(talks["grade"], all["grade"]);
    let probability = |grade: &str| talks["grade"][grade].as_f64().unwrap();
    let (least, least_of_all) = (talks["threshold"].as_f64().unwrap(), all["threshold"].as_f64().unwrap());
    assert!(probability("negotiation") < least && least != least_of_all, "{talks} {all}");
    assert!(probability("negotiation") + probability("diplomacy") >= least_of_all, "{all}");
    assert_eq!((&talks["alert"], &all["alert"]), (&false.into(), &true.into()), "{talks} {all}");
    assert!(talks["reasons"].as_array().unwrap().is_empty() && !all["reasons"].as_array().unwrap().is_empty());
    let output = program.command(&["score", text]).env("DEMARCHE_MODEL__ALERT_ON", "diplomacy").output().unwrap();
    assert!(self::text(output.stdout).contains("  yes  "));
}

#[test]
fn feeds_are_added_listed_exported_and_removed() {
    let program = Program::new();
    let add = ["feeds", "add", "https://a.example/feed", "https://b.example/feed", "--tag", "agency"];
    assert_eq!(text(program.output(&add).stdout), "2 added, 0 known already\n");
    assert_eq!(text(program.output(&add).stdout), "0 added, 2 known already\n");
    let opml = program.dir.path().join("out.opml");
    std::fs::write(&opml, program.output(&["feeds", "export"]).stdout).unwrap();
    let other = Program::new();
    let imported = other.output(&["feeds", "import", opml.to_str().unwrap()]);
    assert_eq!(text(imported.stdout), "2 added, 0 known already, 0 skipped\n");
    let listed = json_lines(other.output(&["feeds", "list", "--json"]));
    assert_eq!((&listed[0]["url"], &listed[0]["tags"][0]), (&"https://a.example/feed".into(), &"agency".into()));
    assert!(other.output(&["feeds", "remove", "https://a.example/feed"]).status.success());
    assert_eq!(json_lines(other.output(&["feeds", "list", "--json"])).len(), 1);
    let unknown = other.output(&["feeds", "remove", "https://a.example/feed"]);
    assert_eq!(unknown.status.code(), Some(2));
}

#[test]
fn the_shipped_list_of_feeds_is_good() {
    let program = Program::new();
    let list = concat!(env!("CARGO_MANIFEST_DIR"), "/config/feeds.opml");
    let output = program.output(&["feeds", "import", list]);
    let said = text(output.stdout);
    let added: usize = said.split(' ').next().unwrap().parse().unwrap();
    assert!(added >= 55 && said.contains(" 0 known"), "{said}{}", text(output.stderr));
}

#[test]
fn a_wrong_configuration_names_file_line_and_right_key() {
    let program = Program::new();
    let path = program.dir.path().join("my.toml");
    std::fs::write(&path, "[fetch]\ntimout = \"3s\"\n\n[log]\nformat = \"xml\"\n").unwrap();
    let output = program.output(&["config", "check", "--config", path.to_str().unwrap()]);
    let said = text(output.stderr);
    assert_eq!(output.status.code(), Some(2));
    assert!(said.contains("my.toml:2: unknown key `fetch.timout`; did you mean `fetch.timeout`?"), "{said}");
    assert!(said.contains("my.toml:5: `log.format`"), "{said}");
}

#[test]
fn the_built_in_configuration_checks_and_loads_as_a_file() {
    let program = Program::new();
    let path = program.dir.path().join("shown.toml");
    std::fs::write(&path, program.output(&["config", "show"]).stdout).unwrap();
    let output = program.output(&["config", "check", "--config", path.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(output.stderr));
}

#[test]
fn a_wrong_environment_variable_is_refused() {
    let program = Program::new();
    let output = program.command(&["config", "check"]).env("DEMARCHE_FETCH__TIMOUT", "3s").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(text(output.stderr).contains("did you mean `timeout`?"));
}

#[test]
fn no_feed_is_a_usage_error() {
    let program = Program::new();
    let output = program.output(&["run", "--once"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(output.stderr).contains("demarche feeds add"));
}

#[test]
fn logs_are_json_when_asked() {
    let program = Program::new();
    let output = program.output(&["run", "--once", "--feed", "http://127.0.0.1:9/f", "--log-format", "json"]);
    let log = text(output.stderr);
    let lines: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let failed = lines.iter().find(|line| line["message"] == "poll failed").expect(&log);
    assert!(failed["span"]["feed"].is_number() && failed["error"].is_string(), "{failed}");
}

#[test]
fn every_command_helps_with_an_example() {
    let program = Program::new();
    let commands: [&[&str]; 24] = [
        &["run"],
        &["backfill"],
        &["score"],
        &["parse"],
        &["feeds", "add"],
        &["feeds", "list"],
        &["feeds", "check"],
        &["feeds", "remove"],
        &["feeds", "import"],
        &["feeds", "export"],
        &["feeds", "discover"],
        &["alerts", "list"],
        &["alerts", "follow"],
        &["alerts", "show"],
        &["stories", "list"],
        &["stories", "follow"],
        &["stories", "show"],
        &["config", "check"],
        &["train"],
        &["eval"],
        &["label"],
        &["demo"],
        &["completions"],
        &["man"],
    ];
    for command in commands {
        let output =
            std::process::Command::new(env!("CARGO_BIN_EXE_demarche")).args(command).arg("--help").output().unwrap();
        let help = text(output.stdout);
        assert!(output.status.success() && help.contains("xample"), "{command:?}: {help}");
    }
    assert!(text(program.output(&["completions", "bash"]).stdout).contains("_demarche"));
    assert!(text(program.output(&["man"]).stdout).contains(".TH demarche"));
}

#[test]
fn the_demo_finds_its_story_and_a_second_one_nothing_new() {
    let program = Program::new();
    let output = program.output(&["demo"]);
    let said = text(output.stdout);
    assert_eq!(output.status.code(), Some(0), "{said}{}", text(output.stderr));
    let expected: Value = serde_json::from_str(include_str!("../config/demo/expected.json")).unwrap();
    let totals = &expected["totals"];
    let items =
        format!("items    {} in them: {} new, {} duplicates", totals["items"], totals["unique"], totals["duplicates"]);
    assert!(said.contains(&items), "no `{items}` in {said}");
    assert!(said.contains("Muscat"));
    let of_story = |title: &str| {
        let mut items = expected["items"].as_array().unwrap().iter();
        items.any(|item| item["title"] == title && item["story"] == true)
    };
    let (story, others): (Vec<Value>, Vec<Value>) =
        program.alerts().into_iter().partition(|alert| of_story(alert["item"]["title"].as_str().unwrap()));
    assert!(story.len() >= 10, "{}", story.len());
    assert!(
        story.iter().all(|alert| alert["story"]["id"] == story[0]["story"]["id"]),
        "one story over all its outlets"
    );
    assert!(others.iter().all(|alert| alert["story"]["id"] != story[0]["story"]["id"]));
    let before = std::fs::read(program.alert_file()).unwrap();
    let again = text(program.output(&["demo"]).stdout);
    assert!(again.contains("nothing new since the last demo"), "{again}");
    assert_eq!(std::fs::read(program.alert_file()).unwrap(), before);
}
