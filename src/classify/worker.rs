//! The scorer's own thread. A rust-bert model can neither be built nor run inside a tokio runtime, and is not `Send`;
//! the worker moves a recipe to a thread, builds the scorer there, and hands batches over a bounded channel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::thread::JoinHandle;

use tokio::sync::{mpsc, oneshot};

use super::{ClassifyConfig, ModelInfo, ScoreError, Scorer, Text};
use crate::item::{Reason, Verdict};

type Reply<T> = oneshot::Sender<Result<T, ScoreError>>;

enum Job {
    Score(Vec<Text>, Reply<Vec<Verdict>>),
    Explain(Text, Reply<Vec<Reason>>),
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
        Self::start(config.queue, move || super::build(&owned)).await
    }

    /// Runs `build` on a thread of its own and waits for it. `queue` batches may wait (at least one) before
    /// [`Worker::score`] holds its caller back.
    pub async fn start<F>(queue: usize, build: F) -> Result<Self, ScoreError>
    where
        F: FnOnce() -> Result<Box<dyn Scorer>, ScoreError> + Send + 'static,
    {
        let (jobs, inbox) = mpsc::channel(queue.max(1));
        let (ready, built) = oneshot::channel();
        let thread = std::thread::Builder::new()
            .name("scorer".into())
            .spawn(move || serve(build, ready, inbox))
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

    /// The spans on which a text's score rests.
    pub async fn explain(&self, text: Text) -> Result<Vec<Reason>, ScoreError> {
        self.ask(|reply| Job::Explain(text, reply)).await
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

/// The thread's life: build, say so, serve until every handle is gone.
fn serve<F>(build: F, ready: oneshot::Sender<Result<ModelInfo, ScoreError>>, mut inbox: mpsc::Receiver<Job>)
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
    while let Some(job) = inbox.blocking_recv() {
        // An answer nobody waits for any more is dropped.
        match job {
            Job::Score(texts, reply) => drop(reply.send(guarded(|| scorer.score(&texts)))),
            Job::Explain(text, reply) => drop(reply.send(guarded(|| scorer.explain(&text)))),
        }
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

    fn block_on<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().expect("runtime").block_on(future)
    }

    #[test]
    fn answers_in_order_and_outlives_a_panicking_batch() {
        block_on(async {
            let worker = Worker::start(1, || Ok(Box::new(Fake::default()))).await.expect("starts");
            assert_eq!(worker.model().id, "fake");
            let scores = worker.score(vec![Text::new("aaa", ""), Text::new("a", "")]).await.expect("scores");
            assert_eq!(scores.iter().map(|v| v.score()).collect::<Vec<_>>(), [0.3, 0.1]);
            let error = worker.score(vec![Text::new("panic", "")]).await.expect_err("panics");
            assert!(error.to_string().contains("asked to panic"), "{error}");
            assert_eq!(worker.score(vec![]).await.expect("still there").len(), 0);
        });
    }

    #[test]
    fn a_scorer_that_cannot_be_built_is_an_error() {
        block_on(async {
            let error = Worker::start(1, || Err(ScoreError::NotBuilt)).await.err().expect("fails");
            assert!(matches!(error, ScoreError::NotBuilt));
            let error = Worker::start(1, || panic!("broken")).await.err().expect("fails");
            assert!(matches!(error, ScoreError::WorkerGone(_)));
        });
    }
}
