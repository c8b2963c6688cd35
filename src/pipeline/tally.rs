//! What a run did, counted. Every entry of every document ends in one of these, and the totals add up.

use std::sync::atomic::{AtomicU64, Ordering};

use serde::{Deserialize, Serialize};

use super::timing::Timing;
use crate::store::{PollCounts, SourceCounts};

/// Counters of a run; shared by its stages.
#[derive(Debug, Default)]
pub struct Tally {
    documents: AtomicU64,
    not_modified: AtomicU64,
    failed: AtomicU64,
    new: AtomicU64,
    duplicate: AtomicU64,
    revised: AtomicU64,
    reopened: AtomicU64,
    rejected: AtomicU64,
    outside: AtomicU64,
    resumed: AtomicU64,
    alert: AtomicU64,
    irrelevant: AtomicU64,
    unscorable: AtomicU64,
    copied: AtomicU64,
    delivered: AtomicU64,
    timing: Timing,
    sinks_behind: AtomicU64,
}

/// A run's totals at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Feeds (or files) that were read and brought a document.
    pub documents: u64,
    /// Feeds that answered 304.
    pub not_modified: u64,
    /// Feeds (or files) that failed.
    pub failed: u64,
    /// Entries read: `new + duplicate + revised + outside + rejected`.
    pub items: u64,
    /// Entries seen for the first time.
    pub new: u64,
    /// Entries that were known.
    pub duplicate: u64,
    /// Known entries with another headline.
    pub revised: u64,
    /// Of the revised, those judged again because they had raised no alert.
    pub reopened: u64,
    /// Entries without text; records of history that cannot be read.
    pub rejected: u64,
    /// Entries of history outside of the days asked for.
    pub outside: u64,
    /// Items that an earlier run had left waiting.
    pub resumed: u64,
    /// Items judged an alert.
    pub alert: u64,
    /// Items judged not relevant.
    pub irrelevant: u64,
    /// Items the model could not judge.
    pub unscorable: u64,
    /// Of the judged, those that took over the verdict of a text they copy.
    #[serde(default)]
    pub copied: u64,
    /// Alerts written to the main file.
    pub delivered: u64,
    /// Other sinks that have not taken all of their alerts.
    #[serde(default)]
    pub sinks_behind: u64,
}

impl Totals {
    /// Feeds or files that were asked, whatever came of it.
    pub fn sources(&self) -> u64 {
        self.documents + self.not_modified + self.failed
    }

    /// Items that were to be judged and are not yet: `new + reopened + resumed` less the judged.
    pub fn waiting(&self) -> u64 {
        (self.new + self.reopened + self.resumed).saturating_sub(self.alert + self.irrelevant + self.unscorable)
    }
}

impl Tally {
    /// A document was read and committed.
    pub fn document(&self, counts: PollCounts) {
        self.documents.fetch_add(1, Ordering::Relaxed);
        self.new.fetch_add(counts.new, Ordering::Relaxed);
        self.duplicate.fetch_add(counts.duplicate, Ordering::Relaxed);
        self.revised.fetch_add(counts.revised, Ordering::Relaxed);
        self.reopened.fetch_add(counts.reopened, Ordering::Relaxed);
        self.rejected.fetch_add(counts.rejected, Ordering::Relaxed);
    }

    /// History was taken in.
    pub fn history(&self, counts: &SourceCounts) {
        let add = |counter: &AtomicU64, count: u64| counter.fetch_add(count, Ordering::Relaxed);
        add(&self.documents, counts.documents);
        add(&self.failed, counts.failed);
        add(&self.new, counts.new);
        add(&self.duplicate, counts.duplicate);
        add(&self.revised, counts.revised);
        add(&self.reopened, counts.reopened);
        add(&self.outside, counts.outside);
        add(&self.rejected, counts.rejected);
        add(&self.irrelevant, counts.settled);
    }

    /// A feed answered 304.
    pub fn not_modified(&self) {
        self.not_modified.fetch_add(1, Ordering::Relaxed);
    }

    /// A feed or file failed.
    pub fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    /// Items were found waiting at start.
    pub fn resumed(&self, count: usize) {
        self.resumed.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// Items were judged.
    pub fn judged(&self, alert: usize, irrelevant: usize, unscorable: usize) {
        self.alert.fetch_add(alert as u64, Ordering::Relaxed);
        self.irrelevant.fetch_add(irrelevant as u64, Ordering::Relaxed);
        self.unscorable.fetch_add(unscorable as u64, Ordering::Relaxed);
    }

    /// Items took over the verdict of a text they copy.
    pub fn copied(&self, count: usize) {
        self.copied.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A batch of `items` texts was scored in `time`.
    pub fn scored(&self, items: usize, time: std::time::Duration) {
        self.timing.observe(items, time);
    }

    /// How long scoring took so far.
    pub fn timing(&self) -> &Timing {
        &self.timing
    }

    /// Alerts were written.
    pub fn delivered(&self, count: usize) {
        self.delivered.fetch_add(count as u64, Ordering::Relaxed);
    }

    /// A sink ended the run with alerts left.
    pub fn sink_behind(&self) {
        self.sinks_behind.fetch_add(1, Ordering::Relaxed);
    }

    /// The totals now.
    pub fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let (new, duplicate, revised, rejected) =
            (read(&self.new), read(&self.duplicate), read(&self.revised), read(&self.rejected));
        Totals {
            documents: read(&self.documents),
            not_modified: read(&self.not_modified),
            failed: read(&self.failed),
            items: new + duplicate + revised + rejected + read(&self.outside),
            new,
            duplicate,
            revised,
            reopened: read(&self.reopened),
            rejected,
            outside: read(&self.outside),
            resumed: read(&self.resumed),
            alert: read(&self.alert),
            irrelevant: read(&self.irrelevant),
            unscorable: read(&self.unscorable),
            copied: read(&self.copied),
            delivered: read(&self.delivered),
            sinks_behind: read(&self.sinks_behind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_totals_add_up() {
        let tally = Tally::default();
        tally.resumed(3);
        tally.document(PollCounts { new: 5, duplicate: 2, revised: 2, reopened: 1, rejected: 1 });
        tally.judged(2, 5, 1);
        let totals = tally.totals();
        assert_eq!(totals.items, 10);
        assert_eq!(totals.waiting(), 1);
    }
}
