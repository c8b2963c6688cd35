//! How far a server's request to be left alone reaches.

use serde::{Deserialize, Serialize};
use url::{Host, Url};

/// Whose other feeds wait too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Scope {
    /// None: the feed alone.
    Url,
    /// Those of the same host.
    Host,
    /// Those of the same registrable domain (`news.example.co.uk` and `blog.example.co.uk`).
    Site,
}

/// Host and port of an address: what one server is.
pub fn host(url: &Url) -> String {
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    format!("{}{port}", url.host_str().unwrap_or_default())
}

/// The registrable domain of an address, by the public suffix list; the host itself where there is none.
pub fn site(url: &Url) -> String {
    match url.host() {
        Some(Host::Domain(name)) => psl::domain_str(name).unwrap_or(name).to_owned(),
        _ => host(url),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(url: &str) -> (String, String) {
        let url = Url::parse(url).unwrap();
        (host(&url), site(&url))
    }

    #[test]
    fn rule_32_hosts_and_sites() {
        assert_eq!(both("https://News.Example.co.uk/x"), ("news.example.co.uk".into(), "example.co.uk".into()));
        assert_eq!(both("https://a.github.io:444/"), ("a.github.io:444".into(), "a.github.io".into()));
        assert_eq!(both("http://127.0.0.1:80/"), ("127.0.0.1".into(), "127.0.0.1".into()));
    }
}
