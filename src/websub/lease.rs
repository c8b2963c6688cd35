//! A subscription and what becomes of it. Pure: time is passed in, the hub's words are values.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use ring::hmac;
use url::{Url, form_urlencoded};

use crate::item::FeedId;

/// First wait for the hub's verification before it is asked again; doubles up to [`LONGEST_WAIT`]. Hubs verify within
/// seconds or, when they are busy, minutes; shorter would ask twice for nothing.
const FIRST_WAIT: Duration = Duration::from_secs(600);

/// Longest wait between two requests to a hub that does not answer: the feed is polled meanwhile, so nothing is lost.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// A hub that denied is asked again after this long: its mind may change with its operator's.
const AFTER_DENIAL: Duration = Duration::from_secs(7 * 86_400);

/// A lease is renewed when this share of it has passed, so that a hub may be down for the rest.
const RENEW_AT: f64 = 0.7;

/// Leases outside of these bounds are taken as the bound: a shorter one would have us ask without end, and a longer one
/// outlives what we know of the hub.
const SHORTEST_LEASE: Duration = Duration::from_secs(300);
const LONGEST_LEASE: Duration = Duration::from_secs(90 * 86_400);

/// A subscription to one feed at its hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subscription {
    /// The feed.
    pub feed: FeedId,
    /// The hub that the feed announces.
    pub hub: String,
    /// What the hub calls the feed.
    pub topic: String,
    /// The last part of our callback: nobody else knows it.
    pub token: String,
    /// The key of the hub's signatures.
    pub secret: String,
    /// Until when the hub has promised to push; `None` before it has verified.
    pub until: Option<DateTime<Utc>>,
    /// When to ask the hub next: first, again or for a renewal.
    pub next_try: DateTime<Utc>,
    /// Requests since the last verification.
    pub tries: u32,
}

/// What a hub asks when it verifies, from the query of its request.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Intent {
    mode: String,
    topic: String,
    challenge: Option<String>,
    lease_s: Option<u64>,
}

/// What the hub is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 200 with its challenge.
    Confirm(String),
    /// 200: noted.
    Noted,
    /// 404: we did not ask for that.
    Refuse,
}

impl Intent {
    /// Reads a query.
    pub fn read(query: &str) -> Self {
        let mut intent = Self::default();
        for (key, value) in form_urlencoded::parse(query.as_bytes()) {
            match key.as_ref() {
                "hub.mode" => intent.mode = value.into_owned(),
                "hub.topic" => intent.topic = value.into_owned(),
                "hub.challenge" => intent.challenge = Some(value.into_owned()),
                "hub.lease_seconds" => intent.lease_s = value.parse().ok(),
                _ => {}
            }
        }
        intent
    }
}

impl Subscription {
    /// Where the hub is asked. The secret goes there, so never in clear: hubs that announce http are asked over https.
    pub fn hub_address(&self) -> Option<Url> {
        let mut url = Url::parse(&self.hub).ok()?;
        if url.scheme() == "http" {
            url.set_scheme("https").ok()?;
        }
        (url.scheme() == "https").then_some(url)
    }

    /// Our address for this subscription.
    pub fn callback(&self, base: &Url) -> String {
        format!("{}/{}", base.as_str().trim_end_matches('/'), self.token)
    }

    /// The form that asks for a lease, new or renewed.
    pub fn request(&self, base: &Url, lease: Duration) -> String {
        form_urlencoded::Serializer::new(String::new())
            .append_pair("hub.mode", "subscribe")
            .append_pair("hub.topic", &self.topic)
            .append_pair("hub.callback", &self.callback(base))
            .append_pair("hub.lease_seconds", &lease.as_secs().to_string())
            .append_pair("hub.secret", &self.secret)
            .finish()
    }

    /// The hub was asked, with or without success: the next try, unless it verifies before.
    pub fn asked(&mut self, now: DateTime<Utc>) {
        let factor = 2_u32.checked_pow(self.tries).unwrap_or(u32::MAX);
        self.next_try = later(now, FIRST_WAIT.saturating_mul(factor).min(LONGEST_WAIT));
        self.tries = self.tries.saturating_add(1);
    }

    /// Answers the hub's question whether we meant it. `wanted`: whether the feed is still watched.
    pub fn answer(&mut self, intent: &Intent, wanted: bool, now: DateTime<Utc>) -> Reply {
        if intent.topic != self.topic {
            return Reply::Refuse;
        }
        match (intent.mode.as_str(), &intent.challenge) {
            // Only what was asked for is confirmed: `tries` says that it was.
            ("subscribe", Some(challenge)) if wanted && self.tries > 0 => {
                self.verified(intent.lease_s, now);
                Reply::Confirm(challenge.clone())
            }
            ("unsubscribe", Some(challenge)) if !wanted => {
                self.until = None;
                Reply::Confirm(challenge.clone())
            }
            ("denied", _) => {
                self.until = None;
                self.next_try = later(now, AFTER_DENIAL);
                Reply::Noted
            }
            _ => Reply::Refuse,
        }
    }

    fn verified(&mut self, lease_s: Option<u64>, now: DateTime<Utc>) {
        let lease = Duration::from_secs(lease_s.unwrap_or(0)).clamp(SHORTEST_LEASE, LONGEST_LEASE);
        self.until = Some(later(now, lease));
        self.next_try = later(now, lease.mul_f64(RENEW_AT));
        self.tries = 0;
    }

    /// Whether the hub pushes at present.
    pub fn is_active(&self, now: DateTime<Utc>) -> bool {
        self.until.is_some_and(|until| until > now)
    }

    /// Whether `body` is signed (`X-Hub-Signature: method=hex`) with our secret.
    pub fn is_signed(&self, signature: &str, body: &[u8]) -> bool {
        let Some((method, digits)) = signature.trim().split_once('=') else { return false };
        let algorithm = match method.to_ascii_lowercase().as_str() {
            // As a keyed hash it still holds, and old hubs know no other.
            "sha1" => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            "sha256" => hmac::HMAC_SHA256,
            "sha384" => hmac::HMAC_SHA384,
            "sha512" => hmac::HMAC_SHA512,
            _ => return false,
        };
        let key = hmac::Key::new(algorithm, self.secret.as_bytes());
        unhex(digits).is_some_and(|tag| hmac::verify(&key, body, &tag).is_ok())
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let pairs = digits.as_bytes().chunks(2);
    pairs.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok().filter(|_| pair.len() == 2)).collect()
}

fn later(now: DateTime<Utc>, wait: Duration) -> DateTime<Utc> {
    now + TimeDelta::from_std(wait).unwrap_or(TimeDelta::days(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const DAY: i64 = 86_400;

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn subscription() -> Subscription {
        Subscription {
            feed: 1,
            hub: "https://hub.example/".into(),
            topic: "https://news.example/feed".into(),
            token: "t0k3n".into(),
            secret: "s3cret".into(),
            until: None,
            next_try: now(),
            tries: 0,
        }
    }

    fn intent(mode: &str, more: &str) -> Intent {
        Intent::read(&format!("hub.mode={mode}&hub.topic=https%3A%2F%2Fnews.example%2Ffeed{more}"))
    }

    #[test]
    fn the_request_names_topic_callback_lease_and_secret() {
        let base = Url::parse("https://desk.example/push/").unwrap();
        let form = subscription().request(&base, Duration::from_secs(60));
        let pairs: Vec<(String, String)> = form_urlencoded::parse(form.as_bytes()).into_owned().collect();
        let expected = [
            ("hub.mode", "subscribe"),
            ("hub.topic", "https://news.example/feed"),
            ("hub.callback", "https://desk.example/push/t0k3n"),
            ("hub.lease_seconds", "60"),
            ("hub.secret", "s3cret"),
        ];
        assert_eq!(pairs, expected.map(|(key, value)| (key.to_owned(), value.to_owned())));
    }

    #[test]
    fn the_secret_never_goes_in_clear() {
        let at = |hub: &str| Subscription { hub: hub.into(), ..subscription() }.hub_address();
        assert_eq!(at("http://hub.example/x").unwrap().as_str(), "https://hub.example/x");
        assert_eq!(at("ftp://hub.example/"), None);
        assert_eq!(at("no address"), None);
    }

    #[test]
    fn only_what_was_asked_for_is_confirmed() {
        let mut subscription = subscription();
        let verify = intent("subscribe", "&hub.challenge=abc&hub.lease_seconds=864000");
        assert_eq!(subscription.answer(&verify, true, now()), Reply::Refuse, "nobody asked");
        subscription.asked(now());
        assert_eq!(subscription.answer(&verify, false, now()), Reply::Refuse, "the feed is not watched any more");
        let other = Intent::read("hub.mode=subscribe&hub.topic=https://other.example/&hub.challenge=abc");
        assert_eq!(subscription.answer(&other, true, now()), Reply::Refuse, "another topic");
        assert_eq!(subscription.answer(&intent("subscribe", ""), true, now()), Reply::Refuse, "no challenge");
        assert!(!subscription.is_active(now()));
        assert_eq!(subscription.answer(&verify, true, now()), Reply::Confirm("abc".into()));
        assert!(
            subscription.is_active(now() + TimeDelta::days(9)) && !subscription.is_active(now() + TimeDelta::days(10))
        );
    }

    #[test]
    fn a_stranger_cannot_unsubscribe_us() {
        let mut subscription = subscription();
        subscription.asked(now());
        subscription.answer(&intent("subscribe", "&hub.challenge=a&hub.lease_seconds=864000"), true, now());
        let leave = intent("unsubscribe", "&hub.challenge=b");
        assert_eq!(subscription.answer(&leave, true, now()), Reply::Refuse);
        assert!(subscription.is_active(now()));
        assert_eq!(subscription.answer(&leave, false, now()), Reply::Confirm("b".into()));
        assert!(!subscription.is_active(now()));
    }

    #[test]
    fn a_lease_is_renewed_in_time_and_absurd_ones_are_bounded() {
        for (granted, at_s) in [("864000", 7 * DAY), ("1", 210), ("", 210), ("99999999999", 63 * DAY)] {
            let mut subscription = subscription();
            subscription.asked(now());
            let verify = intent("subscribe", &format!("&hub.challenge=a&hub.lease_seconds={granted}"));
            subscription.answer(&verify, true, now());
            let wait = (subscription.next_try - now()).num_seconds();
            assert!((wait - at_s).abs() <= 1, "{granted}: {wait}");
            assert!(subscription.until.unwrap() > subscription.next_try);
        }
    }

    #[test]
    fn a_silent_hub_is_asked_ever_less_often_and_a_denial_rests_a_week() {
        let mut subscription = subscription();
        let waits: Vec<i64> = (0..12)
            .map(|_| {
                subscription.asked(now());
                (subscription.next_try - now()).num_minutes()
            })
            .collect();
        assert_eq!(waits[..4], [10, 20, 40, 80]);
        assert_eq!(waits[11], 24 * 60);
        assert_eq!(subscription.answer(&intent("denied", "&hub.reason=no"), true, now()), Reply::Noted);
        assert_eq!((subscription.next_try, subscription.until), (now() + TimeDelta::days(7), None));
    }

    #[test]
    fn signatures_are_checked() {
        let subscription = subscription();
        for (name, algorithm) in [
            ("sha1", hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY),
            ("sha256", hmac::HMAC_SHA256),
            ("sha384", hmac::HMAC_SHA384),
            ("SHA512", hmac::HMAC_SHA512),
        ] {
            let key = hmac::Key::new(algorithm, b"s3cret");
            let hex: String = hmac::sign(&key, b"<rss/>").as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
            assert!(subscription.is_signed(&format!("{name}={hex}"), b"<rss/>"), "{name}");
            assert!(!subscription.is_signed(&format!("{name}={hex}"), b"<rss />"), "{name}");
            assert!(!subscription.is_signed(&format!("{name}={}", &hex[..hex.len() - 1]), b"<rss/>"), "{name}");
        }
        for odd in ["", "sha256", "sha256=", "md5=00", "sha256=zz", "sha256=é"] {
            assert!(!subscription.is_signed(odd, b"<rss/>"), "{odd}");
        }
    }
}
