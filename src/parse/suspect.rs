//! What a document is that is no feed. Pure.

use super::entities::floor_boundary;
use super::error::Lookalike;

/// How far into a page the words of a browser check are looked for, in bytes; they stand near its beginning.
const LOOK_WITHIN: usize = 64 * 1_024;

/// Words in pages that turn robots away.
const CHALLENGE_WORDS: &[&str] = &[
    "captcha",
    "cf-browser-verification",
    "challenge-platform",
    "cf_chl_",
    "<title>just a moment",
    "ddos protection",
    "ddos-guard",
    "enable javascript and cookies",
    "checking your browser",
    "are you a robot",
    "incapsula",
    "datadome",
    "perimeterx",
    "_pxhd",
    "access denied",
    "unusual traffic",
];

/// Beginnings of well-known binary formats.
const MAGIC: &[(&[u8], &str)] = &[
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"\x28\xb5\x2f\xfd", "zstd-compressed data"),
    (b"PK\x03\x04", "a zip archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "an image"),
    (b"\xff\xd8\xff", "an image"),
    (b"GIF8", "an image"),
    (b"RIFF", "an image or sound"),
    (b"ID3", "a sound"),
    (b"SQLite format", "a database"),
];

/// A binary format, by the first bytes.
pub fn binary(body: &[u8]) -> Option<Lookalike> {
    MAGIC.iter().find(|(magic, _)| body.starts_with(magic)).map(|(_, what)| Lookalike::Binary(what))
}

/// What a text without any element of a feed is; `root` is the name of its first element.
pub fn text(text: &str, root: Option<&str>) -> Lookalike {
    let Some(root) = root else { return Lookalike::Text };
    let local = root.rsplit(':').next().unwrap_or(root).to_ascii_lowercase();
    match local.as_str() {
        "opml" => Lookalike::Opml,
        "urlset" | "sitemapindex" => Lookalike::Sitemap,
        "html" | "head" | "body" | "script" | "meta" | "div" | "p" | "h1" | "title" | "br" | "center" | "b" => {
            page(text)
        }
        _ => Lookalike::Xml(root.chars().take(40).collect()),
    }
}

fn page(text: &str) -> Lookalike {
    let head = text[..floor_boundary(text, LOOK_WITHIN)].to_ascii_lowercase();
    let is_challenge = CHALLENGE_WORDS.iter().any(|words| head.contains(words));
    if is_challenge { Lookalike::Challenge } else { Lookalike::Html }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tells_pages_from_browser_checks() {
        assert_eq!(text("<html><body>Welcome", Some("html")), Lookalike::Html);
        assert_eq!(text("<HTML><title>Just a moment...", Some("HTML")), Lookalike::Challenge);
    }

    #[test]
    fn knows_other_documents() {
        assert_eq!(text("<opml>", Some("opml")), Lookalike::Opml);
        assert_eq!(text("<ns:urlset>", Some("ns:urlset")), Lookalike::Sitemap);
        assert_eq!(text("<D:multistatus>", Some("D:multistatus")), Lookalike::Xml("D:multistatus".into()));
        assert_eq!(text("Service unavailable", None), Lookalike::Text);
        assert_eq!(binary(b"%PDF-1.7"), Some(Lookalike::Binary("a PDF")));
    }
}
