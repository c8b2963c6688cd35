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

/// An error with its causes in one line, each said once: a message may already hold its cause.
pub fn message(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).fold(String::new(), |text, cause| match text.as_str() {
        "" => cause,
        known if known.contains(&cause) => text,
        known => format!("{known}: {cause}"),
    })
}

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

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn a_cause_is_said_once() {
        let error = Err::<(), _>(UsageError("read x: no such file".into())).context("start").unwrap_err();
        assert_eq!(message(&error), "start: read x: no such file");
        assert_eq!(message(&error.context("start: read x: no such file")), "start: read x: no such file");
    }

    #[test]
    fn a_closed_pipe_is_no_failure() {
        let pipe = std::io::Error::from(std::io::ErrorKind::BrokenPipe);
        assert_eq!(Exit::of(&anyhow::Error::from(pipe).context("write")), Exit::Ok);
    }
}
