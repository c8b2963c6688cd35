//! A text as terms: hashed words, with the actors and places that it names as terms of their own.

use std::collections::{BTreeMap, HashSet};
use std::sync::LazyLock;

use chrono::{DateTime, Utc};

use crate::actors::{Kind, Named};
use crate::item::{Embedding, Identity, Stage};

/// Bytes of the summary that count: the first sentences tell the event, what follows is background, which different
/// events share.
const SUMMARY_BYTES: usize = 400;

/// A word of the title counts as this many of the summary.
const TITLE_WEIGHT: f32 = 2.0;

/// An actor or a place counts as this many words of the summary; states less, since the same few are in most of the
/// news. More, and two talks of the same parties are one story; less, and translations drift apart.
const ACTOR_WEIGHT: f32 = 2.0;
const STATE_WEIGHT: f32 = 1.2;
const PLACE_WEIGHT: f32 = 2.5;

/// Two parties together tell talks better than each alone: "US and Iran", whoever speaks for them.
const PARTY_WEIGHT: f32 = 1.0;
const PAIR_WEIGHT: f32 = 2.0;

/// Parties that count, the first named. More, and those named in passing make pairs that say nothing.
const PARTIES: usize = 3;

/// Shorter words carry no event.
const MIN_CHARS: usize = 3;

/// Words that are in the news of any talks, or in any news.
const COMMON: &str = " the and for with that this from has have had was were are will would could should been being its \
    his her their they them who whom which what when where why how after before over under into onto about amid \
    between against during while than then also more most some any all not but out off per via new news says said say \
    talks talk deal deals agreement peace meeting meet meets met summit president minister foreign prime leader leaders \
    official officials government state states country countries war plan first second day days week weeks month year \
    years monday tuesday wednesday thursday friday saturday sunday today live update updates latest report reports \
    reported according told statement can may might must one two three just back still ahead end set make made take \
    takes taken call calls called hold holds held come comes ";

/// A sparse vector: hashed term and weight, by rising term.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Vector(pub Vec<(u32, f32)>);

impl Vector {
    /// The terms of a text and of what it names.
    pub fn of(title: &str, summary: &str, named: &Named) -> Self {
        let mut terms = BTreeMap::new();
        words(title, TITLE_WEIGHT, &mut terms);
        words(crate::classify::lead(summary, SUMMARY_BYTES), 1.0, &mut terms);
        for actor in &named.actors {
            let weight = if actor.kind == Kind::State { STATE_WEIGHT } else { ACTOR_WEIGHT };
            terms.insert(term("actor", &actor.id), weight);
        }
        for place in &named.places {
            terms.insert(term("place", place), PLACE_WEIGHT);
        }
        let parties = parties(named);
        for (position, one) in parties.iter().enumerate() {
            terms.insert(term("party", one), PARTY_WEIGHT);
            for other in parties.iter().skip(position + 1) {
                let (first, second) = if one < other { (one, other) } else { (other, one) };
                terms.insert(term("pair", &format!("{first} {second}")), PAIR_WEIGHT);
            }
        }
        Self(terms.into_iter().collect())
    }
}

impl Vector {
    /// As the store keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0.iter().flat_map(|(term, weight)| [term.to_le_bytes(), weight.to_le_bytes()]).flatten().collect()
    }

    /// What [`Vector::to_bytes`] gave; bytes at the end that are no term are left out.
    pub fn from_bytes(bytes: &[u8]) -> Self {
        let (terms, _) = bytes.as_chunks::<8>();
        let term = |[a, b, c, d, e, f, g, h]: &[u8; 8]| {
            (u32::from_le_bytes([*a, *b, *c, *d]), f32::from_le_bytes([*e, *f, *g, *h]))
        };
        Self(terms.iter().map(term).collect())
    }
}

/// Who sits at the table, as far as the text tells: the states of the actors named first, or groups and bodies.
fn parties(named: &Named) -> Vec<&str> {
    let mut parties: Vec<&str> = Vec::with_capacity(PARTIES);
    for actor in &named.actors {
        let party = match actor.kind {
            Kind::Group | Kind::Body => actor.id.as_str(),
            _ => actor.country.as_deref().unwrap_or(&actor.id),
        };
        if parties.len() < PARTIES && !parties.contains(&party) {
            parties.push(party);
        }
    }
    parties
}

/// Adds the words of `text`; one that comes again counts no more, so that length does not tell.
fn words(text: &str, weight: f32, terms: &mut BTreeMap<u32, f32>) {
    for word in text.split(|c: char| !c.is_alphanumeric() && c != '-').filter(|word| word.chars().count() >= MIN_CHARS)
    {
        let word = word.to_lowercase();
        if is_common(&word) {
            continue;
        }
        let known = terms.entry(term("word", stem(&word))).or_insert(0.0);
        *known = known.max(weight);
    }
}

fn is_common(word: &str) -> bool {
    static COMMON_WORDS: LazyLock<HashSet<&str>> = LazyLock::new(|| COMMON.split_ascii_whitespace().collect());
    COMMON_WORDS.contains(word)
}

/// A word without the commonest English endings: enough for "reject", "rejects" and "rejected" to meet.
fn stem(word: &str) -> &str {
    ["ing", "ed", "es", "s"]
        .iter()
        .find_map(|ending| word.strip_suffix(ending).filter(|stem| stem.chars().count() > MIN_CHARS))
        .unwrap_or(word)
}

/// The hash of a term; `kind` keeps a word and an actor of the same spelling apart.
fn term(kind: &str, text: &str) -> u32 {
    let [a, b, c, d, ..] = Identity::of(&[kind, text]).0;
    u32::from_le_bytes([a, b, c, d])
}

/// An alert as the stories see it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Sighting {
    /// The item's identity.
    pub item: Identity,
    /// When it was published.
    pub at: DateTime<Utc>,
    /// Who carried it: the registrable domain of the article, or else of the feed, so that an owner's feeds count once.
    pub owner: String,
    /// The stage it tells of, [`Stage::None`] when the classifier is not sure of one.
    pub stage: Stage,
    /// The simhash of its text, if that is long enough for one.
    pub print: Option<u64>,
    /// What the transformer makes of its text; the linear model makes nothing.
    pub embedding: Option<Embedding>,
    /// Its terms.
    pub vector: Vector,
}
