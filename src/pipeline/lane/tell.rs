//! What a sink is told of the alerts that were read: its filter decides, and for one that asks for stories what is known of
//! them.

use super::Lane;
use crate::alert::as_update;
use crate::pipeline::PipelineError;
use crate::sink::{InStory, Stories, Telling};
use crate::store::Waiting;

impl Lane {
    /// The alerts as the sink is told them; those that it is not told of are noted.
    pub(super) async fn told(&mut self, mut waiting: Vec<Waiting>) -> Result<Vec<Waiting>, PipelineError> {
        let kept_back = waiting.iter().filter(|alert| !self.outlet.filter.admits(alert));
        self.untold.extend(kept_back.map(|alert| alert.seq));
        if self.outlet.stories == Stories::First {
            self.tell_stories(&mut waiting).await?;
        }
        Ok(waiting)
    }

    /// Of alerts that only change a story the line becomes another; those that do not even that are noted.
    async fn tell_stories(&mut self, waiting: &mut [Waiting]) -> Result<(), PipelineError> {
        // A story begins for a sink with the first alert that meets its conditions.
        let admitted = waiting.iter_mut().filter(|alert| !self.untold.contains(&alert.seq));
        let told: Vec<(&mut Waiting, InStory)> =
            admitted.filter_map(|alert| InStory::of(&alert.line).map(|story| (alert, story))).collect();
        let of_stories: Vec<(i64, String)> = told.iter().map(|(alert, story)| (alert.seq, story.id.clone())).collect();
        let name = self.outlet.name.clone();
        let begin = self.persist.call(move |store| store.begin_stories(&name, &of_stories)).await?;
        for (alert, story) in told {
            match story.telling(begin.contains(&alert.seq)) {
                Telling::Alert => {}
                Telling::Update => alert.line = as_update(&alert.line),
                Telling::Nothing => _ = self.untold.insert(alert.seq),
            }
        }
        Ok(())
    }
}
