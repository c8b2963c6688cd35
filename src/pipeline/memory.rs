//! What the judge remembers: the stories, and what was said of texts of late. Both are rebuilt from the store at start, so
//! that a run that was broken off goes on as if it had not been.

use std::sync::Arc;

use url::Url;

use super::PipelineError;
use super::persist::Persist;
use crate::actors::Named;
use crate::classify::{Prefilter, Text};
use crate::cluster::copies::{Print, Said, Wire};
use crate::cluster::{Placement, Sighting, Stories, StoriesConfig, Vector};
use crate::item::{Stage, Verdict};
use crate::schedule::site;
use crate::store::{Pending, Store};

/// Least confidence of a stage that counts as a story's (0–1): below it one outlet's headline would seem to turn the talks,
/// and the next one would turn them back.
const SURE: f32 = 0.7;

pub(super) struct Memory {
    stories: Stories,
    wire: Wire<Said>,
    prefilter: Option<Arc<Prefilter>>,
}

impl Memory {
    /// What the store knows. `judge` names who judges, and by which rule: what another one said is not taken over.
    /// What `prefilter` settles costs less to score than to recognise.
    pub async fn load(
        persist: &Persist,
        config: &StoriesConfig,
        judge: &str,
        prefilter: Option<Arc<Prefilter>>,
    ) -> Result<Self, PipelineError> {
        let (shared, judge) = (Arc::new(config.clone()), Arc::<str>::from(judge));
        let read = move |store: &mut Store| {
            let mut stories = Stories::new(shared.terms(), &shared.marks);
            store.each_sighting(|story, sighting| stories.remember(story, sighting))?;
            Ok((stories, store.judged_of_late(&judge, shared.copies)?))
        };
        let (stories, judged) = persist.call(read).await?;
        let mut memory = Self { stories, wire: Wire::new(config.copies), prefilter };
        tokio::task::block_in_place(|| {
            for (text, said) in judged {
                memory.remember(memory.print(&text), &said);
            }
        });
        Ok(memory)
    }

    /// What tells a text from others that are no copies of it; `None` for one that is not to be recognised.
    pub fn print(&self, text: &Text) -> Option<Print> {
        let settled = || self.prefilter.as_ref().is_some_and(|prefilter| prefilter.settles(text));
        if self.wire.is_off() || settled() { None } else { Print::of(&text.title, &text.summary) }
    }

    /// What was said of the text that one with this print copies.
    pub fn said(&self, print: Option<Print>) -> Option<Said> {
        self.wire.find(print?).cloned()
    }

    /// Which of the texts with these prints copy no text of before, nor one of the others before them.
    pub fn originals(&self, prints: &[Option<Print>]) -> Vec<bool> {
        let mut here = Wire::new(prints.len());
        let mut is_original = |print: &Option<Print>| {
            let Some(print) = *print else { return true };
            let original = self.said(Some(print)).is_none() && here.find(print).is_none();
            here.remember(print, ());
            original
        };
        prints.iter().map(&mut is_original).collect()
    }

    /// Remembers what was said of a text.
    pub fn remember(&mut self, print: Option<Print>, said: &Said) {
        if let Some(print) = print {
            self.wire.remember(print, said.clone());
        }
    }

    /// Finds the story of an alert.
    pub fn place(&mut self, pending: &Pending, verdict: &Verdict, named: &Named) -> (Placement, Sighting) {
        let (item, stage) = (&pending.item, verdict.stage);
        let sighting = Sighting {
            item: item.id,
            at: item.published,
            owner: owner(pending),
            stage: if stage.confidence >= SURE { stage.label } else { Stage::None },
            print: Print::of(&item.entry.title, &item.entry.summary).map(|print| print.text),
            embedding: verdict.embedding.clone(),
            vector: Vector::of(&item.entry.title, &item.entry.summary, named),
        };
        (self.stories.place(&sighting), sighting)
    }
}

/// Who carries an item: the site of the article, for feeds gather what others wrote; without a link, that of the feed.
fn owner(pending: &Pending) -> String {
    let url = pending.item.entry.link.as_deref().and_then(|link| Url::parse(link).ok());
    let url = url.filter(Url::has_host).or_else(|| Url::parse(&pending.feed_url).ok());
    url.map_or_else(|| pending.feed_url.clone(), |url| site(&url))
}
