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

/// The story of a line, by its id; `None` for a line without one.
pub fn story_of(line: &str) -> Option<String> {
    serde_json::from_str::<Line>(line).ok().map(|line| line.story.id)
}

/// What is told of the alert with this `line`, when its story begins with it for the sink (`is_first`) or has begun before.
pub fn telling(line: &str, is_first: bool) -> Telling {
    match serde_json::from_str::<Line>(line) {
        Ok(line) if !is_first && line.story.events.is_empty() => Telling::Nothing,
        Ok(_) if !is_first => Telling::Update,
        _ => Telling::Alert,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_is_told_then_what_changes_the_story_and_nothing_else() {
        let changes = r#"{"story":{"id":"s","events":[{"what":"size","mark":5}]}}"#;
        let one_more = r#"{"story":{"id":"s","events":[]}}"#;
        assert_eq!(telling(one_more, true), Telling::Alert);
        assert_eq!(telling(changes, false), Telling::Update);
        assert_eq!(telling(one_more, false), Telling::Nothing);
    }

    #[test]
    fn a_line_without_a_story_is_telling() {
        for line in ["{}", "not a line", r#"{"story":null}"#] {
            assert_eq!((telling(line, false), story_of(line)), (Telling::Alert, None));
        }
    }
}
