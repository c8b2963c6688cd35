//! What a source on the web has still to ask for, and what an answer adds to it. Pure.

use std::collections::{HashSet, VecDeque};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use url::Url;

use super::wayback;
use crate::backfill::sitemap::{self, Sitemap};
use crate::backfill::work::Window;
use crate::item::{Document, Entry, Identity};

/// A source's way through the web: positions in a store are made of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frontier {
    /// What is to be asked for, next first.
    pub asks: VecDeque<Ask>,
    /// What could not be had for a passing reason, for the next run.
    #[serde(default)]
    pub later: Vec<Ask>,
    /// The feed of those the user named that is being asked for.
    #[serde(default)]
    pub feed: String,
    /// Requests so far for it and what it led to.
    pub asked: usize,
    /// Whether the first questions have been put.
    pub begun: bool,
}

/// A document to be asked for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ask {
    /// Its address.
    pub url: String,
    /// The feed that its items belong to.
    pub feed: String,
    /// What it is a part of.
    pub kind: Kind,
}

/// What a document is a part of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// What the user named: a feed, a sitemap or a list of either.
    Start,
    /// RFC 5005: a document that the last one names as older.
    Older {
        /// Those before it, hashed: a chain may lead back into itself.
        seen: Vec<u32>,
    },
    /// A page by its number.
    Page {
        /// The name of the parameter.
        parameter: String,
        /// The number.
        number: u32,
        /// The items of the first page and of the last, hashed.
        known: Vec<u32>,
    },
    /// A sitemap that a list names.
    Sitemap {
        /// How many lists it lies behind.
        depth: u8,
    },
    /// A list of snapshots.
    Snapshots,
    /// A snapshot.
    Snapshot {
        /// When it was taken.
        at: DateTime<Utc>,
    },
}

/// How numbered pages are asked for where a feed names none.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Pages {
    /// `?paged=N` of WordPress, `?page=N` of others.
    #[default]
    Auto,
    /// `?paged=N`.
    Paged,
    /// `?page=N`.
    Page,
    /// Not at all.
    None,
}

/// What holds for the whole source.
#[derive(Debug, Clone, Default)]
pub struct Rules {
    /// The days.
    pub window: Window,
    /// Numbered pages.
    pub pages: Pages,
    /// Where snapshots are asked for; none: feeds are asked for themselves.
    pub wayback: Option<String>,
}

/// What an answer holds.
#[derive(Debug)]
pub enum Found<'a> {
    /// A feed, and its bytes.
    Feed(&'a Document, &'a [u8]),
    /// A sitemap or a list of them.
    Sitemap(&'a Sitemap),
    /// Feeds.
    Opml(Vec<String>),
    /// Snapshots.
    Snapshots(wayback::Listing),
}

/// What becomes of an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is read.
    Read,
    /// It holds nothing of its own, or nothing new.
    Pass,
}

/// Lists of sitemaps within each other that are followed; the protocol knows one.
const DEEPEST: u8 = 3;

/// Documents of one chain whose addresses are remembered; longer circles end at the cap on pages.
const CHAIN: usize = 256;

impl Ask {
    /// Whether it belongs to `feed` or to what that led to, and to none of the others that the user `named`.
    fn counts_with(&self, feed: &str, named: &HashSet<&str>) -> bool {
        self.feed == feed || !named.contains(self.feed.as_str())
    }
}

impl Frontier {
    /// Puts the first questions.
    pub fn begin(&mut self, feeds: &[String], rules: &Rules) {
        if self.begun {
            self.asks.extend(self.later.drain(..));
            return;
        }
        self.begun = true;
        self.asks.extend(feeds.iter().map(|feed| start(feed, rules)));
    }

    /// Whether nothing is left, now or for later.
    pub fn done(&self) -> bool {
        self.asks.is_empty() && self.later.is_empty()
    }

    /// Forgets what lies beyond `most` documents but the first of it, which is said to be too many: positions in the store
    /// name all that is to be asked for, and lists of sitemaps may name each other.
    pub fn cut(&mut self, most: usize, named: &HashSet<&str>) {
        let mut left = most.saturating_sub(self.asked) + 1;
        let feed = std::mem::take(&mut self.feed);
        self.asks.retain(|ask| {
            let counts = ask.counts_with(&feed, named);
            let kept = !counts || left > 0;
            left = left.saturating_sub(usize::from(counts));
            kept
        });
        self.feed = feed;
    }

    /// Begins a count of its own for `feed` if it is one of those that the user `named`: a feed without end must not use up
    /// the pages of those behind it. What a list on the web names counts with the list, since lists may name each other.
    pub fn turn_to(&mut self, feed: &str, named: &HashSet<&str>) {
        if self.feed != feed && named.contains(feed) {
            feed.clone_into(&mut self.feed);
            self.asked = 0;
        }
    }

    /// Gives up the rest of the feed at hand.
    pub fn give_up(&mut self, named: &HashSet<&str>) {
        let feed = std::mem::take(&mut self.feed);
        self.asks.retain(|ask| !ask.counts_with(&feed, named));
        self.feed = feed;
    }

    /// Takes in what the answer to `ask` found.
    pub fn answered(&mut self, ask: &Ask, found: Found<'_>, rules: &Rules) -> Fate {
        match found {
            Found::Feed(document, body) => self.feed(ask, document, body, rules),
            Found::Sitemap(sitemap) => {
                self.sitemaps(ask, sitemap, rules);
                if sitemap.children.is_empty() { Fate::Read } else { Fate::Pass }
            }
            Found::Opml(feeds) => {
                self.asks.extend(feeds.iter().map(|feed| start(feed, rules)));
                Fate::Pass
            }
            Found::Snapshots(listing) => {
                let more = listing.more.map(|url| Ask { url, ..ask.clone() });
                let snapshot = |(url, at)| Ask { url, feed: ask.feed.clone(), kind: Kind::Snapshot { at } };
                let found: Vec<Ask> = listing.snapshots.into_iter().map(snapshot).chain(more).collect();
                found.into_iter().rev().for_each(|ask| self.asks.push_front(ask));
                Fate::Pass
            }
        }
    }

    fn feed(&mut self, ask: &Ask, document: &Document, body: &[u8], rules: &Rules) -> Fate {
        let ids = ids(&document.entries);
        if let Kind::Page { known, .. } = &ask.kind
            && ids.iter().all(|id| known.contains(id))
        {
            return Fate::Pass;
        }
        if matches!(ask.kind, Kind::Snapshot { .. }) || passed(&document.entries, rules.window) {
            return Fate::Read;
        }
        // What is older comes next, before other feeds.
        self.next(ask, document, body, ids, rules).into_iter().for_each(|next| self.asks.push_front(next));
        Fate::Read
    }

    /// The document behind this one: as it says itself, else by number.
    fn next(&self, ask: &Ask, document: &Document, body: &[u8], ids: Vec<u32>, rules: &Rules) -> Option<Ask> {
        let of = |url: String, kind| Ask { url, feed: ask.feed.clone(), kind };
        if let Some(older) = &document.older {
            let mut seen = match &ask.kind {
                Kind::Older { seen } => seen.clone(),
                _ => Vec::new(),
            };
            seen.push(short(&ask.url));
            let circle = seen.contains(&short(older));
            seen.drain(..seen.len().saturating_sub(CHAIN));
            return (!circle).then(|| of(older.clone(), Kind::Older { seen }));
        }
        let parameter = match (&ask.kind, rules.pages) {
            (Kind::Page { parameter, .. }, _) => parameter.clone(),
            (Kind::Start, Pages::Auto) if is_complete(body) => return None,
            (Kind::Start, Pages::Auto) => if is_wordpress(body) { "paged" } else { "page" }.into(),
            (Kind::Start, Pages::Paged) => "paged".into(),
            (Kind::Start, Pages::Page) => "page".into(),
            _ => return None,
        };
        let (number, first) = match &ask.kind {
            Kind::Page { number, known, .. } => (number + 1, known.as_slice()),
            _ => (2, &[][..]),
        };
        // Of the pages before, the first and the last: what a server gives that knows no pages, and one that has no more.
        let known = if number == 2 { ids } else { [&first[..first.len().min(MOST_IDS)], &ids].concat() };
        let url = numbered(&ask.feed, &parameter, number)?;
        Some(of(url, Kind::Page { parameter, number, known }))
    }

    fn sitemaps(&mut self, ask: &Ask, sitemap: &Sitemap, rules: &Rules) {
        let depth = match ask.kind {
            Kind::Sitemap { depth } => depth + 1,
            _ => 1,
        };
        if depth > DEEPEST {
            return;
        }
        // One that has not changed since holds nothing newer.
        let due = |changed: &Option<DateTime<Utc>>| {
            rules.window.since.is_none_or(|since| changed.is_none_or(|changed| changed >= since))
        };
        let children = sitemap.children.iter().filter(|(_, changed)| due(changed));
        let ask =
            |(url, _): &(String, _)| Ask { url: url.clone(), feed: ask.feed.clone(), kind: Kind::Sitemap { depth } };
        children.rev().map(ask).collect::<Vec<_>>().into_iter().for_each(|ask| self.asks.push_front(ask));
    }
}

fn start(feed: &str, rules: &Rules) -> Ask {
    match &rules.wayback {
        Some(server) => {
            Ask { url: wayback::listing(server, feed, rules.window), feed: feed.into(), kind: Kind::Snapshots }
        }
        None => Ask { url: feed.into(), feed: feed.into(), kind: Kind::Start },
    }
}

/// Ids of the first page that are kept.
const MOST_IDS: usize = 200;

fn ids(entries: &[Entry]) -> Vec<u32> {
    entries.iter().map(|entry| short(entry.guid.as_deref().or(entry.link.as_deref()).unwrap_or(&entry.title))).collect()
}

fn short(text: &str) -> u32 {
    let Identity([a, b, c, d, ..]) = Identity::of(&[text]);
    u32::from_le_bytes([a, b, c, d])
}

/// Whether every item was published before the days asked for: what comes behind is older still.
fn passed(entries: &[Entry], window: Window) -> bool {
    let Some(since) = window.since else { return entries.is_empty() };
    entries.iter().all(|entry| entry.published.is_some_and(|published| published < since))
}

fn is_wordpress(body: &[u8]) -> bool {
    memchr::memmem::find(&body[..body.len().min(4_096)], b"wordpress.org/?v=").is_some()
}

/// RFC 5005: the document holds all there is.
fn is_complete(body: &[u8]) -> bool {
    let head = &body[..body.len().min(16_384)];
    let has = |text: &[u8]| memchr::memmem::find(head, text).is_some();
    has(b"purl.org/syndication/history") && has(b":complete")
}

fn numbered(feed: &str, parameter: &str, number: u32) -> Option<String> {
    let mut url = Url::parse(feed).ok()?;
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != parameter)
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair(parameter, &number.to_string());
    Some(url.into())
}

/// What a document's bytes are, where they are no feed: a sitemap, a list of feeds, or nothing that is known.
pub fn other(text: &str) -> Option<Result<Sitemap, Vec<String>>> {
    if sitemap::is_sitemap(text) {
        return Some(Ok(sitemap::read(text)));
    }
    let listing = text.contains("<opml").then(|| crate::opml::read(text).ok()).flatten()?;
    Some(Err(listing.feeds.into_iter().map(|feed| feed.url).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: &str = "https://o.example/feed?a=b";

    fn document(ids: &[&str], older: Option<&str>) -> Document {
        let entry = |id: &&str| Entry {
            guid: Some((*id).into()),
            published: Some("2024-05-01T00:00:00Z".parse().unwrap()),
            ..Entry::default()
        };
        Document { entries: ids.iter().map(entry).collect(), older: older.map(Into::into), ..Document::default() }
    }

    fn began(rules: &Rules) -> Frontier {
        let mut frontier = Frontier::default();
        frontier.begin(&[FEED.into()], rules);
        frontier
    }

    /// Answers one question after the other; the addresses that were asked.
    fn walk(rules: &Rules, answer: impl Fn(&str) -> (Document, &'static [u8])) -> Vec<String> {
        let mut frontier = began(rules);
        let mut asked = Vec::new();
        while let Some(ask) = frontier.asks.pop_front() {
            asked.push(ask.url.clone());
            let (document, body) = answer(&ask.url);
            frontier.answered(&ask, Found::Feed(&document, body), rules);
            assert!(asked.len() < 1_000);
        }
        asked
    }

    #[test]
    fn numbered_pages_are_asked_until_one_brings_nothing_new() {
        let asked = walk(&Rules::default(), |url| match url {
            url if url.ends_with("page=2") => (document(&["c"], None), b""),
            url if url.ends_with("page=3") => (document(&["a"], None), b""),
            _ => (document(&["a", "b"], None), b""),
        });
        assert_eq!(asked, [FEED, "https://o.example/feed?a=b&page=2", "https://o.example/feed?a=b&page=3"]);
        let wordpress: &[u8] = b"<generator>https://wordpress.org/?v=6</generator>";
        let asked = walk(&Rules::default(), |_| (document(&["a"], None), wordpress));
        assert_eq!(asked[1], "https://o.example/feed?a=b&paged=2");
        let none = Rules { pages: Pages::None, ..Rules::default() };
        assert_eq!(walk(&none, |_| (document(&["a"], None), b"")).len(), 1);
        let complete: &[u8] = b"xmlns:fh=\"http://purl.org/syndication/history/1.0\"><fh:complete/>";
        assert_eq!(walk(&Rules::default(), |_| (document(&["a"], None), complete)).len(), 1);
    }

    #[test]
    fn a_chain_is_followed_to_its_end_or_to_where_it_meets_itself() {
        let asked = walk(&Rules::default(), |url| match url {
            FEED => (document(&["a"], Some("https://o.example/1")), b""),
            "https://o.example/1" => (document(&["b"], Some("https://o.example/2")), b""),
            _ => (document(&["c"], Some("https://o.example/1")), b""),
        });
        assert_eq!(asked, [FEED, "https://o.example/1", "https://o.example/2"]);
    }

    #[test]
    fn nothing_is_asked_beyond_the_days() {
        let window = Window { since: Some("2024-06-01T00:00:00Z".parse().unwrap()), until: None };
        let rules = Rules { window, ..Rules::default() };
        assert_eq!(walk(&rules, |_| (document(&["a"], Some("https://o.example/1")), b"")), [FEED]);
        let mut frontier = began(&rules);
        let ask = frontier.asks.pop_front().unwrap();
        let sitemap = Sitemap {
            children: vec![
                ("https://o.example/old".into(), Some("2024-05-01T00:00:00Z".parse().unwrap())),
                ("https://o.example/new".into(), None),
            ],
            ..Sitemap::default()
        };
        assert_eq!(frontier.answered(&ask, Found::Sitemap(&sitemap), &rules), Fate::Pass);
        assert_eq!(frontier.asks.iter().map(|ask| ask.url.as_str()).collect::<Vec<_>>(), ["https://o.example/new"]);
    }

    #[test]
    fn a_feed_without_end_leaves_the_feeds_behind_it_their_pages() {
        let (feeds, rules) =
            (["https://o.example/endless".to_owned(), "https://p.example/feed".to_owned()], Rules::default());
        let named: HashSet<&str> = feeds.iter().map(String::as_str).collect();
        let mut frontier = Frontier::default();
        frontier.begin(&feeds, &rules);
        let (most, mut asked) = (3, Vec::new());
        while let Some(ask) = frontier.asks.pop_front() {
            frontier.turn_to(&ask.feed, &named);
            if frontier.asked >= most {
                frontier.give_up(&named);
                continue;
            }
            frontier.asked += 1;
            asked.push(ask.url.clone());
            let id = format!("{}", asked.len());
            let id = if ask.feed == feeds[0] { id.as_str() } else { "one and the same" };
            frontier.answered(&ask, Found::Feed(&document(&[id], None), b""), &rules);
            frontier.cut(most, &named);
        }
        let of = |host: &str| asked.iter().filter(|url| url.contains(host)).count();
        assert_eq!((of("o.example"), of("p.example")), (most, 2), "{asked:?}");
    }

    #[test]
    fn what_could_not_be_had_is_asked_for_by_the_next_run() {
        let rules = Rules::default();
        let mut frontier = began(&rules);
        let ask = frontier.asks.pop_front().unwrap();
        frontier.later.push(ask.clone());
        let stored = serde_json::to_string(&frontier).unwrap();
        let mut frontier: Frontier = serde_json::from_str(&stored).unwrap();
        frontier.begin(&[FEED.into()], &rules);
        assert_eq!(frontier.asks, [ask]);
    }
}
