//! Actors and places where users meet them: in `score`, in the configuration, in alerts.

#[path = "support/mod.rs"]
mod support;

#[path = "support/program.rs"]
mod program;

use std::path::PathBuf;

use program::Program;
use serde_json::Value;
use support::{Origin, Response};

/// A configuration that names a dictionary of this text.
fn configured(dir: &tempfile::TempDir, dictionary: &str) -> PathBuf {
    std::fs::write(dir.path().join("mine.toml"), dictionary).unwrap();
    let config = dir.path().join("demarche.toml");
    std::fs::write(&config, "[actors]\ndictionary = [\"mine.toml\"]\n[model]\nscorer = \"linear\"\n").unwrap();
    config
}

fn ids(line: &Value) -> Vec<&str> {
    line["actors"].as_array().unwrap().iter().map(|actor| actor["id"].as_str().unwrap()).collect()
}

#[test]
fn score_shows_whom_and_what_a_text_names_a_users_words_included() {
    let (program, dir) = (Program::new(), tempfile::tempdir().unwrap());
    let config = configured(&dir, "[[actor]]\nid = \"RUS\"\naliases = [\"the Bear\"]\n");
    let config = config.to_str().unwrap();
    let output = program.output(&["score", "--config", config, "--json", "US envoy meets the Bear in Muscat"]);
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ids(&line), ["USA", "RUS", "USA-envoy"]);
    assert_eq!(line["places"], serde_json::json!(["Muscat"]));
    let output = program.output(&["score", "--config", config, "US envoy meets the Bear in Muscat"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("actors: United States (USA), Russia (RUS), US envoy (USA-envoy)\n"), "{text}");
    assert!(text.contains("places: Muscat\n"), "{text}");
}

#[test]
fn a_wrong_dictionary_is_a_wrong_configuration_with_file_and_line() {
    let (program, dir) = (Program::new(), tempfile::tempdir().unwrap());
    let config = configured(
        &dir,
        "[[actor]]\nid = \"RUZ\"\naliases = [\"the Bear\"]\n[[actor]]\nid = \"UKR\"\naliases = [\"Kremlin\"]\n",
    );
    let output = program.output(&["config", "check", "--config", config.to_str().unwrap()]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("mine.toml:2: no actor has the id `RUZ`; did you mean `RUS`?"), "{said}");
    assert!(said.contains("mine.toml:6: the alias \"Kremlin\" of UKR is also one of RUS"), "{said}");
}

#[test]
fn alerts_name_actors_places_and_the_stage_as_an_event() {
    let (program, origin) = (Program::new(), Origin::start());
    let title = "Iranian and US envoys resume ceasefire talks in Geneva";
    origin.serve("/feed", Response::feed(program::rss([(1, title.to_owned())])));
    program.once(&[origin.url("/feed")], &["--threshold", "0"]);
    let alerts = program.alerts();
    assert_eq!(alerts.len(), 1);
    assert_eq!(ids(&alerts[0])[..2], ["IRN", "USA"]);
    assert_eq!(
        alerts[0]["actors"][0],
        serde_json::json!({"name": "Iran", "kind": "state", "country": "IRN", "id": "IRN"})
    );
    assert!(alerts[0]["places"].as_array().unwrap().contains(&"Geneva".into()));
    let stage = alerts[0]["stage"]["label"].as_str().unwrap();
    assert_eq!(alerts[0]["plover"].is_null(), stage == "none");
    let line = std::fs::read_to_string(program.alert_file()).unwrap();
    let places: Vec<usize> =
        ["\"stage\"", "\"plover\"", "\"reasons\"", "\"feed\"", "\"actors\"", "\"places\"", "\"model\""]
            .iter()
            .map(|key| line.find(key).unwrap())
            .collect();
    assert!(places.is_sorted(), "{line}");
}
