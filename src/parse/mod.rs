//! Bytes of a feed document to a [`Document`]: decode, repair and reduce, feed-rs, normalise.

pub mod dates;
mod error;
pub mod links;

pub use error::{ErrorKind, Layer, Lookalike, ParseError};

use crate::item::{Document, Entry, Format};
use feed_rs::model;

/// What is known about a document besides its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The HTTP `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Where the document was fetched from, after redirects.
    pub url: Option<&'a url::Url>,
}

/// Reads a feed document.
///
/// # Errors
/// Says what was served instead, or which layer gave up where.
pub fn parse(body: &[u8], context: &Context<'_>) -> Result<Document, ParseError> {
    let broken = |reason: String| ParseError::Broken { layer: Layer::Feed, position: 0, reason };
    let base = context.url.map(url::Url::as_str);
    let read = std::panic::catch_unwind(|| {
        feed_rs::parser::Builder::new()
            .base_uri(base)
            .id_generator(|_, _, _| String::new())
            .timestamp_parser(dates::parse)
            .build()
            .parse(body)
    });
    let feed = read.map_err(|_| broken("panic".into()))?.map_err(|error| broken(error.to_string()))?;
    let text = |text: Option<model::Text>| text.map(|text| text.content).unwrap_or_default();
    Ok(Document {
        format: Format::Rss2,
        title: feed.title.map(|title| title.content),
        site: feed.links.first().map(|link| link.href.clone()),
        entries: feed
            .entries
            .into_iter()
            .map(|entry| Entry {
                guid: Some(entry.id).filter(|id| !id.is_empty()),
                title: text(entry.title),
                link: entry.links.first().map(|link| link.href.clone()),
                summary: text(entry.summary),
                published: entry.published.or(entry.updated),
                updated: entry.updated,
                authors: entry.authors.into_iter().filter_map(|person| person.name).collect(),
                categories: entry.categories.into_iter().map(|category| category.term).collect(),
                language: entry.language.or_else(|| feed.language.clone()),
            })
            .collect(),
        ..Document::default()
    })
}
