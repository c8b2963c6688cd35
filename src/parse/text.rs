//! HTML and near-HTML to one line of clean text. Pure, linear, one pass.

use std::borrow::Cow;

use super::entities::{self, Own, floor_boundary};
use super::lex::tag_end;

/// Longest title kept, in bytes. Real headlines stay under 300; beyond it stands a whole article in the wrong field.
pub const MAX_TITLE: usize = 1_000;

/// Longest summary kept, in bytes. The transformer reads about 1,200 characters; the rest only fills the store.
pub const MAX_SUMMARY: usize = 4_000;

/// What a string claims to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// HTML: every tag goes.
    Html,
    /// Plain text that may hold stray HTML: only tags of well-known elements go.
    Text,
}

/// `raw` as one line of text of at most `limit` bytes: tags, scripts and comments gone, references resolved, blanks
/// collapsed, soft hyphens, zero-width and bidirectional controls dropped. Cut at a word's end, with an ellipsis.
pub fn plain(raw: &str, kind: Kind, limit: usize) -> String {
    let mut line = Line { out: String::with_capacity(raw.len().min(limit + 16)), blank: false };
    let raw = unmojibake(raw);
    let mut rest = raw.as_ref();
    while line.out.len() <= limit {
        let Some(at) = memchr::memchr2(b'<', b'&', rest.as_bytes()) else { break };
        line.push_str(&rest[..at], limit);
        rest = &rest[at..];
        let length = if rest.starts_with('<') { markup(rest, kind, &mut line) } else { reference(rest, &mut line) };
        rest = &rest[length..];
    }
    line.push_str(rest, limit);
    cut(line.out, limit)
}

/// The line being built.
struct Line {
    out: String,
    /// A blank is due before the next character.
    blank: bool,
}

impl Line {
    fn push_str(&mut self, text: &str, limit: usize) {
        let mut rest = text;
        while self.out.len() <= limit {
            // words are taken whole where they are plain ASCII, as most text on the web is
            let word = rest.bytes().take_while(u8::is_ascii_graphic).count();
            self.push_word(&rest[..word]);
            let mut beyond = rest[word..].chars();
            let Some(c) = beyond.next() else { return };
            self.push(c);
            rest = beyond.as_str();
        }
    }

    fn push_word(&mut self, word: &str) {
        if !word.is_empty() {
            if self.blank && !self.out.is_empty() {
                self.out.push(' ');
            }
            self.blank = false;
            self.out.push_str(word);
        }
    }

    fn push(&mut self, c: char) {
        let c = from_c1(c);
        if c.is_whitespace() {
            self.blank = true;
        } else if !is_invisible(c) {
            self.push_word(c.encode_utf8(&mut [0; 4]));
        }
    }
}

/// Soft hyphen, zero-width blanks, bidirectional controls, byte order mark, other controls. The zero-width joiner and
/// non-joiner stay: Persian, Hindi and emoji are spelled with them.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
        | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
        || (c.is_control() && !c.is_whitespace())
}

/// A C1 control as the character that windows-1252 has in its place: no text means the control, many slip in with
/// quotes and dashes under a wrong label.
fn from_c1(c: char) -> char {
    match u8::try_from(c) {
        Ok(byte @ 0x80..=0x9f) => entities::from_windows_1252(&[byte]).unwrap_or(c),
        _ => c,
    }
}

/// Appends what a reference stands for and gives its length in the text.
fn reference(text: &str, line: &mut Line) -> usize {
    let mut resolved = String::new();
    let length = entities::reference(text, &Own::default(), &mut resolved);
    match length {
        0 => line.push('&'),
        _ => resolved.chars().for_each(|c| line.push(c)),
    }
    length.max(1)
}

/// Passes over the markup that `text` begins with and gives its length; a `<` that begins none is text.
fn markup(text: &str, kind: Kind, line: &mut Line) -> usize {
    if let Some(rest) = text.strip_prefix("<!--") {
        return rest.find("-->").map_or(text.len(), |at| at + 7);
    }
    if text.starts_with("<!") || text.starts_with("<?") {
        return text.find('>').map_or(text.len(), |at| at + 1);
    }
    let closing = text[1..].starts_with('/');
    let inside = &text[1 + usize::from(closing)..];
    let name_length =
        inside.bytes().take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b':' | b'-' | b'_'));
    let name = inside[..name_length.count()].to_ascii_lowercase();
    let known = element(&name);
    if !name.starts_with(|c: char| c.is_ascii_alphabetic()) || (kind == Kind::Text && known.is_none()) {
        line.push('<');
        return 1;
    }
    let length = tag_end(text);
    match known {
        Some(Element::Hidden) if !closing && !text[..length].ends_with("/>") => length + hidden(&text[length..], &name),
        Some(Element::Inline) => length,
        _ => {
            line.blank = true;
            length
        }
    }
}

/// Length of what lies inside a hidden element, up to its end tag.
fn hidden(text: &str, name: &str) -> usize {
    let ends = memchr::memmem::find_iter(text.as_bytes(), b"</");
    let is_end = |at: &usize| text[at + 2..].get(..name.len()).is_some_and(|end| end.eq_ignore_ascii_case(name));
    ends.into_iter().find(is_end).unwrap_or(text.len())
}

/// How a well-known HTML element shows.
enum Element {
    /// Within a line.
    Inline,
    /// On lines of its own: words before and after it do not touch.
    Block,
    /// Not at all, with what it holds.
    Hidden,
}

fn element(name: &str) -> Option<Element> {
    match name {
        "script" | "style" | "noscript" | "template" | "iframe" | "object" | "svg" | "math" | "head" => {
            Some(Element::Hidden)
        }
        "a" | "abbr" | "acronym" | "b" | "bdi" | "bdo" | "big" | "cite" | "code" | "data" | "del" | "dfn" | "em"
        | "font" | "i" | "ins" | "kbd" | "label" | "mark" | "nobr" | "q" | "s" | "samp" | "small" | "span"
        | "strike" | "strong" | "sub" | "sup" | "time" | "tt" | "u" | "var" | "wbr" | "ruby" | "rb" => {
            Some(Element::Inline)
        }
        "address" | "area" | "article" | "aside" | "audio" | "base" | "blockquote" | "body" | "br" | "button"
        | "canvas" | "caption" | "center" | "col" | "colgroup" | "dd" | "details" | "dialog" | "dir" | "div" | "dl"
        | "dt" | "embed" | "fieldset" | "figcaption" | "figure" | "footer" | "form" | "frame" | "frameset" | "h1"
        | "h2" | "h3" | "h4" | "h5" | "h6" | "header" | "hr" | "html" | "img" | "input" | "legend" | "li" | "link"
        | "main" | "map" | "menu" | "meta" | "nav" | "ol" | "optgroup" | "option" | "p" | "param" | "picture"
        | "pre" | "progress" | "rp" | "rt" | "section" | "select" | "source" | "summary" | "table" | "tbody" | "td"
        | "textarea" | "tfoot" | "th" | "thead" | "title" | "tr" | "track" | "ul" | "video" => Some(Element::Block),
        _ => None,
    }
}

/// Undoes one reading of UTF-8 as Latin-1 ("GenÃ¨ve"), which whole feeds are published with. Text that is no such slip
/// does not survive the way back and is left alone.
fn unmojibake(text: &str) -> Cow<'_, str> {
    if text.is_ascii() || text.chars().any(|c| c > '\u{ff}') {
        return Cow::Borrowed(text);
    }
    let bytes: Vec<u8> = text.chars().filter_map(|c| u8::try_from(c).ok()).collect();
    String::from_utf8(bytes).map_or(Cow::Borrowed(text), Cow::Owned)
}

fn cut(mut text: String, limit: usize) -> String {
    if text.len() <= limit {
        return text;
    }
    let end = floor_boundary(&text, limit.saturating_sub('…'.len_utf8()));
    let word_end = text[..end].rfind(' ').filter(|&at| at > end / 2).unwrap_or(end);
    text.truncate(word_end);
    text.push('…');
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn html(raw: &str) -> String {
        plain(raw, Kind::Html, MAX_SUMMARY)
    }

    #[test]
    fn drops_tags_scripts_and_comments() {
        let raw = "<p>Envoys&nbsp;met <b>to</b>day<br/>in\n Geneva</p><script>if (a < b) {}</script><!-- x -->&amp; left.<img src='a>b'>";
        assert_eq!(html(raw), "Envoys met today in Geneva & left.");
        assert_eq!(html("<style>p{}</style >after<SCRIPT src=x/>b<script>c</SCRIPT>"), "after b");
        assert_eq!(html("<script>never closed"), "");
    }

    #[test]
    fn keeps_angle_brackets_that_are_no_tags() {
        assert_eq!(html("3 < 4 > 2 & <"), "3 < 4 > 2 & <");
        assert_eq!(plain("use <vector> <b>now</b>", Kind::Text, 100), "use <vector> now");
    }

    #[test]
    fn drops_what_nobody_sees() {
        assert_eq!(html("cease\u{ad}fire\u{200b} \u{202e}now\u{feff}"), "ceasefire now");
        assert_eq!(html("می\u{200c}شود"), "می\u{200c}شود");
    }

    #[test]
    fn c1_controls_are_windows_1252() {
        assert_eq!(html("it\u{92}s \u{93}on\u{94}\u{85}\u{81}"), "it’s “on”…");
    }

    #[test]
    fn undoes_mojibake_only_where_it_is_one() {
        assert_eq!(html("GenÃ¨ve"), "Genève");
        assert_eq!(html("Genève"), "Genève");
    }

    #[test]
    fn cuts_at_a_word() {
        assert_eq!(plain("one two three four", Kind::Html, 15), "one two…");
        assert!(plain(&"é".repeat(900), Kind::Html, MAX_TITLE).len() <= MAX_TITLE);
    }

    proptest::proptest! {
        #[test]
        fn never_panics_and_keeps_the_limit(raw in "[<>&;/a-e #x='\"!é\u{202e}-]{0,200}", limit in 4_usize..120) {
            let text = plain(&raw, Kind::Html, limit);
            proptest::prop_assert!(text.len() <= limit + 1);
            proptest::prop_assert_eq!(text.trim(), text.as_str());
        }
    }
}
