//! Sightings by story: what the stories are rebuilt from at start.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Row, params};

use super::error::During;
use super::{Store, StoreError};
use crate::alert::verdict_of;
use crate::classify::{STAGES, Text};
use crate::cluster::copies::Said;
use crate::cluster::{Sighting, Vector};
use crate::item::{Embedding, Entry, Identity, Stage};

impl Store {
    /// Calls `take` with every sighting that is kept and its story, in the order in which they were placed.
    ///
    /// # Errors
    /// When the database refuses or holds what this program did not write.
    pub fn each_sighting(&self, mut take: impl FnMut(Identity, &Sighting)) -> Result<(), StoreError> {
        let what = "read the stories";
        let sql = "SELECT story, item, at, owner, stage, print, terms, about FROM sighting ORDER BY id";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let mut rows = statement.query([]).during(what)?;
        while let Some(row) = rows.next().during(what)? {
            let (story, sighting) = sighting(row).during(what)?;
            take(story, &sighting);
        }
        Ok(())
    }

    /// Notes that `model` judges from now on, unless it has before, and gives the first `most` items that it judged last
    /// with what it said of them, in order of intake.
    ///
    /// # Errors
    /// When the database refuses or holds what this program did not write.
    pub fn judged_of_late(&mut self, model: &str, most: usize) -> Result<Vec<(Text, Said)>, StoreError> {
        let what = "read the last verdicts";
        let after = self.judged_by(model).during(what)?;
        let sql = "SELECT i.entry, i.score, i.outcome = 'alert', o.line FROM item i LEFT JOIN outbox o ON o.item = i.id
                   WHERE i.id > ?1 AND i.outcome IN ('alert', 'irrelevant') ORDER BY i.id DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let mut rows = statement.query(params![after, most]).during(what)?;
        let mut judged = Vec::new();
        while let Some(row) = rows.next().during(what)? {
            judged.extend(said(row)?);
        }
        judged.reverse();
        Ok(judged)
    }

    /// The last item before the present model's first.
    fn judged_by(&mut self, model: &str) -> rusqlite::Result<i64> {
        let transaction = self.connection.transaction()?;
        let same = "SELECT after FROM judged_by WHERE model = ?1";
        let after = match transaction.query_row(same, [model], |row| row.get(0)) {
            Err(rusqlite::Error::QueryReturnedNoRows) => {
                transaction.execute("DELETE FROM judged_by", [])?;
                let sql = "INSERT INTO judged_by (model, after)
                           VALUES (?1, coalesce((SELECT max(id) FROM item WHERE outcome IS NOT NULL), 0))
                           RETURNING after";
                transaction.query_row(sql, [model], |row| row.get(0))?
            }
            known => known?,
        };
        transaction.commit()?;
        Ok(after)
    }
}

/// Notes a sighting and that its story was heard of. One that is noted already stays as it is.
pub(super) fn note(
    connection: &Connection,
    story: Identity,
    sighting: &Sighting,
    now: DateTime<Utc>,
) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO sighting (item, story, at, owner, stage, print, terms, about)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    connection.prepare_cached(sql)?.execute(params![
        sighting.item.0,
        story.0,
        sighting.at.timestamp_millis(),
        sighting.owner,
        sighting.stage.name(),
        sighting.print.map(u64::cast_signed),
        sighting.vector.to_bytes(),
        sighting.embedding.as_ref().map(Embedding::to_bytes),
    ])?;
    let sql = "INSERT INTO story (id, last) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET last = max(last, ?2)";
    connection.prepare_cached(sql)?.execute(params![story.0, now.timestamp_millis()]).map(drop)
}

/// Forgets stories with their sightings.
pub(super) fn forget(connection: &Connection, stories: &[[u8; 16]]) -> rusqlite::Result<()> {
    for story in stories {
        connection.prepare_cached("DELETE FROM sighting WHERE story = ?1")?.execute([story])?;
        connection.prepare_cached("DELETE FROM told WHERE story = ?1")?.execute([story])?;
        connection.prepare_cached("DELETE FROM story WHERE id = ?1")?.execute([story])?;
    }
    Ok(())
}

fn sighting(row: &Row<'_>) -> rusqlite::Result<(Identity, Sighting)> {
    let (stage, terms): (String, Vec<u8>) = (row.get(4)?, row.get(6)?);
    let sighting = Sighting {
        item: Identity(row.get(1)?),
        at: DateTime::from_timestamp_millis(row.get(2)?).unwrap_or_default(),
        owner: row.get(3)?,
        stage: stage_of(&stage),
        print: row.get::<_, Option<i64>>(5)?.map(i64::cast_unsigned),
        vector: Vector::from_bytes(&terms),
        embedding: row.get::<_, Option<Vec<u8>>>(7)?.and_then(|bytes| Embedding::from_bytes(&bytes)),
    };
    Ok((Identity(row.get(0)?), sighting))
}

/// What was said of an item; `None` for an alert whose line is no longer kept.
fn said(row: &Row<'_>) -> Result<Option<(Text, Said)>, StoreError> {
    let what = "read the last verdicts";
    let (entry, score, alert, line): (String, Option<f32>, bool, Option<String>) =
        (row.get(0).during(what)?, row.get(1).during(what)?, row.get(2).during(what)?, row.get(3).during(what)?);
    let said = match (alert, line, score) {
        (true, Some(line), _) => {
            Said::Alert(verdict_of(&line).map_err(|source| StoreError::Row { what: "alert", source })?)
        }
        (false, _, Some(score)) => Said::Irrelevant(score),
        _ => return Ok(None),
    };
    let entry: Entry = serde_json::from_str(&entry).map_err(|source| StoreError::Row { what: "entry", source })?;
    Ok(Some((Text::new(entry.title, entry.summary), said)))
}

fn stage_of(name: &str) -> Stage {
    STAGES.into_iter().find(|stage| stage.name() == name).unwrap_or_default()
}

#[cfg(test)]
mod tests;
