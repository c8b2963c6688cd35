//! What a file unpacks to, measured as it does, so that a bomb ends at its caps and not at the end of memory or disk.

use std::io::{self, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What unpacks to less than this is never called a bomb: short files may well be one word over and over, bytes.
const SLACK: u64 = 64 * 1024 * 1024;

/// Most that a file may unpack to.
#[derive(Debug, Clone, Copy)]
pub struct Caps {
    /// Bytes in all.
    pub size: u64,
    /// Bytes for each packed byte.
    pub ratio: u64,
}

impl Caps {
    /// Whether `unpacked` bytes are too many to come of `packed` ones.
    pub fn exceeded(self, unpacked: u64, packed: u64) -> bool {
        unpacked > SLACK && unpacked > packed.saturating_mul(self.ratio)
    }
}

/// A file unpacks beyond its caps.
#[derive(Debug, thiserror::Error)]
#[error("unpacks beyond {what}; raise it if the file is to be trusted")]
pub struct Bomb {
    /// Which cap, as the configuration names it.
    pub what: &'static str,
}

/// Counts what is read of the file itself.
pub struct Counted<R> {
    inner: R,
    read: Arc<AtomicU64>,
}

impl<R> Counted<R> {
    /// Counts into `read`.
    pub fn new(inner: R, read: Arc<AtomicU64>) -> Self {
        Self { inner, read }
    }
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.read.fetch_add(length as u64, Ordering::Relaxed);
        Ok(length)
    }
}

/// What a decoder gives, held to the caps.
pub struct Capped<R> {
    inner: R,
    caps: Caps,
    /// Bytes of the archive that it is a member of, for archives whose members may share their bytes.
    archive: Option<u64>,
    /// Bytes of the file itself that were read so far.
    packed: Arc<AtomicU64>,
    /// Bytes that the file has unpacked to so far, with all its members.
    unpacked: Arc<AtomicU64>,
    given: u64,
}

impl<R> Capped<R> {
    /// Holds `inner` to `caps`; `packed` counts what is read of the file, `unpacked` what comes out of it.
    pub fn new(inner: R, caps: Caps, packed: Arc<AtomicU64>, unpacked: Arc<AtomicU64>) -> Self {
        Self { inner, caps, archive: None, packed, unpacked, given: 0 }
    }

    /// The member of an archive of `length` bytes: all members together are held to its ratio too.
    pub fn within(self, length: u64) -> Self {
        Self { archive: Some(length), ..self }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.inner.read(buffer)?;
        self.given += length as u64;
        let packed = self.packed.load(Ordering::Relaxed);
        let all = self.unpacked.fetch_add(length as u64, Ordering::Relaxed) + length as u64;
        if all > self.caps.size {
            return Err(io::Error::other(Bomb { what: "[backfill] max_unpacked" }));
        }
        if self.caps.exceeded(self.given, packed)
            || self.archive.is_some_and(|archive| self.caps.exceeded(all, archive))
        {
            return Err(io::Error::other(Bomb { what: "[backfill] max_ratio" }));
        }
        Ok(length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(caps: Caps, packed: u64) -> String {
        let mut reader = Capped::new(io::repeat(0), caps, Arc::new(AtomicU64::new(packed)), Arc::default());
        io::copy(&mut reader, &mut io::sink()).unwrap_err().to_string()
    }

    #[test]
    fn bombs_end_at_their_caps() {
        let caps = Caps { size: 200 << 20, ratio: 100 };
        assert!(end(caps, 1 << 20).contains("max_ratio"));
        assert!(end(caps, 1 << 30).contains("max_unpacked"));
    }
}
