//! Alerts gathered into their stories. Pure.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use serde::Serialize;

use super::super::alerts::filter::Filter;
use super::super::alerts::read::{Actor, View};
use crate::cluster::events::in_words;

/// A story as its alerts tell it.
#[derive(Debug, Serialize)]
pub(super) struct Story {
    /// Its id.
    pub id: String,
    /// The headline of its earliest item.
    pub title: String,
    /// The last stage that an alert told of; empty: none did.
    pub stage: String,
    /// When its earliest item was published.
    pub first_seen: Option<DateTime<Utc>>,
    /// When its latest item was published.
    pub last_seen: Option<DateTime<Utc>>,
    /// When its last alert was emitted.
    pub last_alert: Option<DateTime<Utc>>,
    /// Its alerts.
    pub size: u64,
    /// Its sources.
    pub sources: u64,
    /// Highest score of its alerts.
    pub score: f32,
    /// Whom its alerts name, the most often named first.
    pub actors: Vec<Actor>,
    /// Places that they name, the most often named first.
    pub places: Vec<String>,
    /// The alerts, by time of publication.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub sightings: Vec<Sighting>,
}

/// An alert in the timeline of its story.
#[derive(Debug, Serialize)]
pub(super) struct Sighting {
    pub published: Option<DateTime<Utc>>,
    pub alert_id: String,
    pub score: f32,
    pub stage: String,
    pub title: String,
    pub feed: String,
    pub url: Option<String>,
    /// What it changed.
    pub events: Vec<String>,
}

/// The alerts of one story, as they come.
#[derive(Debug, Default)]
struct Gathered {
    views: Vec<View>,
}

/// All stories of a file.
#[derive(Debug, Default)]
pub(super) struct Stories {
    by_id: HashMap<String, Gathered>,
}

impl Stories {
    /// Adds an alert; one without a story (an older program wrote it) is in none.
    pub fn add(&mut self, view: View) {
        if let Some(story) = view.story.as_ref().filter(|story| !story.id.is_empty()) {
            self.by_id.entry(story.id.clone()).or_default().views.push(view);
        }
    }

    /// Those that `filter` takes, the one with the latest item at the end.
    pub fn taken(self, filter: &Filter) -> Vec<Story> {
        let all = self.by_id.into_iter().filter(|(_, story)| filter.takes(&story.as_one()));
        let mut taken: Vec<Story> = all.map(|(id, story)| story.told(id)).collect();
        taken.sort_by(|a, b| (a.last_seen, &a.id).cmp(&(b.last_seen, &b.id)));
        taken
    }

    /// Those whose id begins with `start`.
    pub fn named(self, start: &str) -> Vec<Story> {
        let named = self.by_id.into_iter().filter(|(id, _)| id.starts_with(start));
        named.map(|(id, story)| story.told(id)).collect()
    }
}

impl Gathered {
    /// All its alerts as if they were one: what flags that choose alerts choose stories by.
    fn as_one(&self) -> View {
        let mut one = self.views.last().cloned().unwrap_or_default();
        one.stage.label = self.stage();
        one.score = self.score();
        one.emitted_at = self.views.iter().filter_map(|view| view.emitted_at).max();
        one.actors = self.views.iter().flat_map(|view| view.actors.clone()).collect();
        one.places = self.views.iter().flat_map(|view| view.places.clone()).collect();
        let texts = self.views.iter().flat_map(|view| [view.item.title.as_str(), view.item.summary.as_str()]);
        one.item.summary = texts.collect::<Vec<_>>().join("\n");
        one
    }

    fn stage(&self) -> String {
        let mut stages = self.views.iter().rev().map(|view| &view.stage.label);
        stages.find(|stage| !stage.is_empty() && *stage != "none").cloned().unwrap_or_default()
    }

    fn score(&self) -> f32 {
        self.views.iter().map(|view| view.score).fold(0.0, f32::max)
    }

    fn told(mut self, id: String) -> Story {
        let (stage, score) = (self.stage(), self.score());
        let last_alert = self.views.iter().filter_map(|view| view.emitted_at).max();
        self.views.sort_by(|a, b| (a.item.published, &a.alert_id).cmp(&(b.item.published, &b.alert_id)));
        let title = self.views.first().map(|view| view.item.title.clone()).unwrap_or_default();
        let stories = || self.views.iter().filter_map(|view| view.story.as_ref());
        Story {
            title,
            stage,
            score,
            last_alert,
            first_seen: stories().filter_map(|story| story.first_seen).min(),
            last_seen: self.views.iter().filter_map(|view| view.item.published).max(),
            size: stories().map(|story| story.size).max().unwrap_or_default().max(self.views.len() as u64),
            sources: stories().map(|story| story.sources).max().unwrap_or_default(),
            actors: by_count(self.views.iter().flat_map(|view| &view.actors), |actor| actor.id.clone()),
            places: by_count(self.views.iter().flat_map(|view| &view.places), String::clone),
            sightings: self.views.iter().map(sighting).collect(),
            id,
        }
    }
}

fn sighting(view: &View) -> Sighting {
    Sighting {
        published: view.item.published,
        alert_id: view.alert_id.clone(),
        score: view.score,
        stage: view.stage.label.clone(),
        title: view.item.title.clone(),
        feed: view.feed.title.clone().unwrap_or_else(|| view.feed.url.clone()),
        url: view.item.url.clone(),
        events: changes(view),
    }
}

/// What an alert changed in its story, in words.
pub(super) fn changes(view: &View) -> Vec<String> {
    view.story.as_ref().map(|story| in_words(&story.events)).unwrap_or_default()
}

/// Each of `items` once, the commonest first; of equals that which came first.
fn by_count<'a, T: Clone + 'a>(items: impl Iterator<Item = &'a T>, key: impl Fn(&T) -> String) -> Vec<T> {
    let mut counts: BTreeMap<String, (usize, usize, &T)> = BTreeMap::new();
    for (position, item) in items.enumerate() {
        counts.entry(key(item)).or_insert((0, position, item)).0 += 1;
    }
    let mut counted: Vec<(usize, usize, &T)> = counts.into_values().collect();
    counted.sort_by_key(|(count, position, _)| (std::cmp::Reverse(*count), *position));
    counted.into_iter().map(|(_, _, item)| item.clone()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(n: u32, story: &str, stage: &str, actor: &str) -> View {
        serde_json::from_value(serde_json::json!({
            "alert_id": format!("a{n}"), "emitted_at": format!("2026-03-01T12:{n:02}:00Z"), "score": 0.9,
            "stage": {"label": stage, "confidence": 0.9},
            "item": {"title": format!("Headline {n}"), "published": format!("2026-03-01T{:02}:00:00Z", 11 - n)},
            "feed": {"url": "https://news.example/"}, "actors": [{"id": actor, "name": actor}], "places": ["Muscat"],
            "story": {"id": story, "first_seen": "2026-03-01T08:00:00Z", "size": n + 1, "sources": 1, "new": n == 0,
                "events": [{"what": "stage", "from": "planned", "to": stage}]},
        }))
        .unwrap()
    }

    fn stories() -> Stories {
        let mut stories = Stories::default();
        for (n, story, stage, actor) in
            [(0, "s1", "held", "RUS"), (1, "s2", "offer", "IRN"), (2, "s1", "none", "USA"), (3, "s1", "agreed", "USA")]
        {
            stories.add(view(n, story, stage, actor));
        }
        stories.add(View::default());
        stories
    }

    #[test]
    fn a_story_has_what_its_alerts_have_together() {
        let all = stories().taken(&Filter::default());
        assert_eq!(all.iter().map(|story| story.id.as_str()).collect::<Vec<_>>(), ["s2", "s1"], "the latest last");
        let story = &all[1];
        assert_eq!((story.title.as_str(), story.stage.as_str(), story.size), ("Headline 3", "agreed", 4));
        assert_eq!(story.actors.iter().map(|actor| actor.id.as_str()).collect::<Vec<_>>(), ["USA", "RUS"]);
        assert_eq!(story.places, ["Muscat"]);
        let order: Vec<&str> = story.sightings.iter().map(|one| one.alert_id.as_str()).collect();
        assert_eq!(order, ["a3", "a2", "a0"], "by time of publication");
        assert_eq!(story.sightings[0].events, ["planned → agreed"]);
    }

    #[test]
    fn flags_choose_by_the_whole_story() {
        let both = Filter { actors: vec!["rus".into(), "usa".into()], ..Filter::default() };
        assert_eq!(stories().taken(&both).len(), 1, "no single alert names both");
        let held = Filter { stages: vec!["held".into()], ..Filter::default() };
        assert_eq!(stories().taken(&held).len(), 0, "it is agreed by now");
        assert_eq!(stories().named("s").len(), 2);
    }
}
