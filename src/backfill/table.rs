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

const DELIMITERS: &[u8; 4] = b"\t,;|";

/// Lines that show whether something is a table.
const LOOKED_AT: usize = 8;

/// Longest header that is looked at, in bytes.
const LONGEST_HEADER: usize = 8_192;

/// Columns that are named in a message at most, and characters of each.
const SHOWN: usize = 24;

/// What the columns of a table are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns {
    /// The byte between cells.
    pub delimiter: u8,
    slots: Vec<Option<Slot>>,
    names: Vec<String>,
}

impl Columns {
    /// What the header line says, with the delimiter that makes most sense of it; `None` where none does.
    pub fn of(line: &[u8], fields: &FieldMap) -> Option<Self> {
        // Names of columns that are known are plain ASCII, whatever the others are written in.
        let line = String::from_utf8_lossy(line);
        let line = line.trim_start_matches('\u{feff}').trim_end();
        let delimiters = DELIMITERS.iter().filter(|delimiter| line.as_bytes().contains(delimiter));
        let candidates = delimiters.map(|&delimiter| Self::split(line, delimiter, fields));
        candidates.max_by_key(Self::known).filter(|columns| columns.known() >= 1 && columns.slots.len() >= 2)
    }

    fn split(line: &str, delimiter: u8, fields: &FieldMap) -> Self {
        let names: Vec<String> =
            line.split(char::from(delimiter)).map(|name| name.trim().trim_matches('"').to_owned()).collect();
        Self { delimiter, slots: names.iter().map(|name| fields.slot(name)).collect(), names }
    }

    /// The columns of `lines`, header first, if all have as many cells, whatever the header's names are.
    pub fn plain<'t>(lines: impl Iterator<Item = &'t [u8]>, fields: &FieldMap) -> Option<Self> {
        let lines: Vec<&[u8]> = lines.take(LOOKED_AT).collect();
        let header = std::str::from_utf8(lines.first()?).ok().filter(|header| header.len() <= LONGEST_HEADER)?;
        let cells = |delimiter| {
            let mut counts = lines.iter().map(|line| Cells::count_of(line, delimiter));
            let first = counts.next()?;
            counts.all(|count| count == first).then_some(first)
        };
        let found = DELIMITERS.iter().filter_map(|&delimiter| Some((cells(delimiter)?, delimiter)));
        let (count, delimiter) = found.max_by_key(|(count, _)| *count)?;
        // Two lines of a letter may have a comma each.
        let is_table = count >= 2 && lines.len() >= 2 && count + lines.len() >= 5;
        is_table.then(|| Self::split(header, delimiter, fields)).filter(Self::is_named)
    }

    /// Whether the names are names. A table without a header, as GDELT's events are, has numbers in their place.
    fn is_named(&self) -> bool {
        let is_name = |name: &&String| name.contains(char::is_alphabetic) && !name.contains(char::is_control);
        self.names.iter().filter(is_name).count() * 2 > self.count()
    }

    /// Whether there is a column with something to score.
    pub fn has_text(&self) -> bool {
        self.has(Field::Title) || self.has(Field::Summary)
    }

    /// The names, for somebody who has to choose one.
    fn shown(&self) -> String {
        let names: Vec<String> = self.names.iter().take(SHOWN).map(|name| name.chars().take(SHOWN).collect()).collect();
        let more = if self.names.len() > SHOWN { ", …" } else { "" };
        format!("{}{more}", names.join(", "))
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

/// Whether a line is what some spreadsheets put before the header: `sep=;`.
fn is_hint(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.len() <= 5 && line.get(..4).is_some_and(|start| start.eq_ignore_ascii_case(b"sep="))
}

/// `text` without such a line before its header.
pub fn from_header(text: &[u8]) -> &[u8] {
    match memchr::memchr(b'\n', text) {
        Some(end) if is_hint(&text[..end]) => &text[end + 1..],
        _ => text,
    }
}

/// Reads a table, its header first.
///
/// A record goes over several lines where a cell is quoted. If that makes no record of as many cells as the header has, the
/// quote is broken: its line is rejected and reading goes on with the next. So it does where the quote that ends such a cell
/// stands within text: it begins another cell, and the lines are records of their own.
pub fn read(
    reader: impl BufRead,
    columns: Columns,
    feeder: &mut Feeder,
    file: &Arc<str>,
    limit: usize,
) -> Result<(), Stop> {
    if !columns.has_text() {
        let detail = format!("its columns are {}: say which to read with --field title=COLUMN", columns.shown());
        return Err(Stop::trouble(file, "no title column", detail));
    }
    let columns = Arc::new(columns);
    let shared = columns.clone();
    let mut gather = Gather::new(feeder, file, move |records| Content::Table(shared.clone(), records));
    let mut lines = Pushback { lines: Lines::new(reader, limit), back: Vec::new() };
    let (mut header, mut rows) = (true, false);
    while let Some(first) = lines.next(file)? {
        if first.text.trim_ascii().is_empty() || (header && is_hint(&first.text)) {
            continue;
        }
        if std::mem::take(&mut header) {
            // A header alone is a day without news; rows behind a carriage return alone are none that are seen.
            rows = !first.text.trim_ascii().contains(&b'\r');
            continue;
        }
        rows = true;
        if first.long {
            gather.broken(too_long(file, &first))?;
            continue;
        }
        let mut taken: Vec<Held> = Vec::new();
        let mut cells = Cells::new(columns.delimiter);
        let mut record = first.text.clone();
        cells.take(&first.text);
        while cells.open && !cells.broken && taken.len() < MAX_LINES && record.len() <= limit {
            let Some(next) = lines.next(file)? else { break };
            record.push(b'\n');
            record.extend_from_slice(&next.text);
            cells.take(&next.text);
            taken.push(next);
        }
        let broken = cells.open
            || cells.broken
            || taken.iter().any(|held| held.long)
            || (!taken.is_empty() && cells.count != columns.count());
        if broken {
            let reject = Reject::of(file, "broken quotes", "a quote has no end where one can be");
            gather.broken(reject.at(first.number, first.byte).text(&first.text))?;
            lines.back.extend(taken.into_iter().rev());
        } else {
            gather.push(&record, first.number, first.byte)?;
        }
    }
    if !rows {
        let detail = "no rows: each begins on a new line, which a carriage return alone does not make";
        return Err(Stop::trouble(file, "no items", detail));
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
    /// Whether a cell over several lines ended within text.
    broken: bool,
}

impl Cells {
    fn new(delimiter: u8) -> Self {
        Self { delimiter, count: 1, open: false, broken: false }
    }

    fn count_of(line: &[u8], delimiter: u8) -> usize {
        let mut cells = Self::new(delimiter);
        cells.take(line);
        cells.count
    }

    fn take(&mut self, line: &[u8]) {
        let mut at_start = !self.open;
        let mut over_lines = self.open;
        let mut bytes = line.iter().peekable();
        while let Some(&byte) = bytes.next() {
            match byte {
                b'"' if self.open => match bytes.peek() {
                    Some(b'"') => drop(bytes.next()),
                    after => {
                        let ends =
                            after.is_none_or(|after| **after == self.delimiter || matches!(**after, b' ' | b'\r'));
                        self.broken |= std::mem::take(&mut over_lines) && !ends;
                        self.open = false;
                    }
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

    #[test]
    fn a_cell_over_lines_ends_where_a_cell_can() {
        let broken = |lines: &[&str]| {
            let mut cells = Cells::new(b',');
            lines.iter().for_each(|line| cells.take(line.as_bytes()));
            cells.broken
        };
        assert!(broken(&["\"Rain 1,u,d", "Rain 2,u,d", "\"Rain 3,u,d"]));
        assert!(broken(&["u,\"Talks,d", "u,\"He said \"yes\"\",d"]));
        assert!(!broken(&["u,\"Talks", "of \"\"peace\"\"", "\",d"]));
        assert!(!broken(&["u,\"Talks", "in Vienna\""]));
        assert!(!broken(&["u,\"He said \"yes\" to talks\",d"]));
    }
}
