//! Offices that are named by whose they are: "US envoy", "the Kremlin's foreign policy aide", "l'émissaire américain".

use super::Actor;
use super::dictionary::{Dictionary, Kind, Seat, Target};
use super::judge::Naming;
use super::scan::Mention;
use super::words::is_one_of;

/// Words that may stand between whose and what ("presidential", "top nuclear"): more, and they belong to others.
const BETWEEN_WORDS: usize = 3;

/// Adds the offices of `mentions`. One whose holder is named too is not added: "US envoy Steve Witkoff" is one actor.
pub(super) fn add(dictionary: &Dictionary, text: &str, mentions: &[&Mention], named: &mut Naming) {
    for (position, mention) in mentions.iter().enumerate() {
        let Target::Role(role) = mention.target else { continue };
        let Some(role) = dictionary.roles.get(role) else { continue };
        let left = position.checked_sub(1).and_then(|at| mentions.get(at));
        let right = mentions.get(position + 1);
        let owner = left
            .filter(|whose| is_near(dictionary, &text[whose.at.end..mention.at.start]))
            .or_else(|| right.filter(|whose| is_of(dictionary, text, mention.at.end, whose)))
            .and_then(|whose| owner(dictionary, whose));
        let Some(owner) = owner.and_then(|index| dictionary.actors.get(index)) else { continue };
        let held =
            |actor: &Actor| actor.kind == role.kind && role.kind == Kind::Envoy && actor.country == owner.country;
        if named.actors.iter().any(held) {
            continue;
        }
        let whose = owner.adjective.as_deref().unwrap_or(&owner.name);
        named.add(Actor {
            name: format!("{whose} {}", role.noun),
            kind: role.kind,
            country: owner.country.clone(),
            id: format!("{}-{}", owner.id, role.id),
        });
    }
}

/// The state or body that a mention stands for here, as an index into the actors.
fn owner(dictionary: &Dictionary, mention: &Mention) -> Option<usize> {
    match mention.target {
        Target::Actor(index) => {
            let actor = dictionary.actors.get(index)?;
            matches!(actor.kind, Kind::State | Kind::Territory | Kind::Body).then_some(index)
        }
        Target::Place(index) => match dictionary.places.get(index)?.seat {
            Some((state, Seat::Strong)) => Some(state),
            _ => None,
        },
        Target::Role(_) | Target::Nothing => None,
    }
}

/// Whether nothing but a few words of rank and field stands between whose and what.
fn is_near(dictionary: &Dictionary, gap: &str) -> bool {
    if gap.contains('\n') {
        return false;
    }
    let gap = super::words::possessive(gap);
    let words: Vec<&str> = gap.split([' ', '-', '\u{a0}']).filter(|word| !word.is_empty()).collect();
    words.len() <= BETWEEN_WORDS && words.iter().all(|word| is_one_of(word, &dictionary.words.between))
}

/// Whether the owner follows: "envoy of Russia", "émissaire américain". An adjective right after the noun has no capital;
/// one with a capital begins something else.
fn is_of(dictionary: &Dictionary, text: &str, end: usize, whose: &Mention) -> bool {
    let gap = &text[end..whose.at.start];
    if gap.contains('\n') {
        return false;
    }
    let gap = gap.trim();
    let adjective = !text[whose.at.clone()].starts_with(char::is_uppercase);
    (adjective && (gap.is_empty() || is_near(dictionary, gap)))
        || matches!(gap, "of" | "of the" | "from" | "de" | "du" | "des" | "from the")
}
