//! Who is named in an item, and where it happens: states, bodies, groups, leaders and envoys, and the places of talks.
//!
//! The dictionary is data ([`dictionary`]; `config/actors/*.toml`, which a user's files extend), compiled into one
//! automaton ([`compile`]). A pass over the text finds every surface ([`scan`]); rules, data as well, settle what
//! each stands for where it stands ([`judge`], [`seats`], [`roles`]).

pub mod compile;
pub mod config;
pub mod dictionary;
mod judge;
mod load;
mod roles;
mod scan;
mod seats;
mod words;

use std::ops::Range;

use serde::Serialize;

pub use config::ActorsConfig;
pub use dictionary::{Dictionary, Kind};
pub use load::{DictionaryError, Source};

/// Bytes of title and summary that are read. Who is named later is hardly what an item is about, and a document of
/// hostile length costs no more than a long one; smaller, and the second paragraph of a summary is lost.
const READ_BYTES: usize = 4096;

/// One actor that a text names.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct Actor {
    /// The usual English name.
    pub name: String,
    /// What sort of actor it is.
    pub kind: Kind,
    /// ISO 3166-1 alpha-3 code of its state, if it has one.
    pub country: Option<String>,
    /// ISO 3166-1 alpha-3 code of a state, or a short id.
    pub id: String,
}

/// What a text names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Named {
    /// Actors, in the order of first mention.
    pub actors: Vec<Actor>,
    /// English names of places, in the order of first mention.
    pub places: Vec<String>,
    /// Which words of the text (title, line feed, summary) stand for an actor or a place, in order.
    pub spans: Vec<Range<usize>>,
}

/// The compiled dictionary.
#[derive(Debug)]
pub struct Extractor {
    dictionary: Dictionary,
    compiled: compile::Compiled,
}

impl Extractor {
    /// The built-in dictionary with `sources` over it.
    ///
    /// # Errors
    /// [`DictionaryError`] with every problem of the sources, by file and line.
    pub fn new(sources: &[Source]) -> Result<Self, DictionaryError> {
        let dictionary = load::dictionary(sources)?;
        let compiled =
            compile::Compiled::new(&dictionary).map_err(|error| DictionaryError::Automaton(error.to_string()))?;
        Ok(Self { dictionary, compiled })
    }

    /// Whom and what `title` and the start of `summary` name.
    pub fn extract(&self, title: &str, summary: &str) -> Named {
        let text = read(title, summary);
        let scan = scan::scan(&self.compiled, &text);
        judge::settle(&self.dictionary, &text, scan)
    }
}

/// The text that is read of an item: title, line feed, start of the summary.
fn read(title: &str, summary: &str) -> String {
    let title = crate::classify::lead(title, READ_BYTES);
    let summary = crate::classify::lead(summary, READ_BYTES - title.len());
    format!("{title}\n{summary}")
}

#[cfg(test)]
mod tests;
