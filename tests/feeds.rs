//! `demarche feeds`, as a user runs it: health, OPML, check and discover, against a scripted origin.

#[path = "support/program.rs"]
mod program;
mod support;

use std::collections::BTreeSet;
use std::process::Output;

use program::{Program, rss, weather};
use serde_json::Value;
use support::{Origin, Response};

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn lines(output: &Output) -> Vec<Value> {
    text(output).lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn outlet(items: usize) -> String {
    rss((0..items).map(|n| (n, weather(n))))
}

fn feeds(program: &Program, args: &[&str]) -> Output {
    let mut command = program.command(&[&["feeds"], args].concat());
    command.env("DEMARCHE_FETCH__ALLOW_NET", "[\"127.0.0.0/8\"]").env("DEMARCHE_SCHEDULE__HOST_GAP", "0s");
    command.env("DEMARCHE_SCHEDULE__MANUAL_COOLDOWN", "0s").output().unwrap()
}

#[test]
fn the_list_shows_health_in_the_table_and_as_json() {
    let origin = Origin::start();
    origin.serve("/good", Response::feed(outlet(4)).etag("\"1\""));
    origin.serve("/shut", Response::status(403));
    origin.serve("/over", Response::status(410));
    let program = Program::new();
    program.once(&["/good", "/shut", "/over"].map(|path| origin.url(path)), &[]);
    program.once(&["/good", "/shut", "/over"].map(|path| origin.url(path)), &[]);
    assert!(feeds(&program, &["add", &origin.url("/new"), "--tag", "agency"]).status.success());

    let listed = lines(&feeds(&program, &["list", "--json"]));
    let of = |path: &str| listed.iter().find(|feed| feed["url"] == origin.url(path).as_str()).unwrap();
    let good = of("/good");
    assert_eq!(
        (good["items"].as_u64(), good["error_class"].as_str(), good["last_status"].as_u64()),
        (Some(4), None, Some(304))
    );
    for key in ["last_success", "next_poll", "last_poll"] {
        assert!(good[key].as_str().unwrap().ends_with('Z'), "{key}: {good}");
    }
    assert!(good["items_a_day"].is_f64() && good["silent_zero"] == false && good["stale"] == false, "{good}");
    assert_eq!(good["identity"], "guid");
    let shut = of("/shut");
    assert_eq!((shut["error_class"].as_str(), shut["errors_in_row"].as_u64()), (Some("auth"), Some(2)));
    assert!(shut["error"].as_str().unwrap().contains("403") && shut["last_success"].is_null(), "{shut}");
    assert_eq!(of("/new")["tags"], serde_json::json!(["agency"]));

    let table = text(&feeds(&program, &["list"]));
    let heading = table.lines().next().unwrap();
    for column in ["state", "flags", "items", "a day", "last success", "next poll", "told by", "last error"] {
        assert!(heading.contains(column), "{column}: {heading}");
    }
    let row = |path: &str| table.lines().find(|line| line.contains(&origin.url(path))).unwrap();
    assert!(row("/good").starts_with("ok") && row("/new").starts_with("new"), "{table}");
    assert!(row("/shut").starts_with("auth ×2") && row("/shut").contains("status 403"), "{table}");
    assert!(row("/over").starts_with("ended"), "{table}");
}

#[test]
fn an_import_reports_what_it_skipped_and_an_export_brings_back_the_same_list() {
    let program = Program::new();
    let list = program.dir.path().join("list.opml");
    let opml = r#"<opml version="2.0"><head/><body>
        <outline text="Europe"><outline text="Wires">
            <outline type="rss" text="A &amp; B" xmlUrl="https://a.example/feed?x=1&amp;y=2"/>
        </outline></outline>
        <outline text="Again"><outline text="A &amp; B" xmlUrl="https://a.example/feed?x=1&amp;y=2#top"/></outline>
        <outline text="Old" xmlUrl="gopher://old.example/"/>
        <outline text="Secret" xmlUrl="ftp://me:s3cret@files.example/"/>
        <outline text="Plain" xmlUrl="https://plain.example/"/>
    </body></opml>"#;
    std::fs::write(&list, opml).unwrap();
    let report = text(&feeds(&program, &["import", list.to_str().unwrap()]));
    assert!(report.starts_with("2 added, 0 known already, 3 skipped\n"), "{report}");
    assert!(report.contains("skipped Old: `gopher://old.example/` is not an http(s) address"), "{report}");
    assert!(report.contains("is listed twice") && !report.contains("s3cret"), "{report}");

    let exported = program.dir.path().join("out.opml");
    std::fs::write(&exported, text(&feeds(&program, &["export"]))).unwrap();
    let other = Program::new();
    assert!(
        text(&feeds(&other, &["import", exported.to_str().unwrap()]))
            .starts_with("2 added, 0 known already, 0 skipped")
    );
    let known = |program: &Program| -> BTreeSet<String> {
        let shown = lines(&feeds(program, &["list", "--json"]));
        shown.iter().map(|feed| format!("{} {} {}", feed["url"], feed["title"], feed["tags"])).collect()
    };
    assert_eq!(known(&program), known(&other));
    assert!(known(&other).iter().any(|feed| feed.contains(r#"["Europe","Wires","Again"]"#)), "{:?}", known(&other));
}

#[test]
fn a_check_reports_what_is_there_and_stores_no_item() {
    let origin = Origin::start();
    let document = outlet(3).replace("<title>Outlet", "<ttl>300</ttl><title>Outlet");
    origin.serve("/good", Response::feed(document).etag("\"1\"").header("cache-control", "max-age=600"));
    origin
        .serve("/page", Response::status(200).header("content-type", "text/html").body("<html><body>x</body></html>"));
    let program = Program::new();
    let output = feeds(&program, &["check", "--json", &origin.url("/good"), &origin.url("/page")]);
    assert_eq!(output.status.code(), Some(3));
    let found = lines(&output);
    let good = found.iter().find(|finding| finding["status"] == 200 && finding["entries"] == 3).unwrap();
    assert_eq!((&good["format"], &good["validators"]), (&Value::from("rss2"), &Value::from(true)));
    assert_eq!((&good["declared_s"]["ttl"], &good["declared_s"]["cache"]), (&Value::from(18_000), &Value::from(600)));
    assert_eq!((&good["interval_s"], &good["why"]), (&Value::from(18_000), &Value::from("ttl")));
    assert!(good["newest"].is_string(), "{good}");
    let page = found.iter().find(|finding| finding["entries"].is_null()).unwrap();
    assert!(!page["problems"].as_array().unwrap().is_empty(), "{page}");
    let table = text(&feeds(&program, &["check", &origin.url("/good")]));
    assert!(table.contains("ttl 5h") && table.contains("polled every"), "{table}");
    assert!(lines(&feeds(&program, &["list", "--json"])).is_empty());
}

#[test]
fn discovery_reads_the_page_first_and_tries_the_usual_places_after() {
    let origin = Origin::start();
    let page = |head: &str| {
        Response::status(200)
            .header("content-type", "text/html")
            .body(format!("<html><head>{head}</head><body/></html>"))
    };
    let link = r#"<link rel="alternate" type="application/atom+xml" title="World" href="/news/world.atom">"#;
    origin.serve("/named", page(link));
    origin.serve("/bare", page(""));
    origin.serve("/rss.xml", Response::feed(outlet(1)));
    let program = Program::new();
    let named = lines(&feeds(&program, &["discover", "--json", &origin.url("/named")]));
    assert_eq!(named, [serde_json::json!({"url": origin.url("/news/world.atom"), "title": "World"})]);
    let usual = lines(&feeds(&program, &["discover", "--json", &origin.url("/bare")]));
    assert_eq!(usual, [serde_json::json!({"url": origin.url("/rss.xml"), "title": "Outlet"})]);
    let itself = lines(&feeds(&program, &["discover", "--json", &origin.url("/rss.xml")]));
    assert_eq!(itself[0]["url"], origin.url("/rss.xml"));
    origin.serve("/rss.xml", Response::status(404));
    assert_eq!(feeds(&program, &["discover", &origin.url("/bare")]).status.code(), Some(1));
}
