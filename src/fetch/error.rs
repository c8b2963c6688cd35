//! What can go wrong with a fetch, and the class that the schedule and the feed's health go by.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Class of a failed poll. The schedule backs off by it, and people read it in a feed's health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorClass {
    /// The host's name does not resolve.
    Dns,
    /// No connection.
    Connect,
    /// The TLS handshake failed; verification is never skipped.
    Tls,
    /// Too slow.
    Timeout,
    /// The body outgrew the limit.
    TooLarge,
    /// The body's compression is broken.
    Decode,
    /// HTTP was not spoken properly: cut short, malformed, or an answer that does not fit the question.
    Protocol,
    /// 401 or 403.
    Auth,
    /// 404.
    NotFound,
    /// 410: the feed has ended.
    Gone,
    /// 429.
    RateLimited,
    /// Another 4xx.
    HttpClient,
    /// 5xx.
    HttpServer,
    /// A redirect that cannot be followed.
    Redirect,
    /// An address that is not public and not on the allow-list.
    BlockedAddress,
    /// A document that is no feed.
    NotAFeed,
    /// An empty document.
    Empty,
    /// A feed damaged beyond repair.
    Broken,
}

impl ErrorClass {
    /// Whether nothing of the feed's host was reached: such failures at every host at once are our own outage.
    pub fn is_network(self) -> bool {
        matches!(self, Self::Dns | Self::Connect | Self::Tls | Self::Timeout)
    }

    /// The name, as serialised.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Connect => "connect",
            Self::Tls => "tls",
            Self::Timeout => "timeout",
            Self::TooLarge => "too_large",
            Self::Decode => "decode",
            Self::Protocol => "protocol",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::Gone => "gone",
            Self::RateLimited => "rate_limited",
            Self::HttpClient => "http_client",
            Self::HttpServer => "http_server",
            Self::Redirect => "redirect",
            Self::BlockedAddress => "blocked_address",
            Self::NotAFeed => "not_a_feed",
            Self::Empty => "empty",
            Self::Broken => "broken",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why there is no answer. Texts name hosts, never whole addresses: those may hold credentials.
#[derive(Debug, Error)]
pub enum FetchError {
    /// No address for the host.
    #[error("resolve {host}: {reason}")]
    Dns {
        /// The host.
        host: String,
        /// What the resolver said.
        reason: String,
    },
    /// No connection to the host.
    #[error("connect to {host}: {reason}")]
    Connect {
        /// The host.
        host: String,
        /// What the system said.
        reason: String,
    },
    /// The TLS handshake failed.
    #[error("trust {host}: {reason}; if its certificate is your own, name its authority in [fetch] ca_file")]
    Tls {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// Connecting, a silence, or the whole poll took too long.
    #[error("get an answer from {host} in time")]
    Timeout {
        /// The host.
        host: String,
    },
    /// The body is larger than the limit.
    #[error("read the body: larger than {limit} bytes ([fetch] max_body)")]
    TooLarge {
        /// The limit, bytes after decompression.
        limit: u64,
    },
    /// The body cannot be decompressed.
    #[error("decompress the body: {reason}")]
    Decode {
        /// What was wrong.
        reason: String,
    },
    /// HTTP was not spoken properly.
    #[error("speak HTTP with {host}: {reason}")]
    Protocol {
        /// The host.
        host: String,
        /// What was wrong.
        reason: String,
    },
    /// A status that is no success.
    #[error("get the feed: status {status}{}", remedy(*.status))]
    Status {
        /// The status.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
        /// Cache lifetime of the error page.
        not_before: Option<Duration>,
        /// The host that said so: with redirects not always the feed's own.
        host: String,
    },
    /// A redirect that is not followed.
    #[error("follow the redirect from {host}: {reason}")]
    Redirect {
        /// The host that redirected.
        host: String,
        /// Why not.
        reason: &'static str,
    },
    /// The host is, or resolves to, an address that is not public.
    #[error("fetch from {host}: {address} is not a public address; allow it in [fetch] allow_net if it is yours")]
    Blocked {
        /// The host.
        host: String,
        /// Its address.
        address: IpAddr,
    },
    /// Neither http nor https, or no host.
    #[error("fetch an address that is not http or https")]
    Scheme,
}

fn remedy(status: u16) -> &'static str {
    match status {
        401 | 403 => "; the server wants credentials or refuses robots",
        404 => "; check the feed's address",
        410 => "; the feed has ended: remove it, or look for its successor",
        _ => "",
    }
}

impl FetchError {
    /// Its class.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Dns { .. } => ErrorClass::Dns,
            Self::Connect { .. } => ErrorClass::Connect,
            Self::Tls { .. } => ErrorClass::Tls,
            Self::Timeout { .. } => ErrorClass::Timeout,
            Self::TooLarge { .. } => ErrorClass::TooLarge,
            Self::Decode { .. } => ErrorClass::Decode,
            Self::Protocol { .. } => ErrorClass::Protocol,
            Self::Redirect { .. } => ErrorClass::Redirect,
            Self::Blocked { .. } | Self::Scheme => ErrorClass::BlockedAddress,
            Self::Status { status, .. } => match status {
                401 | 403 => ErrorClass::Auth,
                404 => ErrorClass::NotFound,
                410 => ErrorClass::Gone,
                429 => ErrorClass::RateLimited,
                400..=499 => ErrorClass::HttpClient,
                500..=599 => ErrorClass::HttpServer,
                _ => ErrorClass::Protocol,
            },
        }
    }

    /// The HTTP status, if there was an answer.
    pub fn status(&self) -> Option<u16> {
        match self {
            Self::Status { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// How long the server asks to be left alone.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// Cache lifetime of the error page: no use in asking earlier.
    pub fn not_before(&self) -> Option<Duration> {
        match self {
            Self::Status { not_before, .. } => *not_before,
            _ => None,
        }
    }
}

/// Why `[fetch]` cannot be used.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Not a host or network.
    #[error("use [fetch] allow_net: `{0}` is neither a host nor a network such as 10.0.0.0/8")]
    AllowNet(String),
    /// Not a proxy.
    #[error("use [fetch] proxy: {reason}; write it like http://host:3128 or socks5h://host:1080")]
    Proxy {
        /// What is wrong.
        reason: String,
    },
    /// Not a file of certificates.
    #[error("read the certificates in [fetch] ca_file {path}: {reason}")]
    CaFile {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// Not text for a header.
    #[error("use [fetch] contact: it holds characters that a header cannot carry")]
    Contact,
    /// Not credentials.
    #[error("read the credentials `{name}`: {reason}")]
    Credential {
        /// Their name; the text itself is never shown.
        name: String,
        /// What is wrong.
        reason: &'static str,
    },
    /// The HTTP client cannot be made.
    #[error("make the HTTP client: {0}")]
    Client(String),
}
