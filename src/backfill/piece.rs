//! What readers hand to the workers: pieces of a source, small enough to be held by the dozen, in an order and with
//! borders that depend on nothing but the source.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::table::Columns;

/// Where reading goes on after a piece. `pieces` of the file `file` have been taken in, and all files before it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Position {
    /// The file, as it is shown.
    pub file: String,
    /// How many pieces of it.
    pub pieces: u64,
    /// Items of the next piece that have been taken in as well: `--limit` ends anywhere.
    #[serde(skip_serializing_if = "is_zero")]
    pub taken: u64,
    /// What tells this state of the file from others: its length and when it was written, hashed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stamp: Option<u64>,
    /// What a source on the web has still to ask for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web: Option<super::web::Frontier>,
}

impl Position {
    /// Reads what [`Self::text`] has written. One that cannot be read is as none: all is read again, and known.
    pub fn parse(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// As it stands in the store. It is made of plain values: writing it cannot fail.
    pub fn text(&self) -> String {
        serde_json::to_string(self).unwrap_or_default()
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes what it may skip by reference")]
fn is_zero(n: &u64) -> bool {
    *n == 0
}

/// Records in one block of text.
#[derive(Debug, Default)]
pub struct Records {
    /// The block.
    pub text: Vec<u8>,
    /// Where in it they lie, and where in their file.
    pub spans: Vec<Span>,
}

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// Start in the block.
    pub start: usize,
    /// End in the block.
    pub end: usize,
    /// Its number within its file, from 1 (for lines: the line).
    pub record: u64,
    /// Its first byte within its (unpacked) file.
    pub byte: u64,
}

impl Records {
    /// Adds a record.
    pub fn push(&mut self, text: &[u8], record: u64, byte: u64) {
        let start = self.text.len();
        self.text.extend_from_slice(text);
        self.spans.push(Span { start, end: self.text.len(), record, byte });
    }

    /// The records with their places.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], Span)> {
        self.spans.iter().map(|span| (&self.text[span.start..span.end], *span))
    }
}

/// A document with an address: an HTTP answer in an archive, a page, a snapshot.
#[derive(Debug)]
pub struct Page {
    /// Where it was found.
    pub url: Option<String>,
    /// The feed that it is a part of, where that is known.
    pub feed: Option<String>,
    /// The `Content-Type` it came with.
    pub content_type: Option<String>,
    /// The document.
    pub body: Vec<u8>,
    /// When it was fetched.
    pub at: Option<DateTime<Utc>>,
    /// Its number within its file.
    pub record: u64,
    /// Its first byte within its (unpacked) file.
    pub byte: u64,
    /// Whether its end is missing, which the next piece tells of.
    pub torn: bool,
}

/// What a piece holds.
#[derive(Debug)]
pub enum Content {
    /// Feed documents, web pages, sitemaps; which, they say themselves.
    Pages(Vec<Page>),
    /// JSON objects.
    Json(Records),
    /// Rows of a table.
    Table(Arc<Columns>, Records),
    /// Rows of a GDELT knowledge graph.
    Gkg(Records),
    /// A record that could not be read.
    Broken(Reject),
    /// The end of a document of many records.
    End,
    /// The document cannot be read, or not beyond this place.
    Failed(Reject),
}

impl Content {
    /// Bytes held.
    pub fn size(&self) -> usize {
        match self {
            Self::Pages(pages) => pages.iter().map(|page| page.body.len()).sum(),
            Self::Json(records) | Self::Table(_, records) | Self::Gkg(records) => records.text.len(),
            Self::Broken(reject) | Self::Failed(reject) => reject.text.len(),
            Self::End => 0,
        }
    }
}

/// A piece of a source.
#[derive(Debug)]
pub struct Piece {
    /// The source's place on the command line.
    pub source: usize,
    /// The file (and the member of an archive) it is from, as it is shown.
    pub file: Arc<str>,
    /// Where reading goes on once it has been taken in.
    pub position: Position,
    /// Whether the source ends with it.
    pub done: bool,
    /// Bytes that were read for it.
    pub bytes: u64,
    /// What it holds.
    pub content: Content,
}

/// Pieces that go to a worker together, and the room that they take until they are parsed.
#[derive(Debug)]
pub struct Bundle {
    /// In order.
    pub pieces: Vec<Piece>,
    /// Given back with the bundle; none for what is bounded otherwise.
    pub room: Option<tokio::sync::OwnedSemaphorePermit>,
}

/// A record that cannot be an item, or a document that cannot be read, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reject {
    /// Its file and, behind `!`, the member of an archive.
    pub file: String,
    /// Its number within the file, from 1; for lines, the line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<u64>,
    /// Its first byte within the unpacked file.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub byte: Option<u64>,
    /// What kind of fault it is: few words, the same for all of a kind.
    pub reason: &'static str,
    /// What exactly.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub detail: String,
    /// Its text, as far as is kept.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub text: String,
}

/// Most of a rejected record that is kept, in bytes. More only helps records that are broken at their end; a gigabyte in one
/// line must not come back in the file of rejects.
const KEPT: usize = 64 * 1024;

impl Reject {
    /// Of a document as a whole.
    pub fn of(file: &str, reason: &'static str, detail: impl Into<String>) -> Self {
        let (file, detail) = (file.to_owned(), detail.into());
        Self { file, record: None, byte: None, reason, detail, text: String::new() }
    }

    /// With its place.
    pub fn at(mut self, record: u64, byte: u64) -> Self {
        (self.record, self.byte) = (Some(record), Some(byte));
        self
    }

    /// With its text.
    pub fn text(mut self, text: &[u8]) -> Self {
        self.text = String::from_utf8_lossy(&text[..text.len().min(KEPT)]).into_owned();
        self
    }
}

impl std::fmt::Display for Reject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(record) = self.record {
            write!(f, ", record {record}")?;
        }
        if let Some(byte) = self.byte {
            write!(f, ", byte {byte}")?;
        }
        write!(f, ": {}", self.reason)?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}
