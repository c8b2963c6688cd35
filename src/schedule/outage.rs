//! Telling our own outage from the feeds' troubles: when every host fails at once, it is us.

use std::collections::BTreeSet;

use crate::fetch::ErrorClass;

/// Hosts that must fail to be reached, with no success between, before it counts as our outage. Fewer would excuse
/// three dead blogs; more would hold an outage against more feeds before it is noticed.
const HOSTS: usize = 5;

/// The hosts that could not be reached since the last one that could.
#[derive(Debug, Default)]
pub struct Outage {
    unreachable: BTreeSet<String>,
}

impl Outage {
    /// Notes a poll of `host`: `failure` is the class of its error, `None` for a good answer.
    pub fn record(&mut self, host: &str, failure: Option<ErrorClass>) {
        if !failure.is_some_and(ErrorClass::is_network) {
            self.unreachable.clear();
        } else if self.unreachable.len() < HOSTS {
            self.unreachable.insert(host.to_owned());
        }
    }

    /// Whether no host can be reached at present.
    pub fn is_on(&self) -> bool {
        self.unreachable.len() >= HOSTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_31_when_every_host_fails_at_once_it_is_our_outage() {
        let mut outage = Outage::default();
        for _ in 0..20 {
            outage.record("one.example", Some(ErrorClass::Timeout));
        }
        assert!(!outage.is_on(), "one host alone is that host's trouble");
        for host in ["a", "b", "c", "d"] {
            assert!(!outage.is_on());
            outage.record(host, Some(ErrorClass::Dns));
        }
        assert!(outage.is_on());
        // Any answer, even an error, comes from the outside.
        outage.record("e", Some(ErrorClass::HttpServer));
        assert!(!outage.is_on());
    }
}
