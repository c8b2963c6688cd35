//! The alert line, schema `demarche.alert/1` (`config/alert.schema.json`).

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use url::Url;

use crate::actors::{Actor, Named};
use crate::cluster::{Event, Placement};
use crate::item::{GradeProbs, Identity, Plover, PublishedSource, Reason, StageGuess, Verdict};
use crate::store::{Origin, Pending};

/// Name and version of the schema. New keys may be added under it; none goes or changes its meaning.
pub const SCHEMA: &str = "demarche.alert/1";

/// The same line where it tells what has become of a story: `story.events` says why.
pub const UPDATE_SCHEMA: &str = "demarche.story_update/1";

/// One alert, its fields in the order of the line.
#[derive(Debug, Serialize)]
pub struct Alert<'a> {
    schema: &'static str,
    alert_id: String,
    #[serde(serialize_with = "time")]
    emitted_at: DateTime<Utc>,
    origin: Origin,
    score: f32,
    grade: GradeProbs,
    stage: StageGuess,
    plover: Option<Plover>,
    reasons: &'a [Reason],
    item: AlertItem<'a>,
    feed: AlertFeed<'a>,
    story: AlertStory<'a>,
    actors: &'a [Actor],
    places: &'a [String],
    model: AlertModel<'a>,
}

#[derive(Debug, Serialize)]
struct AlertItem<'a> {
    id: String,
    title: &'a str,
    summary: &'a str,
    url: Option<&'a str>,
    #[serde(serialize_with = "time")]
    published: DateTime<Utc>,
    published_source: PublishedSource,
    #[serde(serialize_with = "optional_time")]
    updated: Option<DateTime<Utc>>,
    authors: &'a [String],
    categories: &'a [String],
    language: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AlertFeed<'a> {
    url: String,
    title: Option<&'a str>,
}

#[derive(Debug, Serialize)]
struct AlertStory<'a> {
    id: String,
    #[serde(serialize_with = "time")]
    first_seen: DateTime<Utc>,
    size: usize,
    sources: usize,
    new: bool,
    events: &'a [Event],
}

/// Which model judged, and what it was held to.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct AlertModel<'a> {
    /// The model's id.
    pub id: &'a str,
    /// The threshold in force, 0–1.
    pub threshold: f32,
}

impl<'a> Alert<'a> {
    /// The alert of an item, its verdict, what it names and its story, emitted at `now`.
    pub fn new(
        pending: &'a Pending,
        verdict: &'a Verdict,
        named: &'a Named,
        story: &'a Placement,
        model: AlertModel<'a>,
        now: DateTime<Utc>,
    ) -> Self {
        let (item, entry) = (&pending.item, &pending.item.entry);
        Self {
            schema: SCHEMA,
            alert_id: alert_id(item.id),
            emitted_at: now,
            origin: pending.origin,
            score: verdict.score(),
            grade: verdict.grade,
            stage: verdict.stage,
            plover: verdict.stage.label.plover(),
            reasons: &verdict.reasons,
            item: AlertItem {
                id: item.id.to_string(),
                title: &entry.title,
                summary: &entry.summary,
                url: entry.link.as_deref(),
                published: item.published,
                published_source: item.published_source,
                updated: entry.updated,
                authors: &entry.authors,
                categories: &entry.categories,
                language: entry.language.as_deref(),
            },
            feed: AlertFeed { url: public_url(&pending.feed_url), title: pending.feed_title.as_deref() },
            story: AlertStory {
                id: story.story.to_string(),
                first_seen: story.first_seen,
                size: story.size,
                sources: story.sources,
                new: story.new,
                events: &story.events,
            },
            actors: &named.actors,
            places: &named.places,
            model,
        }
    }

    /// The alert's id: the same for the same item, always, so that any consumer can deduplicate.
    pub fn id(&self) -> &str {
        &self.alert_id
    }
}

/// The verdict that stands in an alert line.
///
/// # Errors
/// When it is no alert line.
pub fn verdict_of(line: &str) -> Result<Verdict, serde_json::Error> {
    #[derive(Deserialize)]
    struct Line {
        grade: GradeProbs,
        stage: StageGuess,
        reasons: Vec<Reason>,
    }
    let Line { grade, stage, reasons } = serde_json::from_str(line)?;
    Ok(Verdict { grade, stage, reasons, embedding: None })
}

/// An alert line as a sink that asks for stories is told it, when it does not begin its story there: the same under the
/// name of another schema.
pub fn as_update(line: &str) -> String {
    line.replacen(SCHEMA, UPDATE_SCHEMA, 1)
}

fn alert_id(item: Identity) -> String {
    Identity::of(&["alert", &item.to_string()]).to_string()
}

/// `url` without user name and password.
pub fn public_url(url: &str) -> String {
    match Url::parse(url) {
        Ok(mut parsed) if !parsed.username().is_empty() || parsed.password().is_some() => {
            // Both fail only for addresses that cannot carry credentials.
            let _ = parsed.set_username("");
            let _ = parsed.set_password(None);
            parsed.into()
        }
        _ => url.to_owned(),
    }
}

fn time<S: Serializer>(time: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&time.to_rfc3339_opts(SecondsFormat::Secs, true))
}

fn optional_time<S: Serializer>(value: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    match value {
        Some(value) => time(value, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_never_reach_an_alert() {
        assert_eq!(public_url("https://me:secret@news.example/feed"), "https://news.example/feed");
        assert_eq!(public_url("https://news.example/feed?a=b"), "https://news.example/feed?a=b");
    }
}
