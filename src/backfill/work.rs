//! A piece parsed, sorted and put to the quick model: the part that every processor shares. Pure but for the clock.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use url::Url;

use super::fields::{self, Field, FieldMap, Row};
use super::mend::mended;
use super::page;
use super::piece::{Content, Page, Piece, Records, Reject, Span};
use super::sitemap;
use crate::classify::{Prefilter, Text};
use crate::dedup::{self, IdentityPolicy};
use crate::item::{Document, Entry, PublishedSource};
use crate::parse::{Context, decode, detect_languages, parse_as_declared};
use crate::store::{Batch, Outlet, Sighting};

/// Which days are read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Window {
    /// From here on.
    pub since: Option<DateTime<Utc>>,
    /// Up to, not with.
    pub until: Option<DateTime<Utc>>,
}

impl Window {
    /// Whether `time` lies within.
    pub fn holds(&self, time: DateTime<Utc>) -> bool {
        self.since.is_none_or(|since| since <= time) && self.until.is_none_or(|until| time < until)
    }
}

/// What all workers share.
pub struct Work {
    /// The names of fields.
    pub fields: FieldMap,
    /// The days.
    pub window: Window,
    /// The quick model, if it may settle anything.
    pub prefilter: Option<Arc<Prefilter>>,
    /// Whether rejects are kept with their text.
    pub keep_rejects: bool,
}

/// Rejected records of a piece that are told of one by one; all are counted by their reasons.
const NOTES: usize = 5;

/// What a piece comes to.
pub fn batch(piece: Piece, work: &Work, now: DateTime<Utc>) -> Batch {
    let mut draft = Draft { work, now, file: &piece.file, batch: Batch::default(), outlets: HashMap::new() };
    match piece.content {
        Content::Pages(pages) => pages.into_iter().for_each(|page| draft.page(page)),
        Content::Json(records) => draft.rows(&records, |text| json(text, &work.fields)),
        Content::Table(columns, records) => draft.rows(&records, |text| {
            columns.row(&decode(text, None)).map_err(|error| ("broken row", error)).map(|row| Some((row, None)))
        }),
        Content::Gkg(records) => draft.rows(&records, gkg),
        Content::Broken(reject) => draft.reject(reject),
        Content::End => draft.batch.counts.documents += 1,
        Content::Failed(reject) => draft.failed(reject),
    }
    let mut batch = draft.batch;
    batch.position = piece.position.text();
    (batch.source, batch.done) = (piece.source, piece.done);
    // A page of the web was a request to somebody's server.
    batch.flush = piece.position.web.is_some();
    batch.counts.bytes = piece.bytes;
    batch
}

/// A row and when it was fetched, nothing where a row without a headline is the custom, or what is wrong.
type Parsed = Result<Option<(Row, Option<DateTime<Utc>>)>, (&'static str, String)>;

fn json(text: &[u8], fields: &FieldMap) -> Parsed {
    let text = match std::str::from_utf8(text) {
        Ok(text) => Cow::Borrowed(text),
        Err(_) => decode(text, None),
    };
    let parsed = fields::object(text.as_bytes(), fields).or_else(|error| match mended(&text) {
        Some(mended) => fields::object(mended.as_bytes(), fields),
        None => Err(error),
    });
    parsed.map(|row| Some((row, None))).map_err(|error| ("broken JSON", error.to_string()))
}

/// GDELT's knowledge graph 2.1: the page's address and, in the extras, its title.
fn gkg(text: &[u8]) -> Parsed {
    let text = decode(text, None);
    let cells: Vec<&str> = text.split('\t').collect();
    let (Some(date), Some(link)) = (cells.get(1), cells.get(4)) else {
        return Err(("broken row", format!("{} cells, but a knowledge graph has 27", cells.len())));
    };
    let extras = cells.get(26).copied().unwrap_or_default();
    let extra = |name: &str| {
        let (_, rest) = extras.split_once(&format!("<{name}>"))?;
        rest.split_once(&format!("</{name}>")).map(|(value, _)| value.trim())
    };
    // Not every page that GDELT has read has one.
    let Some(title) = extra("PAGE_TITLE") else { return Ok(None) };
    let mut row = Row::default();
    row.put((Field::Title, 0), title);
    row.put((Field::Link, 0), *link);
    row.put((Field::FeedTitle, 0), cells.get(3).copied().unwrap_or_default());
    row.put((Field::Published, 0), extra("PAGE_PRECISEPUBTIMESTAMP").unwrap_or_default());
    extra("PAGE_AUTHORS").unwrap_or_default().split(';').for_each(|name| row.put((Field::Author, 0), name));
    let language = cells.get(25).and_then(|info| info.split(';').find_map(|part| part.strip_prefix("srclc:")));
    row.put((Field::Language, 0), language.unwrap_or("en"));
    Ok(Some((row, crate::parse::dates::parse(date))))
}

/// The first place where one of `names` stands.
fn first(start: &str, names: &[&str]) -> Option<usize> {
    names.iter().filter_map(|name| start.find(name)).min()
}

/// What a feed begins with, in lower case.
const FEEDS: [&str; 3] = ["<rss", "<feed", "<rdf:rdf"];

/// Whether a page begins so, in lower case. A feed may quote a whole page in its first entry.
fn is_web_page(start: &str) -> bool {
    let feed = first(start, &FEEDS).unwrap_or(usize::MAX);
    first(start, &["<html", "<!doctype html"]).is_some_and(|page| page < feed)
}

/// Whether a feed begins so, in lower case.
fn is_feed(start: &str) -> bool {
    first(start, &FEEDS).is_some()
}

/// The batch being made.
struct Draft<'w> {
    work: &'w Work,
    now: DateTime<Utc>,
    file: &'w str,
    batch: Batch,
    outlets: HashMap<String, usize>,
}

/// Where an entry stands.
#[derive(Clone, Copy)]
struct Stands {
    record: u64,
    byte: u64,
}

impl Draft<'_> {
    fn rows(&mut self, records: &Records, read: impl Fn(&[u8]) -> Parsed) {
        let mut entries: Vec<(usize, Entry, Option<DateTime<Utc>>, Span)> = Vec::with_capacity(records.spans.len());
        for (text, span) in records.iter() {
            match read(text) {
                Ok(Some((row, at))) => {
                    let outlet = self.outlet_of(&row, None);
                    entries.push((outlet, row.entry(), at, span));
                }
                Ok(None) => self.batch.counts.passed_over += 1,
                Err((reason, detail)) => {
                    self.reject(Reject::of(self.file, reason, detail).at(span.record, span.byte).text(text));
                }
            }
        }
        for outlet in 0..self.batch.outlets.len() {
            let own = entries.iter().filter(|(of, ..)| *of == outlet).map(|(_, entry, ..)| entry);
            if dedup::ids_repeat(own) {
                self.batch.outlets[outlet].policy = IdentityPolicy::Link;
            }
        }
        for (outlet, entry, at, span) in entries {
            self.entry(outlet, entry, at, Stands { record: span.record, byte: span.byte });
        }
    }

    /// The outlet of a row: as it says, else `known`, else the file.
    fn outlet_of(&mut self, row: &Row, known: Option<String>) -> usize {
        let url = row.outlet().or(known).unwrap_or_else(|| format!("file:{}", self.file));
        let title = row.get(Field::FeedTitle).map(str::trim).filter(|title| !title.is_empty()).map(str::to_owned);
        self.outlet(url, title)
    }

    fn outlet(&mut self, url: String, title: Option<String>) -> usize {
        if let Some(&known) = self.outlets.get(&url) {
            return known;
        }
        let index = self.batch.outlets.len();
        self.outlets.insert(url.clone(), index);
        self.batch.outlets.push(Outlet { url, title, policy: IdentityPolicy::Guid });
        index
    }

    fn page(&mut self, page: Page) {
        let start = &page.body[..page.body.len().min(2_048)];
        let start = String::from_utf8_lossy(start).to_ascii_lowercase();
        if sitemap::is_sitemap(&start) {
            return self.sitemap(&page);
        }
        let kind = page.content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
        // A page may begin with a long comment; that it is one is then said by whoever sent it.
        if is_web_page(&start) || (page.record > 0 && kind.contains("html") && !is_feed(&start)) {
            return self.article(&page);
        }
        if start.contains("<opml") {
            let note = "a list of feeds (OPML): name the file itself as a source to have them fetched".to_owned();
            return self.unread(&page, "not followed", note);
        }
        let url = page.url.as_deref().and_then(|url| Url::parse(url).ok());
        let context = Context { content_type: page.content_type.as_deref(), url: url.as_ref() };
        match parse_as_declared(&page.body, &context) {
            Ok(document) => self.feed(document, page),
            // An archive of the web holds scripts, styles and lists for robots too.
            Err(_) if page.record > 0 && !kind.contains("xml") => self.batch.counts.passed_over += 1,
            Err(error) => self.unread(&page, "not a feed", error.to_string()),
        }
    }

    /// A document that nothing is read from: a record of its archive, or a file of its own.
    fn unread(&mut self, page: &Page, reason: &'static str, detail: String) {
        let reject = Reject::of(self.file, reason, detail);
        match page.record {
            // That it is cut off is told in the piece behind it.
            0 if page.torn => {}
            0 => self.failed(reject.text(&page.body)),
            record => self.reject(reject.at(record, page.byte).text(&page.body)),
        }
    }

    fn read_whole(&mut self, page: &Page) {
        self.batch.counts.documents += u64::from(page.record == 0 && !page.torn);
    }

    fn feed(&mut self, mut document: Document, page: Page) {
        self.read_whole(&page);
        let named = page.feed.or(document.self_url).or(page.url).or(document.site);
        let outlet = self.outlet(named.unwrap_or_else(|| format!("file:{}", self.file)), document.title);
        if dedup::ids_repeat(&document.entries) {
            self.batch.outlets[outlet].policy = IdentityPolicy::Link;
        }
        // Detection costs more than all the rest: the document's language is asked for only if an alert may come of it.
        let settled: Vec<bool> = document.entries.iter_mut().map(|entry| self.settled(entry)).collect();
        detect_languages(&mut document.entries, |place| !settled[place]);
        for ((record, entry), settled) in (1..).zip(document.entries).zip(settled) {
            self.judged(outlet, entry, page.at, Stands { record, byte: page.byte }, settled);
        }
        if document.dropped > 0 {
            self.batch.counts.read += document.dropped as u64;
            self.batch.counts.rejected += document.dropped as u64;
            self.reason("beyond the most entries of a document", document.dropped as u64);
        }
    }

    fn sitemap(&mut self, page: &Page) {
        self.read_whole(page);
        let sitemap = sitemap::read(&decode(&page.body, page.content_type.as_deref()));
        let stands = Stands { record: page.record.max(1), byte: page.byte };
        for row in sitemap.rows {
            let outlet = self.outlet_of(&row, page.feed.clone());
            self.entry(outlet, row.entry(), page.at, stands);
        }
        self.batch.counts.passed_over += sitemap.untitled as u64;
        if page.url.is_none() && !sitemap.children.is_empty() {
            let note = "a list of sitemaps on disk: name its address to have them fetched".to_owned();
            self.unread(page, "not followed", note);
        }
    }

    fn article(&mut self, page: &Page) {
        self.read_whole(page);
        let mut facts = page::facts(&decode(&page.body, page.content_type.as_deref()));
        let url = page.url.as_deref().and_then(|url| Url::parse(url).ok());
        let is_home = url.as_ref().is_some_and(|url| url.path() == "/" && url.query().is_none());
        if !facts.is_article && (is_home || facts.row.get(Field::Published).is_none()) {
            self.batch.counts.passed_over += 1;
            return;
        }
        let canonical = facts.row.get(Field::Link).map(str::to_owned);
        let joined = canonical.and_then(|link| match &url {
            Some(url) => url.join(&link).ok().map(String::from),
            None => Some(link),
        });
        facts.row.forget(Field::Link);
        joined.or_else(|| page.url.clone()).into_iter().for_each(|link| facts.row.put((Field::Link, 0), link));
        let outlet = self.outlet_of(&facts.row, page.url.as_deref().and_then(fields::site));
        let mut entry = facts.row.entry();
        entry.guid = None;
        self.entry(outlet, entry, page.at, Stands { record: page.record, byte: page.byte });
    }

    /// An entry that stands alone on its way to be an item.
    fn entry(&mut self, outlet: usize, mut entry: Entry, at: Option<DateTime<Utc>>, stands: Stands) {
        let settled = self.settled(&mut entry);
        detect_languages(std::slice::from_mut(&mut entry), |_| !settled);
        self.judged(outlet, entry, at, stands, settled);
    }

    /// An entry that the quick model has seen.
    fn judged(&mut self, outlet: usize, entry: Entry, at: Option<DateTime<Utc>>, stands: Stands, settled: bool) {
        self.batch.counts.read += 1;
        let Outlet { url, policy, .. } = &self.batch.outlets[outlet];
        let Ok(candidate) = dedup::candidate(entry, url, *policy, at.unwrap_or(self.now)) else {
            self.batch.counts.read -= 1;
            return self.reject(Reject::of(self.file, "no text", "").at(stands.record, stands.byte));
        };
        let dated = candidate.item.published_source != PublishedSource::FirstSeen || at.is_some();
        if dated && !self.work.window.holds(candidate.item.published) {
            self.batch.counts.outside += 1;
            return;
        }
        self.batch.sightings.push(Sighting { outlet, candidate, settled });
    }

    fn settled(&self, entry: &mut Entry) -> bool {
        let Some(prefilter) = &self.work.prefilter else { return false };
        let text = Text { title: std::mem::take(&mut entry.title), summary: std::mem::take(&mut entry.summary) };
        let settled = prefilter.settles(&text);
        (entry.title, entry.summary) = (text.title, text.summary);
        settled
    }

    fn reject(&mut self, reject: Reject) {
        self.batch.counts.read += 1;
        self.batch.counts.rejected += 1;
        self.note(reject, NOTES);
    }

    fn failed(&mut self, reject: Reject) {
        self.batch.counts.failed += 1;
        self.note(reject, usize::MAX);
    }

    fn note(&mut self, reject: Reject, most: usize) {
        self.reason(reject.reason, 1);
        if self.batch.notes.len() < most {
            self.batch.notes.push(reject.to_string());
        }
        if self.work.keep_rejects {
            // Strings and numbers: writing them cannot fail.
            self.batch.rejects.push(serde_json::to_string(&reject).unwrap_or_default());
        }
    }

    fn reason(&mut self, reason: &str, count: u64) {
        *self.batch.counts.reasons.entry(reason.to_owned()).or_default() += count;
    }
}
