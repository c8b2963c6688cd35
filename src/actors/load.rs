//! Lays dictionary files over each other; whatever is wrong with them is reported with file and line, all at once.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use thiserror::Error;
use toml::Spanned;

use super::dictionary::{ActorEntry, Dictionary, Entry, File, Kind, Place, PlaceEntry, Target};
use crate::config::Problem;

/// The files in the binary.
const BUILT_IN: [(&str, &str); 5] = [
    ("config/actors/states.toml", include_str!("../../config/actors/states.toml")),
    ("config/actors/people.toml", include_str!("../../config/actors/people.toml")),
    ("config/actors/bodies.toml", include_str!("../../config/actors/bodies.toml")),
    ("config/actors/places.toml", include_str!("../../config/actors/places.toml")),
    ("config/actors/rules.toml", include_str!("../../config/actors/rules.toml")),
];

/// Why there is no dictionary.
#[derive(Debug, Error)]
pub enum DictionaryError {
    /// A file cannot be read.
    #[error("read the dictionary {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// Entries are wrong.
    #[error("use the dictionary: {}", lines(.0))]
    Wrong(Vec<Problem>),
    /// The aliases are too many for an automaton.
    #[error("compile the dictionary: {0}")]
    Automaton(String),
}

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n  ")
}

/// A dictionary file: its name for messages, and its text.
#[derive(Debug, Clone)]
pub struct Source {
    /// What problems call it.
    pub name: String,
    /// TOML.
    pub text: String,
}

impl Source {
    /// Reads a file.
    ///
    /// # Errors
    /// [`DictionaryError::Unreadable`].
    pub fn read(path: &Path) -> Result<Self, DictionaryError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| DictionaryError::Unreadable { path: path.to_owned(), source })?;
        Ok(Self { name: path.display().to_string(), text })
    }
}

/// The built-in files with `sources` over them.
pub(super) fn dictionary(sources: &[Source]) -> Result<Dictionary, DictionaryError> {
    let mut loader = Loader::default();
    for (name, text) in BUILT_IN {
        loader.file(name, text);
    }
    for source in sources {
        loader.file(&source.name, &source.text);
    }
    loader.finish()
}

/// An alias, where it stands and what it means.
struct Alias {
    target: Target,
    place: String,
}

#[derive(Default)]
struct Loader {
    dictionary: Dictionary,
    /// Actors by id.
    by_id: HashMap<String, usize>,
    /// Places by name.
    by_name: HashMap<String, usize>,
    aliases: HashMap<String, Alias>,
    problems: Vec<Problem>,
}

/// One file as it is being laid over.
struct Page<'a> {
    name: &'a str,
    /// Where lines end.
    ends: Vec<usize>,
}

impl<'a> Page<'a> {
    fn new(name: &'a str, text: &str) -> Self {
        Self { name, ends: text.match_indices('\n').map(|(at, _)| at).collect() }
    }

    fn place(&self, offset: usize) -> String {
        format!("{}:{}", self.name, self.ends.partition_point(|end| *end < offset) + 1)
    }

    fn of<T>(&self, value: &Spanned<T>) -> String {
        self.place(value.span().start)
    }
}

impl Loader {
    fn file(&mut self, name: &str, text: &str) {
        let page = Page::new(name, text);
        let file: File = match toml::from_str(text) {
            Ok(file) => file,
            Err(error) => {
                let place = page.place(error.span().map_or(0, |span| span.start));
                return self.problem(place, error.message().trim().to_owned());
            }
        };
        let owners: Vec<Option<usize>> = file.actor.iter().map(|entry| self.actor(&page, entry)).collect();
        for (entry, owner) in file.actor.iter().zip(owners) {
            let Some(owner) = owner else { continue };
            self.country(&page, entry, owner);
            self.take(&page, &entry.aliases, Target::Actor(owner));
        }
        for entry in file.place {
            self.place(&page, &entry);
        }
        for guard in file.guard {
            self.guarded(&page, &guard.aliases);
            self.dictionary.guards.push(guard);
        }
        for role in file.role {
            self.dictionary.roles.push(role);
        }
        for phrase in &file.ignore {
            let alias = Alias { target: Target::Nothing, place: page.of(phrase) };
            self.aliases.insert(phrase.get_ref().clone(), alias);
        }
        self.dictionary.words.extend(file.words);
    }

    /// The actor of an entry: a new one, or the known one whose aliases it extends.
    fn actor(&mut self, page: &Page<'_>, entry: &ActorEntry) -> Option<usize> {
        let id = entry.id.get_ref();
        let known = self.by_id.get(id).copied();
        match (known, &entry.name, entry.kind) {
            (Some(known), None, _) => Some(known),
            (Some(known), Some(_), _) => {
                let name = self.dictionary.actors.get(known).map_or("", |actor| &actor.name).to_owned();
                self.problem(
                    page.of(&entry.id),
                    format!(
                        "the id `{id}` is taken by {name}; leave out `name` to add aliases to it, or choose another id"
                    ),
                );
                None
            }
            (None, Some(name), Some(kind)) => self.new_actor(page, entry, name, kind),
            (None, ..) => {
                let nearest = self.nearest(id);
                self.problem(
                    page.of(&entry.id),
                    format!("no actor has the id `{id}`{nearest}; a new one needs `name` and `kind`"),
                );
                None
            }
        }
    }

    fn new_actor(&mut self, page: &Page<'_>, entry: &ActorEntry, name: &str, kind: Kind) -> Option<usize> {
        let id = entry.id.get_ref();
        // The built-in list holds every code there is.
        let invented = matches!(kind, Kind::State | Kind::Territory) && !is_built_in(page.name);
        if invented || !is_id(id) {
            let nearest = self.nearest(id);
            let form =
                if invented { "is no ISO 3166-1 alpha-3 code" } else { "is no id: write letters, digits and hyphens" };
            self.problem(page.of(&entry.id), format!("`{id}` {form}{nearest}"));
            return None;
        }
        let own = matches!(kind, Kind::State | Kind::Territory).then(|| id.clone());
        let index = self.dictionary.actors.len();
        self.by_id.insert(id.clone(), index);
        self.dictionary.actors.push(Entry {
            id: id.clone(),
            name: name.to_owned(),
            kind,
            country: own,
            adjective: entry.adjective.clone(),
        });
        Some(index)
    }

    /// Gives an actor its country, once all ids of the file are known.
    fn country(&mut self, page: &Page<'_>, entry: &ActorEntry, owner: usize) {
        let Some(country) = &entry.country else { return };
        if self.state(page, country).is_some()
            && let Some(actor) = self.dictionary.actors.get_mut(owner)
        {
            actor.country = Some(country.get_ref().clone());
        }
    }

    /// The state of a code.
    fn state(&mut self, page: &Page<'_>, code: &Spanned<String>) -> Option<usize> {
        let known = self.by_id.get(code.get_ref()).copied();
        let state = known.filter(|index| {
            let kind = self.dictionary.actors.get(*index).map(|actor| actor.kind);
            matches!(kind, Some(Kind::State | Kind::Territory))
        });
        if state.is_none() {
            let nearest = self.nearest(code.get_ref());
            self.problem(page.of(code), format!("no state has the code `{}`{nearest}", code.get_ref()));
        }
        state
    }

    /// The actor of an id.
    fn known(&mut self, page: &Page<'_>, id: &Spanned<String>) -> Option<usize> {
        let known = self.by_id.get(id.get_ref()).copied();
        if known.is_none() {
            let nearest = self.nearest(id.get_ref());
            self.problem(page.of(id), format!("no actor has the id `{}`{nearest}", id.get_ref()));
        }
        known
    }

    fn place(&mut self, page: &Page<'_>, entry: &PlaceEntry) {
        let country = entry.country.as_ref().and_then(|code| self.state(page, code));
        let sits = entry.of.as_ref().map_or(country, |id| self.known(page, id));
        let name = entry.name.get_ref();
        let index = *self.by_name.entry(name.clone()).or_insert_with(|| {
            let seat = sits.zip(entry.seat);
            self.dictionary.places.push(Place { name: name.clone(), seat });
            self.dictionary.places.len() - 1
        });
        self.take(page, &entry.aliases, Target::Place(index));
    }

    fn take(&mut self, page: &Page<'_>, aliases: &[Spanned<String>], target: Target) {
        for alias in aliases {
            let place = page.of(alias);
            let text = alias.get_ref();
            if text.trim().is_empty() || text.trim() != text {
                self.problem(place, format!("the alias \"{text}\" is empty or has spaces around it"));
                continue;
            }
            match self.aliases.get(text) {
                Some(other) if other.target == target || other.target == Target::Nothing => {}
                Some(other) => {
                    let message = format!(
                        "the alias \"{text}\" of {} is also one of {} ({}); keep it at one of them",
                        self.name(target),
                        self.name(other.target),
                        other.place
                    );
                    self.problem(place, message);
                }
                None => {
                    self.aliases.insert(text.clone(), Alias { target, place });
                }
            }
        }
    }

    /// A guard on what is no alias guards nothing: a typo.
    fn guarded(&mut self, page: &Page<'_>, aliases: &[Spanned<String>]) {
        for alias in aliases {
            if !self.aliases.contains_key(alias.get_ref()) {
                self.problem(
                    page.of(alias),
                    format!("nothing has the alias \"{}\" that is guarded here", alias.get_ref()),
                );
            }
        }
    }

    fn name(&self, target: Target) -> String {
        match target {
            Target::Actor(index) => self.dictionary.actors.get(index).map(|actor| actor.id.clone()),
            Target::Place(index) => self.dictionary.places.get(index).map(|place| place.name.clone()),
            Target::Role(_) | Target::Nothing => None,
        }
        .unwrap_or_default()
    }

    fn nearest(&self, wrong: &str) -> String {
        let known = self.dictionary.actors.iter().map(|actor| actor.id.as_str());
        crate::config::nearest(wrong, known).map_or(String::new(), |right| format!("; did you mean `{right}`?"))
    }

    fn problem(&mut self, place: String, message: String) {
        self.problems.push(Problem { place, message });
    }

    fn finish(mut self) -> Result<Dictionary, DictionaryError> {
        if !self.problems.is_empty() {
            return Err(DictionaryError::Wrong(self.problems));
        }
        self.dictionary.aliases = self.aliases.into_iter().map(|(text, alias)| (text, alias.target)).collect();
        let roles = self.dictionary.roles.iter().enumerate();
        let words =
            roles.flat_map(|(index, role)| role.words.iter().map(move |word| (word.clone(), Target::Role(index))));
        self.dictionary.aliases.extend(words);
        // The order of a hash map would make two compilations differ.
        self.dictionary.aliases.sort_by(|a, b| a.0.cmp(&b.0));
        Ok(self.dictionary)
    }
}

fn is_built_in(name: &str) -> bool {
    BUILT_IN.iter().any(|(built_in, _)| *built_in == name)
}

fn is_id(id: &str) -> bool {
    !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}
