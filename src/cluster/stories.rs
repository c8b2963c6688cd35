//! The live stories and how a sighting finds its own.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};

use super::copies::are_copies;
use super::events::{After, Before, Event, events};
use super::index::Index;
use super::terms::Sighting;
use crate::item::{Embedding, Identity, Stage};

/// Stories that are compared with a sighting in full: those that share the most with it. More costs time and has not
/// been seen to find another story.
const CANDIDATES: usize = 12;

/// Terms by which a story is known, the heaviest: bounds memory and keeps what all its sightings share.
const STORY_TERMS: usize = 48;

/// Documents that every term is pretended to have been counted over: with few stories counted yet, a term that is seen
/// for the second time must not pass for common.
const PRIOR_STORIES: f32 = 200.0;

/// Owners that are remembered of a story; more are counted no further. A story of that many needs no corroboration.
const MAX_OWNERS: usize = 256;

/// What two alerts are about counts so much beside their terms, and this cosine of their embeddings counts neither way: in front
/// of the last of the shipped transformer's layers it lies between alerts of one story and of two. Chosen, with the shipped
/// least similarity, on 471 headlines of two seasons; choose again when the transformer changes.
const ABOUT_WEIGHT: f32 = 0.3;
const ABOUT_NEUTRAL: f32 = 0.74;

/// When sightings are of one story.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    /// Longest silence within a story.
    pub window: TimeDelta,
    /// Least similarity (0–1) to a story of those that join it.
    pub similarity: f32,
    /// Live stories at most; the longest silent goes.
    pub max_stories: usize,
}

/// Where a sighting belongs, as its alert line tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The story.
    pub story: Identity,
    /// When its earliest sighting was published.
    pub first_seen: DateTime<Utc>,
    /// Sightings so far, this one included.
    pub size: usize,
    /// Owners so far.
    pub sources: usize,
    /// Whether this one began it.
    pub new: bool,
    /// What this one changed.
    pub events: Vec<Event>,
}

#[derive(Debug)]
struct Story {
    id: Identity,
    first_seen: DateTime<Utc>,
    last_seen: DateTime<Utc>,
    size: usize,
    owners: BTreeSet<String>,
    /// Those of them that had it in words of their own, and the fingerprints of these words.
    independent: BTreeSet<String>,
    prints: Vec<u64>,
    /// The last stage that a sighting was sure of.
    stage: Stage,
    /// Sum of the sightings' weights, by term. In order: a sum over it must come out the same in every run.
    sum: BTreeMap<u32, f32>,
    /// Mean of the sightings' embeddings, and of how many.
    about: Option<(Embedding, usize)>,
    /// Length of `sum` with each term's rarity, as it was when the last sighting joined.
    norm: f32,
}

impl Story {
    /// How much nearer a sighting is for what it is about than an alert on another event would be.
    fn closeness(&self, sighting: &Sighting) -> f32 {
        let known = self.about.as_ref().map(|(mean, _)| mean).zip(sighting.embedding.as_ref());
        let cosine = known.and_then(|(mean, embedding)| mean.cosine(embedding));
        cosine.map_or(0.0, |cosine| ABOUT_WEIGHT * (cosine.max(0.0) - ABOUT_NEUTRAL))
    }

    fn before(&self) -> Before {
        Before { size: self.size, owners: self.independent.len(), stage: self.stage }
    }

    /// Takes note of what it is about, who told it, whether in words of his own, and at what stage.
    fn heard_of(&mut self, sighting: &Sighting) {
        if let Some(embedding) = &sighting.embedding {
            self.about = Some(match self.about.take() {
                Some((mean, count)) => (mean.joined(count, embedding), count + 1),
                None => (embedding.clone(), 1),
            });
        }
        if sighting.stage != Stage::None {
            self.stage = sighting.stage;
        }
        if self.owners.len() >= MAX_OWNERS {
            return;
        }
        self.owners.insert(sighting.owner.clone());
        let copied = sighting.print.is_some_and(|print| self.prints.iter().any(|known| are_copies(*known, print)));
        if !copied {
            self.independent.insert(sighting.owner.clone());
            self.prints.extend(sighting.print.filter(|_| self.prints.len() < MAX_OWNERS));
        }
    }
}

/// The live stories.
#[derive(Debug)]
pub struct Stories {
    terms: Terms,
    /// Sizes worth telling.
    marks: Vec<usize>,
    live: HashMap<u64, Story>,
    by_id: HashMap<Identity, u64>,
    index: Index,
    next: u64,
    pruned: Option<DateTime<Utc>>,
}

impl Stories {
    /// No stories yet. `marks` are the sizes that are worth telling.
    pub fn new(terms: Terms, marks: &[usize]) -> Self {
        let (live, by_id, index) = (HashMap::new(), HashMap::new(), Index::default());
        Self { terms, marks: marks.to_vec(), live, by_id, index, next: 0, pruned: None }
    }

    /// Live stories.
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// Finds the story of a sighting, or begins one with it.
    pub fn place(&mut self, sighting: &Sighting) -> Placement {
        self.prune(sighting.at);
        let story = self.nearest(sighting);
        let new = story.is_none();
        let key =
            story.unwrap_or_else(|| self.begin(Identity::of(&["story", &sighting.item.to_string()]), sighting.at));
        let before = self.live.get(&key).map_or_else(Before::default, Story::before);
        self.join(key, sighting);
        self.placement(key, new, &before, sighting.stage)
    }

    /// Puts back a sighting whose story is known: after a restart. The order must be that in which they were placed.
    pub fn remember(&mut self, story: Identity, sighting: &Sighting) {
        self.prune(sighting.at);
        let known = self.by_id.get(&story).copied();
        let key = known.unwrap_or_else(|| self.begin(story, sighting.at));
        self.join(key, sighting);
    }

    /// The most similar story within the window, if it is similar enough.
    fn nearest(&self, sighting: &Sighting) -> Option<u64> {
        let weigh = |(term, weight): &(u32, f32)| (*term, *weight, self.rarity(*term));
        let weighed: Vec<(u32, f32, f32)> = sighting.vector.0.iter().map(weigh).collect();
        let norm = weighed.iter().map(|(_, weight, rarity)| (weight * rarity).powi(2)).sum::<f32>().sqrt();
        let search = weighed.iter().map(|(term, weight, rarity)| (*term, (weight * rarity).powi(2))).collect();
        let candidates = self.index.candidates(search, CANDIDATES);
        candidates
            .into_iter()
            .filter_map(|key| Some((key, self.live.get(&key)?)))
            .filter(|(_, story)| self.is_within(story, sighting.at))
            .map(|(key, story)| (self.similarity(story, &weighed, norm) + story.closeness(sighting), key))
            .filter(|(similarity, _)| *similarity >= self.terms.similarity)
            .max_by(|a, b| a.0.total_cmp(&b.0).then(b.1.cmp(&a.1)))
            .map(|(_, key)| key)
    }

    fn is_within(&self, story: &Story, at: DateTime<Utc>) -> bool {
        at <= story.last_seen + self.terms.window && at >= story.first_seen - self.terms.window
    }

    /// Cosine of a sighting and the mean of a story's.
    fn similarity(&self, story: &Story, weighed: &[(u32, f32, f32)], norm: f32) -> f32 {
        let dot: f32 = weighed
            .iter()
            .filter_map(|(term, weight, rarity)| Some(weight * rarity * rarity * story.sum.get(term)?))
            .sum();
        if story.norm > 0.0 && norm > 0.0 { dot / (story.norm * norm) } else { 0.0 }
    }

    /// How much a term tells: less, the more stories have it.
    fn rarity(&self, term: u32) -> f32 {
        ((self.live.len() as f32 + PRIOR_STORIES) / (1.0 + self.index.count(term) as f32)).ln()
    }

    fn begin(&mut self, id: Identity, at: DateTime<Utc>) -> u64 {
        let key = self.next;
        self.next += 1;
        let story = Story {
            id,
            first_seen: at,
            last_seen: at,
            size: 0,
            owners: BTreeSet::new(),
            independent: BTreeSet::new(),
            prints: Vec::new(),
            stage: Stage::None,
            sum: BTreeMap::new(),
            about: None,
            norm: 0.0,
        };
        self.live.insert(key, story);
        self.by_id.insert(id, key);
        key
    }

    fn join(&mut self, key: u64, sighting: &Sighting) {
        let Some(story) = self.live.get_mut(&key) else { return };
        story.size += 1;
        story.first_seen = story.first_seen.min(sighting.at);
        story.last_seen = story.last_seen.max(sighting.at);
        story.heard_of(sighting);
        for (term, weight) in &sighting.vector.0 {
            *story.sum.entry(*term).or_insert(0.0) += weight;
            self.index.add(*term, key);
        }
        for term in shed(&mut story.sum) {
            self.index.remove(term, key);
        }
        self.measure(key);
    }

    fn measure(&mut self, key: u64) {
        let Some(story) = self.live.get(&key) else { return };
        let norm = story.sum.iter().map(|(term, sum)| (sum * self.rarity(*term)).powi(2)).sum::<f32>().sqrt();
        if let Some(story) = self.live.get_mut(&key) {
            story.norm = norm;
        }
    }

    fn placement(&self, key: u64, new: bool, before: &Before, stage: Stage) -> Placement {
        let story = self.live.get(&key);
        let mut placement = Placement {
            story: story.map_or(Identity([0; 16]), |story| story.id),
            first_seen: story.map_or(DateTime::UNIX_EPOCH, |story| story.first_seen),
            size: story.map_or(0, |story| story.size),
            sources: story.map_or(0, |story| story.owners.len()),
            new,
            events: Vec::new(),
        };
        let after = After { stage, owners: story.map_or(0, |story| story.independent.len()) };
        placement.events = events(before, &placement, &after, &self.marks);
        placement
    }

    /// Forgets the stories that are silent for longer than the window, and the longest silent of too many. Every so
    /// often: looking at each story for each sighting would cost more than the search.
    fn prune(&mut self, now: DateTime<Utc>) {
        let due = self.pruned.is_none_or(|last| now - last > self.terms.window / 32);
        if !due && self.live.len() < self.terms.max_stories {
            return;
        }
        self.pruned = self.pruned.max(Some(now));
        let mut silent: Vec<(DateTime<Utc>, u64)> =
            self.live.iter().map(|(key, story)| (story.last_seen, *key)).collect();
        silent.sort_unstable();
        // An eighth at once, so that a full memory is not sorted for every sighting.
        let too_many = if silent.len() >= self.terms.max_stories { silent.len() / 8 + 1 } else { 0 };
        let oldest = now - self.terms.window;
        for (position, (last_seen, key)) in silent.into_iter().enumerate() {
            if position < too_many || last_seen < oldest {
                self.forget(key);
            }
        }
    }

    fn forget(&mut self, key: u64) {
        let Some(story) = self.live.remove(&key) else { return };
        self.by_id.remove(&story.id);
        story.sum.keys().for_each(|term| self.index.remove(*term, key));
    }
}

/// Takes the lightest terms out of a sum that has grown to twice what it may have, and says which.
fn shed(sum: &mut BTreeMap<u32, f32>) -> Vec<u32> {
    if sum.len() <= 2 * STORY_TERMS {
        return Vec::new();
    }
    let mut terms: Vec<(u32, f32)> = sum.iter().map(|(term, weight)| (*term, *weight)).collect();
    terms.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    let light: Vec<u32> = terms.into_iter().skip(STORY_TERMS).map(|(term, _)| term).collect();
    light.iter().for_each(|term| _ = sum.remove(term));
    light
}

#[cfg(test)]
mod tests;
