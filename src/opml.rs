//! OPML in and out: folders are tags.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use quick_xml::escape::escape;
use quick_xml::events::{BytesStart, Event};
use quick_xml::reader::Reader;
use thiserror::Error;
use url::Url;

use crate::store::FeedSpec;

/// Why a document is not a list of feeds.
#[derive(Debug, Error)]
pub enum OpmlError {
    /// Not well-formed XML.
    #[error("read OPML: {message} at byte {position}")]
    Xml {
        /// What is wrong.
        message: String,
        /// Where.
        position: u64,
    },
    /// XML, but without any outline.
    #[error("read OPML: no <outline> in it; is this an OPML file?")]
    Empty,
}

/// The feeds of a document and the lines that were passed over, with the reason.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Feeds, in order.
    pub feeds: Vec<FeedSpec>,
    /// Outlines that name no usable feed.
    pub skipped: Vec<String>,
    /// Where in `feeds` each address is.
    places: HashMap<String, usize>,
}

/// Reads a document. Outlines with `xmlUrl` are feeds, those without are folders; nested folders give several tags.
///
/// # Errors
/// When it is not XML or holds no outline.
pub fn read(text: &str) -> Result<Listing, OpmlError> {
    let mut reader = Reader::from_str(text.trim_start_matches('\u{feff}'));
    let mut listing = Listing::default();
    let mut folders: Vec<Option<String>> = Vec::new();
    let mut outlines = 0;
    loop {
        let event = reader
            .read_event()
            .map_err(|error| OpmlError::Xml { message: error.to_string(), position: reader.error_position() })?;
        match event {
            Event::Start(start) if is_outline(&start) => {
                outlines += 1;
                folders.push(listing.outline(&start, &folders));
            }
            Event::Empty(start) if is_outline(&start) => {
                outlines += 1;
                listing.outline(&start, &folders);
            }
            Event::End(end) if end.name().as_ref().eq_ignore_ascii_case("outline") => drop(folders.pop()),
            Event::Eof if outlines == 0 => return Err(OpmlError::Empty),
            Event::Eof => return Ok(listing),
            _ => {}
        }
    }
}

fn is_outline(start: &BytesStart<'_>) -> bool {
    start.name().as_ref().eq_ignore_ascii_case("outline")
}

impl Listing {
    /// Takes one outline in; returns its name if it is a folder.
    fn outline(&mut self, start: &BytesStart<'_>, folders: &[Option<String>]) -> Option<String> {
        let name = attribute(start, "title").or_else(|| attribute(start, "text"));
        let Some(url) = attribute(start, "xmlUrl") else { return name };
        match Url::parse(&url) {
            Ok(mut parsed) if matches!(parsed.scheme(), "http" | "https") => {
                parsed.set_fragment(None);
                let mut tags: Vec<String> = folders.iter().flatten().cloned().collect();
                tags.extend(attribute(start, "category").into_iter().flat_map(|list| categories(&list)));
                tags.dedup();
                // A list that has no title for a feed repeats its address.
                let title = name.filter(|name| *name != url);
                self.feed(FeedSpec { url: parsed.into(), title, tags, floor_s: None });
            }
            _ => self.skipped.push(format!(
                "{}: `{}` is not an http(s) address",
                name.unwrap_or_default(),
                crate::alert::public_url(&url)
            )),
        }
        None
    }

    /// A feed that is listed again, as readers do for each of its folders, keeps all of its tags.
    fn feed(&mut self, feed: FeedSpec) {
        match self.places.entry(feed.url.clone()) {
            Entry::Vacant(place) => {
                place.insert(self.feeds.len());
                self.feeds.push(feed);
            }
            Entry::Occupied(place) => {
                let tags = &mut self.feeds[*place.get()].tags;
                let more = feed.tags.into_iter().filter(|tag| !tags.contains(tag)).collect::<Vec<_>>();
                tags.extend(more);
                let url = crate::alert::public_url(&feed.url);
                self.skipped.push(format!("{}: {url} is listed twice", feed.title.unwrap_or_default()));
            }
        }
    }
}

fn categories(list: &str) -> Vec<String> {
    list.split(',').map(|tag| tag.trim().trim_matches('/').to_owned()).filter(|tag| !tag.is_empty()).collect()
}

fn attribute(start: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = start
        .attributes()
        .with_checks(false)
        .flatten()
        .find(|attribute| attribute.key.as_ref().eq_ignore_ascii_case(name))?;
    let raw = attribute.value.into_owned();
    // A bare & is common in hand-written lists.
    let text = quick_xml::escape::unescape(&raw).map(|text| text.into_owned()).unwrap_or(raw.clone());
    Some(text.trim().to_owned()).filter(|text| !text.is_empty())
}

/// Writes feeds as OPML 2.0; each under a folder for its first tag.
pub fn write<'a>(feeds: impl IntoIterator<Item = &'a FeedSpec>) -> String {
    let mut out = String::from(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<opml version=\"2.0\">\n  <head><title>demarche feeds</title></head>\n  <body>\n",
    );
    for feed in feeds {
        let title = feed.title.as_deref().unwrap_or(&feed.url);
        let depth = "  ".repeat(feed.tags.len() + 2);
        for (level, tag) in feed.tags.iter().enumerate() {
            out += &format!("{}<outline text=\"{}\">\n", "  ".repeat(level + 2), escape(tag.as_str()));
        }
        out += &format!(
            "{depth}<outline type=\"rss\" text=\"{}\" xmlUrl=\"{}\"/>\n",
            escape(title),
            escape(feed.url.as_str())
        );
        for level in (0..feed.tags.len()).rev() {
            out += &format!("{}</outline>\n", "  ".repeat(level + 2));
        }
    }
    out + "  </body>\n</opml>\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_become_tags_and_odd_outlines_are_named() {
        let text = r#"<opml><body><outline text="Europe"><outline text="A &amp; B" xmlUrl="https://a.example/?x=1&y=2"/>
            <outline text="Old" xmlUrl="ftp://old.example/"/></outline><outline title="C" xmlUrl="https://c.example/"/></body></opml>"#;
        let listing = read(text).unwrap();
        assert_eq!(listing.feeds[0].tags, ["Europe"]);
        assert_eq!(listing.feeds[0].title.as_deref(), Some("A & B"));
        assert_eq!(listing.feeds[0].url, "https://a.example/?x=1&y=2");
        assert_eq!(listing.feeds[1].tags, Vec::<String>::new());
        assert_eq!(listing.skipped, ["Old: `ftp://old.example/` is not an http(s) address"]);
    }

    #[test]
    fn a_feed_in_two_folders_has_both_tags_and_is_reported() {
        let one = |folder: &str| {
            format!(r#"<outline text="{folder}"><outline text="A" xmlUrl="https://a.example/"/></outline>"#)
        };
        let listing = read(&format!("<opml><body>{}{}</body></opml>", one("x"), one("y"))).unwrap();
        assert_eq!((listing.feeds.len(), &listing.feeds[0].tags[..]), (1, &["x".to_owned(), "y".to_owned()][..]));
        assert_eq!(listing.skipped, ["A: https://a.example/ is listed twice"]);
    }

    #[test]
    fn what_is_written_reads_back() {
        let spec = |url: &str, tags: &[&str]| FeedSpec {
            url: url.into(),
            title: Some("T <&> \"q\"".into()),
            tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
            floor_s: None,
        };
        let mut feeds = [spec("https://a.example/?a=1&b=2", &["x", "y"]), spec("https://b.example/", &[])];
        feeds[1].title = None;
        assert_eq!(read(&write(&feeds)).unwrap().feeds, feeds);
    }

    #[test]
    fn what_is_no_opml_is_said_so() {
        assert!(matches!(read("<html><body>hi</body></html>"), Err(OpmlError::Empty)));
        assert!(matches!(read("<opml><body><outline text=\"x\"></body>"), Err(OpmlError::Xml { .. })));
    }
}
