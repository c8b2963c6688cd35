//! What most commands need first: the configuration with the flags laid over it, the log, the state directory.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use anyhow::Context;

use super::Common;
use super::exit::UsageError;
use crate::actors::{DictionaryError, Extractor, Source};
use crate::config::{Config, ConfigError, Loaded, Problem, load};
use crate::fetch::Credential;
use crate::opml::Listing;
use crate::store::FeedSpec;
use crate::telemetry::Log;

/// The configuration in force.
pub(super) struct Setup {
    pub loaded: Loaded,
    pub state: PathBuf,
    pub log: Log,
}

impl Setup {
    pub fn config(&self) -> &Config {
        &self.loaded.config
    }

    /// The alert file; `-` for standard output.
    pub fn alert_file(&self) -> PathBuf {
        let file = &self.config().output.file;
        if file.as_os_str() == "-" { file.clone() } else { self.state.join(file) }
    }
}

/// Reads the configuration, lays the common flags over it and starts the log.
pub(super) fn setup(common: &Common) -> anyhow::Result<Setup> {
    let loaded = overlaid(common)?;
    let log = crate::telemetry::start(&loaded.config.log).map_err(|error| UsageError(error.to_string()))?;
    let state = state(common, &loaded)?;
    Ok(Setup { loaded, state, log })
}

impl Setup {
    /// The same with what the configuration says now. The state directory and the form of the log stay as they are until
    /// the program is started anew, which is said.
    pub fn again(&self, common: &Common) -> anyhow::Result<Self> {
        let loaded = overlaid(common)?;
        if state(common, &loaded)? != self.state {
            tracing::warn!(state = %self.state.display(), "[state] dir has changed; the program has to be restarted for it");
        }
        if loaded.config.log.format != self.config().log.format {
            tracing::warn!("[log] format has changed; the program has to be restarted for it");
        }
        Ok(Self { loaded, state: self.state.clone(), log: self.log.clone() })
    }
}

/// The configuration with the common flags over it.
fn overlaid(common: &Common) -> anyhow::Result<Loaded> {
    let mut loaded = checked(common.config.as_deref())?;
    let log = &mut loaded.config.log;
    log.format = common.log_format.unwrap_or(log.format);
    log.level = common.log_level.clone().unwrap_or(std::mem::take(&mut log.level));
    Ok(loaded)
}

fn state(common: &Common, loaded: &Loaded) -> anyhow::Result<PathBuf> {
    match &common.state {
        Some(dir) => Ok(dir.clone()),
        None => state_dir(loaded),
    }
}

/// The configuration, refused with everything that is wrong with it: keys, values, and what they refer to.
pub(super) fn checked(file: Option<&Path>) -> Result<Loaded, ConfigError> {
    let loaded = load(file, std::env::vars())?;
    let problems = problems(&loaded);
    if problems.is_empty() { Ok(loaded) } else { Err(ConfigError::Wrong(problems)) }
}

fn problems(loaded: &Loaded) -> Vec<Problem> {
    let config = &loaded.config;
    let mut found = Vec::new();
    let mut add = |key: &str, message: String| {
        let file = loaded.file.as_ref().map_or("environment".into(), |file| file.display().to_string());
        found.push(Problem { place: format!("{file}: {key}"), message });
    };
    config.state.problems().into_iter().for_each(|problem| add("[state]", problem));
    config.model.problems().into_iter().for_each(|problem| add("[model]", problem));
    config.stories.problems().into_iter().for_each(|problem| add("[stories]", problem));
    if let Err(error) = crate::telemetry::filter(&config.log.level) {
        add("[log] level", error.to_string());
    }
    for opml in &config.feeds.opml {
        if let Err(error) = read_opml(&loaded.relative(opml)) {
            add("[feeds] opml", error.to_string());
        }
    }
    if let Err(error) = dictionary(loaded) {
        add("[actors] dictionary", error.to_string());
    }
    crate::sink::problems(&config.sink, &config.delivery).into_iter().for_each(|problem| add("[[sink]]", problem));
    for feed in &config.feed {
        if let Err(error) = address(&feed.url) {
            add("[[feed]] url", error.to_string());
        }
    }
    found
}

/// The user's dictionary files, checked where there are any: the built-in ones are by the tests.
fn dictionary(loaded: &Loaded) -> Result<(), DictionaryError> {
    if loaded.config.actors.dictionary.is_empty() { Ok(()) } else { extractor(loaded).map(|_| ()) }
}

/// The dictionary of actors, compiled, with the user's files over it.
pub(super) fn extractor(loaded: &Loaded) -> Result<Extractor, DictionaryError> {
    let files = loaded.config.actors.dictionary.iter();
    let sources = files.map(|file| Source::read(&loaded.relative(file))).collect::<Result<Vec<_>, _>>()?;
    Extractor::new(&sources)
}

fn state_dir(loaded: &Loaded) -> anyhow::Result<PathBuf> {
    if loaded.config.state.dir != "auto" {
        return Ok(loaded.relative(Path::new(&loaded.config.state.dir)));
    }
    let var = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    // systemd may name several, separated by colons; ours is the first.
    let systemd = std::env::var("STATE_DIRECTORY").ok().and_then(|dirs| dirs.split(':').next().map(PathBuf::from));
    systemd
        .or_else(|| var("XDG_STATE_HOME").map(|dir| dir.join("demarche")))
        .or_else(|| var("HOME").map(|dir| dir.join(".local/state/demarche")))
        .context("find a state directory: neither HOME nor XDG_STATE_HOME is set; name one with --state")
}

/// The feeds that the configuration names: its `[[feed]]` blocks and its OPML files.
pub(super) fn configured_feeds(loaded: &Loaded) -> anyhow::Result<Vec<FeedSpec>> {
    let mut feeds = Vec::new();
    for opml in &loaded.config.feeds.opml {
        feeds.extend(read_opml(&loaded.relative(opml))?);
    }
    for feed in &loaded.config.feed {
        feeds.push(FeedSpec {
            url: address(&feed.url)?,
            title: feed.title.clone(),
            tags: feed.tags.clone(),
            floor_s: feed.floor.map(|floor| floor.as_secs()),
        });
    }
    Ok(feeds)
}

/// The secret headers of the feeds that name some, by address. A secret `desk` is the file `desk` in systemd's
/// `$CREDENTIALS_DIRECTORY`, else the variable `DEMARCHE_CREDENTIAL_DESK`.
pub(super) fn credentials(loaded: &Loaded) -> anyhow::Result<HashMap<String, Credential>> {
    let named = loaded.config.feed.iter().filter_map(|feed| Some((feed, feed.credential.as_deref()?)));
    named.map(|(feed, name)| Ok((address(&feed.url)?, credential(name)?))).collect()
}

fn credential(name: &str) -> anyhow::Result<Credential> {
    Ok(Credential::parse(name, &secret(name)?).map_err(|error| UsageError(error.to_string()))?)
}

/// The text of a secret.
pub(super) fn secret(name: &str) -> Result<String, UsageError> {
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    if !plain {
        return Err(UsageError(format!("use credential `{name}`: its name may hold letters, digits, - and _")));
    }
    let file = std::env::var_os("CREDENTIALS_DIRECTORY").map(|dir| Path::new(&dir).join(name));
    let variable = format!("DEMARCHE_CREDENTIAL_{}", name.to_uppercase().replace('-', "_"));
    match file.filter(|file| file.exists()) {
        Some(file) => {
            std::fs::read_to_string(&file).map_err(|error| UsageError(format!("read {}: {error}", file.display())))
        }
        None => std::env::var(&variable).map_err(|_| {
            UsageError(format!(
                "find credential `{name}`: no such file in $CREDENTIALS_DIRECTORY, and {variable} is not set"
            ))
        }),
    }
}

/// The feeds of an OPML file; what it skips is logged.
pub(super) fn read_opml(path: &Path) -> anyhow::Result<Vec<FeedSpec>> {
    let listing = open_opml(path)?;
    for skipped in &listing.skipped {
        tracing::warn!(file = %path.display(), skipped, "passed over an outline");
    }
    Ok(listing.feeds)
}

/// An OPML file, read.
pub(super) fn open_opml(path: &Path) -> anyhow::Result<Listing> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| UsageError(format!("read OPML file {}: {error}", path.display())))?;
    Ok(crate::opml::read(&text).map_err(|error| UsageError(format!("{}: {error}", path.display())))?)
}

/// A feed's address in its normal form.
pub(super) fn address(text: &str) -> anyhow::Result<String> {
    let wrong = |why: &str| UsageError(format!("use feed address `{}`: {why}", crate::alert::public_url(text)));
    let mut url = url::Url::parse(text).map_err(|error| wrong(&error.to_string()))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(wrong("only http and https are polled").into());
    }
    url.set_fragment(None);
    Ok(url.into())
}
