//! What a lane does about a sink that does not take its alerts.

use std::time::Duration;

use chrono::{DateTime, Utc};

use super::Lane;
use crate::pipeline::{Mode, PipelineError};
use crate::schedule::Jitter;
use crate::sink::{Next, SinkError};

/// A next try that is further away than any that is ever set comes of a clock that was set back.
pub(super) const FAR: Duration = Duration::from_secs(2 * 86_400);

impl Lane {
    /// Whether the sink is to be left alone for now.
    pub(super) fn rests(&self, now: DateTime<Utc>) -> bool {
        let Some((failure, _)) = &self.failing else { return false };
        match failure.next_try {
            None => true,
            Some(next) => (next - now).to_std().is_ok_and(|wait| wait > Duration::ZERO && wait < FAR),
        }
    }

    /// What follows from a failure now.
    pub(super) fn next(&self, error: &SinkError) -> Next {
        let now = Utc::now();
        let chance = Jitter::of(now.timestamp_millis(), self.marked);
        self.outlet.retry.after(self.failing.as_ref().map(|(failure, _)| failure), error, now, chance)
    }

    /// Takes note of a failure. A run that ends by itself has failed with its main file, and any run ends with whoever read its
    /// standard output.
    pub(super) async fn failed(&mut self, next: Next, error: SinkError) -> Result<(), PipelineError> {
        let name = self.outlet.name.clone();
        if self.outlet.is_main() && error.is_unread() {
            tracing::warn!(
                "nobody reads standard output any more: the run ends; alerts that were not taken wait in the state"
            );
            return Err(error.into());
        }
        let failure = match next {
            Next::Park(_) => {
                self.failing = None;
                return Ok(());
            }
            Next::Again(failure) => {
                let retry_in_s = failure.next_try.map_or(0, |next| (next - Utc::now()).num_seconds());
                tracing::error!(sink = name, %error, tries = failure.tries, retry_in_s, "alerts wait until this is mended");
                failure
            }
            Next::Close(failure) => {
                tracing::error!(sink = name, %error, "the sink is closed until its configuration changes; its alerts wait");
                failure
            }
        };
        let noted = failure.clone();
        self.persist.call(move |store| store.sink_failed(&name, &noted)).await?;
        if self.outlet.is_main() && self.persist.mode == Mode::Once {
            return Err(error.into());
        }
        self.failing = Some((failure, Some(error)));
        Ok(())
    }

    /// Opens anew what the sink writes to; what kept it from its work may have gone.
    pub(super) fn reopen(&mut self) {
        match tokio::task::block_in_place(|| self.outlet.sink.reopen()) {
            Ok(()) if !self.outlet.remote => self.failing = None,
            Ok(()) => {}
            Err(error) => {
                tracing::error!(sink = self.outlet.name, %error, "cannot reopen; going on with what was open")
            }
        }
    }
}
