//! A line that moves while a single run works, on a terminal only.

use std::future::Future;
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::pipeline::{Mode, Tally, Totals};

/// How often the line is drawn anew.
const TICK: Duration = Duration::from_millis(200);

/// The progress of a run.
pub(super) struct Progress {
    bar: Option<ProgressBar>,
    tally: Arc<Tally>,
}

impl Progress {
    /// A line on standard error if that is a terminal and the run ends by itself.
    pub fn start(tally: &Arc<Tally>, mode: Mode) -> Self {
        let shown = mode == Mode::Once && std::io::stderr().is_terminal();
        let bar = shown.then(|| {
            let style = ProgressStyle::with_template("{spinner} {elapsed} {msg}");
            ProgressBar::new_spinner().with_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()))
        });
        Self { bar, tally: tally.clone() }
    }

    /// Nothing: the caller shows more than a line.
    pub fn none(tally: &Arc<Tally>) -> Self {
        Self { bar: None, tally: tally.clone() }
    }

    /// Draws the line while `work` runs, and wipes it when that ends.
    pub async fn beside<T>(self, work: impl Future<Output = T>) -> T {
        let Some(bar) = &self.bar else { return work.await };
        let mut ticks = tokio::time::interval(TICK);
        tokio::pin!(work);
        loop {
            tokio::select! {
                done = &mut work => {
                    bar.finish_and_clear();
                    return done;
                }
                _ = ticks.tick() => {
                    bar.set_message(message(&self.tally.totals()));
                    bar.tick();
                }
            }
        }
    }
}

fn message(totals: &Totals) -> String {
    format!(
        "{} sources · {} items · {} to judge · {} alerts",
        totals.sources(),
        totals.items,
        totals.waiting(),
        totals.alert
    )
}
