//! `demarche backfill` on sources of the web, the real binary against a scripted origin.

#[path = "support/program.rs"]
mod program;
mod support;

use std::io::Write;
use std::time::Duration;

use program::{Program, rss, talks};
use serde_json::{Value, json};
use support::{Origin, Response};

/// The command on these sources, loopback allowed, without a gap between requests.
fn command(program: &Program, args: &[&str]) -> std::process::Command {
    let mut command = program.command(&["backfill", "--json"]);
    command.args(args).args(["--allow-net", "127.0.0.0/8"]).env("DEMARCHE_SCHEDULE__HOST_GAP", "0s");
    command
}

fn backfill(program: &Program, flags: &[&str], sources: &[&str], env: &[(&str, &str)]) -> (i32, Value, String) {
    let output = command(program, &[sources, flags].concat()).envs(env.iter().copied()).output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let counts = serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {log}"));
    (output.status.code().unwrap(), counts, log)
}

fn feed(ids: impl IntoIterator<Item = usize>) -> Response {
    Response::feed(rss(ids.into_iter().map(|id| (id, talks(id)))))
}

/// RSS that names an older document.
fn linked(ids: impl IntoIterator<Item = usize>, rel: &str, older: &str) -> Response {
    let link =
        format!("<channel><atom:link xmlns:atom=\"http://www.w3.org/2005/Atom\" rel=\"{rel}\" href=\"{older}\"/>");
    let text = rss(ids.into_iter().map(|id| (id, talks(id))));
    Response::feed(text.replacen("<channel>", &link, 1))
}

fn asked(origin: &Origin) -> Vec<String> {
    origin.all_requests().iter().map(|request| request.path.clone()).collect()
}

#[test]
fn archives_are_followed_and_their_items_are_the_feeds_own() {
    let origin = Origin::start();
    origin.serve("/feed", linked([5, 6], "prev-archive", &origin.url("/2")));
    origin.serve("/2", linked([3, 4], "prev-archive", "/1"));
    origin.serve("/1", feed([1, 2]));
    let program = Program::new();
    let url = origin.url("/feed");
    let (code, counts, _) = backfill(&program, &[], &[&url], &[]);
    assert_eq!(
        (code, &counts["new"], asked(&origin)),
        (0, &json!(6), ["/feed", "/2", "/1"].map(String::from).to_vec())
    );
    assert!(program.alerts().iter().all(|alert| alert["feed"]["url"] == url));
    // What was polled live is known in history.
    let live = Program::new();
    live.once(std::slice::from_ref(&url), &[]);
    let (_, counts, _) = backfill(&live, &[], &[&url], &[]);
    assert_eq!((&counts["new"], &counts["duplicate"]), (&json!(4), &json!(2)));
}

#[test]
fn pages_end_where_nothing_is_new_where_there_are_none_and_at_the_cap() {
    let origin = Origin::start();
    origin.serve("/plain", feed([1, 2]));
    origin.serve("/plain?page=2", feed([3]));
    origin.serve("/plain?page=3", feed([3]));
    let generator = "<channel><generator>https://wordpress.org/?v=6.5</generator>";
    let wordpress = rss([(11, talks(11))]).replacen("<channel>", generator, 1);
    origin.serve("/wp", Response::feed(wordpress));
    origin.serve("/wp?paged=2", feed([12]));
    origin.serve("/wp?paged=3", Response::status(404));
    origin.serve("/endless", feed([100]));
    for page in 2..10 {
        origin.serve(&format!("/endless?page={page}"), feed([100 + page]));
    }
    let program = Program::new();
    let urls = ["/plain", "/wp", "/endless"].map(|path| origin.url(path));
    let sources = urls.each_ref().map(String::as_str);
    let (code, counts, log) = backfill(&program, &[], &sources, &[("DEMARCHE_BACKFILL__MAX_PAGES", "5")]);
    assert_eq!((code, &counts["new"]), (3, &json!(3 + 2 + 5)), "{log}");
    assert_eq!(counts["sources"][2]["reasons"], json!({"too many pages": 1}));
    assert!(log.contains("too many pages (5 pages, the cap of [backfill] max_pages)"), "{log}");
    assert_eq!(asked(&origin).iter().filter(|path| path.starts_with("/wp")).count(), 3);
    // No pages but those that are named.
    let before = origin.all_requests().len();
    backfill(&Program::new(), &["--pages", "none"], &sources, &[]);
    assert_eq!(origin.all_requests().len() - before, 3);
}

#[test]
fn sitemaps_and_lists_of_feeds_are_sources() {
    let origin = Origin::start();
    let entry = |id: usize| {
        format!(
            "<url><loc>https://o.example/{id}</loc><news:news><news:publication_date>2024-05-0{id}</news:publication_date>\
             <news:title>{}</news:title></news:news></url>",
            talks(id)
        )
    };
    let index = format!(
        "<sitemapindex><sitemap><loc>{}</loc><lastmod>2020-01-01</lastmod></sitemap><sitemap><loc>{}</loc></sitemap></sitemapindex>",
        origin.url("/old.xml"),
        origin.url("/news.xml.gz")
    );
    origin.serve("/index.xml", Response::status(200).body(index));
    let urlset = format!("<urlset xmlns:news=\"n\">{}{}</urlset>", entry(1), entry(2));
    // A gzip file, not a packed answer.
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(urlset.as_bytes()).unwrap();
    origin.serve("/news.xml.gz", Response::status(200).body(encoder.finish().unwrap()));
    let program = Program::new();
    let (code, counts, log) = backfill(&program, &["--since", "2024-05-01"], &[&origin.url("/index.xml")], &[]);
    assert_eq!((code, &counts["new"], asked(&origin).len()), (0, &json!(2), 2), "{log}");
    assert_eq!(program.alerts()[0]["item"]["published"], "2024-05-01T00:00:00Z");
    origin.serve("/a", feed([11]));
    origin.serve("/b", Response::status(404));
    origin.serve("/c", feed([13]));
    let outlines: String =
        ["/a", "/b", "/c"].map(|path| format!("<outline xmlUrl=\"{}\"/>", origin.url(path))).concat();
    let list = program.dir.path().join("feeds.opml");
    std::fs::write(&list, format!("<opml version=\"2.0\"><body>{outlines}</body></opml>")).unwrap();
    let (code, counts, log) = backfill(&program, &["--pages", "none"], &[list.to_str().unwrap()], &[]);
    assert_eq!((code, &counts["new"], &counts["failed"]), (3, &json!(2), &json!(1)), "{log}");
}

#[test]
fn snapshots_are_read_once_each_with_their_times() {
    let origin = Origin::start();
    let feed_url = "https://o.example/rss";
    let rows = json!([
        ["timestamp", "original", "digest"],
        ["20240501000000", feed_url, "A"],
        ["20240502000000", feed_url, "A"],
        ["20240503000000", feed_url, "B"]
    ]);
    let list = "/cdx/search/cdx?url=https%3A%2F%2Fo.example%2Frss&output=json&fl=timestamp%2Coriginal%2Cdigest\
                &filter=statuscode%3A200&collapse=digest&limit=500&showResumeKey=true";
    origin.serve(list, Response::status(200).body(rows.to_string()));
    let undated = |id: usize| Response::feed(rss([(id, talks(id))]).replace("pubDate", "x"));
    origin.serve("/web/20240501000000id_/https://o.example/rss", undated(1));
    origin.serve("/web/20240503000000id_/https://o.example/rss", undated(2));
    let program = Program::new();
    let server = origin.url("");
    let (code, counts, log) =
        backfill(&program, &["--wayback"], &[feed_url], &[("DEMARCHE_BACKFILL__WAYBACK", server.as_str())]);
    assert_eq!((code, &counts["new"], asked(&origin).len()), (0, &json!(2), 3), "{log}");
    let alerts = program.alerts();
    let seen: Vec<(&Value, &Value, &Value)> = alerts
        .iter()
        .map(|alert| (&alert["feed"]["url"], &alert["item"]["published"], &alert["item"]["published_source"]))
        .collect();
    let expected = [("2024-05-01T00:00:00Z"), ("2024-05-03T00:00:00Z")]
        .map(|at| (json!(feed_url), json!(at), json!("first_seen")));
    assert_eq!(seen, expected.each_ref().map(|(url, at, source)| (url, at, source)));
}

#[test]
fn rests_are_kept_and_what_cannot_be_had_now_is_asked_for_next_time() {
    let origin = Origin::start();
    origin.script("/busy", [Response::status(429).header("retry-after", "1"), feed([1])]);
    origin.script("/long", [Response::status(503).header("retry-after", "9000"), feed([2])]);
    let program = Program::new();
    let urls = ["/busy", "/long"].map(|path| origin.url(path));
    let sources = urls.each_ref().map(String::as_str);
    let (code, counts, log) = backfill(&program, &["--pages", "none"], &sources, &[]);
    assert_eq!((code, &counts["new"], &counts["failed"]), (3, &json!(1), &json!(1)), "{log}");
    let seen = origin.all_requests();
    assert!(seen[1].at - seen[0].at >= Duration::from_secs(1));
    assert_eq!(counts["sources"][1]["done"], false);
    let (_, counts, log) = backfill(&program, &["--pages", "none"], &sources, &[]);
    assert_eq!((&counts["new"], origin.all_requests().len()), (&json!(1), 4), "{log}");
    assert_eq!(counts["sources"][1]["done"], true);
    // Nothing that is not public is reached.
    let mut refused = program.command(&["backfill", "--json", &urls[0]]);
    assert_eq!(refused.output().unwrap().status.code(), Some(1));
    assert_eq!(origin.all_requests().len(), 4);
}

#[test]
fn what_servers_get_wrong_costs_its_own_document() {
    let origin = Origin::start();
    let body = rss([(1, talks(1))]);
    // It promises more than it sends, and less.
    let short = body.len() + 1_000;
    origin.serve("/short", Response::feed(body.clone()).claimed_length(short));
    origin.serve("/long", Response::feed(body.clone()).claimed_length(body.len() - 40));
    origin.serve("/endless", Response::feed(body).endless());
    origin.serve("/page", Response::status(200).body("<html><title>Not here</title></html>"));
    origin.serve("/circle", Response::redirect(302, "/circle"));
    origin.serve("/good", feed([7]));
    let program = Program::new();
    let urls = ["/short", "/long", "/endless", "/page", "/circle", "/good"].map(|path| origin.url(path));
    let sources = urls.each_ref().map(String::as_str);
    let env = [("DEMARCHE_FETCH__MAX_BODY", "200kB")];
    let (code, counts, log) = backfill(&program, &["--pages", "none"], &sources, &env);
    assert_eq!(code, 3, "{log}");
    let titles: Vec<String> =
        program.alerts().iter().map(|alert| alert["item"]["title"].as_str().unwrap().into()).collect();
    assert!(titles.contains(&talks(7)), "{log}");
    for (place, path) in [(0, "/short"), (2, "/endless"), (3, "/page"), (4, "/circle")] {
        let source = &counts["sources"][place];
        assert_eq!((&source["failed"], &source["new"]), (&json!(1), &json!(0)), "{path}: {log}");
        assert!(log.lines().any(|line| line.contains(&format!("{path}: not "))), "{path}: {log}");
    }
    // A body that was cut off is asked for again.
    assert_eq!(counts["sources"][0]["done"], false);
    let (_, counts, log) = backfill(&program, &["--pages", "none"], &sources, &env);
    assert_eq!((&counts["sources"][0]["failed"], origin.requests("/short").len()), (&json!(2), 2), "{log}");
}

#[test]
fn lists_of_sitemaps_that_name_each_other_end_at_the_cap() {
    let origin = Origin::start();
    for n in 0..40 {
        let children: String = (0..40)
            .map(|child| format!("<sitemap><loc>{}</loc></sitemap>", origin.url(&format!("/{child}"))))
            .collect();
        origin.serve(&format!("/{n}"), Response::status(200).body(format!("<sitemapindex>{children}</sitemapindex>")));
    }
    let program = Program::new();
    let (code, counts, log) = backfill(&program, &[], &[&origin.url("/0")], &[("DEMARCHE_BACKFILL__MAX_PAGES", "25")]);
    // Nothing came of it at all.
    assert_eq!((code, origin.all_requests().len()), (1, 25), "{log}");
    assert_eq!(counts["sources"][0]["reasons"], json!({"too many pages": 1}));
}

#[test]
fn a_run_over_the_web_and_files_that_is_killed_ends_as_one_that_is_not() {
    let origin = Origin::start();
    for page in 1..=30 {
        let older = origin.url(&format!("/{}", page + 1));
        origin.serve(&format!("/{page}"), linked([page, 500 + page / 2], "prev-archive", &older));
        let numbered = if page == 1 { "/plain".into() } else { format!("/plain?page={page}") };
        origin.serve(&numbered, feed([100 + page, page / 2]));
    }
    origin.serve("/31", feed([31]));
    let files = tempfile::tempdir().unwrap();
    let zip = files.path().join("a.zip");
    let mut archive = zip::ZipWriter::new(std::fs::File::create(&zip).unwrap());
    for n in 0..30 {
        archive.start_file(format!("{n}"), zip::write::SimpleFileOptions::default()).unwrap();
        let items = rss((0..20).map(|id| (n * 15 + id, talks(n * 15 + id))));
        archive.write_all(if n % 10 == 3 { b"noise" } else { items.as_bytes() }).unwrap();
    }
    archive.finish().unwrap();
    let sources = [origin.url("/1"), zip.display().to_string(), origin.url("/plain")];
    let sources = sources.each_ref().map(String::as_str);
    let outcome = |program: &Program| {
        let mut alerts = program.alerts();
        alerts.iter_mut().for_each(|alert| drop(alert.as_object_mut().unwrap().remove("emitted_at")));
        alerts
    };
    let env = [("DEMARCHE_BACKFILL__GROUP", "40")];
    let whole = Program::new();
    let (code, expected, log) = backfill(&whole, &[], &sources, &env);
    assert_eq!(code, 3, "{log}");
    assert!(whole.alerts().len() > 400);
    let asked = origin.all_requests().len();

    let program = Program::new();
    // Moments that have nothing to do with each other: some before the first page, some in the middle of the archive.
    let moments = [330, 610, 450, 720, 380, 900, 540, 660];
    let (mut kills, mut through) = (0, None);
    for moment in moments {
        let mut child = {
            let mut command = command(&program, &sources);
            command.envs(env);
            program.spawn_piped(command)
        };
        std::thread::sleep(Duration::from_millis(moment));
        if child.try_wait().unwrap().is_some() {
            through = Some(child.wait_with_output().unwrap());
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        kills += 1;
    }
    // One that came to its end has said what it read; another would begin anew.
    let (counts, log) = match through {
        Some(output) => (serde_json::from_slice(&output.stdout).unwrap(), String::new()),
        None => {
            let (_, counts, log) = backfill(&program, &[], &sources, &env);
            (counts, log)
        }
    };
    assert!(kills >= 2, "it was through after {kills} kills");
    assert!(outcome(&program) == outcome(&whole), "{log}");
    assert_eq!(counts["sources"], expected["sources"]);
    // At each kill a page under way is asked for again, and those whose batch was not yet taken in.
    let again = origin.all_requests().len() - 2 * asked;
    assert!(again <= kills * 30, "{again} requests more after {kills} kills");
}
