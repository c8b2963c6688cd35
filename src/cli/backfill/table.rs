//! The closing table of a backfill.

use std::io::Write;
use std::path::Path;

use serde::Serialize;

use super::super::Exit;
use crate::pipeline::Totals;
use crate::store::{JudgedCounts, SourceCounts};

/// A source and what became of it.
#[derive(Debug, Default)]
pub(super) struct Row {
    pub source: String,
    pub done: bool,
    pub counts: SourceCounts,
    pub judged: JudgedCounts,
}

/// All sources, and the totals of this run.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub rows: Vec<Row>,
    pub totals: Totals,
}

#[derive(Serialize)]
struct JsonRow<'a> {
    source: &'a str,
    done: bool,
    alert: u64,
    irrelevant: u64,
    unscorable: u64,
    #[serde(flatten)]
    counts: &'a SourceCounts,
}

#[derive(Serialize)]
struct JsonReport<'a> {
    #[serde(flatten)]
    totals: &'a Totals,
    sources: Vec<JsonRow<'a>>,
}

impl Row {
    fn irrelevant(&self) -> u64 {
        self.counts.settled + self.judged.irrelevant
    }

    fn json(&self) -> JsonRow<'_> {
        let (alert, unscorable) = (self.judged.alert, self.judged.unscorable);
        let irrelevant = self.irrelevant();
        JsonRow { source: &self.source, done: self.done, alert, irrelevant, unscorable, counts: &self.counts }
    }
}

impl Report {
    /// Whether every source has come to its end.
    pub fn done(&self) -> bool {
        self.rows.iter().all(|row| row.done)
    }

    /// Records read, of all sources.
    pub fn read(&self) -> u64 {
        self.rows.iter().map(|row| row.counts.read).sum()
    }

    /// All well, something was rejected or is left to be read, or nothing could be read at all. A run with a limit is `meant` to leave
    /// something.
    pub fn exit(&self, meant: bool) -> Exit {
        let sum = |count: fn(&SourceCounts) -> u64| self.rows.iter().map(|row| count(&row.counts)).sum::<u64>();
        let (faults, read) = (sum(|c| c.failed + c.rejected), sum(|c| c.documents + c.read - c.rejected));
        match (faults, read) {
            (0, _) if meant || self.done() => Exit::Ok,
            (0, _) => Exit::Partly,
            (_, 0) => Exit::Failed,
            _ => Exit::Partly,
        }
    }

    /// Shows it: as JSON on standard output for programs, else as a table on standard error, out of the way of alerts.
    pub fn show(&self, json: bool, file: &Path) -> anyhow::Result<()> {
        if json {
            let report = JsonReport { totals: &self.totals, sources: self.rows.iter().map(Row::json).collect() };
            return Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(&report)?)?);
        }
        Ok(write!(std::io::stderr(), "{}", self.text(file))?)
    }

    fn text(&self, file: &Path) -> String {
        let head = ["source", "read", "new", "duplicates", "revised", "outside", "rejected", "irrelevant", "alerts"];
        let mut lines = vec![head.map(str::to_owned)];
        lines.extend(self.rows.iter().map(cells));
        if self.rows.len() > 1 {
            lines.push(cells(&self.sum()));
        }
        let widths: Vec<usize> = (0..head.len())
            .map(|column| lines.iter().map(|line| console::measure_text_width(&line[column])).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for line in &lines {
            let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, width))| match column {
                0 => console::pad_str(cell, *width, console::Alignment::Left, None),
                _ => console::pad_str(cell, *width, console::Alignment::Right, None),
            });
            text += &format!("{}\n", cells.collect::<Vec<_>>().join("  ").trim_end());
        }
        text + &self.remarks() + &self.written(file)
    }

    fn sum(&self) -> Row {
        let mut sum = Row { source: "total".into(), ..Row::default() };
        for row in &self.rows {
            sum.counts.add(&row.counts);
            sum.judged.alert += row.judged.alert;
            sum.judged.irrelevant += row.judged.irrelevant;
            sum.judged.unscorable += row.judged.unscorable;
        }
        sum
    }

    /// What does not fit into the columns: why records were rejected, what failed, what is left.
    fn remarks(&self) -> String {
        let mut text = String::new();
        for row in &self.rows {
            let mut remarks: Vec<String> = row.counts.reasons.iter().map(|(why, n)| format!("{n} {why}")).collect();
            if row.counts.failed > 0 {
                remarks.insert(
                    0,
                    format!("{} of {} files failed", row.counts.failed, row.counts.failed + row.counts.documents),
                );
            }
            if row.counts.passed_over > 0 {
                remarks.push(format!("{} pages that are no articles passed over", row.counts.passed_over));
            }
            if row.judged.unscorable > 0 {
                remarks.push(format!("{} that the model could not judge", row.judged.unscorable));
            }
            if !row.done {
                remarks.push("not read to its end: the same command goes on".into());
            }
            if !remarks.is_empty() {
                text += &format!("{}: {}\n", row.source, remarks.join(", "));
            }
        }
        text
    }

    fn written(&self, file: &Path) -> String {
        let file = if file.as_os_str() == "-" { "standard output".into() } else { file.display().to_string() };
        format!("{} alerts written to {file}\n", self.totals.delivered)
    }
}

fn cells(row: &Row) -> [String; 9] {
    let c = &row.counts;
    let counts = [c.read, c.new, c.duplicate, c.revised, c.outside, c.rejected, row.irrelevant(), row.judged.alert];
    let mut cells = [const { String::new() }; 9];
    cells[0].clone_from(&row.source);
    for (cell, count) in cells[1..].iter_mut().zip(counts) {
        *cell = count.to_string();
    }
    cells
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_says_what_became_of_each_source() {
        let counts = SourceCounts {
            documents: 1,
            failed: 1,
            read: 10,
            new: 8,
            duplicate: 1,
            rejected: 1,
            settled: 5,
            reasons: [("broken JSON".to_owned(), 1)].into(),
            ..SourceCounts::default()
        };
        let judged = JudgedCounts { alert: 2, irrelevant: 1, unscorable: 0 };
        let row = Row { source: "a.jsonl".into(), done: true, counts, judged };
        let other = Row { source: "b".into(), ..Row::default() };
        let report = Report { rows: vec![row, other], totals: Totals { delivered: 2, ..Totals::default() } };
        let expected = "\
source   read  new  duplicates  revised  outside  rejected  irrelevant  alerts
a.jsonl    10    8           1        0        0         1           6       2
b           0    0           0        0        0         0           0       0
total      10    8           1        0        0         1           6       2
a.jsonl: 1 of 2 files failed, 1 broken JSON
b: not read to its end: the same command goes on
2 alerts written to out.jsonl
";
        assert_eq!(report.text(Path::new("out.jsonl")), expected);
        assert_eq!((report.exit(false), report.done()), (Exit::Partly, false));
    }
}
