//! What the origin serves: RSS of real size, distinct for every feed, with prose that compresses as prose does.

use std::fmt::Write;

/// Plain words; sentences are drawn from them.
const WORDS: &str = "the a of to and in for with on by from after before under minister council river harbour market report \
    committee season train bridge village storm museum price harvest election court school hospital engine forest coast \
    budget company league team doctor farmer teacher artist crew border agreement visit letter border ship island \
    mountain winter summer morning evening week month year plan said opened closed found built moved reached signed \
    raised fell grew began ended asked offered refused agreed met warned hoped expected new old small large early late \
    public local national northern southern eastern western heavy quiet busy long short first second third last next";

/// A document: feed `feed`, its items numbered from `first`, `items` of them, each with a summary of about `words` words.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    pub items: usize,
    pub words: usize,
}

/// 30 items and 15–25 KB, by the feed's number.
pub fn real_size(feed: usize) -> Shape {
    Shape { items: 30, words: 55 + feed % 40 }
}

/// The document of `feed`. Half of them declare their language.
pub fn rss(feed: usize, first: usize, shape: Shape) -> String {
    let mut prose = Prose::new((feed as u64) << 32 | first as u64);
    let language = if feed.is_multiple_of(2) { "<language>en</language>" } else { "" };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><rss version=\"2.0\"><channel><title>Outlet {feed}</title>\
         <link>https://o{feed}.example/</link><description>Reports</description>{language}"
    );
    for n in first..first + shape.items {
        let (title, summary) = (prose.words(9), prose.words(shape.words));
        // A string takes everything.
        let _ = write!(
            xml,
            "<item><title>{title}</title><guid isPermaLink=\"false\">urn:o{feed}:{n}</guid>\
             <link>https://o{feed}.example/{n}</link><pubDate>Tue, 06 Oct 2026 10:{:02}:00 GMT</pubDate>\
             <category>news</category><description>&lt;p&gt;{summary}.&lt;/p&gt;</description></item>",
            n % 60
        );
    }
    xml + "</channel></rss>"
}

struct Prose {
    words: Vec<&'static str>,
    state: u64,
}

impl Prose {
    fn new(seed: u64) -> Self {
        Self { words: WORDS.split_whitespace().collect(), state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn words(&mut self, count: usize) -> String {
        let mut text = String::new();
        for _ in 0..count {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            text += self.words[(self.state % self.words.len() as u64) as usize];
            text.push(' ');
        }
        text.truncate(text.trim_end().len());
        text
    }
}
