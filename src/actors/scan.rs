//! One pass over a text: which aliases stand in it as words, in a case that fits, the longest first; and which cues.

use std::collections::BTreeSet;
use std::ops::Range;

use super::compile::{Compiled, Cue, Surface};
use super::dictionary::Target;
use super::words::{Parts, Style, is_capitalised, is_unspaced, is_word};

/// Letters that may follow an inflected alias: "Росси" + "ей". More, and stems run into other words.
const ENDING_CHARS: usize = 3;

/// Letters that Arabic and Hebrew write together with the next word (and, for, by, as, to, in, from, the), and how many
/// of them at most ("وبال").
const PROCLITICS: &str = "وفبكلاولבלמשהוכ";
const PROCLITIC_CHARS: usize = 4;

/// Below this many letters a word in small letters is no name: "us", "oman" stays unread in a text without capitals.
const LOWER_CASE_CHARS: usize = 5;

/// An alias in a text.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Mention {
    pub at: Range<usize>,
    pub target: Target,
    pub guard: Option<usize>,
}

/// What stands in a text.
#[derive(Debug)]
pub(super) struct Scan {
    /// In order, without overlaps.
    pub mentions: Vec<Mention>,
    pub cues: BTreeSet<Cue>,
    /// How many different words of sport and of public affairs there are.
    pub sport: usize,
    pub affairs: usize,
    pub parts: Parts,
}

pub(super) fn scan(compiled: &Compiled, text: &str) -> Scan {
    let parts = Parts::of(text);
    let (mut found, mut cues) = (Vec::new(), BTreeSet::new());
    let (mut sport, mut affairs) = (BTreeSet::new(), BTreeSet::new());
    for hit in compiled.automaton.find_overlapping_iter(text) {
        let Some(surface) = compiled.surfaces.get(hit.pattern().as_usize()) else { continue };
        let Some(at) = whole_word(text, hit.range(), surface) else { continue };
        for cue in &surface.cues {
            match cue {
                Cue::Sport => _ = sport.insert(hit.pattern()),
                Cue::Affairs => _ = affairs.insert(hit.pattern()),
                Cue::With(_) | Cue::Without(_) => _ = cues.insert(*cue),
            }
        }
        if let Some(target) = surface.target
            && is_cased_right(&text[hit.range()], surface, target, &parts, at.start)
        {
            found.push(Mention { at, target, guard: surface.guard });
        }
    }
    let mentions = longest(found);
    Scan { mentions, cues, sport: sport.len(), affairs: affairs.len(), parts }
}

/// The span of a hit with its ending, if it begins and ends where words do.
fn whole_word(text: &str, hit: Range<usize>, surface: &Surface) -> Option<Range<usize>> {
    let first = surface.text.chars().next()?;
    let last = surface.text.chars().next_back()?;
    let (head, tail) = (&text[..hit.start], &text[hit.end..]);
    let free =
        !is_word(first) || is_unspaced(first) || head.chars().next_back().is_none_or(|c| !is_word(c) || is_unspaced(c));
    let begins = if free { Some(0) } else { proclitics(head) };
    let ends = !is_word(last) || is_unspaced(last) || tail.chars().next().is_none_or(|c| !is_word(c) || is_unspaced(c));
    let end = if ends { Some(hit.end) } else { surface.inflected.then(|| ending(tail)).flatten().map(|n| hit.end + n) };
    Some(hit.start - begins?..end?)
}

/// Bytes of the few letters up to the word's end; `None` if there are more.
fn ending(tail: &str) -> Option<usize> {
    let letters: Vec<char> = tail.chars().take(ENDING_CHARS + 1).take_while(|c| is_word(*c)).collect();
    (letters.len() <= ENDING_CHARS).then(|| letters.iter().map(|c| c.len_utf8()).sum())
}

/// Bytes of the letters that are written together with what follows `head`; `None` if a word of others ends there.
fn proclitics(head: &str) -> Option<usize> {
    let letters: Vec<char> = head.chars().rev().take_while(|c| is_word(*c)).take(PROCLITIC_CHARS + 1).collect();
    let all = letters.len() <= PROCLITIC_CHARS && letters.iter().all(|c| PROCLITICS.contains(*c));
    all.then(|| letters.iter().map(|c| c.len_utf8()).sum())
}

/// Whether a hit is written as its alias may be: as it stands, in capitals, with a capital at its start, or in small
/// letters where the whole text is.
fn is_cased_right(hit: &str, surface: &Surface, target: Target, parts: &Parts, at: usize) -> bool {
    if hit == surface.text || matches!(target, Target::Role(_)) {
        return true;
    }
    let upper = !hit.chars().any(char::is_lowercase);
    if target == Target::Nothing {
        // "Guinea pigs", "GUINEA PIGS"; but "US steel tariffs" are not US Steel's.
        return upper || (surface.text.starts_with(char::is_lowercase) && hit.get(1..) == surface.text.get(1..));
    }
    if upper {
        // A single short word in capitals is something else's abbreviation unless everything is in capitals.
        return parts.style(at) == Style::Capitals || hit.chars().count() > 4 || hit.contains(' ');
    }
    let lower = !hit.chars().any(char::is_uppercase);
    if lower {
        return parts.is_lower() && surface.guard.is_none() && hit.chars().count() >= LOWER_CASE_CHARS;
    }
    // "The Hague" and "the Hague"; "al-Shabaab" at the start of a sentence; "Supreme leader".
    is_capitalised(hit) && (surface.text.contains([' ', '-']) || !is_capitalised(&surface.text))
        || (surface.text.contains(' ') && hit.chars().any(char::is_uppercase))
}

/// The leftmost, of these the longest; what overlaps them goes.
fn longest(mut found: Vec<Mention>) -> Vec<Mention> {
    found.sort_by_key(|mention| (mention.at.start, std::cmp::Reverse(mention.at.end)));
    let mut kept: Vec<Mention> = Vec::with_capacity(found.len());
    for mention in found {
        if kept.last().is_none_or(|last| last.at.end <= mention.at.start) {
            kept.push(mention);
        }
    }
    kept
}
