//! A webhook: each alert in a POST of its own, signed, with an id by which the receiver tells a repeat.

mod payload;

use std::sync::Arc;

use chrono::Utc;
use futures_util::future::{BoxFuture, FutureExt};
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;
use url::Url;

use super::{Delivery, Sink, SinkError};
use crate::fetch::{Credential, Fetcher, Post};
use crate::item::Identity;
use crate::store::Waiting;

pub use payload::Format;

/// The id of a delivery: the same whenever it is repeated, after a restart too.
const DELIVERY: HeaderName = HeaderName::from_static("x-demarche-delivery");

/// The body's HMAC, as `sha256=` and hex.
const SIGNATURE: HeaderName = HeaderName::from_static("x-demarche-signature-256");

/// An address that alerts are posted to.
pub struct Webhook {
    /// Name of the sink: part of the delivery's id.
    pub name: String,
    /// Where to post.
    pub url: Url,
    /// What is posted.
    pub format: Format,
    /// Signs the body.
    pub key: Option<hmac::Key>,
    /// Request headers of its own.
    pub credential: Option<Credential>,
    /// Does it, behind the guard.
    pub fetcher: Arc<Fetcher>,
}

impl Webhook {
    async fn post(&self, alert: &Waiting) -> Result<(), SinkError> {
        let unreadable =
            |source| SinkError::Unreadable { name: self.name.clone(), alert_id: alert.alert_id.clone(), source };
        let body = self.format.body(&alert.line).map_err(unreadable)?;
        let post = Post {
            url: &self.url,
            headers: self.headers(alert, &body),
            credential: self.credential.as_ref(),
            body: body.into(),
        };
        let refused = |source| SinkError::Post { name: self.name.clone(), source };
        self.fetcher.deliver(post, Utc::now()).await.map_err(refused)
    }

    fn headers(&self, alert: &Waiting, body: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("*/*"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.format.content_type()));
        let id = delivery_id(&self.name, &alert.alert_id);
        let signature = self.key.as_ref().map(|key| signature(key, body.as_bytes()));
        for (name, value) in [(DELIVERY, Some(id)), (SIGNATURE, signature)] {
            // Hex is always a valid header.
            if let Some(value) = value.and_then(|text| HeaderValue::from_str(&text).ok()) {
                headers.insert(name, value);
            }
        }
        headers
    }
}

impl Sink for Webhook {
    /// One after the other: so the receiver gets them in order.
    fn most(&self) -> usize {
        1
    }

    fn deliver<'a>(&'a mut self, alerts: &'a [&'a Waiting]) -> BoxFuture<'a, Delivery> {
        async move {
            let mut delivery = Delivery::default();
            for alert in alerts {
                match self.post(alert).await {
                    Ok(()) => delivery.taken.push(alert.seq),
                    Err(error) => {
                        delivery.refused = Some((alert.seq, error));
                        break;
                    }
                }
            }
            delivery
        }
        .boxed()
    }
}

/// The same for the same alert and sink, always.
pub(super) fn delivery_id(sink: &str, alert_id: &str) -> String {
    Identity::of(&["delivery", sink, alert_id]).to_string()
}

fn signature(key: &hmac::Key, body: &[u8]) -> String {
    let tag = hmac::sign(key, body);
    tag.as_ref().iter().fold("sha256=".to_owned(), |text, byte| text + &format!("{byte:02x}"))
}

/// Reads an address that is to be posted to. The text may be a secret: no error shows it.
pub(super) fn address(text: &str) -> Result<Url, String> {
    let url = Url::parse(text.trim()).map_err(|error| format!("its address cannot be read: {error}"))?;
    match url.scheme() {
        "http" | "https" => Ok(url),
        scheme => Err(format!("its address begins with {scheme}: only http and https are posted to")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_signature_is_that_of_the_standard() {
        // Test case 2 of RFC 4231.
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"Jefe");
        let expected = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
        assert_eq!(signature(&key, b"what do ya want for nothing?"), expected);
    }

    #[test]
    fn a_delivery_has_one_id_for_each_sink() {
        assert_eq!(delivery_id("desk", "a"), delivery_id("desk", "a"));
        assert_ne!(delivery_id("desk", "a"), delivery_id("other", "a"));
        assert_ne!(delivery_id("desk", "a"), delivery_id("desk", "b"));
    }

    #[test]
    fn no_error_shows_a_secret_address() {
        for text in ["ftp://desk.example/s3cret", "s3cret", "https://"] {
            assert!(!address(text).unwrap_err().contains("s3cret"));
        }
        assert!(address(" https://desk.example/s3cret\n").is_ok());
    }
}
