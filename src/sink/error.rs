//! Why a sink did not take an alert, and what that means for the next try.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use crate::fetch::FetchError;

/// Why a sink did not take an alert. It stays in the outbox.
#[derive(Debug, Error)]
pub enum SinkError {
    /// The file cannot be opened.
    #[error("open alert file {path}: {source}; make it writable or name another with --out or [output] file")]
    Open {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// A line cannot be written.
    #[error("write alert file {path}: {source}{}", hint(.source))]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The receiver of a webhook did not take it.
    #[error("post to sink {name}: {}", post_reason(.source))]
    Post {
        /// The sink.
        name: String,
        /// What went wrong.
        source: FetchError,
    },
    /// A command did not take it.
    #[error("run the command of sink {name}: {reason}")]
    Command {
        /// The sink.
        name: String,
        /// What went wrong.
        reason: String,
    },
    /// A line is not what this program writes.
    #[error("read alert {alert_id} for sink {name}: {source}")]
    Unreadable {
        /// The sink.
        name: String,
        /// The alert.
        alert_id: String,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// What a failure means for the next try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It may go better later; not before this wait, if the receiver named one.
    Later(Option<Duration>),
    /// This alert will never be taken; the next one may.
    Never,
    /// Nothing will be taken any more.
    Closed,
}

impl SinkError {
    /// Whether whoever read standard output has gone: nobody can come back to that pipe.
    pub fn is_unread(&self) -> bool {
        matches!(self, Self::Write { path, source }
            if path == Path::new("-") && source.kind() == io::ErrorKind::BrokenPipe)
    }

    /// What it means for the next try.
    pub fn verdict(&self) -> Verdict {
        match self {
            Self::Post { source: FetchError::Status { status, retry_after, .. }, .. } => {
                of_status(*status, *retry_after)
            }
            Self::Post { source, .. } => Verdict::Later(source.retry_after()),
            Self::Open { .. } | Self::Write { .. } | Self::Command { .. } => Verdict::Later(None),
            Self::Unreadable { .. } => Verdict::Never,
        }
    }
}

/// A request that the receiver understood and does not want, as it is, is not worth repeating. What an operator can mend
/// at the receiver (credentials, a missing path, a redirect) is.
fn of_status(status: u16, retry_after: Option<Duration>) -> Verdict {
    match status {
        410 => Verdict::Closed,
        400 | 405 | 406 | 409 | 411..=417 | 422 | 431 | 451 => Verdict::Never,
        _ => Verdict::Later(retry_after),
    }
}

/// The fetcher's errors name the remedies of feeds.
fn post_reason(error: &FetchError) -> String {
    match error {
        FetchError::Status { status: status @ (401 | 403), .. } => {
            format!("status {status}; check its `secret`, its `credential` and its address")
        }
        FetchError::Status { status: 404, .. } => "status 404; check its address".into(),
        FetchError::Status { status: 410, .. } => {
            "status 410: its receiver wants nothing more; give it another address or remove it".into()
        }
        FetchError::Status { status, .. } => format!("status {status}"),
        FetchError::Blocked { host, address } => {
            format!(
                "{host} is {address}, which is not a public address; allow it in the sink's allow_net if it is yours"
            )
        }
        other => other.to_string(),
    }
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "; free some space on its disk",
        io::ErrorKind::ReadOnlyFilesystem | io::ErrorKind::PermissionDenied => "; make it writable",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(status: u16, retry_after: Option<Duration>) -> SinkError {
        let source = FetchError::Status { status, retry_after, not_before: None, host: "desk.example".into() };
        SinkError::Post { name: "desk".into(), source }
    }

    #[test]
    fn statuses_have_their_meanings() {
        let minute = Some(Duration::from_secs(60));
        for (code, verdict) in [
            (500, Verdict::Later(None)),
            (404, Verdict::Later(None)),
            (401, Verdict::Later(None)),
            (413, Verdict::Never),
            (422, Verdict::Never),
            (410, Verdict::Closed),
        ] {
            assert_eq!(status(code, None).verdict(), verdict, "{code}");
        }
        assert_eq!(status(429, minute).verdict(), Verdict::Later(minute));
        assert_eq!(status(503, minute).verdict(), Verdict::Later(minute));
    }

    #[test]
    fn the_remedy_is_that_of_a_sink() {
        let blocked = FetchError::Blocked { host: "desk.example".into(), address: [10, 0, 0, 1].into() };
        let text = SinkError::Post { name: "desk".into(), source: blocked }.to_string();
        assert!(text.contains("sink desk") && text.contains("the sink's allow_net"), "{text}");
        assert!(status(410, None).to_string().contains("another address"));
    }
}
