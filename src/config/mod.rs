//! Configuration: `config/demarche.toml` holds every key with its default and its explanation; a user's file and
//! `DEMARCHE_<SECTION>__<KEY>` variables are laid over it.
//!
//! The embedded file is the only home of the defaults: the types here have none.

mod env;
mod load;
mod problem;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::actors::ActorsConfig;
use crate::backfill::BackfillConfig;
use crate::classify::ClassifyConfig;
use crate::cluster::StoriesConfig;
use crate::fetch::FetchConfig;
use crate::schedule::ScheduleConfig;
use crate::serve::ServeConfig;
use crate::sink::{DeliveryConfig, OutputConfig, SinkConfig};
use crate::store::StateConfig;
use crate::websub::WebsubConfig;

pub use load::{ConfigError, Loaded, load};
pub use problem::Problem;
pub(crate) use problem::nearest;

/// The embedded, commented configuration: documentation, template and defaults in one.
pub const DEFAULTS: &str = include_str!("../../config/demarche.toml");

/// The whole configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where state lives, and how long.
    pub state: StateConfig,
    /// Which feeds to watch.
    pub feeds: FeedsConfig,
    /// Single feeds with settings of their own.
    #[serde(default)]
    pub feed: Vec<FeedConfig>,
    /// How feeds are fetched.
    pub fetch: FetchConfig,
    /// When feeds are polled.
    pub schedule: ScheduleConfig,
    /// How hubs push feeds to us.
    pub websub: WebsubConfig,
    /// Which model judges, and what is an alert.
    pub model: ClassifyConfig,
    /// Who is recognised in alerts.
    pub actors: ActorsConfig,
    /// When alerts are of one story.
    pub stories: StoriesConfig,
    /// The main alert file.
    pub output: OutputConfig,
    /// How the other sinks are tried.
    pub delivery: DeliveryConfig,
    /// The other sinks.
    #[serde(default)]
    pub sink: Vec<SinkConfig>,
    /// Where metrics and health are served.
    pub serve: ServeConfig,
    /// How history is read.
    pub backfill: BackfillConfig,
    /// How the program runs and stops.
    pub run: RunConfig,
    /// What it logs.
    pub log: LogConfig,
}

/// Section `[feeds]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FeedsConfig {
    /// OPML files, relative to the configuration file.
    pub opml: Vec<PathBuf>,
}

/// One `[[feed]]`.
#[derive(Debug, Clone, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct FeedConfig {
    /// Address of the feed document.
    pub url: String,
    /// Title for alerts; the feed's own if absent.
    pub title: Option<String>,
    /// Labels for filters.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Least time between polls of this feed.
    #[serde(default, with = "humantime_serde")]
    pub floor: Option<Duration>,
    /// Name of the secret that holds its headers or its `user:password`.
    pub credential: Option<String>,
}

/// Section `[run]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunConfig {
    /// How long a stopping run may take to finish what it has begun.
    #[serde(with = "humantime_serde")]
    pub drain: Duration,
}

/// Section `[log]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LogConfig {
    /// Filter in tracing's syntax: a level, or `target=level,…`.
    pub level: String,
    /// How log lines look.
    pub format: LogFormat,
}

/// How log lines look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}
