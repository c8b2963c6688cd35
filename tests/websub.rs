//! WebSub against a scripted hub: subscription, verification, pushes, renewal, and the polls beneath.

#[path = "support/program.rs"]
mod program;
mod support;
#[path = "support/tls.rs"]
mod tls;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::Child;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use program::{Program, rss, talks, weather};
use ring::hmac;
use serde_json::Value;
use support::{Origin, Response, Seen};
use tempfile::NamedTempFile;
use url::form_urlencoded;

const DAY_MS: i64 = 86_400_000;

/// A feed with a hub, and the program with an address for it.
struct Desk {
    program: Program,
    origin: Origin,
    hub: Origin,
    authority: NamedTempFile,
    listen: String,
}

impl Desk {
    fn new() -> Self {
        let (hub, authority) = tls::origin(&["127.0.0.1"]);
        hub.serve("/hub", Response::status(202));
        let origin = Origin::start();
        // Free a moment ago: nothing else on this machine takes it that soon.
        let listen = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let desk = Self { program: Program::new(), origin, hub, authority, listen };
        let links = format!("<{}>; rel=hub, <{}>; rel=self", desk.hub.url("/hub"), desk.topic());
        let feed = rss([(1, weather(1))]);
        desk.origin.serve("/f", Response::feed(feed).header("link", &links));
        desk
    }

    fn topic(&self) -> String {
        self.origin.url("/f?topic")
    }

    fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.program.command(args);
        command
            .env("DEMARCHE_FETCH__ALLOW_NET", "[\"127.0.0.0/8\"]")
            .env("DEMARCHE_FETCH__CA_FILE", self.authority.path());
        command
            .env("DEMARCHE_WEBSUB__CALLBACK", "https://desk.example/push")
            .env("DEMARCHE_WEBSUB__LISTEN", &self.listen);
        command
    }

    fn daemon(&self) -> Running {
        Running(self.program.spawn(self.command(&["run", "--feed", &self.origin.url("/f")])))
    }

    /// The hub's first `count` requests; the program has half a minute for them.
    fn asked(&self, count: usize) -> Vec<Seen> {
        until(|| Some(self.hub.requests("/hub")).filter(|seen| seen.len() >= count))
    }

    /// Sends a request to the program as the hub would; status and body of the answer.
    fn send(&self, method: &str, path: &str, headers: &str, body: &str) -> (u16, String) {
        let mut stream = until(|| TcpStream::connect(&self.listen).ok());
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: desk\r\nconnection: close\r\ncontent-length: {length}\r\n{headers}\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let status = answer.split(' ').nth(1).unwrap().parse().unwrap();
        (status, answer.split_once("\r\n\r\n").unwrap().1.to_owned())
    }

    /// The feed's health; null before the program knows of it.
    fn health(&self) -> Value {
        let output = self.command(&["feeds", "list", "--json"]).output().unwrap();
        serde_json::from_slice(&output.stdout).unwrap_or_default()
    }
}

struct Running(Child);

impl Running {
    fn stop(mut self) {
        let pid = nix::unistd::Pid::from_raw(self.0.id().cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        assert!(self.0.wait().unwrap().success());
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn until<T>(mut look: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(started.elapsed() < Duration::from_secs(60), "it did not come");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn field(request: &Seen, name: &str) -> String {
    let mut pairs = form_urlencoded::parse(&request.body);
    pairs.find(|(key, _)| key == name).unwrap_or_else(|| panic!("no {name}")).1.into_owned()
}

fn signature(secret: &str, body: &str) -> String {
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), body.as_bytes());
    let digits: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("x-hub-signature: sha256={digits}\r\n")
}

#[test]
fn a_feed_with_a_hub_is_subscribed_pushed_renewed_and_polled_seldom() {
    let desk = Desk::new();
    let daemon = desk.daemon();
    let request = desk.asked(1).remove(0);
    assert_eq!((request.method.as_str(), field(&request, "hub.mode").as_str()), ("POST", "subscribe"));
    assert_eq!((field(&request, "hub.topic"), field(&request, "hub.lease_seconds")), (desk.topic(), "604800".into()));
    let (callback, secret) = (field(&request, "hub.callback"), field(&request, "hub.secret"));
    let path = callback.strip_prefix("https://desk.example").unwrap();

    // Verification: ours and nobody else's.
    let question = |mode: &str, topic: &str| {
        let topic: String = form_urlencoded::byte_serialize(topic.as_bytes()).collect();
        format!("?hub.mode={mode}&hub.topic={topic}&hub.challenge=ch4llenge&hub.lease_seconds=864000")
    };
    let ours = question("subscribe", &desk.topic());
    assert_eq!(desk.send("GET", &format!("/push/{}{ours}", "0".repeat(32)), "", "").0, 404);
    assert_eq!(desk.send("GET", &format!("{path}{}", question("subscribe", "https://other.example/")), "", "").0, 404);
    assert_eq!(desk.send("GET", &format!("{path}{}", question("unsubscribe", &desk.topic())), "", "").0, 404);
    assert_eq!(desk.send("GET", &format!("{path}{ours}"), "", ""), (200, "ch4llenge".into()));
    let until_then: DateTime<Utc> = desk.health()["pushed_until"].as_str().unwrap().parse().unwrap();
    assert!((9..=10).contains(&(until_then - Utc::now()).num_days()), "{until_then}");

    // Pushes: signed ones are taken, others ignored without a word.
    let forged = rss([(7, talks(7))]);
    for headers in ["", "x-hub-signature: sha256=00\r\n", &signature("guess", &forged)] {
        assert_eq!(desk.send("POST", path, headers, &forged).0, 202);
    }
    let pushed = rss([(2, talks(2))]);
    assert_eq!(desk.send("POST", path, &signature(&secret, &pushed), &pushed).0, 202);
    assert_eq!(desk.send("POST", path, &signature(&secret, "<html>"), "<html>").0, 202);
    let alerts = until(|| Some(desk.program.alerts()).filter(|alerts| !alerts.is_empty()));
    let titles: Vec<&str> = alerts.iter().map(|alert| alert["item"]["title"].as_str().unwrap()).collect();
    assert_eq!(titles, [talks(2)]);
    assert_eq!(desk.origin.requests("/f").len(), 1, "a push is not a poll");
    daemon.stop();

    // Time passes: the lease is renewed, under the same address.
    let state = rusqlite::Connection::open(desk.program.dir.path().join("demarche.sqlite")).unwrap();
    state.execute("UPDATE subscription SET until = until - ?1, next_try = next_try - ?1", [8 * DAY_MS]).unwrap();
    let daemon = desk.daemon();
    let again = desk.asked(2).remove(1);
    assert_eq!((field(&again, "hub.callback"), field(&again, "hub.secret")), (callback.clone(), secret));
    assert_eq!(desk.send("GET", &format!("{path}{ours}"), "", "").0, 200);
    daemon.stop();

    // The poll beneath comes, and comes seldom.
    state.execute("UPDATE feed SET next_poll = 0", []).unwrap();
    assert!(desk.command(&["run", "--once", "--feed", &desk.origin.url("/f")]).output().unwrap().status.success());
    assert_eq!(desk.origin.requests("/f").len(), 2);
    let next: DateTime<Utc> = desk.health()["next_poll"].as_str().unwrap().parse().unwrap();
    assert!((next - Utc::now()).num_minutes() >= 12 * 60 - 1, "{next}");
}

#[test]
fn without_an_address_of_our_own_no_hub_is_asked() {
    let desk = Desk::new();
    let mut command = desk.command(&["run", "--feed", &desk.origin.url("/f")]);
    let daemon = Running(desk.program.spawn({
        command.env("DEMARCHE_WEBSUB__CALLBACK", "");
        command
    }));
    until(|| Some(()).filter(|()| desk.health()["last_success"].is_string()));
    assert!(TcpStream::connect(&desk.listen).is_err());
    daemon.stop();
    let state = rusqlite::Connection::open(desk.program.dir.path().join("demarche.sqlite")).unwrap();
    let known: i64 = state.query_row("SELECT count(*) FROM subscription", [], |row| row.get(0)).unwrap();
    assert_eq!((known, desk.hub.all_requests().len()), (0, 0));
}

#[test]
fn an_address_that_hubs_cannot_reach_is_refused() {
    let program = Program::new();
    for wrong in ["desk.example", "ftp://desk.example/", "https://desk.example/?x=1"] {
        let output = program.command(&["config", "check"]).env("DEMARCHE_WEBSUB__CALLBACK", wrong).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{wrong}");
        assert!(String::from_utf8_lossy(&output.stderr).contains("hubs can reach"), "{output:?}");
    }
}
