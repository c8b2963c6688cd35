//! Text in UTF-16 read as UTF-8.

use std::io::{self, BufRead, Read};

use encoding_rs::{Decoder, Encoding};

/// Decodes as it is read.
pub struct Utf8<R> {
    inner: R,
    decoder: Decoder,
    ready: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: BufRead> Utf8<R> {
    /// `inner` is in `encoding`, with its byte order mark.
    pub fn new(inner: R, encoding: &'static Encoding) -> Self {
        let decoder = encoding.new_decoder_with_bom_removal();
        Self { inner, decoder, ready: Vec::new(), given: 0, ended: false }
    }

    fn refill(&mut self) -> io::Result<()> {
        let chunk = self.inner.fill_buf()?;
        let (length, last) = (chunk.len(), chunk.is_empty());
        let room = self.decoder.max_utf8_buffer_length(length).unwrap_or(length * 3 + 16);
        self.ready.resize(room, 0);
        let (_, _, written, _) = self.decoder.decode_to_utf8(chunk, &mut self.ready, last);
        self.ready.truncate(written);
        (self.given, self.ended) = (0, last);
        self.inner.consume(length);
        Ok(())
    }
}

impl<R: BufRead> Read for Utf8<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.ready.len() && !self.ended {
            self.refill()?;
        }
        let length = (&self.ready[self.given..]).read(buffer)?;
        self.given += length;
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spreadsheets_text_is_read() {
        let text = "title\tdate\nПереговоры\t2024-05-01\n";
        let bytes: Vec<u8> = [0xff, 0xfe].into_iter().chain(text.encode_utf16().flat_map(u16::to_le_bytes)).collect();
        let reader = io::BufReader::with_capacity(7, bytes.as_slice());
        let mut read = String::new();
        Utf8::new(reader, encoding_rs::UTF_16LE).read_to_string(&mut read).unwrap();
        assert_eq!(read, text);
    }
}
