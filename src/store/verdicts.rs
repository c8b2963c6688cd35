//! Items that wait for a verdict, and the verdicts together with the outbox: the second durable boundary.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::error::During;
use super::items::Origin;
use super::{Store, StoreError};
use crate::cluster::Sighting;
use crate::item::{Entry, Identity, Item, PublishedSource};

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
    /// The alert, if it is one.
    pub alert: Option<Raised>,
}

/// An alert, and its place among the stories.
#[derive(Debug)]
pub struct Raised {
    /// The alert's id.
    pub id: String,
    /// Its line, without the newline.
    pub line: String,
    /// Its story.
    pub story: Identity,
    /// What the story knows it by.
    pub sighting: Sighting,
}

impl Raised {
    /// An alert that is a story of its own, for tests and benches.
    pub fn alone(item: Identity, line: String) -> Self {
        let sighting = Sighting { item, ..Sighting::default() };
        Self { id: item.to_string(), line, story: Identity::of(&["story", &item.to_string()]), sighting }
    }
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

    /// Commits verdicts and, with them, the outbox rows and the stories of those that are alerts.
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

fn settle(connection: &Connection, judged: &Judged, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let sql = "UPDATE item SET outcome = ?2, score = ?3 WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![judged.row, judged.outcome(), judged.score])?;
    if let Some(alert) = &judged.alert {
        let sql = "INSERT INTO outbox (alert_id, item, line, created) VALUES (?1, ?2, ?3, ?4)
                   ON CONFLICT (alert_id) DO NOTHING";
        connection.prepare_cached(sql)?.execute(params![alert.id, judged.row, alert.line, now.timestamp_millis()])?;
        super::stories::note(connection, alert.story, &alert.sighting, now)?;
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

fn parse_source(text: &str) -> PublishedSource {
    match text {
        "first_seen" => PublishedSource::FirstSeen,
        "clamped" => PublishedSource::Clamped,
        _ => PublishedSource::Feed,
    }
}
