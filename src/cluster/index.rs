//! Which stories share a term: an inverted index, so that a sighting is compared with a few stories and not with all.

use std::collections::{BTreeSet, HashMap};

/// Stories looked at for one term. One that more of them share tells little and costs the most.
const MAX_POSTINGS: usize = 48;

/// Terms of a sighting that are searched by, the heaviest: names, places, rare words. The others hardly find a story
/// that these do not, and cost as much.
const SEARCH_TERMS: usize = 12;

/// Stories by term.
#[derive(Debug, Default)]
pub(super) struct Index {
    postings: HashMap<u32, BTreeSet<u64>>,
}

impl Index {
    pub fn add(&mut self, term: u32, story: u64) {
        self.postings.entry(term).or_default().insert(story);
    }

    pub fn remove(&mut self, term: u32, story: u64) {
        if let Some(stories) = self.postings.get_mut(&term) {
            stories.remove(&story);
            if stories.is_empty() {
                self.postings.remove(&term);
            }
        }
    }

    /// How many stories have a term.
    pub fn count(&self, term: u32) -> usize {
        self.postings.get(&term).map_or(0, BTreeSet::len)
    }

    /// The stories that share the heaviest of `terms`, those that share the most first.
    pub fn candidates(&self, mut terms: Vec<(u32, f32)>, most: usize) -> Vec<u64> {
        terms.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        let mut shared: Vec<(u64, f32)> = Vec::with_capacity(SEARCH_TERMS * MAX_POSTINGS);
        for (term, weight) in terms.into_iter().take(SEARCH_TERMS) {
            // The newest stand last; of a common term they are the likely ones.
            let stories = self.postings.get(&term).into_iter().flatten().rev().take(MAX_POSTINGS);
            shared.extend(stories.map(|story| (*story, weight)));
        }
        shared.sort_unstable_by_key(|(story, _)| *story);
        shared.dedup_by(|next, sum| {
            let same = next.0 == sum.0;
            sum.1 += if same { next.1 } else { 0.0 };
            same
        });
        shared.sort_unstable_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        shared.into_iter().take(most).map(|(story, _)| story).collect()
    }
}
