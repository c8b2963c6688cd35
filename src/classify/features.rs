//! Text as hashed n-grams for the linear model: words, pairs and triples of words, and runs of 3 to 5 characters inside
//! a word. Nothing is allocated: the caller gets each hash as it comes.

use super::{Text, lead};

/// Name and version of these features. Changing anything below makes old weights meaningless: raise the number.
pub const FEATURES: &str = "hashed-ngrams/1";

/// Bytes of title and of summary that are read. News says it in its lead; this bounds the work on hostile input.
const LEAD_BYTES: usize = 2_000;

/// Where an n-gram stands. Each group is scaled by the root of its own size, so a long summary does not drown the title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Group {
    /// Words, pairs and triples of the title.
    TitleWords,
    /// Runs of characters of the title.
    TitleChars,
    /// Words, pairs and triples of the summary.
    SummaryWords,
    /// Runs of characters of the summary.
    SummaryChars,
}

/// Number of [`Group`]s.
pub const GROUPS: usize = 4;

/// Calls `emit` with the group and hash of every n-gram of `text`.
#[inline]
pub fn visit(text: &Text, mut emit: impl FnMut(Group, u32)) {
    ngrams(lead(&text.title, LEAD_BYTES), |word, hash| {
        emit(if word { Group::TitleWords } else { Group::TitleChars }, hash)
    });
    ngrams(lead(&text.summary, LEAD_BYTES), |word, hash| {
        emit(if word { Group::SummaryWords } else { Group::SummaryChars }, hash)
    });
}

/// Calls `emit(true, hash)` for word n-grams and `emit(false, hash)` for character n-grams of one field.
#[inline]
fn ngrams(text: &str, mut emit: impl FnMut(bool, u32)) {
    let mut chars = Chars::default();
    let mut words = Words::default();
    for c in text.chars() {
        if c.is_alphanumeric() {
            let c = if c.is_ascii() { c.to_ascii_lowercase() } else { c.to_lowercase().next().unwrap_or(c) };
            words.grow(c);
            chars.push(c as u32, |hash| emit(false, hash));
        } else if words.end(|hash| emit(true, hash)) {
            chars.end(|hash| emit(false, hash));
        }
    }
    if words.end(|hash| emit(true, hash)) {
        chars.end(|hash| emit(false, hash));
    }
}

/// The word being read and the hashes of the two before it.
#[derive(Default)]
struct Words {
    current: u32,
    previous: [u32; 2],
}

impl Words {
    fn grow(&mut self, c: char) {
        let seed = if self.current == 0 { 0x811C_9DC5 } else { self.current };
        self.current = (seed ^ c as u32).wrapping_mul(0x0100_0193);
    }

    /// Ends the word, if there is one, and emits it alone, with the one and with the two before it.
    fn end(&mut self, mut emit: impl FnMut(u32)) -> bool {
        if self.current == 0 {
            return false;
        }
        let [before, far] = self.previous;
        emit(mix(self.current, 1));
        if before != 0 {
            let pair = before.wrapping_mul(31).wrapping_add(self.current);
            emit(mix(pair, 2));
            if far != 0 {
                emit(mix(far.wrapping_mul(961).wrapping_add(pair), 3));
            }
        }
        self.previous = [self.current, before];
        self.current = 0;
        true
    }
}

/// The last characters of the word being read; it begins and ends with a space.
struct Chars {
    window: [u32; 5],
    filled: usize,
}

const EDGE: u32 = b' ' as u32;

impl Default for Chars {
    fn default() -> Self {
        Self { window: [0, 0, 0, 0, EDGE], filled: 1 }
    }
}

impl Chars {
    fn push(&mut self, c: u32, mut emit: impl FnMut(u32)) {
        self.window = [self.window[1], self.window[2], self.window[3], self.window[4], c];
        self.filled += 1;
        let [a, b, c, d, e] = self.window;
        let three = c.wrapping_mul(961).wrapping_add(d.wrapping_mul(31)).wrapping_add(e);
        let four = b.wrapping_mul(29_791).wrapping_add(three);
        if self.filled >= 3 {
            emit(mix(three, 4));
        }
        if self.filled >= 4 {
            emit(mix(four, 5));
        }
        if self.filled >= 5 {
            emit(mix(a.wrapping_mul(923_521).wrapping_add(four), 6));
        }
    }

    fn end(&mut self, emit: impl FnMut(u32)) {
        self.push(EDGE, emit);
        *self = Self::default();
    }
}

/// Spreads a weak hash over all 32 bits; `kind` keeps the families apart. (The finaliser of MurmurHash3.)
#[inline]
fn mix(hash: u32, kind: u32) -> u32 {
    let mut h = hash ^ kind.wrapping_mul(0x9E37_79B9);
    h = (h ^ (h >> 16)).wrapping_mul(0x85EB_CA6B);
    h = (h ^ (h >> 13)).wrapping_mul(0xC2B2_AE35);
    h ^ (h >> 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(title: &str, summary: &str) -> Vec<(Group, u32)> {
        let mut seen = Vec::new();
        visit(&Text::new(title, summary), |group, hash| seen.push((group, hash)));
        seen
    }

    #[test]
    fn words_pairs_and_triples() {
        let words = |t: &str| all(t, "").iter().filter(|(group, _)| *group == Group::TitleWords).count();
        assert_eq!((words(""), words("a"), words("a b"), words("a b c"), words("-- a, b! c d")), (0, 1, 3, 6, 9));
    }

    #[test]
    fn case_and_punctuation_do_not_matter() {
        assert_eq!(all("Truce TALKS", "\u{C9}lys\u{E9}e"), all("truce, talks.", "\u{E9}lys\u{E9}e"));
        assert_ne!(all("truce talks", ""), all("talks truce", ""));
    }

    #[test]
    fn strange_text_is_only_text() {
        for text in ["\u{0}\u{1}\u{7f}", "\u{1F600}\u{1F600}", "\u{5317}\u{4EAC}\u{4F1A}\u{8C08}", " \n\t ", "a"] {
            all(text, text);
        }
        let long = "word ".repeat(200_000);
        assert!(all(&long, &long).len() < 20_000, "a megabyte costs no more than its lead");
    }
}
