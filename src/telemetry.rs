//! Logs: fields, not sentences; to standard error, for people or as JSON.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload::{self, Handle};
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Registry};

use crate::config::{LogConfig, LogFormat};

/// Why logging could not be set up.
#[derive(Debug, Error)]
#[error(
    "read log level `{level}`: {reason}; write error, warn, info, debug, trace or a filter such as \"info,demarche::fetch=debug\""
)]
pub struct TelemetryError {
    level: String,
    reason: String,
}

/// The log that is written, to change its level by.
#[derive(Debug, Clone)]
pub struct Log(Option<Handle<EnvFilter, Registry>>);

impl Log {
    /// From now on what `level` lets through is logged.
    ///
    /// # Errors
    /// When the level is not a filter that tracing understands.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = filter(level)?;
        // It fails only where the subscriber is gone, and with it the log.
        let _ = self.0.as_ref().map(|handle| handle.reload(filter));
        Ok(())
    }
}

/// Sends the log of this process to standard error. Later calls change nothing.
///
/// # Errors
/// When the level is not a filter that tracing understands.
pub fn start(config: &LogConfig) -> Result<Log, TelemetryError> {
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let started = match config.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact()).try_init()
        }
    };
    // An error means that a subscriber is set already, which is what we want.
    Ok(Log(started.is_ok().then_some(handle)))
}

/// Reads a level or filter.
///
/// # Errors
/// When it is not a filter that tracing understands.
pub fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |reason: String| TelemetryError { level: level.to_owned(), reason };
    EnvFilter::builder().parse(level).map_err(|error| wrong(error.to_string()))
}
