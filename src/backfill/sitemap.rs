//! Sitemaps: of news, whose entries have titles; plain ones, which only have addresses; and lists of sitemaps. Pure.

use super::fields::{Field, Row};
use crate::parse::{Lexer, Own, Token, dates, decoded};
use chrono::{DateTime, Utc};

/// What a sitemap holds.
#[derive(Debug, Default)]
pub struct Sitemap {
    /// Entries of news.
    pub rows: Vec<Row>,
    /// How many addresses come without a title.
    pub untitled: usize,
    /// Sitemaps that it lists, with the time of their last change.
    pub children: Vec<(String, Option<DateTime<Utc>>)>,
}

/// Entries and sitemaps that are read of one: the protocol's own limit.
const MOST: usize = 50_000;

/// Whether a document is a sitemap or a list of them.
pub fn is_sitemap(text: &str) -> bool {
    let first = Lexer::new(text).take(16).find_map(|token| match token {
        Token::Start { name, .. } => Some(local(name)),
        _ => None,
    });
    first.is_some_and(|name| matches!(name.as_str(), "urlset" | "sitemapindex"))
}

/// Reads a sitemap.
pub fn read(text: &str) -> Sitemap {
    let mut sitemap = Sitemap::default();
    let (mut row, mut value) = (Row::default(), String::new());
    for token in Lexer::new(text) {
        match token {
            Token::Start { name, .. } => {
                value.clear();
                if matches!(local(name).as_str(), "url" | "sitemap") {
                    row = Row::default();
                }
            }
            Token::Text(text) => value.push_str(&decoded(text, &Own::default())),
            Token::Cdata(text) => value.push_str(text),
            Token::End { name } => end(&local(name), std::mem::take(&mut value), &mut row, &mut sitemap),
            Token::Doctype(_) => {}
        }
        if sitemap.rows.len() + sitemap.children.len() >= MOST {
            break;
        }
    }
    sitemap
}

fn local(name: &str) -> String {
    name.rsplit(':').next().unwrap_or(name).to_ascii_lowercase()
}

fn end(name: &str, value: String, row: &mut Row, sitemap: &mut Sitemap) {
    match name {
        // An image in an entry has a `loc` and a title too, but comes behind the entry's own.
        "loc" => row.put((Field::Link, 1), value),
        "title" => row.put((Field::Title, 1), value),
        "publication_date" => row.put((Field::Published, 1), value),
        "lastmod" => row.put((Field::Updated, 1), value),
        "language" => row.put((Field::Language, 1), value),
        "keywords" => value.split(',').for_each(|one| row.put((Field::Category, 1), one.trim())),
        "name" => row.put((Field::FeedTitle, 1), value),
        "sitemap" => {
            let row = std::mem::take(row);
            let changed = row.get(Field::Updated).and_then(dates::parse);
            sitemap.children.extend(row.get(Field::Link).map(|link| (link.trim().to_owned(), changed)));
        }
        "url" => {
            let row = std::mem::take(row);
            match row.get(Field::Title) {
                Some(_) => sitemap.rows.push(row),
                None => sitemap.untitled += 1,
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_plain_entries_and_lists_are_told_apart() {
        let text = r#"<?xml version="1.0"?><!-- x --><urlset xmlns:news="n" xmlns:image="i">
          <url><loc>https://o.example/a?x=1&amp;y=2</loc><news:news><news:publication><news:name>Outlet</news:name>
            <news:language>en</news:language></news:publication><news:publication_date>2024-05-01</news:publication_date>
            <news:title><![CDATA[Talks & tea]]></news:title></news:news><image:image><image:loc>https://o.example/i</image:loc>
            <image:title>Photo</image:title></image:image></url>
          <url><loc>https://o.example/b</loc></url></urlset>"#;
        assert!(is_sitemap(text) && !is_sitemap("<rss>"));
        let sitemap = read(text);
        let entry = sitemap.rows[0].entry();
        assert_eq!((entry.title.as_str(), entry.link.as_deref()), ("Talks & tea", Some("https://o.example/a?x=1&y=2")));
        assert_eq!((sitemap.rows.len(), sitemap.untitled), (1, 1));
        let list =
            read("<sitemapindex><sitemap><loc> https://o.example/1.xml </loc><lastmod>2024-05-01</lastmod></sitemap>");
        assert_eq!(list.children[0].0, "https://o.example/1.xml");
    }
}
