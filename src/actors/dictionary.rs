//! The dictionary as data: its files' form, and what they come to when laid over each other.

use serde::{Deserialize, Serialize};
use toml::Spanned;

/// What sort of actor it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A state, by the list of ISO 3166 and Kosovo.
    State,
    /// A territory with an ISO 3166 code that is no state.
    Territory,
    /// Head of state or government, or who speaks for a group.
    Leader,
    /// Foreign or defence minister.
    Minister,
    /// Envoy, mediator, negotiator: by name, or by office ("US envoy").
    Envoy,
    /// Delegation or negotiating team that is not named.
    Delegation,
    /// International body.
    Body,
    /// Armed group, de-facto authority, movement.
    Group,
}

/// How readily a city stands for the government that sits there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Seat {
    /// Unless the words around it make it a place ("Moscow").
    Strong,
    /// Only if the words around it make it an actor ("London").
    Weak,
}

/// What becomes of a guarded alias when no cue decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Otherwise {
    /// It counts.
    Keep,
    /// It counts beside another actor that is sure.
    #[default]
    Company,
    /// It does not count.
    Drop,
}

/// One dictionary file. See the head of `config/actors/states.toml` for what each key means.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    #[serde(default)]
    pub(super) actor: Vec<ActorEntry>,
    #[serde(default)]
    pub(super) place: Vec<PlaceEntry>,
    #[serde(default)]
    pub(super) guard: Vec<Guard>,
    #[serde(default)]
    pub(super) role: Vec<Role>,
    #[serde(default)]
    pub(super) ignore: Vec<Spanned<String>>,
    #[serde(default)]
    pub(super) words: Words,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ActorEntry {
    pub id: Spanned<String>,
    pub name: Option<String>,
    pub kind: Option<Kind>,
    pub country: Option<Spanned<String>>,
    /// "Russian" in "Russian envoy", for offices without a name.
    pub adjective: Option<String>,
    #[serde(default)]
    pub aliases: Vec<Spanned<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PlaceEntry {
    pub name: Spanned<String>,
    pub country: Option<Spanned<String>>,
    /// Who sits there, if not the government of its country.
    pub of: Option<Spanned<String>>,
    pub seat: Option<Seat>,
    #[serde(default)]
    pub aliases: Vec<Spanned<String>>,
}

/// When an alias with other meanings counts.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Guard {
    pub(super) aliases: Vec<Spanned<String>>,
    /// Words anywhere in the text that speak for the actor.
    #[serde(default)]
    pub(super) with: Vec<String>,
    /// Words anywhere in the text that speak against it.
    #[serde(default)]
    pub(super) without: Vec<String>,
    /// Words right before or after that make it something else.
    #[serde(default)]
    pub(super) before: Vec<String>,
    #[serde(default)]
    pub(super) after: Vec<String>,
    /// Whether it is a first or last name too: a capitalised stranger beside it makes it one.
    #[serde(default)]
    pub(super) name: bool,
    #[serde(default)]
    pub(super) otherwise: Otherwise,
}

/// An office that is named by what it is and whose it is: "Russian delegation".
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub(super) id: String,
    pub(super) kind: Kind,
    /// English word of the name ("envoy").
    pub(super) noun: String,
    pub(super) words: Vec<String>,
}

/// Word lists of the rules.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// Names that are ordinary words but for their capitals: "US", "WHO".
    #[serde(default)]
    pub(super) shouted: Vec<String>,
    /// After one of these, what only a name can have: "envoy", "troops".
    #[serde(default)]
    pub(super) official: Vec<String>,
    /// Before a place: "in", "at".
    #[serde(default)]
    pub(super) locative: Vec<String>,
    /// Before a state where something happens: "in".
    #[serde(default)]
    pub(super) inside: Vec<String>,
    /// Before "to" and a place: "trip", "flew".
    #[serde(default)]
    pub(super) travel: Vec<String>,
    /// After a place that gives something its name: "talks", "summit".
    #[serde(default)]
    pub(super) event: Vec<String>,
    /// After a government: "says", "rejects".
    #[serde(default)]
    pub(super) act: Vec<String>,
    /// Before a government: "with", "between".
    #[serde(default)]
    pub(super) party: Vec<String>,
    /// After a comma that follows a town of that name elsewhere: "Pennsylvania".
    #[serde(default)]
    pub(super) elsewhere: Vec<String>,
    /// What may stand between whose and what: "presidential", "chief".
    #[serde(default)]
    pub(super) between: Vec<String>,
    /// Titles before a name, no part of it: "King", "President".
    #[serde(default)]
    pub(super) title: Vec<String>,
    /// Words of sport: two of them, and states are teams.
    #[serde(default)]
    pub(super) sport: Vec<String>,
    /// Words of public affairs: one of them outweighs sport.
    #[serde(default)]
    pub(super) affairs: Vec<String>,
}

impl Words {
    pub(super) fn extend(&mut self, other: Self) {
        self.shouted.extend(other.shouted);
        self.official.extend(other.official);
        self.locative.extend(other.locative);
        self.inside.extend(other.inside);
        self.travel.extend(other.travel);
        self.event.extend(other.event);
        self.act.extend(other.act);
        self.party.extend(other.party);
        self.elsewhere.extend(other.elsewhere);
        self.between.extend(other.between);
        self.title.extend(other.title);
        self.sport.extend(other.sport);
        self.affairs.extend(other.affairs);
    }
}

/// An actor of the dictionary.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub id: String,
    pub name: String,
    pub kind: Kind,
    pub country: Option<String>,
    pub adjective: Option<String>,
}

/// A place of the dictionary.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub name: String,
    /// Who sits there, as an index into the actors, and how readily the place stands for it.
    pub seat: Option<(usize, Seat)>,
}

/// What an alias stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Target {
    Actor(usize),
    Place(usize),
    Role(usize),
    /// Nothing: a phrase that hides shorter aliases.
    Nothing,
}

/// All files together.
#[derive(Debug, Default)]
pub struct Dictionary {
    pub(super) actors: Vec<Entry>,
    pub(super) places: Vec<Place>,
    pub(super) roles: Vec<Role>,
    pub(super) guards: Vec<Guard>,
    pub(super) words: Words,
    /// Alias and what it stands for; no alias twice.
    pub(super) aliases: Vec<(String, Target)>,
}
