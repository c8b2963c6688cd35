//! Whether a city is where something happens, or the government that sits there: "talks in Moscow", "Moscow says".

use super::dictionary::{Dictionary, Place, Seat, Target};
use super::scan::Mention;
use super::words::{Parts, Style, after, before, is_one_of, possessive};

/// What a city stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reading {
    Place,
    /// The state, as an index into the actors.
    Government(usize),
}

/// Reads a city by the words around it; `beside` are the mentions before and after it.
pub(super) fn read(
    dictionary: &Dictionary,
    text: &str,
    parts: &Parts,
    mention: &Mention,
    place: &Place,
    beside: [Option<&Mention>; 2],
) -> Reading {
    let Some((state, seat)) = place.seat else { return Reading::Place };
    let context = Context { dictionary, text, mention };
    let government = match seat {
        _ if context.is_dateline(parts) => false,
        _ if context.is_paired(beside) => true,
        _ if context.is_place() => false,
        Seat::Strong => true,
        Seat::Weak => context.acts(),
    };
    if government { Reading::Government(state) } else { Reading::Place }
}

struct Context<'a> {
    dictionary: &'a Dictionary,
    text: &'a str,
    mention: &'a Mention,
}

impl Context<'_> {
    /// "in Moscow", "trip to Moscow", "Moscow talks", "Moscow, Russia".
    fn is_place(&self) -> bool {
        let words = &self.dictionary.words;
        let previous = before(self.text, self.mention.at.start);
        if is_one_of(previous, &words.locative) {
            return true;
        }
        let offset = previous.as_ptr() as usize - self.text.as_ptr() as usize;
        if (previous.eq_ignore_ascii_case("to") || previous.eq_ignore_ascii_case("from"))
            && is_one_of(before(self.text, offset), &words.travel)
        {
            return true;
        }
        if is_one_of(previous, &words.travel) {
            return true;
        }
        let tail = &self.text[self.mention.at.end..];
        possessive(tail) == tail
            && tail.starts_with(' ')
            && is_one_of(after(self.text, self.mention.at.end), &words.event)
    }

    /// "MUSCAT (Agency) -", "MOSCOW:", "Geneva - "; only at the start of a summary.
    fn is_dateline(&self, parts: &Parts) -> bool {
        let at = &self.mention.at;
        if !self.text.get(parts.title..at.start).is_some_and(|head| head.trim().is_empty()) {
            return false;
        }
        let city = &self.text[at.clone()];
        let tail = self.text[at.end..].trim_start();
        let capitals = !city.chars().any(char::is_lowercase) && parts.style(at.start) != Style::Capitals;
        capitals || tail.starts_with(['(', '-', '\u{2013}', '\u{2014}', ':', '|'])
    }

    /// "Paris says", "with London", "Berlin's".
    fn acts(&self) -> bool {
        let words = &self.dictionary.words;
        is_one_of(after(self.text, self.mention.at.end), &words.act)
            || is_one_of(before(self.text, self.mention.at.start), &words.party)
    }

    /// "Paris and Moscow", "Delhi-Beijing": beside another actor, with nothing but a joint between.
    fn is_paired(&self, beside: [Option<&Mention>; 2]) -> bool {
        let [left, right] = beside;
        let joined = |from: usize, to: usize| {
            let joint = self.text.get(from..to).unwrap_or("x").trim();
            matches!(joint, "and" | "&" | "-" | "\u{2013}" | "/")
        };
        let sure = |other: &Mention| match other.target {
            Target::Actor(_) => true,
            Target::Place(index) => {
                self.dictionary.places.get(index).is_some_and(|place| matches!(place.seat, Some((_, Seat::Strong))))
            }
            _ => false,
        };
        left.is_some_and(|other| sure(other) && joined(other.at.end, self.mention.at.start) && !self.is_located(other))
            || (!self.is_located(self.mention)
                && right.is_some_and(|other| sure(other) && joined(self.mention.at.end, other.at.start)))
    }

    /// "in Moscow and Paris": where the first is a place, so is the next.
    fn is_located(&self, other: &Mention) -> bool {
        is_one_of(before(self.text, other.at.start), &self.dictionary.words.locative)
    }
}
