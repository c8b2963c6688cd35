//! Exit codes.

use std::process::ExitCode;

use crate::config::ConfigError;

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// Everything was done.
    Ok = 0,
    /// It failed.
    Failed = 1,
    /// The command line or the configuration is wrong.
    Usage = 2,
    /// Some sources failed, the rest was done.
    Partly = 3,
}

/// An error of usage that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct UsageError(pub String);

impl Exit {
    /// The exit code of an error.
    ///
    /// A reader that has seen enough (`demarche … | head`) is no failure.
    pub fn of(error: &anyhow::Error) -> Self {
        let pipe = |cause: &(dyn std::error::Error + 'static)| {
            cause.downcast_ref::<std::io::Error>().is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
        };
        if error.chain().any(pipe) {
            return Self::Ok;
        }
        let usage = error.downcast_ref::<ConfigError>().is_some() || error.downcast_ref::<UsageError>().is_some();
        if usage { Self::Usage } else { Self::Failed }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}
