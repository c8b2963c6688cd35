//! How a lane begins: where the last run was, and what the sink has of it.

use super::Lane;
use crate::pipeline::{PipelineError, capacity};
use crate::store::{Failure, Store};

impl Lane {
    /// Goes on where the last run was.
    pub(super) async fn start(&mut self) -> Result<(), PipelineError> {
        let name = self.outlet.name.clone();
        let Some(state) = self.persist.call(move |store| store.sink(&name)).await? else { return Ok(()) };
        (self.read, self.marked) = (state.cursor, state.cursor);
        // What is on this machine is tried at once: whoever starts the program may just have mended it.
        if state.tries > 0 && self.outlet.remote {
            let error = state.closed.or(state.error).unwrap_or_default();
            let failure = Failure { tries: state.tries, since: state.since, next_try: state.next_try, error };
            tracing::warn!(sink = self.outlet.name, waiting = state.waiting, error = failure.error, next_try = ?failure.next_try,
                "a sink has not taken its alerts");
            self.failing = Some((failure, None));
        }
        Ok(())
    }

    /// Alerts that the sink has though the store does not say so: the last run was killed in between.
    pub(super) async fn compare(&mut self) -> Result<(), PipelineError> {
        let cursor = self.marked;
        let read = move |store: &mut Store| {
            let waiting = store.waiting(cursor, capacity::UNMARKED)?;
            Ok((waiting, store.settled_ids(cursor, capacity::UNMARKED)?))
        };
        let (waiting, settled) = self.persist.call(read).await?;
        let waiting = waiting.into_iter().map(|alert| alert.alert_id).collect();
        let settled = settled.into_iter().collect();
        match self.outlet.sink.already_has(&waiting, &settled).await {
            Ok(has) => (self.has, self.compared) = (has, true),
            // Not to know is no reason to repeat what may be there already.
            Err(error) => {
                let next = self.next(&error);
                return self.failed(next, error).await;
            }
        }
        if !self.has.is_empty() {
            tracing::info!(
                sink = self.outlet.name,
                alerts = self.has.len(),
                "delivered before the last run ended; not repeated"
            );
        }
        Ok(())
    }
}
