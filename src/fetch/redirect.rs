//! Where redirects lead: which are followed, and which amount to a new address for the feed.

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LOCATION};
use url::Url;

use super::{FetchError, hop, host};

/// The addresses of one poll, from the feed's own to the present one.
#[derive(Debug)]
pub(super) struct Trail {
    here: Url,
    before: Vec<Url>,
    /// How many hops from the start were permanent, without a break.
    permanent: Option<Url>,
    only_permanent: bool,
}

impl Trail {
    pub fn new(feed: &Url) -> Self {
        Self { here: hop::bare(feed), before: Vec::new(), permanent: None, only_permanent: true }
    }

    pub fn here(&self) -> &Url {
        &self.here
    }

    /// Where permanent redirects alone lead from the feed's address.
    pub fn permanent(&self) -> Option<Url> {
        self.permanent.clone()
    }

    /// Takes one redirect.
    ///
    /// # Errors
    /// [`FetchError::Redirect`] for a loop, too many hops, https to http, or no usable target.
    pub fn step(&mut self, status: StatusCode, headers: &HeaderMap, most: usize) -> Result<(), FetchError> {
        let refuse = |reason| FetchError::Redirect { host: host(&self.here), reason };
        if !matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Err(refuse("the server offers a choice instead of an address"));
        }
        let target = headers.get(LOCATION).and_then(|value| std::str::from_utf8(value.as_bytes()).ok());
        let target = target.and_then(|target| self.here.join(target).ok());
        let target = hop::bare(&target.ok_or_else(|| refuse("it names no address"))?);
        if self.here.scheme() == "https" && target.scheme() == "http" {
            return Err(refuse("it leads from https to http"));
        }
        if target == self.here || self.before.contains(&target) {
            return Err(refuse("it leads in a circle"));
        }
        if self.before.len() >= most {
            return Err(refuse("too many redirects, one after the other ([fetch] max_redirects)"));
        }
        self.only_permanent &= matches!(status.as_u16(), 301 | 308);
        if self.only_permanent {
            self.permanent = Some(target.clone());
        }
        self.before.push(std::mem::replace(&mut self.here, target));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::header::HeaderValue;

    fn step(trail: &mut Trail, status: u16, target: &str) -> Result<(), FetchError> {
        let headers = HeaderMap::from_iter([(LOCATION, HeaderValue::from_str(target).unwrap())]);
        trail.step(StatusCode::from_u16(status).unwrap(), &headers, 5)
    }

    fn trail() -> Trail {
        Trail::new(&Url::parse("https://a.example/1").unwrap())
    }

    #[test]
    fn rule_33_the_new_address_is_where_permanent_redirects_alone_lead() {
        let mut trail = trail();
        step(&mut trail, 301, "/2").unwrap();
        step(&mut trail, 308, "https://b.example/3").unwrap();
        step(&mut trail, 302, "/4").unwrap();
        step(&mut trail, 301, "/5").unwrap();
        assert_eq!(trail.permanent().unwrap().as_str(), "https://b.example/3");
        assert_eq!(trail.here().as_str(), "https://b.example/5");
    }

    #[test]
    fn rule_34_temporary_redirects_are_never_adopted() {
        for status in [302, 303, 307] {
            let mut trail = trail();
            step(&mut trail, status, "/2").unwrap();
            assert_eq!(trail.permanent(), None);
        }
    }

    #[test]
    fn rule_35_at_most_five_hops_and_no_circles() {
        let mut long = trail();
        for hop in 2..=6 {
            step(&mut long, 302, &format!("/{hop}")).unwrap();
        }
        assert!(step(&mut long, 302, "/7").unwrap_err().to_string().contains("too many"));
        let mut circle = trail();
        step(&mut circle, 302, "/2").unwrap();
        assert!(step(&mut circle, 302, "/1#x").unwrap_err().to_string().contains("circle"));
    }

    #[test]
    fn rule_36_https_to_http_is_refused() {
        assert!(step(&mut trail(), 301, "http://a.example/1").unwrap_err().to_string().contains("https to http"));
    }

    #[test]
    fn a_redirect_without_target_or_with_a_choice_is_refused() {
        assert!(trail().step(StatusCode::FOUND, &HeaderMap::new(), 5).is_err());
        assert!(step(&mut trail(), 300, "/2").is_err());
        assert!(step(&mut trail(), 302, "https://").is_err());
    }
}
