//! Section `[fetch]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// How feeds are fetched.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FetchConfig {
    /// Fetches at once, over all hosts.
    pub concurrency: usize,
    /// Page or address in the User-Agent, by which a publisher can reach whoever runs this; may be empty.
    pub contact: String,
    /// Time to connect, the TLS handshake included.
    #[serde(with = "humantime_serde")]
    pub connect_timeout: Duration,
    /// Longest silence while a response arrives.
    #[serde(with = "humantime_serde")]
    pub read_timeout: Duration,
    /// Longest time for one poll, redirects and body included.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// Largest body after decompression.
    pub max_body: ByteSize,
    /// Redirects followed at most.
    pub max_redirects: usize,
    /// Proxy for every request (`http://`, `https://`, `socks5://`, `socks5h://`); empty: none.
    pub proxy: String,
    /// Hosts and networks (CIDR) that may be fetched from although they are not public.
    pub allow_net: Vec<String>,
    /// File of certificates (PEM) that are trusted besides the system's; empty: none.
    pub ca_file: PathBuf,
}
