//! How a feed fares: written with what its poll brought.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, params};

use super::feeds::{Penalty, TWIN, place};
use super::items::{Poll, PollCounts};
use super::websub::{Hub, note_hub};
use crate::dedup::IdentityPolicy;
use crate::item::FeedId;
use crate::schedule::Scope;

/// How a polled feed fared and when it is polled again.
#[derive(Debug)]
pub struct Health {
    /// HTTP status, if there was an answer.
    pub status: Option<u16>,
    /// Class and text of the error, if it failed.
    pub error: Option<(String, String)>,
    /// Failed polls in a row that count against it.
    pub errors_in_row: u32,
    /// New validators as JSON; `None` keeps the old ones.
    pub validators: Option<String>,
    /// When to poll next; `None`: it has ended (410) and is not polled again.
    pub next_poll: Option<DateTime<Utc>>,
    /// The schedule's memory as JSON.
    pub history: Option<String>,
    /// What the document said of its hub.
    pub hub: Hub,
    /// The address the feed has moved to for good.
    pub moved_to: Option<String>,
    /// Whose other feeds wait too.
    pub penalty: Option<Penalty>,
}

/// The part of a poll that is about the feed itself.
pub(super) fn finish_poll(connection: &Connection, poll: &Poll, counts: PollCounts) -> rusqlite::Result<()> {
    if poll.intake.policy == IdentityPolicy::Link {
        set_policy(connection, poll.feed, IdentityPolicy::Link)?;
    }
    let sql = "UPDATE feed SET own_title = coalesce(?2, own_title), items_seen = items_seen + ?3 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![poll.feed, poll.own_title, counts.new])?;
    match &poll.health {
        Some(health) => update_health(connection, poll, health),
        None => Ok(()),
    }
}

fn update_health(connection: &Connection, poll: &Poll, health: &Health) -> rusqlite::Result<()> {
    let (class, error) = health.error.clone().unzip();
    let sql = "UPDATE feed SET last_poll = ?2, last_status = ?3, next_poll = coalesce(?4, next_poll),
                   gone = CASE WHEN ?4 IS NULL THEN ?2 ELSE NULL END, watched = watched AND ?4 IS NOT NULL,
                   validators = coalesce(?5, validators), history = coalesce(?6, history),
                   error_class = ?7, error = ?8, errors_in_row = ?9,
                   last_success = CASE WHEN ?7 IS NULL THEN ?2 ELSE last_success END
               WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![
        poll.feed,
        poll.at.timestamp_millis(),
        health.status,
        health.next_poll.map(|next| next.timestamp_millis()),
        health.validators,
        health.history,
        class,
        error,
        health.errors_in_row,
    ])?;
    note_hub(connection, poll.feed, &health.hub)?;
    if let Some(url) = &health.moved_to {
        adopt(connection, poll.feed, url)?;
    }
    if let Some(penalty) = &health.penalty {
        penalise(connection, penalty)?;
    }
    Ok(())
}

/// From now on the feed is polled at `url`, unless another feed is: then that one serves for both.
fn adopt(connection: &Connection, feed: FeedId, url: &str) -> rusqlite::Result<()> {
    let (host, site) = place(url);
    let sql = "UPDATE feed SET moved_to = ?2, host = ?3, site = ?4 WHERE id = ?1";
    connection.execute(sql, params![feed, url, host, site])?;
    connection.execute(&format!("UPDATE feed SET watched = 0 WHERE id = ?1 AND {TWIN}"), [feed]).map(drop)
}

/// Puts off the polls of all feeds that the penalty holds for, and spreads them so that they do not come back together.
fn penalise(connection: &Connection, penalty: &Penalty) -> rusqlite::Result<()> {
    /// Ten minutes: the gate of the host does the fine work, this only keeps the schedule honest about it.
    const SPREAD_MS: i64 = 600_000;
    let column = match penalty.scope {
        Scope::Url => return Ok(()),
        Scope::Host => "host",
        Scope::Site => "site",
    };
    let sql = format!("UPDATE feed SET next_poll = ?2 + abs(random() % ?3) WHERE {column} = ?1 AND next_poll < ?2");
    connection.execute(&sql, params![penalty.of, penalty.until.timestamp_millis(), SPREAD_MS]).map(drop)
}

/// Notes what tells the feed's items apart.
pub(super) fn set_policy(connection: &Connection, feed: FeedId, policy: IdentityPolicy) -> rusqlite::Result<()> {
    let sql = "UPDATE feed SET identity = ?2 WHERE id = ?1 AND identity <> ?2";
    connection.prepare_cached(sql)?.execute(params![feed, policy.as_str()]).map(drop)
}
