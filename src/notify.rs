//! What systemd is told (sd_notify(3)): that the program is ready, reloads, stops, what it is doing, and that it gets on.
//! Without systemd ($NOTIFY_SOCKET is not set) nothing is sent.

use std::convert::Infallible;
use std::time::Duration;

use sd_notify::NotifyState;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{HUNG, Mode, Pulse, Tally, Totals};

/// How often the status line is renewed where the watchdog does not ask for more.
const STATUS_EVERY: Duration = Duration::from_secs(30);

/// Runs `work`, the stages of a run; tells systemd of a daemon's meanwhile.
pub async fn beside<T>(
    mode: Mode,
    pulse: &Pulse,
    tally: &Tally,
    stop: &CancellationToken,
    work: impl Future<Output = T>,
) -> T {
    if mode == Mode::Once {
        return work.await;
    }
    send(&[NotifyState::Ready]);
    let stopping = async {
        stop.cancelled().await;
        send(&[NotifyState::Stopping]);
        std::future::pending::<Infallible>().await
    };
    tokio::select! {
        // In this order: the end of the work must not come before it is announced.
        biased;
        never = stopping => match never {},
        ended = work => ended,
        never = keep_telling(pulse, tally) => match never {},
    }
}

/// The configuration is read again, which ends with the next `READY=1`.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => send(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot read the monotonic clock; systemd is not told of the reload"),
    }
}

/// The configuration was read again and is refused: the old one stays.
pub fn still_ready() {
    send(&[NotifyState::Ready]);
}

/// Says what the run does and that it gets on. A stage that has hung is named in the log, and the watchdog then goes
/// unfed, so that systemd starts the program anew.
async fn keep_telling(pulse: &Pulse, tally: &Tally) -> Infallible {
    let mut ticks = tokio::time::interval(period(sd_notify::watchdog_enabled()));
    loop {
        ticks.tick().await;
        match pulse.hung(HUNG) {
            Some((stage, at)) => {
                let busy_s = at.as_secs();
                tracing::error!(stage, busy_s, "the stage has hung; the watchdog is not fed");
                send(&[NotifyState::Status(&format!("{stage} has hung: at one piece of work for {busy_s} s"))]);
            }
            None => send(&[NotifyState::Watchdog, NotifyState::Status(&status(&tally.totals()))]),
        }
    }
}

/// Twice within the watchdog's time, as sd_watchdog_enabled(3) has it.
fn period(watchdog: Option<Duration>) -> Duration {
    watchdog.map_or(STATUS_EVERY, |limit| (limit / 2).clamp(Duration::from_millis(100), STATUS_EVERY))
}

fn status(totals: &Totals) -> String {
    let t = totals;
    format!(
        "since the start {} polls ({} failed), {} new items, {} to judge, {} alerts",
        t.sources(),
        t.failed,
        t.new,
        t.waiting(),
        t.alert
    )
}

fn send(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::debug!(%error, "systemd was not told");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watchdog_is_fed_twice_within_its_time() {
        assert_eq!(period(None), STATUS_EVERY);
        assert_eq!(period(Some(Duration::from_secs(20))), Duration::from_secs(10));
        assert_eq!(period(Some(Duration::from_secs(3_600))), STATUS_EVERY);
    }
}
