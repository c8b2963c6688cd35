//! Any feed dialect, however broken, to one small well-formed Atom document with only the elements we use.
//!
//! One streaming pass over the tokens. Fields are known by their role (`vocabulary`), wherever they stand; an end tag
//! closes all that was left open inside; what was never closed ends with the next thing that cannot be inside it. Depth,
//! attributes, entries and the length of every text are capped, so that no input makes the result large or slow.

mod attributes;
mod bases;
mod capture;
mod draft;
mod facts;

pub use facts::Facts;

use url::Url;

use self::attributes::Tag;
use self::bases::Bases;
use self::capture::{Capture, local, same_name};
use self::draft::{Draft, Field, LinkRank};
use super::entities::Own;
use super::lex::{Lexer, Token};
use super::vocabulary::{Ns, Role};

/// Deepest nesting followed. Feeds need under 12; what lies deeper is passed over.
const MAX_DEPTH: usize = 64;

/// Most entries kept of one document; the rest is counted. The largest archives seen hold some 30,000.
pub const MAX_ENTRIES: usize = 50_000;

/// Most bytes written, links included. Bounds memory: feed-rs and the result each hold about as much again.
const MAX_REDUCED: usize = 24 * 1_024 * 1_024;

/// Longest element name compared, in bytes; no name we know is longer.
const MAX_NAME: usize = 24;

/// The small document, and what Atom or feed-rs has no place for.
#[derive(Debug, Default)]
pub struct Reduced {
    /// An Atom 1.0 document.
    pub xml: String,
    /// For each entry of `xml`, in order.
    pub beside: Vec<Beside>,
    /// About the feed.
    pub facts: Facts,
    /// The name of the first element.
    pub root: Option<String>,
    /// How far the document was read, in bytes.
    pub position: usize,
}

/// What feed-rs has no field for, or would rewrite, of one entry.
#[derive(Debug, Default)]
pub struct Beside {
    /// The link, absolute if an `xml:base` could make it so, otherwise as it was written.
    pub link: Option<String>,
    /// The language the entry declares.
    pub language: Option<String>,
}

/// Reduces `text`, which was fetched from `url`.
pub fn reduce(text: &str, url: Option<&Url>) -> Reduced {
    let mut lexer = Lexer::new(text);
    let mut reducer = Reducer::new(url);
    for token in &mut lexer {
        match token {
            Token::Start { name, inside, empty } => reducer.start(name, inside, empty),
            Token::End { name } => reducer.end(name),
            Token::Text(raw) => reducer.text(raw),
            Token::Cdata(text) => reducer.cdata(text),
            Token::Doctype(doctype) => reducer.own.define(doctype),
        }
    }
    reducer.finish(lexer.position())
}

/// An open element.
struct Frame<'a> {
    /// Its name without prefix.
    name: &'a str,
    role: Role,
    /// The default namespace around it.
    outer: Ns,
}

struct Reducer<'a, 'u> {
    own: Own<'a>,
    stack: Vec<Frame<'a>>,
    /// Elements open beyond the deepest nesting followed.
    beyond: usize,
    default_ns: Ns,
    prefixes: Vec<(&'a str, Ns)>,
    bases: Bases<'u>,
    capture: Option<Capture<'a>>,
    entry: Option<Draft>,
    feed_title: Field,
    link_bytes: usize,
    done: Reduced,
}

impl<'a, 'u> Reducer<'a, 'u> {
    fn new(url: Option<&'u Url>) -> Self {
        Self {
            own: Own::default(),
            stack: Vec::new(),
            beyond: 0,
            default_ns: Ns::Feed,
            prefixes: Vec::new(),
            bases: Bases::new(url),
            capture: None,
            entry: None,
            feed_title: Field::default(),
            link_bytes: 0,
            done: Reduced { xml: "<feed xmlns=\"http://www.w3.org/2005/Atom\">".into(), ..Reduced::default() },
        }
    }

    fn start(&mut self, name: &'a str, inside: &'a str, empty: bool) {
        if self.done.root.is_none() {
            self.done.root = Some(name.to_owned());
        }
        if let Some(capture) = &mut self.capture {
            let role = role_of(name, self.default_ns, &self.prefixes);
            if !capture.is_ended_by(role) {
                capture.push_start(name, role, empty);
                return;
            }
            self.finish_capture();
        }
        self.open(name, inside, empty);
    }

    fn end(&mut self, name: &str) {
        if let Some(capture) = &mut self.capture {
            let inner = !ends_structure(&self.stack, name);
            if inner && !capture.push_end(name) {
                return;
            }
            self.finish_capture();
            if inner {
                return;
            }
        }
        if self.beyond > 0 {
            self.beyond -= 1;
        } else {
            let name = local(name);
            if let Some(at) = self.stack.iter().rposition(|frame| frame.name.eq_ignore_ascii_case(name)) {
                self.close_to(at);
            }
        }
    }

    fn text(&mut self, raw: &'a str) {
        if let Some(capture) = &mut self.capture {
            capture.push_text(raw, &self.own);
        }
    }

    fn cdata(&mut self, text: &'a str) {
        if let Some(capture) = &mut self.capture {
            capture.push_cdata(text);
        }
    }

    /// A start tag outside all fields.
    fn open(&mut self, name: &'a str, inside: &'a str, empty: bool) {
        let outer = self.default_ns;
        let own = std::mem::take(&mut self.own);
        let tag = Tag { inside, name, own: &own };
        let depth = self.make_room(name);
        let language = self.declare(&tag, depth);
        let role = role_of(name, self.default_ns, &self.prefixes);
        if depth < MAX_DEPTH {
            self.begin(role, &tag, depth, language, empty);
        }
        match (empty, depth < MAX_DEPTH) {
            (true, _) => {
                if role == Role::Item {
                    self.finish_entry();
                }
                self.undo_declarations(depth, outer);
            }
            (false, true) => self.stack.push(Frame { name: local(name), role, outer }),
            (false, false) => self.beyond += 1,
        }
        self.own = own;
    }

    /// Before an entry, closes whatever was left open above the feed itself: entries do not nest, and a document full of
    /// unclosed elements must not lose its entries to the depth limit. Gives the depth of the new element.
    fn make_room(&mut self, name: &str) -> usize {
        if role_of(name, self.default_ns, &self.prefixes) == Role::Item {
            let is_part = |frame: &Frame<'_>| frame.role.is_structure() && frame.role != Role::Item;
            self.close_to(self.stack.iter().rposition(is_part).map_or(0, |at| at + 1));
            self.beyond = 0;
        }
        self.stack.len() + self.beyond
    }

    /// Takes note of namespaces and bases; gives the language.
    fn declare(&mut self, tag: &Tag<'a, '_>, depth: usize) -> Option<String> {
        let mut language = None;
        for (key, value) in tag.xml_family() {
            match key {
                "xmlns" => self.default_ns = self.default_ns_of(tag.name, &value),
                "xml:base" => self.bases.push(depth, value),
                "xml:lang" => language = Some(value),
                _ => self.declare_prefix(key.strip_prefix("xmlns:").unwrap_or_default(), &value),
            }
        }
        language
    }

    /// An unknown default namespace is a misspelt one, unless an element that no feed has begins it inside an entry: then
    /// it is another vocabulary.
    fn default_ns_of(&self, name: &str, uri: &str) -> Ns {
        let is_foreign = self.entry.is_some() && !uri.is_empty() && role_of(name, Ns::Feed, &[]) == Role::Other;
        Ns::of_uri(uri).unwrap_or(if is_foreign { Ns::Other } else { Ns::Feed })
    }

    fn declare_prefix(&mut self, prefix: &'a str, uri: &str) {
        let ns = Ns::of_uri(uri).unwrap_or_else(|| Ns::of_prefix(prefix));
        self.prefixes.retain(|(known, _)| *known != prefix);
        if !prefix.is_empty() && self.prefixes.len() < MAX_DEPTH {
            self.prefixes.push((prefix, ns));
        }
    }

    fn begin(&mut self, role: Role, tag: &Tag<'a, '_>, depth: usize, language: Option<String>, empty: bool) {
        match role {
            Role::Item => self.begin_entry(tag, depth, language),
            Role::Rss | Role::Rdf | Role::Feed | Role::Channel => self.begin_feed(role, tag, depth, language),
            Role::Enclosure => self.offer_link(tag, LinkRank::Enclosure, depth),
            Role::Link => self.begin_link(tag, depth, empty),
            Role::Other | Role::Name | Role::Email => {}
            _ => {
                if let (Some(entry), Some(language)) = (&mut self.entry, language) {
                    entry.language.get_or_insert(language);
                }
                self.begin_field(role, tag, depth, empty);
            }
        }
    }

    fn begin_feed(&mut self, role: Role, tag: &Tag<'a, '_>, depth: usize, language: Option<String>) {
        let is_rdf = role == Role::Channel && tag.get(&["rdf:about"]).is_some(); // the root of RSS 1.1
        self.done.facts.set_format(if is_rdf { Role::Rdf } else { role }, tag.name);
        if let Some(language) = language {
            self.done.facts.language.get_or_insert(language);
        }
        if role == Role::Channel {
            if let Some(base) = tag.get(&["base"]) {
                self.bases.push(depth, base); // CDF
            }
            let site = tag.get(&["href"]).and_then(|href| self.bases.resolve(&href));
            self.done.facts.offer_site(site);
        }
    }

    fn begin_entry(&mut self, tag: &Tag<'a, '_>, depth: usize, language: Option<String>) {
        self.done.facts.set_format(Role::Item, tag.name);
        let mut entry = Draft::default();
        entry.language = language;
        entry.about = tag.get(&["rdf:about", "about"]);
        entry.updated.text = tag.get(&["lastmod"]).unwrap_or_default(); // CDF
        let href = tag.get(&["href"]).and_then(|href| self.bases.resolve(&href));
        entry.offer_link(href, LinkRank::Page, depth);
        self.entry = Some(entry);
    }

    /// A link in an attribute is taken at once, one in the text is waited for.
    fn begin_link(&mut self, tag: &Tag<'a, '_>, depth: usize, empty: bool) {
        let Some(href) = tag.get(&["href", "url", "uri"]) else {
            return self.begin_field(Role::Link, tag, depth, empty);
        };
        let rel = tag.get(&["rel"]).unwrap_or_else(|| "alternate".into()).to_ascii_lowercase();
        let rel = rel.rsplit('/').next().unwrap_or_default(); // a registered relation may be written as a URI
        let kind = tag.get(&["type"]).unwrap_or_default().to_ascii_lowercase();
        if self.entry.is_some() {
            let is_page = kind.is_empty() || kind.contains("html");
            match rel {
                "alternate" if is_page => self.offer_link(tag, LinkRank::Page, depth),
                "alternate" => self.offer_link(tag, LinkRank::Other, depth),
                "enclosure" | "via" => self.offer_link(tag, LinkRank::Enclosure, depth),
                _ => {}
            }
        } else if self.in_feed() {
            let link = self.bases.resolve(&href);
            self.done.facts.offer_link(rel, &kind, link);
        }
    }

    fn offer_link(&mut self, tag: &Tag<'a, '_>, rank: LinkRank, depth: usize) {
        let Some(entry) = &mut self.entry else { return };
        if entry.wants_links() {
            let link = tag.get(&["href", "url", "uri"]).and_then(|href| self.bases.resolve(&href));
            entry.offer_link(link, rank, depth);
        }
    }

    fn begin_field(&mut self, role: Role, tag: &Tag<'a, '_>, depth: usize, empty: bool) {
        if role == Role::Category
            && let (Some(entry), Some(label)) = (&mut self.entry, tag.get(&["term", "label", "text"]))
        {
            entry.add_category(label);
        }
        let wanted = if self.entry.is_some() { !self.is_full() } else { self.in_feed() };
        if !empty && wanted {
            self.capture = Some(Capture::new(role, tag, depth));
        }
    }

    fn in_feed(&self) -> bool {
        self.stack.iter().any(|frame| frame.role.is_structure() && frame.role != Role::Item)
    }

    fn finish_capture(&mut self) {
        let Some(capture) = self.capture.take() else { return };
        let depth = capture.depth;
        match &mut self.entry {
            Some(entry) => fill(entry, capture, &self.bases),
            None if capture.role == Role::Title => self.feed_title.offer(capture.text, capture.kind, (0, depth)),
            None if capture.role == Role::Link => self.done.facts.offer_site(self.bases.resolve(&capture.text)),
            None => self.done.facts.fill(capture.role, capture.text.trim()),
        }
        self.close_to(depth);
    }

    /// Closes the open elements from `depth` on.
    fn close_to(&mut self, depth: usize) {
        while self.stack.len() > depth {
            let Some(frame) = self.stack.pop() else { return };
            if frame.role == Role::Item {
                self.finish_entry();
            }
            self.undo_declarations(self.stack.len(), frame.outer);
        }
    }

    fn undo_declarations(&mut self, depth: usize, outer: Ns) {
        self.default_ns = outer;
        self.bases.close(depth);
    }

    fn finish_entry(&mut self) {
        let Some(entry) = self.entry.take() else { return };
        if self.is_full() {
            self.done.facts.dropped += 1;
            return;
        }
        let beside = entry.write(|link| self.bases.resolve(link), &mut self.done.xml);
        self.link_bytes += beside.link.as_deref().map_or(0, str::len);
        self.done.beside.push(beside);
    }

    /// Whether further entries are counted only.
    fn is_full(&self) -> bool {
        self.done.beside.len() >= MAX_ENTRIES || self.done.xml.len() + self.link_bytes >= MAX_REDUCED
    }

    fn finish(mut self, position: usize) -> Reduced {
        self.finish_capture();
        self.close_to(0);
        self.finish_entry();
        self.feed_title.write("title", &mut self.done.xml);
        self.done.xml.push_str("</feed>");
        self.done.position = position;
        self.done
    }
}

/// Puts a finished field into its entry.
fn fill(entry: &mut Draft, capture: Capture<'_>, bases: &Bases<'_>) {
    let (depth, kind) = (capture.depth, capture.kind);
    let text = if capture.base64 { facts::from_base64(&capture.text) } else { capture.text };
    let trimmed = || text.trim().to_owned();
    match capture.role {
        Role::Title => entry.title.offer(text, kind, (0, depth)),
        Role::MediaTitle => entry.title.offer(text, kind, (1, depth)),
        Role::Summary => entry.summary.offer(text, kind, (0, depth)),
        Role::MinorSummary => entry.summary.offer(text, kind, (1, depth)),
        Role::Content => entry.content.offer(text, kind, (0, depth)),
        Role::Published => entry.published.offer_date(text, (0, depth)),
        Role::Created => entry.created.offer_date(text, (0, depth)),
        Role::Updated => entry.updated.offer_date(text, (0, depth)),
        Role::Guid => {
            entry.guid.offer(trimmed(), kind, (0, depth));
            entry.permalink = entry.permalink.or(capture.permalink);
        }
        Role::Link if entry.wants_links() => {
            let link = bases.resolve(&text.replace("&amp;", "&"));
            entry.offer_link(link, LinkRank::Page, depth);
        }
        Role::Author | Role::Creator => {
            let person = [capture.person.name, trimmed(), capture.person.email];
            entry.add_author(person.into_iter().find(|part| !part.is_empty()).unwrap_or_default());
        }
        Role::Category => entry.add_category(trimmed()),
        Role::Language => entry.language = Some(trimmed()),
        _ => {}
    }
}

/// The end tag of a part of the document that is open: no field reaches beyond it.
fn ends_structure(stack: &[Frame<'_>], name: &str) -> bool {
    role_of(name, Ns::Feed, &[]).is_structure()
        && stack.iter().any(|frame| frame.role.is_structure() && same_name(frame.name, name))
}

/// The role of an element by its name as written.
fn role_of(name: &str, default_ns: Ns, prefixes: &[(&str, Ns)]) -> Role {
    let (ns, local) = match name.split_once(':') {
        Some((prefix, local)) => (of_prefix(prefix, prefixes), local),
        None => (default_ns, name),
    };
    let mut lower = [0; MAX_NAME];
    let Some(lower) = lower.get_mut(..local.len()) else { return Role::Other };
    lower.copy_from_slice(local.as_bytes());
    lower.make_ascii_lowercase();
    std::str::from_utf8(lower).map_or(Role::Other, |lower| Role::of(ns, lower))
}

fn of_prefix(prefix: &str, prefixes: &[(&str, Ns)]) -> Ns {
    let declared = prefixes.iter().rev().find(|(known, _)| *known == prefix).map(|(_, ns)| *ns);
    declared.unwrap_or_else(|| Ns::of_prefix(&prefix.to_ascii_lowercase()))
}
