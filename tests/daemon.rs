//! The daemon under its service manager: ready, reloading, watched, stopping.

#[path = "support/program.rs"]
mod program;
mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use program::{Program, rss, signal, talks, wait_until_or};
use support::{Origin, Response};

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// The real binary as a service, its configuration, and what it tells its manager.
struct Service {
    program: Program,
    config: PathBuf,
    told: UnixDatagram,
    child: Child,
    log: PathBuf,
}

impl Service {
    fn start(feeds: &[String]) -> Self {
        Self::start_with(feeds, "")
    }

    fn start_with(feeds: &[String], more: &str) -> Self {
        let program = Program::new();
        let dir = program.alert_file().parent().unwrap().to_owned();
        let (config, log) = (dir.join("service.toml"), dir.join("service.log"));
        let told = UnixDatagram::bind(dir.join("notify")).unwrap();
        told.set_read_timeout(Some(PATIENCE)).unwrap();
        std::fs::write(&config, configuration(feeds, more)).unwrap();
        let mut command: Command = program.command(&["run", "--interval", "150ms", "--allow-net", "127.0.0.1/32"]);
        command.arg("--config").arg(&config).arg("--out").arg(program.alert_file());
        command.env("NOTIFY_SOCKET", dir.join("notify")).env("WATCHDOG_USEC", "300000");
        command.stdout(Stdio::null()).stderr(std::fs::File::create(&log).unwrap());
        let child = command.spawn().unwrap();
        Self { program, config, told, child, log }
    }

    /// Waits until the manager is told something that begins like this; returns the whole message.
    fn hears(&self, what: &str) -> String {
        let start = Instant::now();
        let mut bytes = [0; 4096];
        while start.elapsed() < PATIENCE {
            let read = self.told.recv(&mut bytes).unwrap_or_else(|error| panic!("{what}: {error}: {}", self.log()));
            let message = String::from_utf8_lossy(&bytes[..read]).into_owned();
            if message.lines().any(|line| line.starts_with(what)) {
                return message;
            }
        }
        panic!("waited in vain for {what}: {}", self.log());
    }

    fn signal(&self, name: &str) {
        signal(name, self.child.id());
    }

    fn alerts(&self) -> usize {
        if self.program.alert_file().exists() { self.program.alerted().len() } else { 0 }
    }

    fn waits_until(&self, what: &str, condition: impl FnMut() -> bool) {
        wait_until_or(what, PATIENCE, || self.log(), condition);
    }

    fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Status and body of a GET from what the program serves.
    fn get(&self, path: &str) -> (u16, String) {
        let log = self.log();
        let line = log.lines().find(|line| line.contains("serving metrics")).unwrap_or_else(|| panic!("{log}"));
        let address = line.split("address=").nth(1).unwrap().split_whitespace().next().unwrap().to_owned();
        let mut stream = std::net::TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), body.to_owned())
    }

    fn ends(&mut self) {
        self.signal("TERM");
        self.hears("STOPPING=1");
        assert!(self.child.wait().unwrap().success(), "{}", self.log());
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn configuration(feeds: &[String], more: &str) -> String {
    let feeds: String = feeds.iter().map(|url| format!("[[feed]]\nurl = \"{url}\"\n")).collect();
    format!("{feeds}\n[schedule]\nhost_gap = \"1ms\"\n{more}")
}

fn feed(origin: &Origin, path: &str, ids: std::ops::Range<usize>) -> String {
    let etag = format!("\"{path}\"");
    origin.serve(path, Response::feed(rss(ids.map(|id| (id, talks(id))))).etag(&etag));
    origin.url(path)
}

#[test]
fn the_manager_is_told_of_start_progress_and_end() {
    let origin = Origin::start();
    let mut service = Service::start(&[feed(&origin, "/a", 0..5)]);
    service.hears("READY=1");
    service.waits_until("the alerts are written", || service.alerts() == 5);
    for _ in 0..3 {
        let message = service.hears("WATCHDOG=1");
        assert!(message.contains("STATUS=since the start"), "{message}");
    }
    service.ends();
}

#[test]
fn a_reload_takes_new_feeds_and_loses_and_repeats_nothing() {
    let origin = Origin::start();
    let (a, b) = (feed(&origin, "/a", 0..5), feed(&origin, "/b", 5..9));
    let mut service = Service::start(std::slice::from_ref(&a));
    service.hears("READY=1");
    service.waits_until("the first feed's alerts are written", || service.alerts() == 5);
    std::fs::write(&service.config, configuration(&[a, b], "")).unwrap();
    service.signal("HUP");
    assert!(service.hears("RELOADING=1").contains("MONOTONIC_USEC="));
    service.hears("READY=1");
    service.waits_until("the second feed's alerts are written", || service.alerts() == 9);
    let before = origin.requests("/a").len();
    service.waits_until("the first feed is polled on", || origin.requests("/a").len() > before + 2);
    assert!(origin.requests("/a").iter().skip(1).all(support::Seen::is_conditional));
    service.ends();
    assert_eq!(service.program.alerts().len(), 9);
}

#[test]
fn a_bad_new_configuration_is_refused_with_all_its_problems_and_the_old_one_stays() {
    let origin = Origin::start();
    let a = feed(&origin, "/a", 0..5);
    let mut service = Service::start(std::slice::from_ref(&a));
    service.hears("READY=1");
    let wrong = "jiter = 1\n[model]\nthreshold = 7.0\n[nonsense]\n";
    std::fs::write(&service.config, configuration(std::slice::from_ref(&a), wrong)).unwrap();
    service.signal("HUP");
    service.hears("RELOADING=1");
    service.hears("READY=1");
    service.waits_until("the refusal is logged", || service.log().contains("the new configuration is refused"));
    let log = service.log();
    assert!(log.contains("jitter") && log.contains("nonsense"), "{log}");
    let before = origin.requests("/a").len();
    service.waits_until("polling goes on", || origin.requests("/a").len() > before + 2);
    service.ends();
}

#[test]
fn a_reload_changes_the_level_of_the_log() {
    let origin = Origin::start();
    let a = feed(&origin, "/a", 0..1);
    let mut service = Service::start(std::slice::from_ref(&a));
    service.hears("READY=1");
    assert!(!service.log().contains("DEBUG"));
    std::fs::write(&service.config, configuration(&[a], "[log]\nlevel = \"debug\"\n")).unwrap();
    service.signal("HUP");
    service.hears("RELOADING=1");
    service.hears("READY=1");
    service.waits_until("more is logged", || service.log().contains("DEBUG"));
    service.ends();
}

#[test]
fn metrics_and_health_are_served() {
    let origin = Origin::start();
    let feeds = [feed(&origin, "/a", 0..5), origin.url("/missing")];
    let mut service = Service::start_with(&feeds, "[serve]\nlisten = \"127.0.0.1:0\"\n");
    service.hears("READY=1");
    service.waits_until("it listens", || service.log().contains("serving metrics"));
    service.waits_until("the alerts are counted", || {
        service.get("/metrics").1.contains("demarche_sink_taken_total{sink=\"output\"} 5")
    });
    let (status, text) = service.get("/metrics");
    assert_eq!(status, 200);
    for line in [
        "demarche_items_total{outcome=\"new\"} 5",
        "demarche_judged_total{outcome=\"alert\"} 5",
        "demarche_feeds{state=\"failing\"} 1.0",
        "demarche_sink_lag_seconds{sink=\"output\"} 0.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
    }
    assert_eq!((service.get("/healthz"), service.get("/readyz")), ((200, "ok\n".into()), (200, "ok\n".into())));
    assert_eq!(service.get("/").0, 404);
    service.ends();
}

#[test]
fn a_configuration_that_is_no_toml_is_refused_and_the_old_one_stays() {
    let origin = Origin::start();
    let a = feed(&origin, "/a", 0..5);
    let mut service = Service::start(std::slice::from_ref(&a));
    service.hears("READY=1");
    std::fs::write(&service.config, "[schedule\nhost_gap = ").unwrap();
    service.signal("HUP");
    service.hears("RELOADING=1");
    service.hears("READY=1");
    service.waits_until("the refusal is logged", || service.log().contains("the new configuration is refused"));
    assert!(service.log().contains("service.toml:1"), "{}", service.log());
    let before = origin.requests("/a").len();
    service.waits_until("polling goes on", || origin.requests("/a").len() > before + 2);
    service.ends();
}

#[test]
fn a_list_of_feeds_that_was_removed_is_refused_and_its_feeds_are_polled_on() {
    let origin = Origin::start();
    let a = feed(&origin, "/a", 0..5);
    let opml = tempfile::tempdir().unwrap();
    let list = opml.path().join("feeds.opml");
    std::fs::write(&list, format!("<opml version=\"2.0\"><body><outline xmlUrl=\"{a}\"/></body></opml>")).unwrap();
    let mut service = Service::start_with(&[], &format!("[feeds]\nopml = [\"{}\"]\n", list.display()));
    service.hears("READY=1");
    service.waits_until("the alerts are written", || service.alerts() == 5);
    std::fs::remove_file(&list).unwrap();
    service.signal("HUP");
    service.hears("RELOADING=1");
    service.hears("READY=1");
    service.waits_until("the refusal is logged", || service.log().contains("the new configuration is refused"));
    assert!(service.log().contains("feeds.opml"), "{}", service.log());
    let before = origin.requests("/a").len();
    service.waits_until("polling goes on", || origin.requests("/a").len() > before + 2);
    origin.serve("/a", Response::feed(rss((0..7).map(|id| (id, talks(id))))));
    service.waits_until("news are still alerted", || service.alerts() == 7);
    service.ends();
}

#[test]
fn a_sink_that_is_removed_with_a_backlog_holds_nothing_up_and_goes_on_where_it_was_when_it_is_back() {
    let origin = Origin::start();
    let a = feed(&origin, "/a", 0..3);
    origin.serve("/hook", Response::status(500));
    let quick = "[delivery]\nretry_first = \"20ms\"\nretry_longest = \"50ms\"\n";
    let sink = format!("{quick}[[sink]]\nname = \"desk\"\ntype = \"webhook\"\nurl = \"{}\"\n", origin.url("/hook"));
    let mut service = Service::start_with(std::slice::from_ref(&a), &sink);
    service.hears("READY=1");
    service.waits_until("it is tried", || origin.requests("/hook").len() > 2);
    let reload = |service: &Service, more: &str| {
        std::fs::write(&service.config, configuration(std::slice::from_ref(&a), more)).unwrap();
        service.signal("HUP");
        service.hears("RELOADING=1");
        service.hears("READY=1");
    };
    reload(&service, quick);
    origin.serve("/a", Response::feed(rss((0..6).map(|id| (id, talks(id))))));
    service.waits_until("the file goes on", || service.alerts() == 6);
    let tried = origin.requests("/hook").len();
    origin.serve("/hook", Response::status(204));
    reload(&service, &sink);
    service.waits_until("it gets its backlog", || origin.requests("/hook").len() >= tried + 6);
    let posts = origin.requests("/hook");
    let posted =
        |post: &support::Seen| serde_json::from_slice::<serde_json::Value>(&post.body).unwrap()["alert_id"].clone();
    let file: Vec<_> = service.program.alerts().iter().map(|alert| alert["alert_id"].clone()).collect();
    assert_eq!(posts[posts.len() - 6..].iter().map(posted).collect::<Vec<_>>(), file);
    service.ends();
}
