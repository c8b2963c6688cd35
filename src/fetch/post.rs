//! Posting to somebody who waits for it: behind the same guard as fetching, hop for hop.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use reqwest::header::HeaderMap;
use url::Url;

use super::redirect::Trail;
use super::{Credential, FetchError, Fetcher, drain, hop, host, refused};

/// What to post.
#[derive(Debug)]
pub struct Post<'a> {
    /// Where to. A user name and password in it are sent as basic auth.
    pub url: &'a Url,
    /// Headers, sent wherever it is redirected to.
    pub headers: HeaderMap,
    /// Secret headers, sent to the address's own origin only.
    pub credential: Option<&'a Credential>,
    /// The body.
    pub body: Bytes,
}

impl Fetcher {
    /// Posts and follows redirects that keep the method (307, 308), each of them checked as the first address is.
    /// Every status but 2xx is an error; `now` is the clock that `Retry-After` is read by.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`].
    pub async fn deliver(&self, post: Post<'_>, now: DateTime<Utc>) -> Result<(), FetchError> {
        let late = |_| Err(FetchError::Timeout { host: host(post.url) });
        tokio::time::timeout(self.timeout, self.follow_post(&post, now)).await.unwrap_or_else(late)
    }

    async fn follow_post(&self, post: &Post<'_>, now: DateTime<Utc>) -> Result<(), FetchError> {
        let mut trail = Trail::new(post.url);
        loop {
            let url = trail.here();
            self.guard.check(url)?;
            let request = self.client.post(url.clone()).headers(headers(post, url)).body(post.body.clone());
            let response = request.send().await.map_err(|error| hop::classify(&error, url))?;
            match response.status() {
                status if status.is_success() => {
                    drain(response).await;
                    return Ok(());
                }
                StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT => {
                    trail.step(response.status(), response.headers(), self.max_redirects)?;
                    drain(response).await;
                }
                status if status.is_redirection() => {
                    let reason = "it would turn the post into a get; name the address it leads to";
                    return Err(FetchError::Redirect { host: host(url), reason });
                }
                _ => return Err(refused(response, url, now).await),
            }
        }
    }
}

fn headers(post: &Post<'_>, hop: &Url) -> HeaderMap {
    let mut headers = post.headers.clone();
    hop::add_secrets(&mut headers, post.url, post.credential, hop);
    headers
}
