//! One feed, one conditional request → one answer in the words of the domain. Everything about HTTP stays in here:
//! validators, redirects, compression, limits, and which addresses may be reached at all.
//!
//! [`Fetcher`] does it; [`FetchError::class`] is what the schedule goes by when it fails.

mod client;
mod config;
mod credential;
mod error;
pub mod guard;
mod headers;
mod hop;
mod post;
mod redirect;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::CONTENT_TYPE;
use url::Url;

pub use config::FetchConfig;
pub use credential::Credential;
pub use error::{ErrorClass, FetchError, SetupError};
pub use headers::{Links, Validators};
pub use post::Post;

use guard::Guard;
use hop::classify;
pub(crate) use hop::reason;
use redirect::Trail;

/// Fetches feeds; cheap to share, one for the whole program.
#[derive(Debug)]
pub struct Fetcher {
    client: reqwest::Client,
    guard: Guard,
    timeout: Duration,
    max_body: u64,
    max_redirects: usize,
}

/// What to fetch.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// Address of the feed. A user name and password in it are sent as basic auth.
    pub url: &'a Url,
    /// What the last answer left; empty for an unconditional request.
    pub validators: &'a Validators,
    /// Secret headers, sent to the feed's own origin only.
    pub credential: Option<&'a Credential>,
}

/// A successful answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The document, or that it has not changed.
    pub outcome: Outcome,
    /// HTTP status.
    pub status: u16,
    /// To be stored together with the items of the document, never before.
    pub validators: Validators,
    /// Where the document was found, after redirects.
    pub final_url: Url,
    /// Where permanent redirects (301, 308) alone lead, if the first one was permanent.
    pub permanent_redirect: Option<Url>,
    /// Cache lifetime: no use in asking earlier.
    pub not_before: Option<Duration>,
    /// WebSub, as far as headers tell of it.
    pub links: Links,
}

/// What a successful answer brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// A document.
    Fresh {
        /// Its bytes, decompressed.
        body: Bytes,
        /// The `Content-Type` header.
        content_type: Option<String>,
    },
    /// 304: nothing has changed.
    NotModified,
}

impl Fetcher {
    /// A fetcher as `config` wants it.
    ///
    /// # Errors
    /// [`SetupError`] names the key that cannot be used.
    pub fn new(config: &FetchConfig) -> Result<Self, SetupError> {
        let guard = Guard::new(config.allow_net.iter().map(String::as_str))?;
        let client = client::build(config, guard.clone())?;
        let max_body = config.max_body.as_u64();
        Ok(Self { client, guard, timeout: config.timeout, max_body, max_redirects: config.max_redirects })
    }

    /// Fetches `request`; `now` is the clock that `Expires` and `Retry-After` are read by.
    ///
    /// # Errors
    /// See [`FetchError::class`]. Nothing is tried twice: that is the schedule's business.
    pub async fn fetch(&self, request: &Request<'_>, now: DateTime<Utc>) -> Result<Answer, FetchError> {
        let work = self.follow(request, now);
        tokio::time::timeout(self.timeout, work)
            .await
            .unwrap_or_else(|_| Err(FetchError::Timeout { host: host(request.url) }))
    }

    /// Follows redirects to the document, checking every hop.
    async fn follow(&self, request: &Request<'_>, now: DateTime<Utc>) -> Result<Answer, FetchError> {
        let mut trail = Trail::new(request.url);
        loop {
            let url = trail.here();
            self.guard.check(url)?;
            let response = self.send(request, url).await?;
            match response.status() {
                StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION => {
                    return self.fresh(response, &trail, now).await;
                }
                StatusCode::NOT_MODIFIED => return not_modified(&response, request, &trail, now),
                status if status.is_redirection() => {
                    trail.step(response.status(), response.headers(), self.max_redirects)?;
                    drain(response).await;
                }
                _ => return Err(refused(response, url, now).await),
            }
        }
    }

    /// Posts a form to a hub, behind the same guard as feeds; redirects are not followed, since a form may hold secrets.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`]; every status but 2xx is an error.
    pub async fn post(&self, url: &Url, form: String) -> Result<(), FetchError> {
        self.guard.check(url)?;
        let work = async {
            let request = self.client.post(url.clone()).header(CONTENT_TYPE, "application/x-www-form-urlencoded");
            let response = request.body(form).send().await.map_err(|error| classify(&error, url))?;
            if !response.status().is_success() {
                return Err(refused(response, url, Utc::now()).await);
            }
            drain(response).await;
            Ok(())
        };
        let late = |_| Err(FetchError::Timeout { host: host(url) });
        tokio::time::timeout(self.timeout, work).await.unwrap_or_else(late)
    }

    async fn send(&self, request: &Request<'_>, url: &Url) -> Result<reqwest::Response, FetchError> {
        let headers = hop::headers(request, url);
        let sent = self.client.get(hop::bare(url)).headers(headers).send().await;
        sent.map_err(|error| classify(&error, url))
    }

    async fn fresh(
        &self,
        response: reqwest::Response,
        trail: &Trail,
        now: DateTime<Utc>,
    ) -> Result<Answer, FetchError> {
        let url = trail.here();
        let answer = answer(&response, trail, now);
        let content_type =
            response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let body = self.body(response, url).await?;
        Ok(Answer { outcome: Outcome::Fresh { body, content_type }, ..answer })
    }

    /// The body, decompressed, as it streams in: however well a bomb is packed, it costs no more than the limit.
    async fn body(&self, mut response: reqwest::Response, url: &Url) -> Result<Bytes, FetchError> {
        let too_large = FetchError::TooLarge { limit: self.max_body };
        // Known only for bodies that are not compressed.
        if response.content_length().is_some_and(|length| length > self.max_body) {
            return Err(too_large);
        }
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await.map_err(|error| classify(&error, url))? {
            if (body.len() + chunk.len()) as u64 > self.max_body {
                return Err(too_large);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

/// An answer without its document.
fn answer(response: &reqwest::Response, trail: &Trail, now: DateTime<Utc>) -> Answer {
    Answer {
        outcome: Outcome::NotModified,
        status: response.status().as_u16(),
        validators: Validators::read(response.headers(), trail.here()),
        final_url: trail.here().clone(),
        permanent_redirect: trail.permanent(),
        not_before: headers::freshness(response.headers(), now),
        links: Links::read(response.headers(), trail.here()),
    }
}

fn not_modified(
    response: &reqwest::Response,
    request: &Request<'_>,
    trail: &Trail,
    now: DateTime<Utc>,
) -> Result<Answer, FetchError> {
    let url = trail.here();
    if !hop::is_conditional(request, url) {
        let reason = "it answered 304 (not modified) to a request without conditions".into();
        return Err(FetchError::Protocol { host: host(url), reason });
    }
    let answer = answer(response, trail, now);
    let validators = request.validators.updated_by(answer.validators);
    Ok(Answer { validators, ..answer })
}

async fn refused(response: reqwest::Response, url: &Url, now: DateTime<Utc>) -> FetchError {
    let error = FetchError::Status {
        status: response.status().as_u16(),
        retry_after: headers::retry_after(response.headers(), now),
        not_before: headers::freshness(response.headers(), now),
        host: crate::schedule::host(url),
    };
    drain(response).await;
    error
}

/// Reads a short body that nobody wants, so that the connection can be used again.
async fn drain(mut response: reqwest::Response) {
    /// More costs more than a new connection, bytes.
    const WORTH_READING: usize = 16 * 1024;
    /// So does waiting longer.
    const WORTH_WAITING: Duration = Duration::from_millis(500);
    let work = async {
        let mut read = 0;
        while let Ok(Some(chunk)) = response.chunk().await {
            read += chunk.len();
            if read > WORTH_READING {
                break;
            }
        }
    };
    // Whether it ended or not: the answer is known.
    let _ = tokio::time::timeout(WORTH_WAITING, work).await;
}

fn host(url: &Url) -> String {
    url.host_str().unwrap_or_default().to_owned()
}
