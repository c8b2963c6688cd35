//! Links: made absolute for the reader, made canonical for identity. Pure.

use url::Url;

/// Longest address kept, in bytes. Browsers and servers stop at about 8,000; without a limit a hostile feed could store
/// megabytes in one link.
pub const MAX_LINK: usize = 8_192;

/// Longest address that relative links are completed with, in bytes. It comes back in every such link of a document, so
/// that a long one would multiply; real ones stay under 200.
pub const MAX_BASE: usize = 1_024;

/// Query parameters that tell the publisher where a reader came from and never which page is meant.
const TRACKING: &[&str] = &[
    "fbclid",
    "gclid",
    "gclsrc",
    "dclid",
    "gbraid",
    "wbraid",
    "msclkid",
    "yclid",
    "ysclid",
    "twclid",
    "ttclid",
    "igshid",
    "igsh",
    "mc_cid",
    "mc_eid",
    "mkt_tok",
    "_hsenc",
    "_hsmi",
    "vero_id",
    "oly_anon_id",
    "oly_enc_id",
    "rb_clickid",
    "s_cid",
    "cmpid",
    "ncid",
    "ref_src",
    "ref_url",
    "soc_src",
    "soc_trk",
    "spm",
    "wt_mc",
    "at_medium",
    "at_campaign",
    "at_custom1",
    "at_custom2",
    "at_custom3",
    "at_custom4",
    "ns_mchannel",
    "ns_source",
    "ns_campaign",
    "ns_linkname",
    "traffic_source",
    "guccounter",
    "guce_referrer",
    "guce_referrer_sig",
    "smid",
    "xtor",
    "_ga",
    "_gl",
    "openlinkid",
];

/// Parameters that mark the AMP copy of a page.
const AMP_PARAMETERS: &[&str] = &["amp", "outputtype", "output"];

/// Canonical form of a link for identity: http/https, `www.`, tracking parameters, AMP and trailing-slash variants of a
/// link are one. The result is a key to compare, not an address to fetch. What is no http(s) address comes back trimmed.
pub fn canonical(link: &str) -> String {
    let link = link.trim();
    match Url::parse(link) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => key_of(&url).unwrap_or_else(|| link.to_owned()),
        _ => link.to_owned(),
    }
}

/// `None` for a host that is nothing but dots: without it the path would be taken for the host.
fn key_of(url: &Url) -> Option<String> {
    let host = url.host_str().map(|host| host.trim_end_matches('.')).filter(|host| !host.is_empty())?;
    let host = strip_all(host, |host| without_label(host, "www.").or_else(|| without_label(host, "amp.")));
    let port = url.port().filter(|port| ![80, 443].contains(port)).map(|port| format!(":{port}")).unwrap_or_default();
    let query = kept_query(url);
    let query = if query.is_empty() { String::new() } else { format!("?{query}") };
    let fragment = url.fragment().filter(|part| part.starts_with('!') || part.starts_with('/'));
    let fragment = fragment.map(|part| format!("#{part}")).unwrap_or_default();
    Some(format!("https://{host}{port}{}{query}{fragment}", path_of(url)))
}

/// `text` after `strip` until it finds nothing more.
fn strip_all(mut text: &str, strip: impl Fn(&str) -> Option<&str>) -> &str {
    while let Some(rest) = strip(text) {
        text = rest;
    }
    text
}

/// `www.example.org` without `www.`; a bare `www.org` keeps it.
fn without_label<'a>(host: &'a str, label: &str) -> Option<&'a str> {
    host.strip_prefix(label).filter(|rest| rest.contains('.'))
}

/// The path without AMP marks and trailing slashes; the root is empty.
fn path_of(url: &Url) -> &str {
    const MARKS: [&str; 4] = ["/", "/amp", ".amp", ".amp.html"];
    strip_all(url.path(), |path| MARKS.iter().find_map(|mark| path.strip_suffix(mark)))
}

/// The query without tracking parameters, in the order given (order can matter to a server).
fn kept_query(url: &Url) -> String {
    let parts = url.query().unwrap_or_default().split('&').filter(|part| !part.is_empty() && !is_tracking(part));
    parts.collect::<Vec<_>>().join("&")
}

fn is_tracking(parameter: &str) -> bool {
    let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
    let name = name.to_ascii_lowercase();
    name.starts_with("utm_")
        || name.starts_with("pk_")
        || name.starts_with("mtm_")
        || name.starts_with("hsa_")
        || TRACKING.contains(&name.as_str())
        || (AMP_PARAMETERS.contains(&name.as_str()) && matches!(value, "" | "1" | "amp" | "true"))
}

/// `url` as what relative links are completed with, without its query where it is too long; `None` where it still is, or
/// has no path (`mailto:`).
pub fn base(mut url: Url) -> Option<Url> {
    if url.as_str().len() > MAX_BASE {
        url.set_query(None);
        url.set_fragment(None);
    }
    (url.as_str().len() <= MAX_BASE && !url.cannot_be_a_base()).then_some(url)
}

/// `link` as an absolute address: as given when it already is one, joined with the first base that works otherwise.
/// `None` for what must never be followed (scripts, inline data) or is too long. A relative link without any base is
/// given back as it stands, which happens only to documents read from disk.
pub fn absolute<'a>(link: &str, bases: impl IntoIterator<Item = &'a Url>) -> Option<String> {
    let link = tidy(link);
    if link.is_empty() || link.len() > MAX_LINK {
        return None;
    }
    match scheme_of(&link) {
        Some("http" | "https") => Some(link),
        Some("javascript" | "vbscript" | "data" | "file" | "blob" | "about") => None,
        Some(_) => Some(link),
        None => {
            let joined = bases.into_iter().find_map(|base| base.join(&link).ok()).map(String::from);
            joined.or(Some(link)).filter(|link| link.len() <= MAX_LINK)
        }
    }
}

/// Trims, drops line breaks inside (as browsers do) and repairs `http:/host`, `http:///host`, `www.host` and
/// `host:port`.
fn tidy(link: &str) -> String {
    let link: String = link.trim().chars().filter(|c| !matches!(c, '\n' | '\r' | '\t')).collect();
    for scheme in ["http:", "https:"] {
        let Some(rest) = link.get(..scheme.len()).filter(|head| head.eq_ignore_ascii_case(scheme)) else { continue };
        let host = link[rest.len()..].trim_start_matches('/');
        return if host.is_empty() { String::new() } else { format!("{scheme}//{host}") };
    }
    if link.starts_with("www.") || is_host_and_port(&link) { format!("http://{link}") } else { link }
}

/// `example.org:8080/page`, which would pass for a scheme and a path.
fn is_host_and_port(link: &str) -> bool {
    let Some((host, rest)) = link.split_once(':') else { return false };
    host.contains('.') && !host.contains('/') && rest.starts_with(|c: char| c.is_ascii_digit())
}

/// The scheme in lower case where it is one of those that matter here, `other` for any other, `None` for a relative link.
fn scheme_of(link: &str) -> Option<&'static str> {
    let (scheme, _) = link.split_once(':')?;
    let valid = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
        && scheme.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '+' | '-' | '.'));
    if !valid {
        return None;
    }
    const KNOWN: &[&str] = &["http", "https", "javascript", "vbscript", "data", "file", "blob", "about"];
    Some(KNOWN.iter().find(|known| scheme.eq_ignore_ascii_case(known)).copied().unwrap_or("other"))
}

/// An absolute http(s) address.
pub fn is_web(link: &str) -> bool {
    matches!(scheme_of(link.trim()), Some("http" | "https")) && Url::parse(link.trim()).is_ok_and(|url| url.has_host())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_of_a_link_are_one() {
        let canonical_form = "https://example.org/world/talks";
        for link in [
            "http://example.org/world/talks",
            "https://www.example.org/world/talks/",
            "HTTPS://WWW.Example.ORG:443/world/talks",
            "https://example.org/world/talks?utm_source=rss&utm_medium=feed",
            "https://example.org/world/talks?fbclid=abc#top",
            "https://example.org/world/talks/amp",
            "https://amp.example.org/world/talks/amp/",
            "https://example.org/world/talks?amp=1",
            " https://example.org/world/talks?&gclid=1& ",
        ] {
            assert_eq!(canonical(link), canonical_form, "{link}");
        }
    }

    #[test]
    fn other_pages_stay_other() {
        assert_eq!(canonical("https://example.org/?p=12&utm_id=3"), "https://example.org?p=12");
        assert_eq!(canonical("https://example.org/a?id=2&page=1"), "https://example.org/a?id=2&page=1");
        assert_eq!(canonical("https://example.org:8080/a#!/b"), "https://example.org:8080/a#!/b");
        assert_eq!(canonical("https://example.org/champ"), "https://example.org/champ");
        assert_eq!(canonical("https://www.org/"), "https://www.org");
        assert_eq!(canonical("urn:uuid:1"), "urn:uuid:1");
        assert_ne!(canonical("https://example.org/a"), canonical("https://example.org/A"));
    }

    #[test]
    fn relative_links_find_their_base() {
        let base = Url::parse("https://example.org/news/index.html").ok();
        let absolute = |link| absolute(link, base.as_ref());
        assert_eq!(absolute("talks").as_deref(), Some("https://example.org/news/talks"));
        assert_eq!(absolute("/talks").as_deref(), Some("https://example.org/talks"));
        assert_eq!(absolute("//other.example/talks").as_deref(), Some("https://other.example/talks"));
        assert_eq!(absolute("example.org:8080/talks").as_deref(), Some("http://example.org:8080/talks"));
    }

    #[test]
    fn a_long_base_is_none() {
        let base = |link: &str| base(Url::parse(link).unwrap()).map(String::from);
        assert_eq!(base("https://example.org/a?b").as_deref(), Some("https://example.org/a?b"));
        let long = "a".repeat(MAX_BASE);
        assert_eq!(base(&format!("https://example.org/a?{long}")).as_deref(), Some("https://example.org/a"));
        assert_eq!(base(&format!("https://example.org/{long}")), None);
        assert_eq!(base("mailto:desk@example.org"), None);
    }

    #[test]
    fn absolute_links_stay_as_given() {
        for link in ["http://example.org", "https://Example.org/Ä b?c=%D0", "mailto:desk@example.org"] {
            assert_eq!(absolute(link, None).as_deref(), Some(link));
        }
        assert_eq!(absolute("\n http:///example.org/a\n", None).as_deref(), Some("http://example.org/a"));
        assert_eq!(absolute("www.example.org/a", None).as_deref(), Some("http://www.example.org/a"));
    }

    #[test]
    fn dangerous_and_endless_links_are_dropped() {
        for link in ["javascript:alert(1)", "JavaScript:x", "data:text/html,x", "file:///etc/passwd", "", "http://"] {
            assert_eq!(absolute(link, None), None, "{link}");
        }
        assert_eq!(absolute(&format!("http://example.org/{}", "a".repeat(MAX_LINK)), None), None);
    }

    #[test]
    fn labels_without_a_name_stay_stable() {
        for link in ["http://amp.www..=?", "http://./&#"] {
            let once = canonical(link);
            assert_eq!(canonical(&once), once);
        }
    }

    proptest::proptest! {
        #[test]
        fn canonical_is_stable(link in "(https?://)?(www\\.|amp\\.){0,2}[a-z.:/?&=#%é0-9]{0,40}") {
            let once = canonical(&link);
            proptest::prop_assert_eq!(canonical(&once), once);
        }
    }
}
