//! Which stories share a term: an inverted index, so that a sighting is compared with a few stories and not with all.

use std::collections::{BTreeSet, HashMap};

/// Stories looked at for one term. One that more of them share tells little and costs the most.
const MAX_POSTINGS: usize = 512;

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

    /// The stories that share the rarer of `terms`, each with the weight shared, the most first.
    pub fn candidates(&self, terms: impl Iterator<Item = (u32, f32)>, most: usize) -> Vec<u64> {
        let mut shared: HashMap<u64, f32> = HashMap::new();
        for (term, weight) in terms {
            // The newest stand last; of a common term they are the likely ones.
            for story in self.postings.get(&term).into_iter().flatten().rev().take(MAX_POSTINGS) {
                *shared.entry(*story).or_default() += weight;
            }
        }
        let mut stories: Vec<(u64, f32)> = shared.into_iter().collect();
        stories.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        stories.into_iter().take(most).map(|(story, _)| story).collect()
    }
}
