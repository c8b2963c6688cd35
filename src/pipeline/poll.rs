//! One poll, whole: fetch, parse, sort the entries, and say when to come again.

use chrono::{DateTime, Utc};
use url::Url;

use super::Polling;
use super::commit::{Document, Kind};
use crate::dedup;
use crate::fetch::{Answer, Outcome, Request, Validators};
use crate::parse::{Context, parse};
use crate::store::{DueFeed, Health, Intake, Origin, Poll};

/// Polls `feed`; whatever happens is a document for the commit stage.
pub(super) async fn poll(polling: &Polling, feed: DueFeed, now: DateTime<Utc>) -> Document {
    let validators: Validators =
        feed.validators.as_deref().and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let url = Url::parse(&feed.url).unwrap();
    let answer = polling.fetcher.fetch(&Request { url: &url, validators: &validators, credential: None }, now).await;
    match answer {
        Ok(Answer { outcome: Outcome::NotModified, status, .. }) => {
            doc(polling, &feed, now, Kind::NotModified, status, None, None, Intake::default(), None)
        }
        Ok(Answer { outcome: Outcome::Fresh { body, content_type }, status, validators, .. }) => {
            let u2 = url.clone();
            let parsed = tokio::task::spawn_blocking(move || {
                parse(&body, &Context { content_type: content_type.as_deref(), url: Some(&u2) })
            })
            .await
            .unwrap();
            match parsed {
                Ok(document) => {
                    let sorted = dedup::sort(document.entries, &feed.url, feed.identity, now);
                    let intake = Intake {
                        candidates: sorted.candidates,
                        rejected: sorted.rejected.len(),
                        policy: sorted.policy,
                    };
                    doc(
                        polling,
                        &feed,
                        now,
                        Kind::Fresh,
                        status,
                        serde_json::to_string(&validators).ok(),
                        None,
                        intake,
                        document.title,
                    )
                }
                Err(error) => {
                    tracing::warn!(%error, "poll failed");
                    doc(
                        polling,
                        &feed,
                        now,
                        Kind::Failed,
                        status,
                        None,
                        Some(("parse".into(), error.to_string())),
                        Intake::default(),
                        None,
                    )
                }
            }
        }
        Err(error) => {
            tracing::warn!(%error, "poll failed");
            doc(
                polling,
                &feed,
                now,
                Kind::Failed,
                0,
                None,
                Some((error.class().to_string(), error.to_string())),
                Intake::default(),
                None,
            )
        }
    }
}
#[allow(clippy::too_many_arguments)]
fn doc(
    polling: &Polling,
    feed: &DueFeed,
    now: DateTime<Utc>,
    kind: Kind,
    status: u16,
    validators: Option<String>,
    error: Option<(String, String)>,
    intake: Intake,
    own_title: Option<String>,
) -> Document {
    let health = Health {
        status: Some(status),
        error,
        validators,
        next_poll: now + polling.interval.unwrap_or(polling.schedule.floor),
        history: None,
        gone: false,
        moved_to: None,
    };
    Document {
        kind,
        poll: Poll { feed: feed.id, at: now, origin: Origin::Live, health: Some(health), own_title, intake },
    }
}
