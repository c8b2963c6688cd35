//! Tables with a header: comma, semicolon, tab or bar between cells, quotes as RFC 4180 has them, and what to do when
//! they are broken.

use std::io::BufRead;
use std::sync::Arc;

use super::feeder::{Feeder, Gather, Stop};
use super::fields::{Field, FieldMap, Row, Slot};
use super::lines::{Line, Lines};
use super::piece::{Content, Reject};
use super::read::cut_off;

/// Lines that a quoted cell may go over. A quote that was never closed swallows the rest of the file without this; real
/// cells with line breaks hold a lead, not a book.
const MAX_LINES: usize = 100;

/// What the columns of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The byte between cells.
    pub delimiter: u8,
    slots: Vec<Option<Slot>>,
}

impl Columns {
    /// What the header line says, with the delimiter that makes most sense of it; `None` where none does.
    pub fn of(line: &[u8], fields: &FieldMap) -> Option<Self> {
        // Names of columns that are known are plain ASCII, whatever the others are written in.
        let line = String::from_utf8_lossy(line);
        let line = line.trim_start_matches('\u{feff}').trim_end();
        let candidates = b"\t,;|".iter().filter(|delimiter| line.as_bytes().contains(delimiter)).map(|&delimiter| {
            let names = line.split(char::from(delimiter)).map(|name| name.trim().trim_matches('"'));
            Self { delimiter, slots: names.map(|name| fields.slot(name)).collect() }
        });
        candidates.max_by_key(Self::known).filter(|columns| columns.known() >= 1 && columns.slots.len() >= 2)
    }

    fn known(&self) -> usize {
        self.slots.iter().flatten().count()
    }

    /// Whether there is a column for `field`.
    pub fn has(&self, field: Field) -> bool {
        self.slots.iter().flatten().any(|(known, _)| *known == field)
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.slots.len()
    }

    /// Reads one record.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn row(&self, record: &str) -> Result<Row, String> {
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(self.delimiter)
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(record.len().clamp(16, 64 * 1024))
            .from_reader(record.as_bytes());
        let mut cells = csv::StringRecord::new();
        let read = reader.read_record(&mut cells).map_err(|error| error.to_string())?;
        if !read || cells.len() != self.slots.len() {
            return Err(format!("{} cells, but the header has {}", cells.len(), self.slots.len()));
        }
        let mut row = Row::default();
        for (slot, cell) in self.slots.iter().zip(&cells) {
            match slot {
                Some(slot @ (Field::Author | Field::Category, _)) => {
                    cell.split([';', '|']).for_each(|one| row.put(*slot, one.trim()));
                }
                Some(slot) => row.put(*slot, cell),
                None => {}
            }
        }
        Ok(row)
    }
}

/// Reads a table, its header first.
///
/// A record goes over several lines where a cell is quoted. If that makes no record of as many cells as the header has, the
/// quote is broken: its line is rejected and reading goes on with the next.
pub fn read(
    reader: impl BufRead,
    columns: Columns,
    feeder: &mut Feeder,
    file: &Arc<str>,
    limit: usize,
) -> Result<(), Stop> {
    let columns = Arc::new(columns);
    let shared = columns.clone();
    let mut gather = Gather::new(feeder, file, move |records| Content::Table(shared.clone(), records));
    let mut lines = Pushback { lines: Lines::new(reader, limit), back: Vec::new() };
    let mut header = true;
    while let Some(first) = lines.next(file)? {
        if std::mem::take(&mut header) || first.text.trim_ascii().is_empty() {
            continue;
        }
        if first.long {
            gather.broken(too_long(file, &first))?;
            continue;
        }
        let mut taken: Vec<Held> = Vec::new();
        let mut cells = Cells::new(columns.delimiter);
        let mut record = first.text.clone();
        cells.take(&first.text);
        while cells.open && taken.len() < MAX_LINES && record.len() <= limit {
            let Some(next) = lines.next(file)? else { break };
            record.push(b'\n');
            record.extend_from_slice(&next.text);
            cells.take(&next.text);
            taken.push(next);
        }
        let broken =
            cells.open || taken.iter().any(|held| held.long) || (!taken.is_empty() && cells.count != columns.count());
        if broken {
            let reject = Reject::of(file, "broken quotes", "a quote has no end where one can be");
            gather.broken(reject.at(first.number, first.byte).text(&first.text))?;
            lines.back.extend(taken.into_iter().rev());
        } else {
            gather.push(&record, first.number, first.byte)?;
        }
    }
    gather.end()
}

fn too_long(file: &str, line: &Held) -> Reject {
    Reject::of(file, "too long", "a line beyond [backfill] max_record").at(line.number, line.byte).text(&line.text)
}

/// A line with its place.
struct Held {
    text: Vec<u8>,
    number: u64,
    byte: u64,
    long: bool,
}

/// Lines, some of which were given back.
struct Pushback<R> {
    lines: Lines<R>,
    /// The next is the last.
    back: Vec<Held>,
}

impl<R: BufRead> Pushback<R> {
    fn next(&mut self, file: &str) -> Result<Option<Held>, Stop> {
        if let Some(held) = self.back.pop() {
            return Ok(Some(held));
        }
        let mut text = Vec::new();
        let line = self.lines.next(&mut text).map_err(|error| cut_off(file, &error, self.lines.number + 1))?;
        let (number, byte) = (self.lines.number, self.lines.byte);
        Ok(match line {
            Line::End => None,
            Line::Whole => Some(Held { text, number, byte, long: false }),
            Line::Long(_) => Some(Held { text, number, byte, long: true }),
        })
    }
}

/// Counts cells over lines; `open` while a quoted one goes on.
struct Cells {
    delimiter: u8,
    count: usize,
    open: bool,
}

impl Cells {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, count: 1, open: false }
    }

    fn take(&mut self, line: &[u8]) {
        let mut at_start = !self.open;
        let mut bytes = line.iter().peekable();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'"' if self.open => match bytes.peek() {
                    Some(b'"') => drop(bytes.next()),
                    _ => self.open = false,
                },
                b'"' if at_start => self.open = true,
                _ if byte == self.delimiter && !self.open => {
                    self.count += 1;
                    at_start = true;
                    continue;
                }
                _ => {}
            }
            at_start = false;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(header: &str) -> Columns {
        Columns::of(header.as_bytes(), &FieldMap::new(&[]).unwrap()).unwrap()
    }

    #[test]
    fn the_delimiter_is_the_one_that_makes_sense() {
        for (header, delimiter) in
            [("url,title,date", b','), ("url;\"title\";date, time", b';'), ("title\tsummary", b'\t')]
        {
            assert_eq!(columns(header).delimiter, delimiter);
        }
        assert!(Columns::of(b"Dear reader, hello", &FieldMap::new(&[]).unwrap()).is_none());
    }

    #[test]
    fn a_record_has_as_many_cells_as_the_header() {
        let columns = columns("url,title,authors");
        let row = columns.row("https://o.example/1,\"Talks, \"\"held\"\"\nin Vienna\",Ada; Bo").unwrap();
        assert_eq!(row.get(Field::Title), Some("Talks, \"held\"\nin Vienna"));
        assert_eq!(row.authors, ["Ada", "Bo"]);
        assert_eq!(columns.row("a,b").unwrap_err(), "2 cells, but the header has 3");
    }

    #[test]
    fn cells_are_counted_over_lines() {
        let count = |lines: &[&str]| {
            let mut cells = Cells::new(b',');
            lines.iter().for_each(|line| cells.take(line.as_bytes()));
            (cells.count, cells.open)
        };
        assert_eq!(count(&["a,\"b", "c,d\",e"]), (3, false));
        assert_eq!(count(&["a,say \"hi,b"]), (3, false));
        assert_eq!(count(&["a,\"b"]), (2, true));
        assert_eq!(count(&["\"\"\"a\"\"\",\"\""]), (2, false));
    }
}
