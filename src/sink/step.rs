//! The steps of delivery between which a test kills the program. In a release build all of this is nothing.
//!
//! `DEMARCHE_ABORT_AT=marked:3` aborts a debug build when it passes the step `marked` for the third time, as SIGKILL
//! would: no destructor runs, nothing is flushed.

/// A moment between two things that delivery does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A verdict and its outbox row are committed; the delivery does not know yet.
    Committed,
    /// Alerts have been read from the outbox.
    Read,
    /// Half of a block is in the file.
    Torn,
    /// The block is in the file, and not synced.
    Written,
    /// It is synced, and not marked.
    Synced,
    /// It is marked.
    Marked,
    /// The current file has its closed name; there is no current one.
    Renamed,
    /// There is a new current file, with nothing in it.
    Rotated,
    /// The compressed copy is complete, and not in its place.
    Compressed,
    /// It is in its place, beside the original.
    Placed,
}

impl Step {
    /// All of them, in order.
    pub const ALL: [Self; 10] = [
        Self::Committed,
        Self::Read,
        Self::Torn,
        Self::Written,
        Self::Synced,
        Self::Marked,
        Self::Renamed,
        Self::Rotated,
        Self::Compressed,
        Self::Placed,
    ];

    /// The name in `DEMARCHE_ABORT_AT`.
    pub fn name(self) -> String {
        format!("{self:?}").to_lowercase()
    }
}

/// Passes a step.
#[cfg(not(debug_assertions))]
pub(crate) fn pass(_step: Step) {}

/// Whether the program is to be aborted when this step is passed now.
#[cfg(not(debug_assertions))]
pub(crate) fn is_last(_step: Step) -> bool {
    false
}

/// Passes a step, or aborts at it.
#[cfg(debug_assertions)]
pub(crate) fn pass(step: Step) {
    if is_last(step) {
        std::process::abort();
    }
}

/// Whether the program is to be aborted when this step is passed now.
#[cfg(debug_assertions)]
pub(crate) fn is_last(step: Step) -> bool {
    use std::sync::atomic::{AtomicU32, Ordering};
    static PASSED: AtomicU32 = AtomicU32::new(0);
    let Ok(wanted) = std::env::var("DEMARCHE_ABORT_AT") else { return false };
    let (name, count) = wanted.split_once(':').unwrap_or((&wanted, "1"));
    name == step.name() && PASSED.fetch_add(1, Ordering::Relaxed) + 1 == count.parse().unwrap_or(1)
}
