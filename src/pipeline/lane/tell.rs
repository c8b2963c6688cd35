//! A sink that asks for stories and not for every alert of them.

use super::Lane;
use crate::alert::as_update;
use crate::pipeline::PipelineError;
use crate::sink::{Stories, Telling, story_of, telling};
use crate::store::Waiting;

impl Lane {
    /// What the sink is told of the alerts that were read: of those that only change a story the line is another, and those
    /// that it is not told of are noted.
    pub(super) async fn told(&mut self, mut waiting: Vec<Waiting>) -> Result<Vec<Waiting>, PipelineError> {
        if self.outlet.stories == Stories::All {
            return Ok(waiting);
        }
        // A story begins for a sink with the first alert that meets its conditions.
        let admitted = waiting.iter().filter(|alert| self.outlet.filter.admits(alert));
        let of_stories: Vec<(i64, String)> =
            admitted.filter_map(|alert| Some((alert.seq, story_of(&alert.line)?))).collect();
        let name = self.outlet.name.clone();
        let begin = self.persist.call(move |store| store.begin_stories(&name, &of_stories)).await?;
        for alert in &mut waiting {
            match telling(&alert.line, begin.contains(&alert.seq)) {
                Telling::Alert => {}
                Telling::Update => alert.line = as_update(&alert.line),
                Telling::Nothing => _ = self.untold.insert(alert.seq),
            }
        }
        Ok(waiting)
    }
}
