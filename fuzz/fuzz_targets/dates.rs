//! Any text as a date: never panics, and what is read is read back from its own RFC 3339 form.
#![no_main]

use demarche::parse::dates;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(time) = dates::parse(text) {
        assert_eq!(dates::parse(&time.to_rfc3339()), Some(time));
    }
});
