//! The whole parse: never fails by its own mistake, and the same bytes give the same document.
#![no_main]

use demarche::parse::{Context, ParseError, parse};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let url = url::Url::parse("https://feeds.example.org/a/b.xml").ok();
    let context = Context { content_type: None, url: url.as_ref() };
    let read = parse(body, &context);
    if let Err(ParseError::Broken { reason, .. }) = &read {
        assert!(!reason.contains("parser itself"), "{reason}");
    }
    assert_eq!(read, parse(body, &context));
});
