//! Documents beside what the parser must make of them: `tests/parse/NAME.EXT` and `NAME.json`.
//!
//! `DEMARCHE_BLESS=1 cargo test --test parse` rewrites the expectations; read the difference before committing it.

use std::path::{Path, PathBuf};

use demarche::dedup::{self, IdentityPolicy};
use demarche::item::{Document, Entry, Identity};
use demarche::parse::{Context, ErrorKind, ParseError, dates, decode, parse, reduce};
use proptest::prelude::*;
use serde_json::{Value, json};
use url::Url;

/// Where all golden documents claim to come from; those named `disk-…` come from nowhere.
const ADDRESS: &str = "https://feeds.example.org/world/rss.xml";

fn read(path: &Path) -> Value {
    let body = std::fs::read(path).unwrap();
    let url = Url::parse(ADDRESS).unwrap();
    let from_disk = path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("disk-"));
    let context = Context { content_type: None, url: (!from_disk).then_some(&url) };
    shown(&parse(&body, &context))
}

fn shown(read: &Result<Document, ParseError>) -> Value {
    match read {
        Err(error) => json!({ "error": error.to_string() }),
        Ok(document) => json!({
            "format": document.format, "title": document.title, "site": document.site, "self": document.self_url,
            "hub": document.hub, "older": document.older, "hints": document.hints,
            "entries": document.entries.iter().map(entry).collect::<Vec<_>>(),
        }),
    }
}

fn entry(entry: &Entry) -> Value {
    let mut shown = json!(entry);
    let fields = shown.as_object_mut().unwrap();
    fields.retain(|_, value| !value.is_null() && *value != json!([]) && *value != json!(""));
    shown
}

fn inputs() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/parse");
    let files = std::fs::read_dir(folder).unwrap().map(|file| file.unwrap().path());
    let mut inputs: Vec<_> = files.filter(|path| path.extension().is_some_and(|end| end != "json")).collect();
    inputs.sort();
    inputs
}

#[test]
fn documents_give_what_stands_beside_them() {
    let inputs = inputs();
    assert!(inputs.len() >= 20, "the golden documents are there");
    let bless = std::env::var_os("DEMARCHE_BLESS").is_some();
    for input in inputs {
        let found = read(&input);
        let beside = input.with_extension("json");
        if bless {
            std::fs::write(&beside, format!("{found:#}\n")).unwrap();
        }
        let expected: Value = serde_json::from_str(&std::fs::read_to_string(&beside).unwrap()).unwrap();
        assert_eq!(found, expected, "{}", input.display());
    }
}

#[test]
fn what_is_no_feed_is_named() {
    let kind = |body: &[u8]| parse(body, &Context::default()).map(|_| ()).map_err(|error| error.kind());
    assert_eq!(kind(b""), Err(ErrorKind::Empty));
    assert_eq!(kind(b" \n\t"), Err(ErrorKind::Empty));
    assert_eq!(kind(b"<rss><channel></channel></rss>"), Err(ErrorKind::Empty));
    assert_eq!(kind(b"<html><body>Log in</body></html>"), Err(ErrorKind::NotAFeed));
    assert_eq!(kind(b"{\"message\": \"no such page\"}"), Err(ErrorKind::NotAFeed));
    assert_eq!(kind(b"\x1f\x8b\x08"), Err(ErrorKind::NotAFeed));
    assert_eq!(kind(b"{\"items\": [{\"id\": 1"), Err(ErrorKind::Broken));
    assert_eq!(kind(b"{\"items\": [{\"id\": 1}, "), Ok(()));
    assert_eq!(kind(b"<rss><channel><title>t"), Ok(()));
}

#[test]
fn the_charset_of_the_server_counts() {
    let body = b"<rss><channel><title>\xcc\xe8\xf0</title></channel></rss>";
    let context = Context { content_type: Some("application/rss+xml; charset=windows-1251"), url: None };
    assert_eq!(parse(body, &context).unwrap().title.as_deref(), Some("Мир"));
}

/// Inputs that kill or stall careless parsers, each some 512 KiB long, on a stack of 2 MiB. There is no clock here: what
/// takes more than linear time would hang the test.
#[test]
fn hostile_documents_cost_nothing() {
    let attacks: Vec<String> = vec![
        repeated("<a>", ""),
        format!("<rss><channel>{}<item><title>t", repeated("<a>", "")),
        format!("<rss><channel><item><description>{}", repeated("<div>", "</div>")),
        repeated("<", ""),
        repeated("<a b=\"", ""),
        repeated("<a b='\" ", ""),
        repeated("&", ""),
        format!("<rss><channel><title>{}</title></channel></rss>", repeated("&amp;#", "")),
        repeated("<!--", ""),
        repeated("<![CDATA[", ""),
        repeated("<!DOCTYPE [", ""),
        repeated("<!DOCTYPE [>", ""),
        repeated("<?x ", ""),
        format!("<rss {}><channel><title>t</title></channel></rss>", repeated("a='b' ", "")),
        format!(
            "<rss {}><channel><title>t</title></channel></rss>",
            (0..100_000).map(|n| format!("xmlns:n{n}='u{n}' ")).collect::<String>()
        ),
        repeated("<feed xml:base='a/'>", ""),
        format!("<feed xml:base='https://e.org/{}'>{}", repeated("a/", ""), repeated("<entry><link href='b'/>", "")),
        format!("<feed>{}", repeated("<entry xml:base='b/'><link href='c'/></entry>", "")),
        format!("<feed><entry>{}", repeated("<link href='c'/>", "")),
        format!(
            "<rss><channel><item>{}",
            repeated("<media:group><media:content url='u' duration='99999999999999999999'/>", "")
        ),
        format!("<rss><channel>{}", repeated("<item/>", "")),
        format!("<rss><channel><item><author>{}", repeated("（a@b.c）", "")),
        format!("<rss><channel><item>{}", repeated("<pubDate>1</pubDate>", "")),
        format!("<rss><channel><item><title>{}", repeated("<script>", "")),
        format!("<rss><channel><item><title>{}", repeated("&lt;script&gt;", "")),
        format!("{{\"items\":{}", repeated("[", "")),
        format!("{{\"items\":[{}", repeated("{\"authors\":[", "")),
        format!("{{\"items\":[{}0]}}", repeated("0,", "")),
        format!("{{\"title\":\"t\",\"items\":[{}{{}}]}}", repeated("{},", "")),
        format!(
            "<!DOCTYPE r [{}]><rss><channel><title>&e9;",
            (0..9).map(|n| format!("<!ENTITY e{} '&e{n};&e{n};'>", n + 1)).collect::<String>()
        ),
    ];
    let on_small_stack = std::thread::Builder::new().stack_size(2 * 1_024 * 1_024).spawn(move || {
        for attack in &attacks {
            let _ = parse(attack.as_bytes(), &Context::default());
            let wide: Vec<u8> = attack.bytes().take(100_000).flat_map(|byte| [byte, 0]).collect();
            let _ = parse(&wide, &Context::default());
        }
    });
    on_small_stack.unwrap().join().unwrap();
}

/// What stands once for the feed comes back in every entry, so it must be short.
#[test]
fn nothing_long_comes_back_in_every_entry() {
    let site = format!("https://example.org/{}", "a/".repeat(4_000));
    let rss = format!("<rss><channel><link>{site}</link>{}", "<item><title>t</title><link>b</link></item>".repeat(9));
    let authors = (0..99).map(|n| format!("\"Ada {n}\",")).collect::<String>();
    let items = r#"{"id":1,"url":"b"},"#.repeat(9);
    let json = format!(r#"{{"home_page_url":"{site}","authors":[{authors}"Bo"],"items":[{items}{{}}]}}"#);
    for body in [rss, json] {
        let document = parse(body.as_bytes(), &Context::default()).unwrap();
        assert_eq!(document.entries[8].link.as_deref(), Some("b"));
        assert!(document.entries.iter().all(|entry| entry.authors.len() <= 4));
    }
}

/// What fuzzing found worth keeping (`fuzz/`), through the same checks without a nightly compiler.
#[test]
fn the_fuzz_corpus_holds() {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus");
    let Ok(targets) = std::fs::read_dir(corpus) else { return }; // not in the published crate
    let files = targets.flat_map(|target| std::fs::read_dir(target.unwrap().path()).unwrap());
    let mut count = 0;
    for file in files.map(|file| file.unwrap().path()) {
        let body = std::fs::read(&file).unwrap();
        let text = decode(&body, None);
        assert!(text.chars().all(|c| c >= ' ' || matches!(c, '\t' | '\n' | '\r')), "{}", file.display());
        let reduced = reduce(&text, None);
        let feed = feed_rs::parser::parse(reduced.xml.as_bytes()).unwrap();
        assert_eq!(feed.entries.len(), reduced.beside.len(), "{}", file.display());
        if let Some(time) = dates::parse(&text) {
            assert_eq!(dates::parse(&time.to_rfc3339()), Some(time), "{}", file.display());
        }
        let read = parse(&body, &Context::default());
        assert_eq!(read, parse(&body, &Context::default()), "{}", file.display());
        count += 1;
    }
    assert!(count > 50, "the corpus is there");
}

/// The identities that the items of a document get.
fn ids(read: Result<Document, ParseError>) -> Vec<Identity> {
    let entries = read.map(|document| document.entries).unwrap_or_default();
    let sorted = dedup::sort(entries, ADDRESS, IdentityPolicy::Guid, chrono::DateTime::UNIX_EPOCH);
    sorted.candidates.into_iter().flat_map(|candidate| candidate.keys).collect()
}

/// `open` over and over, then `close` as often.
fn repeated(open: &str, close: &str) -> String {
    let times = 512 * 1_024 / (open.len() + close.len());
    open.repeat(times) + &close.repeat(times)
}

/// Pieces that make a document go wrong in most ways.
fn piece() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        "<rss version=\"2.0\">",
        "<channel>",
        "<item>",
        "<entry>",
        "<feed xmlns='http://www.w3.org/2005/Atom'>",
        "</item>",
        "</entry>",
        "</channel>",
        "</feed>",
        "<title>",
        "</title>",
        "<title type='xhtml'>",
        "<link>",
        "</link>",
        "<link href='/a'/>",
        "<guid isPermaLink='false'>",
        "</guid>",
        "<pubDate>",
        "</pubDate>",
        "<description>",
        "</description>",
        "<content type='html' mode='base64'>",
        "</content>",
        "<![CDATA[",
        "]]>",
        "<!--",
        "-->",
        "&amp;",
        "&lt;p&gt;",
        "&#0;",
        "&nbsp;",
        "<dc:date>",
        "</dc:date>",
        "<author>",
        "<name>",
        "</name>",
        "</author>",
        "<image>",
        "Sat, 06 Oct 2018 08:15:02 GMT",
        "https://example.org/a?b=c&d=e",
        "Talks resume",
        "мир",
        "<",
        ">",
        "\"",
        "=",
        "&",
        "<x xml:base='b/' xml:lang='de'>",
        "<?xml encoding='utf-16'?>",
        "<!DOCTYPE a [<!ENTITY b 'c'>]>",
        "\u{feff}",
        "\0",
        "{\"items\":[{\"id\":1,\"title\":\"",
        "\"}]}",
    ]);
    prop_oneof![8 => known.prop_map(str::to_owned), 1 => "\\PC{0,8}"]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_500, ..ProptestConfig::default() })]

    #[test]
    fn same_bytes_give_the_same_document(pieces in prop::collection::vec(piece(), 0..60)) {
        let body = pieces.concat();
        let url = Url::parse(ADDRESS).unwrap();
        let context = Context { content_type: None, url: Some(&url) };
        let (first, second) = (parse(body.as_bytes(), &context), parse(body.as_bytes(), &context));
        prop_assert_eq!(shown(&first), shown(&second));
        prop_assert_eq!(ids(first), ids(second));
    }

    #[test]
    fn the_parser_itself_never_fails(pieces in prop::collection::vec(piece(), 0..60), noise: Vec<u8>, at: usize) {
        let mut body = pieces.concat().into_bytes();
        let at = at.checked_rem(body.len()).unwrap_or_default();
        body.splice(at..at, noise);
        let read = parse(&body, &Context::default());
        let failed = matches!(&read, Err(ParseError::Broken { reason, .. }) if reason.contains("parser itself"));
        prop_assert!(!failed, "{:?}", read);
    }

    #[test]
    fn a_document_cut_anywhere_keeps_its_whole_entries(cut in 0.0..1.0_f64) {
        let entry = |n: u32| format!("<item><title>Round {n}</title><link>https://example.org/{n}</link></item>");
        let whole = format!("<rss><channel><title>Desk</title>{}", (0..20).map(entry).collect::<String>());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "a place in a short text")]
        let end = (whole.len() as f64 * cut) as usize;
        let complete = whole[..end].matches("</item>").count();
        let document = parse(&whole.as_bytes()[..end], &Context::default()).unwrap_or_default();
        prop_assert!(document.entries.len() >= complete);
        for (n, entry) in document.entries.iter().take(complete).enumerate() {
            let title = format!("Round {n}");
            prop_assert_eq!(&entry.title, &title);
        }
    }
}
