//! Webhooks, commands and further files beside the main one: each at its own pace, none held up by another.

#[path = "support/program.rs"]
mod program;
mod support;

use std::process::Command;
use std::time::Duration;

use program::{Program, rss, signal, talks, wait_until};
use serde_json::Value;
use support::{Origin, Response, Seen};

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(120);

/// Retries at once, so that no test waits for them.
const QUICK: &str = "[delivery]\ntimeout = \"20s\"\nretry_first = \"20ms\"\nretry_longest = \"50ms\"\n";

/// A feed, a receiver, and the program between them.
struct Desk {
    origin: Origin,
    program: Program,
}

impl Desk {
    /// With these sinks and this many alerts to be delivered.
    fn new(sinks: &str, alerts: usize) -> Self {
        let desk = Self { origin: Origin::start(), program: Program::new() };
        desk.list(alerts);
        desk.configure(&sinks.replace("ORIGIN", &desk.origin.url("")));
        desk
    }

    fn configure(&self, sinks: &str) {
        std::fs::write(self.program.dir.path().join("demarche.toml"), format!("{QUICK}{sinks}")).unwrap();
    }

    fn list(&self, alerts: usize) {
        self.origin.serve("/f", Response::feed(rss((0..alerts).map(|n| (n, talks(n))))));
    }

    fn command(&self, run: &[&str]) -> Command {
        let mut args = vec!["run", "--interval", "200ms", "--allow-net", "127.0.0.1"];
        let url = self.origin.url("/f");
        args.extend(["--feed", &url]);
        args.extend(run);
        let mut command = self.program.command(&args);
        command.arg("--config").arg(self.program.dir.path().join("demarche.toml"));
        command
    }

    /// One run to its end: its exit code and its log.
    fn once(&self) -> (i32, String) {
        self.once_with(|_| {})
    }

    fn once_with(&self, change: impl FnOnce(&mut Command)) -> (i32, String) {
        let mut command = self.command(&["--once"]);
        change(&mut command);
        let output = command.output().unwrap();
        (output.status.code().unwrap_or(-1), String::from_utf8(output.stderr).unwrap())
    }

    /// A daemon while `work` lasts; then it must stop within its time.
    fn daemon(&self, work: impl FnOnce()) {
        let mut child = Program::start(self.command(&[]));
        work();
        signal("TERM", child.0.id());
        wait_until("the daemon has stopped", PATIENCE, || child.0.try_wait().unwrap().is_some());
        assert_eq!(child.0.wait().unwrap().code(), Some(0));
    }

    fn posts(&self, path: &str) -> Vec<Seen> {
        self.origin.requests(path)
    }

    /// Ids of the alerts in the main file, in order.
    fn in_file(&self) -> Vec<String> {
        self.program.alerts().iter().map(|alert| alert["alert_id"].as_str().unwrap().to_owned()).collect()
    }

    /// How the state says a sink stands: cursor's distance to the end, and parked alerts.
    fn waiting(&self, name: &str) -> (i64, i64) {
        let database = rusqlite::Connection::open(self.program.dir.path().join("demarche.sqlite")).unwrap();
        let sql = "SELECT (SELECT count(*) FROM outbox WHERE seq > cursor),
                   (SELECT count(*) FROM parked WHERE sink = name) FROM sink WHERE name = ?1";
        database.query_row(sql, [name], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    /// What the sinks wait for is over.
    fn forget_waits(&self) {
        let database = rusqlite::Connection::open(self.program.dir.path().join("demarche.sqlite")).unwrap();
        database.execute("UPDATE sink SET next_try = 0 WHERE next_try IS NOT NULL", []).unwrap();
    }
}

/// The ids of the alerts that were posted, in order.
fn posted(posts: &[Seen]) -> Vec<String> {
    let id =
        |post: &Seen| serde_json::from_slice::<Value>(&post.body).unwrap()["alert_id"].as_str().unwrap().to_owned();
    posts.iter().map(id).collect()
}

fn deliveries(posts: &[Seen]) -> Vec<String> {
    posts.iter().map(|post| post.header("x-demarche-delivery").unwrap().to_owned()).collect()
}

fn ok() -> Response {
    Response::status(204)
}

const WEBHOOK: &str = "[[sink]]\nname = \"desk\"\ntype = \"webhook\"\nurl = \"ORIGIN/hook\"\n";

#[test]
fn a_webhook_gets_every_alert_once_in_order_and_signed() {
    let desk = Desk::new(&format!("{WEBHOOK}secret = \"desk-key\"\ncredential = \"desk\"\n"), 5);
    desk.origin.serve("/hook", ok());
    let (code, log) = desk.once_with(|command| {
        command.env("DEMARCHE_CREDENTIAL_DESK_KEY", "s3cret\n").env("DEMARCHE_CREDENTIAL_DESK", "X-Desk: t0ken");
    });
    assert_eq!(code, 0, "{log}");
    let posts = desk.posts("/hook");
    assert_eq!((posted(&posts), posts.len()), (desk.in_file(), 5));
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, b"s3cret");
    for post in &posts {
        let signature = post.header("x-demarche-signature-256").unwrap().strip_prefix("sha256=").unwrap();
        let expected: String = ring::hmac::sign(&key, &post.body).as_ref().iter().map(|b| format!("{b:02x}")).collect();
        assert_eq!((post.method.as_str(), signature), ("POST", expected.as_str()));
        assert_eq!(post.header("content-type"), Some("application/json"));
        assert_eq!(post.header("x-desk"), Some("t0ken"));
    }
    assert!(!log.contains("s3cret") && !log.contains("t0ken"), "{log}");
    desk.once_with(|command| {
        command.env("DEMARCHE_CREDENTIAL_DESK_KEY", "s3cret").env("DEMARCHE_CREDENTIAL_DESK", "X-Desk: t0ken");
    });
    assert_eq!(desk.posts("/hook").len(), 5, "a second run has nothing to repeat");
}

#[test]
fn a_secret_that_is_not_there_is_named_before_anything_is_done() {
    let desk = Desk::new(&format!("{WEBHOOK}secret = \"desk-key\"\n"), 1);
    let (code, log) = desk.once();
    assert_eq!(code, 2, "{log}");
    assert!(log.contains("use sink desk") && log.contains("DEMARCHE_CREDENTIAL_DESK_KEY"), "{log}");
    assert!(desk.origin.all_requests().is_empty());
}

#[test]
fn a_dead_sink_beside_a_live_one_holds_nobody_up() {
    let dead = "[[sink]]\nname = \"dead\"\ntype = \"webhook\"\nurl = \"ORIGIN/dead\"\n";
    let desk = Desk::new(&format!("{WEBHOOK}{dead}"), 4);
    desk.origin.serve("/hook", ok());
    desk.origin.serve("/dead", Response::status(500));
    let (code, log) = desk.once();
    assert_eq!(code, 3, "some of it was not done: {log}");
    assert!(log.contains("post to sink dead: status 500") && log.contains("1 did not take all"), "{log}");
    assert_eq!((desk.in_file().len(), posted(&desk.posts("/hook")).len()), (4, 4));
    assert_eq!((desk.waiting("dead"), desk.waiting("desk")), ((4, 0), (0, 0)));
    // It comes back: everything follows in order, the first one under the id that it had.
    desk.origin.serve("/dead", ok());
    desk.forget_waits();
    assert_eq!(desk.once().0, 0);
    let posts = desk.posts("/dead");
    assert_eq!(posted(&posts[posts.len() - 4..]), desk.in_file());
    assert_eq!(deliveries(&posts)[0], deliveries(&posts)[posts.len() - 4]);
    assert_eq!(desk.posts("/hook").len(), 4);
}

#[test]
fn errors_are_tried_again_in_order_until_they_are_over() {
    let desk = Desk::new(WEBHOOK, 3);
    let failed = || Response::status(503);
    desk.origin.script("/hook", [failed(), failed(), ok(), failed(), ok()]);
    desk.daemon(|| wait_until("all are there", PATIENCE, || desk.posts("/hook").len() == 6));
    let posts = posted(&desk.posts("/hook"));
    let file = desk.in_file();
    let expected = [0, 0, 0, 1, 1, 2].map(|n| file[n].clone());
    assert_eq!(posts, expected);
    assert_eq!(desk.waiting("desk"), (0, 0));
}

#[test]
fn a_receiver_that_hangs_ends_at_the_time_out_and_is_tried_again() {
    let desk = Desk::new(&format!("{WEBHOOK}timeout = \"500ms\"\n"), 1);
    desk.origin.script("/hook", [ok().delay(Duration::from_secs(3)), ok()]);
    desk.daemon(|| {
        wait_until("it is taken", PATIENCE, || desk.posts("/hook").len() >= 2 && desk.waiting("desk") == (0, 0));
    });
    let mut ids = deliveries(&desk.posts("/hook"));
    ids.dedup();
    assert_eq!(ids.len(), 1);
}

#[test]
fn a_receiver_that_hangs_does_not_keep_the_daemon_from_stopping() {
    let desk = Desk::new(&format!("{WEBHOOK}timeout = \"10m\"\n"), 1);
    desk.origin.serve("/hook", ok().delay(Duration::from_secs(20)));
    desk.daemon(|| {
        wait_until("the file has it", PATIENCE, || desk.program.alert_file().metadata().is_ok_and(|f| f.len() > 0))
    });
    assert_eq!(desk.waiting("desk").0, 1);
}

#[test]
fn a_redirect_to_a_private_address_is_refused() {
    let desk = Desk::new(WEBHOOK, 1);
    // 127.0.0.1 is allowed by flag; what it redirects to is not.
    desk.origin.serve("/hook", Response::redirect(307, "http://10.0.0.1/internal"));
    let (code, log) = desk.once();
    assert_eq!(code, 3, "{log}");
    assert!(log.contains("post to sink desk: 10.0.0.1 is 10.0.0.1, which is not a public address"), "{log}");
    assert_eq!(desk.waiting("desk"), (1, 0));
}

#[test]
fn a_redirect_that_keeps_the_post_is_followed_and_others_are_not() {
    let desk = Desk::new(&format!("{WEBHOOK}credential = \"desk\"\n"), 1);
    let secret = |command: &mut Command| {
        command.env("DEMARCHE_CREDENTIAL_DESK", "X-Desk: t0ken");
    };
    desk.origin.serve("/hook", Response::redirect(302, &desk.origin.url("/new")));
    let (code, log) = desk.once_with(secret);
    assert!(code == 3 && log.contains("turn the post into a get"), "{log}");
    let other = Origin::start();
    other.serve("/new", ok());
    desk.origin.serve("/hook", Response::redirect(308, &other.url("/new")));
    desk.forget_waits();
    let (code, log) = desk.once_with(secret);
    assert_eq!(code, 0, "{log}");
    let post = &other.requests("/new")[0];
    assert_eq!((post.method.as_str(), posted(std::slice::from_ref(post))), ("POST", desk.in_file()));
    assert_eq!(post.header("x-desk"), None, "a secret stays with its origin");
}

#[test]
fn what_is_refused_for_good_is_parked_and_the_next_one_tried() {
    let desk = Desk::new(WEBHOOK, 3);
    desk.origin.script("/hook", [ok(), Response::status(413), ok()]);
    let (code, log) = desk.once();
    assert_eq!(code, 0, "{log}");
    assert!(log.contains("an alert is parked") && log.contains("status 413"), "{log}");
    assert_eq!((desk.posts("/hook").len(), desk.waiting("desk")), (3, (0, 1)));
}

#[test]
fn gone_closes_a_sink_until_its_address_changes() {
    let desk = Desk::new(WEBHOOK, 3);
    desk.origin.serve("/hook", Response::status(410));
    let (code, log) = desk.once();
    assert!(code == 3 && log.contains("give it another address"), "{log}");
    assert_eq!(desk.once().0, 3);
    assert_eq!((desk.posts("/hook").len(), desk.waiting("desk")), (1, (3, 0)));
    desk.origin.serve("/new", ok());
    desk.configure(&WEBHOOK.replace("ORIGIN/hook", &desk.origin.url("/new")));
    assert_eq!(desk.once().0, 0);
    assert_eq!(posted(&desk.posts("/new")), desk.in_file());
}

#[test]
fn retry_after_is_honoured_across_runs() {
    let desk = Desk::new(WEBHOOK, 1);
    desk.origin.serve("/hook", Response::status(429).header("retry-after", "3600"));
    assert_eq!(desk.once().0, 3);
    desk.origin.serve("/hook", ok());
    let (code, log) = desk.once();
    assert_eq!((code, desk.posts("/hook").len()), (3, 1), "{log}");
    desk.forget_waits();
    assert_eq!(desk.once().0, 0);
    assert_eq!(desk.posts("/hook").len(), 2);
}

#[test]
fn a_daemon_that_is_killed_goes_on_without_a_repeat_in_the_file_and_under_the_same_delivery_ids() {
    let desk = Desk::new(WEBHOOK, 30);
    desk.origin.serve("/hook", ok().delay(Duration::from_millis(30)));
    for posts in [3, 9, 15] {
        let mut child = Program::start(desk.command(&[]));
        wait_until("some were posted", PATIENCE, || desk.posts("/hook").len() >= posts);
        child.0.kill().unwrap();
        child.0.wait().unwrap();
    }
    desk.daemon(|| wait_until("all are there", PATIENCE, || desk.waiting("desk") == (0, 0)));
    let (posts, file) = (desk.posts("/hook"), desk.in_file());
    assert_eq!((file.len(), desk.program.alerted().len()), (30, 30));
    let (mut ids, mut alerts) = (deliveries(&posts), posted(&posts));
    assert!(posts.len() <= 33, "at most the one that was under way is sent again: {}", posts.len());
    // A repeat follows its first sending at once, under the same id.
    ids.dedup();
    alerts.dedup();
    assert_eq!((ids.len(), alerts), (30, file));
}

#[test]
fn chats_and_events_get_their_own_form() {
    let sink = |format: &str| {
        format!("[[sink]]\nname = \"{format}\"\ntype = \"webhook\"\nurl = \"ORIGIN/{format}\"\nformat = \"{format}\"\n")
    };
    let formats = ["cloudevents", "slack", "mattermost", "discord"];
    let desk = Desk::new(&formats.map(sink).concat(), 1);
    formats.iter().for_each(|format| desk.origin.serve(&format!("/{format}"), ok()));
    assert_eq!(desk.once().0, 0);
    let body = |format: &str| serde_json::from_slice::<Value>(&desk.posts(&format!("/{format}"))[0].body).unwrap();
    assert_eq!(body("cloudevents")["data"], desk.program.alerts()[0]);
    let event = &desk.posts("/cloudevents")[0];
    assert!(event.header("content-type").unwrap().starts_with("application/cloudevents+json"));
    for format in ["slack", "mattermost"] {
        assert!(body(format)["text"].as_str().unwrap().contains("ceasefire talks"), "{format}");
    }
    assert!(body("discord")["embeds"][0]["title"].as_str().unwrap().contains("ceasefire talks"));
}

#[test]
fn filters_decide_who_gets_what_and_backfill_is_asked_for() {
    let sink = |name: &str, more: &str| {
        format!("[[sink]]\nname = \"{name}\"\ntype = \"file\"\nfile = \"{name}.jsonl\"\n{more}\n")
    };
    let sinks = [
        sink("all", ""),
        sink("sure", "min_score = 1.0"),
        sink("french", "languages = [\"fr\"]"),
        sink("history", "backfill = true"),
    ];
    let desk = Desk::new(&sinks.concat(), 3);
    assert_eq!(desk.once().0, 0);
    let lines = |name: &str| program::read_alerts(&desk.program.dir.path().join(format!("{name}.jsonl"))).len();
    assert_eq!(["all", "sure", "french", "history"].map(lines), [3, 0, 0, 3]);
    let archive = desk.program.dir.path().join("archive.xml");
    std::fs::write(&archive, rss((100..104).map(|n| (n, talks(n))))).unwrap();
    let mut command = desk.program.command(&["backfill"]);
    command.arg(&archive).arg("--config").arg(desk.program.dir.path().join("demarche.toml"));
    assert!(command.output().unwrap().status.success());
    assert_eq!((desk.in_file().len(), lines("all"), lines("history")), (7, 3, 7));
}

#[test]
fn a_command_gets_the_alert_and_its_exit_status_decides() {
    let command = "[[sink]]\nname = \"pager\"\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"SCRIPT\"]\n";
    let desk = Desk::new("", 3);
    let dir = desk.program.dir.path().display().to_string();
    let script = |script: &str| desk.configure(&command.replace("SCRIPT", script));
    script("echo no line >&2; exit 7");
    let (code, log) = desk.once();
    assert!(code == 3 && log.contains("run the command of sink pager: exit status: 7: no line"), "{log}");
    script(&format!("cat >> {dir}/paged.jsonl; env | grep -c CREDENTIAL >> {dir}/secrets"));
    desk.forget_waits();
    // A secret of ours is none of the command's.
    let (_, log) = desk.once_with(|command| {
        command.env("DEMARCHE_CREDENTIAL_DESK", "me:s3cret");
    });
    // `grep -c` ends with 1 when it finds nothing: the first alert is refused after it was written.
    let secrets = std::fs::read_to_string(format!("{dir}/secrets")).unwrap();
    assert!(secrets.lines().all(|count| count == "0"), "{secrets}: {log}");
    std::fs::remove_file(format!("{dir}/paged.jsonl")).unwrap();
    script(&format!("cat >> {dir}/paged.jsonl"));
    desk.forget_waits();
    assert_eq!(desk.once().0, 0);
    let paged = std::fs::read_to_string(format!("{dir}/paged.jsonl")).unwrap();
    assert_eq!(paged, std::fs::read_to_string(desk.program.alert_file()).unwrap());
}

#[test]
fn a_file_that_cannot_be_made_holds_nobody_up_and_gets_everything_later() {
    let sink = |file: &str| format!("[[sink]]\nname = \"copy\"\ntype = \"file\"\nfile = \"{file}\"\n");
    let desk = Desk::new(&sink("/proc/nowhere/copy.jsonl"), 3);
    let (code, log) = desk.once();
    assert!(code == 3 && log.contains("alert file /proc/nowhere/copy.jsonl"), "{log}");
    assert_eq!(desk.in_file().len(), 3);
    desk.configure(&sink("copy.jsonl"));
    assert_eq!(desk.once().0, 0);
    let copy = std::fs::read_to_string(desk.program.dir.path().join("copy.jsonl")).unwrap();
    assert_eq!(copy, std::fs::read_to_string(desk.program.alert_file()).unwrap());
    desk.configure(&sink("alerts.jsonl"));
    let (code, log) = desk.once();
    assert!(code == 2 && log.contains("use sink copy: another one writes its file"), "{log}");
}

#[test]
fn a_hang_up_reopens_the_file_that_logrotate_has_moved() {
    let desk = Desk::new("", 2);
    let moved = desk.program.dir.path().join("alerts.jsonl.1");
    let mut child = Program::start(desk.command(&[]));
    let lines = |path: &std::path::Path| std::fs::read_to_string(path).unwrap_or_default().lines().count();
    wait_until("both are there", PATIENCE, || lines(&desk.program.alert_file()) == 2);
    std::fs::rename(desk.program.alert_file(), &moved).unwrap();
    signal("HUP", child.0.id());
    wait_until("there is a new file", PATIENCE, || desk.program.alert_file().exists());
    desk.list(3);
    wait_until("the third is there", PATIENCE, || lines(&desk.program.alert_file()) == 1);
    signal("TERM", child.0.id());
    assert_eq!(child.0.wait().unwrap().code(), Some(0));
    assert_eq!(lines(&moved), 2);
}

#[test]
fn everything_that_is_wrong_with_a_sink_is_reported() {
    let desk = Desk::new("[[sink]]\nname = \"desk\"\ntype = \"webhook\"\nurll = \"x\"\n[log]\nlevel = \"x=y=z\"\n", 1);
    let config = desk.program.dir.path().join("demarche.toml");
    let check = |desk: &Desk| {
        let mut command = desk.program.command(&["config", "check"]);
        let output = command.arg("--config").arg(&config).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    let (code, log) = check(&desk);
    assert!(code == Some(2) && log.contains("did you mean `sink.url`?"), "{log}");
    desk.configure("[[sink]]\nname = \"output\"\ntype = \"webhook\"\n");
    let (code, log) = check(&desk);
    assert!(
        code == Some(2) && log.contains("main alert file") && log.contains("either `url` or `url_secret`"),
        "{log}"
    );
}

#[test]
fn a_daemon_ends_with_whoever_read_its_standard_output_and_keeps_what_was_not_taken() {
    use std::io::BufRead;
    let desk = Desk::new("", 2);
    let mut command = desk.command(&["--out", "-"]);
    let log = desk.program.dir.path().join("log");
    command.stdout(std::process::Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = program::Running(command.spawn().unwrap());
    let mut shown = std::io::BufReader::new(child.0.stdout.take().unwrap()).lines().map(Result::unwrap);
    let first: Vec<String> = shown.by_ref().take(2).collect();
    drop(shown);
    desk.list(5);
    wait_until("the daemon has ended", PATIENCE, || child.0.try_wait().unwrap().is_some());
    let log = std::fs::read_to_string(log).unwrap();
    assert_eq!(child.0.wait().unwrap().code(), Some(0), "{log}");
    assert!(log.contains("nobody reads standard output any more"), "{log}");
    let (code, log) = desk.once();
    assert_eq!((code, desk.in_file().len()), (0, 3), "{log}");
    let taken: Vec<Value> = first.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(taken.iter().all(|alert| !desk.in_file().contains(&alert["alert_id"].as_str().unwrap().to_owned())));
}

#[test]
fn a_reader_of_standard_output_that_hangs_does_not_keep_the_daemon_from_stopping() {
    // More than a pipe holds.
    let desk = Desk::new("[run]\ndrain = \"1s\"\n", 150);
    let mut command = desk.command(&["--out", "-"]);
    let log = desk.program.dir.path().join("log");
    command.stdout(std::process::Stdio::piped()).stderr(std::fs::File::create(&log).unwrap());
    let mut child = program::Running(command.spawn().unwrap());
    let said = || std::fs::read_to_string(&log).unwrap();
    wait_until("the alerts are raised", PATIENCE, || said().matches("INFO alert").count() == 150);
    std::thread::sleep(Duration::from_millis(200));
    signal("TERM", child.0.id());
    wait_until("the daemon has ended", PATIENCE, || child.0.try_wait().unwrap().is_some());
    assert_eq!(child.0.wait().unwrap().code(), Some(1), "{}", said());
    assert!(said().contains("still busy: deliver"), "{}", said());
    drop(child);
    let (code, log) = desk.once();
    assert_eq!(code, 0, "{log}");
    assert!(!desk.in_file().is_empty(), "what was not taken is not lost");
}
