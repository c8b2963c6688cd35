//! Second durable boundary: verdicts together with the outbox rows of the alerts.

use std::sync::Arc;
use std::time::Instant;

use chrono::Utc;
use tokio::sync::mpsc;

use super::commit::Backlog;
use super::memory::Memory;
use super::persist::Persist;
use super::{AlertRule, PipelineError, Tally, capacity};
use crate::actors::Extractor;
use crate::alert::{Alert, AlertModel};
use crate::classify::{AlertOn, ModelInfo, Prefilter, ScoreError, Scored, Text, Worker};
use crate::cluster::StoriesConfig;
use crate::cluster::copies::{Print, Said};
use crate::item::Verdict;
use crate::store::{Judged, Pending, Raised};

pub(super) struct Judge {
    pub persist: Persist,
    pub scorer: Arc<Worker>,
    pub rule: AlertRule,
    pub actors: Arc<Extractor>,
    pub stories: StoriesConfig,
    pub prefilter: Option<Arc<Prefilter>>,
    pub tally: Arc<Tally>,
    pub backlog: Arc<Backlog>,
    /// Wakes the delivery.
    pub wake: mpsc::Sender<()>,
}

impl Judge {
    /// Judges what waits in the store until intake has closed and nothing waits, or the run stops.
    pub async fn run(self, mut woken: mpsc::Receiver<()>) -> Result<(), PipelineError> {
        let model = self.scorer.model();
        // Before anything else: what is taken in from now on is new, and not left over.
        let left = self.persist.call(|store| store.pending_count()).await?;
        self.tally.resumed(left);
        // Read when it is needed first: a run that finds nothing new has no use for it.
        let mut memory = None;
        loop {
            if self.persist.stop.is_cancelled() {
                return Ok(());
            }
            let batch = self.persist.call(|store| store.pending(capacity::JUDGE_GROUP)).await?;
            if !batch.is_empty() {
                let known = match &mut memory {
                    Some(known) => known,
                    none => none.insert(self.remember(&model).await?),
                };
                self.settle(batch, &model, known).await?;
            } else if !self.woken(&mut woken).await {
                return Ok(());
            }
        }
    }

    async fn remember(&self, model: &ModelInfo) -> Result<Memory, PipelineError> {
        Memory::load(&self.persist, &self.stories, &self.rule.name(model), self.prefilter.clone()).await
    }

    /// Waits for work; false when there will be none.
    async fn woken(&self, woken: &mut mpsc::Receiver<()>) -> bool {
        tokio::select! {
            wake = woken.recv() => wake.is_some(),
            () = self.persist.stop.cancelled() => false,
        }
    }

    /// Judges batch after batch of `waiting` until the time for one commit is used up, and commits what that came to; the
    /// others are read again.
    async fn settle(&self, waiting: Vec<Pending>, model: &ModelInfo, memory: &mut Memory) -> Result<(), PipelineError> {
        let started = Instant::now();
        let mut waiting = waiting.into_iter();
        let mut judged = Vec::with_capacity(waiting.len());
        while waiting.len() > 0 && (judged.is_empty() || started.elapsed() < capacity::JUDGE_TIME) {
            let batch: Vec<Pending> = waiting.by_ref().take(capacity::JUDGE_BATCH).collect();
            self.judge_batch(batch, model, memory, &mut judged).await?;
        }
        self.commit(judged).await
    }

    /// Judges a batch: the scorer is asked about what copies no other text, the copies take over what was said of it.
    async fn judge_batch(
        &self,
        batch: Vec<Pending>,
        model: &ModelInfo,
        memory: &mut Memory,
        judged: &mut Vec<Judged>,
    ) -> Result<(), PipelineError> {
        let prints: Vec<Option<Print>> = batch.iter().map(|pending| memory.print(&text(pending))).collect();
        let originals = memory.originals(&prints);
        let fresh: Vec<&Pending> = batch.iter().zip(&originals).filter(|(_, is)| **is).map(|(item, _)| item).collect();
        let mut fresh = self.said(&fresh).await?.into_iter();
        for ((pending, print), is_original) in batch.into_iter().zip(prints).zip(originals) {
            let copied = if is_original { None } else { memory.said(print) };
            self.tally.copied(usize::from(copied.is_some()));
            let said = match copied {
                Some(said) => Some(said),
                None if is_original => fresh.next().flatten(),
                // What it copies could not be judged, or is forgotten by now.
                None => self.said(&[&pending]).await?.pop().flatten(),
            };
            judged.push(self.judge(pending, print, said, model, memory).await?);
        }
        Ok(())
    }

    async fn commit(&self, judged: Vec<Judged>) -> Result<(), PipelineError> {
        let alerts = judged.iter().filter(|item| item.alert.is_some()).count();
        let unscorable = judged.iter().filter(|item| item.score.is_none()).count();
        let total = judged.len();
        let judged = Arc::new(judged);
        let waiting = self
            .persist
            .call(move |store| {
                store.commit_verdicts(&judged, Utc::now())?;
                store.pending_count()
            })
            .await?;
        if alerts > 0 {
            crate::sink::step::pass(crate::sink::step::Step::Committed);
        }
        self.tally.judged(alerts, total - alerts - unscorable, unscorable);
        self.backlog.set(waiting);
        if alerts > 0 {
            // Full means that a wake-up is waiting already; closed means that the delivery has failed and says so itself.
            let _ = self.wake.try_send(());
        }
        Ok(())
    }

    /// One verdict for each item. When a batch fails, its items are tried one by one, so that one text the model
    /// cannot take does not hold up the others.
    async fn score(&self, batch: &[&Pending]) -> Result<Vec<Option<Verdict>>, ScoreError> {
        if batch.is_empty() {
            return Ok(Vec::new());
        }
        let (_at_work, started) = (self.persist.begin(), Instant::now());
        match self.scorer.score(batch.iter().copied().map(text).collect()).await {
            Ok(verdicts) => {
                self.tally.scored(batch.len(), started.elapsed());
                return Ok(verdicts.into_iter().map(Some).collect());
            }
            Err(error @ ScoreError::WorkerGone(_)) => return Err(error),
            Err(error) => tracing::warn!(%error, items = batch.len(), "a batch failed; scoring its items one by one"),
        }
        let mut verdicts = Vec::with_capacity(batch.len());
        for pending in batch {
            verdicts.push(match self.scorer.score(vec![text(pending)]).await {
                Ok(mut one) => one.pop(),
                Err(error @ ScoreError::WorkerGone(_)) => return Err(error),
                Err(error) => {
                    tracing::error!(%error, item = %pending.item.id, "the model cannot judge this item");
                    None
                }
            });
        }
        Ok(verdicts)
    }

    /// What the scorer says of each item, with reasons for the alerts.
    async fn said(&self, batch: &[&Pending]) -> Result<Vec<Option<Said>>, ScoreError> {
        let verdicts = self.score(batch).await?;
        let mut said: Vec<Option<Said>> = verdicts.into_iter().map(|v| v.map(|v| self.rule.said(v))).collect();
        let alerts = batch.iter().zip(&mut said).filter_map(|(&pending, said)| match said {
            Some(Said::Alert(verdict)) => Some((pending, verdict)),
            _ => None,
        });
        self.explain(alerts.collect()).await?;
        Ok(said)
    }

    /// Gives the verdicts of alerts their reasons.
    async fn explain(&self, alerts: Vec<(&Pending, &mut Verdict)>) -> Result<(), ScoreError> {
        if alerts.is_empty() {
            return Ok(());
        }
        let _at_work = self.persist.begin();
        let scored = alerts.iter().map(|(pending, verdict)| Scored { text: text(pending), score: verdict.score() });
        let explanations = self.scorer.explain(scored.collect()).await?;
        for ((_, verdict), reasons) in alerts.into_iter().zip(explanations) {
            verdict.reasons = reasons;
        }
        Ok(())
    }

    async fn judge(
        &self,
        pending: Pending,
        print: Option<Print>,
        said: Option<Said>,
        model: &ModelInfo,
        memory: &mut Memory,
    ) -> Result<Judged, PipelineError> {
        let row = pending.row;
        let verdict = match said {
            None => return Ok(Judged { row, score: None, alert: None }),
            Some(Said::Irrelevant(score)) => {
                memory.remember(print, &Said::Irrelevant(score));
                return Ok(Judged { row, score: Some(score), alert: None });
            }
            Some(Said::Alert(verdict)) => self.explained(verdict, &pending).await?,
        };
        let _at_work = self.persist.begin();
        let (entry, score) = (&pending.item.entry, verdict.score());
        let named = self.actors.extract(&entry.title, &entry.summary);
        let (story, sighting) = memory.place(&pending, &verdict, &named);
        let held_to = AlertModel { id: &model.id, threshold: self.rule.threshold };
        let alert = Alert::new(&pending, &verdict, &named, &story, held_to, Utc::now());
        let line =
            serde_json::to_string(&alert).map_err(|source| crate::store::StoreError::Row { what: "alert", source })?;
        let id = alert.id().to_owned();
        tracing::info!(item = %pending.item.id, feed = %crate::alert::public_url(&pending.feed_url), score,
            story = %story.story, "alert");
        // Without the embedding, which the alert line does not hold: what is said of a copy must not depend on a restart.
        memory.remember(print, &Said::Alert(Verdict { embedding: None, ..verdict }));
        Ok(Judged { row, score: Some(score), alert: Some(Raised { id, line, story: story.story, sighting }) })
    }

    /// The verdict with its reasons: those of the text that this one copies will do where they stand in it too.
    async fn explained(&self, mut verdict: Verdict, pending: &Pending) -> Result<Verdict, PipelineError> {
        let entry = &pending.item.entry;
        let stands = |span: &str| entry.title.contains(span) || entry.summary.contains(span);
        if verdict.reasons.is_empty() || !verdict.reasons.iter().all(|reason| stands(&reason.text)) {
            self.explain(vec![(pending, &mut verdict)]).await?;
        }
        Ok(verdict)
    }
}

impl AlertRule {
    /// Whether a verdict is an alert.
    pub fn is_met_by(&self, verdict: &Verdict) -> bool {
        let probability = match self.on {
            AlertOn::Negotiation => verdict.grade.negotiation,
            AlertOn::Diplomacy => verdict.grade.negotiation + verdict.grade.diplomacy,
        };
        probability >= self.threshold
    }

    /// What a verdict comes to.
    fn said(&self, verdict: Verdict) -> Said {
        if self.is_met_by(&verdict) { Said::Alert(verdict) } else { Said::Irrelevant(verdict.score()) }
    }

    /// Who judges by this rule.
    fn name(&self, model: &ModelInfo) -> String {
        format!("{} {:?} {}", model.id, self.on, self.threshold)
    }
}

fn text(pending: &Pending) -> Text {
    Text::new(pending.item.entry.title.as_str(), pending.item.entry.summary.as_str())
}
