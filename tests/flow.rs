//! From feeds to alerts: the real binary against a scripted origin.

#[path = "support/program.rs"]
mod program;
mod support;

use program::{Program, rss, talks, weather};
use serde_json::Value;
use support::{Origin, Response};

const FORMATS: [(&str, &str); 4] = [
    ("/talks.rss2.xml", include_str!("fixtures/talks.rss2.xml")),
    ("/talks.rss1.xml", include_str!("fixtures/talks.rss1.xml")),
    ("/talks.atom.xml", include_str!("fixtures/talks.atom.xml")),
    ("/talks.json", include_str!("fixtures/talks.json")),
];

fn four_formats() -> (Origin, Vec<String>) {
    let origin = Origin::start();
    for (path, body) in FORMATS {
        origin.serve(path, Response::feed(body).etag(&format!("\"{path}\"")));
    }
    let urls = FORMATS.map(|(path, _)| origin.url(path)).to_vec();
    (origin, urls)
}

#[test]
fn four_formats_become_alerts_and_every_entry_is_counted() {
    let (_origin, feeds) = four_formats();
    let program = Program::new();
    let (code, totals, log) = program.once(&feeds, &[]);
    assert_eq!(code, 0, "{log}");
    assert_eq!((&totals["documents"], &totals["items"]), (&4.into(), &12.into()), "{totals}");
    let sum = |keys: &[&str]| keys.iter().map(|key| totals[*key].as_u64().unwrap()).sum::<u64>();
    assert_eq!(sum(&["new", "duplicate", "revised", "rejected"]), 12);
    assert_eq!(sum(&["alert", "irrelevant", "unscorable"]), sum(&["new", "reopened"]));
    assert_eq!(totals["delivered"], totals["alert"]);
    assert_eq!(program.alerted().len() as u64, totals["alert"].as_u64().unwrap());
    assert!(!program.alerted().is_empty());
}

#[test]
fn an_alert_line_keeps_its_schema() {
    let (_origin, feeds) = four_formats();
    let program = Program::new();
    program.once(&feeds, &["--threshold", "0"]);
    let schema: Value = serde_json::from_str(include_str!("../config/alert.schema.json")).unwrap();
    let text = std::fs::read_to_string(program.alert_file()).unwrap();
    assert_eq!(text.lines().count(), 12);
    for (line, alert) in text.lines().zip(program.alerts()) {
        let keys = [
            "schema",
            "alert_id",
            "emitted_at",
            "origin",
            "score",
            "grade",
            "stage",
            "reasons",
            "item",
            "feed",
            "story",
            "actors",
            "places",
            "model",
        ];
        let places: Vec<usize> = keys.iter().map(|key| line.find(&format!("\"{key}\":")).expect(key)).collect();
        assert!(places.is_sorted(), "keys out of order: {line}");
        conforms(&alert, &schema, &schema, "alert");
    }
}

/// The part of JSON Schema that ours uses: type, required, properties, items, enum, const, bounds, $ref.
fn conforms(value: &Value, schema: &Value, root: &Value, at: &str) {
    if let Some(reference) = schema["$ref"].as_str() {
        return conforms(value, root.pointer(reference.trim_start_matches('#')).unwrap(), root, at);
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).collect(),
        _ => vec![],
    };
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(number) if kinds.contains(&"integer") && number.is_u64() => "integer",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    assert!(kinds.is_empty() || kinds.contains(&kind), "{at}: {kind} is none of {kinds:?}");
    if let Some(choices) = schema["enum"].as_array() {
        assert!(choices.contains(value), "{at}: {value} is none of {choices:?}");
    }
    assert!(schema["const"].is_null() || schema["const"] == *value, "{at}: {value}");
    if let Some(number) = value.as_f64() {
        assert!(schema["minimum"].as_f64().is_none_or(|least| number >= least), "{at}: {number}");
        assert!(schema["maximum"].as_f64().is_none_or(|most| number <= most), "{at}: {number}");
    }
    let required = value.is_object().then(|| schema["required"].as_array()).flatten();
    for key in required.into_iter().flatten().filter_map(Value::as_str) {
        assert!(value.get(key).is_some(), "{at}: {key} is missing");
    }
    for (key, inner) in value.as_object().into_iter().flatten() {
        if let Some(schema) = schema["properties"].get(key) {
            conforms(inner, schema, root, &format!("{at}.{key}"));
        }
    }
    for inner in value.as_array().into_iter().flatten() {
        conforms(inner, &schema["items"], root, &format!("{at}[]"));
    }
}

#[test]
fn a_second_run_asks_conditionally_and_finds_nothing_new() {
    let (origin, feeds) = four_formats();
    let program = Program::new();
    program.once(&feeds, &[]);
    let before = std::fs::read(program.alert_file()).unwrap();
    let (code, totals, _) = program.once(&feeds, &[]);
    assert_eq!((code, &totals["not_modified"], &totals["items"]), (0, &4.into(), &0.into()), "{totals}");
    assert_eq!(std::fs::read(program.alert_file()).unwrap(), before);
    for (path, _) in FORMATS {
        let requests = origin.requests(path);
        assert_eq!(requests.len(), 2);
        assert_eq!(requests[1].header("if-none-match"), Some(format!("\"{path}\"").as_str()));
    }
}

#[test]
fn without_validators_a_second_run_finds_only_duplicates() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss([(1, talks(1)), (2, weather(2))])));
    let program = Program::new();
    let feeds = [origin.url("/f")];
    assert_eq!(program.once(&feeds, &[]).1["new"], 2);
    let (_, totals, _) = program.once(&feeds, &[]);
    assert_eq!((&totals["new"], &totals["duplicate"]), (&0.into(), &2.into()));
    assert_eq!(program.alerted().len(), 1);
}

#[test]
fn without_an_interval_a_second_run_is_not_early() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss([(1, weather(1))])));
    let program = Program::new();
    let url = origin.url("/f");
    for _ in 0..2 {
        let output = program.output(&["run", "--once", "--feed", &url, "--allow-net", "127.0.0.1"]);
        assert!(output.status.success());
    }
    assert_eq!(origin.requests("/f").len(), 1);
}

#[test]
fn odd_items_are_kept_or_counted() {
    let origin = Origin::start();
    origin.serve("/odd", Response::feed(include_str!("fixtures/odd.rss2.xml")));
    let program = Program::new();
    let (code, totals, log) = program.once(&[origin.url("/odd")], &["--threshold", "0"]);
    assert_eq!(
        (code, &totals["items"], &totals["new"], &totals["rejected"]),
        (0, &4.into(), &3.into(), &1.into()),
        "{log}"
    );
    let sources: Vec<Value> = program.alerts().iter().map(|alert| alert["item"]["published_source"].clone()).collect();
    assert!(sources.contains(&"first_seen".into()), "{sources:?}");
}

#[test]
fn one_article_in_two_feeds_is_one_alert() {
    let origin = Origin::start();
    let body = rss([(1, talks(1))]);
    origin.serve("/world", Response::feed(body.clone()));
    let tracked = body
        .replace("item-1", "other-id")
        .replace("https://outlet.example/1", "http://www.outlet.example/1/?utm_source=rss");
    origin.serve("/top", Response::feed(tracked));
    let program = Program::new();
    let (_, totals, _) = program.once(&[origin.url("/world"), origin.url("/top")], &[]);
    assert_eq!((&totals["new"], &totals["duplicate"]), (&1.into(), &1.into()));
    assert_eq!(program.alerted().len(), 1);
}

#[test]
fn alerts_on_standard_output_are_alone_there() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(rss([(1, talks(1)), (2, weather(2))])));
    let program = Program::new();
    let url = origin.url("/f");
    let output = program.output(&["run", "--once", "--out", "-", "--feed", &url, "--allow-net", "127.0.0.1"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert_eq!(serde_json::from_str::<Value>(&text).unwrap()["origin"], "live");
}

#[test]
fn backfill_gives_the_items_that_polling_gave() {
    let origin = Origin::start();
    let document = rss([(1, talks(1)), (2, weather(2))]);
    let url = origin.url("/f");
    let link = format!("<atom:link xmlns:atom=\"http://www.w3.org/2005/Atom\" rel=\"self\" href=\"{url}\"/>");
    let document = document
        .replace("<item>", &format!("{link}<item>"))
        .replacen(&link, "@", 1)
        .replace(&link, "")
        .replace('@', &link);
    origin.serve("/f", Response::feed(document.clone()));
    let (live, history) = (Program::new(), Program::new());
    live.once(std::slice::from_ref(&url), &[]);
    let archive = history.dir.path().join("archive");
    std::fs::create_dir(&archive).unwrap();
    std::fs::write(archive.join("a.xml"), &document).unwrap();
    std::fs::write(archive.join("b.txt"), "not a feed").unwrap();
    let path = archive.to_str().unwrap();
    assert_eq!(history.output(&["backfill", path]).status.code(), Some(3));
    assert_eq!(history.alerted(), live.alerted());
    assert_eq!(history.alerts()[0]["origin"], "backfill");
    // After live, history repeats nothing.
    let output = live.output(&["backfill", path, "--json"]);
    let totals: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&totals["new"], &totals["duplicate"], &totals["failed"]), (&0.into(), &2.into(), &1.into()));
    assert_eq!(live.alerted().len(), 1);
}
