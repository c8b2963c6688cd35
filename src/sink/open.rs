//! From the configuration to the sinks.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use ring::hmac;
use thiserror::Error;
use url::Url;

use super::config::{DeliveryConfig, OutputConfig, SinkConfig, SinkKind};
use super::{CommandSink, FileSink, Format, Outlet, Retry, Sink, SinkError, Webhook, webhook};
use crate::fetch::{Credential, FetchConfig, Fetcher, SetupError};
use crate::item::Identity;

/// What the sinks are made of.
pub struct Parts<'a> {
    /// The main alert file; `-` is standard output.
    pub main: &'a Path,
    /// Where relative paths start.
    pub state: &'a Path,
    /// How alert files are kept.
    pub output: &'a OutputConfig,
    /// How webhooks and commands are tried.
    pub delivery: &'a DeliveryConfig,
    /// The other sinks.
    pub sinks: &'a [SinkConfig],
    /// How webhooks reach the net: proxy, certificates, what is allowed besides the public.
    pub fetch: &'a FetchConfig,
    /// Where secrets are.
    pub secrets: &'a Secrets<'a>,
}

/// Gives the text of the secret of a name, or says why there is none.
pub type Secrets<'a> = dyn Fn(&str) -> Result<String, String> + 'a;

/// Why the sinks cannot be made.
#[derive(Debug, Error)]
pub enum OpenError {
    /// A file cannot be opened.
    #[error(transparent)]
    Sink(#[from] SinkError),
    /// The configuration of one is wrong.
    #[error("use sink {name}: {reason}")]
    Unusable {
        /// The sink.
        name: String,
        /// What is wrong.
        reason: String,
    },
}

/// Makes the sinks: the main alert file first.
///
/// # Errors
/// [`OpenError`] for the first that cannot be made.
pub fn open(parts: &Parts<'_>) -> Result<Vec<Outlet>, OpenError> {
    let main = Outlet::main(FileSink::open(parts.main, parts.output.policy())?);
    let main = Outlet { address: hash(&main.address), ..main };
    let others = parts.sinks.iter().map(|sink| outlet(sink, parts));
    let outlets = std::iter::once(Ok(main)).chain(others).collect::<Result<Vec<_>, _>>()?;
    let mut addresses = HashSet::new();
    match outlets.iter().find(|outlet| !addresses.insert(&outlet.address)) {
        // Two at one path would cut off each other's lines.
        Some(twice) => {
            Err(OpenError::Unusable { name: twice.name.clone(), reason: "another one writes its file".into() })
        }
        None => Ok(outlets),
    }
}

/// What a sink is connected to, as the store remembers it: an address may be a secret.
fn hash(address: &str) -> String {
    Identity::of(&["sink", address]).to_string()
}

fn outlet(config: &SinkConfig, parts: &Parts<'_>) -> Result<Outlet, OpenError> {
    let unusable = |reason| OpenError::Unusable { name: config.name.clone(), reason };
    let (sink, address): (Box<dyn Sink>, String) = match config.kind {
        SinkKind::File => {
            let output = config.output(parts.output);
            let path = if output.file == Path::new("-") { output.file.clone() } else { parts.state.join(&output.file) };
            (Box::new(FileSink::later(&path, output.policy())), path.display().to_string())
        }
        SinkKind::Webhook => {
            let webhook = webhook(config, parts).map_err(unusable)?;
            let address = format!("{} {}", config.name, webhook.url);
            (Box::new(webhook), address)
        }
        SinkKind::Command => {
            let command = config.command.clone().unwrap_or_default();
            let timeout = config.timeout.unwrap_or(parts.delivery.timeout);
            let address = format!("{} {}", config.name, command.join(" "));
            let concurrency = config.concurrency.unwrap_or(1);
            (Box::new(CommandSink { name: config.name.clone(), command, concurrency, timeout }), address)
        }
    };
    let remote = config.kind != SinkKind::File;
    let retry = if remote { parts.delivery.retry() } else { Retry::local() };
    let address = hash(&address);
    let (name, filter, stories) = (config.name.clone(), config.filter(), config.stories);
    Ok(Outlet { name, sink, filter, stories, retry, remote, address })
}

fn webhook(config: &SinkConfig, parts: &Parts<'_>) -> Result<Webhook, String> {
    let key = config.secret.as_deref().map(parts.secrets).transpose()?;
    let credential = config.credential.as_deref().map(|name| credential(name, parts)).transpose()?;
    Ok(Webhook {
        name: config.name.clone(),
        url: address(config, parts)?,
        format: config.format.unwrap_or(Format::Json),
        // The file of a secret ends with a newline that is no part of it.
        key: key.map(|key| hmac::Key::new(hmac::HMAC_SHA256, key.trim_end_matches(['\r', '\n']).as_bytes())),
        credential,
        fetcher: Arc::new(fetcher(config, parts).map_err(|error| error.to_string())?),
    })
}

fn address(config: &SinkConfig, parts: &Parts<'_>) -> Result<Url, String> {
    match (&config.url, &config.url_secret) {
        (Some(url), _) => webhook::address(url),
        (None, Some(secret)) => webhook::address(&(parts.secrets)(secret)?),
        (None, None) => Err("it has no address".into()),
    }
}

fn credential(name: &str, parts: &Parts<'_>) -> Result<Credential, String> {
    Credential::parse(name, &(parts.secrets)(name)?).map_err(|error| error.to_string())
}

/// A client of its own: what one webhook may reach is not open to feeds, nor to another one.
fn fetcher(config: &SinkConfig, parts: &Parts<'_>) -> Result<Fetcher, SetupError> {
    let mut fetch = parts.fetch.clone();
    let timeout = config.timeout.unwrap_or(parts.delivery.timeout);
    (fetch.timeout, fetch.read_timeout) = (timeout, timeout);
    fetch.connect_timeout = fetch.connect_timeout.min(timeout);
    fetch.allow_net.extend(config.allow_net.iter().flatten().cloned());
    Fetcher::new(&fetch)
}
