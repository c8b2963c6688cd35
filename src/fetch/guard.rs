//! The guard against requests into our own networks (SSRF): a feed, a redirect or a DNS answer must not point the
//! fetcher at addresses that only this machine can reach.
//!
//! Names are checked on the addresses that the connection is really made to, by filtering what the resolver returns;
//! literal addresses never reach a resolver and are checked on every hop.

use std::error::Error;
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use url::{Host, Url};

use super::{FetchError, SetupError};

/// IPv4 networks that are not the public internet (IANA special-purpose registry, multicast, reserved).
const SPECIAL_V4: [Ipv4Net; 16] = [
    v4([0, 0, 0, 0], 8),       // this network, unspecified
    v4([10, 0, 0, 0], 8),      // private
    v4([100, 64, 0, 0], 10),   // shared by carriers (CGNAT)
    v4([127, 0, 0, 0], 8),     // loopback
    v4([169, 254, 0, 0], 16),  // link-local: cloud metadata services live here
    v4([172, 16, 0, 0], 12),   // private
    v4([192, 0, 0, 0], 24),    // protocol assignments
    v4([192, 0, 2, 0], 24),    // documentation
    v4([192, 31, 196, 0], 24), // AS112
    v4([192, 88, 99, 0], 24),  // 6to4 relays
    v4([192, 168, 0, 0], 16),  // private
    v4([198, 18, 0, 0], 15),   // benchmarks
    v4([198, 51, 100, 0], 24), // documentation
    v4([203, 0, 113, 0], 24),  // documentation
    v4([224, 0, 0, 0], 4),     // multicast
    v4([240, 0, 0, 0], 4),     // reserved, broadcast
];

/// Of the public IPv6 space 2000::/3, what is not for hosts: Teredo and other assignments, documentation, 6to4.
const SPECIAL_V6: [Ipv6Net; 4] = [
    v6([0x2001, 0, 0, 0, 0, 0, 0, 0], 23),
    v6([0x2001, 0x0db8, 0, 0, 0, 0, 0, 0], 32),
    v6([0x2002, 0, 0, 0, 0, 0, 0, 0], 16),
    v6([0x3fff, 0, 0, 0, 0, 0, 0, 0], 20),
];

/// Everything else in IPv6 (loopback, mapped IPv4, unique local, link-local, multicast) lies outside of this.
const PUBLIC_V6: Ipv6Net = v6([0x2000, 0, 0, 0, 0, 0, 0, 0], 3);

/// NAT64: where a network without IPv4 reaches it; judged by the IPv4 address inside.
const NAT64: Ipv6Net = v6([0x64, 0xff9b, 0, 0, 0, 0, 0, 0], 96);

const fn v4(octets: [u8; 4], prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(octets[0], octets[1], octets[2], octets[3]), prefix)
}

const fn v6(s: [u16; 8], prefix: u8) -> Ipv6Net {
    Ipv6Net::new_assert(Ipv6Addr::new(s[0], s[1], s[2], s[3], s[4], s[5], s[6], s[7]), prefix)
}

/// Whether an address belongs to the public internet.
pub fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => !SPECIAL_V4.iter().any(|net| net.contains(&v4)),
        IpAddr::V6(v6) if NAT64.contains(&v6) => {
            let [.., a, b, c, d] = v6.octets();
            is_public(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        }
        IpAddr::V6(v6) => PUBLIC_V6.contains(&v6) && !SPECIAL_V6.iter().any(|net| net.contains(&v6)),
    }
}

/// Which addresses may be fetched from.
#[derive(Debug, Clone, Default)]
pub struct Guard {
    hosts: Vec<String>,
    networks: Vec<IpNet>,
}

impl Guard {
    /// A guard that lets the public internet through, and what `allowed` names: hosts (`intranet.example`), addresses
    /// (`127.0.0.1`, `::1`) or networks (`10.0.0.0/8`).
    ///
    /// # Errors
    /// [`SetupError::AllowNet`] for an entry that is none of these.
    pub fn new<'a>(allowed: impl IntoIterator<Item = &'a str>) -> Result<Self, SetupError> {
        let mut guard = Self::default();
        for entry in allowed {
            let wrong = || SetupError::AllowNet(entry.to_owned());
            if let Ok(network) = entry.parse::<IpNet>() {
                guard.networks.push(network);
            } else if let Ok(address) = entry.trim_matches(['[', ']']).parse::<IpAddr>() {
                guard.networks.push(address.into());
            } else if entry.contains('/') {
                return Err(wrong());
            } else {
                match Host::parse(entry).map_err(|_| wrong())? {
                    Host::Domain(host) => guard.hosts.push(host),
                    Host::Ipv4(address) => guard.networks.push(IpAddr::V4(address).into()),
                    Host::Ipv6(address) => guard.networks.push(IpAddr::V6(address).into()),
                }
            }
        }
        Ok(guard)
    }

    /// Whether `host`, which has `address`, may be fetched from.
    pub fn admits(&self, host: &str, address: IpAddr) -> bool {
        is_public(address)
            || self.networks.iter().any(|network| network.contains(&address))
            || self.hosts.iter().any(|name| name.eq_ignore_ascii_case(host.trim_end_matches('.')))
    }

    /// Checks what can be told from the address of a document alone: its scheme, and a literal IP address.
    ///
    /// # Errors
    /// [`FetchError::Scheme`] or [`FetchError::Blocked`].
    pub fn check(&self, url: &Url) -> Result<(), FetchError> {
        if !matches!(url.scheme(), "http" | "https") {
            return Err(FetchError::Scheme);
        }
        let address: IpAddr = match url.host().ok_or(FetchError::Scheme)? {
            Host::Domain(_) => return Ok(()),
            Host::Ipv4(address) => address.into(),
            Host::Ipv6(address) => address.into(),
        };
        if self.admits("", address) {
            return Ok(());
        }
        Err(FetchError::Blocked { host: address.to_string(), address })
    }
}

/// A host all of whose addresses are refused, as the connector reports it.
#[derive(Debug)]
pub(super) struct Refused {
    pub host: String,
    pub address: IpAddr,
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a public address", self.address)
    }
}

impl Error for Refused {}

/// The system's resolver behind the guard.
pub(super) struct GuardedResolver(pub Arc<Guard>);

impl Resolve for GuardedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let guard = self.0.clone();
        Box::pin(async move {
            // Port 0 is replaced by the port of the request.
            let found: Vec<SocketAddr> = tokio::net::lookup_host((name.as_str(), 0)).await?.collect();
            Ok(filter(&guard, name.as_str(), found)?)
        })
    }
}

fn filter(guard: &Guard, host: &str, found: Vec<SocketAddr>) -> Result<Addrs, Refused> {
    let refused = found.first().map(|first| Refused { host: host.to_owned(), address: first.ip() });
    let admitted: Vec<SocketAddr> = found.into_iter().filter(|found| guard.admits(host, found.ip())).collect();
    match refused {
        Some(refused) if admitted.is_empty() => Err(refused),
        _ => Ok(Box::new(admitted.into_iter())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn rule_51_special_addresses_are_not_public() {
        for text in [
            "127.0.0.1",
            "127.9.9.9",
            "0.0.0.0",
            "10.1.2.3",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.127.255.255",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
            "192.0.2.1",
            "198.51.100.1",
            "203.0.113.1",
            "198.18.0.1",
            "::",
            "::1",
            "::ffff:8.8.8.8",
            "::ffff:127.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "2002:7f00:1::",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "100::1",
            "fec0::1",
        ] {
            assert!(!is_public(ip(text)), "{text}");
        }
        for text in ["8.8.8.8", "1.1.1.1", "172.32.0.1", "100.128.0.1", "2606:4700::1111", "64:ff9b::8.8.8.8"] {
            assert!(is_public(ip(text)), "{text}");
        }
    }

    #[test]
    fn rule_51_literal_addresses_in_every_spelling_are_checked() {
        let guard = Guard::default();
        for url in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://169.254.169.254/latest/meta-data/",
        ] {
            assert!(matches!(guard.check(&Url::parse(url).unwrap()), Err(FetchError::Blocked { .. })), "{url}");
        }
        assert!(guard.check(&Url::parse("https://8.8.8.8/").unwrap()).is_ok());
    }

    #[test]
    fn rule_50_only_http_and_https() {
        for url in ["ftp://a.example/", "file:///etc/passwd", "gopher://a.example/", "data:text/xml,<rss/>"] {
            assert!(matches!(Guard::default().check(&Url::parse(url).unwrap()), Err(FetchError::Scheme)), "{url}");
        }
    }

    #[test]
    fn rule_51_the_allow_list_opens_hosts_addresses_and_networks() {
        let guard = Guard::new(["10.1.0.0/16", "::1", "Intranet.Example"]).unwrap();
        assert!(guard.admits("a.example", ip("10.1.2.3")) && guard.admits("a.example", ip("::1")));
        assert!(
            guard.admits("intranet.example", ip("192.168.0.1")) && guard.admits("intranet.example.", ip("10.2.0.1"))
        );
        assert!(!guard.admits("a.example", ip("10.2.0.1")) && !guard.admits("x.intranet.example", ip("10.2.0.1")));
        assert!(Guard::new(["10.0.0.0/99"]).is_err() && Guard::new(["a b"]).is_err());
    }

    #[test]
    fn rule_51_resolved_addresses_are_filtered() {
        let guard = Guard::default();
        let both: Vec<SocketAddr> = vec!["10.0.0.1:0".parse().unwrap(), "8.8.8.8:0".parse().unwrap()];
        let left: Vec<SocketAddr> = filter(&guard, "a.example", both.clone()).unwrap().collect();
        assert_eq!(left, both[1..]);
        assert!(filter(&guard, "a.example", both[..1].to_vec()).is_err());
    }
}
