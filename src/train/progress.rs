//! How training goes, on stderr: one line that is redrawn on a terminal, now and then a line elsewhere.

use std::io::{IsTerminal, Write, stderr};
use std::time::{Duration, Instant};

/// Time between two lines where they cannot be redrawn.
const QUIET: Duration = Duration::from_secs(30);

/// A count towards a total, with the time that is left.
pub(super) struct Progress {
    what: &'static str,
    total: usize,
    done: usize,
    started: Instant,
    said: Instant,
    redraw: bool,
}

impl Progress {
    pub(super) fn new(what: &'static str, total: usize) -> Self {
        let now = Instant::now();
        Self { what, total, done: 0, started: now, said: now, redraw: stderr().is_terminal() }
    }

    /// Counts `n` more; `note` stands at the end of the line.
    pub(super) fn advance(&mut self, n: usize, note: &str) {
        self.done += n;
        let every = if self.redraw { Duration::from_millis(200) } else { QUIET };
        if self.said.elapsed() < every && self.done < self.total {
            return;
        }
        self.said = Instant::now();
        let line = format!("{}  {note}", self.line(self.started.elapsed()));
        let (start, end) =
            if self.redraw { ("\r", if self.done >= self.total { "\n" } else { "" }) } else { ("", "\n") };
        // Nobody may be there to read it.
        let _ = write!(stderr(), "{start}{line}{end}");
    }

    fn line(&self, elapsed: Duration) -> String {
        const WIDTH: usize = 30;
        let share = self.done as f64 / self.total.max(1) as f64;
        let filled = ((share * WIDTH as f64) as usize).min(WIDTH);
        let left = elapsed.as_secs_f64() / share.max(1e-9) * (1.0 - share).max(0.0);
        format!(
            "{} [{}{}] {}/{}, {left:.0} s left",
            self.what,
            "#".repeat(filled),
            ".".repeat(WIDTH - filled),
            self.done,
            self.total
        )
    }
}

/// One line of result.
pub(super) fn say(line: &str) {
    let _ = writeln!(stderr(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_tells_share_and_time_left() {
        let mut progress = Progress::new("training", 200);
        progress.done = 50;
        let line = progress.line(Duration::from_secs(10));
        assert!(line.starts_with("training [#######.......................] 50/200, 30 s left"), "{line}");
        assert!(Progress::new("training", 0).line(Duration::ZERO).ends_with("0 s left"));
    }
}
