//! One sink's way through the outbox: read, hand over, mark.

mod failing;
mod resume;
mod tell;

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::deliver::Calls;
use super::persist::Persist;
use super::round::{Fate, Round};
use super::{Mode, PipelineError, Tally, capacity};
use crate::sink::step::{self, Step};
use crate::sink::{AlertId, Delivery, Next, Outlet, SinkError};
use crate::store::{Failure, Settled, Waiting};

/// How long a stopping run waits for the answer of a sink outside of this machine. What it took without our knowing it is
/// sent again, under the same delivery id.
const GRACE: Duration = Duration::from_secs(5);

pub(super) struct Lane {
    outlet: Outlet,
    persist: Persist,
    tally: Arc<Tally>,
    /// Cancelled when a sink outside of this machine is not to be waited for any more.
    leave: CancellationToken,
    /// Read and not yet settled, in order.
    ahead: VecDeque<Waiting>,
    /// Those of them that the sink is not told of.
    untold: HashSet<i64>,
    /// The last alert that was read.
    read: i64,
    /// The last alert that is marked.
    marked: i64,
    /// Ids of alerts behind `marked` that the sink has.
    has: HashSet<String>,
    /// Ids of alerts that it holds from before this state, sorted; only while the state is young.
    holds: Vec<AlertId>,
    /// Whether it was asked at start what it has.
    compared: bool,
    /// Whether this state has known it for a short time only.
    young: bool,
    /// What the sink has taken and not yet made safe, and when it is to be.
    held: Option<(Settled, Instant)>,
    failing: Option<(Failure, Option<SinkError>)>,
}

impl Lane {
    pub fn new(outlet: Outlet, persist: Persist, tally: Arc<Tally>, leave: CancellationToken) -> Self {
        let (ahead, has) = (VecDeque::new(), HashSet::new());
        Self {
            outlet,
            persist,
            tally,
            leave,
            ahead,
            untold: HashSet::new(),
            read: 0,
            marked: 0,
            has,
            holds: Vec::new(),
            young: false,
            compared: false,
            held: None,
            failing: None,
        }
    }

    /// Delivers until the calls end and nothing waits that can be delivered.
    pub async fn run(mut self, mut calls: watch::Receiver<Calls>) -> Result<(), PipelineError> {
        let ended = self.work_on_calls(&mut calls).await;
        tokio::task::block_in_place(|| self.outlet.sink.close());
        ended
    }

    async fn work_on_calls(&mut self, calls: &mut watch::Receiver<Calls>) -> Result<(), PipelineError> {
        self.start().await?;
        let mut reopened = 0;
        loop {
            self.work().await?;
            if !self.wait(calls).await {
                return self.finish().await;
            }
            let asked = calls.borrow_and_update().reopen;
            if asked != reopened {
                reopened = asked;
                self.reopen();
            }
        }
    }

    /// Delivers until nothing waits, or the sink is to be left alone.
    async fn work(&mut self) -> Result<(), PipelineError> {
        loop {
            if self.held.as_ref().is_some_and(|(_, due)| *due <= Instant::now()) {
                self.make_safe().await?;
            }
            if self.rests(Utc::now()) || self.is_stopping() {
                return Ok(());
            }
            if !self.compared {
                self.compare().await?;
            } else if self.refill().await? {
                self.round().await?;
            } else {
                return Ok(());
            }
        }
    }

    /// Whether nobody comes after this run to try again: a daemon that only reads its configuration anew goes on.
    fn is_last(&self) -> bool {
        self.persist.mode == Mode::Once || self.persist.stop.is_cancelled()
    }

    /// A run that stops does not begin to talk to somebody else.
    fn is_stopping(&self) -> bool {
        self.outlet.remote && self.leave.is_cancelled()
    }

    /// Reads on where nothing is left of what was read; false when nothing waits.
    async fn refill(&mut self) -> Result<bool, PipelineError> {
        if self.ahead.is_empty() {
            let read = self.read;
            let waiting = self.persist.call(move |store| store.waiting(read, capacity::DELIVERY_BATCH)).await?;
            self.ahead = self.told(waiting).await?.into();
            self.read = self.ahead.back().map_or(self.read, |last| last.seq);
            if !self.ahead.is_empty() {
                step::pass(Step::Read);
            }
        }
        Ok(!self.ahead.is_empty())
    }

    /// Hands over as much as the sink takes at once, and marks what came of it.
    async fn round(&mut self) -> Result<(), PipelineError> {
        let fates = self.fates();
        let sent: Vec<&Waiting> =
            self.ahead.iter().zip(&fates).filter(|(_, fate)| **fate == Fate::Send).map(|(alert, _)| alert).collect();
        let delivery = if sent.is_empty() {
            Delivery::default()
        } else {
            // What somebody else takes his time over has a limit of its own.
            let _at_work = (!self.outlet.remote).then(|| self.persist.begin());
            tokio::select! {
                delivery = self.outlet.sink.deliver(&sent) => delivery,
                () = patience(&self.leave, self.outlet.remote) => return Ok(()),
            }
        };
        let Delivery { taken, refused } = delivery;
        let next = refused.map(|(seq, error)| (seq, self.next(&error), error));
        let parked = next.as_ref().and_then(|(seq, next, _)| match next {
            Next::Park(reason) => Some((*seq, reason.clone())),
            _ => None,
        });
        let round = Round::of(self.ahead.iter().zip(fates), &taken, parked.as_ref());
        self.note(round).await?;
        if let Some((_, next, error)) = next {
            self.failed(next, error).await?;
        }
        Ok(())
    }

    /// What is to become of the alerts that were read, up to as many as the sink takes at once.
    fn fates(&self) -> Vec<Fate> {
        let mut room = self.outlet.sink.most();
        let mut fates = Vec::with_capacity(self.ahead.len());
        for alert in &self.ahead {
            let fate = if self.has.contains(&alert.alert_id) || self.held_before(&alert.alert_id) {
                Fate::Has
            } else if self.untold.contains(&alert.seq) {
                Fate::Skip
            } else if room == 0 {
                break;
            } else {
                room -= 1;
                Fate::Send
            };
            fates.push(fate);
        }
        fates
    }

    /// Takes note of what a round came to: marked at once, or when the sink has made it safe.
    async fn note(&mut self, round: Round) -> Result<(), PipelineError> {
        let Round { settled, alerts, fresh, has } = round;
        self.has.extend(has);
        for alert in self.ahead.drain(..alerts) {
            self.has.remove(&alert.alert_id);
            self.untold.remove(&alert.seq);
        }
        if alerts == 0 {
            return Ok(());
        }
        for (seq, reason) in &settled.parked {
            tracing::error!(sink = self.outlet.name, seq, reason, "an alert is parked: this sink will not get it");
        }
        if fresh > 0 && self.outlet.is_main() {
            self.tally.delivered(fresh);
        }
        match (&mut self.held, self.outlet.sink.sync_every()) {
            (Some((held, _)), _) => held.add(settled),
            (held @ None, Some(every)) => *held = Some((settled, Instant::now() + every)),
            (None, None) => return self.mark(settled).await,
        }
        if self.held.as_ref().is_some_and(|(held, _)| held.cursor - self.marked >= capacity::UNMARKED as i64 / 2) {
            self.make_safe().await?;
        }
        Ok(())
    }

    async fn mark(&mut self, settled: Settled) -> Result<(), PipelineError> {
        let (name, cursor, is_progress) = (self.outlet.name.clone(), settled.cursor, settled.is_progress());
        self.persist.call(move |store| store.settle(&name, &settled, Utc::now())).await?;
        step::pass(Step::Marked);
        self.marked = cursor;
        if is_progress && self.failing.take().is_some() {
            tracing::info!(sink = self.outlet.name, "the sink takes alerts again");
        }
        Ok(())
    }

    /// Has the sink make safe what it took, and marks it. What it could not make safe it has no longer.
    async fn make_safe(&mut self) -> Result<(), PipelineError> {
        let Some((held, _)) = self.held.take() else { return Ok(()) };
        match self.outlet.sink.sync().await {
            Ok(()) => {
                step::pass(Step::Synced);
                self.mark(held).await
            }
            Err(error) => {
                self.ahead.clear();
                self.untold.clear();
                (self.read, self.compared) = (self.marked, false);
                let next = self.next(&error);
                self.failed(next, error).await
            }
        }
    }

    /// Waits for a call or until there is something to do; false when there will be no more calls.
    async fn wait(&self, calls: &mut watch::Receiver<Calls>) -> bool {
        let next_try = self.failing.as_ref().and_then(|(failure, _)| failure.next_try);
        let rest = next_try.map(|next| (next - Utc::now()).to_std().unwrap_or_default().min(failing::FAR));
        let sync = self.held.as_ref().map(|(_, due)| due.saturating_duration_since(Instant::now()));
        let pause = rest.into_iter().chain(sync).min();
        tokio::select! {
            call = calls.changed() => call.is_ok(),
            () = tokio::time::sleep(pause.unwrap_or_default()), if pause.is_some() => true,
        }
    }

    /// Delivers what has come since the last look, as far as the sink takes it now.
    async fn finish(&mut self) -> Result<(), PipelineError> {
        self.work().await?;
        self.make_safe().await?;
        let Some((failure, error)) = self.failing.take() else { return Ok(()) };
        match error {
            Some(error) if self.outlet.is_main() && self.is_last() => Err(error.into()),
            _ => {
                tracing::warn!(
                    sink = self.outlet.name,
                    error = failure.error,
                    "alerts of this sink wait for the next run"
                );
                self.tally.sink_behind();
                Ok(())
            }
        }
    }
}

/// Ends when a stopping run has waited long enough for somebody else.
async fn patience(leave: &CancellationToken, remote: bool) {
    if !remote {
        return std::future::pending().await;
    }
    leave.cancelled().await;
    tokio::time::sleep(GRACE).await;
}
