//! Web archives (WARC 1.0 and 1.1): the answers with status 200 in them, as pages.
//!
//! A record whose length lies is passed over by looking for the next record's first line, so that it costs itself and
//! perhaps its neighbour, never the rest of the archive.

use std::io::{BufRead, Cursor, Read};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::feeder::{Feeder, PIECE_BYTES, Stop};
use super::piece::{Content, Page, Reject};
use super::read::cut_off;

/// Between two records.
const BETWEEN: &[u8] = b"\r\n\r\n";

/// The first line of a record, without its version.
pub const BEGIN: &[u8; 7] = b"WARC/1.";

/// Longest header of a record, bytes: a handful of lines in truth.
const HEADER: u64 = 64 * 1024;

/// Reads an archive.
pub fn read(reader: impl BufRead, feeder: &mut Feeder, file: &Arc<str>, limit: usize) -> Result<(), Stop> {
    let mut archive = Archive { bytes: Bytes { back: Cursor::default(), reader, at: 0 }, file, limit, record: 0 };
    let (mut pages, mut held) = (Vec::new(), 0);
    loop {
        let found = match archive.next() {
            Ok(found) => found,
            Err(stop) => {
                feeder.send(file, Content::Pages(pages))?;
                return Err(stop);
            }
        };
        match found {
            None => break,
            Some(Record::Other) => continue,
            Some(Record::Broken(reject)) => {
                feeder.send(file, Content::Pages(std::mem::take(&mut pages)))?;
                feeder.broken(file, reject)?;
                held = 0;
            }
            Some(Record::Page(page)) => {
                held += page.body.len();
                pages.push(page);
            }
        }
        if held >= PIECE_BYTES {
            held = 0;
            feeder.send(file, Content::Pages(std::mem::take(&mut pages)))?;
        }
    }
    feeder.send(file, Content::Pages(pages))?;
    feeder.send(file, Content::End)
}

enum Record {
    Page(Page),
    /// Nothing that news are read from.
    Other,
    Broken(Reject),
}

struct Archive<'a, R> {
    bytes: Bytes<R>,
    file: &'a str,
    limit: usize,
    record: u64,
}

/// The parts of a record's header that are used.
#[derive(Default)]
struct Header {
    is_response: bool,
    url: Option<String>,
    at: Option<DateTime<Utc>>,
    length: Option<u64>,
}

impl<R: BufRead> Archive<'_, R> {
    fn next(&mut self) -> Result<Option<Record>, Stop> {
        let Some((begin, is_record)) = self.blank_lines()? else { return Ok(None) };
        self.record += 1;
        if !is_record {
            return self.lost(begin, "no record begins where one must").map(Some);
        }
        let header = self.header()?;
        let Some(length) = header.length else { return self.lost(begin, "no Content-Length").map(Some) };
        if length > self.limit as u64 {
            return self.lost(begin, format!("{length} bytes, beyond [backfill] max_record")).map(Some);
        }
        let mut block = Vec::new();
        self.bytes.take(length, &mut block).map_err(|error| self.cut_off(&error))?;
        let mut behind = Vec::new();
        self.bytes.take(BETWEEN.len() as u64, &mut behind).map_err(|error| self.cut_off(&error))?;
        if behind == BETWEEN || (behind.iter().all(u8::is_ascii_whitespace) && block.len() as u64 == length) {
            return Ok(Some(self.page(header, block, begin)));
        }
        if (block.len() as u64) < length && !contains_begin(&block) {
            let detail = format!("{} of {length} bytes of it are there", block.len());
            return Err(Stop::Trouble(Reject::of(self.file, "cut off", detail).at(self.record, begin)));
        }
        block.extend_from_slice(&behind);
        self.bytes.give_back(block);
        self.lost(begin, "its Content-Length does not lead to the next record").map(Some)
    }

    fn cut_off(&self, error: &std::io::Error) -> Stop {
        cut_off(self.file, error, self.record)
    }

    /// Passes over blank lines; where the next record begins, or what stands in its place, and which of the two.
    fn blank_lines(&mut self) -> Result<Option<(u64, bool)>, Stop> {
        loop {
            let at = self.bytes.at;
            match self.bytes.line().map_err(|error| self.cut_off(&error))? {
                None => return Ok(None),
                Some(line) if line.trim_ascii().is_empty() => {}
                Some(line) => return Ok(Some((at, line.starts_with(b"WARC/")))),
            }
        }
    }

    fn header(&mut self) -> Result<Header, Stop> {
        let mut header = Header::default();
        let end = self.bytes.at + HEADER;
        while self.bytes.at < end {
            let line = self.bytes.line().map_err(|error| self.cut_off(&error))?.unwrap_or_default();
            let line = String::from_utf8_lossy(line.trim_ascii()).into_owned();
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "warc-type" => header.is_response = matches!(value, "response" | "resource" | "conversion"),
                "warc-target-uri" => header.url = Some(value.trim_matches(['<', '>']).to_owned()),
                "warc-date" => header.at = crate::parse::dates::parse(value),
                "content-length" => header.length = value.parse().ok(),
                _ => {}
            }
        }
        Ok(header)
    }

    fn page(&self, header: Header, block: Vec<u8>, begin: u64) -> Record {
        if !header.is_response {
            return Record::Other;
        }
        let (content_type, body) = match answer(block) {
            Answer::Body { content_type, body } => (content_type, body),
            Answer::Other => return Record::Other,
        };
        let (url, at, record) = (header.url, header.at, self.record);
        Record::Page(Page { url, feed: None, content_type, body, at, record, byte: begin, torn: false })
    }

    /// A record whose end cannot be told: goes on where the next begins.
    fn lost(&mut self, begin: u64, why: impl Into<String>) -> Result<Record, Stop> {
        self.bytes.seek_record().map_err(|error| self.cut_off(&error))?;
        Ok(Record::Broken(Reject::of(self.file, "broken record", why).at(self.record, begin)))
    }
}

fn contains_begin(block: &[u8]) -> bool {
    memchr::memmem::find_iter(block, BEGIN).any(|at| at == 0 || block[..at].ends_with(b"\n"))
}

enum Answer {
    Body {
        content_type: Option<String>,
        body: Vec<u8>,
    },
    /// Another status, or nothing that is text.
    Other,
}

/// The document in an HTTP answer; a block that is none is the document itself.
fn answer(block: Vec<u8>) -> Answer {
    if !block.starts_with(b"HTTP/") {
        return Answer::Body { content_type: None, body: block };
    }
    let split = memchr::memmem::find(&block, b"\r\n\r\n").map(|at| (at, at + 4));
    let split = split.or_else(|| memchr::memmem::find(&block, b"\n\n").map(|at| (at, at + 2)));
    let Some((end, start)) = split else { return Answer::Other };
    let head = String::from_utf8_lossy(&block[..end]).into_owned();
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.split_ascii_whitespace().nth(1)).unwrap_or_default().to_owned();
    let field = |name: &str| {
        let mut found = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        found.find(|(key, _)| key.trim().eq_ignore_ascii_case(name)).map(|(_, value)| value.trim().to_owned())
    };
    let content_type = field("content-type");
    let kind = content_type.as_deref().unwrap_or_default().to_ascii_lowercase();
    let is_text = kind.is_empty() || ["html", "xml", "json", "text/plain"].iter().any(|text| kind.contains(text));
    if status != "200" || !is_text {
        return Answer::Other;
    }
    let mut body = block[start..].to_vec();
    if field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        body = joined(&body).unwrap_or(body);
    }
    if body.starts_with(&[0x1f, 0x8b, 8]) {
        body = inflated(&body);
    }
    Answer::Body { content_type, body }
}

/// The chunks of a body put together; `None` where it is not in chunks after all.
fn joined(mut body: &[u8]) -> Option<Vec<u8>> {
    let mut whole = Vec::new();
    loop {
        let end = memchr::memchr(b'\n', body)?;
        let size = std::str::from_utf8(&body[..end]).ok()?.trim().split(';').next()?;
        let size = usize::from_str_radix(size, 16).ok()?;
        body = &body[end + 1..];
        if size == 0 {
            return Some(whole);
        }
        whole.extend_from_slice(&body[..size.min(body.len())]);
        body = body.get(size..).unwrap_or_default();
        body = body.strip_prefix(b"\r\n").or(body.strip_prefix(b"\n")).unwrap_or(body);
        if body.is_empty() {
            return Some(whole);
        }
    }
}

/// As much of a packed page as is there, within reason.
fn inflated(body: &[u8]) -> Vec<u8> {
    /// A page's text beyond this is no article, bytes.
    const MOST: u64 = 16 * 1024 * 1024;
    let mut page = Vec::new();
    // What is cut off has its head with the metadata all the same.
    let _ = flate2::bufread::MultiGzDecoder::new(body).take(MOST).read_to_end(&mut page);
    page
}

/// A stream that takes bytes back and knows where it is.
struct Bytes<R> {
    back: Cursor<Vec<u8>>,
    reader: R,
    at: u64,
}

impl<R: BufRead> Bytes<R> {
    /// Reads up to `length` bytes; fewer are there at the end only.
    fn take(&mut self, length: u64, into: &mut Vec<u8>) -> std::io::Result<()> {
        let from_back = (&mut self.back).take(length).read_to_end(into)? as u64;
        let read = (&mut self.reader).take(length - from_back).read_to_end(into)? as u64;
        self.at += from_back + read;
        Ok(())
    }

    /// The next line with its end, as far as [`HEADER`] goes.
    fn line(&mut self) -> std::io::Result<Option<Vec<u8>>> {
        let mut line = Vec::new();
        (&mut self.back).take(HEADER).read_until(b'\n', &mut line)?;
        if !line.ends_with(b"\n") {
            (&mut self.reader).take(HEADER).read_until(b'\n', &mut line)?;
        }
        self.at += line.len() as u64;
        Ok((!line.is_empty()).then_some(line))
    }

    fn give_back(&mut self, bytes: Vec<u8>) {
        self.at -= bytes.len() as u64;
        let left = self.back.position() as usize;
        let left = self.back.get_ref().get(left..).unwrap_or_default();
        self.back = Cursor::new([&bytes, left].concat());
    }

    /// Reads on to the line that begins a record, without holding what lies before it.
    fn seek_record(&mut self) -> std::io::Result<()> {
        while let Some(line) = self.line()? {
            if line.starts_with(BEGIN) {
                self.give_back(line);
                break;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::BufReader;

    fn record(kind: &str, length: Option<usize>, block: &str) -> String {
        let length = length.unwrap_or(block.len());
        format!(
            "WARC/1.0\r\nWARC-Type: {kind}\r\nWARC-Target-URI: https://o.example/a\r\nWARC-Date: 2024-05-01T10:00:00Z\r\n\
             Content-Length: {length}\r\n\r\n{block}\r\n\r\n"
        )
    }

    fn html(body: &str) -> String {
        format!("HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n{body}")
    }

    fn read(archive: &str) -> (Vec<String>, Option<&'static str>) {
        let bytes = Bytes { back: Cursor::default(), reader: BufReader::with_capacity(64, archive.as_bytes()), at: 0 };
        let mut archive = Archive { bytes, file: "a.warc", limit: 1_000, record: 0 };
        let mut seen = Vec::new();
        loop {
            match archive.next() {
                Ok(None) => return (seen, None),
                Ok(Some(Record::Page(page))) => seen.push(String::from_utf8(page.body).unwrap()),
                Ok(Some(Record::Broken(reject))) => {
                    seen.push(format!("! {} {}", reject.record.unwrap(), reject.detail))
                }
                Ok(Some(Record::Other)) => {}
                Err(Stop::Trouble(reject)) => return (seen, Some(reject.reason)),
                Err(Stop::Halt) => unreachable!(),
            }
        }
    }

    #[test]
    fn answers_are_read_and_other_records_passed_over() {
        let archive = record("warcinfo", None, "software: x")
            + &record("request", None, "GET / HTTP/1.1")
            + &record("response", None, &html("one"))
            + &record("response", None, "HTTP/1.1 404 No\r\nContent-Type: text/html\r\n\r\nmissing")
            + &record("response", None, "HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\npng")
            + &record(
                "response",
                None,
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\ntw\r\n1\r\no\r\n0\r\n\r\n",
            );
        assert_eq!(read(&archive), (vec!["one".into(), "two".into()], None));
    }

    #[test]
    fn a_lying_length_costs_its_own_record() {
        let lies = [Some(3), Some(500), Some(1_000_000)];
        for lie in lies {
            let archive = record("response", None, &html("one"))
                + &record("response", lie, &html("lie"))
                + &record("response", None, &html("three"));
            let (seen, trouble) = read(&archive);
            assert_eq!((seen.len(), seen[0].as_str(), seen[2].as_str(), trouble), (3, "one", "three", None), "{lie:?}");
            assert!(seen[1].starts_with("! 2 "), "{seen:?}");
        }
    }

    #[test]
    fn a_record_cut_in_the_middle_is_named() {
        let archive = record("response", None, &html("one")) + &record("response", None, &html("two"));
        let (seen, trouble) = read(&archive[..archive.len() - 10]);
        assert_eq!((seen, trouble), (vec!["one".into()], Some("cut off")));
        assert_eq!(read("no archive\n").0, ["! 1 no record begins where one must"]);
    }
}
