//! Reading response headers: validators, cache lifetime, Retry-After. Pure; malformed values count as absent.

use std::time::Duration;

use chrono::{DateTime, Utc};
use reqwest::header::{
    AGE, CACHE_CONTROL, DATE, ETAG, EXPIRES, HeaderMap, HeaderName, HeaderValue, LAST_MODIFIED, LINK, RETRY_AFTER,
};
use serde::{Deserialize, Serialize};
use url::Url;

/// Longest validator that is kept, bytes. Real ones have fewer than a hundred; a longer one is a mistake or an attack
/// on our storage, and would be sent back with every request.
const LONGEST_VALIDATOR: usize = 1024;

/// Longest time that is read from a header: a year, so that sums cannot overflow. The schedule caps far below.
const LONGEST: Duration = Duration::from_secs(365 * 86_400);

/// What a conditional request sends back (RFC 9110 section 13): both exactly as the server gave them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Validators {
    /// The final address that they belong to; they are sent to no other.
    pub url: Option<String>,
    /// `ETag`, with its quotes and `W/`.
    pub etag: Option<String>,
    /// `Last-Modified`, not reformatted.
    pub last_modified: Option<String>,
}

impl Validators {
    /// What `headers` of `url` say.
    pub(super) fn read(headers: &HeaderMap, url: &Url) -> Self {
        Self {
            url: Some(url.to_string()),
            etag: validator(headers, ETAG),
            last_modified: validator(headers, LAST_MODIFIED),
        }
    }

    /// What holds after a 304 with `newer` validators: its own where it gave some (RFC 9111 section 3.2), else ours.
    pub(super) fn updated_by(&self, newer: Self) -> Self {
        Self {
            url: newer.url,
            etag: newer.etag.or_else(|| self.etag.clone()),
            last_modified: newer.last_modified.or_else(|| self.last_modified.clone()),
        }
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.last_modified.is_none()
    }
}

fn validator(headers: &HeaderMap, name: HeaderName) -> Option<String> {
    let text = std::str::from_utf8(headers.get(name)?.as_bytes()).ok()?;
    let sendable = !text.is_empty() && text.len() <= LONGEST_VALIDATOR && !text.chars().any(char::is_control);
    (sendable && HeaderValue::from_str(text).is_ok()).then(|| text.to_owned())
}

/// What `Link` headers say of WebSub (RFC 8288): `<https://hub.example/>; rel="hub"`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// `rel=hub`.
    pub hub: Option<Url>,
    /// `rel=self`: what the hub calls the feed.
    pub topic: Option<Url>,
}

impl Links {
    /// Reads the headers of an answer from `url`; the first of each kind counts.
    pub(super) fn read(headers: &HeaderMap, url: &Url) -> Self {
        let mut links = Self::default();
        for field in headers.get_all(LINK).iter().filter_map(|value| value.to_str().ok()) {
            // A comma inside <...> would be an odd address; such a link is lost, not misread.
            for (target, parameters) in
                field.split(',').filter_map(|link| link.trim().strip_prefix('<')?.split_once('>'))
            {
                let Ok(target) = url.join(target.trim()) else { continue };
                for relation in relations(parameters) {
                    match relation {
                        "hub" => drop(links.hub.get_or_insert(target.clone())),
                        "self" => drop(links.topic.get_or_insert(target.clone())),
                        _ => {}
                    }
                }
            }
        }
        links
    }
}

/// The relations of a link: `; rel="hub self"; type=...`.
fn relations(parameters: &str) -> impl Iterator<Item = &str> {
    let named = parameters.split(';').filter_map(|parameter| parameter.split_once('='));
    let rel = named.filter(|(name, _)| name.trim().eq_ignore_ascii_case("rel")).take(1);
    rel.flat_map(|(_, value)| value.trim().trim_matches('"').split_ascii_whitespace())
}

/// How long the answer stays fresh: `max-age` less `Age`, else `Expires` less `Date` (RFC 9111 section 4.2.1).
pub(super) fn freshness(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let age = text(headers, AGE).and_then(seconds).unwrap_or_default();
    let lifetime = max_age(headers).or_else(|| expires(headers, now))?;
    Some(lifetime.saturating_sub(age)).filter(|left| !left.is_zero())
}

fn max_age(headers: &HeaderMap) -> Option<Duration> {
    let fields = headers.get_all(CACHE_CONTROL).iter().filter_map(|value| value.to_str().ok());
    fields.flat_map(|field| field.split(',')).find_map(|directive| {
        let (name, value) = directive.split_once('=')?;
        name.trim().eq_ignore_ascii_case("max-age").then(|| seconds(value.trim().trim_matches('"')))?
    })
}

fn expires(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let expires = text(headers, EXPIRES).and_then(date)?;
    let sent = text(headers, DATE).and_then(date).unwrap_or(now);
    (expires - sent).to_std().ok().map(|left| left.min(LONGEST))
}

/// `Retry-After`, in seconds or as a date (RFC 9110 section 10.2.3).
pub(super) fn retry_after(headers: &HeaderMap, now: DateTime<Utc>) -> Option<Duration> {
    let value = text(headers, RETRY_AFTER)?;
    seconds(value).or_else(|| (date(value)? - now).to_std().ok()).map(|wait| wait.min(LONGEST))
}

fn text(headers: &HeaderMap, name: HeaderName) -> Option<&str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

/// Digits only; more of them than fit mean "very long".
fn seconds(text: &str) -> Option<Duration> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| Duration::from_secs(text.parse().unwrap_or(u64::MAX)).min(LONGEST))
}

fn date(text: &str) -> Option<DateTime<Utc>> {
    httpdate::parse_http_date(text).ok().map(DateTime::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap()))
            .collect()
    }

    fn now() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    fn fresh(pairs: &[(&'static str, &str)]) -> Option<u64> {
        freshness(&headers(pairs), now()).map(|left| left.as_secs())
    }

    #[test]
    fn rule_13_max_age_less_age() {
        assert_eq!(fresh(&[("cache-control", "public, Max-Age=600")]), Some(600));
        assert_eq!(fresh(&[("cache-control", "max-age=\"600\""), ("age", "500")]), Some(100));
        assert_eq!(fresh(&[("cache-control", "max-age=600"), ("age", "700")]), None);
        assert_eq!(fresh(&[("cache-control", "no-store, max-age=99999999999999999999999")]), Some(365 * 86_400));
        assert_eq!(fresh(&[("cache-control", "s-maxage=600, max-age=-5")]), None);
    }

    #[test]
    fn rule_14_expires_counts_only_without_max_age() {
        let expires = ("expires", "Sun, 01 Mar 2026 14:00:00 GMT");
        assert_eq!(fresh(&[expires]), Some(7200));
        assert_eq!(fresh(&[expires, ("date", "Sun, 01 Mar 2026 13:00:00 GMT")]), Some(3600));
        assert_eq!(fresh(&[expires, ("cache-control", "max-age=60")]), Some(60));
        assert_eq!(fresh(&[("expires", "0")]), None);
        assert_eq!(fresh(&[("expires", "Fri, 01 Jan 10000 00:00:00 GMT")]), None);
    }

    #[test]
    fn rule_22_retry_after_in_seconds_or_as_a_date() {
        let wait = |value| retry_after(&headers(&[("retry-after", value)]), now()).map(|wait| wait.as_secs());
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait("Sun, 01 Mar 2026 12:30:00 GMT"), Some(1800));
        assert_eq!(wait("Sunday, 01-Mar-26 12:30:00 GMT"), Some(1800));
        assert_eq!(wait("99999999999999999999"), Some(365 * 86_400));
        assert_eq!(wait("Sun, 01 Mar 2020 12:30:00 GMT"), None);
        assert_eq!(wait("soon"), None);
        assert_eq!(wait("-1"), None);
    }

    #[test]
    fn rule_2_and_3_validators_are_kept_as_they_are() {
        let url = Url::parse("https://news.example/a").unwrap();
        let read =
            Validators::read(&headers(&[("etag", "W/\"x y\""), ("last-modified", "yesterday, around noon")]), &url);
        assert_eq!(read.etag.as_deref(), Some("W/\"x y\""));
        assert_eq!(read.last_modified.as_deref(), Some("yesterday, around noon"));
    }

    #[test]
    fn a_validator_that_cannot_be_sent_back_is_dropped() {
        let url = Url::parse("https://news.example/a").unwrap();
        let mut odd = HeaderMap::new();
        odd.insert(ETAG, HeaderValue::from_bytes(b"\"\xff\"").unwrap());
        odd.insert(LAST_MODIFIED, HeaderValue::from_str("a\tb").unwrap());
        assert!(Validators::read(&odd, &url).is_empty());
        let long = "x".repeat(LONGEST_VALIDATOR + 1);
        assert!(Validators::read(&headers(&[("etag", &long)]), &url).is_empty());
    }

    #[test]
    fn links_name_hub_and_topic() {
        let url = Url::parse("https://news.example/a/feed").unwrap();
        let one = headers(&[("link", "<https://hub.example/>; rel=\"hub\", </a/feed?x=1>; type=x; REL=self, <odd")]);
        let links = Links::read(&one, &url);
        assert_eq!(links.hub.as_ref().map(Url::as_str), Some("https://hub.example/"));
        assert_eq!(links.topic.as_ref().map(Url::as_str), Some("https://news.example/a/feed?x=1"));
        assert_eq!(Links::read(&headers(&[("link", "<x>; rel=next, rel=hub")]), &url), Links::default());
    }

    #[test]
    fn rule_6_a_304_updates_what_it_names() {
        let ours = Validators { url: None, etag: Some("\"1\"".into()), last_modified: Some("then".into()) };
        let newer = Validators { url: Some("u".into()), etag: Some("\"2\"".into()), last_modified: None };
        let both = ours.updated_by(newer);
        assert_eq!((both.etag.as_deref(), both.last_modified.as_deref()), (Some("\"2\""), Some("then")));
    }
}
