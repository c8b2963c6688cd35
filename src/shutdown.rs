//! Signals: what ends a run, and what has it look again at its configuration and files.

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Runs `work`; SIGTERM and SIGINT cancel `stop` meanwhile, so that the run drains, and SIGHUP calls `hang_up`. A second
/// SIGTERM does nothing more: the drain deadline ends a run that hangs.
///
/// # Errors
/// When the system refuses to install the handlers.
pub async fn on_signals<T>(
    stop: &CancellationToken,
    hang_up: impl Fn(),
    work: impl Future<Output = T>,
) -> std::io::Result<T> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut hung_up = signal(SignalKind::hangup())?;
    tokio::pin!(work);
    loop {
        let name = tokio::select! {
            done = &mut work => return Ok(done),
            Some(()) = terminate.recv() => "SIGTERM",
            Some(()) = interrupt.recv() => "SIGINT",
            Some(()) = hung_up.recv() => {
                tracing::info!(signal = "SIGHUP", "looking again at configuration and files");
                hang_up();
                continue;
            }
        };
        tracing::info!(signal = name, "stopping: finishing what has begun");
        stop.cancel();
    }
}
