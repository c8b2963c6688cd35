//! The members of a gzip file, one after the other. Web archives have one for each record: one that is damaged costs its own
//! record, not the rest of the archive.

use std::io::{self, BufRead, Read};

use flate2::bufread::GzDecoder;

use super::warc::BEGIN;

/// What a member begins with (RFC 1952): two bytes of its own, and the method.
const MAGIC: &[u8] = &[0x1f, 0x8b, 8];

/// Stands where a member was lost, so that the archive's reader finds no record there, or a broken one, and counts it.
const LOST: &[u8] = b"\r\n\r\na damaged gzip member\r\n\r\n";

/// Unpacks all members.
pub struct Members<R> {
    /// None behind the last.
    decoder: Option<GzDecoder<Back<R>>>,
    /// The first bytes of the file, unpacked, up to the length of [`BEGIN`].
    head: Vec<u8>,
    /// Unpacked and not yet handed out.
    held: io::Cursor<Vec<u8>>,
}

impl<R: BufRead> Members<R> {
    /// Of a file that begins here.
    pub fn new(reader: R) -> Self {
        let decoder = Some(GzDecoder::new(Back { back: &[], reader }));
        Self { decoder, head: Vec::new(), held: io::Cursor::default() }
    }

    fn is_archive(&self) -> bool {
        self.head == *BEGIN
    }

    fn keep_head(&mut self, bytes: &[u8]) {
        let wanted = BEGIN.len() - self.head.len();
        self.head.extend_from_slice(&bytes[..wanted.min(bytes.len())]);
    }

    /// Goes on behind a member's end.
    fn next_member(&mut self, decoder: GzDecoder<Back<R>>) -> io::Result<()> {
        let mut reader = decoder.into_inner();
        if !reader.fill_buf()?.is_empty() {
            self.decoder = Some(GzDecoder::new(reader));
        }
        Ok(())
    }

    /// Goes on with the next member that a record begins in; with `error` where there is none.
    fn pass_over(&mut self, decoder: GzDecoder<Back<R>>, error: io::Error) -> io::Result<()> {
        let mut reader = decoder.into_inner();
        while reader.seek_member()? {
            let (mut decoder, mut first) = (GzDecoder::new(reader), [0; BEGIN.len()]);
            // The same three bytes stand in packed text by chance.
            if decoder.read_exact(&mut first).is_ok() && first == *BEGIN {
                (self.decoder, self.held) = (Some(decoder), io::Cursor::new([LOST, &first[..]].concat()));
                return Ok(());
            }
            reader = decoder.into_inner();
        }
        Err(error)
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        loop {
            let held = self.held.read(buffer)?;
            if held > 0 {
                return Ok(held);
            }
            let Some(mut decoder) = self.decoder.take() else { return Ok(0) };
            match decoder.read(buffer) {
                Ok(0) => self.next_member(decoder)?,
                Ok(read) => {
                    self.decoder = Some(decoder);
                    self.keep_head(&buffer[..read]);
                    return Ok(read);
                }
                Err(error) if self.is_archive() && is_damage(&error) => self.pass_over(decoder, error)?,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Whether it is the member's fault, and not the disk's or the end of the file.
fn is_damage(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) && error.raw_os_error().is_none()
}

/// A stream that the bytes of [`MAGIC`] can be put back to.
struct Back<R> {
    back: &'static [u8],
    reader: R,
}

impl<R: BufRead> Back<R> {
    /// Reads on to where a member may begin; false at the end.
    fn seek_member(&mut self) -> io::Result<bool> {
        // What was put back has been tried.
        self.back = &[];
        let mut met = 0;
        loop {
            let bytes = self.reader.fill_buf()?;
            let Some(&byte) = bytes.first() else { return Ok(false) };
            if met == 0 {
                let skipped = memchr::memchr(MAGIC[0], bytes).unwrap_or(bytes.len());
                if skipped > 0 {
                    self.reader.consume(skipped);
                    continue;
                }
            }
            met = if byte == MAGIC[met] { met + 1 } else { usize::from(byte == MAGIC[0]) };
            self.reader.consume(1);
            if met == MAGIC.len() {
                self.back = MAGIC;
                return Ok(true);
            }
        }
    }
}

impl<R: BufRead> Read for Back<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.back.is_empty() { self.reader.read(buffer) } else { self.back.read(buffer) }
    }
}

impl<R: BufRead> BufRead for Back<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if !self.back.is_empty() {
            return Ok(self.back);
        }
        // A read that a signal interrupts is made again here: a decoder that has failed is not asked again.
        while self.reader.fill_buf().is_err_and(|error| error.kind() == io::ErrorKind::Interrupted) {}
        self.reader.fill_buf()
    }

    fn consume(&mut self, amount: usize) {
        if self.back.is_empty() {
            self.reader.consume(amount);
        } else {
            self.back = &self.back[amount..];
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Write};

    use super::*;

    fn packed(text: &str) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
        encoder.write_all(text.as_bytes()).expect("packs");
        encoder.finish().expect("packs")
    }

    fn record(n: usize) -> String {
        format!("WARC/1.0\r\n{n} {}\r\n\r\n", "some words that are packed, and more of them. ".repeat(n + 1))
    }

    /// What comes out, and whether it ends in an error. The buffer is small, so that members lie across its ends.
    fn unpacked(file: &[u8]) -> (String, bool) {
        let mut text = Vec::new();
        let end = Members::new(BufReader::with_capacity(5, file)).read_to_end(&mut text);
        (String::from_utf8_lossy(&text).into_owned(), end.is_err())
    }

    #[test]
    fn members_come_one_after_the_other() {
        let file: Vec<u8> = (0..4).flat_map(|n| packed(&record(n))).collect();
        assert_eq!(unpacked(&file), ((0..4).map(record).collect(), false));
        assert_eq!(unpacked(&packed("no archive")), ("no archive".into(), false));
    }

    #[test]
    fn a_damaged_member_costs_an_archive_itself_and_anything_else_its_rest() {
        let members: Vec<Vec<u8>> = (0..4).map(|n| packed(&record(n))).collect();
        for damage in [0, 3, 12, 20, members[1].len() - 6] {
            let mut file = members.concat();
            (0..3).for_each(|i| file[members[0].len() + damage + i] ^= 0x5a);
            let (text, failed) = unpacked(&file);
            assert!(
                !failed && text.starts_with(&record(0)) && text.contains("damaged gzip member"),
                "{damage}: {text}"
            );
            assert!(text.ends_with(&(record(2) + &record(3))), "{damage}: {text}");
        }
        let mut other = [packed("a line\n"), packed("another\n"), packed("more\n")].concat();
        let middle = packed("a line\n").len() + 12;
        other[middle] ^= 0x5a;
        assert!(unpacked(&other).1);
    }

    #[test]
    fn what_is_cut_off_ends_in_an_error() {
        let file = [packed(&record(0)), packed(&record(1))].concat();
        assert!(unpacked(&file[..file.len() - 9]).1);
        let mut damaged = file.clone();
        damaged[packed(&record(0)).len() + 14] ^= 0x5a;
        assert!(unpacked(&damaged).1);
    }
}
