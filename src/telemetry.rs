//! Logs: fields, not sentences; to standard error, for people or as JSON.

use std::io::{IsTerminal, Write};

use indicatif::MultiProgress;
use thiserror::Error;
use tracing_subscriber::fmt::MakeWriter;
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
pub struct Log {
    filter: Option<Handle<EnvFilter, Registry>>,
    bars: MultiProgress,
}

impl Log {
    /// Where bars are drawn that lines of the log do not run into.
    pub fn bars(&self) -> MultiProgress {
        self.bars.clone()
    }

    /// From now on what `level` lets through is logged.
    ///
    /// # Errors
    /// When the level is not a filter that tracing understands.
    pub fn set_level(&self, level: &str) -> Result<(), TelemetryError> {
        let filter = filter(level)?;
        // It fails only where the subscriber is gone, and with it the log.
        let _ = self.filter.as_ref().map(|handle| handle.reload(filter));
        Ok(())
    }
}

/// Standard error, with the bars out of the way while a line is written.
#[derive(Clone)]
struct Above(MultiProgress);

impl Write for Above {
    fn write(&mut self, line: &[u8]) -> std::io::Result<usize> {
        self.0.suspend(|| std::io::stderr().write(line))
    }

    fn flush(&mut self) -> std::io::Result<()> {
        std::io::stderr().flush()
    }
}

impl MakeWriter<'_> for Above {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

/// Sends the log of this process to standard error. Later calls change nothing.
///
/// # Errors
/// When the level is not a filter that tracing understands.
pub fn start(config: &LogConfig) -> Result<Log, TelemetryError> {
    let bars = MultiProgress::new();
    let (filter, handle) = reload::Layer::new(filter(&config.level)?);
    let registry = tracing_subscriber::registry().with(filter);
    let layer = tracing_subscriber::fmt::layer().with_writer(Above(bars.clone()));
    let started = match config.format {
        LogFormat::Json => registry.with(layer.json().flatten_event(true)).try_init(),
        LogFormat::Text => {
            registry.with(layer.with_ansi(std::io::stderr().is_terminal()).with_target(false).compact()).try_init()
        }
    };
    // An error means that a subscriber is set already, which is what we want.
    Ok(Log { filter: started.is_ok().then_some(handle), bars })
}

/// Reads a level or filter.
///
/// # Errors
/// When it is not a filter that tracing understands.
pub fn filter(level: &str) -> Result<EnvFilter, TelemetryError> {
    let wrong = |reason: String| TelemetryError { level: level.to_owned(), reason };
    EnvFilter::builder().parse(level).map_err(|error| wrong(error.to_string()))
}
