//! One file to pieces: unpacked as deep as it is packed, recognised by content.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::feeder::{Feeder, Gather, Stop};
use super::fields::FieldMap;
use super::lines::{Line, Lines};
use super::members::Members;
use super::meter::{Bomb, Capped, Caps, Counted};
use super::piece::{Content, Reject};
use super::sniff::{self, Format, Packing};
use super::{elements, table, warc};

/// Packings within each other that are opened: a dump of archives of packed files has three. A file that holds itself has
/// no end.
const DEEPEST: usize = 5;

/// How files are read.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest record, bytes.
    pub record: usize,
    /// Longest document parsed as a whole, bytes.
    pub document: usize,
    /// What a file may unpack to.
    pub caps: Caps,
}

/// Reads files for one source.
pub struct Reading<'a> {
    /// Where pieces go.
    pub feeder: &'a mut Feeder,
    /// The names of fields.
    pub fields: &'a FieldMap,
    /// What is too much.
    pub limits: &'a Limits,
}

impl Reading<'_> {
    /// Reads the file at `path`, shown as `name`. What is wrong with it is sent as a piece.
    ///
    /// # Errors
    /// [`Stop::Halt`] alone.
    pub fn file(&mut self, path: &Path, name: &str) -> Result<(), Stop> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) => return self.feeder.send(&name.into(), Content::Failed(unreadable(name, &error))),
        };
        let read = self.feeder.read.clone();
        let reader = BufReader::with_capacity(sniff::HEAD, Counted::new(&file, read));
        // A pipe with a name has no end to look at first.
        let is_file = file.metadata().is_ok_and(|file| file.is_file());
        self.whole(name, reader, is_file.then_some(&file))
    }

    /// Reads a stream that is no file.
    ///
    /// # Errors
    /// [`Stop::Halt`] alone.
    pub fn stream(&mut self, name: &str, stream: impl Read) -> Result<(), Stop> {
        let read = self.feeder.read.clone();
        self.whole(name, BufReader::with_capacity(sniff::HEAD, Counted::new(stream, read)), None)
    }

    fn whole(&mut self, name: &str, reader: impl BufRead, seekable: Option<&File>) -> Result<(), Stop> {
        let name: Arc<str> = name.into();
        self.told(&name.clone(), |reading| reading.open(name, Box::new(reader), seekable, 0))
    }

    /// Sends the trouble that `work` ends in.
    fn told(&mut self, file: &Arc<str>, work: impl FnOnce(&mut Self) -> Result<(), Stop>) -> Result<(), Stop> {
        match work(self) {
            Err(Stop::Trouble(reject)) => self.feeder.send(file, Content::Failed(reject)),
            other => other,
        }
    }

    fn open(
        &mut self,
        name: Arc<str>,
        reader: Box<dyn BufRead + '_>,
        seekable: Option<&File>,
        depth: usize,
    ) -> Result<(), Stop> {
        let (head, mut reader) = peek(reader).map_err(|error| cut_off(&name, &error, 1))?;
        let Some(packing) = sniff::packing(&head) else { return self.plain(&name, &head, &mut reader) };
        if depth >= DEEPEST {
            return Err(Stop::trouble(&name, "packed too deep", format!("{DEEPEST} times")));
        }
        match packing {
            Packing::Tar => self.tar(&name, reader, depth),
            Packing::Zip => match seekable {
                Some(file) => {
                    // It is read here and there: its members say how much.
                    self.feeder.read.store(0, Ordering::Relaxed);
                    self.zip(&name, file, depth, true)
                }
                None => {
                    let spool = self.spool(&name, reader)?;
                    self.zip(&name, &spool, depth, false)
                }
            },
            Packing::Gzip => self.unpacked(name, Members::new(reader), depth),
            Packing::Bzip2 => self.unpacked(name, bzip2::bufread::MultiBzDecoder::new(reader), depth),
            Packing::Zstd => {
                let decoder = zstd::Decoder::with_buffer(reader).map_err(|error| cut_off(&name, &error, 1))?;
                self.unpacked(name, decoder, depth)
            }
        }
    }

    fn unpacked(&mut self, name: Arc<str>, decoder: impl Read, depth: usize) -> Result<(), Stop> {
        let reader = Capped::new(decoder, self.limits.caps, self.feeder.read.clone(), self.feeder.unpacked.clone());
        let reader = BufReader::with_capacity(sniff::HEAD, reader);
        self.open(name, Box::new(reader), None, depth + 1)
    }

    fn tar(&mut self, name: &Arc<str>, reader: impl Read, depth: usize) -> Result<(), Stop> {
        let mut archive = tar::Archive::new(reader);
        let entries = archive.entries().map_err(|error| cut_off(name, &error, 1))?;
        for (number, entry) in (1..).zip(entries) {
            let entry = entry.map_err(|error| cut_off(name, &error, number))?;
            if !entry.header().entry_type().is_file() {
                continue;
            }
            let member = member(name, &String::from_utf8_lossy(&entry.path_bytes()));
            let reader = BufReader::with_capacity(sniff::HEAD, entry);
            self.told(&member.clone(), |reading| reading.open(member, Box::new(reader), None, depth + 1))?;
        }
        Ok(())
    }

    /// A zip archive; `counted`: what its members are packed to is read of the file itself.
    fn zip(&mut self, name: &Arc<str>, file: &File, depth: usize, counted: bool) -> Result<(), Stop> {
        let mut file = file;
        let broken = |error: zip::result::ZipError| Stop::trouble(name, "broken zip archive", error.to_string());
        file.rewind().map_err(|error| cut_off(name, &error, 1))?;
        let length = file.metadata().map_err(|error| cut_off(name, &error, 1))?.len();
        let mut archive = zip::ZipArchive::new(BufReader::new(file)).map_err(broken)?;
        for index in 0..archive.len() {
            let member = member(
                name,
                &archive.name_for_index(index).map_or_else(|| "?".into(), |known| known.unwrap_or("?".into())),
            );
            let (caps, unpacked) = (self.limits.caps, self.feeder.unpacked.clone());
            if caps.exceeded(unpacked.load(Ordering::Relaxed), length) {
                return Ok(());
            }
            self.told(&member.clone(), |reading| {
                let entry = archive.by_index(index);
                let entry = entry.map_err(|error| Stop::trouble(&member, "broken zip archive", error.to_string()))?;
                if !entry.is_file() {
                    return Ok(());
                }
                let packed = entry.compressed_size().min(length);
                if counted {
                    reading.feeder.read.fetch_add(packed, Ordering::Relaxed);
                }
                let packed = Arc::new(AtomicU64::new(packed));
                let entry = Capped::new(entry, caps, packed, unpacked).within(length);
                let reader = BufReader::with_capacity(sniff::HEAD, entry);
                reading.open(member, Box::new(reader), None, depth + 1)
            })?;
        }
        Ok(())
    }

    /// A zip archive's list of members stands at its end: within a stream it has to be put somewhere first.
    fn spool(&mut self, name: &str, mut reader: impl Read) -> Result<File, Stop> {
        let failed = |error: io::Error| cut_off(name, &error, 1);
        let mut spool = tempfile::tempfile().map_err(failed)?;
        let copied = io::copy(&mut reader.by_ref().take(self.limits.caps.size + 1), &mut spool).map_err(failed)?;
        if copied > self.limits.caps.size {
            return Err(cut_off(name, &io::Error::other(Bomb { what: "[backfill] max_unpacked" }), 1));
        }
        Ok(spool)
    }

    fn plain(&mut self, name: &Arc<str>, head: &[u8], reader: &mut dyn BufRead) -> Result<(), Stop> {
        if let Some(encoding) = wide(head) {
            return self.transcoded(name, encoding, reader);
        }
        let whole = head.len() < sniff::HEAD;
        match sniff::format(head, whole, self.fields) {
            Format::Empty => Err(Stop::trouble(name, "empty", "")),
            Format::Document => self.document(name, reader),
            Format::JsonLines => self.lines(name, reader, Content::Json),
            Format::Gkg => self.lines(name, reader, Content::Gkg),
            Format::JsonElements { bare } => elements::read(reader, bare, self.feeder, name, self.limits.record),
            Format::Table(columns) => table::read(reader, columns, self.feeder, name, self.limits.record),
            Format::Warc => warc::read(reader, self.feeder, name, self.limits.record),
        }
    }

    /// UTF-16 as it comes from spreadsheets: read as if it were UTF-8. Documents decode themselves.
    fn transcoded(
        &mut self,
        name: &Arc<str>,
        encoding: &'static encoding_rs::Encoding,
        reader: &mut dyn BufRead,
    ) -> Result<(), Stop> {
        let mut text = super::wide::Utf8::new(reader, encoding);
        let (head, mut reader) = peek(Box::new(BufReader::with_capacity(sniff::HEAD, &mut text)))
            .map_err(|error| cut_off(name, &error, 1))?;
        self.plain(name, &head, &mut reader)
    }

    fn document(&mut self, name: &Arc<str>, reader: &mut dyn BufRead) -> Result<(), Stop> {
        let mut body = Vec::new();
        let limit = self.limits.document;
        let read = reader.take(limit as u64 + 1).read_to_end(&mut body);
        if body.len() > limit {
            return Err(Stop::trouble(name, "too long", "a document beyond [backfill] max_document"));
        }
        // What is there of a document is read, whatever becomes of its end.
        let torn = read.is_err();
        if !(torn && body.is_empty()) {
            self.feeder.page(name, body, torn)?;
        }
        read.map(drop).map_err(|error| cut_off(name, &error, 1))
    }

    fn lines(
        &mut self,
        name: &Arc<str>,
        reader: &mut dyn BufRead,
        wrap: fn(super::piece::Records) -> Content,
    ) -> Result<(), Stop> {
        let mut lines = Lines::new(reader, self.limits.record);
        let mut gather = Gather::new(self.feeder, name, wrap);
        let mut line = Vec::new();
        loop {
            match lines.next(&mut line) {
                Ok(Line::End) => return gather.end(),
                Ok(Line::Whole) if line.trim_ascii().is_empty() => {}
                Ok(Line::Whole) => gather.push(&line, lines.number, lines.byte)?,
                Ok(Line::Long(length)) => {
                    let detail = format!("a line of {length} bytes, beyond [backfill] max_record");
                    let reject = Reject::of(name, "too long", detail).at(lines.number, lines.byte);
                    gather.broken(reject.text(&line))?;
                }
                Err(error) => {
                    gather.flush()?;
                    return Err(cut_off(name, &error, lines.number + 1));
                }
            }
        }
    }
}

fn member(archive: &str, name: &str) -> Arc<str> {
    format!("{archive}!{name}").into()
}

fn wide(head: &[u8]) -> Option<&'static encoding_rs::Encoding> {
    let (encoding, rest) = match head {
        [0xff, 0xfe, rest @ ..] => (encoding_rs::UTF_16LE, rest),
        [0xfe, 0xff, rest @ ..] => (encoding_rs::UTF_16BE, rest),
        _ => return None,
    };
    let is_markup = matches!(rest, [b'<', 0, ..] | [0, b'<', ..]);
    (!is_markup).then_some(encoding)
}

/// The first bytes, and the stream with them.
fn peek<'r>(mut reader: Box<dyn BufRead + 'r>) -> io::Result<(Vec<u8>, Box<dyn BufRead + 'r>)> {
    let mut head = Vec::new();
    // What cannot be read after the first bytes is told where it is read.
    let failed = reader.by_ref().take(sniff::HEAD as u64).read_to_end(&mut head).err();
    match failed {
        Some(error) if head.is_empty() => Err(error),
        Some(error) => {
            let rest = io::Cursor::new(head.clone()).chain(BufReader::new(Failing(Some(error))));
            Ok((head, Box::new(rest)))
        }
        None => Ok((head.clone(), Box::new(io::Cursor::new(head).chain(reader)))),
    }
}

/// Fails with the error that was met, then ends.
struct Failing(Option<io::Error>);

impl Read for Failing {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// A file that cannot be opened.
pub fn unreadable(name: &str, error: &io::Error) -> Reject {
    Reject::of(name, "unreadable", error.to_string())
}

/// What a failed read says of its file.
pub fn cut_off(name: &str, error: &io::Error, record: u64) -> Stop {
    if let Some(bomb) = error.get_ref().and_then(|inner| inner.downcast_ref::<Bomb>()) {
        return Stop::trouble(name, "zip bomb", bomb.to_string());
    }
    let detail = format!("record {record}: {error}");
    let ends_early = error.kind() == io::ErrorKind::UnexpectedEof || error.to_string().contains("incomplete frame");
    match error.kind() {
        _ if ends_early => Stop::trouble(name, "cut off", detail),
        // The disk's own refusals; what decoders say has no such number.
        _ if error.raw_os_error().is_some() => Stop::trouble(name, "unreadable", detail),
        _ => Stop::trouble(name, "broken data", detail),
    }
}
