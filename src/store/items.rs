//! Items taken in together with their feed's validators and health: the first durable boundary.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::error::During;
use super::health::{Health, finish_poll, set_policy};
use super::history::short;
use super::keys::{Known, Seen};
use super::{Store, StoreError};
use crate::dedup::{Candidate, IdentityPolicy};
use crate::item::{FeedId, PublishedSource};

/// Which way an item came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// From a feed that was polled.
    Live,
    /// From history.
    Backfill,
}

/// What one poll of a feed (or one backfilled document) brings: committed as a whole or not at all.
#[derive(Debug)]
pub struct Poll {
    /// The feed.
    pub feed: FeedId,
    /// When it was polled.
    pub at: DateTime<Utc>,
    /// Which way its items came.
    pub origin: Origin,
    /// How the feed fared; `None` for a backfilled document, which says nothing of the feed's health.
    pub health: Option<Health>,
    /// The feed's own title, if it gave one.
    pub own_title: Option<String>,
    /// What it brought.
    pub intake: Intake,
}

/// The items of one document.
#[derive(Debug, Default)]
pub struct Intake {
    /// Entries that can be items.
    pub candidates: Vec<Candidate>,
    /// Entries that cannot.
    pub rejected: usize,
    /// What tells this feed's items apart from now on.
    pub policy: IdentityPolicy,
}

/// What became of a document's entries; the fields add up to their number.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PollCounts {
    /// Seen for the first time.
    pub new: u64,
    /// Known.
    pub duplicate: u64,
    /// Known, with another headline; judged again unless it has raised an alert already.
    pub revised: u64,
    /// Of the revised, those to be judged again.
    pub reopened: u64,
    /// Without text.
    pub rejected: u64,
}

impl Store {
    /// Commits polls: new items, validators and health of each in one transaction for all.
    ///
    /// # Errors
    /// When the database refuses; then nothing of any of them is stored.
    pub fn commit_polls(&mut self, polls: &[Poll]) -> Result<Vec<PollCounts>, StoreError> {
        let what = "store the items of a poll";
        let transaction = self.connection.transaction().during(what)?;
        let counts = polls
            .iter()
            .map(|poll| {
                let counts = take_in(&transaction, poll)?;
                finish_poll(&transaction, poll, counts).during(what)?;
                Ok(counts)
            })
            .collect::<Result<_, StoreError>>()?;
        transaction.commit().during(what)?;
        Ok(counts)
    }
}

/// Sorts a poll's candidates into new, duplicate and revised, and stores the new.
fn take_in(transaction: &Transaction<'_>, poll: &Poll) -> Result<PollCounts, StoreError> {
    let what = "store the items of a poll";
    let mut counts = PollCounts { rejected: poll.intake.rejected as u64, ..PollCounts::default() };
    let mut by_alias = 0;
    for candidate in &poll.intake.candidates {
        match sighting(transaction, candidate).during(what)? {
            None => {
                insert(transaction, poll, candidate)?;
                counts.new += 1;
            }
            // History settled it under another headline: this one is judged.
            Some(seen) if seen.known.settled.is_some_and(|settled| settled != short(candidate.headline)) => {
                let row = insert(transaction, poll, candidate)?;
                point_to(transaction, candidate, row).during(what)?;
                counts.revised += 1;
                counts.reopened += 1;
            }
            Some(seen) => {
                by_alias += usize::from(seen.by_alias && seen.known.feed == poll.feed);
                remember(transaction, poll, candidate, &seen).during(what)?;
                match revise(transaction, candidate, seen.known.item)? {
                    Revision::None => counts.duplicate += 1,
                    Revision::Recorded => counts.revised += 1,
                    Revision::Reopened => {
                        counts.revised += 1;
                        counts.reopened += 1;
                    }
                }
            }
        }
    }
    if ids_change(by_alias, poll.intake.candidates.len()) {
        set_policy(transaction, poll.feed, IdentityPolicy::Link).during(what)?;
    }
    Ok(counts)
}

/// Whether a feed's ids change from poll to poll: half of its entries and at least three are known by link and
/// headline though their ids are new.
pub(super) fn ids_change(by_alias: usize, entries: usize) -> bool {
    by_alias >= 3 && by_alias * 2 >= entries
}

struct Sighting {
    known: Known,
    by_alias: bool,
}

/// What an item's row says of its sighting.
pub(super) struct Sighted {
    pub feed: FeedId,
    pub at: DateTime<Utc>,
    pub origin: Origin,
}

fn sighting(connection: &Connection, candidate: &Candidate) -> rusqlite::Result<Option<Sighting>> {
    let mut index = Seen::of(connection)?;
    for (rank, key) in candidate.lookup.iter().enumerate() {
        if let Some(known) = index.get(*key)? {
            return Ok(Some(Sighting { known, by_alias: rank > 0 }));
        }
    }
    Ok(None)
}

fn insert(connection: &Connection, poll: &Poll, candidate: &Candidate) -> Result<i64, StoreError> {
    let sighted = Sighted { feed: poll.feed, at: poll.at, origin: poll.origin };
    let row = insert_item(connection, &sighted, candidate)?;
    let now = poll.at.timestamp_millis();
    know(connection, candidate, row, poll.feed, now).during("store the items of a poll")?;
    Ok(row)
}

/// The row of a new item, without its keys.
pub(super) fn insert_item(
    connection: &Connection,
    sighted: &Sighted,
    candidate: &Candidate,
) -> Result<i64, StoreError> {
    let what = "store the items of a poll";
    let item = &candidate.item;
    let entry = serde_json::to_string(&item.entry).map_err(|source| StoreError::Row { what: "entry", source })?;
    let sql = "INSERT INTO item (identity, feed, origin, first_seen, published, published_source, content, entry)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut statement = connection.prepare_cached(sql).during(what)?;
    statement
        .insert(params![
            item.id.0,
            sighted.feed,
            origin_str(sighted.origin),
            sighted.at.timestamp_millis(),
            item.published.timestamp_millis(),
            source_str(item.published_source),
            candidate.headline.0,
            entry,
        ])
        .during(what)
}

/// Makes all keys of `candidate` lead to `item`.
fn point_to(connection: &Connection, candidate: &Candidate, item: i64) -> rusqlite::Result<()> {
    let mut statement = connection.prepare_cached("UPDATE seen SET item = ?2, settled = NULL WHERE key = ?1")?;
    candidate.keys.iter().try_for_each(|key| statement.execute(params![key.0, item]).map(drop))
}

fn know(connection: &Connection, candidate: &Candidate, item: i64, feed: FeedId, now: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO seen (key, item, feed, last_seen) VALUES (?1, ?2, ?3, ?4) ON CONFLICT (key) DO NOTHING";
    let mut statement = connection.prepare_cached(sql)?;
    for key in &candidate.keys {
        statement.execute(params![key.0, item, feed, now])?;
    }
    Ok(())
}

/// Notes that a known item is still listed, at most daily (a write for every item of every poll would wear the disk
/// for nothing), and learns the keys it did not have.
fn remember(connection: &Connection, poll: &Poll, candidate: &Candidate, seen: &Sighting) -> rusqlite::Result<()> {
    const DAY_MS: i64 = 86_400_000;
    let now = poll.at.timestamp_millis();
    if seen.by_alias {
        know(connection, candidate, seen.known.item, poll.feed, now)?;
    }
    // A sighting in the future is of a clock that has been set back.
    if (now - seen.known.last_seen).abs() < DAY_MS {
        return Ok(());
    }
    let sql = "UPDATE seen SET last_seen = ?2, shown = nullif(?3, feed) WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    for key in &candidate.keys {
        statement.execute(params![key.0, now, poll.feed])?;
    }
    Ok(())
}

pub(super) enum Revision {
    None,
    Recorded,
    Reopened,
}

/// A known item with another headline: the new text is kept, and judged unless the item has raised its alert.
pub(super) fn revise(connection: &Connection, candidate: &Candidate, row: i64) -> Result<Revision, StoreError> {
    let what = "store a revised item";
    let mut statement = connection.prepare_cached("SELECT content, outcome FROM item WHERE id = ?1").during(what)?;
    let known: Option<([u8; 16], Option<String>)> =
        statement.query_row([row], |row| Ok((row.get(0)?, row.get(1)?))).optional().during(what)?;
    let Some((_, outcome)) = known.filter(|(content, _)| *content != candidate.headline.0) else {
        return Ok(Revision::None);
    };
    let entry =
        serde_json::to_string(&candidate.item.entry).map_err(|source| StoreError::Row { what: "entry", source })?;
    let reopened = outcome.as_deref() != Some("alert");
    let sql =
        "UPDATE item SET content = ?2, entry = ?3, outcome = CASE WHEN ?4 THEN NULL ELSE outcome END WHERE id = ?1";
    connection.execute(sql, params![row, candidate.headline.0, entry, reopened]).during(what)?;
    Ok(if reopened && outcome.is_some() { Revision::Reopened } else { Revision::Recorded })
}

fn origin_str(origin: Origin) -> &'static str {
    match origin {
        Origin::Live => "live",
        Origin::Backfill => "backfill",
    }
}

fn source_str(source: PublishedSource) -> &'static str {
    match source {
        PublishedSource::Feed => "feed",
        PublishedSource::FirstSeen => "first_seen",
        PublishedSource::Clamped => "clamped",
    }
}
