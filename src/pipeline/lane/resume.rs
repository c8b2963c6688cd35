//! How a lane begins: where the last run was, and what the sink has of it.

use chrono::{TimeDelta, Utc};

use super::Lane;
use crate::pipeline::{PipelineError, capacity};
use crate::sink::{SinkError, alert_number};
use crate::store::{Failure, Store};

/// How long a state that was made anew may raise what the file holds from before: every feed is asked again within a day or
/// two. Longer only costs memory and a look through the file at start.
const YOUNG: TimeDelta = TimeDelta::days(3);

impl Lane {
    /// Goes on where the last run was.
    pub(super) async fn start(&mut self) -> Result<(), PipelineError> {
        let name = self.outlet.name.clone();
        let Some(state) = self.persist.call(move |store| store.sink(&name)).await? else { return Ok(()) };
        (self.read, self.marked) = (state.cursor, state.cursor);
        self.young = state.made.is_some_and(|made| Utc::now() - made < YOUNG);
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
        if self.young
            && let Err(error) = self.remember().await
        {
            let next = self.next(&error);
            return self.failed(next, error).await;
        }
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

    /// Takes note of what the sink holds. What it has of this state is found there too, and does no harm.
    async fn remember(&mut self) -> Result<(), SinkError> {
        self.holds = self.outlet.sink.holds(capacity::HELD_IDS).await?;
        Ok(())
    }

    /// Whether the sink holds an alert that a state before this one has raised.
    pub(super) fn held_before(&self, alert_id: &str) -> bool {
        !self.holds.is_empty() && alert_number(alert_id).is_some_and(|id| self.holds.binary_search(&id).is_ok())
    }
}
