//! Lines of any length, the overlong ones passed over without being held.

use std::io::{self, BufRead};

/// A line, or what is left of one that is too long.
#[derive(Debug, PartialEq, Eq)]
pub enum Line {
    /// A whole line, in the buffer.
    Whole,
    /// Longer than the limit: its first bytes are in the buffer, its length is this.
    Long(u64),
    /// There is no more.
    End,
}

/// Reads lines and knows where each begins.
pub struct Lines<R> {
    reader: R,
    limit: usize,
    /// Lines read so far.
    pub number: u64,
    /// Where the last line begins, in bytes.
    pub byte: u64,
    next: u64,
}

/// How much of an overlong line is kept to show.
const SHOWN: usize = 1_024;

impl<R: BufRead> Lines<R> {
    /// Lines of up to `limit` bytes.
    pub fn new(reader: R, limit: usize) -> Self {
        Self { reader, limit, number: 0, byte: 0, next: 0 }
    }

    /// Reads the next line into `line`, without its end.
    pub fn next(&mut self, line: &mut Vec<u8>) -> io::Result<Line> {
        line.clear();
        let mut length = 0_u64;
        self.byte = self.next;
        loop {
            let chunk = match self.reader.fill_buf() {
                Ok(chunk) => chunk,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let end = memchr::memchr(b'\n', chunk);
            let taken = end.map_or(chunk.len(), |at| at + 1);
            let room = self.limit.saturating_sub(line.len());
            line.extend_from_slice(&chunk[..taken.min(room + 1)]);
            length += taken as u64;
            let last = end.is_some() || chunk.is_empty();
            self.reader.consume(taken);
            if last {
                break;
            }
        }
        self.next += length;
        if length == 0 {
            return Ok(Line::End);
        }
        self.number += 1;
        // Spreadsheets and scripts on Windows mark UTF-8 with it; no parser of records knows it.
        if self.number == 1 && line.starts_with(b"\xef\xbb\xbf") {
            line.drain(..3);
        }
        while line.last().is_some_and(|byte| matches!(byte, b'\n' | b'\r')) {
            line.pop();
        }
        if line.len() > self.limit {
            line.truncate(SHOWN);
            return Ok(Line::Long(length));
        }
        Ok(Line::Whole)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lines_are_passed_over_and_places_are_right() {
        let text = format!("one\r\n{}\nthree\n\nfive", "x".repeat(5_000));
        let mut lines = Lines::new(io::BufReader::with_capacity(16, text.as_bytes()), 2_000);
        let mut line = Vec::new();
        let mut seen = Vec::new();
        loop {
            match lines.next(&mut line).unwrap() {
                Line::End => break,
                Line::Whole => seen.push((lines.number, lines.byte, String::from_utf8(line.clone()).unwrap())),
                Line::Long(length) => seen.push((lines.number, lines.byte, format!("{length} bytes"))),
            }
        }
        let expected = [(1, 0, "one"), (2, 5, "5001 bytes"), (3, 5_006, "three"), (4, 5_012, ""), (5, 5_013, "five")];
        assert_eq!(seen, expected.map(|(n, at, text)| (n, at, text.to_owned())));
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_first_line() {
        let mut lines = Lines::new("\u{feff}one\n\u{feff}two".as_bytes(), 100);
        let mut line = Vec::new();
        lines.next(&mut line).unwrap();
        assert_eq!((line.as_slice(), lines.byte), (&b"one"[..], 0));
        lines.next(&mut line).unwrap();
        assert_eq!((line.as_slice(), lines.byte), ("\u{feff}two".as_bytes(), 7));
    }
}
