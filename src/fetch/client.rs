//! The HTTP client: one for all feeds, so that connections are reused.

use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, HeaderMap, HeaderValue};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::guard::{Guard, GuardedResolver};
use super::{FetchConfig, SetupError};

/// Feed types first, then anything: some servers answer 406 to a list without `*/*`.
const ACCEPTED: &str = "application/atom+xml, application/rss+xml, application/feed+json, application/rdf+xml, \
                        application/xml;q=0.8, text/xml;q=0.8, application/json;q=0.7, */*;q=0.1";

/// How long an idle connection is kept. Long enough for the next feed of the same host, which follows within seconds;
/// longer keeps a file descriptor for each of very many hosts: a first round over thousands asks hundreds a second.
const IDLE: Duration = Duration::from_secs(5);

pub(super) fn build(config: &FetchConfig, guard: Guard) -> Result<reqwest::Client, SetupError> {
    let accept = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(ACCEPTED))]);
    let agent = HeaderValue::from_str(&user_agent(&config.contact)).map_err(|_| SetupError::Contact)?;
    let builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls(config)?)
        .user_agent(agent)
        .default_headers(accept)
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .retry(reqwest::retry::never())
        .connect_timeout(config.connect_timeout)
        .read_timeout(config.read_timeout)
        .pool_idle_timeout(IDLE)
        .http1_ignore_invalid_headers_in_responses(true)
        .dns_resolver(GuardedResolver(Arc::new(guard)))
        .no_proxy();
    let builder = match proxy(config)? {
        Some(proxy) => builder.proxy(proxy),
        None => builder,
    };
    builder.build().map_err(|error| SetupError::Client(super::reason(&error)))
}

fn user_agent(contact: &str) -> String {
    let product = concat!("demarche/", env!("CARGO_PKG_VERSION"));
    if contact.is_empty() { product.to_owned() } else { format!("{product} (+{contact})") }
}

/// Through a proxy, names are resolved by the proxy: keeping it out of private networks is the proxy's part.
fn proxy(config: &FetchConfig) -> Result<Option<reqwest::Proxy>, SetupError> {
    if config.proxy.is_empty() {
        return Ok(None);
    }
    reqwest::Proxy::all(&config.proxy).map(Some).map_err(|error| SetupError::Proxy { reason: super::reason(&error) })
}

/// rustls with ring, named here rather than installed for the whole process. A machine without certificates can still
/// fetch over http; https then fails as untrusted.
fn tls(config: &FetchConfig) -> Result<rustls::ClientConfig, SetupError> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if !config.ca_file.as_os_str().is_empty() {
        add_file(&mut roots, config)?;
    }
    if roots.is_empty() {
        tracing::warn!("no certificates found on this system: every https feed will fail; install ca-certificates");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut tls = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| SetupError::Client(error.to_string()))?
        .with_root_certificates(roots)
        .with_no_client_auth();
    tls.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(tls)
}

fn add_file(roots: &mut rustls::RootCertStore, config: &FetchConfig) -> Result<(), SetupError> {
    let wrong = |reason: String| SetupError::CaFile { path: config.ca_file.clone(), reason };
    let certificates = CertificateDer::pem_file_iter(&config.ca_file).map_err(|error| wrong(error.to_string()))?;
    let mut count = 0;
    for certificate in certificates {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
        count += 1;
    }
    if count == 0 { Err(wrong("no certificate in it".into())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rule_40_the_user_agent_names_program_version_and_contact() {
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(user_agent("https://desk.example/bot"), format!("demarche/{version} (+https://desk.example/bot)"));
        assert_eq!(user_agent(""), format!("demarche/{version}"));
    }
}
