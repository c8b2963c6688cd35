//! An article's web page made an entry, by what it says of itself: JSON-LD, Open Graph, other metadata. Pure.

use serde_json::Value;

use super::fields::{Field, Row};
use crate::parse::{Lexer, Own, TextKind, Token, attribute, decoded, plain};

/// How much of a page is looked at, in characters. Metadata stand at its head; JSON-LD may come at its end, but what is beyond
/// this is an application, not an article.
const LOOK_AT: usize = 1024 * 1024;

/// Shortest paragraph that can be a lead, in bytes: shorter ones are captions and notices.
const LEAD: usize = 80;

/// What a page says of itself.
#[derive(Debug, Default)]
pub struct PageFacts {
    /// Its values.
    pub row: Row,
    /// Whether it says that it is an article.
    pub is_article: bool,
}

/// Where in the order of trust a value comes from.
#[derive(Clone, Copy)]
#[repr(u8)]
enum From {
    JsonLd = 1,
    OpenGraph = 2,
    Meta = 3,
    Element = 4,
}

/// Reads a page.
pub fn facts(html: &str) -> PageFacts {
    let end = (0..=LOOK_AT.min(html.len())).rev().find(|&at| html.is_char_boundary(at)).unwrap_or(0);
    let mut reader = Reader { facts: PageFacts::default(), inside: None, lead: false };
    let mut rest = &html[..end];
    loop {
        let mut lexer = Lexer::new(rest);
        let raw = loop {
            let Some(token) = lexer.next() else { return reader.facts };
            if let Some(raw) = reader.token(token) {
                break raw;
            }
        };
        // Scripts and styles are no markup: on to where they end.
        rest = &rest[lexer.position()..];
        let close = format!("</{}", raw.element);
        let length = find_ignoring_case(rest, &close).unwrap_or(rest.len());
        if raw.is_json_ld {
            reader.json_ld(&rest[..length]);
        }
        rest = &rest[length..];
    }
}

fn find_ignoring_case(text: &str, needle: &str) -> Option<usize> {
    memchr::memmem::find_iter(text.as_bytes(), b"</").find(|&at| {
        text.as_bytes()[at..].get(..needle.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(needle.as_bytes()))
    })
}

/// An element whose inside is no markup.
struct Raw {
    element: &'static str,
    is_json_ld: bool,
}

struct Reader {
    facts: PageFacts,
    /// The element whose text is gathered, and the text.
    inside: Option<(&'static str, String)>,
    /// Whether a lead was found.
    lead: bool,
}

impl Reader {
    fn token(&mut self, token: Token<'_>) -> Option<Raw> {
        match token {
            Token::Start { name, inside, empty } => {
                let name = name.to_ascii_lowercase();
                let raw = ["script", "style", "noscript", "svg"].into_iter().find(|raw| *raw == name);
                if let Some(element) = raw.filter(|_| !empty) {
                    let is_json_ld = attribute(inside, "type").is_some_and(|kind| kind.contains("ld+json"));
                    return Some(Raw { element, is_json_ld });
                }
                self.start(&name, inside);
            }
            Token::End { name } => self.end(name),
            Token::Text(text) => {
                if let Some((_, gathered)) = &mut self.inside {
                    gathered.push_str(text);
                }
            }
            Token::Cdata(_) | Token::Doctype(_) => {}
        }
        None
    }

    fn start(&mut self, name: &str, inside: &str) {
        match name {
            "html" => {
                let language = attribute(inside, "lang").or_else(|| attribute(inside, "xml:lang"));
                language.into_iter().for_each(|tag| self.put(Field::Language, From::Element, &tag));
            }
            "meta" => self.meta(inside),
            "link" if attribute(inside, "rel").is_some_and(|rel| rel.eq_ignore_ascii_case("canonical")) => {
                attribute(inside, "href").into_iter().for_each(|link| self.put(Field::Link, From::JsonLd, &link));
            }
            "time" => {
                let published = attribute(inside, "pubdate").is_some()
                    || attribute(inside, "itemprop").is_some_and(|prop| prop.eq_ignore_ascii_case("datePublished"));
                let rank = if published { From::Meta } else { From::Element };
                attribute(inside, "datetime").into_iter().for_each(|time| self.put(Field::Published, rank, &time));
            }
            "title" => self.gather("title"),
            "h1" => self.gather("h1"),
            "p" if !self.lead => self.gather("p"),
            _ => {}
        }
    }

    fn gather(&mut self, element: &'static str) {
        self.inside = Some((element, String::new()));
    }

    fn end(&mut self, name: &str) {
        let Some((element, text)) = self.inside.take_if(|(element, _)| element.eq_ignore_ascii_case(name)) else {
            return;
        };
        match element {
            "title" => self.put(Field::Title, From::Element, &text),
            // Behind <title>: headlines of sections are headings too.
            "h1" if self.facts.row.get(Field::Title).is_none() => self.put(Field::Title, From::Element, &text),
            "p" if plain(&text, TextKind::Html, LEAD + 16).len() >= LEAD => {
                self.lead = true;
                self.put(Field::Summary, From::Element, &text);
            }
            _ => {}
        }
    }

    fn meta(&mut self, inside: &str) {
        let name = ["property", "name", "itemprop"].into_iter().find_map(|name| attribute(inside, name));
        let (Some(name), Some(content)) = (name, attribute(inside, "content")) else { return };
        let (field, from) = match name.to_ascii_lowercase().as_str() {
            "og:title" => (Field::Title, From::OpenGraph),
            "twitter:title" | "parsely-title" | "dc.title" | "headline" => (Field::Title, From::Meta),
            "og:description" => (Field::Summary, From::OpenGraph),
            "description" | "twitter:description" | "dc.description" => (Field::Summary, From::Meta),
            "article:published_time" | "og:published_time" => (Field::Published, From::OpenGraph),
            "datepublished"
            | "parsely-pub-date"
            | "sailthru.date"
            | "pubdate"
            | "publishdate"
            | "publish-date"
            | "dc.date"
            | "dc.date.issued"
            | "dcterms.created"
            | "date"
            | "cxenseparse:recs:publishtime" => (Field::Published, From::Meta),
            "article:modified_time" | "og:updated_time" | "datemodified" | "lastmod" => {
                (Field::Updated, From::OpenGraph)
            }
            "article:author" | "author" | "parsely-author" | "dc.creator" => (Field::Author, From::Meta),
            "article:tag" | "article:section" | "news_keywords" | "keywords" => (Field::Category, From::Meta),
            "og:site_name" => (Field::FeedTitle, From::OpenGraph),
            "og:url" => (Field::Link, From::OpenGraph),
            "og:locale" => (Field::Language, From::Meta),
            "og:type" => return self.facts.is_article |= content.eq_ignore_ascii_case("article"),
            _ => return,
        };
        self.facts.is_article |= name.starts_with("article:published");
        match field {
            // An author's page on a social network is no name.
            Field::Author if content.contains("://") || !self.facts.row.authors.is_empty() => {}
            Field::Category => content.split(',').for_each(|one| self.put(field, from, one.trim())),
            _ => self.put(field, from, &content),
        }
    }

    fn put(&mut self, field: Field, from: From, value: &str) {
        self.facts.row.put((field, from as u8), decoded(value, &Own::default()));
    }

    fn json_ld(&mut self, text: &str) {
        let text = text.trim().trim_start_matches("<![CDATA[").trim_end_matches("]]>");
        // Line breaks inside strings are as common here as in feeds.
        let flat = text.replace(['\n', '\r', '\t'], " ");
        if let Ok(value) = serde_json::from_str::<Value>(&flat) {
            self.linked(&value, 0);
        }
    }

    /// Looks for the article in JSON-LD: itself, in a list, or in a graph.
    fn linked(&mut self, value: &Value, depth: usize) {
        match value {
            Value::Array(many) if depth < 4 => many.iter().for_each(|one| self.linked(one, depth + 1)),
            Value::Object(object) => {
                if is_article(object.get("@type")) {
                    self.article(object);
                }
                object.get("@graph").into_iter().for_each(|graph| self.linked(graph, depth + 1));
            }
            _ => {}
        }
    }

    fn article(&mut self, object: &serde_json::Map<String, Value>) {
        self.facts.is_article = true;
        let text = |name: &str| object.get(name).and_then(text_of);
        for (field, name) in [
            (Field::Title, "headline"),
            (Field::Summary, "description"),
            (Field::Published, "datePublished"),
            (Field::Updated, "dateModified"),
            (Field::Language, "inLanguage"),
            (Field::FeedTitle, "publisher"),
        ] {
            text(name).into_iter().for_each(|value| self.put(field, From::JsonLd, &value));
        }
        self.facts.row.authors.clear();
        for author in list(object.get("author")).filter_map(text_of) {
            self.put(Field::Author, From::JsonLd, &author);
        }
        for label in list(object.get("articleSection")).chain(list(object.get("keywords"))).filter_map(text_of) {
            self.put(Field::Category, From::JsonLd, &label);
        }
    }
}

fn is_article(kind: Option<&Value>) -> bool {
    list(kind).filter_map(Value::as_str).any(|kind| {
        kind.ends_with("Article")
            || matches!(kind, "BlogPosting" | "LiveBlogPosting" | "Report" | "BackgroundNewsArticle")
    })
}

fn list(value: Option<&Value>) -> Box<dyn Iterator<Item = &Value> + '_> {
    match value {
        Some(Value::Array(many)) => Box::new(many.iter()),
        one => Box::new(one.into_iter()),
    }
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Object(object) => object.get("name").or_else(|| object.get("@value")).and_then(text_of),
        Value::Array(many) => many.first().and_then(text_of),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_ld_goes_before_open_graph_and_that_before_the_rest() {
        let facts = facts(
            r#"<!doctype html><html lang="en-GB"><head><title>Talks | Outlet</title>
            <meta property="og:title" content="Talks &amp; tea (social)"><meta name="description" content="In short">
            <meta property="og:site_name" content="Outlet"><link rel="canonical" href="https://o.example/a">
            <script>if (a < b) document.write("<title>no</title>")</script>
            <script type="application/ld+json">{"@context": "x", "@graph": [{"@type": "WebPage", "headline": "Page"},
              {"@type": ["NewsArticle"], "headline": "Talks &amp; tea", "datePublished": "2024-05-01T10:00:00+02:00",
               "author": [{"name": "Ada"}, {"name": "Bo"}], "keywords": ["peace"], "publisher": {"name": "The Outlet"}}]}</script>
            </head><body><p>Share</p></body></html>"#,
        );
        let entry = facts.row.entry();
        assert!(facts.is_article);
        assert_eq!((entry.title.as_str(), entry.summary.as_str()), ("Talks & tea", "In short"));
        assert_eq!(entry.published.unwrap().to_rfc3339(), "2024-05-01T08:00:00+00:00");
        assert_eq!((entry.link.as_deref(), entry.language.as_deref()), (Some("https://o.example/a"), Some("en")));
        assert_eq!((entry.authors, entry.categories), (vec!["Ada".into(), "Bo".into()], vec!["peace".to_owned()]));
        assert_eq!(facts.row.get(Field::FeedTitle), Some("The Outlet"));
    }

    #[test]
    fn a_bare_page_gives_its_title_time_and_first_real_paragraph() {
        let lead = "Envoys of both sides met in Vienna on Monday for a second day of talks on a prisoner exchange.";
        let facts = facts(&format!(
            "<TITLE>Talks</TITLE><style>p{{}}</style><p>By Ada</p><time datetime=2024-05-01>1 May</time><p>{lead}</p>"
        ));
        let entry = facts.row.entry();
        assert_eq!((entry.title.as_str(), entry.summary.as_str(), facts.is_article), ("Talks", lead, false));
        assert!(entry.published.is_some());
    }

    proptest::proptest! {
        #[test]
        fn no_page_is_too_broken(html in "(<script|<meta|<p>|</p>|</script>| content=|ld\\+json|\\{|\"|>|é|a){0,40}") {
            facts(&html);
        }
    }
}
