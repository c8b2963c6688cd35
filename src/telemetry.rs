//! Logs: fields, not sentences; to standard error, for people or as JSON.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::EnvFilter;

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

/// Sends the log of this process to standard error. Later calls change nothing.
///
/// # Errors
/// When the level is not a filter that tracing understands.
pub fn start(config: &LogConfig) -> Result<(), TelemetryError> {
    let filter = filter(&config.level)?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that a subscriber is set already, which is what we want.
    let _ = match config.format {
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
        LogFormat::Text => builder.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact().try_init(),
    };
    Ok(())
}

/// Reads a level or filter.
///
/// # Errors
/// When it is not a filter that tracing understands.
pub fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |reason: String| TelemetryError { level: level.to_owned(), reason };
    EnvFilter::builder().parse(level).map_err(|error| wrong(error.to_string()))
}
