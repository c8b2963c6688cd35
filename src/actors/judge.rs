//! What the mentions of a text come to: guards on ambiguous aliases, cities that are governments or places, offices
//! without a name, teams that bear a state's name.

use std::collections::HashSet;

use super::compile::Cue;
use super::dictionary::{Dictionary, Entry, Guard, Kind, Otherwise, Target};
use super::roles;
use super::scan::{Mention, Scan};
use super::seats::{self, Reading};
use super::words::{Style, after, before, is_capitalised, is_one_of};
use super::{Actor, Named};

/// Words of sport from which on a state is a team, unless a word of public affairs stands beside them.
const SPORT_WORDS: usize = 2;

/// What a text names.
pub(super) fn settle(dictionary: &Dictionary, text: &str, mut scan: Scan) -> Named {
    scan.mentions.retain(|mention| !is_elsewhere(dictionary, text, mention));
    let judge = Judge { dictionary, text, scan: &scan };
    let kept: Vec<&Mention> = scan.mentions.iter().filter(|mention| judge.stands(mention)).collect();
    let mut named = Naming::default();
    for (position, mention) in kept.iter().enumerate() {
        let neighbour = |step: isize| position.checked_add_signed(step).and_then(|at| kept.get(at)).copied();
        match mention.target {
            Target::Actor(index) => {
                named.actor(&dictionary.actors, index, mention);
                if let Some(state) = judge.state_within(mention, index) {
                    named.actor(&dictionary.actors, state, mention);
                }
                if judge.is_venue(mention, index) {
                    named.place(dictionary.actors.get(index).map_or("", |actor| &actor.name), mention);
                }
            }
            Target::Place(index) => {
                let Some(place) = dictionary.places.get(index) else { continue };
                match seats::read(dictionary, text, &scan.parts, mention, place, [neighbour(-1), neighbour(1)]) {
                    Reading::Place => named.place(&place.name, mention),
                    Reading::Government(state) => named.actor(&dictionary.actors, state, mention),
                }
            }
            Target::Role(_) | Target::Nothing => {}
        }
    }
    roles::add(dictionary, text, &kept, &mut named);
    if scan.sport >= SPORT_WORDS && scan.affairs == 0 {
        named.actors.retain(|actor| !matches!(actor.kind, Kind::State | Kind::Territory));
    }
    Named { actors: named.actors, places: named.places, spans: named.spans }
}

/// What has been named so far, each once.
#[derive(Debug, Default)]
pub(super) struct Naming {
    pub actors: Vec<Actor>,
    ids: HashSet<String>,
    places: Vec<String>,
    spans: Vec<std::ops::Range<usize>>,
}

impl Naming {
    fn actor(&mut self, actors: &[Entry], index: usize, mention: &Mention) {
        let Some(entry) = actors.get(index) else { return };
        self.spans.push(mention.at.clone());
        self.spans.dedup();
        self.add(Actor {
            name: entry.name.clone(),
            kind: entry.kind,
            country: entry.country.clone(),
            id: entry.id.clone(),
        });
    }

    pub fn add(&mut self, actor: Actor) {
        if self.ids.insert(actor.id.clone()) {
            self.actors.push(actor);
        }
    }

    fn place(&mut self, name: &str, mention: &Mention) {
        self.spans.push(mention.at.clone());
        self.spans.dedup();
        if !self.places.iter().any(|known| known == name) {
            self.places.push(name.to_owned());
        }
    }
}

struct Judge<'a> {
    dictionary: &'a Dictionary,
    text: &'a str,
    scan: &'a Scan,
}

impl Judge<'_> {
    /// Whether a mention is what its alias says.
    fn stands(&self, mention: &Mention) -> bool {
        if mention.target == Target::Nothing {
            return false;
        }
        if self.is_shouted(mention) {
            return false;
        }
        let Some((index, guard)) = mention.guard.and_then(|index| Some((index, self.dictionary.guards.get(index)?)))
        else {
            return true;
        };
        if self.is_other(guard, mention) {
            return false;
        }
        if self.scan.cues.contains(&Cue::With(index)) {
            return true;
        }
        if self.scan.cues.contains(&Cue::Without(index)) || (guard.name && self.is_in_name(mention)) {
            return false;
        }
        match guard.otherwise {
            Otherwise::Keep => true,
            Otherwise::Drop => false,
            Otherwise::Company => self.has_company(mention),
        }
    }

    /// Whether capitals may have made a name of an ordinary word: "THEY TOLD US", but not "US ENVOY".
    fn is_shouted(&self, mention: &Mention) -> bool {
        let words = &self.dictionary.words;
        let capitals = self.scan.parts.style(mention.at.start) == Style::Capitals;
        if !capitals || !is_one_of(&self.text[mention.at.clone()], &words.shouted) {
            return false;
        }
        let next = after(self.text, mention.at.end);
        let hyphen = self.text[mention.at.end..].starts_with('-') || self.text[..mention.at.start].ends_with('-');
        let office = self.dictionary.roles.iter().any(|role| is_one_of(next, &role.words));
        let lists = [&words.official, &words.event, &words.act];
        !hyphen && !office && !lists.iter().any(|list| is_one_of(next, list))
    }

    /// Whether the words beside it make it something else.
    fn is_other(&self, guard: &Guard, mention: &Mention) -> bool {
        is_one_of(before(self.text, mention.at.start), &guard.before)
            || is_one_of(after(self.text, mention.at.end), &guard.after)
    }

    /// Whether a capitalised stranger beside it makes it part of a person's name. Headlines in which every word has a
    /// capital tell nothing.
    fn is_in_name(&self, mention: &Mention) -> bool {
        if self.scan.parts.style(mention.at.start) != Style::Sentence {
            return false;
        }
        let possessive = self.text[mention.at.end..].starts_with(['\'', '\u{2019}']);
        let next = after(self.text, mention.at.end);
        let previous = before(self.text, mention.at.start);
        let is_stranger = |word: &str, start: usize| {
            is_capitalised(word)
                && word.chars().skip(1).any(char::is_lowercase)
                && !is_one_of(word, &self.dictionary.words.title)
                && !self.scan.mentions.iter().any(|other| other.at.contains(&start))
        };
        let offset = |word: &str| word.as_ptr() as usize - self.text.as_ptr() as usize;
        let begins_sentence = |word: &str| before(self.text, offset(word)).is_empty();
        (!possessive && is_stranger(next, offset(next)))
            || (is_stranger(previous, offset(previous)) && !(begins_sentence(previous) && self.is_common(previous)))
    }

    /// Whether a word that begins a sentence is an ordinary one.
    fn is_common(&self, word: &str) -> bool {
        let words = &self.dictionary.words;
        is_one_of(word, &words.locative) || is_one_of(word, &words.party) || is_one_of(word, &words.act)
    }

    /// Whether the text is about public affairs: another actor that is sure, a word of diplomacy, or an act of state.
    fn has_company(&self, mention: &Mention) -> bool {
        let is_sure = |guard: Option<usize>| {
            let guard = guard.and_then(|index| self.dictionary.guards.get(index));
            guard.is_none_or(|guard| guard.otherwise == Otherwise::Keep)
        };
        self.scan.affairs > 0
            || is_one_of(after(self.text, mention.at.end), &self.dictionary.words.act)
            || self.scan.mentions.iter().any(|other| {
                is_sure(other.guard) && matches!(other.target, Target::Actor(_)) && other.target != mention.target
            })
    }

    /// The state that is named within the name of its group: "Sudan's army" is Sudan too.
    fn state_within(&self, mention: &Mention, group: usize) -> Option<usize> {
        let actors = &self.dictionary.actors;
        let group = actors.get(group).filter(|group| group.kind == Kind::Group)?;
        let written = &self.text[mention.at.clone()];
        let state = actors.iter().position(|actor| Some(&actor.id) == group.country.as_ref())?;
        let named = |name: &str| written.contains(name) && written != group.name;
        actors
            .get(state)
            .is_some_and(|actor| named(&actor.name) || actor.adjective.as_deref().is_some_and(named))
            .then_some(state)
    }

    /// Whether a state is where something happens, besides being named.
    fn is_venue(&self, mention: &Mention, actor: usize) -> bool {
        let kind = self.dictionary.actors.get(actor).map(|actor| actor.kind);
        // A demonym is followed by what it qualifies: "in Russian hands".
        let name = self.dictionary.actors.get(actor).is_some_and(|actor| actor.name == self.text[mention.at.clone()]);
        name && matches!(kind, Some(Kind::State | Kind::Territory))
            && is_one_of(before(self.text, mention.at.start), &self.dictionary.words.inside)
    }
}

/// Whether it is a town of that name in another country: "Lebanon, Pennsylvania".
fn is_elsewhere(dictionary: &Dictionary, text: &str, mention: &Mention) -> bool {
    let Some(tail) = text[mention.at.end..].strip_prefix(", ") else { return false };
    let tail = tail.trim_start();
    dictionary.words.elsewhere.iter().any(|state| {
        tail.strip_prefix(state.as_str()).is_some_and(|rest| !rest.chars().next().is_some_and(char::is_alphanumeric))
    })
}
