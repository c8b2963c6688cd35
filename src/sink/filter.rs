//! Which alerts a sink gets. Pure: it looks at the line and at the tags of the feed.

use serde::Deserialize;

use crate::item::Stage;
use crate::store::{Origin, Waiting};

/// Which alerts a sink gets: those that meet every condition. An empty list is no condition.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filter {
    /// Least score, 0–1.
    pub min_score: f32,
    /// The most probable grade is one of these.
    pub grades: Vec<Grade>,
    /// The stage is one of these.
    pub stages: Vec<Stage>,
    /// The feed has one of these tags.
    pub tags: Vec<String>,
    /// The item's language is one of these (`en`).
    pub languages: Vec<String>,
    /// Alerts of a backfill too.
    pub backfill: bool,
}

/// How much an item is about negotiation, as a filter names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Grade {
    /// Grade 2.
    Negotiation,
    /// Grade 1.
    Diplomacy,
    /// Grade 0.
    Neither,
}

/// What a filter reads of a line; keys that are not there meet no condition but the empty one.
#[derive(Debug, Deserialize)]
struct Line {
    origin: Origin,
    score: f32,
    grade: Grades,
    stage: Guess,
    item: Item,
}

#[derive(Debug, Deserialize)]
struct Grades {
    negotiation: f32,
    diplomacy: f32,
    neither: f32,
}

#[derive(Debug, Deserialize)]
struct Guess {
    label: Stage,
}

#[derive(Debug, Deserialize)]
struct Item {
    language: Option<String>,
}

impl Filter {
    /// No condition at all.
    pub fn everything() -> Self {
        Self { backfill: true, ..Self::default() }
    }

    /// Whether the sink gets `alert`. A line that cannot be read is let through: the sink says what is wrong with it.
    pub fn admits(&self, alert: &Waiting) -> bool {
        if *self == Self::everything() {
            return true;
        }
        match serde_json::from_str::<Line>(&alert.line) {
            Ok(line) => self.admits_line(&line) && self.admits_tags(&alert.tags),
            Err(_) => true,
        }
    }

    fn admits_line(&self, line: &Line) -> bool {
        let language = line.item.language.as_deref().unwrap_or_default();
        let primary = language.split('-').next().unwrap_or_default();
        line.score >= self.min_score
            && (self.backfill || line.origin == Origin::Live)
            && one_of(&self.grades, |grade| *grade == line.grade.most_probable())
            && one_of(&self.stages, |stage| *stage == line.stage.label)
            && one_of(&self.languages, |name| name.eq_ignore_ascii_case(primary) || name.eq_ignore_ascii_case(language))
    }

    fn admits_tags(&self, tags: &str) -> bool {
        let has = || serde_json::from_str::<Vec<String>>(tags).unwrap_or_default();
        self.tags.is_empty() || has().iter().any(|tag| self.tags.contains(tag))
    }
}

fn one_of<T>(list: &[T], meets: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(meets)
}

impl Grades {
    fn most_probable(&self) -> Grade {
        if self.negotiation >= self.diplomacy.max(self.neither) {
            Grade::Negotiation
        } else if self.diplomacy >= self.neither {
            Grade::Diplomacy
        } else {
            Grade::Neither
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn alert() -> Waiting {
        let line = serde_json::json!({
            "schema": "demarche.alert/1", "alert_id": "a", "origin": "live", "score": 0.8,
            "grade": {"negotiation": 0.8, "diplomacy": 0.15, "neither": 0.05},
            "stage": {"label": "held", "confidence": 0.7},
            "item": {"language": "pt-BR"},
        });
        Waiting { seq: 1, alert_id: "a".into(), line: line.to_string(), tags: "[\"agency\",\"latam\"]".into() }
    }

    #[test]
    fn every_condition_holds_alone() {
        let plain = Filter::default;
        let kept = [
            Filter { min_score: 0.8, ..plain() },
            Filter { grades: vec![Grade::Diplomacy, Grade::Negotiation], ..plain() },
            Filter { stages: vec![Stage::Held], ..plain() },
            Filter { tags: vec!["latam".into()], ..plain() },
            Filter { languages: vec!["en".into(), "PT".into()], ..plain() },
            Filter { languages: vec!["pt-br".into()], ..plain() },
            plain(),
        ];
        let dropped = [
            Filter { min_score: 0.81, ..plain() },
            Filter { grades: vec![Grade::Diplomacy], ..plain() },
            Filter { stages: vec![Stage::Agreed], ..plain() },
            Filter { tags: vec!["asia".into()], ..plain() },
            Filter { languages: vec!["en".into()], ..plain() },
        ];
        assert!(kept.iter().all(|filter| filter.admits(&alert())), "{kept:?}");
        assert!(dropped.iter().all(|filter| !filter.admits(&alert())), "{dropped:?}");
    }

    #[test]
    fn backfill_goes_only_where_it_is_asked_for() {
        let mut alert = alert();
        alert.line = alert.line.replace("\"live\"", "\"backfill\"");
        assert!(!Filter::default().admits(&alert));
        assert!(Filter { backfill: true, ..Filter::default() }.admits(&alert));
        assert!(Filter::everything().admits(&alert));
    }
}
