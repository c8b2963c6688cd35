//! The rules of polite polling, held by the whole program: the real binary against a scripted origin.
//!
//! The clock is virtual: a test lets time pass by moving everything that the state remembers into the past.

mod support;
#[path = "support/tls.rs"]
mod tls;

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rusqlite::Connection;
use serde_json::Value;
use support::{Origin, Response};

const DAY: TimeDelta = TimeDelta::days(1);

fn feed(items: usize) -> String {
    let item =
        |n| format!("<item><title>Item {n}</title><guid>urn:x:{n}</guid><link>https://o.example/{n}</link></item>");
    let items: String = (0..items).map(item).collect();
    format!("<rss version=\"2.0\"><channel><title>Outlet</title>{items}</channel></rss>")
}

/// A state directory and the program on it.
struct Desk {
    state: tempfile::TempDir,
    settings: Vec<(&'static str, String)>,
}

impl Desk {
    fn new() -> Self {
        let quick = [("DEMARCHE_MODEL__SCORER", "linear"), ("DEMARCHE_SCHEDULE__HOST_GAP", "0s")];
        let settings = quick.map(|(key, value)| (key, value.to_owned())).to_vec();
        Self { state: tempfile::tempdir().unwrap(), settings }
    }

    fn set(mut self, key: &'static str, value: &str) -> Self {
        self.settings.push((key, value.to_owned()));
        self
    }

    fn command(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
        command.args(args).arg("--state").arg(self.state.path()).args(["--log-level", "debug"]);
        command.env_remove("CREDENTIALS_DIRECTORY").envs(self.settings.iter().cloned());
        command.env("DEMARCHE_FETCH__ALLOW_NET", "[\"127.0.0.0/8\"]");
        command.output().unwrap()
    }

    fn add(&self, urls: &[String]) {
        let mut args = vec!["feeds", "add"];
        args.extend(urls.iter().map(String::as_str));
        assert!(self.command(&args).status.success());
    }

    /// One round over what is due.
    fn round(&self) -> Output {
        self.command(&["run", "--once"])
    }

    /// One round over everything, whatever is due.
    fn forced_round(&self) -> Output {
        self.command(&["run", "--once", "--interval", "0s"])
    }

    fn health(&self) -> Vec<Value> {
        let output = self.command(&["feeds", "list", "--all", "--json"]);
        String::from_utf8(output.stdout).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    fn next_poll(&self) -> DateTime<Utc> {
        self.health()[0]["next_poll"].as_str().unwrap().parse().unwrap()
    }

    /// Lets `time` pass.
    fn pass(&self, time: TimeDelta) {
        let state = Connection::open(self.state.path().join("demarche.sqlite")).unwrap();
        let ms = time.num_milliseconds();
        for column in ["next_poll", "last_poll", "last_success", "last_check"] {
            state.execute(&format!("UPDATE feed SET {column} = {column} - ?1"), [ms]).unwrap();
        }
        let mut feeds = state.prepare("SELECT id, history FROM feed WHERE history IS NOT NULL").unwrap();
        let histories: Vec<(i64, String)> =
            feeds.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().collect::<Result<_, _>>().unwrap();
        for (id, history) in histories {
            let mut history: Value = serde_json::from_str(&history).unwrap();
            shift(&mut history, time);
            state.execute("UPDATE feed SET history = ?2 WHERE id = ?1", (id, history.to_string())).unwrap();
        }
    }

    /// Lets time pass until the next poll is due.
    fn pass_until_due(&self) {
        self.pass((self.next_poll() - Utc::now()).max(TimeDelta::zero()) + TimeDelta::seconds(1));
    }
}

/// Moves every time in `value` back.
fn shift(value: &mut Value, time: TimeDelta) {
    match value {
        Value::String(text) => {
            if let Ok(at) = text.parse::<DateTime<Utc>>() {
                *text = (at - time).to_rfc3339();
            }
        }
        Value::Object(fields) => fields.values_mut().for_each(|field| shift(field, time)),
        _ => {}
    }
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn minutes_from_now(at: DateTime<Utc>) -> i64 {
    (at - Utc::now()).num_minutes()
}

#[test]
fn rule_1_and_8_one_unconditional_request_in_a_feeds_life() {
    let origin = Origin::start();
    let good = || Response::feed(feed(3)).etag("\"1\"");
    origin.script("/f", [good(), good(), Response::status(500), good()]);
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    // Each round is a new process: validators outlive restarts and errors.
    for _ in 0..4 {
        desk.forced_round();
    }
    desk.pass(DAY);
    desk.command(&["feeds", "check", &origin.url("/f")]);
    let seen = origin.requests("/f");
    assert_eq!(seen.len(), 5);
    let conditional: Vec<bool> = seen.iter().map(support::Seen::is_conditional).collect();
    assert_eq!(conditional, [false, true, true, true, true]);
}

#[test]
fn rule_5_new_validators_are_adopted_though_the_body_is_the_same() {
    let origin = Origin::start();
    origin.script(
        "/f",
        [Response::feed(feed(3)).header("etag", "\"1\""), Response::feed(feed(3)).header("etag", "\"2\"")],
    );
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    for _ in 0..3 {
        desk.forced_round();
    }
    let sent: Vec<_> =
        origin.requests("/f").iter().map(|seen| seen.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some("\"1\"".into()), Some("\"2\"".into())]);
}

#[test]
fn rule_6_and_7_validators_are_renewed_by_a_304_and_forgotten_by_a_bare_200() {
    let origin = Origin::start();
    origin.script(
        "/f",
        [
            Response::feed(feed(3)).header("etag", "\"1\""),
            Response::status(304).header("etag", "\"2\""),
            Response::feed(feed(3)),
            Response::feed(feed(3)),
        ],
    );
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    for _ in 0..4 {
        desk.forced_round();
    }
    let sent: Vec<_> =
        origin.requests("/f").iter().map(|seen| seen.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some("\"1\"".into()), Some("\"2\"".into()), None]);
}

#[test]
fn rule_9_a_304_is_a_success_and_not_retried() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(3)).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    desk.round();
    desk.pass_until_due();
    let output = desk.round();
    assert!(output.status.success() && said(&output).contains("0 read, 1 unchanged, 0 failed"), "{}", said(&output));
    assert_eq!(origin.requests("/f").len(), 2);
    let health = &desk.health()[0];
    assert_eq!((health["error_class"].as_str(), health["errors_in_row"].as_u64()), (None, Some(0)));
}

#[test]
fn rule_10_not_modified_for_ever_is_doubted_once_a_week_at_most() {
    let origin = Origin::start();
    origin.script("/f", [Response::feed(feed(3)).etag("\"1\"")]);
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    let (mut days, mut unconditional) = (0.0, Vec::new());
    while days < 120.0 {
        desk.round();
        if !origin.all_requests().last().unwrap().is_conditional() {
            unconditional.push(days);
        }
        let step = (desk.next_poll() - Utc::now()).max(TimeDelta::hours(30));
        desk.pass(step);
        days += step.num_minutes() as f64 / 1440.0;
    }
    assert!(unconditional.len() > 2, "the escape is never used: {unconditional:?}");
    assert!(unconditional.windows(2).all(|pair| pair[1] - pair[0] >= 7.0), "{unconditional:?}");
}

#[test]
fn rule_11_the_floor_is_an_hour_never_59_minutes_and_a_day_without_validators() {
    let origin = Origin::start();
    origin.serve("/with", Response::feed(feed(3)).etag("\"1\""));
    origin.serve("/without", Response::feed(feed(3)));
    for (path, least, most) in [("/with", 60, 66), ("/without", 24 * 60, 24 * 66)] {
        let desk = Desk::new();
        desk.add(&[origin.url(path)]);
        desk.round();
        // The poll itself took part of the minute that is rounded off.
        let wait = minutes_from_now(desk.next_poll() + TimeDelta::minutes(1));
        assert!((least..=most + 1).contains(&wait), "{path}: {wait}");
        desk.pass(TimeDelta::minutes(least - 1));
        desk.round();
        assert_eq!(origin.requests(path).len(), 1, "{path} was polled early");
        desk.pass(TimeDelta::minutes(most - least + 2));
        desk.round();
        assert_eq!(origin.requests(path).len(), 2, "{path} was not polled when due");
    }
}

#[test]
fn rule_12_a_restart_polls_nothing_early() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(3)).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    for _ in 0..3 {
        desk.round();
        desk.pass(TimeDelta::minutes(15));
    }
    assert_eq!(origin.requests("/f").len(), 1);
}

#[test]
fn rule_13_to_16_what_servers_and_documents_declare_is_obeyed() {
    let hour = |hours: i64| (hours * 60 - 1)..=(hours * 66 + 1);
    let with = |markup: &str| feed(3).replace("<title>Outlet", &format!("{markup}<title>Outlet"));
    let sy = with(
        "<sy:updatePeriod xmlns:sy=\"http://purl.org/rss/1.0/modules/syndication/\">daily</sy:updatePeriod>\
                   <sy:updateFrequency xmlns:sy=\"http://purl.org/rss/1.0/modules/syndication/\">4</sy:updateFrequency>",
    );
    let date = |ahead: TimeDelta| (Utc::now() + ahead).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    let origin = Origin::start();
    let cases = [
        ("/max-age", Response::feed(feed(3)).header("cache-control", "max-age=10800"), hour(3)),
        ("/aged", Response::feed(feed(3)).header("cache-control", "max-age=10800").header("age", "3600"), hour(2)),
        ("/expires", Response::feed(feed(3)).header("expires", &date(TimeDelta::hours(4))), hour(4)),
        ("/ttl", Response::feed(with("<ttl>300</ttl>")), hour(5)),
        ("/sy", Response::feed(sy), hour(6)),
        ("/ten-years", Response::feed(feed(3)).header("cache-control", "max-age=315360000"), hour(24)),
        ("/no-store", Response::feed(feed(3)).header("cache-control", "no-store, no-cache, max-age=0"), hour(1)),
    ];
    for (path, response, expected) in cases {
        origin.serve(path, response.etag("\"1\""));
        let desk = Desk::new();
        desk.add(&[origin.url(path)]);
        desk.round();
        let wait = minutes_from_now(desk.next_poll());
        assert!(expected.contains(&wait), "{path}: {wait} min, not in {expected:?}");
    }
}

#[test]
fn rule_17_skipped_hours_and_days_are_read_from_the_document() {
    use chrono::{Datelike, Timelike};
    let soon = Utc::now() + TimeDelta::minutes(90);
    let hours: String = (0..3).map(|ahead| format!("<hour>{}</hour>", (Utc::now().hour() + ahead) % 24)).collect();
    let origin = Origin::start();
    let document = feed(3).replace("<title>Outlet", &format!("<skipHours>{hours}</skipHours><title>Outlet"));
    origin.serve("/f", Response::feed(document).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    desk.round();
    let next = desk.next_poll();
    assert!(next > soon && minutes_from_now(next) > 100, "{next}");
    let day = soon.weekday();
    let name = soon.format("%A");
    let document = feed(3).replace("<title>Outlet", &format!("<skipDays><day>{name}</day></skipDays><title>Outlet"));
    origin.serve("/d", Response::feed(document).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/d")]);
    desk.round();
    assert!(desk.next_poll().weekday() != day, "{}", desk.next_poll());
}

#[test]
fn rule_20_a_daemon_spreads_what_is_overdue() {
    let mut state = demarche::store::Store::open(tempfile::tempdir().unwrap().path()).unwrap();
    let spec = |n| demarche::store::FeedSpec {
        url: format!("https://h{n}.example/"),
        title: None,
        tags: vec![],
        floor_s: None,
    };
    state.add_feeds(&(0..1000).map(spec).collect::<Vec<_>>()).unwrap();
    let now = Utc::now();
    state.spread_overdue(now, demarche::schedule::startup_spread).unwrap();
    let due = |after: i64| state.due_feeds(now + TimeDelta::seconds(after), None, &[], 2000).unwrap().len();
    assert!(due(0) < 10 && (400..600).contains(&due(18)) && due(36) == 1000, "{} {} {}", due(0), due(18), due(36));
}

#[test]
fn rule_20_feeds_of_one_round_do_not_come_back_together() {
    let origin = Origin::start();
    for (prefix, response, least_spread_min) in
        [("good", Response::feed(feed(1)).etag("\"1\""), 4), ("bad", Response::status(500), 20)]
    {
        let urls: Vec<String> = (0..40).map(|n| format!("/{prefix}{n}")).collect();
        urls.iter().for_each(|path| origin.serve(path, response.clone()));
        let desk = Desk::new();
        desk.add(&urls.iter().map(|path| origin.url(path)).collect::<Vec<_>>());
        desk.round();
        let next: BTreeSet<DateTime<Utc>> =
            desk.health().iter().map(|feed| feed["next_poll"].as_str().unwrap().parse().unwrap()).collect();
        let spread = *next.last().unwrap() - *next.first().unwrap();
        assert!(next.len() == 40 && spread.num_minutes() >= least_spread_min, "{prefix}: {spread}");
    }
}

#[test]
fn rule_21_a_check_by_hand_has_a_cool_down() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(3)).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    desk.round();
    let refused = desk.command(&["feeds", "check", &origin.url("/f")]);
    assert!(said(&refused).contains("cool"), "{}", said(&refused));
    desk.pass(TimeDelta::minutes(11));
    for _ in 0..3 {
        desk.command(&["feeds", "check", &origin.url("/f")]);
    }
    assert_eq!(origin.requests("/f").len(), 2);
}

#[test]
fn rule_22_retry_after_holds_across_restarts() {
    let origin = Origin::start();
    let date = (Utc::now() + TimeDelta::hours(7)).format("%a, %d %b %Y %H:%M:%S GMT").to_string();
    for (path, status, value, hours) in [("/s", 503, "18000", 5), ("/d", 429, &date, 7), ("/long", 429, "99999999", 48)]
    {
        origin.serve(path, Response::status(status).header("retry-after", value));
        let desk = Desk::new();
        desk.add(&[origin.url(path)]);
        desk.round();
        desk.pass(TimeDelta::minutes(hours * 60 - 2));
        desk.round();
        assert_eq!(origin.requests(path).len(), 1, "{path} was asked too early");
        desk.pass_until_due();
        desk.round();
        assert_eq!(origin.requests(path).len(), 2, "{path}");
    }
}

#[test]
fn rule_24_to_29_errors_rest_by_their_class() {
    let origin = Origin::start();
    for (path, response, class, least_hours) in [
        ("/429", Response::status(429), "rate_limited", 4),
        ("/404", Response::status(404), "not_found", 1),
        ("/404-cached", Response::status(404).header("cache-control", "max-age=21600"), "not_found", 6),
        ("/401", Response::status(401), "auth", 1),
        ("/403", Response::status(403), "auth", 1),
        ("/500", Response::status(500), "http_server", 1),
    ] {
        origin.serve(path, response);
        let desk = Desk::new();
        desk.add(&[origin.url(path)]);
        desk.round();
        let health = &desk.health()[0];
        assert_eq!(health["error_class"], class, "{path}");
        let wait = minutes_from_now(desk.next_poll() + TimeDelta::minutes(1));
        assert!(wait >= least_hours * 60 && wait <= least_hours * 90 + 1, "{path}: {wait}");
        assert_eq!(origin.requests(path).len(), 1, "{path}");
    }
}

#[test]
fn rule_26_410_stops_the_feed_and_says_so() {
    let origin = Origin::start();
    origin.serve("/f", Response::status(410));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    let output = desk.round();
    assert!(said(&output).contains("ended"), "{}", said(&output));
    desk.pass(DAY * 400);
    desk.forced_round();
    assert_eq!(origin.requests("/f").len(), 1);
    assert_eq!(desk.health()[0]["error_class"], "gone");
    // The user may insist.
    desk.add(&[origin.url("/f")]);
    desk.forced_round();
    assert_eq!(origin.requests("/f").len(), 2);
}

#[test]
fn rule_31_a_feed_is_never_stopped_by_network_errors() {
    let desk = Desk::new();
    desk.add(&["http://127.0.0.1:1/f".into()]);
    for round in 1..=12 {
        desk.round();
        assert_eq!(desk.health()[0]["errors_in_row"], round);
        desk.pass_until_due();
    }
    assert!(desk.health()[0]["active"].as_bool().unwrap());
}

#[test]
fn rule_31_our_own_outage_is_not_held_against_feeds() {
    let desk = Desk::new();
    desk.add(&(1..=20).map(|host| format!("http://127.0.0.{host}:1/f")).collect::<Vec<_>>());
    let output = desk.round();
    assert!(said(&output).contains("is the network down"), "{}", said(&output));
    let blamed = desk.health().iter().filter(|feed| feed["errors_in_row"] != 0).count();
    assert!(blamed <= 4, "{blamed}");
}

#[test]
fn rule_32_a_host_that_asks_for_rest_gets_it_from_all_its_feeds() {
    for (scope, requests) in [("host", 1), ("site", 1), ("url", 3)] {
        let origin = Origin::start();
        let paths = ["/a", "/b", "/c"];
        paths.iter().for_each(|path| origin.serve(path, Response::status(429).header("retry-after", "7200")));
        let desk = Desk::new().set("DEMARCHE_SCHEDULE__PENALTY_SCOPE", scope);
        desk.add(&paths.map(|path| origin.url(path)));
        desk.round();
        desk.pass(TimeDelta::minutes(119));
        desk.round();
        assert_eq!(origin.all_requests().len(), requests, "{scope}");
    }
}

#[test]
fn rule_33_a_permanent_redirect_is_adopted_after_days_if_it_leads_to_a_feed() {
    let origin = Origin::start();
    origin.serve("/old", Response::redirect(301, "/new"));
    origin.serve("/new", Response::feed(feed(3)).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/old")]);
    for _ in 0..6 {
        desk.round();
        desk.pass(DAY + TimeDelta::hours(3));
    }
    let (old, new) = (origin.requests("/old").len(), origin.requests("/new").len());
    assert_eq!(new, 6);
    assert!((3..6).contains(&old), "{old}");
    assert_eq!(desk.health()[0]["moved_to"], origin.url("/new"));
    // What it brought is known under the new address too.
    assert_eq!(desk.health()[0]["items"], 3);
    assert_eq!(origin.requests("/new").iter().filter(|seen| !seen.is_conditional()).count(), 1);
}

#[test]
fn rule_33_a_maintenance_page_replaces_nothing() {
    let origin = Origin::start();
    origin.serve("/old", Response::redirect(301, "/sorry"));
    origin.serve(
        "/sorry",
        Response::status(200).header("content-type", "text/html").body("<html><body>Back soon</body></html>"),
    );
    let desk = Desk::new();
    desk.add(&[origin.url("/old")]);
    for _ in 0..6 {
        desk.round();
        desk.pass(DAY * 2);
    }
    assert_eq!((origin.requests("/old").len(), desk.health()[0]["moved_to"].as_str()), (6, None));
}

#[test]
fn rule_33_http_to_https_is_adopted_at_once() {
    let (secure, authority) = tls::origin(&["127.0.0.1"]);
    let plain = Origin::start();
    plain.serve("/f", Response::redirect(301, &secure.url("/f")));
    secure.serve("/f", Response::feed(feed(3)).etag("\"1\""));
    let desk = Desk::new().set("DEMARCHE_FETCH__CA_FILE", authority.path().to_str().unwrap());
    desk.add(&[plain.url("/f")]);
    desk.forced_round();
    desk.forced_round();
    assert_eq!((plain.requests("/f").len(), secure.requests("/f").len()), (1, 2));
    assert!(secure.requests("/f")[1].is_conditional());
}

#[test]
fn rule_34_temporary_redirects_are_never_adopted() {
    let origin = Origin::start();
    origin.serve("/old", Response::redirect(302, "/new"));
    origin.serve("/new", Response::feed(feed(3)).etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/old")]);
    for _ in 0..5 {
        desk.round();
        desk.pass(DAY * 2);
    }
    assert_eq!(origin.requests("/old").len(), 5);
}

#[test]
fn rule_39_a_poll_is_one_request_whatever_the_document_links_to() {
    let origin = Origin::start();
    let at = |path: &str| origin.url(path);
    let document = format!(
        "<rss version=\"2.0\"><channel><title>Outlet</title><link>{}</link><image><url>{}</url></image>\
         <item><title>Talks</title><link>{}</link><enclosure url=\"{}\" type=\"image/png\"/></item></channel></rss>",
        at("/"),
        at("/favicon.ico"),
        at("/article"),
        at("/picture.png")
    );
    origin.serve("/f", Response::feed(document).header("set-cookie", "a=b").etag("\"1\""));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    desk.forced_round();
    desk.forced_round();
    let seen: Vec<(String, String)> = origin.all_requests().into_iter().map(|seen| (seen.method, seen.path)).collect();
    assert_eq!(seen, vec![("GET".to_owned(), "/f".to_owned()); 2]);
    assert!(
        origin.all_requests().iter().all(|seen| seen.header("cookie").is_none() && seen.header("referer").is_none())
    );
}

#[test]
fn rule_43_one_fetch_for_an_address_that_is_listed_twice() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(3)).etag("\"1\""));
    let (desk, list) = (Desk::new(), tempfile::NamedTempFile::new().unwrap());
    let outline = |url: &str| format!("<outline type=\"rss\" text=\"x\" xmlUrl=\"{url}\"/>");
    let twice =
        [origin.url("/f"), origin.url("/f#top"), origin.url("/./f").replace("http", "HTTP")].map(|url| outline(&url));
    std::fs::write(&list, format!("<opml version=\"2.0\"><body>{}</body></opml>", twice.concat())).unwrap();
    desk.command(&["run", "--once", "--opml", list.path().to_str().unwrap()]);
    assert_eq!(origin.all_requests().len(), 1);
}

#[test]
fn rule_45_one_request_at_a_time_to_a_host_and_a_gap_between() {
    let origin = Origin::start();
    let (delay, gap) = (Duration::from_millis(120), Duration::from_millis(150));
    let paths = ["/a", "/b", "/c"];
    paths.iter().for_each(|path| origin.serve(path, Response::feed(feed(1)).delay(delay)));
    let desk = Desk::new().set("DEMARCHE_SCHEDULE__HOST_GAP", "150ms");
    desk.add(&paths.map(|path| origin.url(path)));
    desk.round();
    let seen = origin.all_requests();
    assert_eq!(seen.len(), 3);
    for pair in seen.windows(2) {
        assert!(pair[1].at - pair[0].at >= delay + gap, "{:?}", pair[1].at - pair[0].at);
    }
}

#[test]
fn rule_46_no_more_requests_in_flight_than_configured() {
    let delay = Duration::from_millis(120);
    let origins: Vec<Origin> = (0..4).map(|_| Origin::start()).collect();
    origins.iter().for_each(|origin| origin.serve("/f", Response::feed(feed(1)).delay(delay)));
    let desk = Desk::new().set("DEMARCHE_FETCH__CONCURRENCY", "2");
    desk.add(&origins.iter().map(|origin| origin.url("/f")).collect::<Vec<_>>());
    desk.round();
    let mut starts: Vec<_> = origins.iter().flat_map(Origin::all_requests).map(|seen| seen.at).collect();
    starts.sort();
    assert_eq!(starts.len(), 4);
    // Any three of them cannot all overlap.
    assert!(starts.windows(3).all(|three| three[2] - three[0] >= delay));
}

#[test]
fn rule_51_without_an_allow_list_nothing_local_is_fetched() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(1)));
    let desk = Desk::new();
    let mut command = Command::new(env!("CARGO_BIN_EXE_demarche"));
    command.args(["run", "--once", "--feed", &origin.url("/f"), "--state"]).arg(desk.state.path());
    let output = command.env("DEMARCHE_MODEL__SCORER", "linear").output().unwrap();
    assert!(origin.all_requests().is_empty() && !output.status.success());
    assert_eq!(desk.health()[0]["error_class"], "blocked_address");
}

#[test]
fn rule_52_a_redirect_to_a_forbidden_place_is_not_stored() {
    let origin = Origin::start();
    origin.serve("/f", Response::redirect(301, "http://169.254.169.254/latest/meta-data"));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    for _ in 0..6 {
        desk.round();
        desk.pass(DAY * 2);
    }
    let health = &desk.health()[0];
    assert_eq!((health["error_class"].as_str(), health["moved_to"].as_str()), (Some("blocked_address"), None));
}

#[test]
fn rule_53_credentials_are_used_and_never_shown() {
    let origin = Origin::start();
    origin.script(
        "/f",
        [Response::feed(feed(3)), Response::status(500), Response::redirect(302, "ftp://x/"), Response::raw("junk")],
    );
    let desk = Desk::new();
    desk.add(&[origin.url("/f").replace("http://", "http://desk:s3cret@")]);
    let mut shown = String::new();
    for _ in 0..4 {
        shown += &said(&desk.forced_round());
        shown += &said(&desk.command(&["feeds", "list", "--json"]));
        shown += &said(&desk.command(&["feeds", "list"]));
    }
    shown += &std::fs::read_to_string(desk.state.path().join("alerts.jsonl")).unwrap_or_default();
    assert!(origin.requests("/f").iter().all(|seen| seen.header("authorization") == Some("Basic ZGVzazpzM2NyZXQ=")));
    assert!(!shown.contains("s3cret") && !shown.contains("ZGVzaz"), "{shown}");
}

#[test]
fn rule_53_secrets_come_from_the_environment_or_a_credentials_directory() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(3)));
    let (desk, secrets) = (Desk::new(), tempfile::tempdir().unwrap());
    let file = desk.state.path().join("my.toml");
    std::fs::write(&file, format!("[[feed]]\nurl = \"{}\"\ncredential = \"desk\"\n", origin.url("/f"))).unwrap();
    std::fs::write(secrets.path().join("desk"), "X-Key: s3cret\n").unwrap();
    let args = ["run", "--once", "--interval", "0s", "--config", file.to_str().unwrap()];
    let missing = desk.command(&args);
    assert!(
        said(&missing).contains("DEMARCHE_CREDENTIAL_DESK") && missing.status.code() == Some(2),
        "{}",
        said(&missing)
    );
    let desk = desk.set("DEMARCHE_CREDENTIAL_DESK", "me:s3cret");
    let shown = said(&desk.command(&args));
    let desk = desk.set("CREDENTIALS_DIRECTORY", secrets.path().to_str().unwrap());
    let shown = shown + &said(&desk.command(&args));
    let seen = origin.requests("/f");
    assert_eq!(seen[0].header("authorization"), Some("Basic bWU6czNjcmV0"));
    assert_eq!(seen[1].header("x-key"), Some("s3cret"));
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn rule_54_a_page_with_status_200_is_not_a_feed_and_its_validators_are_not_kept() {
    let page = Response::status(200).header("content-type", "text/html").header("etag", "\"page\"");
    let captcha = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captcha.html")).unwrap();
    let origin = Origin::start();
    origin.script("/f", [Response::feed(feed(3)).header("etag", "\"feed\""), page.body(captcha)]);
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    for _ in 0..3 {
        desk.forced_round();
    }
    assert_eq!(desk.health()[0]["error_class"], "not_a_feed");
    let sent: Vec<_> =
        origin.requests("/f").iter().map(|seen| seen.header("if-none-match").map(str::to_owned)).collect();
    assert_eq!(sent, [None, Some("\"feed\"".into()), Some("\"feed\"".into())]);
}

#[test]
fn rule_55_a_feed_with_a_wrong_media_type_still_parses() {
    let origin = Origin::start();
    for kind in ["text/html", "text/plain", "application/octet-stream", "image/png"] {
        origin.serve("/f", Response::status(200).header("content-type", kind).body(feed(3)));
        let desk = Desk::new();
        desk.add(&[origin.url("/f")]);
        desk.round();
        assert_eq!(desk.health()[0]["items"], 3, "{kind}");
    }
}

#[test]
fn rule_56_entries_that_vanish_are_flagged_in_the_feeds_health() {
    let origin = Origin::start();
    origin.serve("/f", Response::feed(feed(3)));
    let desk = Desk::new();
    desk.add(&[origin.url("/f")]);
    desk.round();
    desk.pass(DAY * 20);
    desk.round();
    assert_eq!(desk.health()[0]["silent_zero"], false);
    origin.serve("/f", Response::feed(feed(0)));
    desk.pass(DAY * 2);
    desk.round();
    let health = &desk.health()[0];
    assert_eq!((&health["silent_zero"], &health["stale"]), (&Value::Bool(true), &Value::Bool(true)), "{health}");
}

/// A class in the feed's health and a rest of an hour at least: no crash, no hang, no hot loop.
#[test]
fn bad_input_ends_in_a_class_and_a_rest() {
    let (untrusted, _) = tls::origin(&["127.0.0.1"]);
    let (trusted, authority) = tls::origin(&["127.0.0.1"]);
    trusted.serve("/down", Response::redirect(301, "http://127.0.0.1/f"));
    let captcha = std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/captcha.html")).unwrap();
    let scripts = [
        ("/slow", Response::feed("x".repeat(5000)).drip(Duration::from_millis(20)), "timeout"),
        ("/endless", Response::feed("<rss>").endless(), "too_large"),
        ("/bomb", Response::feed(vec![b' '; 4 << 20]).gzip(), "too_large"),
        ("/circle", Response::redirect(301, "/circle"), "redirect"),
        ("/length", Response::feed(feed(3)).claimed_length(50_000), "protocol"),
        ("/captcha", Response::status(200).header("content-type", "text/html").body(captcha), "not_a_feed"),
        ("/nothing", Response::feed(""), "empty"),
        ("/noise", Response::raw("SSH-2.0-OpenSSH_9.6\r\n"), "protocol"),
        ("/no-gzip", Response::feed(feed(3)).header("content-encoding", "gzip"), "decode"),
    ];
    let origins: Vec<Origin> = scripts.iter().map(|_| Origin::start()).collect();
    let mut expected = vec![
        (untrusted.url("/tls"), "tls"),
        (trusted.url("/down"), "redirect"),
        ("http://name.invalid/f".to_owned(), "dns"),
        ("http://127.0.0.1:1/f".to_owned(), "connect"),
    ];
    for (origin, (path, response, class)) in origins.iter().zip(scripts) {
        origin.serve(path, response);
        expected.push((origin.url(path), class));
    }
    let desk = Desk::new()
        .set("DEMARCHE_FETCH__TIMEOUT", "5s")
        .set("DEMARCHE_FETCH__MAX_BODY", "1MiB")
        .set("DEMARCHE_FETCH__CA_FILE", authority.path().to_str().unwrap());
    desk.add(&expected.iter().map(|(url, _)| url.clone()).collect::<Vec<_>>());
    let output = desk.round();
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    let health = desk.health();
    for (url, class) in &expected {
        let feed = health.iter().find(|feed| feed["url"] == url.as_str()).unwrap();
        assert_eq!(feed["error_class"], *class, "{feed}");
        let next = feed["next_poll"].as_str().unwrap().parse().unwrap();
        assert!(minutes_from_now(next) >= 58, "{feed}");
    }
    let asked: usize = origins.iter().map(|origin| origin.all_requests().len()).sum();
    desk.round();
    assert_eq!(origins.iter().map(|origin| origin.all_requests().len()).sum::<usize>(), asked);
}

#[test]
fn a_wrong_charset_in_the_header_loses_to_the_document() {
    let origin = Origin::start();
    let document = feed(2).replace("Outlet", "Übersee");
    for charset in ["utf-16", "no-such-charset", "iso-8859-1\u{e4}"] {
        let declared = format!("<?xml version=\"1.0\" encoding=\"utf-8\"?>{document}");
        let kind = format!("application/rss+xml; charset={charset}");
        origin.serve("/f", Response::status(200).header("content-type", &kind).body(declared));
        let desk = Desk::new();
        desk.add(&[origin.url("/f")]);
        desk.round();
        let health = &desk.health()[0];
        assert_eq!((health["title"].as_str(), health["items"].as_u64()), (Some("Übersee"), Some(2)), "{charset}");
    }
}

#[test]
fn absurd_retry_after_values_rest_a_feed_two_days_at_most() {
    let origin = Origin::start();
    let busy = || Response::status(503);
    let many = (0..10_000).fold(busy(), |response, _| response.header("retry-after", "1"));
    for (path, response) in [
        ("/digits", busy().header("retry-after", &"9".repeat(10_000))),
        ("/many", many),
        ("/negative", busy().header("retry-after", "-1")),
        ("/float", busy().header("retry-after", "1e308")),
        ("/far", busy().header("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT")),
        ("/too-far", busy().header("retry-after", "Sat, 01 Jan 10000 00:00:00 GMT")),
        ("/past", busy().header("retry-after", "Thu, 01 Jan 1970 00:00:00 GMT")),
    ] {
        origin.serve(path, response);
        let desk = Desk::new();
        desk.add(&[origin.url(path)]);
        desk.round();
        let wait = minutes_from_now(desk.next_poll());
        // Two days, and the jitter of errors.
        assert!((58..=48 * 60 * 3 / 2).contains(&wait), "{path}: {wait}");
    }
}

#[test]
fn dates_in_the_year_10000_are_survived() {
    let origin = Origin::start();
    let item = |n: usize, date: &str| {
        format!("<item><title>Talks {n}</title><guid>urn:x:{n}</guid><pubDate>{date}</pubDate></item>")
    };
    let dates =
        ["Fri, 31 Dec 9999 23:59:59 GMT", "Sat, 01 Jan 10000 00:00:00 GMT", "Sat, 01 Jan 99999999 00:00:00 GMT"];
    let items: String = dates.iter().enumerate().map(|(n, date)| item(n, date)).collect();
    let document = format!("<rss version=\"2.0\"><channel><title>Outlet</title>{items}</channel></rss>");
    for date in dates {
        origin.serve("/f", Response::feed(document.clone()).header("expires", date).header("last-modified", date));
        let desk = Desk::new();
        desk.add(&[origin.url("/f")]);
        assert!(desk.round().status.success());
        assert!(desk.command(&["feeds", "list"]).status.success());
        assert_eq!(desk.health()[0]["items"], 3);
        let wait = minutes_from_now(desk.next_poll());
        assert!((58..=24 * 66).contains(&wait), "{date}: {wait}");
    }
}

/// The tests that the "Politeness" tables of ARCHITECTURE.md name, as `file::test`, by the row they stand in.
fn named_tests() -> Vec<(String, String)> {
    let text = read("ARCHITECTURE.md");
    let section = text.split("\n## ").find(|section| section.starts_with("Politeness")).unwrap();
    let mut named = Vec::new();
    for row in section.lines().filter_map(|line| line.strip_prefix("| ")) {
        let what = row.split(" |").next().unwrap().to_owned();
        named.extend(row.split('`').filter(|word| word.contains(".rs::")).map(|word| (what.clone(), word.to_owned())));
    }
    named
}

fn read(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(path)).unwrap()
}

/// Every source file under `dir`.
fn sources(dir: &str) -> Vec<String> {
    let entries = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join(dir)).unwrap();
    let mut found = Vec::new();
    for entry in entries.map(Result::unwrap) {
        let path = format!("{dir}/{}", entry.file_name().to_str().unwrap());
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(sources(&path)),
            false if path.ends_with(".rs") => found.push(path),
            false => {}
        }
    }
    found
}

#[test]
fn the_table_of_politeness_names_tests_that_exist() {
    let named = named_tests();
    for (row, test) in &named {
        let (file, name) = test.split_once("::").unwrap();
        let text = read(file);
        let at = text.find(&format!("fn {name}(")).unwrap_or_else(|| panic!("row {row}: there is no {test}"));
        assert!(text[..at].lines().rev().take(3).any(|line| line.contains("test]")), "row {row}: {test} is no test");
    }
    for rule in 1..=56 {
        assert!(named.iter().any(|(row, _)| *row == rule.to_string()), "rule {rule} has no test");
    }
}

#[test]
fn the_table_of_politeness_names_every_test_of_a_rule() {
    let named: BTreeSet<String> = named_tests().into_iter().map(|(_, test)| test).collect();
    for file in sources("src").into_iter().chain(sources("tests")) {
        for line in read(&file).lines() {
            let Some(name) = line.split("fn rule_").nth(1).and_then(|rest| rest.split('(').next()) else { continue };
            let test = format!("{file}::rule_{name}");
            assert!(line.contains('"') || named.contains(&test), "{test} is not in ARCHITECTURE.md");
        }
    }
}
