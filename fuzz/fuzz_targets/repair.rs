//! Any text to a small document: bounded, and read by feed-rs with every entry in place.
#![no_main]

use demarche::parse::reduce;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let url = url::Url::parse("https://feeds.example.org/a/b.xml").ok();
    let reduced = reduce(text, url.as_ref());
    let feed = feed_rs::parser::parse(reduced.xml.as_bytes()).expect("the small document is sound");
    assert_eq!(feed.entries.len(), reduced.beside.len());
});
