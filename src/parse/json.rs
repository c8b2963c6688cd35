//! JSON Feed 1.0 and 1.1 (jsonfeed.org), with tolerant types: numbers for strings, one for many, missing fields,
//! trailing bytes, a missing end. feed-rs refuses all of these.
//!
//! Fields of no interest are skipped while reading and never held, so that no document costs more than its feed.

mod tolerant;
mod truncated;

use serde::Deserialize;
use url::Url;

use self::tolerant::{Items, Many, Text};
use super::error::{Layer, Lookalike, ParseError};
use super::text::{Kind, MAX_SUMMARY, MAX_TITLE, plain};
use super::{dates, language, links, normalise};
use crate::item::{Document, Entry, Format};

/// Longest id kept, in bytes.
const MAX_ID: usize = 4_096;

/// Most authors that entries take over from the feed: each comes back in every entry.
const MAX_SHARED: usize = 4;

#[derive(Deserialize, Default)]
#[serde(default)]
struct Feed {
    version: Text,
    title: Text,
    home_page_url: Text,
    feed_url: Text,
    next_url: Text,
    language: Text,
    hubs: Many,
    author: Many,
    authors: Many,
    items: Option<Items<Item>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Item {
    id: Text,
    url: Text,
    external_url: Text,
    title: Text,
    summary: Text,
    content_text: Text,
    content_html: Text,
    date_published: Text,
    date_modified: Text,
    language: Text,
    author: Many,
    authors: Many,
    tags: Many,
}

/// Whether a document is JSON rather than XML.
pub fn is_json(text: &str) -> bool {
    text.trim_start().starts_with('{')
}

/// Reads a JSON Feed.
///
/// # Errors
/// Where it is some other JSON, broken, or holds neither title nor items.
pub fn parse(text: &str, url: Option<&Url>) -> Result<Document, ParseError> {
    // line breaks inside strings are an error in JSON and common in feeds; outside they are blanks anyway
    let flat = text.replace(['\n', '\r', '\t'], " ");
    let feed = read(&flat).map_err(|error| ParseError::Broken {
        layer: Layer::Json,
        position: error.column().saturating_sub(1), // one line only: see `flat`
        reason: error.to_string(),
    })?;
    let position = flat.len();
    let is_feed = feed.items.is_some() || feed.version.0.as_deref().is_some_and(|version| version.contains("jsonfeed"));
    if !is_feed {
        return Err(ParseError::NotAFeed { looks_like: Lookalike::Json, layer: Layer::Json, position });
    }
    let document = document(feed, url);
    let is_hollow = document.title.is_none() && document.entries.is_empty();
    if is_hollow { Err(ParseError::Hollow { layer: Layer::Json, position }) } else { Ok(document) }
}

/// The first JSON value of `text`; of one that ends too early, its whole items.
fn read(text: &str) -> serde_json::Result<Feed> {
    let first = |text: &str| Feed::deserialize(&mut serde_json::Deserializer::from_str(text));
    first(text).or_else(|error| match truncated::closed(text).filter(|_| error.is_eof()) {
        Some(closed) => first(&closed),
        None => Err(error),
    })
}

fn document(feed: Feed, url: Option<&Url>) -> Document {
    let absolute = |link: Option<String>| link.and_then(|link| links::absolute(&link, url));
    let site = absolute(feed.home_page_url.0);
    let site_url = site.as_deref().and_then(|site| links::base(Url::parse(site).ok()?));
    let language = feed.language.0.as_deref().and_then(language::declared);
    let mut authors = [feed.authors.0, feed.author.0].concat();
    authors.truncate(MAX_SHARED);
    let items = feed.items.unwrap_or_default();
    let entry = |item: Item| entry(item, site_url.iter().chain(url), language.as_ref(), &authors);
    let mut document = Document {
        format: Format::Json,
        title: feed.title.0.map(|title| plain(&title, Kind::Text, MAX_TITLE)).filter(|title| !title.is_empty()),
        self_url: absolute(feed.feed_url.0),
        hub: absolute(feed.hubs.0.into_iter().next()),
        older: absolute(feed.next_url.0),
        entries: items.kept.into_iter().map(entry).collect(),
        dropped: items.dropped,
        site,
        ..Document::default()
    };
    language::detect_missing(&mut document.entries);
    document
}

fn entry<'u>(
    item: Item,
    bases: impl Iterator<Item = &'u Url> + Clone,
    feed_language: Option<&String>,
    feed_authors: &[String],
) -> Entry {
    let id_link = item.id.0.clone().filter(|id| links::is_web(id));
    let candidates = [item.url.0, id_link, item.external_url.0];
    let link = candidates.into_iter().flatten().find_map(|link| links::absolute(&link, bases.clone()));
    let bodies = [(item.summary.0, Kind::Text), (item.content_text.0, Kind::Text), (item.content_html.0, Kind::Html)];
    let mut bodies = bodies.into_iter().filter_map(|(body, kind)| Some(plain(&body?, kind, MAX_SUMMARY)));
    let summary = bodies.find(|body| !body.is_empty()).unwrap_or_default();
    let title = plain(item.title.0.as_deref().unwrap_or_default(), Kind::Text, MAX_TITLE);
    let date = |text: Text| text.0.as_deref().and_then(dates::parse);
    let (published, updated) = (date(item.date_published), date(item.date_modified));
    let own_authors = [item.authors.0, item.author.0].concat();
    let authors = if own_authors.is_empty() { feed_authors } else { &own_authors };
    let language = item.language.0.as_deref().and_then(language::declared).or_else(|| feed_language.cloned());
    Entry {
        guid: item.id.0.map(|id| id.trim().to_owned()).filter(|id| !id.is_empty() && id.len() <= MAX_ID),
        language,
        authors: authors.iter().filter_map(|name| normalise::author(name)).collect(),
        categories: item.tags.0.iter().filter_map(|tag| normalise::label(tag)).collect(),
        published: published.or(updated),
        title,
        link,
        summary,
        updated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Document {
        parse(text, None).unwrap_or_default()
    }

    #[test]
    fn takes_wrong_types() {
        let feed = read(
            r#"{"version": 1.1, "title": "Desk", "author": {"name": "Ada"}, "hubs": [{"type": "WebSub", "url": "https://hub.example"}],
            "items": [null, 7, {"id": 42, "title": null, "url": ["x"], "content_html": "<p>Talks
            resume</p>", "date_published": 1538813702, "tags": "peace", "unknown": {"deep": [1, {"a": 2}]}},
            {"id": "https://example.org/a", "authors": ["Bo", {"url": "https://example.org/c"}]}]} trailing"#,
        );
        assert_eq!(feed.hub.as_deref(), Some("https://hub.example"));
        let [first, second] = feed.entries.as_slice() else { unreachable!("two objects among the items") };
        assert_eq!((first.guid.as_deref(), first.link.as_deref()), (Some("42"), None));
        assert_eq!(
            (first.summary.as_str(), first.published.map(|time| time.timestamp())),
            ("Talks resume", Some(1_538_813_702))
        );
        assert_eq!(
            (first.authors.as_slice(), first.categories.as_slice()),
            (["Ada".to_owned()].as_slice(), ["peace".to_owned()].as_slice())
        );
        assert_eq!(second.link.as_deref(), Some("https://example.org/a"));
        assert_eq!(second.authors, ["Bo", "https://example.org/c"]);
    }

    #[test]
    fn a_missing_end_costs_one_item() {
        let feed = read(r#"{"title": "Desk", "items": [{"id": "1", "title": "Talks"}, {"id": "2", "title": "Mor"#);
        assert_eq!(feed.title.as_deref(), Some("Desk"));
        assert_eq!(feed.entries.iter().map(|entry| entry.title.as_str()).collect::<Vec<_>>(), ["Talks"]);
    }

    #[test]
    fn says_what_is_wrong() {
        let error = |text| parse(text, None).map(|_| ()).unwrap_err();
        assert!(matches!(error("{\"name\": 1}"), ParseError::NotAFeed { looks_like: Lookalike::Json, .. }));
        assert!(matches!(error("{\"items\": []}"), ParseError::Hollow { .. }));
        assert!(matches!(error("{\"items\": [}"), ParseError::Broken { layer: Layer::Json, position: 11, .. }));
    }
}
