//! What a sink that asks for stories is told of an alert. Pure: it looks at the line and at where the sink heard of the story
//! first.

use serde::Deserialize;
use serde::de::IgnoredAny;

/// Which alerts of a story a sink gets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stories {
    /// Each.
    #[default]
    All,
    /// The first, and those that change the story: as lines of their own schema.
    First,
}

/// What is told of one alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Telling {
    /// The alert: with it the story begins for this sink.
    Alert,
    /// What it changed.
    Update,
    /// Nothing: it is one more of its story.
    Nothing,
}

/// A line's story, as far as it decides; lines of an older program have none.
#[derive(Debug, Deserialize)]
struct Line {
    story: Story,
}

#[derive(Debug, Deserialize)]
struct Story {
    id: String,
    #[serde(default)]
    events: Vec<IgnoredAny>,
}

/// An alert as a part of its story.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InStory {
    /// The story's id.
    pub id: String,
    /// Whether the alert changed it.
    pub changed: bool,
}

impl InStory {
    /// That of a `line`; `None` for one without a story.
    pub fn of(line: &str) -> Option<Self> {
        let Line { story } = serde_json::from_str(line).ok()?;
        Some(Self { id: story.id, changed: !story.events.is_empty() })
    }

    /// What is told of it, when its story begins with it for the sink (`is_first`) or has begun before.
    pub fn telling(&self, is_first: bool) -> Telling {
        match (is_first, self.changed) {
            (true, _) => Telling::Alert,
            (false, true) => Telling::Update,
            (false, false) => Telling::Nothing,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn telling(line: &str, is_first: bool) -> Telling {
        InStory::of(line).unwrap().telling(is_first)
    }

    #[test]
    fn the_first_is_told_then_what_changes_the_story_and_nothing_else() {
        let changes = r#"{"story":{"id":"s","events":[{"what":"size","mark":5}]}}"#;
        let one_more = r#"{"story":{"id":"s","events":[]}}"#;
        assert_eq!(telling(one_more, true), Telling::Alert);
        assert_eq!(telling(changes, false), Telling::Update);
        assert_eq!(telling(one_more, false), Telling::Nothing);
    }

    #[test]
    fn a_line_without_a_story_is_in_none() {
        for line in ["{}", "not a line", r#"{"story":null}"#] {
            assert_eq!(InStory::of(line), None);
        }
    }
}
