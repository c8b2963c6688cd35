//! Bytes to text: never panics, leaves no control characters, gives valid UTF-8 back as it is.
#![no_main]

use demarche::parse::decode;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (&str, &[u8])| {
    let (content_type, body) = input;
    let text = decode(body, Some(content_type));
    assert!(text.chars().all(|c| c >= ' ' || matches!(c, '\t' | '\n' | '\r')));
});
