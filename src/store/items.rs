//! Items: taken in together with their feed's validators, read back while they wait for a verdict, settled together
//! with the outbox. These are the two durable boundaries of the flow.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};
use serde::{Deserialize, Serialize};

use super::error::During;
use super::feeds::{Penalty, TWIN, place};
use super::websub::{Hub, note_hub};
use super::{Store, StoreError};
use crate::dedup::{Candidate, IdentityPolicy};
use crate::item::{Entry, FeedId, Identity, Item, PublishedSource};
use crate::schedule::Scope;

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

/// An item that waits for its verdict.
#[derive(Debug, Clone)]
pub struct Pending {
    /// Row id; rises with intake.
    pub row: i64,
    /// Which way it came.
    pub origin: Origin,
    /// The item.
    pub item: Item,
    /// Address of its feed.
    pub feed_url: String,
    /// Title of its feed.
    pub feed_title: Option<String>,
}

/// An item with its outcome.
#[derive(Debug)]
pub struct Judged {
    /// Row id.
    pub row: i64,
    /// The calibrated score, if it could be judged.
    pub score: Option<f32>,
    /// The alert's id and line, if it is one.
    pub alert: Option<(String, String)>,
}

impl Judged {
    fn outcome(&self) -> &'static str {
        match (&self.score, &self.alert) {
            (_, Some(_)) => "alert",
            (Some(_), None) => "irrelevant",
            (None, None) => "unscorable",
        }
    }
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

    /// The first `limit` items that wait for a verdict, in order of intake.
    ///
    /// # Errors
    /// When the database refuses or holds what this program did not write.
    pub fn pending(&self, limit: usize) -> Result<Vec<Pending>, StoreError> {
        let what = "read the waiting items";
        let sql = "SELECT i.id, i.identity, i.origin, i.published, i.published_source, i.entry, f.url,
                          coalesce(f.title, f.own_title)
                   FROM item i JOIN feed f ON f.id = i.feed WHERE i.outcome IS NULL ORDER BY i.id LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let mut rows = statement.query([limit]).during(what)?;
        let mut waiting = Vec::new();
        while let Some(row) = rows.next().during(what)? {
            waiting.push(pending(row)?);
        }
        Ok(waiting)
    }

    /// How many items wait for a verdict.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn pending_count(&self) -> Result<usize, StoreError> {
        let sql = "SELECT count(*) FROM item WHERE outcome IS NULL";
        self.connection.query_row(sql, [], |row| row.get(0)).during("count the waiting items")
    }

    /// Commits verdicts and, with them, the outbox rows of those that are alerts.
    ///
    /// # Errors
    /// When the database refuses; then nothing is stored.
    pub fn commit_verdicts(&mut self, judged: &[Judged], now: DateTime<Utc>) -> Result<(), StoreError> {
        let what = "store the verdicts";
        let transaction = self.connection.transaction().during(what)?;
        for item in judged {
            settle(&transaction, item, now).during(what)?;
        }
        transaction.commit().during(what)
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
            Some(seen) => {
                by_alias += usize::from(seen.by_alias && seen.feed == poll.feed);
                remember(transaction, poll, candidate, &seen).during(what)?;
                match revise(transaction, candidate, seen.item)? {
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
fn ids_change(by_alias: usize, entries: usize) -> bool {
    by_alias >= 3 && by_alias * 2 >= entries
}

struct Sighting {
    item: i64,
    feed: FeedId,
    last_seen: i64,
    by_alias: bool,
}

fn sighting(connection: &Connection, candidate: &Candidate) -> rusqlite::Result<Option<Sighting>> {
    let mut statement = connection.prepare_cached("SELECT item, feed, last_seen FROM seen WHERE key = ?1")?;
    for (rank, key) in candidate.lookup.iter().enumerate() {
        let found = statement
            .query_row([&key.0], |row| {
                Ok(Sighting { item: row.get(0)?, feed: row.get(1)?, last_seen: row.get(2)?, by_alias: rank > 0 })
            })
            .optional()?;
        if found.is_some() {
            return Ok(found);
        }
    }
    Ok(None)
}

fn insert(connection: &Connection, poll: &Poll, candidate: &Candidate) -> Result<(), StoreError> {
    let what = "store the items of a poll";
    let item = &candidate.item;
    let entry = serde_json::to_string(&item.entry).map_err(|source| StoreError::Row { what: "entry", source })?;
    let sql = "INSERT INTO item (identity, feed, origin, first_seen, published, published_source, content, entry)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let mut statement = connection.prepare_cached(sql).during(what)?;
    let now = poll.at.timestamp_millis();
    let row = statement
        .insert(params![
            item.id.0,
            poll.feed,
            origin_str(poll.origin),
            now,
            item.published.timestamp_millis(),
            source_str(item.published_source),
            candidate.headline.0,
            entry,
        ])
        .during(what)?;
    know(connection, candidate, row, poll.feed, now).during(what)
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
        know(connection, candidate, seen.item, poll.feed, now)?;
    }
    if now - seen.last_seen < DAY_MS {
        return Ok(());
    }
    let mut statement = connection.prepare_cached("UPDATE seen SET last_seen = ?2 WHERE key = ?1")?;
    for key in &candidate.keys {
        statement.execute(params![key.0, now])?;
    }
    Ok(())
}

enum Revision {
    None,
    Recorded,
    Reopened,
}

/// A known item with another headline: the new text is kept, and judged unless the item has raised its alert.
fn revise(connection: &Connection, candidate: &Candidate, row: i64) -> Result<Revision, StoreError> {
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

fn finish_poll(connection: &Connection, poll: &Poll, counts: PollCounts) -> rusqlite::Result<()> {
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

fn set_policy(connection: &Connection, feed: FeedId, policy: IdentityPolicy) -> rusqlite::Result<()> {
    let sql = "UPDATE feed SET identity = ?2 WHERE id = ?1 AND identity <> ?2";
    connection.prepare_cached(sql)?.execute(params![feed, policy.as_str()]).map(drop)
}

fn settle(connection: &Connection, judged: &Judged, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let sql = "UPDATE item SET outcome = ?2, score = ?3 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![judged.row, judged.outcome(), judged.score])?;
    if let Some((alert_id, line)) = &judged.alert {
        let sql = "INSERT INTO outbox (alert_id, item, line, created) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (alert_id) DO NOTHING";
        connection.prepare_cached(sql)?.execute(params![alert_id, judged.row, line, now.timestamp_millis()])?;
    }
    Ok(())
}

fn pending(row: &Row<'_>) -> Result<Pending, StoreError> {
    let what = "read the waiting items";
    let entry: String = row.get(5).during(what)?;
    let entry: Entry = serde_json::from_str(&entry).map_err(|source| StoreError::Row { what: "entry", source })?;
    let published: i64 = row.get(3).during(what)?;
    let origin: String = row.get(2).during(what)?;
    let source: String = row.get(4).during(what)?;
    Ok(Pending {
        row: row.get(0).during(what)?,
        origin: if origin == "backfill" { Origin::Backfill } else { Origin::Live },
        item: Item {
            id: Identity(row.get(1).during(what)?),
            entry,
            published: DateTime::from_timestamp_millis(published).unwrap_or_default(),
            published_source: parse_source(&source),
        },
        feed_url: row.get(6).during(what)?,
        feed_title: row.get(7).during(what)?,
    })
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

fn parse_source(text: &str) -> PublishedSource {
    match text {
        "first_seen" => PublishedSource::FirstSeen,
        "clamped" => PublishedSource::Clamped,
        _ => PublishedSource::Feed,
    }
}
