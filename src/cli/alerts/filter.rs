//! Which alerts are meant: pure, time passed in.

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Args;

use super::super::exit::UsageError;
use super::read::View;
use crate::classify::STAGE_NAMES;

/// Flags that choose alerts; all that are given must hold.
#[derive(Debug, Args)]
pub(in crate::cli) struct FilterArgs {
    /// Emitted at or after: a day (2026-06-01), a time (RFC 3339), or so long ago (24h, 7days).
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Emitted before.
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Least score, 0 to 1.
    #[arg(long, value_name = "X")]
    min_score: Option<f32>,
    /// Stage of the talks: planned, held, offer, agreed, refused, none; may be repeated (any of them).
    #[arg(long, value_name = "STAGE")]
    stage: Vec<String>,
    /// Id, name or country of an actor; may be repeated (all of them).
    #[arg(long, value_name = "ACTOR")]
    actor: Vec<String>,
    /// Place of the talks; may be repeated (all of them).
    #[arg(long, value_name = "PLACE")]
    place: Vec<String>,
    /// Id of a story, or its start.
    #[arg(long, value_name = "ID")]
    story: Option<String>,
    /// Words that headline or summary must hold, in any case.
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
}

/// The same, understood.
#[derive(Debug, Default)]
pub(in crate::cli) struct Filter {
    pub since: Option<DateTime<Utc>>,
    pub until: Option<DateTime<Utc>>,
    pub min_score: f32,
    pub stages: Vec<String>,
    pub actors: Vec<String>,
    pub places: Vec<String>,
    pub story: Option<String>,
    pub text: Option<String>,
}

impl FilterArgs {
    /// What the flags mean at `now`.
    pub fn filter(&self, now: DateTime<Utc>) -> Result<Filter, UsageError> {
        if let Some(wrong) = self.stage.iter().find(|stage| !STAGE_NAMES.contains(&stage.as_str())) {
            return Err(UsageError(format!("use --stage {wrong}: the stages are {}", STAGE_NAMES.join(", "))));
        }
        let lower = |text: &String| text.to_lowercase();
        Ok(Filter {
            since: self.since.as_deref().map(|text| time("--since", text, now)).transpose()?,
            until: self.until.as_deref().map(|text| time("--until", text, now)).transpose()?,
            min_score: self.min_score.unwrap_or(0.0),
            stages: self.stage.clone(),
            actors: self.actor.iter().map(lower).collect(),
            places: self.place.iter().map(lower).collect(),
            story: self.story.clone(),
            text: self.text.as_ref().map(lower),
        })
    }
}

impl Filter {
    /// Whether `alert` is meant.
    pub fn takes(&self, alert: &View) -> bool {
        let at = alert.emitted_at.unwrap_or_default();
        self.since.is_none_or(|since| at >= since)
            && self.until.is_none_or(|until| at < until)
            && alert.score >= self.min_score
            && (self.stages.is_empty() || self.stages.contains(&alert.stage.label))
            && self.actors.iter().all(|actor| names(alert, actor))
            && self.places.iter().all(|place| alert.places.iter().any(|one| one.to_lowercase() == *place))
            && self.story.as_ref().is_none_or(|id| alert.story.as_ref().is_some_and(|story| story.id.starts_with(id)))
            && self.text.as_ref().is_none_or(|text| says(alert, text))
    }
}

fn names(alert: &View, actor: &str) -> bool {
    let is = |text: &str| text.to_lowercase() == actor;
    alert.actors.iter().any(|one| is(&one.id) || is(&one.name) || one.country.as_deref().is_some_and(is))
}

fn says(alert: &View, text: &str) -> bool {
    alert.item.title.to_lowercase().contains(text) || alert.item.summary.to_lowercase().contains(text)
}

/// A day, a time, or a length of time before `now`.
fn time(flag: &str, text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, UsageError> {
    let day = |text: &str| text.parse::<NaiveDate>().ok().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    let moment = |text: &str| DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc());
    let ago = |text: &str| {
        let length = humantime_serde::re::humantime::parse_duration(text).ok()?;
        now.checked_sub_signed(chrono::Duration::from_std(length).ok()?)
    };
    day(text).or_else(|| moment(text)).or_else(|| ago(text)).ok_or_else(|| {
        UsageError(format!(
            "use {flag} {text}: write a day (2026-06-01), a time (2026-06-01T12:00:00Z) or a length (24h)"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: &str = "2026-06-10T12:00:00Z";

    fn alert() -> View {
        serde_json::from_str(
            r#"{"alert_id":"a1","emitted_at":"2026-06-09T12:00:00Z","score":0.8,"stage":{"label":"held"},
            "item":{"title":"Talks in Muscat","summary":""},"story":{"id":"s77"},"places":["Muscat"],
            "actors":[{"id":"RUS","name":"Russia"},{"id":"kremlin","name":"Kremlin","country":"RUS"}]}"#,
        )
        .unwrap()
    }

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        args: FilterArgs,
    }

    fn takes(flags: &[&str]) -> bool {
        let line: Line = clap::Parser::parse_from([&["x"], flags].concat());
        line.args.filter(NOW.parse().unwrap()).unwrap().takes(&alert())
    }

    #[test]
    fn every_flag_chooses() {
        assert!(takes(&[]));
        assert!(takes(&["--since", "25h", "--until", "2026-06-10", "--min-score", "0.8"]));
        assert!(!takes(&["--since", "23h"]) && !takes(&["--until", "2026-06-09T12:00:00Z"]));
        assert!(!takes(&["--min-score", "0.81"]));
        assert!(takes(&["--stage", "agreed", "--stage", "held"]) && !takes(&["--stage", "agreed"]));
        assert!(takes(&["--actor", "rus", "--actor", "Kremlin"]) && !takes(&["--actor", "RUS", "--actor", "USA"]));
        assert!(takes(&["--place", "muscat"]) && !takes(&["--place", "Muscat", "--place", "Doha"]));
        assert!(takes(&["--story", "s7"]) && !takes(&["--story", "7"]));
        assert!(takes(&["--text", "muscat"]) && !takes(&["--text", "Geneva"]));
    }

    #[test]
    fn wrong_values_teach() {
        let refused = |flags: &[&str]| {
            let line: Line = clap::Parser::parse_from([&["x"], flags].concat());
            line.args.filter(NOW.parse().unwrap()).unwrap_err().to_string()
        };
        assert!(refused(&["--since", "yesterday"]).contains("a length (24h)"));
        assert!(refused(&["--stage", "signed"]).contains("planned, held"));
    }
}
