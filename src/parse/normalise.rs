//! feed-rs's model to ours: clean text, absolute links, UTC times. Pure.

use feed_rs::model;
use url::Url;

use super::reduce::{Beside, Facts};
use super::text::{Kind, MAX_SUMMARY, MAX_TITLE, plain};
use super::{language, links};
use crate::item::{Document, Entry};

/// Longest author name and category kept, in bytes.
const MAX_LABEL: usize = 200;

/// Makes our document of feed-rs's feed. `beside` belongs to its entries, in order.
pub fn document(feed: model::Feed, facts: Facts, beside: Vec<Beside>, url: Option<&Url>) -> Document {
    let site = facts.site.and_then(|site| links::absolute(&site, url));
    let site_url = site.as_deref().and_then(|site| links::base(Url::parse(site).ok()?));
    let absolute = |link: String| links::absolute(&link, site_url.iter().chain(url));
    let declared = facts.language.as_deref().and_then(language::declared);
    let entries = feed.entries.into_iter().zip(beside);
    Document {
        format: facts.format.unwrap_or_default(),
        title: feed.title.map(|title| clean(&title, MAX_TITLE)).filter(|title| !title.is_empty()),
        self_url: facts.self_url.and_then(|link| links::absolute(&link, url)),
        hub: facts.hub.and_then(|link| links::absolute(&link, url)),
        older: facts.older.and_then(|link| links::absolute(&link, url)),
        hints: facts.hints,
        dropped: facts.dropped,
        entries: entries.map(|(entry, beside)| self::entry(entry, beside, declared.as_ref(), absolute)).collect(),
        site,
    }
}

fn entry(
    entry: model::Entry,
    beside: Beside,
    feed_language: Option<&String>,
    absolute: impl Fn(String) -> Option<String>,
) -> Entry {
    let title = entry.title.map(|title| clean(&title, MAX_TITLE)).unwrap_or_default();
    let summary = entry.summary.map(|summary| clean(&summary, MAX_SUMMARY)).filter(|summary| !summary.is_empty());
    let summary = summary.or_else(|| entry.content.map(|content| clean_content(&content))).unwrap_or_default();
    let declared = beside.language.as_deref().and_then(language::declared).or_else(|| feed_language.cloned());
    Entry {
        guid: Some(entry.id).filter(|id| !id.is_empty()),
        link: beside.link.and_then(absolute),
        published: entry.published.or(entry.updated),
        updated: entry.updated,
        authors: entry.authors.into_iter().filter_map(|person| author(&person.name.unwrap_or_default())).collect(),
        categories: entry.categories.into_iter().filter_map(|category| label(&category.term)).collect(),
        language: declared,
        title,
        summary,
    }
}

fn clean(text: &model::Text, limit: usize) -> String {
    plain(&text.content, kind(text.content_type.as_str()), limit)
}

fn clean_content(content: &model::Content) -> String {
    plain(content.body.as_deref().unwrap_or_default(), kind(content.content_type.as_str()), MAX_SUMMARY)
}

fn kind(content_type: &str) -> Kind {
    if content_type == "text/plain" { Kind::Text } else { Kind::Html }
}

/// A category or name as clean text.
pub fn label(text: &str) -> Option<String> {
    Some(plain(text, Kind::Text, MAX_LABEL)).filter(|label| !label.is_empty())
}

/// The name in `desk@example.org (Foreign desk)` and `Foreign desk <desk@example.org>`; an address alone stays.
pub fn author(text: &str) -> Option<String> {
    let text = text.trim();
    let name = match text.split_once(['(', '<']) {
        Some((before, inside)) if inside.contains('@') && !before.trim().is_empty() => before,
        Some((before, inside)) if before.contains('@') && inside.ends_with(')') => inside.trim_end_matches(')'),
        _ => text,
    };
    label(name.trim().trim_start_matches("mailto:"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_come_out_of_rss_authors() {
        for (text, name) in [
            ("desk@example.org (Foreign desk)", "Foreign desk"),
            ("Foreign desk <desk@example.org>", "Foreign desk"),
            ("desk@example.org", "desk@example.org"),
            ("Ada (Vienna)", "Ada (Vienna)"),
            ("（Ada） desk@example.org", "（Ada） desk@example.org"),
        ] {
            assert_eq!(author(text).as_deref(), Some(name));
        }
    }
}
