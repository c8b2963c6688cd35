//! Section `[stories]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::time::Duration;

use chrono::TimeDelta;
use serde::Deserialize;

use super::stories::Terms;

/// A longer window is no story any more, and its sightings are kept in memory.
const LONGEST_WINDOW: Duration = Duration::from_secs(90 * 86_400);

/// When alerts are of one story, and what is told of it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoriesConfig {
    /// Longest silence within a story.
    #[serde(with = "humantime_serde")]
    pub window: Duration,
    /// Least similarity (0–1) to a story of those that join it.
    pub similarity: f32,
    /// Live stories at most.
    pub most: usize,
    /// Sizes that a sink with `stories = "first"` is told of.
    pub marks: Vec<usize>,
    /// Texts whose near-identical copies take over their verdict; 0: none.
    pub copies: usize,
}

impl StoriesConfig {
    /// When sightings are of one story.
    pub fn terms(&self) -> Terms {
        let window = TimeDelta::from_std(self.window).unwrap_or(TimeDelta::MAX);
        Terms { window, similarity: self.similarity, max_stories: self.most }
    }

    /// What is wrong with the values.
    pub fn problems(&self) -> Vec<String> {
        let wrong = [
            (self.window.is_zero() || self.window > LONGEST_WINDOW, "`window` is a time, from 1s to 90days"),
            (!(self.similarity > 0.0 && self.similarity < 1.0), "`similarity` lies between 0 and 1"),
            (self.most == 0, "`most` must be 1 at least"),
            (
                self.marks.iter().any(|mark| *mark < 2),
                "`marks` are sizes of 2 and more: the first alert is always told",
            ),
        ];
        wrong.into_iter().filter(|(is_wrong, _)| *is_wrong).map(|(_, message)| message.to_owned()).collect()
    }
}
