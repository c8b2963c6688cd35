//! What a story's new sighting is worth telling a sink that asks for stories and not for every sighting.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Placement;
use crate::item::Stage;

/// Why a story is told of again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "snake_case")]
pub enum Event {
    /// It begins: its first sighting.
    Begins,
    /// The talks have come to another stage.
    Stage {
        /// Where they were.
        from: Stage,
        /// Where they are.
        to: Stage,
    },
    /// Its sightings have reached one of the configured marks.
    Size {
        /// The mark.
        mark: usize,
    },
    /// For the first time, another owner than the first has it in words of its own.
    Corroborated {
        /// Owners so far.
        owners: usize,
    },
}

/// For people: "held → agreed", "25 alerts".
impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Begins => f.write_str("a new story"),
            Self::Stage { from, to } => write!(f, "{} → {}", from.name(), to.name()),
            Self::Size { mark } => write!(f, "{mark} alerts"),
            Self::Corroborated { owners } => write!(f, "confirmed by {owners} sources"),
        }
    }
}

/// The events of an alert's line, in words; those of a later program, which are not known here, are left out.
pub fn in_words(events: &[serde_json::Value]) -> Vec<String> {
    events.iter().filter_map(|event| Some(Event::deserialize(event).ok()?.to_string())).collect()
}

/// What was known of a story before a sighting. All nothing for a new one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Before {
    /// Sightings.
    pub size: usize,
    /// Owners that had it in words of their own: copies of one wire text count once.
    pub owners: usize,
    /// The last stage that was told.
    pub stage: Stage,
}

/// A sighting as far as it makes events.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct After {
    /// Its stage, [`Stage::None`] when the classifier is not sure of one.
    pub stage: Stage,
    /// Owners of the story, copies of one wire text counted once, this sighting included.
    pub owners: usize,
}

/// The events that a sighting raises, in the order in which they are told. `marks` are the sizes worth telling.
pub fn events(before: &Before, placement: &Placement, after: &After, marks: &[usize]) -> Vec<Event> {
    if placement.new {
        return vec![Event::Begins];
    }
    let mut events = Vec::new();
    // A sighting without a stage changes nothing; nor does the first stage after none count as a change of talks.
    if after.stage != Stage::None && before.stage != Stage::None && after.stage != before.stage {
        events.push(Event::Stage { from: before.stage, to: after.stage });
    }
    let passed = marks.iter().filter(|mark| before.size < **mark && placement.size >= **mark).max();
    events.extend(passed.map(|mark| Event::Size { mark: *mark }));
    if before.owners < 2 && after.owners >= 2 {
        events.push(Event::Corroborated { owners: after.owners });
    }
    events
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Identity;

    const MARKS: [usize; 3] = [3, 10, 30];

    fn placed(size: usize) -> Placement {
        let story = Identity([1; 16]);
        Placement {
            story,
            first_seen: chrono::DateTime::UNIX_EPOCH,
            size,
            sources: size,
            new: size == 1,
            events: Vec::new(),
        }
    }

    fn told(before: (usize, usize, Stage), size: usize, stage: Stage, owners: usize) -> Vec<Event> {
        let before = Before { size: before.0, owners: before.1, stage: before.2 };
        events(&before, &placed(size), &After { stage, owners }, &MARKS)
    }

    #[test]
    fn events_read_well_and_come_back_from_a_line() {
        let event = Event::Stage { from: Stage::Held, to: Stage::Agreed };
        assert_eq!(event.to_string(), "held → agreed");
        let line = serde_json::to_string(&event).unwrap();
        assert_eq!(line, r#"{"what":"stage","from":"held","to":"agreed"}"#);
        assert_eq!(serde_json::from_str::<Event>(&line).unwrap(), event);
    }

    #[test]
    fn the_first_sighting_begins_the_story_and_nothing_else() {
        assert_eq!(told((0, 0, Stage::None), 1, Stage::Held, 1), [Event::Begins]);
    }

    #[test]
    fn a_stage_is_told_when_it_changes() {
        let change = Event::Stage { from: Stage::Held, to: Stage::Agreed };
        assert_eq!(told((4, 2, Stage::Held), 5, Stage::Agreed, 3), [change]);
        assert_eq!(told((4, 2, Stage::Held), 5, Stage::Held, 3), []);
        assert_eq!(told((4, 2, Stage::Held), 5, Stage::None, 3), []);
    }

    #[test]
    fn a_mark_is_told_once_and_the_highest_of_several() {
        assert_eq!(told((2, 2, Stage::Held), 3, Stage::Held, 2), [Event::Size { mark: 3 }]);
        assert_eq!(told((3, 2, Stage::Held), 4, Stage::Held, 2), []);
        assert_eq!(told((2, 2, Stage::Held), 12, Stage::Held, 2), [Event::Size { mark: 10 }]);
    }

    #[test]
    fn the_second_owner_corroborates_and_a_copy_does_not() {
        assert_eq!(told((1, 1, Stage::Held), 2, Stage::Held, 2), [Event::Corroborated { owners: 2 }]);
        assert_eq!(told((1, 1, Stage::Held), 2, Stage::Held, 1), []);
        assert_eq!(told((5, 2, Stage::Held), 6, Stage::Held, 3), []);
    }
}
