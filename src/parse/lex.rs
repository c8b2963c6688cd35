//! Markup to tokens, for documents that are not well-formed. Pure, linear in the length of the text.
//!
//! A validating tokenizer stops at, or swallows half the document after, a stray `<`, an unclosed quote or a comment
//! without end. This one always finds a next token. Attributes are left raw; quick-xml reads them when they are wanted.

use memchr::{memchr, memchr3, memmem};

const CDATA: &[u8] = b"<![CDATA[";

/// One piece of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Token<'a> {
    /// A start tag: its name, all between the angle brackets (for the attributes), and whether it closes itself.
    Start { name: &'a str, inside: &'a str, empty: bool },
    /// An end tag.
    End { name: &'a str },
    /// Text with its references unresolved.
    Text(&'a str),
    /// The inside of a CDATA section.
    Cdata(&'a str),
    /// A document type declaration.
    Doctype(&'a str),
}

/// Cuts a text into tokens; comments and processing instructions are passed over.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    at: usize,
    /// Set when no `-->`, `]]>` or `]>` is left, so that a text full of unclosed ones is not searched again and again.
    no_comment_end: bool,
    no_cdata_end: bool,
    no_subset_end: bool,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Self { text, at: 0, no_comment_end: false, no_cdata_end: false, no_subset_end: false }
    }

    /// How far it has read, in bytes.
    pub fn position(&self) -> usize {
        self.at
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Moves `length` bytes on and gives what lay there.
    fn advance(&mut self, length: usize) -> &'a str {
        let passed = &self.rest()[..length];
        self.at += length;
        passed
    }

    /// Text up to the next `<`, looking from `from` on.
    fn text_token(&mut self, from: usize) -> Token<'a> {
        let rest = self.rest().as_bytes();
        let length = memchr(b'<', &rest[from..]).map_or(rest.len(), |at| from + at);
        Token::Text(self.advance(length))
    }

    fn skip_comment(&mut self) {
        let end = if self.no_comment_end { None } else { memmem::find(&self.rest().as_bytes()[4..], b"-->") };
        self.no_comment_end |= end.is_none();
        // a comment without end ends with its first tag bracket, as little as can be
        let end = end.map(|at| at + 7).or_else(|| memchr(b'>', self.rest().as_bytes()).map(|at| at + 1));
        self.at += end.unwrap_or(self.rest().len());
    }

    /// A CDATA section. One whose element is closed before the next section begins was left open, as was one without
    /// any end: it goes up to the next end tag.
    fn cdata_token(&mut self) -> Token<'a> {
        self.at += CDATA.len();
        let rest = self.rest().as_bytes();
        let before_next = &rest[..memmem::find(rest, CDATA).unwrap_or(0)];
        let left_open = memmem::find(before_next, b"]]>").is_none() && memmem::find(before_next, b"</").is_some();
        let end = if left_open || self.no_cdata_end { None } else { memmem::find(rest, b"]]>") };
        if let Some(end) = end {
            let inside = self.advance(end);
            self.at += 3;
            return Token::Cdata(inside);
        }
        self.no_cdata_end |= !left_open;
        let end = memmem::find(rest, b"</").unwrap_or(rest.len());
        Token::Cdata(self.advance(end))
    }

    /// `<!DOCTYPE …>` with its bracketed part, or any other `<!…>`.
    fn declaration_token(&mut self) -> Token<'a> {
        let rest = self.rest();
        let simple = memchr(b'>', rest.as_bytes()).map_or(rest.len(), |at| at + 1);
        if self.no_subset_end || !rest[..simple].contains('[') {
            return Token::Doctype(self.advance(simple));
        }
        let subset = memmem::find(rest.as_bytes(), b"]>").map(|at| at + 2);
        self.no_subset_end = subset.is_none();
        Token::Doctype(self.advance(subset.unwrap_or(simple)))
    }

    fn skip_instruction(&mut self) {
        let rest = self.rest().as_bytes();
        self.at += memchr(b'>', rest).map_or(rest.len(), |at| at + 1);
    }

    fn end_tag(&mut self) -> Token<'a> {
        let length = tag_end(self.rest());
        let inside = self.advance(length).trim_start_matches("</").trim_end_matches('>');
        Token::End { name: name_of(inside.trim_start()) }
    }

    fn start_tag(&mut self) -> Token<'a> {
        let length = tag_end(self.rest());
        let inside = &self.advance(length)[1..];
        let inside = inside.strip_suffix('>').unwrap_or(inside);
        let empty = inside.ends_with('/');
        let inside = inside.strip_suffix('/').unwrap_or(inside);
        Token::Start { name: name_of(inside), inside, empty }
    }
}

impl<'a> Iterator for Lexer<'a> {
    type Item = Token<'a>;

    fn next(&mut self) -> Option<Token<'a>> {
        loop {
            let bytes = self.rest().as_bytes();
            match bytes {
                [] => return None,
                [b'<', b'!', b'-', b'-', ..] => self.skip_comment(),
                _ if bytes.starts_with(CDATA) => return Some(self.cdata_token()),
                [b'<', b'!', next, ..] if next.is_ascii_alphabetic() || *next == b'[' => {
                    return Some(self.declaration_token());
                }
                [b'<', b'?', ..] => self.skip_instruction(),
                [b'<', b'/', next, ..] if starts_name(*next) || next.is_ascii_whitespace() => {
                    return Some(self.end_tag());
                }
                [b'<', next, ..] if starts_name(*next) => return Some(self.start_tag()),
                [b'<', ..] => return Some(self.text_token(1)),
                _ => return Some(self.text_token(0)),
            }
        }
    }
}

fn starts_name(byte: u8) -> bool {
    byte.is_ascii_alphabetic() || byte == b'_' || byte == b':' || byte >= 0x80
}

fn name_of(inside: &str) -> &str {
    let ends = |c: char| c.is_ascii_whitespace() || matches!(c, '/' | '>' | '&' | '=' | '"' | '\'');
    let end = inside.find(ends).unwrap_or(inside.len());
    &inside[..end]
}

/// Length of the tag that `text` begins with. It ends behind the first `>` outside quotes, or before the next `<`, since
/// then its own `>` is missing. A quote counts only behind `=`, and only if it is closed before the next `<`.
pub fn tag_end(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 1;
    while let Some(found) = bytes.get(at..).and_then(|rest| memchr3(b'>', b'<', b'=', rest)) {
        at += found;
        match bytes[at] {
            b'>' => return at + 1,
            b'<' => return at,
            _ => at = after_value(bytes, at + 1),
        }
    }
    bytes.len()
}

/// Where to go on behind a `=`: behind the quoted value if there is a sound one.
fn after_value(bytes: &[u8], from: usize) -> usize {
    let blanks = bytes[from..].iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let open = from + blanks;
    let Some(&quote) = bytes.get(open).filter(|byte| matches!(byte, b'"' | b'\'')) else { return from };
    match memchr::memchr2(quote, b'<', &bytes[open + 1..]) {
        Some(close) if bytes[open + 1 + close] == quote => open + close + 2,
        _ => open + 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<String> {
        let shown = Lexer::new(text).map(|token| match token {
            Token::Start { name, empty: true, .. } => format!("<{name}/>"),
            Token::Start { name, .. } => format!("<{name}>"),
            Token::End { name } => format!("</{name}>"),
            Token::Text(text) => text.to_owned(),
            Token::Cdata(text) => format!("[{text}]"),
            Token::Doctype(_) => "!".to_owned(),
        });
        shown.collect()
    }

    #[test]
    fn cuts_a_sound_document() {
        let text =
            "<?xml version='1.0'?><!DOCTYPE a [<!ENTITY b 'c'>]><a x='1>2'><!-- <d> -->t<e/><![CDATA[<f>]]></a >";
        assert_eq!(names(text), ["!", "<a>", "t", "<e/>", "[<f>]", "</a>"]);
    }

    #[test]
    fn lives_with_broken_markup() {
        assert_eq!(names("a < b <c>"), ["a ", "< b ", "<c>"]);
        assert_eq!(names("1<2 <<c>"), ["1", "<2 ", "<", "<c>"]);
        assert_eq!(names("<a href=\"x>t</a>"), ["<a>", "t", "</a>"]);
        assert_eq!(names("<a don't>t</a>"), ["<a>", "t", "</a>"]);
        assert_eq!(names("<a<b>t"), ["<a>", "<b>", "t"]);
        assert_eq!(names("<!-- open <a>t"), ["t"]);
        assert_eq!(names("<t><![CDATA[open</t><u>"), ["<t>", "[open]", "</t>", "<u>"]);
        assert_eq!(names("<t><![CDATA[a</t><u><![CDATA[b]]></u>"), ["<t>", "[a]", "</t>", "<u>", "[b]", "</u>"]);
        assert_eq!(names("<a"), ["<a>"]);
        assert_eq!(names("</"), ["</"]);
    }

    proptest::proptest! {
        #[test]
        fn always_ends(text in "[<>!\\[\\]/='\"?a -é&;-]{0,80}") {
            let mut lexer = Lexer::new(&text);
            let count = lexer.by_ref().count();
            proptest::prop_assert!(count <= text.len());
            proptest::prop_assert_eq!(lexer.position(), text.len());
        }
    }
}
