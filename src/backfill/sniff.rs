//! What a stream of bytes is, by its first ones: names lie, and archives hold files of any name. Pure.

use serde::de::IgnoredAny;

use super::fields::FieldMap;
use super::table::{Columns, from_header};

/// How much is looked at, in bytes: a header or the first records of anything that is read.
pub const HEAD: usize = 64 * 1024;

/// How something is packed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// gzip, of one or many members.
    Gzip,
    /// Zstandard, of one or many frames.
    Zstd,
    /// bzip2, of one or many streams.
    Bzip2,
    /// A zip archive.
    Zip,
    /// A tar archive.
    Tar,
}

/// What there is to read.
#[derive(Debug, PartialEq, Eq)]
pub enum Format {
    /// Nothing.
    Empty,
    /// One document: a feed, a page, a sitemap. Which, its parser says.
    Document,
    /// JSON objects, one a line.
    JsonLines,
    /// JSON objects in an array; `bare`: one after the other over many lines.
    JsonElements {
        /// Whether nothing holds them.
        bare: bool,
    },
    /// A table with a header.
    Table(Columns),
    /// GDELT's knowledge graph, version 2.
    Gkg,
    /// Web archive.
    Warc,
}

/// How `head` is packed, if it is.
pub fn packing(head: &[u8]) -> Option<Packing> {
    match head {
        [0x1f, 0x8b, 8, ..] => Some(Packing::Gzip),
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Packing::Zstd),
        [b'B', b'Z', b'h', b'1'..=b'9', 0x31 | 0x17, ..] => Some(Packing::Bzip2),
        [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Packing::Zip),
        _ if head.get(257..262) == Some(b"ustar") => Some(Packing::Tar),
        _ => None,
    }
}

/// What `head` begins. `whole` says that there is no more.
pub fn format(head: &[u8], whole: bool, fields: &FieldMap) -> Format {
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    match text {
        [] if whole => Format::Empty,
        [b'W', b'A', b'R', b'C', b'/', ..] => Format::Warc,
        [b'<', ..] => Format::Document,
        [b'[', ..] => Format::JsonElements { bare: false },
        [b'{', ..] => json(text, whole),
        // What is left of a line that was cut off, and objects behind it.
        _ if Rest::of(text, whole).holds_objects(false) => Format::JsonLines,
        _ => table(text, whole, fields),
    }
}

/// The complete lines of a head but its first, which may be broken.
struct Rest {
    objects: usize,
    others: usize,
}

impl Rest {
    fn of(text: &[u8], whole: bool) -> Self {
        let (mut objects, mut others) = (0, 0);
        for line in complete_lines(text, whole).skip(1) {
            if is_object(line) { objects += 1 } else { others += 1 }
        }
        Self { objects, others }
    }

    /// Whether they are objects, one a line, even if some are broken. In a list that is written one object a line, the
    /// last one stands alone too.
    fn holds_objects(&self, in_list: bool) -> bool {
        self.objects > self.others || (!in_list && self.objects > 0 && self.objects == self.others)
    }
}

/// The lines of `text` that are not blank and do not go on behind it.
fn complete_lines(text: &[u8], whole: bool) -> impl Iterator<Item = &[u8]> {
    let end = if whole { text.len() } else { memchr::memrchr(b'\n', text).unwrap_or(0) };
    text[..end].split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end).filter(|line| !line.is_empty())
}

fn is_object(line: &[u8]) -> bool {
    line.starts_with(b"{") && line.ends_with(b"}") && serde_json::from_slice::<IgnoredAny>(line).is_ok()
}

/// Objects one a line, or a document that holds them in an array.
fn json(text: &[u8], whole: bool) -> Format {
    let mut lines = text.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let first = lines.next().unwrap_or_default();
    let more = lines.any(|line| !line.is_empty());
    let start = &text[..text.len().min(4_096)];
    let has = |needle: &[u8]| memchr::memmem::find(start, needle).is_some();
    // PHP writes slashes with a backslash.
    if has(b"jsonfeed.org/version") || has(b"jsonfeed.org\\/version") {
        return Format::Document;
    }
    if more && first.ends_with(b"}") {
        return Format::JsonLines;
    }
    let is_list = holds_list(start);
    // A bracket alone begins an object over many lines, and a comma stands between objects of which each has its line.
    let goes_on = first == b"{" || first.ends_with(b"},");
    if more && !goes_on && Rest::of(text, whole).holds_objects(is_list) {
        return Format::JsonLines;
    }
    // Objects over many lines come one after the other; a single line is an object, however long.
    let bare = !is_list && more;
    if is_list || bare { Format::JsonElements { bare } } else { Format::JsonLines }
}

/// Whether an array has a name that lists of items have.
fn holds_list(start: &[u8]) -> bool {
    let list =
        [&b"\"items\""[..], b"\"entries\"", b"\"articles\"", b"\"results\"", b"\"data\"", b"\"posts\"", b"\"docs\""];
    list.iter().any(|name| {
        memchr::memmem::find_iter(start, name).any(|at| {
            let rest = start[at + name.len()..].trim_ascii_start();
            rest.strip_prefix(b":").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"["))
        })
    })
}

fn table(text: &[u8], whole: bool, fields: &FieldMap) -> Format {
    let text = from_header(text);
    let line = text.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let tabs = memchr::memchr_iter(b'\t', line).count();
    if tabs >= 20 && line.get(..14).is_some_and(|date| date.iter().all(u8::is_ascii_digit)) {
        return Format::Gkg;
    }
    match Columns::of(line, fields) {
        Some(columns) if columns.has_text() => Format::Table(columns),
        // Its reader says which columns it has.
        _ => Columns::plain(complete_lines(text, whole), fields).map_or(Format::Document, Format::Table),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Format {
        format(text.as_bytes(), true, &FieldMap::new(&[]).unwrap())
    }

    #[test]
    fn formats_are_told_by_content() {
        assert_eq!(of(" \n"), Format::Empty);
        assert_eq!(of("WARC/1.0\r\n"), Format::Warc);
        assert_eq!(of("\u{feff}\n<rss>"), Format::Document);
        assert_eq!(of("{\"version\": \"https://jsonfeed.org/version/1\",\n \"items\": []}"), Format::Document);
        assert_eq!(of("{\"title\": \"a\"}\n{\"title\": \"b\"}\n"), Format::JsonLines);
        assert_eq!(of("{\"title\": \"a\"}"), Format::JsonLines);
        assert_eq!(of("{\"items\": 3, \"title\": \"a\"}\n"), Format::JsonLines);
        assert_eq!(of("{\"articles\": [{}]}"), Format::JsonElements { bare: false });
        assert_eq!(of("{\n \"total\": 1,\n \"entries\" : [ {}]}"), Format::JsonElements { bare: false });
        assert_eq!(of("[{\"title\""), Format::JsonElements { bare: false });
        assert_eq!(of("{\n\"title\": \"a\"\n}\n{\n"), Format::JsonElements { bare: true });
        assert!(matches!(of("url;title;date\nx"), Format::Table(_)));
        assert_eq!(of(&format!("20240501101500-0\t{}", "x\t".repeat(26))), Format::Gkg);
        assert_eq!(of("Dear reader, this is no feed"), Format::Document);
    }

    #[test]
    fn a_broken_first_line_does_not_say_what_the_rest_is() {
        for first in
            ["{\"title\": \"Envoys hold pea", "ntries hold talks\", \"url\": \"u\"}", "broken", "{\"data\": [1, "]
        {
            assert_eq!(
                of(&format!("{first}\n{{\"title\": \"a\"}}\n{{\"title\": \"b\"}}\n")),
                Format::JsonLines,
                "{first}"
            );
        }
        // Lists and objects over many lines hold lines that are objects.
        assert_eq!(of("{\"items\": [\n{\"title\": \"a\"}\n]}"), Format::JsonElements { bare: false });
        assert_eq!(of("{\"title\": \"a\"},\n{\"title\": \"b\"}"), Format::JsonElements { bare: true });
        assert_eq!(of("{\n\"tags\": [\n{\"t\": 1}\n]}\n"), Format::JsonElements { bare: true });
        assert_eq!(of("{\"title\": \"a\",\n \"tags\": [\n  {\"t\": 1}\n ]}\n"), Format::JsonElements { bare: true });
    }

    #[test]
    fn a_json_feed_is_known_with_escaped_slashes() {
        assert_eq!(of(r#"{"version": "https:\/\/jsonfeed.org\/version\/1.1", "items": [{}]}"#), Format::Document);
    }

    #[test]
    fn tables_without_a_known_name_are_tables() {
        let unknown = |text: &str| matches!(of(text), Format::Table(columns) if !columns.has_text());
        assert!(unknown("kop;adres\n\"a;b\";c\nd;e\n"));
        assert!(unknown("kop,adres,datum\na,b,c\n"));
        assert!(unknown("url,date\na,b\nc,d\n"));
        assert!(!unknown("Dear reader, hello.\nWe are well.\nYours, A.\n"));
        assert!(!unknown("Dear reader, hello.\nWe are well, thanks.\n"));
        assert!(!unknown("1173\t2024\t\tUSA\n1174\t2024\t\tRUS\n"));
    }

    #[test]
    fn packing_is_told_by_content() {
        assert_eq!(packing(b"\x1f\x8b\x08\0"), Some(Packing::Gzip));
        assert_eq!(packing(b"\x28\xb5\x2f\xfd"), Some(Packing::Zstd));
        assert_eq!(packing(b"BZh91AY&SY"), Some(Packing::Bzip2));
        assert_eq!(packing(b"PK\x03\x04"), Some(Packing::Zip));
        assert_eq!(packing(b"BZh is a name"), None);
        assert_eq!(packing(b"<rss>"), None);
    }
}
