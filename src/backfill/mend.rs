//! JSON that is almost JSON: tabs and other control characters as they are within strings, escapes that JSON does not have
//! (`\'`, `\x`), halves of characters. GDELT's article lists have the first two. Pure.

/// `text` as RFC 8259 has it, as far as strings go; `None` where there is nothing to mend.
///
/// A control character becomes a space, an unknown escape the character itself, half a character (a lone UTF-16 surrogate) U+FFFD.
pub fn mended(text: &str) -> Option<String> {
    let mut out = String::with_capacity(text.len());
    let (mut rest, mut in_string) = (text, false);
    while let Some(next) = rest.chars().next() {
        let (put, length) = match next {
            '\\' if in_string => escape(rest),
            c if in_string && c < ' ' => (" ", 1),
            c => (&rest[..c.len_utf8()], c.len_utf8()),
        };
        in_string ^= next == '"';
        out.push_str(put);
        rest = &rest[length..];
    }
    (out != text).then_some(out)
}

/// What the escape that `text` begins with becomes, and how many bytes of it that is of.
fn escape(text: &str) -> (&str, usize) {
    let half = |at: usize| text.get(at..at + 6).and_then(unit);
    match text.as_bytes().get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => (&text[..2], 2),
        Some(b'u') => match (half(0), half(6)) {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => (&text[..12], 12),
            (Some(0xD800..=0xDFFF), _) => ("\u{fffd}", 6),
            (Some(_), _) => (&text[..6], 6),
            (None, _) => ("", 1),
        },
        _ => ("", 1),
    }
}

/// The number of `\uXXXX`.
fn unit(escape: &str) -> Option<u16> {
    let digits = escape.strip_prefix("\\u").filter(|digits| digits.bytes().all(|byte| byte.is_ascii_hexdigit()))?;
    u16::from_str_radix(digits, 16).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn strings_are_mended_and_nothing_else() {
        for (broken, whole) in [
            ("{\"a\":\t\"x\ty\"}", "{\"a\":\t\"x y\"}"),
            (r#"{"a": "Iran\'s \x talks \" \u00e9"}"#, r#"{"a": "Iran's x talks \" \u00e9"}"#),
            (r#"["\ud83d\ude00", "\ud83d", "\udE00\u12"]"#, "[\"\\ud83d\\ude00\", \"\u{fffd}\", \"\u{fffd}u12\"]"),
        ] {
            assert_eq!(mended(broken).as_deref(), Some(whole));
        }
        assert_eq!(mended(r#"{"a": "\\", "b": 1}"#), None);
    }

    proptest! {
        /// What is JSON stays as it is, and what is mended has nothing left to mend.
        #[test]
        fn json_stays_as_it_is(text in any::<String>(), broken in "[\"\\\\u0-9a-f{}\t é😀]{0,30}") {
            let json = serde_json::to_string(&[&text]).unwrap();
            prop_assert_eq!(mended(&json), None);
            if let Some(once) = mended(&broken) {
                prop_assert_eq!(mended(&once), None);
            }
        }
    }
}
