//! What hubs send: their questions whether we meant it, and documents.
//!
//! The address is public, so everything here is bounded: the body, the time it may take, and how many at once.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use chrono::Utc;
use tokio::sync::Semaphore;

use super::Push;
use super::lease::{Intent, Reply};
use crate::dedup;
use crate::parse::{Context, parse};
use crate::pipeline::{Document, Kind};
use crate::store::{Intake, Origin, Poll, StoreError, Subscribed};

/// Documents taken in at once; a hub that is told to wait comes back. More only holds more bodies in memory.
const AT_ONCE: usize = 8;

/// How long a body may take to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);

struct Listening {
    push: Push,
    room: Semaphore,
}

/// Answers every path by its last part, so that the public address may lie under any path of a reverse proxy.
pub(super) fn router(push: Push) -> Router {
    Router::new().fallback(answer).with_state(Arc::new(Listening { push, room: Semaphore::new(AT_ONCE) }))
}

async fn answer(State(listening): State<Arc<Listening>>, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let answered = match parts.method {
        Method::GET => listening.verify(&parts.uri).await,
        Method::POST => listening.take(&parts.uri, &parts.headers, body).await,
        _ => Ok(StatusCode::METHOD_NOT_ALLOWED.into_response()),
    };
    // The store is gone when the run ends; hubs come back.
    answered.unwrap_or_else(|_| StatusCode::SERVICE_UNAVAILABLE.into_response())
}

impl Listening {
    async fn known(&self, uri: &Uri) -> Result<Option<Subscribed>, StoreError> {
        let token = uri.path().rsplit('/').next().unwrap_or_default().to_owned();
        self.push.store.call(move |store| store.subscription(&token)).await
    }

    /// Verification of intent (and denials).
    async fn verify(&self, uri: &Uri) -> Result<Response, StoreError> {
        let Some(Subscribed { mut subscription, watched, .. }) = self.known(uri).await? else {
            return Ok(StatusCode::NOT_FOUND.into_response());
        };
        let reply = subscription.answer(&Intent::read(uri.query().unwrap_or_default()), watched, Utc::now());
        if reply != Reply::Refuse {
            tracing::info!(hub = subscription.hub, until = ?subscription.until, "the hub has spoken");
            self.push.store.call(move |store| store.keep_subscription(&subscription)).await?;
        }
        Ok(match reply {
            // As plain text: a browser must not take it for a page.
            Reply::Confirm(challenge) => ([(header::CONTENT_TYPE, "text/plain")], challenge).into_response(),
            Reply::Noted => StatusCode::OK.into_response(),
            Reply::Refuse => StatusCode::NOT_FOUND.into_response(),
        })
    }

    /// A document. One that is not signed is ignored, and its sender not told so.
    async fn take(&self, uri: &Uri, headers: &HeaderMap, body: Body) -> Result<Response, StoreError> {
        let Some(known) = self.known(uri).await? else { return Ok(StatusCode::NOT_FOUND.into_response()) };
        if !known.watched {
            // The hub's word for "unsubscribe".
            return Ok(StatusCode::GONE.into_response());
        }
        let Ok(_room) = self.room.try_acquire() else { return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response()) };
        let Ok(Ok(body)) = tokio::time::timeout(BODY_TIME, to_bytes(body, self.push.max_body)).await else {
            return Ok(StatusCode::PAYLOAD_TOO_LARGE.into_response());
        };
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let signature = text("x-hub-signature").unwrap_or_default();
        if !known.subscription.is_signed(&signature, &body) {
            tracing::warn!(hub = known.subscription.hub, "ignored a push that is not signed by the hub");
        } else if let Some(document) = read(known, body, text("content-type")).await {
            // Committed before the hub is told that all is well? It would wait for the disk; a lost push is polled.
            if self.push.documents.send(document).await.is_err() {
                return Ok(StatusCode::SERVICE_UNAVAILABLE.into_response());
            }
        }
        Ok(StatusCode::ACCEPTED.into_response())
    }
}

/// The pushed document as the commit stage takes it: it says nothing of the feed's health or schedule.
async fn read(known: Subscribed, body: Bytes, content_type: Option<String>) -> Option<Document> {
    let url = url::Url::parse(&known.feed_url).ok();
    let parsed = tokio::task::spawn_blocking(move || {
        parse(&body, &Context { content_type: content_type.as_deref(), url: url.as_ref() })
    });
    let document = match parsed.await.ok()? {
        Ok(document) => document,
        Err(error) => {
            tracing::warn!(hub = known.subscription.hub, %error, "the hub pushed what is no feed");
            return None;
        }
    };
    let now = Utc::now();
    let sorted = dedup::sort(document.entries, &known.feed_url, known.identity, now);
    let intake = Intake { candidates: sorted.candidates, rejected: sorted.rejected.len(), policy: sorted.policy };
    let (feed, own_title) = (known.subscription.feed, document.title);
    let poll = Poll { feed, at: now, origin: Origin::Live, health: None, own_title, intake };
    Some(Document { kind: Kind::Fresh, poll })
}
