//! Headers of a feed that must stay secret: basic auth, tokens. Never logged, and sent to the feed's own origin only.

use std::fmt;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use url::Url;

use super::SetupError;

/// Secret request headers of one feed.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Credential {
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Credential {
    /// Reads the text of a secret: one `Name: value` header a line, or a single `user:password` for basic auth.
    ///
    /// # Errors
    /// [`SetupError::Credential`] with `name`, never with the text.
    pub fn parse(name: &str, text: &str) -> Result<Self, SetupError> {
        let wrong = |reason| SetupError::Credential { name: name.to_owned(), reason };
        let mut credential = Self::default();
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(':').ok_or_else(|| wrong("a line has no colon"))?;
            let header = match value.strip_prefix(' ') {
                Some(value) => HeaderName::from_bytes(key.as_bytes())
                    .ok()
                    .zip(HeaderValue::from_str(value.trim()).ok())
                    .ok_or_else(|| wrong("a line is not a header"))?,
                None => (AUTHORIZATION, basic(key, value)),
            };
            credential.headers.push(header);
        }
        if credential.headers.is_empty() {
            return Err(wrong("it is empty"));
        }
        credential.headers.iter_mut().for_each(|(_, value)| value.set_sensitive(true));
        Ok(credential)
    }

    /// The user name and password in `url`, if it has some.
    pub(super) fn of_url(url: &Url) -> Option<Self> {
        if url.username().is_empty() && url.password().is_none() {
            return None;
        }
        let mut value = basic(&decoded(url.username()), &decoded(url.password().unwrap_or_default()));
        value.set_sensitive(true);
        Some(Self { headers: vec![(AUTHORIZATION, value)] })
    }

    pub(super) fn add_to(&self, headers: &mut HeaderMap) {
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
    }
}

fn decoded(text: &str) -> String {
    percent_encoding::percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn basic(user: &str, password: &str) -> HeaderValue {
    use base64::prelude::{BASE64_STANDARD, Engine};
    let text = format!("Basic {}", BASE64_STANDARD.encode(format!("{user}:{password}")));
    // Base64 is always a valid header.
    HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credential({} headers)", self.headers.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_auth_and_headers_are_told_apart() {
        let mut headers = HeaderMap::new();
        Credential::parse("desk", "me:s3cret:x\n").unwrap().add_to(&mut headers);
        assert_eq!(headers[AUTHORIZATION], "Basic bWU6czNjcmV0Ong=");
        Credential::parse("desk", "Authorization: Bearer abc\nX-Key: k").unwrap().add_to(&mut headers);
        assert_eq!(
            (&headers[AUTHORIZATION], &headers["x-key"]),
            (&HeaderValue::from_static("Bearer abc"), &HeaderValue::from_static("k"))
        );
    }

    #[test]
    fn rule_53_no_error_and_no_debug_text_shows_the_secret() {
        let error = Credential::parse("desk", "s3cret").unwrap_err().to_string();
        let shown = format!("{:?}", Credential::parse("desk", "me:s3cret").unwrap());
        assert!(!error.contains("s3cret") && !shown.contains("s3cret") && !shown.contains("bWU6"), "{error} {shown}");
    }
}
