//! Signals become a cancelled token; what is cancelled drains.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::pipeline::Reopen;

/// Runs `work`; SIGTERM and SIGINT cancel `stop` meanwhile, SIGHUP has the sinks reopen their files. A second signal does nothing more: the drain
/// deadline ends a run that hangs.
///
/// # Errors
/// When the system refuses to install the handlers.
pub async fn on_signals<T>(
    stop: &CancellationToken,
    reopen: &Reopen,
    work: impl Future<Output = T>,
) -> std::io::Result<T> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hang_up = signal(SignalKind::hangup())?;
    tokio::pin!(work);
    loop {
        let name = tokio::select! {
            done = &mut work => return Ok(done),
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
            Some(()) = hang_up.recv() => {
                reopen.ask();
                continue;
            }
        };
        tracing::info!(signal = name, "stopping: finishing what has begun");
        stop.cancel();
    }
}
