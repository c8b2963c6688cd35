//! `demarche backfill` on files that are broken, hostile or not there: the real binary, a clear line each, and the rest goes on.

#[path = "support/history.rs"]
mod history;
#[path = "support/program.rs"]
mod program;

use std::io::Write;
use std::path::Path;

use history::{History, answer, gzip, item, items, read_counts, sums_hold};
use program::{rss, talks};
use serde_json::{Value, json};

#[test]
fn bad_input_is_named_and_the_rest_goes_on() {
    let history = History::new();
    let good = |id: usize| item(id * 10);
    history.file("01-truncated", &gzip(items(0..2_000))[..2_000]);
    history.file(
        "02-lines",
        [good(1).as_bytes(), b"{\"title\": \n", &[b'x'; 2_000_000][..], b"\n[1]\n", good(2).as_bytes()].concat(),
    );
    history.file(
        "03-latin1",
        [b"{\"title\": \"Gespr\xe4che: ", talks(3).as_bytes(), b"\", \"url\": \"https://o.example/l\"}\n"].concat(),
    );
    let table =
        format!("url,title\nhttps://o.example/t1,\"{}\nhttps://o.example/t2,\"{}\"\nonly one\n", talks(4), talks(5));
    history.file("04-quotes", table);
    history.file("05-empty", "");
    history.file("06-page.xml", "<html><title>Just a page</title></html>");
    history.file("07-cut.json", format!("{{\"items\": [{}, {{\"title\": ", good(6).trim()));
    history.file("08-noise", "\0\u{1}\u{2}binary");
    history.file("09-unfinished.gz", b"\x1f\x8b\x08");
    history.file("10-good", good(7));
    let rejects = history.program.dir.path().join("rejects.jsonl");
    let mut command = history.program.command(&["backfill", "--json", "--rejects", rejects.to_str().unwrap()]);
    command.arg(history.files.path()).env("DEMARCHE_BACKFILL__MAX_RECORD", "1MB");
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let (code, counts) = read_counts(&output);
    sums_hold(&counts);
    assert_eq!(code, 3);
    let titles = history.titles();
    for id in [10, 20, 60, 70] {
        assert!(titles.contains(&talks(id)), "{id}: {titles:?}");
    }
    assert!(titles.contains(&format!("Gespräche: {}", talks(3))), "{titles:?}");
    assert!(titles.contains(&talks(5)));
    let lines = std::fs::read_to_string(&rejects).unwrap();
    let rejects: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found: Vec<(String, &str, Option<u64>)> = rejects
        .iter()
        .map(|reject| {
            let file = Path::new(reject["file"].as_str().unwrap()).file_name().unwrap().to_string_lossy();
            (file[..2].to_owned(), reject["reason"].as_str().unwrap(), reject["record"].as_u64())
        })
        .collect();
    let expected = [
        ("01", "cut off", None),
        ("02", "broken JSON", Some(2)),
        ("02", "too long", Some(3)),
        ("02", "broken JSON", Some(4)),
        ("04", "broken quotes", Some(2)),
        ("04", "broken row", Some(4)),
        ("05", "empty", None),
        ("07", "cut off", Some(2)),
        ("08", "not a feed", None),
        ("09", "cut off", None),
    ];
    assert_eq!(found, expected.map(|(file, reason, record)| (file.to_owned(), reason, record)));
    assert_eq!(rejects[2]["byte"], good(1).len() + "{\"title\": \n".len());
    for reject in &rejects {
        assert!(log.contains(reject["reason"].as_str().unwrap()), "{reject} is not in {log}");
    }
}

#[test]
fn bombs_and_forbidden_files_end_at_their_place() {
    let history = History::new();
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        bomb.write_all(&vec![b'\n'; 1 << 20]).unwrap();
    }
    history.file("1-bomb", bomb.finish().unwrap());
    history.file("2-good", item(10));
    let nested = (0..7).fold(item(20).into_bytes(), |inner, _| gzip(inner));
    history.file("3-nested", nested);
    let (code, counts) = history.all(&[]);
    assert_eq!((code, &counts["alert"]), (3, &json!(1)));
    assert_eq!(counts["sources"][0]["reasons"], json!({"packed too deep": 1, "zip bomb": 1}));
}

/// A zip archive of members that share their bytes: a hundred members of `size` zeros, packed once.
fn overlapping(size: usize) -> Vec<u8> {
    let mut deflater = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
    deflater.write_all(&vec![0; size]).unwrap();
    let packed = deflater.finish().unwrap();
    let mut crc = flate2::Crc::new();
    crc.update(&vec![0; size]);
    let numbers = |numbers: &[(u32, usize)]| -> Vec<u8> {
        numbers.iter().flat_map(|(number, width)| number.to_le_bytes()[..*width].to_vec()).collect()
    };
    let fixed = [(20, 2), (0, 2), (8, 2), (0, 4), (crc.sum(), 4), (packed.len() as u32, 4), (size as u32, 4), (2, 2)];
    let mut zip = [b"PK\x03\x04".to_vec(), numbers(&fixed), numbers(&[(0, 2)]), b"00".to_vec(), packed].concat();
    let (start, members) = (zip.len() as u32, 100);
    for n in 0..members {
        let member = [b"PK\x01\x02".to_vec(), numbers(&[(20, 2)]), numbers(&fixed)].concat();
        zip.extend(
            [member, numbers(&[(0, 2), (0, 2), (0, 2), (0, 2), (0, 4), (0, 4)]), format!("{n:02}").into_bytes()]
                .concat(),
        );
    }
    let length = zip.len() as u32 - start;
    zip.extend(b"PK\x05\x06");
    zip.extend(numbers(&[(0, 4), (members, 2), (members, 2), (length, 4), (start, 4), (0, 2)]));
    zip
}

#[test]
fn archives_end_at_their_size_and_at_their_ratio_however_it_is_hidden() {
    let history = History::new();
    // A member is too small to be called a bomb, but a hundred of them are one.
    history.file("1-shared.zip", overlapping(4 << 20));
    history.file("2-good", item(10));
    let (code, counts) = history.all(&[]);
    let reasons = &counts["sources"][0]["reasons"];
    assert_eq!((code, &counts["alert"], &reasons["zip bomb"]), (3, &json!(1), &json!(1)), "{counts}");

    let history = History::new();
    history.file("1-large.gz", gzip(items(0..20_000)));
    history.file("2-good", item(10));
    let mut command = history.program.command(&["backfill", "--json"]);
    command.arg(history.files.path()).env("DEMARCHE_BACKFILL__MAX_UNPACKED", "500kB");
    let output = command.output().unwrap();
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    let (code, counts) = read_counts(&output);
    assert_eq!((code, &counts["failed"]), (3, &json!(1)), "{log}");
    assert!(log.contains("1-large.gz: zip bomb (unpacks beyond [backfill] max_unpacked"), "{log}");
    assert!(history.titles().contains(&talks(10)));
}

#[test]
fn packed_files_within_an_archive_are_no_bombs_for_being_large() {
    // 80 MiB of items: far more than is read of the archive when its list of members is.
    let text: String = items(0..100) + &(" ".repeat(1_000) + "\n").repeat(80_000);
    let noise: Vec<u8> =
        (0_u64..60_000).flat_map(|n| blake3::hash(&n.to_le_bytes()).as_bytes()[..8].to_vec()).collect();
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    zip.start_file("a.gz", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(&gzip([text.as_bytes(), &noise].concat())).unwrap();
    let history = History::new();
    let path = history.file("a.zip", zip.finish().unwrap().into_inner());
    let (_, counts) = history.all(&[]);
    assert_eq!((&counts["new"], &counts["sources"][0]["reasons"]["zip bomb"]), (&json!(100), &Value::Null), "{counts}");
    let packed = std::fs::metadata(path).unwrap().len();
    let read = counts["sources"][0]["bytes"].as_u64().unwrap();
    assert!(read <= packed && read > packed * 9 / 10, "{read} of {packed} bytes");
}

/// A file of `head`, `megabytes` in which no line ends, and `tail`; it takes no room on the disk.
fn long_line(history: &History, name: &str, megabytes: u64, head: &str, tail: &str) {
    use std::io::{Seek, SeekFrom};
    let path = history.file(name, head);
    let mut file = std::fs::File::options().write(true).open(path).unwrap();
    file.seek(SeekFrom::Start(head.len() as u64 + megabytes * 1_000_000)).unwrap();
    file.write_all(tail.as_bytes()).unwrap();
}

#[test]
fn a_line_of_a_gigabyte_is_passed_over_without_being_held() {
    let history = History::new();
    let good = |id: usize| item(id * 10);
    long_line(&history, "1.jsonl", 1_000, &good(1), &format!("\n{}", good(2)));
    long_line(&history, "2.csv", 400, "url,title\n", &format!("\nhttps://o.example/t,\"{}\"\n", talks(3)));
    long_line(&history, "3.xml", 400, "<rss><channel><title>", "</title></channel></rss>");
    let record = |body: &str, length: usize| {
        format!(
            "WARC/1.0\r\nWARC-Type: response\r\nWARC-Target-URI: https://o.example/w\r\nContent-Length: {length}\r\n\r\n{body}"
        )
    };
    let feed = format!("<rss><channel><item><title>{}</title></item></channel></rss>", talks(4));
    long_line(
        &history,
        "4.warc",
        400,
        &record("", 400_000_000),
        &format!("\r\n\r\n{}\r\n\r\n", record(&feed, feed.len())),
    );
    history.file("5", good(5));
    let (code, counts) = history.all(&[]);
    let mut titles = history.titles();
    titles.sort();
    assert_eq!(
        (code, titles),
        (3, [10, 20, 3, 4, 50].map(talks).into_iter().collect::<std::collections::BTreeSet<_>>().into_iter().collect())
    );
    let reasons = json!({"too long": 3, "broken record": 1});
    assert_eq!(counts["sources"][0]["reasons"], reasons);
    assert!(history::peak_of_all() < 350_000_000, "{} bytes were held", history::peak_of_all());
}

#[test]
fn what_cannot_be_read_is_named_and_nothing_waits_for_it() {
    let history = History::new();
    let at = |name: &str| history.files.path().join(name);
    history.file("1-good", item(10));
    std::os::unix::fs::symlink("/nowhere/at.all", at("2-dangling")).unwrap();
    // A file that opens, and fails when it is read.
    std::os::unix::fs::symlink("/proc/self/mem", at("3-failing")).unwrap();
    nix::unistd::mkfifo(&at("4-pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    std::os::unix::fs::symlink("/dev/zero", at("5-endless")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(at("6-socket")).unwrap();
    std::os::unix::fs::symlink(history.files.path(), at("7-circle")).unwrap();
    history.file("8-forbidden/good", item(20));
    history.file("9-good", item(30));
    let forbid =
        |mode| std::fs::set_permissions(at("8-forbidden"), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
    forbid(0);
    // Who may read everything may read this too.
    let may = std::fs::read_dir(at("8-forbidden")).is_ok();
    let output = history.run(&[history.files.path().to_str().unwrap()]);
    forbid(0o700);
    let (code, counts) = read_counts(&output);
    let log = String::from_utf8_lossy(&output.stderr);
    let failed = if may { 5 } else { 6 };
    assert_eq!((code, &counts["sources"][0]["reasons"]), (3, &json!({"unreadable": failed})), "{log}");
    for name in ["2-dangling", "3-failing", "4-pipe", "5-endless", "6-socket"] {
        assert!(log.contains(&format!("{name}: unreadable (")), "{name}: {log}");
    }
    assert_eq!(counts["alert"], if may { 3 } else { 2 });
}

#[test]
fn a_pipe_that_is_named_is_read() {
    let history = History::new();
    let pipe = history.files.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let (to, mut zip) = (pipe.clone(), zip::ZipWriter::new(std::io::Cursor::new(Vec::new())));
    zip.start_file("x", zip::write::SimpleFileOptions::default()).unwrap();
    zip.write_all(items(0..20).as_bytes()).unwrap();
    let bytes = zip.finish().unwrap().into_inner();
    let writer = std::thread::spawn(move || std::fs::write(to, bytes).unwrap());
    let (code, counts) = history.paths(&[&pipe], &[]);
    writer.join().unwrap();
    assert_eq!((code, &counts["new"], &counts["alert"]), (0, &json!(20), &json!(2)));
}

#[test]
fn thousands_of_files_are_read_by_name_and_the_broken_ones_counted() {
    let history = History::new();
    for id in 0..4_000 {
        let text = if id % 1_000 == 7 { "noise".into() } else { item(id) };
        history.file(&format!("{:02}/{id:05}.json", id / 1_500), text);
    }
    let (code, counts) = history.all(&[]);
    sums_hold(&counts);
    assert_eq!((code, &counts["new"], &counts["failed"]), (3, &json!(3_996), &json!(4)));
    assert_eq!(history.titles(), (0..4_000).step_by(10).map(talks).collect::<Vec<_>>());
}

#[test]
fn encodings_may_change_from_file_to_file_and_line_to_line() {
    let history = History::new();
    let line = |title: &str| {
        json!({"title": format!("{title} {}", talks(1)), "url": format!("https://o.example/{title}")}).to_string()
            + "\n"
    };
    let latin = |text: &str| encoding_rs::WINDOWS_1252.encode(text).0.into_owned();
    history.file("1", [line("Gespräch").into_bytes(), latin(&line("Trêve")), line("перемирие").into_bytes()].concat());
    let table = |title: &str| format!("link;Überschrift;title\nhttps://o.example/t{title};x;{title} {}\n", talks(2));
    history.file("2", latin(&table("Précaire")));
    let wide: Vec<u8> = format!("\u{feff}{}", table("Žádost")).encode_utf16().flat_map(u16::to_le_bytes).collect();
    history.file("3", wide);
    let feed = format!(
        "<?xml version=\"1.0\" encoding=\"windows-1251\"?><rss><channel><item><title>Встреча {}</title></item></channel></rss>",
        talks(3)
    );
    history.file("4", encoding_rs::WINDOWS_1251.encode(&feed).0);
    let (code, counts) = history.all(&[]);
    assert_eq!(code, 0, "{counts}");
    let titles = history.titles();
    let first: Vec<&str> = titles.iter().map(|title| title.split(' ').next().unwrap()).collect();
    assert_eq!(first, ["Gespräch", "Trêve", "перемирие", "Précaire", "Žádost", "Встреча"]);
}

#[test]
fn what_is_there_of_a_document_is_read_though_its_end_is_missing() {
    let history = History::new();
    // Packed noise keeps the cut from falling in front of the first items.
    let noise: String =
        (0..3_000_u32).map(|n| char::from(b'a' + (n.wrapping_mul(2_654_435_761) >> 27) as u8 % 26)).collect();
    let feed = rss([(1, talks(1)), (2, talks(2)), (3, noise), (4, talks(4))]);
    let packed = gzip(&feed);
    history.file("a.xml.gz", &packed[..packed.len() - 200]);
    history.file("b.xml.gz", &packed[..15]);
    let (code, counts) = history.all(&[]);
    sums_hold(&counts);
    assert_eq!((code, &counts["failed"], &counts["documents"]), (3, &json!(2), &json!(0)), "{counts}");
    assert_eq!(counts["sources"][0]["reasons"], json!({"cut off": 2}));
    let titles = history.titles();
    assert!(titles.contains(&talks(1)) && titles.contains(&talks(2)), "{titles:?}");
}

fn article(id: usize) -> String {
    let facts = json!({"@type": "NewsArticle", "headline": talks(id), "datePublished": "2024-05-01T10:00:00Z"});
    answer(id, "text/html", &format!("<html><script type=\"application/ld+json\">{facts}</script></html>"))
}

#[test]
fn a_damaged_member_of_a_web_archive_costs_its_own_record() {
    let history = History::new();
    let mut members: Vec<Vec<u8>> = (1..=5).map(|id| gzip(article(id * 10))).collect();
    members[2][30] ^= 0x5a;
    let middle = members[3].len() / 2;
    members[3][middle] ^= 0x5a;
    history.file("a.warc.gz", members.concat());
    let (code, counts) = history.all(&[]);
    sums_hold(&counts);
    assert_eq!((code, &counts["new"], &counts["failed"]), (3, &json!(3), &json!(0)), "{counts}");
    assert_eq!(history.titles(), [10, 20, 50].map(talks));
    assert!(counts["rejected"].as_u64().is_some_and(|rejected| (1..=2).contains(&rejected)), "{counts}");
}

#[test]
fn what_an_archive_holds_beside_pages_is_no_fault() {
    let history = History::new();
    let long = format!("<!--{}--><html><title>A long comment</title></html>", "x".repeat(4_000));
    let records = [
        answer(1, "text/plain", "User-agent: *\nDisallow:\n"),
        answer(2, "application/json", "{\"version\": 3}"),
        answer(3, "text/html", &long),
        article(40),
        answer(5, "application/rss+xml", "<rss><chan"),
    ];
    history.file("a.warc", records.concat());
    history.file("b.opml", "<?xml version=\"1.0\"?><opml version=\"2.0\"><body/></opml>");
    let output = history.run(&[history.files.path().to_str().unwrap()]);
    let (code, counts) = read_counts(&output);
    sums_hold(&counts);
    let source = &counts["sources"][0];
    assert_eq!((code, &source["passed_over"], &counts["new"]), (3, &json!(3), &json!(1)), "{counts}");
    assert_eq!(source["reasons"], json!({"not a feed": 1, "not followed": 1}));
    assert!(String::from_utf8_lossy(&output.stderr).contains("name the file itself"));
}

#[test]
fn a_broken_first_line_costs_itself_alone() {
    for first in ["{\"title\": \"Envoys hold pea", "ntries hold talks\", \"url\": \"https://o.example/9\"}", "broken"] {
        let history = History::new();
        history.file("a", format!("{first}\n{}", items(10..13)));
        let (code, counts) = history.all(&[]);
        sums_hold(&counts);
        assert_eq!((code, &counts["new"], &counts["rejected"]), (3, &json!(3), &json!(1)), "{first}: {counts}");
        assert_eq!(counts["sources"][0]["reasons"], json!({"broken JSON": 1}));
    }
}

#[test]
fn what_stands_before_the_first_record_or_around_the_list_is_no_fault() {
    let history = History::new();
    let table = |id: usize| format!("title,url\n\"{}\",https://o.example/{id}\n", talks(id));
    history.file("1-mark.jsonl", format!("\u{feff}{}{}", item(10), item(20)));
    history.file("2-blank.csv", format!("\n\n{}", table(30)));
    history.file("3-mark.csv", format!("\u{feff}\r\n{}", table(40)));
    history.file("4-results.json", format!("{{\"response\": {{\"results\": [{}]}}}}", item(50).trim()));
    history.file("5-items.json", format!("{{\n \"data\": {{\n  \"items\": [\n{}]\n}}\n}}\n", item(60)));
    history.file("6-lists.json", format!("[[{}], [{}]]", item(70), item(80)));
    let feed = json!({"version": "https://jsonfeed.org/version/1.1", "title": "From PHP", "items": [
        {"id": "1", "title": talks(90), "url": "https://o.example/90"}]});
    history.file("7-php.json", feed.to_string().replace('/', "\\/"));
    let (code, counts) = history.all(&[]);
    sums_hold(&counts);
    assert_eq!((code, &counts["rejected"]), (0, &json!(0)), "{counts}");
    assert_eq!(history.titles(), [10, 20, 30, 40, 50, 60, 70, 80, 90].map(talks));
    let parsed_as_feed = history.program.alerts().iter().any(|alert| alert["feed"]["title"] == "From PHP");
    assert!(parsed_as_feed);
}

#[test]
fn a_document_without_items_is_a_failure_and_says_what_to_do() {
    let history = History::new();
    history.file("1-plain.json", "{\"data\": [\"Talks\", 3]}");
    history.file("2-header.csv", format!("title,url\r{},https://o.example/1\r", talks(1)));
    history.file("3-unknown.csv", "kop;adres;datum\nVrede;https://o.example/2;2024-05-01\n");
    let output = history.run(&[history.files.path().to_str().unwrap()]);
    let (code, counts) = read_counts(&output);
    let log = String::from_utf8_lossy(&output.stderr);
    assert_eq!((code, &counts["failed"]), (1, &json!(3)), "{log}");
    assert_eq!(counts["sources"][0]["reasons"], json!({"no items": 2, "no title column": 1}));
    for remedy in ["jq -c '.PATH.TO.LIST[]'", "carriage return", "kop, adres, datum", "--field title=COLUMN"] {
        assert!(log.contains(remedy), "{remedy}: {log}");
    }
    let (code, counts) = history.paths(&[&history.files.path().join("3-unknown.csv")], &["--field", "title=kop"]);
    assert_eq!((code, &counts["new"]), (0, &json!(1)), "{counts}");
}

#[test]
fn a_name_with_a_dot_may_be_a_column_or_a_key_of_its_own() {
    let history = History::new();
    history.file("1.csv", format!("meta.title,meta.url\n\"{}\",https://o.example/1\n", talks(1)));
    history.file("2.jsonl", json!({"meta.title": talks(2), "meta.url": "https://o.example/2"}).to_string());
    history.file("3.jsonl", json!({"meta": {"title": talks(3), "url": "https://o.example/3"}}).to_string());
    let (code, counts) = history.all(&["--field", "title=meta.title", "--field", "link=meta.url"]);
    assert_eq!((code, history.titles()), (0, [1, 2, 3].map(talks).to_vec()), "{counts}");
}

#[test]
fn a_quote_without_an_end_swallows_no_other_row() {
    let history = History::new();
    let row = |id: usize| match id {
        _ if id % 2 == 1 => format!("\"Rain {id},https://o.example/{id},2024-05-01\n"),
        4 => "\"Rain, \"\"heavy\"\"\n\nin Vienna\",https://o.example/4,2024-05-01\n".to_owned(),
        _ => format!("Rain {id},https://o.example/{id},2024-05-01\n"),
    };
    let rows: String = (0..10).map(row).collect();
    history.file("a.csv", format!("title,url,date\n{rows}"));
    let (code, counts) = history.all(&[]);
    sums_hold(&counts);
    assert_eq!((code, &counts["new"], &counts["rejected"]), (3, &json!(5), &json!(5)), "{counts}");
    assert_eq!(counts["sources"][0]["reasons"], json!({"broken quotes": 5}));
}
