//! Sections `[output]`, `[delivery]` and `[[sink]]` of the configuration. The defaults and their reasons are in
//! `config/demarche.toml`.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

use super::filter::{Filter, Grade};
use super::{Compression, FilePolicy, Format, Fsync, Keep, MAIN, Retry, Rotation, Stories};
use crate::item::Stage;

/// The main alert file, and how every alert file is kept.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutputConfig {
    /// The alert file; `-` is standard output; a relative path lies in the state directory.
    pub file: PathBuf,
    /// When the file is synced to disk.
    pub fsync: Fsync,
    /// How long lines may wait for it.
    #[serde(with = "humantime_serde")]
    pub fsync_interval: Duration,
    /// Size beyond which the file is closed; 0: never.
    pub rotate_size: ByteSize,
    /// Whether it is closed with the first alert of a day (UTC).
    pub rotate_daily: bool,
    /// How closed files are compressed.
    pub compress: Compression,
    /// Closed files older than this are removed; 0: never.
    #[serde(with = "humantime_serde")]
    pub keep_age: Duration,
    /// Most that closed files take together; 0: no limit.
    pub keep_total: ByteSize,
}

impl OutputConfig {
    /// How the file is kept.
    pub fn policy(&self) -> FilePolicy {
        let some = |size: ByteSize| Some(size.as_u64()).filter(|size| *size > 0);
        FilePolicy {
            fsync: self.fsync,
            fsync_interval: self.fsync_interval,
            rotation: Rotation { size: some(self.rotate_size), daily: self.rotate_daily },
            compression: self.compress,
            keep: Keep { age: Some(self.keep_age).filter(|age| !age.is_zero()), total: some(self.keep_total) },
        }
    }
}

/// How sinks outside of the program are tried.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeliveryConfig {
    /// Longest time for one delivery.
    #[serde(with = "humantime_serde")]
    pub timeout: Duration,
    /// First wait after a failure; doubles.
    #[serde(with = "humantime_serde")]
    pub retry_first: Duration,
    /// Longest wait.
    #[serde(with = "humantime_serde")]
    pub retry_longest: Duration,
    /// Share of a wait that is added at most, at random (0–1).
    pub retry_jitter: f64,
    /// An alert that was tried for so long is parked; 0: never.
    #[serde(with = "humantime_serde")]
    pub give_up: Duration,
}

impl DeliveryConfig {
    /// As the lanes use it.
    pub fn retry(&self) -> Retry {
        let give_up = Some(self.give_up).filter(|time| !time.is_zero());
        Retry { first: self.retry_first, longest: self.retry_longest, jitter: self.retry_jitter, give_up }
    }
}

/// What a sink is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SinkKind {
    /// Another alert file.
    File,
    /// An address that alerts are posted to.
    Webhook,
    /// A program that gets alerts on its standard input.
    Command,
}

/// One `[[sink]]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SinkConfig {
    /// Its name: what the store remembers it by.
    pub name: String,
    /// What it is.
    #[serde(rename = "type")]
    pub kind: SinkKind,

    /// Least score, 0–1.
    #[serde(default)]
    pub min_score: f32,
    /// Most probable grades.
    #[serde(default)]
    pub grades: Vec<Grade>,
    /// Stages.
    #[serde(default)]
    pub stages: Vec<Stage>,
    /// Tags of feeds.
    #[serde(default)]
    pub tags: Vec<String>,
    /// Languages.
    #[serde(default)]
    pub languages: Vec<String>,
    /// Whether alerts of a backfill go there too.
    #[serde(default)]
    pub backfill: bool,
    /// How much it is told of a story.
    #[serde(default)]
    pub stories: Stories,

    /// File: its path, relative to the state directory.
    pub file: Option<PathBuf>,
    /// File: over `[output] fsync`.
    pub fsync: Option<Fsync>,
    /// File: over `[output] fsync_interval`.
    #[serde(default, with = "humantime_serde")]
    pub fsync_interval: Option<Duration>,
    /// File: over `[output] rotate_size`.
    pub rotate_size: Option<ByteSize>,
    /// File: over `[output] rotate_daily`.
    pub rotate_daily: Option<bool>,
    /// File: over `[output] compress`.
    pub compress: Option<Compression>,
    /// File: over `[output] keep_age`.
    #[serde(default, with = "humantime_serde")]
    pub keep_age: Option<Duration>,
    /// File: over `[output] keep_total`.
    pub keep_total: Option<ByteSize>,

    /// Webhook: where to post.
    pub url: Option<String>,
    /// Webhook: name of the secret that holds the address.
    pub url_secret: Option<String>,
    /// Webhook: name of the secret that signs.
    pub secret: Option<String>,
    /// Webhook: name of the secret with request headers, or with `user:password`.
    pub credential: Option<String>,
    /// Webhook: what is posted.
    pub format: Option<Format>,
    /// Webhook: hosts and networks that may be posted to although they are not public.
    pub allow_net: Option<Vec<String>>,

    /// Command: the program and its arguments.
    pub command: Option<Vec<String>>,
    /// Command: how many run at once.
    pub concurrency: Option<usize>,

    /// Webhook, command: over `[delivery] timeout`.
    #[serde(default, with = "humantime_serde")]
    pub timeout: Option<Duration>,
}

impl SinkConfig {
    /// The keys, as a wrong one is told.
    pub const KEYS: [&str; 26] = [
        "name",
        "type",
        "min_score",
        "grades",
        "stages",
        "tags",
        "languages",
        "backfill",
        "stories",
        "file",
        "fsync",
        "fsync_interval",
        "rotate_size",
        "rotate_daily",
        "compress",
        "keep_age",
        "keep_total",
        "url",
        "url_secret",
        "secret",
        "credential",
        "format",
        "allow_net",
        "command",
        "concurrency",
        "timeout",
    ];

    /// Which alerts it gets.
    pub fn filter(&self) -> Filter {
        Filter {
            min_score: self.min_score,
            grades: self.grades.clone(),
            stages: self.stages.clone(),
            tags: self.tags.clone(),
            languages: self.languages.clone(),
            backfill: self.backfill,
        }
    }

    /// `[output]` with this sink's own values over it.
    pub fn output(&self, output: &OutputConfig) -> OutputConfig {
        OutputConfig {
            file: self.file.clone().unwrap_or_default(),
            fsync: self.fsync.unwrap_or(output.fsync),
            fsync_interval: self.fsync_interval.unwrap_or(output.fsync_interval),
            rotate_size: self.rotate_size.unwrap_or(output.rotate_size),
            rotate_daily: self.rotate_daily.unwrap_or(output.rotate_daily),
            compress: self.compress.unwrap_or(output.compress),
            keep_age: self.keep_age.unwrap_or(output.keep_age),
            keep_total: self.keep_total.unwrap_or(output.keep_total),
        }
    }

    /// The keys that only one kind has, and are there: with the kind they belong to.
    fn own_keys(&self) -> Vec<(&'static str, &'static [SinkKind])> {
        use SinkKind::{Command, File, Webhook};
        let keys: [(bool, &str, &[SinkKind]); 17] = [
            (self.file.is_some(), "file", &[File]),
            (self.fsync.is_some(), "fsync", &[File]),
            (self.fsync_interval.is_some(), "fsync_interval", &[File]),
            (self.rotate_size.is_some(), "rotate_size", &[File]),
            (self.rotate_daily.is_some(), "rotate_daily", &[File]),
            (self.compress.is_some(), "compress", &[File]),
            (self.keep_age.is_some(), "keep_age", &[File]),
            (self.keep_total.is_some(), "keep_total", &[File]),
            (self.url.is_some(), "url", &[Webhook]),
            (self.url_secret.is_some(), "url_secret", &[Webhook]),
            (self.secret.is_some(), "secret", &[Webhook]),
            (self.credential.is_some(), "credential", &[Webhook]),
            (self.format.is_some(), "format", &[Webhook]),
            (self.allow_net.is_some(), "allow_net", &[Webhook]),
            (self.command.is_some(), "command", &[Command]),
            (self.concurrency.is_some(), "concurrency", &[Command]),
            (self.timeout.is_some(), "timeout", &[Webhook, Command]),
        ];
        keys.into_iter().filter(|(there, ..)| *there).map(|(_, key, kinds)| (key, kinds)).collect()
    }

    /// What is wrong with it.
    fn problems(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut add = |message: String| found.push(format!("sink `{}`: {message}", self.name));
        let plain = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
        if self.name.is_empty() || !plain(&self.name) || self.name == MAIN {
            add(format!("name it with letters, digits, - and _, and not `{MAIN}`: that is the main alert file"));
        }
        for (key, kinds) in self.own_keys() {
            if !kinds.contains(&self.kind) {
                add(format!("`{key}` does not belong to its type"));
            }
        }
        if !(0.0..=1.0).contains(&self.min_score) {
            add("`min_score` is a probability, from 0 to 1".into());
        }
        match self.kind {
            SinkKind::File if self.file.is_none() => add("`file` is missing".into()),
            SinkKind::Command if self.command.as_ref().is_none_or(Vec::is_empty) => {
                add("`command` is missing: write it as [\"program\", \"argument\"]".into());
            }
            SinkKind::Webhook if self.url.is_some() == self.url_secret.is_some() => {
                add("give it either `url` or `url_secret`".into());
            }
            _ => {}
        }
        if let Some(Err(error)) = self.url.as_deref().map(super::webhook::address) {
            add(error);
        }
        if self.concurrency == Some(0) || self.timeout.is_some_and(|time| time.is_zero()) {
            add("`concurrency` and `timeout` must be more than 0".into());
        }
        found
    }
}

/// What is wrong with the sinks, and how they are tried, that single values do not show.
pub fn problems(sinks: &[SinkConfig], delivery: &DeliveryConfig) -> Vec<String> {
    let mut found: Vec<String> = sinks.iter().flat_map(SinkConfig::problems).collect();
    let mut names = BTreeSet::new();
    for twice in sinks.iter().filter(|sink| !names.insert(&sink.name)) {
        found.push(format!("sink `{}`: another one has its name", twice.name));
    }
    if !(0.0..=1.0).contains(&delivery.retry_jitter) {
        found.push("[delivery] retry_jitter is a share, from 0 to 1".into());
    }
    if delivery.retry_first.is_zero() || delivery.timeout.is_zero() {
        found.push("[delivery] retry_first and timeout must be more than 0".into());
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sink(text: &str) -> SinkConfig {
        toml::from_str(text).unwrap()
    }

    fn delivery() -> DeliveryConfig {
        let text =
            "timeout = \"10s\"\nretry_first = \"5s\"\nretry_longest = \"1h\"\nretry_jitter = 0.5\ngive_up = \"0s\"";
        toml::from_str(text).unwrap()
    }

    #[test]
    fn a_good_sink_of_each_type() {
        let sinks = [
            sink(
                "name = \"copy\"\ntype = \"file\"\nfile = \"copy.jsonl\"\nrotate_size = \"1MiB\"\nkeep_age = \"30days\"",
            ),
            sink("name = \"desk\"\ntype = \"webhook\"\nurl = \"https://desk.example/hook\"\nstages = [\"agreed\"]"),
            sink("name = \"mail\"\ntype = \"command\"\ncommand = [\"mail\"]\nconcurrency = 2\ntimeout = \"1m\""),
        ];
        assert_eq!(problems(&sinks, &delivery()), Vec::<String>::new());
        assert_eq!(delivery().retry().give_up, None);
    }

    #[test]
    fn every_problem_is_named() {
        let sinks = [
            sink("name = \"output\"\ntype = \"file\"\nfile = \"a\""),
            sink("name = \"a b\"\ntype = \"file\"\nurl = \"https://x.example/\""),
            sink("name = \"desk\"\ntype = \"webhook\"\nmin_score = 2"),
            sink("name = \"desk\"\ntype = \"command\"\nconcurrency = 0"),
            sink("name = \"hook\"\ntype = \"webhook\"\nurl = \"ftp://x.example/\""),
        ];
        let found = problems(&sinks, &delivery()).join("\n");
        for part in [
            "main alert file",
            "`a b`: name it",
            "`url` does not belong",
            "`file` is missing",
            "`min_score`",
            "either `url` or `url_secret`",
            "`command` is missing",
            "`concurrency`",
            "another one has its name",
            "only http and https",
        ] {
            assert!(found.contains(part), "{part} in\n{found}");
        }
    }

    #[test]
    fn the_list_of_keys_is_complete() {
        let error = toml::from_str::<SinkConfig>("wrong = 1").unwrap_err().to_string();
        for key in SinkConfig::KEYS {
            assert!(error.contains(&format!("`{key}`")), "{key}: {error}");
        }
        assert_eq!(error.matches('`').count() / 2, SinkConfig::KEYS.len() + 1, "{error}");
    }
}
