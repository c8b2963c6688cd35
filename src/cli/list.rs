//! `demarche feeds list`: which feeds there are, and how each fares.

use std::io::Write;

use anyhow::Context;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::feeds::feeds;
use super::setup::Setup;
use super::{Exit, table};
use crate::alert::public_url;
use crate::schedule::History;
use crate::store::FeedRow;

const HEADINGS: [&str; 10] =
    ["state", "flags", "items", "a day", "last success", "next poll", "told by", "feed", "title", "last error"];

/// A feed with what its history says of it.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    feed: FeedRow,
    /// New items a day, averaged over about a week; `None` until two polls have shown it.
    items_a_day: Option<f64>,
    /// Whether its entries vanished after weeks with some.
    silent_zero: bool,
    /// Whether it is silent far beyond its habit.
    stale: bool,
}

pub(super) fn run(setup: &Setup, all: bool, json: bool) -> anyhow::Result<Exit> {
    let now = Utc::now();
    let listed: Vec<Listed> = feeds(setup, all)?.into_iter().map(|feed| Listed::new(feed, now)).collect();
    if json {
        let mut out = std::io::stdout().lock();
        for feed in &listed {
            writeln!(out, "{}", serde_json::to_string(feed)?).context("write to standard output")?;
        }
    } else {
        table::print(HEADINGS, &listed.iter().map(Listed::row).collect::<Vec<_>>())?;
    }
    Ok(Exit::Ok)
}

impl Listed {
    fn new(mut feed: FeedRow, now: DateTime<Utc>) -> Self {
        let history = History::from_json(feed.history.as_deref());
        feed.url = public_url(&feed.url);
        feed.moved_to = feed.moved_to.as_deref().map(public_url);
        Self {
            items_a_day: history.counted.map(|_| (history.per_day * 100.0).round() / 100.0),
            silent_zero: history.is_silent_zero(),
            stale: history.is_stale(now),
            feed,
        }
    }

    fn state(&self) -> String {
        match (&self.feed.error_class, self.feed.active, self.feed.last_poll) {
            _ if self.feed.gone.is_some() => "ended".into(),
            (_, false, _) => "off".into(),
            (Some(class), ..) => format!("{class} ×{}", self.feed.errors_in_row),
            (None, _, None) => "new".into(),
            _ => "ok".into(),
        }
    }

    fn flags(&self) -> String {
        let flags = [(self.silent_zero, "silent-zero"), (self.stale, "stale")];
        let set: Vec<&str> = flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, name)| name).collect();
        if set.is_empty() { "-".into() } else { set.join(",") }
    }

    fn row(&self) -> [String; 10] {
        let time = |time: Option<DateTime<Utc>>| time.map_or("-".into(), |t| t.format("%Y-%m-%d %H:%M").to_string());
        let next = self.feed.next_poll.filter(|_| self.feed.active && self.feed.gone.is_none());
        let next = if self.feed.last_poll.is_none() && next.is_some() { "now".into() } else { time(next) };
        [
            self.state(),
            self.flags(),
            self.feed.items.to_string(),
            self.items_a_day.map_or("-".into(), |rate| format!("{rate:.1}")),
            time(self.feed.last_success),
            next,
            table::word(&self.feed.identity),
            self.feed.url.clone(),
            self.feed.title.clone().unwrap_or_else(|| "-".into()),
            self.feed.error.clone().unwrap_or_default(),
        ]
    }
}
