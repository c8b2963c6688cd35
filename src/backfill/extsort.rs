//! Byte strings in order, however many: what does not fit in memory goes to files that vanish with the process.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Seek, Write};

/// Bytes held before a sorted run is written out. Smaller makes more runs, and so more open files.
const HELD: usize = 32 * 1024 * 1024;

/// Takes byte strings in any order.
#[derive(Debug, Default)]
pub struct Sorter {
    held: Vec<Box<[u8]>>,
    bytes: usize,
    runs: Vec<File>,
    limit: Option<usize>,
}

impl Sorter {
    /// Takes one.
    ///
    /// # Errors
    /// When a run cannot be written.
    pub fn push(&mut self, record: &[u8]) -> io::Result<()> {
        self.bytes += record.len() + size_of::<Box<[u8]>>();
        self.held.push(record.into());
        if self.bytes >= self.limit.unwrap_or(HELD) { self.spill() } else { Ok(()) }
    }

    fn spill(&mut self) -> io::Result<()> {
        self.held.sort_unstable();
        let mut run = BufWriter::new(tempfile::tempfile()?);
        for record in self.held.drain(..) {
            run.write_all(&(record.len() as u64).to_le_bytes())?;
            run.write_all(&record)?;
        }
        self.bytes = 0;
        let mut run = run.into_inner().map_err(io::IntoInnerError::into_error)?;
        run.rewind()?;
        self.runs.push(run);
        Ok(())
    }

    /// Gives them all in order.
    ///
    /// # Errors
    /// When a run cannot be read back.
    pub fn sorted(mut self) -> io::Result<Sorted> {
        self.held.sort_unstable();
        let mut sorted = Sorted { runs: Vec::new(), held: self.held.into_iter(), heads: BinaryHeap::new() };
        for run in self.runs {
            sorted.runs.push(BufReader::new(run));
            sorted.advance(sorted.runs.len() - 1)?;
        }
        let last = sorted.runs.len();
        sorted.advance(last)?;
        Ok(sorted)
    }
}

/// Byte strings in order.
#[derive(Debug)]
pub struct Sorted {
    runs: Vec<BufReader<File>>,
    held: std::vec::IntoIter<Box<[u8]>>,
    /// The next of each run, and of what is held, whose number is one beyond.
    heads: BinaryHeap<Reverse<(Box<[u8]>, usize)>>,
}

impl Sorted {
    fn advance(&mut self, run: usize) -> io::Result<()> {
        let next = match self.runs.get_mut(run) {
            Some(reader) => read(reader)?,
            None => self.held.next(),
        };
        self.heads.extend(next.map(|record| Reverse((record, run))));
        Ok(())
    }
}

fn read(reader: &mut impl Read) -> io::Result<Option<Box<[u8]>>> {
    let mut length = [0; 8];
    match reader.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        other => other?,
    }
    let mut record = vec![0; usize::try_from(u64::from_le_bytes(length)).unwrap_or(0)];
    reader.read_exact(&mut record)?;
    Ok(Some(record.into()))
}

impl Iterator for Sorted {
    type Item = io::Result<Box<[u8]>>;

    fn next(&mut self) -> Option<Self::Item> {
        let Reverse((record, run)) = self.heads.pop()?;
        Some(self.advance(run).map(|()| record))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_number_of_runs_comes_out_in_order(
            mut records in proptest::collection::vec(proptest::collection::vec(0_u8..4, 0..6), 0..200),
            limit in 1_usize..500,
        ) {
            let mut sorter = Sorter { limit: Some(limit), ..Sorter::default() };
            for record in &records {
                sorter.push(record).unwrap();
            }
            let sorted: Vec<Vec<u8>> = sorter.sorted().unwrap().map(|record| record.unwrap().into_vec()).collect();
            records.sort();
            proptest::prop_assert_eq!(sorted, records);
        }
    }
}
