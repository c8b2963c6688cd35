//! The reading side's way out: pieces into the bounded channel, numbered, those of an earlier run passed over.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use crate::pipeline::capacity;

use super::piece::{Bundle, Content, Page, Piece, Position, Records, Reject};

/// Bytes after which a piece is full. Smaller costs more hops between threads, larger more memory.
pub const PIECE_BYTES: usize = 512 * 1024;

/// Records after which a piece is full.
pub const PIECE_RECORDS: usize = 1_024;

/// Pieces that go to a worker together at most. A hop between threads costs as much as a small file: a directory of them takes
/// twice as long one by one.
const BUNDLE: usize = 64;

/// Why reading ends before the document does.
#[derive(Debug)]
pub enum Stop {
    /// The run is told to stop, or nobody takes pieces any more.
    Halt,
    /// The document cannot be read on.
    Trouble(Reject),
}

impl Stop {
    /// A document that cannot be read on.
    pub fn trouble(file: &str, reason: &'static str, detail: impl Into<String>) -> Self {
        Self::Trouble(Reject::of(file, reason, detail))
    }
}

/// Sends a source's pieces.
pub struct Feeder {
    pieces: mpsc::Sender<Bundle>,
    /// Room for what is read and not parsed yet, KiB.
    room: Arc<Semaphore>,
    /// Pieces that are not sent yet, and the bytes in them.
    bundle: Vec<Piece>,
    held: usize,
    stop: CancellationToken,
    source: usize,
    /// The file, without members of archives: what the position names.
    file: String,
    stamp: Option<u64>,
    sent: u64,
    /// Pieces of this file that an earlier run has taken in.
    known: u64,
    /// Bytes read of the file, and those told of.
    pub read: Arc<AtomicU64>,
    /// Bytes that it has unpacked to.
    pub unpacked: Arc<AtomicU64>,
    told: u64,
}

impl Feeder {
    /// For the source at `source` on the command line.
    pub fn new(pieces: mpsc::Sender<Bundle>, room: Arc<Semaphore>, stop: CancellationToken, source: usize) -> Self {
        let (file, read, unpacked) = (String::new(), Arc::default(), Arc::default());
        Self {
            pieces,
            room,
            bundle: Vec::new(),
            held: 0,
            stop,
            source,
            file,
            stamp: None,
            sent: 0,
            known: 0,
            read,
            unpacked,
            told: 0,
        }
    }

    /// Turns to the next file, in the state `stamp`, of which `known` pieces have been taken in.
    pub fn begin(&mut self, file: &str, known: u64, stamp: Option<u64>) {
        file.clone_into(&mut self.file);
        self.stamp = stamp;
        (self.sent, self.known, self.told) = (0, known, 0);
        (self.read, self.unpacked) = Default::default();
    }

    /// Whether the run is told to stop.
    pub fn stopped(&self) -> bool {
        self.stop.is_cancelled() || self.pieces.is_closed()
    }

    /// Sends what `file` (of an archive, a member) holds.
    pub fn send(&mut self, file: &Arc<str>, content: Content) -> Result<(), Stop> {
        self.sent += 1;
        if self.stopped() {
            return Err(Stop::Halt);
        }
        let read = self.read.load(Ordering::Relaxed);
        if self.sent <= self.known {
            // The run that took these in has counted their bytes.
            self.told = read;
            return Ok(());
        }
        let bytes = read - std::mem::replace(&mut self.told, read);
        let position = self.position();
        self.held += content.size();
        self.bundle.push(Piece { source: self.source, file: file.clone(), position, done: false, bytes, content });
        if self.held >= PIECE_BYTES || self.bundle.len() >= BUNDLE { self.flush() } else { Ok(()) }
    }

    fn position(&self) -> Position {
        Position { file: self.file.clone(), pieces: self.sent, taken: 0, stamp: self.stamp, web: None }
    }

    fn flush(&mut self) -> Result<(), Stop> {
        let wanted = std::mem::take(&mut self.held).div_ceil(1024).min(capacity::HISTORY_ROOM_KIB);
        let room = self.room.clone().acquire_many_owned(u32::try_from(wanted).unwrap_or(u32::MAX));
        let room = tokio::runtime::Handle::current().block_on(room).map_err(|_| Stop::Halt)?;
        let bundle = Bundle { pieces: std::mem::take(&mut self.bundle), room: Some(room) };
        self.pieces.blocking_send(bundle).map_err(|_| Stop::Halt)
    }

    /// Says that the source has come to its end.
    pub fn end(&mut self) -> Result<(), Stop> {
        if self.stopped() {
            return Err(Stop::Halt);
        }
        let position = self.position();
        let content = Content::Pages(Vec::new());
        self.bundle.push(Piece { source: self.source, file: "".into(), position, done: true, bytes: 0, content });
        self.flush()
    }

    /// A broken record.
    pub fn broken(&mut self, file: &Arc<str>, reject: Reject) -> Result<(), Stop> {
        self.send(file, Content::Broken(reject))
    }

    /// One document; `torn` if its end is missing.
    pub fn page(&mut self, file: &Arc<str>, body: Vec<u8>, torn: bool) -> Result<(), Stop> {
        let page = Page { url: None, feed: None, content_type: None, body, at: None, record: 0, byte: 0, torn };
        self.send(file, Content::Pages(vec![page]))
    }
}

/// Gathers records up to a piece.
pub struct Gather<'f> {
    feeder: &'f mut Feeder,
    file: Arc<str>,
    records: Records,
    wrap: Box<dyn Fn(Records) -> Content + 'f>,
}

impl<'f> Gather<'f> {
    /// For records of `file` that are sent as `wrap` makes them.
    pub fn new(feeder: &'f mut Feeder, file: &Arc<str>, wrap: impl Fn(Records) -> Content + 'f) -> Self {
        Self { feeder, file: file.clone(), records: Records::default(), wrap: Box::new(wrap) }
    }

    /// Takes a record.
    pub fn push(&mut self, text: &[u8], record: u64, byte: u64) -> Result<(), Stop> {
        self.records.push(text, record, byte);
        let full = self.records.spans.len() >= PIECE_RECORDS || self.records.text.len() >= PIECE_BYTES;
        if full { self.flush() } else { Ok(()) }
    }

    /// Takes a record that cannot be read, in its place among the others.
    pub fn broken(&mut self, reject: Reject) -> Result<(), Stop> {
        self.flush()?;
        self.feeder.broken(&self.file, reject)
    }

    /// Sends what was gathered.
    pub fn flush(&mut self) -> Result<(), Stop> {
        if self.records.spans.is_empty() {
            return Ok(());
        }
        let records = std::mem::take(&mut self.records);
        self.feeder.send(&self.file, (self.wrap)(records))
    }

    /// Sends what is left, and that the document has come to its end.
    pub fn end(mut self) -> Result<(), Stop> {
        self.flush()?;
        self.feeder.send(&self.file, Content::End)
    }
}
