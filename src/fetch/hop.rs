//! One request of a poll: what is sent to which address, and what its failure means.

use std::error::Error;
use std::io;

use reqwest::header::{HeaderMap, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH};
use url::Url;

use super::guard::Refused;
use super::{Credential, FetchError, Request, host};

/// The headers for this hop: validators go to the address that gave them, secrets to the feed's own origin.
pub(super) fn headers(request: &Request<'_>, hop: &Url) -> HeaderMap {
    let mut headers = HeaderMap::new();
    if is_conditional(request, hop) {
        let validators =
            [(IF_NONE_MATCH, &request.validators.etag), (IF_MODIFIED_SINCE, &request.validators.last_modified)];
        for (name, value) in validators {
            if let Some(value) = value.as_deref().and_then(|text| HeaderValue::from_str(text).ok()) {
                headers.insert(name, value);
            }
        }
    }
    add_secrets(&mut headers, request.url, request.credential, hop);
    headers
}

/// Adds the secrets of `url` where `hop` may see them.
pub(super) fn add_secrets(headers: &mut HeaderMap, url: &Url, credential: Option<&Credential>, hop: &Url) {
    if may_see_secrets(url, hop) {
        if let Some(credential) = Credential::of_url(url) {
            credential.add_to(headers);
        }
        if let Some(credential) = credential {
            credential.add_to(headers);
        }
    }
}

/// Whether the request to `hop` carries validators.
pub(super) fn is_conditional(request: &Request<'_>, hop: &Url) -> bool {
    !request.validators.is_empty() && request.validators.url.as_deref() == Some(bare(hop).as_str())
}

/// The same origin, or the same host on https instead of http.
fn may_see_secrets(feed: &Url, hop: &Url) -> bool {
    let upgraded = feed.scheme() == "http" && hop.scheme() == "https" && feed.port().is_none() && hop.port().is_none();
    feed.origin() == hop.origin() || (upgraded && feed.host() == hop.host())
}

/// `url` as it goes over the wire and into validators: without user name, password and fragment.
pub(super) fn bare(url: &Url) -> Url {
    let mut bare = url.clone();
    // Both fail only for addresses that cannot carry credentials.
    let _ = bare.set_username("");
    let _ = bare.set_password(None);
    bare.set_fragment(None);
    bare
}

/// What a failure of the client means.
pub(super) fn classify(error: &reqwest::Error, url: &Url) -> FetchError {
    let (host, reason) = (host(url), reason(error));
    if let Some(refused) = causes(error).find_map(|cause| cause.downcast_ref::<Refused>()) {
        return FetchError::Blocked { host: refused.host.clone(), address: refused.address };
    }
    if causes(error).any(is_tls) {
        FetchError::Tls { host, reason }
    } else if error.is_timeout() {
        FetchError::Timeout { host }
    } else if error.is_dns() {
        FetchError::Dns { host, reason }
    } else if error.is_connect() {
        FetchError::Connect { host, reason }
    } else if error.is_decode() && !causes(error).any(|cause| cause.is::<hyper::Error>()) {
        FetchError::Decode { reason }
    } else {
        FetchError::Protocol { host, reason }
    }
}

fn is_tls(cause: &(dyn Error + 'static)) -> bool {
    cause.is::<rustls::Error>()
}

/// The error and what caused it, looking into I/O errors too, whose `source` skips what they wrap.
fn causes<'a>(error: &'a (dyn Error + 'static)) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| {
        let error: &'a (dyn Error + 'static) = *error;
        match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        }
    })
}

/// The innermost cause in words; the outer ones repeat the address, which may hold secrets.
pub(crate) fn reason(error: &reqwest::Error) -> String {
    match causes(error).last() {
        Some(cause) if !cause.is::<reqwest::Error>() => cause.to_string(),
        _ => "the client gave no reason".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fetch::Validators;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    fn names(headers: &HeaderMap) -> Vec<&str> {
        let mut names: Vec<&str> = headers.keys().map(|name| name.as_str()).collect();
        names.sort_unstable();
        names
    }

    #[test]
    fn rule_38_validators_and_credentials_go_only_where_they_belong() {
        let feed = url("http://me:secret@news.example/feed");
        let validators = Validators {
            url: Some("https://news.example/feed".into()),
            etag: Some("\"1\"".into()),
            last_modified: Some("then".into()),
        };
        let request = Request { url: &feed, validators: &validators, credential: None };
        assert_eq!(names(&headers(&request, &feed)), ["authorization"]);
        let both = ["authorization", "if-modified-since", "if-none-match"];
        assert_eq!(names(&headers(&request, &url("https://news.example/feed"))), both);
        assert!(headers(&request, &url("https://other.example/feed")).is_empty());
        assert!(headers(&request, &url("https://news.example:8443/feed")).is_empty());
        assert!(headers(&request, &url("https://cdn.news.example/feed")).is_empty());
    }

    #[test]
    fn rule_53_what_goes_over_the_wire_has_no_credentials_in_its_address() {
        assert_eq!(bare(&url("https://me:secret@news.example/f?a=b#c")).as_str(), "https://news.example/f?a=b");
    }
}
