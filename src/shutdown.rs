//! Signals become a cancelled token; what is cancelled drains.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work` and cancels `stop` when SIGTERM or SIGINT comes meanwhile. A second signal does nothing more: the drain
/// deadline ends a run that hangs.
///
/// # Errors
/// When the system refuses to install the handlers.
pub async fn on_signals<T>(stop: &CancellationToken, work: impl Future<Output = T>) -> std::io::Result<T> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::pin!(work);
    loop {
        let name = tokio::select! {
            done = &mut work => return Ok(done),
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
        };
        tracing::info!(signal = name, "stopping: finishing what has begun");
        stop.cancel();
    }
}
