//! When a permanent redirect becomes the feed's address. A maintenance page that answers everything with 301 must not
//! replace a subscription: the target has to be seen again over days, and to hold a feed.

use chrono::{DateTime, TimeDelta, Utc};
use url::Url;

use super::{History, Move};

/// Sightings, and the time they must span. A day or two is what a botched migration lasts.
const SIGHTINGS: u32 = 3;
const SPAN: TimeDelta = TimeDelta::days(3);

/// Notes what a good answer says of the feed's address; returns the new one once it is to be adopted. An answer counts
/// only if its document was a feed, or if it confirmed one (304).
pub(super) fn sighting(history: &mut History, url: &Url, to: Option<&Url>, now: DateTime<Utc>) -> Option<Url> {
    let Some(to) = to else {
        history.moved = None;
        return None;
    };
    let seen = match history.moved.take() {
        Some(seen) if seen.to == to.as_str() => Move { times: seen.times.saturating_add(1), ..seen },
        _ => Move { to: to.to_string(), since: now, times: 1 },
    };
    if is_upgrade(url, to) || (seen.times >= SIGHTINGS && now - seen.since >= SPAN) {
        return Some(keep_credentials(url, to));
    }
    history.moved = Some(seen);
    None
}

/// The same address with https instead of http.
fn is_upgrade(url: &Url, to: &Url) -> bool {
    let path = |url: &Url| (url.path().to_owned(), url.query().map(str::to_owned));
    url.scheme() == "http" && to.scheme() == "https" && url.host() == to.host() && path(url) == path(to)
}

/// The user's credentials stay with the feed as long as it stays on its host.
fn keep_credentials(url: &Url, to: &Url) -> Url {
    let mut adopted = to.clone();
    if url.host() == to.host() {
        // Both fail only for addresses that cannot carry credentials.
        let _ = adopted.set_username(url.username());
        let _ = adopted.set_password(url.password());
    }
    adopted
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn start() -> DateTime<Utc> {
        "2026-03-01T12:00:00Z".parse().unwrap()
    }

    #[test]
    fn rule_33_a_permanent_redirect_is_adopted_after_three_sightings_over_three_days() {
        let (old, new) = (url("https://a.example/f"), url("https://b.example/f"));
        let mut history = History::default();
        let mut see = |days, to| sighting(&mut history, &old, to, start() + TimeDelta::days(days));
        assert_eq!(see(0, Some(&new)), None);
        assert_eq!(see(1, Some(&new)), None);
        assert_eq!(see(2, Some(&new)), None, "three sightings, but not yet three days");
        assert_eq!(see(3, Some(&new)), Some(new.clone()));
    }

    #[test]
    fn rule_33_an_interruption_or_another_target_starts_anew() {
        let (old, new, other) = (url("https://a.example/f"), url("https://b.example/f"), url("https://c.example/f"));
        let mut history = History::default();
        let mut see = |days, to| sighting(&mut history, &old, to, start() + TimeDelta::days(days));
        see(0, Some(&new));
        see(1, Some(&new));
        see(2, None);
        assert_eq!(see(4, Some(&new)), None);
        assert_eq!(see(5, Some(&other)), None);
        assert_eq!(see(9, Some(&new)), None);
    }

    #[test]
    fn rule_33_http_to_https_is_adopted_at_once_and_keeps_credentials() {
        let mut history = History::default();
        let old = url("http://me:pw@a.example/f?x=1");
        let adopted = sighting(&mut history, &old, Some(&url("https://a.example/f?x=1")), start());
        assert_eq!(adopted, Some(url("https://me:pw@a.example/f?x=1")));
        assert_eq!(sighting(&mut history, &old, Some(&url("https://a.example/other")), start()), None);
    }
}
