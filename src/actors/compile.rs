//! The automaton: every alias, role and cue in one, so that a text is read once whatever the dictionary's size.

use std::collections::{BTreeMap, HashMap};

use aho_corasick::{AhoCorasick, BuildError};

use super::dictionary::{Dictionary, Target};

/// Ends an alias that may be inflected ("российск~").
const INFLECTED: char = '~';

/// What a word says about how to read others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Cue {
    /// For the aliases of a guard.
    With(usize),
    /// Against them.
    Without(usize),
    Sport,
    Affairs,
}

/// One string that the automaton finds.
#[derive(Debug, Default)]
pub(super) struct Surface {
    pub text: String,
    /// Whether a few letters may follow.
    pub inflected: bool,
    pub target: Option<Target>,
    /// The guard on it, by index.
    pub guard: Option<usize>,
    pub cues: Vec<Cue>,
}

/// The automaton and what its patterns mean.
#[derive(Debug)]
pub struct Compiled {
    pub(super) automaton: AhoCorasick,
    pub(super) surfaces: Vec<Surface>,
}

impl Compiled {
    pub(super) fn new(dictionary: &Dictionary) -> Result<Self, BuildError> {
        let mut surfaces = BTreeMap::new();
        aliases(dictionary, &mut surfaces);
        cues(dictionary, &mut surfaces);
        let surfaces: Vec<Surface> = surfaces.into_values().collect();
        // The kind that reports every match: the longest may end inside a word where a shorter one is right.
        let automaton =
            AhoCorasick::builder().ascii_case_insensitive(true).build(surfaces.iter().map(|surface| &surface.text))?;
        Ok(Self { automaton, surfaces })
    }
}

fn aliases(dictionary: &Dictionary, surfaces: &mut BTreeMap<String, Surface>) {
    let guards: HashMap<&str, usize> = dictionary
        .guards
        .iter()
        .enumerate()
        .flat_map(|(index, guard)| guard.aliases.iter().map(move |alias| (alias.get_ref().as_str(), index)))
        .collect();
    for (alias, target) in &dictionary.aliases {
        let inflected = alias.ends_with(INFLECTED);
        let text = alias.trim_end_matches(INFLECTED);
        let guard = guards.get(alias.as_str()).copied();
        for text in spellings(text) {
            let surface = surfaces.entry(text.clone()).or_insert_with(|| Surface { text, ..Surface::default() });
            surface.inflected |= inflected;
            surface.target = surface.target.or(Some(*target));
            surface.guard = surface.guard.or(guard);
        }
    }
}

fn cues(dictionary: &Dictionary, surfaces: &mut BTreeMap<String, Surface>) {
    let mut add = |word: &str, cue: Cue| {
        let text = word.to_owned();
        surfaces.entry(text.clone()).or_insert_with(|| Surface { text, ..Surface::default() }).cues.push(cue);
    };
    for (index, guard) in dictionary.guards.iter().enumerate() {
        guard.with.iter().for_each(|word| add(word, Cue::With(index)));
        guard.without.iter().for_each(|word| add(word, Cue::Without(index)));
    }
    dictionary.words.sport.iter().for_each(|word| add(word, Cue::Sport));
    dictionary.words.affairs.iter().for_each(|word| add(word, Cue::Affairs));
}

/// A text, and in capitals where the automaton, which knows the case of ASCII alone, would not see it.
fn spellings(text: &str) -> Vec<String> {
    let mut all = vec![text.to_owned()];
    if !text.is_ascii() && text.to_uppercase() != text {
        all.push(text.to_uppercase());
    }
    all
}
