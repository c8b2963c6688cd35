//! An entry while its fields come in, and the small Atom entry written of it.

use quick_xml::escape::escape;

use super::Beside;
use crate::parse::{dates, links, text::Kind};

/// Most authors and categories kept of one entry: more is tag spam.
const MAX_LABELS: usize = 32;

/// A summary shorter than this, in bytes of markup, may hold no words at all (a lone image), so that the content has to
/// come along.
const SHORT_SUMMARY: usize = 400;

/// One field that several elements may fill.
#[derive(Debug, Default)]
pub struct Field {
    pub text: String,
    html: bool,
    /// Rank and depth of the element that filled it: lower is better.
    standing: (u8, usize),
}

impl Field {
    /// Takes `text` unless the field is filled by an element of the same or better standing.
    pub fn offer(&mut self, text: String, kind: Kind, standing: (u8, usize)) {
        if !is_blank(&text) && (self.text.is_empty() || standing < self.standing) {
            *self = Self { text, html: kind == Kind::Html, standing };
        }
    }

    /// Like `offer`, but of two with the same standing the later is taken.
    fn offer_later(&mut self, text: String, standing: (u8, usize)) {
        if !is_blank(&text) && (self.text.is_empty() || standing <= self.standing) {
            *self = Self { text, html: false, standing };
        }
    }

    /// A later date replaces an earlier one only if it is one.
    pub fn offer_date(&mut self, text: String, standing: (u8, usize)) {
        if self.text.is_empty() || dates::parse(&text).is_some() {
            self.offer_later(text, standing);
        }
    }

    fn is_date(&self) -> bool {
        dates::parse(&self.text).is_some()
    }

    /// Writes the field as an Atom text construct.
    pub fn write(&self, name: &str, out: &mut String) {
        if !self.text.is_empty() {
            let kind = if self.html { "html" } else { "text" };
            out.extend(["<", name, " type=\"", kind, "\">"]);
            write_text(&self.text, out);
            out.extend(["</", name, ">"]);
        }
    }
}

/// An entry while its fields come in.
#[derive(Debug, Default)]
pub struct Draft {
    pub title: Field,
    pub summary: Field,
    pub content: Field,
    pub published: Field,
    pub updated: Field,
    /// Stands in where there is neither of the other dates.
    pub created: Field,
    pub authors: Vec<String>,
    pub categories: Vec<String>,
    pub language: Option<String>,
    pub guid: Field,
    /// What the guid says of itself: a link or not.
    pub permalink: Option<bool>,
    pub about: Option<String>,
    link: Field,
    links_seen: u8,
}

/// How good a link is: the page itself, the page in another format, an attachment.
#[derive(Debug, Clone, Copy)]
pub enum LinkRank {
    Page = 0,
    Other = 2,
    Enclosure = 3,
}

/// Where the guid stands among the ranks of links.
const GUID_RANK: u8 = 1;

impl Draft {
    /// Whether one more link is worth resolving.
    pub fn wants_links(&mut self) -> bool {
        self.links_seen = self.links_seen.saturating_add(1);
        self.links_seen < 64 // real entries have under 20; each costs a join with the base
    }

    /// Takes a resolved link. Of two pages the later counts, as feedparser has it.
    pub fn offer_link(&mut self, link: Option<String>, rank: LinkRank, depth: usize) {
        if let Some(link) = link {
            self.link.offer_later(link, (rank as u8, depth));
        }
    }

    /// Takes the name of an author.
    pub fn add_author(&mut self, name: String) {
        add_label(&mut self.authors, name);
    }

    /// Takes a category.
    pub fn add_category(&mut self, label: String) {
        add_label(&mut self.categories, label);
    }

    /// Writes the entry, and gives back what feed-rs has no place for or would rewrite.
    pub fn write(mut self, resolve: impl Fn(&str) -> Option<String>, out: &mut String) -> Beside {
        let link = self.best_link(resolve);
        if self.guid.text.is_empty() {
            self.guid.offer(self.about.take().unwrap_or_default(), Kind::Text, (0, 0));
        }
        if !self.created.text.is_empty() && [&self.published, &self.updated].iter().all(|field| !field.is_date()) {
            self.published = std::mem::take(&mut self.created);
        }
        out.push_str("<entry>");
        self.title.write("title", out);
        write_plain("id", &self.guid.text, out);
        write_plain("published", &self.published.text, out);
        write_plain("updated", &self.updated.text, out);
        for author in &self.authors {
            out.push_str("<author>");
            write_plain("name", author, out);
            out.push_str("</author>");
        }
        for category in &self.categories {
            out.extend(["<category term=\"", &escape(category.as_str()), "\"/>"]);
        }
        self.summary.write("summary", out);
        if self.summary.text.len() < SHORT_SUMMARY {
            self.content.write("content", out);
        }
        out.push_str("</entry>");
        Beside { link, language: self.language }
    }

    /// The link, else the guid or `rdf:about` where that is one, else the page in another format, else an attachment.
    fn best_link(&mut self, resolve: impl Fn(&str) -> Option<String>) -> Option<String> {
        let found = std::mem::take(&mut self.link);
        if !found.text.is_empty() && found.standing.0 < GUID_RANK {
            return Some(found.text);
        }
        let own = self.about.iter().chain((self.permalink != Some(false)).then_some(&self.guid.text));
        let is_path = |id: &str| self.permalink == Some(true) && id.starts_with('/');
        let mut own = own.filter(|id| links::is_web(id) || is_path(id)).filter_map(|id| resolve(id));
        own.next().or_else(|| Some(found.text).filter(|link| !link.is_empty()))
    }
}

fn add_label(labels: &mut Vec<String>, label: String) {
    if !is_blank(&label) && labels.len() < MAX_LABELS && !labels.contains(&label) {
        labels.push(label);
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

fn write_plain(name: &str, text: &str, out: &mut String) {
    if !text.is_empty() {
        out.extend(["<", name, ">"]);
        write_text(text.trim(), out);
        out.extend(["</", name, ">"]);
    }
}

/// Markup goes into a CDATA section, which feed-rs takes in one piece where it takes references one by one.
fn write_text(text: &str, out: &mut String) {
    if memchr::memchr2(b'<', b'&', text.as_bytes()).is_none() {
        out.push_str(text);
        return;
    }
    out.push_str("<![CDATA[");
    for (n, part) in text.split("]]>").enumerate() {
        out.extend([if n > 0 { "]]]]><![CDATA[>" } else { "" }, part]);
    }
    out.push_str("]]>");
}
