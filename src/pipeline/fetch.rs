//! Fetches what the schedule hands out, several at a time, and turns each answer into a poll to commit.

use std::sync::Arc;

use chrono::Utc;
use futures_util::StreamExt;
use futures_util::stream::poll_fn;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::commit::Document;
use super::{PipelineError, Polling, poll};
use crate::alert::public_url;
use crate::store::DueFeed;

/// Works on the jobs until the schedule ends. When the intake ends, fetches under way are finished and no other begins; when
/// the run stops, they are dropped: nothing of them was stored, so the next run asks again.
pub(super) async fn run(
    polling: Polling,
    mut jobs: mpsc::Receiver<DueFeed>,
    documents: mpsc::Sender<Document>,
    intake: CancellationToken,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let concurrency = polling.concurrency;
    let polling = Arc::new(polling);
    poll_fn(move |context| jobs.poll_recv(context))
        .for_each_concurrent(concurrency, |feed| {
            let (polling, documents) = (polling.clone(), documents.clone());
            let (intake, stop) = (intake.clone(), stop.clone());
            let span = tracing::info_span!("poll", feed = feed.id, url = %public_url(&feed.url));
            async move {
                if intake.is_cancelled() {
                    return;
                }
                let polled = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    polled = poll::poll(&polling, feed, Utc::now()) => polled,
                };
                // The commit stage may have failed; it says so itself.
                let _ = documents.send(polled).await;
            }
            .instrument(span)
        })
        .await;
    Ok(())
}
