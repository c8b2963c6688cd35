//! Bytes to text. The order of trust: byte order mark, valid UTF-8, nearly valid UTF-8, the HTTP charset, the XML
//! declaration, a guess. Pure; never fails: what nothing explains is read as UTF-8 with its bad bytes as windows-1252.

mod ebcdic;

use std::borrow::Cow;

use chardetng::{EncodingDetector, Iso2022JpDetection, Utf8Detection};
use encoding_rs::{Encoding, ISO_2022_JP, UTF_8, UTF_16BE, UTF_16LE, WINDOWS_1252};

/// How far into the document an XML declaration may stand, in bytes: behind junk, blank lines or a banner comment.
const DECLARATION_WITHIN: usize = 1_024;

/// How much of the document the guess looks at, in bytes, counted from the first byte that is not ASCII. More costs time
/// and does not change the answer.
const GUESS_WITHIN: usize = 64 * 1_024;

/// Reads `body` as text without NUL and other C0 control characters (tab and line breaks stay).
pub fn decode<'a>(body: &'a [u8], content_type: Option<&str>) -> Cow<'a, str> {
    without_controls(to_text(body, content_type))
}

fn to_text<'a>(body: &'a [u8], content_type: Option<&str>) -> Cow<'a, str> {
    if let Some(text) = wide(body) {
        return text;
    }
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let declared = declared_encoding(body);
    match std::str::from_utf8(body) {
        Ok(text) if !(declared == Some(ISO_2022_JP) && body.contains(&0x1b)) => return Cow::Borrowed(text),
        Err(_) if is_nearly_utf8(body) => return Cow::Owned(patched_utf8(body)),
        _ => {}
    }
    let stated = [charset_of(content_type), declared].into_iter().flatten();
    let stated = stated.filter(|encoding| ![UTF_8, UTF_16LE, UTF_16BE].contains(encoding));
    let sound = |encoding: &'static Encoding| encoding.decode_without_bom_handling_and_without_replacement(body);
    let labelled = stated.clone().find_map(sound).or_else(|| stated.clone().find_map(|one| with_slips(one, body)));
    labelled.or_else(|| sound(guess(body))).unwrap_or_else(|| Cow::Owned(patched_utf8(body)))
}

/// So many good characters beyond ASCII make one bad one a slip (a text cut within a character), not a wrong label.
const GOOD_FOR_A_SLIP: usize = 20;

/// `body` in an encoding that fits but for some slips, which become replacement characters.
fn with_slips<'a>(encoding: &'static Encoding, body: &'a [u8]) -> Option<Cow<'a, str>> {
    let text = encoding.decode_without_bom_handling(body).0;
    let beyond_ascii = text.chars().filter(|c| !c.is_ascii()).count();
    let bad = text.chars().filter(|&c| c == char::REPLACEMENT_CHARACTER).count();
    (bad * GOOD_FOR_A_SLIP <= beyond_ascii).then_some(text)
}

/// UTF-16 and UTF-32 of either byte order, by their mark or by the zero bytes around the first `<`; EBCDIC.
fn wide(body: &[u8]) -> Option<Cow<'_, str>> {
    match body {
        [0xff, 0xfe, 0, 0, rest @ ..] => Some(utf32(rest, u32::from_le_bytes)),
        [0, 0, 0xfe, 0xff, rest @ ..] => Some(utf32(rest, u32::from_be_bytes)),
        [b'<', 0, 0, 0, ..] => Some(utf32(body, u32::from_le_bytes)),
        [0, 0, 0, b'<', ..] => Some(utf32(body, u32::from_be_bytes)),
        [0xff, 0xfe, rest @ ..] => Some(UTF_16LE.decode_without_bom_handling(rest).0),
        [0xfe, 0xff, rest @ ..] => Some(UTF_16BE.decode_without_bom_handling(rest).0),
        [b'<' | b'{' | b' ' | b'\n' | b'\r', 0, _, 0, ..] => Some(UTF_16LE.decode_without_bom_handling(body).0),
        [0, b'<' | b'{' | b' ' | b'\n' | b'\r', 0, _, ..] => Some(UTF_16BE.decode_without_bom_handling(body).0),
        _ if body.starts_with(ebcdic::MARK) => Some(Cow::Owned(ebcdic::decode(body))),
        _ => None,
    }
}

fn utf32(body: &[u8], read: fn([u8; 4]) -> u32) -> Cow<'_, str> {
    let units = body.chunks_exact(4).filter_map(|unit| unit.try_into().ok().map(read));
    Cow::Owned(units.map(|unit| char::from_u32(unit).unwrap_or(char::REPLACEMENT_CHARACTER)).collect())
}

/// The `charset` parameter of a `Content-Type`.
fn charset_of(content_type: Option<&str>) -> Option<&'static Encoding> {
    let parameters = content_type?.split(';').skip(1).filter_map(|parameter| parameter.split_once('='));
    let mut named = parameters.filter(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let (_, label) = named.next()?;
    encoding_named(label.trim().trim_matches(['"', '\'']).as_bytes())
}

/// The `encoding` of the XML declaration.
fn declared_encoding(body: &[u8]) -> Option<&'static Encoding> {
    let head = &body[..body.len().min(DECLARATION_WITHIN)];
    let start = memchr::memmem::find(head, b"<?xml")?;
    let declaration = &head[start..];
    let declaration = &declaration[..memchr::memchr(b'>', declaration).unwrap_or(declaration.len())];
    let value = &declaration[memchr::memmem::find(declaration, b"encoding")? + b"encoding".len()..];
    let open = value.iter().position(|byte| matches!(byte, b'"' | b'\''))?;
    let value = &value[open + 1..];
    let close = value.iter().position(|byte| matches!(byte, b'"' | b'\''))?;
    encoding_named(&value[..close])
}

/// The encoding of a label; underscores and the Mac's own name are taken too, which the web's list of labels lacks.
fn encoding_named(label: &[u8]) -> Option<&'static Encoding> {
    let dashed: Vec<u8> =
        label.iter().map(|&byte| if byte == b'_' { b'-' } else { byte.to_ascii_lowercase() }).collect();
    let dashed = if matches!(dashed.as_slice(), b"mac-roman" | b"macroman") { b"macintosh".to_vec() } else { dashed };
    Encoding::for_label(label).or_else(|| Encoding::for_label(&dashed))
}

/// How many more bad bytes than good characters settle that a text is not UTF-8.
const TOO_BAD: usize = 1_000;

/// Whether the bytes are UTF-8 but for some slips: at least as many well-formed characters beyond ASCII as bad bytes.
/// Text in a legacy encoding forms such characters only by rare chance.
fn is_nearly_utf8(body: &[u8]) -> bool {
    let (mut good, mut bad) = (0_usize, 0_usize);
    for chunk in body.utf8_chunks() {
        if bad > good + TOO_BAD {
            return false;
        }
        // a character beyond ASCII is one byte that starts it, which is no continuation byte
        good += chunk.valid().bytes().filter(|&byte| byte >= 0xc0).count();
        bad += chunk.invalid().len();
    }
    good >= bad && good > 0
}

/// UTF-8 with each bad byte read as windows-1252, which such bytes nearly always are (a pasted quote or dash).
fn patched_utf8(body: &[u8]) -> String {
    let mut text = String::with_capacity(body.len() + body.len() / 8);
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.push_str(&WINDOWS_1252.decode_without_bom_handling(chunk.invalid()).0);
    }
    text
}

fn guess(body: &[u8]) -> &'static Encoding {
    let start = body.iter().position(|byte| !byte.is_ascii()).unwrap_or(0);
    let mut detector = EncodingDetector::new(Iso2022JpDetection::Allow);
    detector.feed(&body[start..body.len().min(start + GUESS_WITHIN)], true);
    detector.guess(None, Utf8Detection::Deny)
}

fn without_controls(text: Cow<'_, str>) -> Cow<'_, str> {
    let unwanted = |byte: u8| byte < 0x20 && !matches!(byte, b'\t' | b'\n' | b'\r');
    if !text.bytes().any(unwanted) {
        return text;
    }
    Cow::Owned(text.chars().filter(|&c| !u8::try_from(c).is_ok_and(unwanted)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "<?xml version=\"1.0\" encoding=\"utf-16\"?><title>Żółć — мир</title>";

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    #[test]
    fn reads_utf_16_and_utf_32_either_way_with_and_without_mark() {
        for mark in ["", "\u{feff}"] {
            let text = format!("{mark}{DOCUMENT}");
            assert_eq!(decode(&utf16(&text, u16::to_le_bytes), None), DOCUMENT);
            assert_eq!(decode(&utf16(&text, u16::to_be_bytes), None), DOCUMENT);
            let wide = |to_bytes: fn(u32) -> [u8; 4]| text.chars().flat_map(|c| to_bytes(c.into())).collect::<Vec<_>>();
            assert_eq!(decode(&wide(u32::to_le_bytes), None), DOCUMENT);
            assert_eq!(decode(&wide(u32::to_be_bytes), None), DOCUMENT);
        }
    }

    #[test]
    fn valid_utf_8_beats_every_label() {
        assert_eq!(decode(DOCUMENT.as_bytes(), Some("text/xml; charset=iso-8859-1")), DOCUMENT);
        assert_eq!(decode(b"\xef\xbb\xbf<a/>", None), "<a/>");
    }

    #[test]
    fn single_bad_bytes_are_windows_1252() {
        assert_eq!(decode("Zürich Ł\u{1}x".as_bytes(), None), "Zürich Łx");
        let mixed = [DOCUMENT.as_bytes(), b"<p>it\x92s</p>"].concat();
        assert_eq!(decode(&mixed, None), format!("{DOCUMENT}<p>it’s</p>"));
    }

    #[test]
    fn labels_are_used_for_what_is_not_utf_8() {
        let declared = b"\n<!-- banner --><?xml version='1.0' encoding='windows-1251'?><t>\xcc\xe8\xf0</t>";
        assert!(decode(declared, None).ends_with("<t>Мир</t>"));
        assert_eq!(decode(b"<t>\xcc\xc9\xd2</t>", Some("text/xml; charset=\"koi8-r\"")), "<t>лир</t>");
        assert_eq!(decode(b"<?xml encoding='iso-8859-2'?>\xb1", None), "<?xml encoding='iso-8859-2'?>ą");
        assert_eq!(decode(b"<?xml encoding='iso-2022-jp'?>\x1b$BF|\x1b(B", None), "<?xml encoding='iso-2022-jp'?>日");
    }

    #[test]
    fn undeclared_legacy_text_is_guessed() {
        let (bytes, _, _) = encoding_rs::WINDOWS_1251.encode("Переговоры в Женеве продолжились в понедельник");
        assert!(decode(&bytes, None).starts_with("Переговоры"));
    }

    #[test]
    fn a_character_cut_in_half_does_not_spoil_the_rest() {
        let (bytes, _, _) = encoding_rs::GBK.encode("<?xml encoding='gbk'?><t>两国外交部长在日内瓦会晤，同意继续谈判");
        let cut = [&bytes, b"</t><t>\xbd".as_slice()].concat();
        assert!(decode(&cut, None).ends_with("同意继续谈判</t><t>\u{fffd}"));
    }

    #[test]
    fn control_characters_go_and_blanks_stay() {
        assert_eq!(decode(b"a\0b\x0bc\td\r\n", None), "abc\td\r\n");
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_leaves_no_controls(body: Vec<u8>, charset in "[a-z0-9-]{0,12}") {
            let text = decode(&body, Some(&format!("text/xml; charset={charset}")));
            let clean = text.chars().all(|c| c >= ' ' || matches!(c, '\t' | '\n' | '\r'));
            proptest::prop_assert!(clean);
        }
    }
}
