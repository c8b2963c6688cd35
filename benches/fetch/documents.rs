//! What the origin serves: RSS of real size, distinct for every feed, with prose that compresses as prose does.

use std::fmt::Write;

/// Plain words; sentences are drawn from them, with the small words between that make a language known.
const WORDS: &str = "minister council river harbour market report committee season train bridge village storm museum price \
    harvest election court school hospital engine forest coast budget company league team doctor farmer teacher artist \
    crew border agreement visit letter island mountain winter summer morning evening building government weather history \
    question answer meeting neighbour country language mother father children people thing world life hand house water";
const SMALL_WORDS: &str = "the of and to in that was for with his they had from this have which were their there would been \
    when will what who more about into could than other some these then only should because through after before";

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
    let language = if feed.is_multiple_of(2) { "<language>en</language>" } else { "" };
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?><rss version=\"2.0\"><channel><title>Outlet {feed}</title>\
         <link>https://o{feed}.example/</link><description>Reports</description>{language}"
    );
    for n in first..first + shape.items {
        let mut prose = Prose::new((feed as u64) << 32 | n as u64);
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
    words: [Vec<&'static str>; 2],
    state: u64,
}

impl Prose {
    fn new(seed: u64) -> Self {
        let words = [SMALL_WORDS, WORDS].map(|words| words.split_whitespace().collect());
        Self { words, state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    fn words(&mut self, count: usize) -> String {
        let mut text = String::new();
        for n in 0..count {
            self.state ^= self.state << 13;
            self.state ^= self.state >> 7;
            self.state ^= self.state << 17;
            let words = &self.words[n % 2];
            text += words[(self.state % words.len() as u64) as usize];
            text.push(' ');
        }
        text.truncate(text.trim_end().len());
        text
    }
}
