//! The scorer's own thread. A rust-bert model can neither be built nor run inside a tokio runtime, and is not `Send`;
//! the worker moves a recipe to a thread, builds the scorer there, and hands batches over a bounded channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::{ClassifyConfig, ModelInfo, ScoreError, Scored, Scorer, Text};
use crate::item::{Reason, Verdict};

type Reply<T> = oneshot::Sender<Result<T, ScoreError>>;

enum Job {
    Score(Vec<Text>, Reply<Vec<Verdict>>),
    Explain(Vec<Scored>, Reply<Vec<Vec<Reason>>>),
}

/// When texts that came in are scored: at so many, or so long after the first.
#[derive(Debug, Clone, Copy)]
pub struct Flush {
    /// Texts.
    pub items: usize,
    /// Time since the first came in.
    pub after: Duration,
}

/// A handle on the scorer's thread. Dropping it lets the batch in hand finish, then joins the thread.
pub struct Worker {
    jobs: Option<mpsc::Sender<Job>>,
    thread: Option<JoinHandle<()>>,
    model: ModelInfo,
}

impl Worker {
    /// Builds the scorer that `config` asks for on a thread of its own, and waits until it is ready.
    pub async fn from_config(config: &ClassifyConfig) -> Result<Self, ScoreError> {
        let owned = config.clone();
        let flush = Flush { items: config.flush_items, after: config.flush_after };
        Self::start(config.queue, flush, move || super::build(&owned)).await
    }

    /// Runs `build` on a thread of its own and waits for it. `queue` batches may wait (at least one) before
    /// [`Worker::score`] holds its caller back.
    pub async fn start<F>(queue: usize, flush: Flush, build: F) -> Result<Self, ScoreError>
    where
        F: FnOnce() -> Result<Box<dyn Scorer>, ScoreError> + Send + 'static,
    {
        let (jobs, inbox) = mpsc::channel(queue.max(1));
        let runtime = Handle::current();
        let (ready, built) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("scorer".into())
            .spawn(move || serve(build, ready, Inbox { jobs: inbox, runtime, flush }))
            .map_err(|error| ScoreError::WorkerGone(error.to_string()))?;
        let model = built.await.map_err(|_| gone())??;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), model })
    }

    /// The model behind the scores.
    pub fn model(&self) -> ModelInfo {
        self.model.clone()
    }

    /// Scores every text, in order. Waits while the queue is full.
    pub async fn score(&self, texts: Vec<Text>) -> Result<Vec<Verdict>, ScoreError> {
        self.ask(|reply| Job::Score(texts, reply)).await
    }

    /// For every text, in order, the spans on which its score rests.
    pub async fn explain(&self, scored: Vec<Scored>) -> Result<Vec<Vec<Reason>>, ScoreError> {
        self.ask(|reply| Job::Explain(scored, reply)).await
    }

    async fn ask<T>(&self, job: impl FnOnce(Reply<T>) -> Job) -> Result<T, ScoreError> {
        let (reply, answer) = oneshot::channel();
        let jobs = self.jobs.as_ref().ok_or_else(gone)?;
        jobs.send(job(reply)).await.map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // A panic has already been reported to whoever asked.
            let _ = thread.join();
        }
    }
}

fn gone() -> ScoreError {
    ScoreError::WorkerGone("it panicked or was stopped; the log has its last words".into())
}

/// What came in, waiting for the scorer.
struct Inbox {
    jobs: mpsc::Receiver<Job>,
    /// Only to wait on: the scorer itself runs outside of it.
    runtime: Handle,
    flush: Flush,
}

type Asked = (Vec<Text>, Reply<Vec<Verdict>>);

impl Inbox {
    /// Adds to `first` what else comes in, until there is enough or the time is over; also a job of another kind.
    fn gather(&mut self, first: Asked) -> (Vec<Asked>, Option<Job>) {
        let mut texts = first.0.len();
        let mut asked = vec![first];
        let deadline = tokio::time::Instant::now() + self.flush.after;
        while texts < self.flush.items {
            let next = async { tokio::time::timeout_at(deadline, self.jobs.recv()).await };
            match self.runtime.block_on(next) {
                Ok(Some(Job::Score(more, reply))) => {
                    texts += more.len();
                    asked.push((more, reply));
                }
                Ok(other) => return (asked, other),
                Err(_) => break,
            }
        }
        (asked, None)
    }
}

/// The thread's life: build, say so, serve until every handle is gone.
fn serve<F>(build: F, ready: oneshot::Sender<Result<ModelInfo, ScoreError>>, mut inbox: Inbox)
where
    F: FnOnce() -> Result<Box<dyn Scorer>, ScoreError>,
{
    let mut scorer = match build() {
        Ok(scorer) => scorer,
        Err(error) => return drop(ready.send(Err(error))),
    };
    if ready.send(Ok(scorer.model().clone())).is_err() {
        return;
    }
    let mut next = None;
    while let Some(job) = next.take().or_else(|| inbox.jobs.blocking_recv()) {
        match job {
            Job::Score(texts, reply) => {
                let (asked, other) = inbox.gather((texts, reply));
                answer(scorer.as_mut(), asked);
                next = other;
            }
            // An answer nobody waits for any more is dropped.
            Job::Explain(scored, reply) => drop(reply.send(guarded(|| scorer.explain(&scored)))),
        }
    }
}

/// Scores all that was asked as one, and hands each asker the own part. When that fails, each is scored alone: one text
/// that the model cannot take must not cost the others their answer.
fn answer(scorer: &mut dyn Scorer, asked: Vec<Asked>) {
    let all: Vec<Text> = asked.iter().flat_map(|(texts, _)| texts.iter().cloned()).collect();
    let together = if asked.len() > 1 { guarded(|| scorer.score(&all)).ok() } else { None };
    let mut together = together.map(Vec::into_iter);
    for (texts, reply) in asked {
        let own = match &mut together {
            Some(verdicts) => Ok(verdicts.by_ref().take(texts.len()).collect()),
            None => guarded(|| scorer.score(&texts)),
        };
        drop(reply.send(own));
    }
}

/// rust-bert panics where libtorch reports an error: one bad batch must not end the thread.
fn guarded<T>(work: impl FnOnce() -> Result<T, ScoreError>) -> Result<T, ScoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().map(String::as_str).or(panic.downcast_ref::<&str>().copied());
        Err(ScoreError::Inference(words.unwrap_or("the model panicked").lines().next().unwrap_or_default().into()))
    })
}

#[cfg(test)]
pub(crate) mod tests {
    use super::super::verdict;
    use super::*;

    /// Scores by the title's length; panics on "panic".
    pub(crate) struct Fake {
        model: ModelInfo,
        pub(crate) scored: usize,
    }

    impl Default for Fake {
        fn default() -> Self {
            Self { model: ModelInfo { id: "fake".into(), threshold: 0.5, threshold_diplomacy: 0.5 }, scored: 0 }
        }
    }

    impl Scorer for Fake {
        fn model(&self) -> &ModelInfo {
            &self.model
        }
        fn score(&mut self, texts: &[Text]) -> Result<Vec<Verdict>, ScoreError> {
            self.scored += texts.len();
            assert!(texts.iter().all(|t| t.title != "panic"), "asked to panic");
            texts
                .iter()
                .map(|t| verdict([1.0 - t.title.len() as f32 / 10.0, 0.0, t.title.len() as f32 / 10.0], &[0.0; 6]))
                .collect()
        }
    }

    const FLUSH: Flush = Flush { items: 4, after: Duration::from_millis(5) };

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_time()
            .build()
            .expect("runtime")
            .block_on(future)
    }

    #[test]
    fn answers_in_order_and_outlives_a_panicking_batch() {
        block_on(async {
            let worker = Worker::start(1, FLUSH, || Ok(Box::new(Fake::default()))).await.expect("starts");
            assert_eq!(worker.model().id, "fake");
            let scores = worker.score(vec![Text::new("aaa", ""), Text::new("a", "")]).await.expect("scores");
            assert_eq!(scores.iter().map(|v| v.score()).collect::<Vec<_>>(), [0.3, 0.1]);
            let error = worker.score(vec![Text::new("panic", "")]).await.expect_err("panics");
            assert!(error.to_string().contains("asked to panic"), "{error}");
            assert_eq!(worker.score(vec![]).await.expect("still there").len(), 0);
        });
    }

    #[test]
    fn texts_of_several_askers_are_scored_together_and_one_bad_text_spoils_no_other() {
        block_on(async {
            let patient = Flush { items: 3, after: Duration::from_secs(600) };
            let worker = Worker::start(4, patient, || Ok(Box::new(Fake::default()))).await.expect("starts");
            let one = |title| worker.score(vec![Text::new(title, "")]);
            // Ten minutes have not passed: it was the third text that set the scorer to work.
            let (a, b, c) = tokio::join!(one("a"), one("bb"), one("ccc"));
            let scores = [a, b, c].map(|verdicts| verdicts.expect("scores")[0].score());
            assert_eq!(scores, [0.1, 0.2, 0.3]);
            let (good, bad, also_good) = tokio::join!(one("a"), one("panic"), one("bb"));
            assert!(good.is_ok() && bad.is_err() && also_good.is_ok());
        });
    }

    #[test]
    fn a_scorer_that_cannot_be_built_is_an_error() {
        block_on(async {
            let error = Worker::start(1, FLUSH, || Err(ScoreError::NotBuilt)).await.err().expect("fails");
            assert!(matches!(error, ScoreError::NotBuilt));
            let error = Worker::start(1, FLUSH, || panic!("broken")).await.err().expect("fails");
            assert!(matches!(error, ScoreError::WorkerGone(_)));
        });
    }
}
