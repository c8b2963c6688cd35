//! Near-identical copies of one text: wire stories that outlets carry with another dateline or a word changed.

use std::collections::{HashMap, VecDeque};

use crate::item::Verdict;

/// Words in a shingle. Fewer, and texts about the same event collide; more, and one changed word changes too much.
const SHINGLE_WORDS: usize = 3;

/// Bits in which the fingerprints of copies may differ, of 64. Different texts on one event differ in 12 and more.
const MAX_DISTANCE: u32 = 3;

/// Parts of a fingerprint. One more than the bits that may differ: at least one part of two copies is the same, so
/// that looking up the parts finds them.
const BANDS: u32 = MAX_DISTANCE + 1;
const BAND_BITS: u32 = u64::BITS / BANDS;

/// Shorter texts have too few shingles for a fingerprint to tell them apart.
const MIN_WORDS: usize = 12;

/// The simhash of a text; `None` for one too short to tell copies by.
pub fn fingerprint(title: &str, summary: &str) -> Option<u64> {
    simhash(&words(&format!("{title} {summary}").to_lowercase()))
}

fn words(lower: &str) -> Vec<&str> {
    lower.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect()
}

fn simhash(words: &[&str]) -> Option<u64> {
    if words.len() < MIN_WORDS {
        return None;
    }
    let mut votes = [0i32; u64::BITS as usize];
    for shingle in words.windows(SHINGLE_WORDS) {
        let hash = hash(shingle);
        for (bit, vote) in votes.iter_mut().enumerate() {
            *vote += if hash >> bit & 1 == 1 { 1 } else { -1 };
        }
    }
    Some(votes.iter().enumerate().fold(0, |print, (bit, vote)| print | u64::from(*vote > 0) << bit))
}

/// Whether the texts of two fingerprints are copies of one another.
pub fn are_copies(one: u64, other: u64) -> bool {
    (one ^ other).count_ones() <= MAX_DISTANCE
}

/// FNV-1a with a finish that spreads its bits: a stable hash, since fingerprints are stored.
fn hash(words: &[&str]) -> u64 {
    let bytes = words.iter().flat_map(|word| word.bytes().chain([b' ']));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    let hash = (hash ^ hash >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^ hash >> 33
}

/// What was said of a text.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// No alert; its score.
    Irrelevant(f32),
    /// An alert.
    Alert(Verdict),
}

/// What near-copies of a text have in common: their fingerprint, and the words of the headline, since one of them changes
/// what is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Print {
    /// Simhash of headline and lead.
    pub text: u64,
    /// Hash of the headline's words.
    headline: u64,
}

/// Bytes of the summary that count: a scorer reads less.
const LEAD_BYTES: usize = 2_000;

/// Words at most behind the last dash or bar of a headline that are taken for the outlet's name.
const OUTLET_WORDS: usize = 4;

impl Print {
    /// Of a text; `None` for one too short to tell copies by.
    pub fn of(title: &str, summary: &str) -> Option<Self> {
        let title = headline(title).to_lowercase();
        let lead = crate::classify::lead(summary, LEAD_BYTES).to_lowercase();
        let headline = words(&title);
        let text = simhash(&[&headline[..], &words(&lead)].concat())?;
        Some(Self { text, headline: hash(&headline) })
    }
}

/// A headline without the outlet's name behind it.
fn headline(title: &str) -> &str {
    let split =
        [" - ", " | ", " – ", " — "].iter().filter_map(|mark| title.rsplit_once(mark)).min_by_key(|(_, end)| end.len());
    match split {
        Some((headline, outlet)) if outlet.split_whitespace().count() <= OUTLET_WORDS && headline.contains(' ') => {
            headline
        }
        _ => title,
    }
}

/// What was said of texts of late, for their copies.
#[derive(Debug)]
pub struct Wire<T>(Option<Copies<(u64, T)>>);

impl<T> Wire<T> {
    /// Remembers the last `texts`; 0: none.
    pub fn new(texts: usize) -> Self {
        Self((texts > 0).then(|| Copies::new(texts)))
    }

    /// Whether it remembers nothing.
    pub fn is_off(&self) -> bool {
        self.0.is_none()
    }

    /// What was said of the text that one with this print copies.
    pub fn find(&self, print: Print) -> Option<&T> {
        let (headline, said) = self.0.as_ref()?.find(print.text)?;
        (*headline == print.headline).then_some(said)
    }

    /// Remembers what was said of a text. A copy is not remembered: copies of copies would drift away from the first.
    pub fn remember(&mut self, print: Print, said: T) {
        let is_copy = self.find(print).is_some();
        if let Some(copies) = self.0.as_mut().filter(|_| !is_copy) {
            copies.remember(print.text, (print.headline, said));
        }
    }
}

/// The fingerprints of late, each with what was said of its text.
#[derive(Debug)]
pub struct Copies<T> {
    bands: Vec<HashMap<u16, Vec<u64>>>,
    known: HashMap<u64, T>,
    order: VecDeque<u64>,
    capacity: usize,
}

impl<T> Copies<T> {
    /// Remembers the last `capacity` texts.
    pub fn new(capacity: usize) -> Self {
        let bands = (0..BANDS).map(|_| HashMap::new()).collect();
        Self { bands, known: HashMap::new(), order: VecDeque::new(), capacity: capacity.max(1) }
    }

    /// What was said of the text that this one copies, the nearest if there are several.
    pub fn find(&self, print: u64) -> Option<&T> {
        let near = self.bands.iter().zip(parts(print)).filter_map(|(band, part)| band.get(&part)).flatten();
        let nearest = near.map(|other| ((other ^ print).count_ones(), *other)).min()?;
        (nearest.0 <= MAX_DISTANCE).then(|| self.known.get(&nearest.1)).flatten()
    }

    /// Remembers a text; the oldest goes when there are too many.
    pub fn remember(&mut self, print: u64, said: T) {
        if self.known.insert(print, said).is_some() {
            return;
        }
        self.order.push_back(print);
        for (band, part) in self.bands.iter_mut().zip(parts(print)) {
            band.entry(part).or_default().push(print);
        }
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.forget(oldest);
        }
    }

    fn forget(&mut self, print: u64) {
        self.known.remove(&print);
        for (band, part) in self.bands.iter_mut().zip(parts(print)) {
            if let Some(prints) = band.get_mut(&part) {
                prints.retain(|other| *other != print);
                if prints.is_empty() {
                    band.remove(&part);
                }
            }
        }
    }
}

fn parts(print: u64) -> impl Iterator<Item = u16> {
    (0..BANDS).map(move |band| (print >> (band * BAND_BITS)) as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WIRE: &str = "Delegates of both sides met for five hours in the lakeside town on Tuesday and agreed to return next \
        week with maps of the buffer zone, two people briefed on the session said, adding that the exchange of prisoners \
        was not discussed and that the mediators would carry a revised text to both capitals before then.";

    #[test]
    fn a_changed_dateline_is_a_copy_and_another_text_on_the_event_is_not() {
        let mut copies = Copies::new(10);
        copies.remember(fingerprint("Sides agree to meet again", WIRE).unwrap(), "first");
        let copy = fingerprint("Sides agree to meet again", &format!("{WIRE} Wire")).unwrap();
        assert_eq!(copies.find(copy), Some(&"first"));
        let other = "After five hours by the lake the two delegations parted with a promise to come back with maps, while the \
            fate of the prisoners was left for a later round, according to people who know what was said in the room.";
        assert_eq!(copies.find(fingerprint("Lake talks to resume", other).unwrap()), None);
    }

    #[test]
    fn a_copy_has_the_same_headline_but_for_the_outlet_and_is_not_remembered_itself() {
        let mut wire = Wire::new(10);
        let print = |title: &str, end: &str| Print::of(title, &format!("{WIRE}{end}")).unwrap();
        wire.remember(print("Sides agree to meet again", ""), 1);
        assert_eq!(wire.find(print("SIDES AGREE TO MEET AGAIN - The Harbour Post", " Wire")), Some(&1));
        assert_eq!(wire.find(print("Sides refuse to meet again", "")), None, "another word in the headline");
        wire.remember(print("Sides agree to meet again", " Wire"), 2);
        assert_eq!(wire.find(print("Sides agree to meet again | Post", " Wire")), Some(&1));
        let mut none = Wire::new(0);
        none.remember(print("Sides agree to meet again", ""), 1);
        assert_eq!(none.find(print("Sides agree to meet again", "")), None);
    }

    #[test]
    fn short_texts_have_no_fingerprint() {
        assert_eq!(fingerprint("Talks resume", ""), None);
    }

    #[test]
    fn memory_is_bounded_and_what_is_forgotten_is_gone_everywhere() {
        let mut copies = Copies::new(100);
        for n in 0..10_000u64 {
            copies.remember(n.wrapping_mul(0x9e37_79b9_7f4a_7c15), n);
        }
        assert_eq!(copies.known.len(), 100);
        assert!(copies.bands.iter().all(|band| band.values().map(Vec::len).sum::<usize>() == 100));
        assert_eq!(copies.find(0), None);
    }

    proptest::proptest! {
        #[test]
        fn whatever_differs_in_few_bits_is_found(print: u64, bits in proptest::collection::vec(0u32..64, 0..=3)) {
            let mut copies = Copies::new(4);
            copies.remember(print, ());
            let changed = bits.iter().fold(print, |changed, bit| changed ^ 1 << bit);
            proptest::prop_assert!(copies.find(changed).is_some());
        }
    }
}
