//! `demarche backfill`, the real binary on files of every kind.

#[path = "support/history.rs"]
mod history;
#[path = "support/program.rs"]
mod program;

use std::io::Write;
use std::process::Stdio;

use history::{History, answer, gzip, items, read_counts, sums_hold};
use program::{rss, talks, weather};
use serde_json::json;

#[test]
fn jsonl_of_items_gives_alerts_with_their_own_times() {
    let history = History::new();
    history.file("items.txt", items(0..100));
    let (code, counts) = history.all(&[]);
    assert_eq!(
        (code, &counts["new"], &counts["alert"], &counts["delivered"]),
        (0, &json!(100), &json!(10), &json!(10))
    );
    sums_hold(&counts);
    let alert = &history.program.alerts()[1];
    assert_eq!((&alert["origin"], &alert["item"]["published"]), (&json!("backfill"), &json!("2024-05-11T10:00:00Z")));
    assert_eq!((&alert["feed"]["url"], &alert["feed"]["title"]), (&json!("https://outlet.example/"), &json!("Outlet")));
    // All is known now.
    let (code, counts) = history.all(&[]);
    assert_eq!((code, &counts["new"], &counts["duplicate"], &counts["alert"]), (0, &json!(0), &json!(100), &json!(0)));
    sums_hold(&counts);
}

#[test]
fn every_packing_is_opened_whatever_its_name() {
    let history = History::new();
    let mut bz2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bz2.write_all(items(20..30).as_bytes()).unwrap();
    let mut tar = tar::Builder::new(Vec::new());
    for (name, bytes) in [("a.bin", gzip(items(30..40))), ("deep/b", rss([(1, talks(1))]).into_bytes())] {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_cksum();
        tar.append_data(&mut header, name, bytes.as_slice()).unwrap();
    }
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, ids) in [("x", 40..50), ("y", 50..60)] {
        zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(items(ids).as_bytes()).unwrap();
    }
    let zip = zip.finish().unwrap().into_inner();
    history.file("1", [gzip(items(0..5)), gzip(items(5..10))].concat());
    history.file("2", zstd::encode_all(items(10..20).as_bytes(), 1).unwrap());
    history.file("3", bz2.finish().unwrap());
    history.file("4", gzip(tar.into_inner().unwrap()));
    history.file("5", &zip);
    history.file("6", gzip(&zip));
    let (code, counts) = history.all(&[]);
    assert_eq!((code, &counts["new"], &counts["duplicate"]), (0, &json!(61), &json!(20)), "{counts}");
    assert_eq!(history.titles().len(), 7);
    assert!(history.titles().contains(&talks(1)));
}

#[test]
fn tables_exports_lists_and_graphs_are_recognised() {
    let history = History::new();
    let [a, b, c, d, e, f, g, h] = [1, 2, 3, 4, 5, 6, 7, 8].map(talks);
    history
        .file("spreadsheet", format!("\u{feff}sep=;\r\ndate;link;headline\r\n2024-05-01;https://o.example/7;{g}\r\n"));
    // GDELT's lists hold tabs as they are, and escapes that JSON does not have.
    let list = json!({"articles": [{"url": "https://o.example/8", "title": "TITLE", "seendate": "20240501T101500Z"}]})
        .to_string();
    history.file("almost-json", list.replace("TITLE", &format!("{h}:\tministers\\' reply")));
    history.file("semicolons", format!("date;headline;link\n2024-05-01;\"{a}; again\";https://o.example/1\n"));
    history.file("tabs", format!("\u{feff}title\turl\n{b}\thttps://o.example/2\n"));
    history.file(
        "artlist",
        json!({"articles": [{"url": "https://o.example/3", "title": c, "seendate": "20240501T101500Z",
        "domain": "o.example", "language": "English"}]})
        .to_string(),
    );
    let entry = json!({"id": 7, "share_code": "", "url": "https://o.example/4", "title": d, "published_at": "2024-05-01T10:00:00Z",
        "content": "<p>Lead</p>", "feed": {"feed_url": "https://o.example/rss", "title": "O"}});
    history.file("miniflux", serde_json::to_string_pretty(&json!({"total": 1, "entries": [entry]})).unwrap());
    let entry = json!({"id": "tag:google.com,2005:reader/item/1", "title": e, "published": 1714557600,
        "canonical": [{"href": "https://o.example/5"}], "origin": {"streamId": "feed/https://o.example/rss", "title": "O"}});
    history.file("greader", json!({"id": "user/-/state/com.google/starred", "items": [entry]}).to_string());
    let mut cells = vec![String::new(); 27];
    cells[0] = "20240501101500-1".into();
    cells[1] = "20240501101500".into();
    cells[2] = "1".into();
    cells[3] = "o.example".into();
    cells[4] = "https://o.example/6".into();
    cells[26] = format!("<PAGE_LINKS>x</PAGE_LINKS><PAGE_TITLE>{f}</PAGE_TITLE>");
    let titled = cells.join("\t");
    // Many pages that GDELT reads have no title.
    cells[26] = "<PAGE_LINKS>x</PAGE_LINKS>".into();
    history.file("gkg", format!("{titled}\n{}\n", cells.join("\t")));
    let (code, counts) = history.all(&[]);
    assert_eq!(counts["sources"][0]["passed_over"], 1);
    assert_eq!((code, &counts["new"], &counts["alert"]), (0, &json!(8), &json!(8)), "{counts}");
    let alerts = history.program.alerts();
    let feeds: Vec<&str> = alerts.iter().map(|alert| alert["feed"]["url"].as_str().unwrap()).collect();
    let site = "https://o.example/";
    assert_eq!(feeds, [site, site, site, "https://o.example/rss", "https://o.example/rss", site, site, site]);
    assert_eq!(alerts[0]["item"]["title"], format!("{h}: ministers' reply"));
    for alert in alerts.iter().filter(|alert| alert["item"]["title"] != json!(b)) {
        assert!(alert["item"]["published"].as_str().unwrap().starts_with("2024-05-01T"), "{alert}");
    }
}

#[test]
fn web_archives_give_articles() {
    let page = |title: &str| {
        format!(
            "<html><head><title>x</title><script type=\"application/ld+json\">{}</script></head><body>Hi</body></html>",
            json!({"@type": "NewsArticle", "headline": title, "datePublished": "2024-05-01T10:00:00Z", "description": "Lead"})
        )
    };
    let record = |id: usize, body: &str| answer(id, "text/html; charset=utf-8", body);
    let history = History::new();
    let records =
        [record(1, &page(&talks(1))), record(2, "<html><title>Contact</title>"), record(3, &page(&weather(3)))];
    history.file("a.warc.gz", records.iter().flat_map(gzip).collect::<Vec<u8>>());
    let feed = rss([(4, talks(4))]);
    let cut = record(5, &page(&talks(5)));
    history.file("b.warc", record(4, &feed) + &cut[..cut.len() - 30]);
    let (code, counts) = history.all(&[]);
    assert_eq!(
        (code, &counts["new"], &counts["failed"], &counts["documents"]),
        (3, &json!(3), &json!(1), &json!(1)),
        "{counts}"
    );
    assert_eq!(counts["sources"][0]["passed_over"], 1);
    assert_eq!(counts["sources"][0]["reasons"], json!({"cut off": 1}));
    let alert = &history.program.alerts()[0];
    assert_eq!((&alert["item"]["title"], &alert["item"]["url"]), (&json!(talks(1)), &json!("https://o.example/1")));
}

#[test]
fn fields_are_named_and_days_and_items_limited() {
    let history = History::new();
    let line = |id: usize| {
        let text = json!({"doc": {"h": talks(id)}, "u": format!("https://o.example/{id}"), "title": "Section",
            "date": format!("2024-05-{id:02}")});
        format!("{text}\n")
    };
    let path = history.file("items", (1..=20).map(line).collect::<String>());
    let fields = ["--field", "title=doc.h", "--field", "link=u"];
    let days = [&fields[..], &["--since", "2024-05-05", "--until", "2024-05-10", "--limit", "3"]].concat();
    let (code, counts) = history.paths(&[&path], &[&days[..], &["--dry-run"]].concat());
    assert_eq!((code, &counts["alert"]), (0, &json!(3)));
    assert_eq!(history.titles().len(), 0);
    assert_eq!(
        std::fs::read_dir(history.program.dir.path()).unwrap().count(),
        0,
        "a dry run on a new state makes none"
    );
    // Nothing is left of a dry run; a limited one goes on.
    let (code, counts) = history.paths(&[&path], &days);
    assert_eq!((code, &counts["new"], &counts["sources"][0]["done"]), (0, &json!(3), &json!(false)));
    let (code, counts) = history.paths(&[&path], &days[..8]);
    assert_eq!((code, &counts["new"], &counts["duplicate"], &counts["outside"]), (0, &json!(3), &json!(0), &json!(0)));
    let source = &counts["sources"][0];
    assert_eq!((&source["done"], &source["read"], &source["outside"]), (&json!(true), &json!(20), &json!(14)));
    assert_eq!(history.titles(), (5..=10).map(talks).collect::<Vec<_>>());
}

#[test]
fn a_limited_run_goes_on_within_a_file_until_all_is_read() {
    let history = History::new();
    history.file("1", items(0..7) + "no JSON\n");
    history.file("2", items(7..10));
    for (new, read, done) in [(3, 4, false), (3, 7, false), (3, 10, false), (1, 11, true)] {
        let (_, counts) = history.all(&["--limit", "3"]);
        let source = &counts["sources"][0];
        assert_eq!((&counts["new"], &counts["duplicate"]), (&json!(new), &json!(0)), "{counts}");
        assert_eq!((&source["read"], &source["rejected"], &source["done"]), (&json!(read), &json!(1), &json!(done)));
    }
    assert_eq!(history.titles().len(), 1);
}

#[test]
fn rows_that_are_numbered_are_not_taken_for_those_of_the_next_table() {
    let history = History::new();
    let table = |ids: [usize; 2]| {
        let row = |(n, id): (usize, usize)| format!("{n},\"{}\",https://o.example/{id}\n", talks(id));
        format!("id,title,url\n{}", (1..).zip(ids).map(row).collect::<String>())
    };
    history.file("1.csv", table([10, 20]));
    history.file("2.csv", table([30, 20]));
    let (code, counts) = history.all(&[]);
    assert_eq!((code, &counts["new"], &counts["duplicate"]), (0, &json!(3), &json!(1)), "{counts}");
}

#[test]
fn standard_input_and_patterns_are_sources() {
    let history = History::new();
    history.file("a/1.jsonl", items(0..10));
    history.file("a/2.json", items(10..20));
    let pattern = history.files.path().join("**/*.jsonl");
    let (code, counts) = history.paths(&[&pattern], &[]);
    assert_eq!((code, &counts["new"]), (0, &json!(10)));
    let mut child = history
        .program
        .command(&["backfill", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(&gzip(items(5..25))).unwrap();
    let (code, counts) = read_counts(&child.wait_with_output().unwrap());
    assert_eq!((code, &counts["new"], &counts["duplicate"]), (0, &json!(15), &json!(5)));
    let nothing = history.files.path().join("*.none");
    assert_eq!(history.paths(&[&nothing], &[]).0, 1);
    assert_eq!(history.run(&["/nowhere/at.all"]).status.code(), Some(2));
}

#[test]
fn alerts_come_by_time_where_that_is_asked_and_a_page_shows_them() {
    let history = History::new();
    history.file("a.jsonl", items(0..300));
    let (page, out) = (history.files.path().join("../page.html"), history.program.dir.path().join("sorted.jsonl"));
    let page = std::path::absolute(history.program.dir.path().join(page.file_name().unwrap())).unwrap();
    let flags = ["--sort", "--report", page.to_str().unwrap(), "--out", out.to_str().unwrap()];
    let (code, counts) = history.all(&flags);
    assert_eq!((code, &counts["delivered"]), (0, &json!(30)));
    let alerts = program::read_alerts(&out);
    let times: Vec<&str> = alerts.iter().map(|alert| alert["item"]["published"].as_str().unwrap()).collect();
    assert!(times.len() == 30 && times.is_sorted(), "{times:?}");
    let page = std::fs::read_to_string(page).unwrap();
    assert!(page.contains("<b>30</b> alerts among 300 items from 2024-05-"), "{page}");
    assert!(page.contains("Outlet") && !page.contains("<script"));
}
