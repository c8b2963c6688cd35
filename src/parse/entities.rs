//! Character and entity references, forgiving: what is no reference stays as it stands. Pure.

use quick_xml::escape::{resolve_html5_entity, resolve_xml_entity};

/// Longest name of a reference, in bytes (HTML's longest is 31). Bounds the search behind a bare `&`.
const MAX_NAME: usize = 40;

/// Most entities taken from a document type, and the longest value of one, in bytes. References to other entities inside
/// a value are never resolved, so nothing can expand.
const MAX_OWN: usize = 64;
const MAX_VALUE: usize = 256;

/// Entities that a document defines for itself.
#[derive(Debug, Default)]
pub struct Own<'a>(Vec<(&'a str, String)>);

impl<'a> Own<'a> {
    /// Takes the simple definitions out of a document type declaration: `<!ENTITY name "value">`.
    pub fn define(&mut self, doctype: &'a str) {
        for definition in doctype.split("<!ENTITY").skip(1).take(MAX_OWN) {
            let definition = definition.trim_start();
            let Some((name, rest)) = definition.split_once(char::is_whitespace) else { continue };
            let rest = rest.trim_start();
            let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) else { continue };
            let Some((value, _)) = rest[1..].split_once(quote) else { continue };
            if value.len() <= MAX_VALUE && self.0.len() < MAX_OWN && !value.contains('<') {
                self.0.push((name, decoded(value, &Own::default())));
            }
        }
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(own, _)| *own == name).map(|(_, value)| value.as_str())
    }
}

/// `text` with its references resolved.
pub fn decoded(text: &str, own: &Own<'_>) -> String {
    let mut out = String::with_capacity(text.len());
    decode_into(text, own, usize::MAX, &mut out);
    out
}

/// Appends `text` with its references resolved until `out` holds `limit` bytes.
pub fn decode_into(text: &str, own: &Own<'_>, limit: usize, out: &mut String) {
    let mut rest = text;
    while out.len() < limit {
        let Some(at) = memchr::memchr(b'&', rest.as_bytes()) else { break };
        push_limited(&rest[..at], limit, out);
        let length = reference(&rest[at..], own, out);
        if length == 0 {
            out.push('&');
        }
        rest = &rest[at + length.max(1)..];
    }
    push_limited(rest, limit, out);
}

/// Appends as much of `text` as fits into `limit` bytes of `out`.
pub fn push_limited(text: &str, limit: usize, out: &mut String) {
    let room = limit.saturating_sub(out.len());
    out.push_str(&text[..floor_boundary(text, room)]);
}

/// The last place at or before `at` where `text` can be cut.
pub fn floor_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

/// Resolves the reference that `text` (from its `&` on) begins with. Gives its length, 0 where it is none.
pub fn reference(text: &str, own: &Own<'_>, out: &mut String) -> usize {
    let bytes = &text.as_bytes()[1..text.len().min(MAX_NAME + 2)];
    let end = bytes.iter().position(|byte| !byte.is_ascii_alphanumeric() && *byte != b'#' && *byte != b'_');
    let Some(end) = end.filter(|&end| end > 0 && bytes[end] == b';') else { return 0 };
    let name = &text[1..=end];
    if let Some(number) = name.strip_prefix('#') {
        let Some(code) = code_point(number) else { return 0 };
        out.extend(character(code));
    } else {
        let value = resolve_xml_entity(name).or_else(|| own.get(name)).or_else(|| resolve_html5_entity(name));
        let Some(value) = value else { return 0 };
        out.push_str(value);
    }
    end + 2
}

/// The number of a reference; more digits than a character can have count as no character.
fn code_point(number: &str) -> Option<u32> {
    let (digits, radix) = match number.strip_prefix(['x', 'X']) {
        Some(hex) => (hex, 16),
        None => (number, 10),
    };
    let valid = !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    valid.then(|| u32::from_str_radix(digits, radix).unwrap_or(u32::MAX))
}

/// The character of a code; nothing for a control character or none at all; windows-1252 for the C1 range, which no feed
/// means as such.
fn character(code: u32) -> Option<char> {
    match code {
        0x09 | 0x0a | 0x0d => char::from_u32(code),
        0..0x20 => None,
        0x80..=0x9f => u8::try_from(code).ok().and_then(|byte| from_windows_1252(&[byte])),
        _ => char::from_u32(code),
    }
}

/// The character that a byte is in windows-1252.
pub fn from_windows_1252(byte: &[u8; 1]) -> Option<char> {
    encoding_rs::WINDOWS_1252.decode_without_bom_handling(byte).0.chars().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plain(text: &str) -> String {
        decoded(text, &Own::default())
    }

    #[test]
    fn resolves_xml_html_and_numbers() {
        assert_eq!(plain("a &amp; b &lt;&eacute;&hellip; &#1084;&#x43C; &#146;"), "a & b <é… мм ’");
    }

    #[test]
    fn leaves_what_is_no_reference() {
        for text in ["AT&T", "a & b", "&", "&;", "&nosuch;", "&#;", "&#x;", "&#xzz;", "x=1&y=2;&"] {
            assert_eq!(plain(text), text);
        }
    }

    #[test]
    fn drops_what_is_no_character() {
        assert_eq!(plain("a&#0;b&#x1;c&#xD800;d&#99999999999999;e"), "abcde");
    }

    #[test]
    fn takes_definitions_without_expanding_them() {
        let mut own = Own::default();
        own.define(
            "<!DOCTYPE feed [<!ENTITY a \"peace\"> <!ENTITY b '&#233;'> <!ENTITY c \"&a;&a;\"> <!ENTITY % d \"x\">]>",
        );
        assert_eq!(decoded("&a; &b; &c; &d;", &own), "peace é &a;&a; &d;");
    }

    #[test]
    fn stops_at_the_limit() {
        let mut out = String::new();
        decode_into("éé&amp;éééé", &Own::default(), 6, &mut out);
        assert_eq!(out, "éé&");
    }
}
