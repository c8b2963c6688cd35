//! Is this entry one we know? Pure: an entry gives keys, the store knows which keys were seen.
//!
//! An item is known by its feed's own id (guid) or, where that is missing or not to be trusted, by its link. One more
//! key, link and headline together, recognises the same article in another feed of the same outlet and under a guid
//! that changes from poll to poll.

use std::borrow::Cow;
use std::collections::HashMap;

use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

use crate::item::{Entry, Identity, Item, PublishedSource};
use crate::parse::links::canonical;

/// How far ahead of our clock a published time may lie before it is pulled back: feeds' clocks and zones are wrong by
/// minutes every day, by more only in error. Larger lets a wrong zone pass; smaller clamps honest feeds.
const CLOCK_SLACK: TimeDelta = TimeDelta::hours(1);

/// What tells a feed's items apart.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdentityPolicy {
    /// The feed's own ids.
    #[default]
    Guid,
    /// Links, and texts where there is no link: the feed's ids were seen to repeat or to change.
    Link,
}

impl IdentityPolicy {
    /// As the store writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Guid => "guid",
            Self::Link => "link",
        }
    }

    /// As the store reads it; anything unknown is the default.
    pub fn parse(text: &str) -> Self {
        if text == "link" { Self::Link } else { Self::Guid }
    }
}

/// An entry with everything that decides whether it is new.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    /// The item it becomes if it is new.
    pub item: Item,
    /// The keys it is looked up by, strongest first; any that was seen makes it a duplicate.
    pub lookup: Vec<Identity>,
    /// All its keys, stored when it is new, so that a feed may change its policy later.
    pub keys: Vec<Identity>,
    /// The key that is its identity where ids are not to be trusted: its link or, without one, its text.
    pub page: Identity,
    /// Hash of the headline: a known item whose headline changed is a revision.
    pub headline: Identity,
}

impl Candidate {
    /// The same under the policy that its feed turned out to have.
    pub fn under(&self, policy: IdentityPolicy) -> Cow<'_, Self> {
        if policy == IdentityPolicy::Guid || self.item.id == self.page {
            return Cow::Borrowed(self);
        }
        let mut other = self.clone();
        other.item.id = self.page;
        if let Some(first) = other.lookup.first_mut() {
            *first = self.page;
        }
        Cow::Owned(other)
    }
}

/// Why an entry cannot become an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejected {
    /// Neither headline nor summary: nothing to judge.
    NoText,
}

/// A document's entries, sorted into candidates and rejects.
#[derive(Debug, Default, PartialEq)]
pub struct Sorted {
    /// Those that can be items, in document order.
    pub candidates: Vec<Candidate>,
    /// Those that cannot.
    pub rejected: Vec<Rejected>,
    /// The policy this document calls for: [`IdentityPolicy::Link`] when its ids repeat over different links.
    pub policy: IdentityPolicy,
}

/// Turns a document's entries into candidates. `scope` is the feed's address: ids that are not global ("42") count
/// within it.
pub fn sort(entries: Vec<Entry>, scope: &str, known: IdentityPolicy, now: DateTime<Utc>) -> Sorted {
    let policy = if ids_repeat(&entries) { IdentityPolicy::Link } else { known };
    let mut sorted = Sorted { policy, ..Sorted::default() };
    for entry in entries {
        match candidate(entry, scope, policy, now) {
            Ok(candidate) => sorted.candidates.push(candidate),
            Err(rejected) => sorted.rejected.push(rejected),
        }
    }
    sorted
}

/// Whether one id stands on entries with different links (where there is none, headlines): such ids tell nothing apart.
pub fn ids_repeat<'e>(entries: impl IntoIterator<Item = &'e Entry>) -> bool {
    let mut pages: HashMap<&str, &str> = HashMap::new();
    entries.into_iter().any(|entry| {
        let page = entry.link.as_deref().unwrap_or(&entry.title);
        let first = entry.guid.as_deref().map_or(page, |guid| *pages.entry(guid).or_insert(page));
        first != page && canonical(first) != canonical(page)
    })
}

/// An entry with its keys; `scope` as for [`sort`].
///
/// # Errors
/// Why it cannot become an item.
pub fn candidate(entry: Entry, scope: &str, policy: IdentityPolicy, now: DateTime<Utc>) -> Result<Candidate, Rejected> {
    if entry.title.trim().is_empty() && entry.summary.trim().is_empty() {
        return Err(Rejected::NoText);
    }
    let guid = entry.guid.as_deref().filter(|guid| !guid.trim().is_empty()).map(|guid| guid_key(guid.trim(), scope));
    let link = entry.link.as_deref().map(canonical);
    let link_key = link.as_deref().map(|link| Identity::of(&["link", link]));
    let headline = headline(&entry);
    let alias = link.as_deref().map(|link| Identity::of(&["link+headline", link, &headline]));
    let page = link_key.unwrap_or_else(|| Identity::of(&["text", scope, &entry.title, &entry.summary]));
    let id = match policy {
        IdentityPolicy::Guid => guid.unwrap_or(page),
        IdentityPolicy::Link => page,
    };
    let lookup = [Some(id), alias].into_iter().flatten().collect();
    let mut keys: Vec<Identity> = [Some(page), guid, alias].into_iter().flatten().collect();
    keys.sort_unstable();
    keys.dedup();
    let (published, published_source) = published(&entry, now);
    let headline = Identity::of(&["headline", &headline]);
    Ok(Candidate { item: Item { id, entry, published, published_source }, lookup, keys, page, headline })
}

/// Ids that are addresses or URIs are global; any other counts within its feed.
fn guid_key(guid: &str, scope: &str) -> Identity {
    let lower = guid.get(..8).unwrap_or(guid).to_ascii_lowercase();
    if lower.starts_with("http://") || lower.starts_with("https://") {
        Identity::of(&["link", &canonical(guid)])
    } else if lower.starts_with("tag:") || lower.starts_with("urn:") {
        Identity::of(&["guid", guid])
    } else {
        Identity::of(&["guid", scope, guid])
    }
}

/// The headline (the summary where there is none) without case and spacing, which outlets change at will.
fn headline(entry: &Entry) -> String {
    let text = if entry.title.trim().is_empty() { &entry.summary } else { &entry.title };
    text.split_whitespace().map(str::to_lowercase).collect::<Vec<_>>().join(" ")
}

fn published(entry: &Entry, now: DateTime<Utc>) -> (DateTime<Utc>, PublishedSource) {
    match entry.published.or(entry.updated) {
        Some(time) if time > now + CLOCK_SLACK => (now, PublishedSource::Clamped),
        Some(time) => (time, PublishedSource::Feed),
        None => (now, PublishedSource::FirstSeen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const FEED: &str = "https://news.example/world.xml";

    fn entry(guid: Option<&str>, link: Option<&str>, title: &str) -> Entry {
        Entry {
            guid: guid.map(Into::into),
            title: title.into(),
            link: link.map(Into::into),
            summary: String::new(),
            published: None,
            updated: None,
            authors: vec![],
            categories: vec![],
            language: None,
        }
    }

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    fn one(entry: Entry, scope: &str) -> Candidate {
        sort(vec![entry], scope, IdentityPolicy::Guid, now()).candidates.remove(0)
    }

    fn known(first: &Candidate, second: &Candidate) -> bool {
        second.lookup.iter().any(|key| first.keys.contains(key))
    }

    #[test]
    fn a_changed_headline_under_one_guid_is_known() {
        let (a, b) = (one(entry(Some("7"), None, "Talks open"), FEED), one(entry(Some("7"), None, "Talks end"), FEED));
        assert!(known(&a, &b));
        assert_ne!(a.headline, b.headline);
    }

    #[test]
    fn a_plain_guid_counts_within_its_feed() {
        let other = "https://other.example/feed";
        assert!(!known(&one(entry(Some("7"), None, "Talks"), FEED), &one(entry(Some("7"), None, "Talks"), other)));
    }

    #[test]
    fn one_article_in_two_feeds_is_known() {
        let a = one(entry(Some("w-1"), Some("https://news.example/a?utm_source=rss"), "Talks open"), FEED);
        let b =
            one(entry(Some("e-9"), Some("http://www.news.example/a/"), "Talks  Open"), "https://news.example/eu.xml");
        assert!(known(&a, &b));
    }

    #[test]
    fn one_page_with_different_headlines_and_guids_is_two_items() {
        let a = one(entry(Some("1"), Some("https://news.example/live"), "Talks open"), FEED);
        let b = one(entry(Some("2"), Some("https://news.example/live"), "Talks break up"), FEED);
        assert!(!known(&a, &b));
    }

    #[test]
    fn a_guid_on_two_links_switches_the_policy() {
        let entries = vec![
            entry(Some("0"), Some("https://news.example/a"), "A"),
            entry(Some("0"), Some("https://news.example/b"), "B"),
        ];
        let sorted = sort(entries, FEED, IdentityPolicy::Guid, now());
        assert_eq!(sorted.policy, IdentityPolicy::Link);
        assert!(!known(&sorted.candidates[0], &sorted.candidates[1]));
    }

    #[test]
    fn a_guid_on_two_headlines_without_link_switches_the_policy() {
        let entries = || vec![entry(Some("0"), None, "Talks open"), entry(Some("0"), None, "Rain")];
        let sorted = sort(entries(), FEED, IdentityPolicy::Guid, now());
        assert_eq!(sorted.policy, IdentityPolicy::Link);
        assert!(!known(&sorted.candidates[0], &sorted.candidates[1]));
        let again = sort(entries(), FEED, sorted.policy, now());
        assert!(known(&sorted.candidates[0], &again.candidates[0]));
    }

    #[test]
    fn an_item_stays_known_when_the_policy_switches() {
        for link in [Some("https://news.example/a"), None] {
            let sorted = |policy| sort(vec![entry(Some("1"), link, "Talks")], FEED, policy, now()).candidates.remove(0);
            assert!(known(&sorted(IdentityPolicy::Guid), &sorted(IdentityPolicy::Link)));
        }
    }

    #[test]
    fn a_guid_on_variants_of_one_link_keeps_the_policy() {
        let entries = vec![
            entry(Some("0"), Some("https://news.example/a?utm_source=rss"), "A"),
            entry(Some("0"), Some("http://www.news.example/a/"), "A, revised"),
        ];
        assert_eq!(sort(entries, FEED, IdentityPolicy::Guid, now()).policy, IdentityPolicy::Guid);
    }

    #[test]
    fn nothing_to_judge_is_rejected() {
        let sorted = sort(vec![entry(Some("1"), None, " ")], FEED, IdentityPolicy::Guid, now());
        assert_eq!(sorted.rejected, [Rejected::NoText]);
    }

    #[test]
    fn published_is_fed_clamped_or_first_seen() {
        let with = |published| one(Entry { published, ..entry(Some("1"), None, "t") }, FEED).item;
        let (soon, far) = (now() + TimeDelta::minutes(59), now() + TimeDelta::minutes(61));
        assert_eq!((with(Some(soon)).published, with(Some(soon)).published_source), (soon, PublishedSource::Feed));
        assert_eq!((with(Some(far)).published, with(Some(far)).published_source), (now(), PublishedSource::Clamped));
        assert_eq!(with(None).published_source, PublishedSource::FirstSeen);
    }

    proptest! {
        #[test]
        fn the_same_entry_always_has_the_same_keys(
            guid in proptest::option::of(".{0,40}"), link in proptest::option::of("https?://[a-z]{1,8}/[a-z?=&#]{0,20}"), title in ".{1,60}",
        ) {
            let entry = entry(guid.as_deref(), link.as_deref(), &title);
            let first = sort(vec![entry.clone()], FEED, IdentityPolicy::Guid, now());
            let second = sort(vec![entry], FEED, IdentityPolicy::Guid, now());
            prop_assert_eq!(&first, &second);
            for candidate in &first.candidates {
                prop_assert!(known(candidate, &second.candidates[0]));
            }
        }

        #[test]
        fn every_entry_is_a_candidate_or_a_reject(titles in proptest::collection::vec(".{0,3}", 0..20)) {
            let count = titles.len();
            let entries = titles.iter().map(|title| entry(None, None, title)).collect();
            let sorted = sort(entries, FEED, IdentityPolicy::Guid, now());
            prop_assert_eq!(sorted.candidates.len() + sorted.rejected.len(), count);
        }

        #[test]
        fn different_guids_in_one_feed_never_meet(a in "[a-z0-9]{1,12}", b in "[a-z0-9]{1,12}", title in "[a-z ]{1,20}x") {
            prop_assume!(a != b);
            prop_assert!(!known(&one(entry(Some(&a), None, &title), FEED), &one(entry(Some(&b), None, &title), FEED)));
        }
    }
}
