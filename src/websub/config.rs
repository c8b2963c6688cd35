//! Section `[websub]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

/// How hubs reach us.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebsubConfig {
    /// Public https address whose requests arrive at `listen`; `None` turns WebSub off.
    #[serde(deserialize_with = "address")]
    pub callback: Option<Url>,
    /// Where the requests of hubs arrive.
    pub listen: SocketAddr,
    /// How long a subscription is asked for; hubs may grant less.
    #[serde(with = "humantime_serde")]
    pub lease: Duration,
    /// Least time between polls of a feed that is pushed: the safety net under its hub.
    #[serde(with = "humantime_serde")]
    pub poll: Duration,
}

fn address<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<Url>, D::Error> {
    let text = String::deserialize(deserializer)?;
    if text.is_empty() {
        return Ok(None);
    }
    let wrong = |why: String| serde::de::Error::custom(format!("`{text}` is no address that hubs can reach: {why}"));
    let url = Url::parse(&text).map_err(|error| wrong(error.to_string()))?;
    match url.scheme() {
        "http" | "https" if url.query().is_none() => Ok(Some(url)),
        _ => Err(wrong("write https://host/path".into())),
    }
}
