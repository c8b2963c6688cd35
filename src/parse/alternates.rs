//! The feeds that a web page names: `<link rel="alternate">` with a feed's media type.

use quick_xml::events::attributes::Attributes;
use url::Url;

use super::lex::{Lexer, Token};

/// A feed that a page names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Alternate {
    /// Its address, absolute.
    pub url: Url,
    /// What the page calls it.
    pub title: Option<String>,
}

/// The feeds that the page `html` at `url` names, in order, each once.
pub fn alternates(html: &str, url: &Url) -> Vec<Alternate> {
    /// Pages name a few feeds; more are a trap.
    const MOST: usize = 100;
    let mut base = url.clone();
    let mut found: Vec<Alternate> = Vec::new();
    for token in Lexer::new(html) {
        let Token::Start { name, inside, .. } = token else { continue };
        if name.eq_ignore_ascii_case("base") {
            base = attribute(inside, "href").and_then(|href| url.join(&href).ok()).unwrap_or(base);
        } else if name.eq_ignore_ascii_case("link") {
            found.extend(alternate(inside, &base).filter(|one| found.iter().all(|known| known.url != one.url)));
        }
        if found.len() >= MOST {
            break;
        }
    }
    found
}

fn alternate(inside: &str, base: &Url) -> Option<Alternate> {
    const TYPES: [&str; 5] = [
        "application/rss+xml",
        "application/atom+xml",
        "application/rdf+xml",
        "application/feed+json",
        "application/json",
    ];
    let rel = attribute(inside, "rel")?;
    let kind = attribute(inside, "type")?;
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let named = rel.split_ascii_whitespace().any(|word| word.eq_ignore_ascii_case("alternate"));
    if !named || !TYPES.contains(&kind.as_str()) {
        return None;
    }
    let url = base.join(attribute(inside, "href")?.trim()).ok()?;
    let title = attribute(inside, "title").filter(|title| !title.trim().is_empty());
    // WordPress names its API as an alternate too.
    let api = kind == "application/json" && url.path().starts_with("/wp-json/");
    (matches!(url.scheme(), "http" | "https") && !api).then_some(Alternate { url, title })
}

/// The value of an attribute of a start tag.
pub fn attribute(inside: &str, name: &str) -> Option<String> {
    let start = inside.find(|c: char| c.is_ascii_whitespace())?;
    let mut attributes = Attributes::html(inside, start);
    let found = attributes.with_checks(false).flatten().find(|one| one.key.as_ref().eq_ignore_ascii_case(name))?;
    let raw = found.value.into_owned();
    Some(quick_xml::escape::unescape(&raw).map(|text| text.into_owned()).unwrap_or(raw))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn feeds_are_found_in_any_dialect_of_html() {
        let html = r#"<!doctype html><HTML><head><base href="/en/"><meta charset=utf-8><link rel=stylesheet href=a.css>
            <LINK REL="Alternate" TYPE="application/rss+xml" TITLE="News &amp; more" HREF="feed.xml?a=1&amp;b=2">
            <link rel='alternate nofollow' type='application/atom+xml; charset=utf-8' href='https://other.example/atom'/>
            <link rel=alternate type=application/feed+json href=//cdn.example/feed.json>
            <link rel="alternate" hreflang="fr" href="/fr/"><link rel="alternate" type="application/json" href="/wp-json/x">
            <link rel="alternate" type="application/rss+xml" href="javascript:alert(1)">
            <link rel="alternate" type="application/rss+xml" href="feed.xml?a=1&b=2"></head><body>"#;
        let found = alternates(html, &Url::parse("https://news.example/").unwrap());
        let urls: Vec<&str> = found.iter().map(|one| one.url.as_str()).collect();
        let expected =
            ["https://news.example/en/feed.xml?a=1&b=2", "https://other.example/atom", "https://cdn.example/feed.json"];
        assert_eq!(urls, expected);
        assert_eq!(found[0].title.as_deref(), Some("News & more"));
    }
}
