//! Bytes of a feed document to a [`Document`], in small layers, each tested on its own:
//!
//! ```text
//! bytes → decode → lex → reduce → feed-rs → normalise → Document
//!                      ↘ json ↗
//! ```
//!
//! `decode` settles the encoding. `reduce` reads any dialect of RSS, Atom and CDF, however broken (`lex`, `entities`,
//! `vocabulary`), and writes a small well-formed Atom document with only what we use; by that, nothing that feed-rs
//! refuses or panics on reaches it. `normalise` makes clean text (`text`), absolute links ([`links`]), UTC times
//! ([`dates`]) and a language (`language`) of feed-rs's model. JSON Feed has a path of its own (`json`).
//!
//! Every layer is pure and linear in the length of the body, with every growth capped.

mod alternates;
pub mod dates;
mod decode;
mod entities;
mod error;
mod json;
mod language;
mod lex;
pub mod links;
mod normalise;
mod reduce;
mod suspect;
mod text;
mod vocabulary;

pub use alternates::{Alternate, alternates};
pub use decode::decode;
pub use error::{ErrorKind, Layer, Lookalike, ParseError};
pub use reduce::{Reduced, reduce};
pub use text::{MAX_SUMMARY, MAX_TITLE};

// What reads history from other things than feeds cleans it with.
pub(crate) use alternates::attribute;
pub(crate) use entities::{Own, decoded};
pub(crate) use language::{declared as declared_language, detect_missing as detect_languages};
pub(crate) use lex::{Lexer, Token};
pub(crate) use normalise::{author, label};
pub(crate) use text::{Kind as TextKind, plain};

use std::panic::{AssertUnwindSafe, catch_unwind};

use feed_rs::model;
use url::Url;

use crate::item::Document;

/// What is known about a document besides its bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Context<'a> {
    /// The HTTP `Content-Type` header.
    pub content_type: Option<&'a str>,
    /// Where the document was fetched from, after redirects.
    pub url: Option<&'a Url>,
}

/// Reads a feed document.
///
/// # Errors
/// Says what was served instead of a feed, or which layer gave up where; see [`ParseError::kind`].
pub fn parse(body: &[u8], context: &Context<'_>) -> Result<Document, ParseError> {
    // the layers are not known to panic; a mistake in one of them must cost one document, not the process
    catch_unwind(AssertUnwindSafe(|| parse_layers(body, context))).unwrap_or_else(|_| Err(panicked(Layer::Repair)))
}

fn parse_layers(body: &[u8], context: &Context<'_>) -> Result<Document, ParseError> {
    if let Some(looks_like) = suspect::binary(body) {
        return Err(ParseError::NotAFeed { looks_like, layer: Layer::Decode, position: 0 });
    }
    let text = decode(body, context.content_type);
    if text.trim().is_empty() {
        return Err(ParseError::NoContent { bytes: body.len() });
    }
    let url = context.url.cloned().and_then(links::base);
    if json::is_json(&text) {
        return json::parse(&text, url.as_ref());
    }
    let reduced = reduce(&text, url.as_ref());
    if reduced.facts.format.is_none() {
        let looks_like = suspect::text(&text, reduced.root.as_deref());
        return Err(ParseError::NotAFeed { looks_like, layer: Layer::Repair, position: reduced.position });
    }
    let (position, entries) = (reduced.position, reduced.beside.len());
    let feed = read(reduced.xml)?;
    if feed.entries.len() != entries {
        let reason = format!("{} of {entries} entries came back", feed.entries.len());
        return Err(ParseError::Broken { layer: Layer::Feed, position: 0, reason });
    }
    let document = normalise::document(feed, reduced.facts, reduced.beside, url.as_ref());
    let is_hollow = document.title.is_none() && document.entries.is_empty();
    if is_hollow { Err(ParseError::Hollow { layer: Layer::Repair, position }) } else { Ok(document) }
}

/// feed-rs over the small document. A fresh parser each time, since it keeps state; ids are left as they are, since it
/// would make up random ones.
fn read(xml: String) -> Result<model::Feed, ParseError> {
    let parser = || {
        feed_rs::parser::Builder::new()
            .id_generator(|_, _, _| String::new())
            .timestamp_parser(dates::parse)
            .sanitize_content(false)
            .build()
            .parse(xml.as_bytes())
    };
    let read = catch_unwind(AssertUnwindSafe(parser)).map_err(|_| panicked(Layer::Feed))?;
    read.map_err(|error| ParseError::Broken { layer: Layer::Feed, position: 0, reason: error.to_string() })
}

fn panicked(layer: Layer) -> ParseError {
    ParseError::Broken { layer, position: 0, reason: "the parser itself failed; please report this document".into() }
}
