//! Forgetting by age, in small transactions: a database under constant flow stays as large as its ages allow.
//!
//! Items and alerts have served when they are judged and delivered. A key is what keeps an item from being taken for new,
//! so its age is counted in its feed's own time: from the last document that listed it to the last document of all. A feed
//! that only says "not modified", or fails, may still list what it listed, however long ago that was.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, named_params, params};

use super::error::During;
use super::{Store, StoreError};

/// Rows that one call deletes at most, of items and of alerts each. An item with its text is a page or less, so that a call
/// takes milliseconds; more would keep the pipeline waiting, fewer only makes more calls.
pub const ROWS: usize = 200;

/// Keys that one call looks at: some thirty pages.
pub const KEYS: usize = 2_000;

/// Stories that one call forgets at most: most have a few sightings, of half a kilobyte each.
pub const STORIES: usize = 50;

/// How long what is kept, and why: `[state]` of the configuration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Keep {
    /// Items, from their intake.
    pub items: Duration,
    /// Alerts, from their delivery.
    pub alerts: Duration,
    /// Keys, from the last document that listed them.
    pub seen: Duration,
    /// Stories, from their last sighting.
    pub stories: Duration,
}

/// Where the search for old keys has got to: it walks round the whole table, since an index by age would be as large again.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Hand([u8; 16]);

/// What a call forgot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Items.
    pub items: usize,
    /// Alerts.
    pub alerts: usize,
    /// Keys.
    pub keys: usize,
    /// Stories.
    pub stories: usize,
}

impl Pruned {
    /// Adds what another call forgot.
    pub fn add(&mut self, other: Self) {
        self.items += other.items;
        self.alerts += other.alerts;
        self.keys += other.keys;
        self.stories += other.stories;
    }

    /// Whether there may be more of what goes in order of age.
    pub fn is_full(&self) -> bool {
        self.items >= ROWS || self.alerts >= ROWS || self.stories >= STORIES
    }
}

impl Store {
    /// A place at random to begin the walk over the keys: short runs then come everywhere in time.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn any_hand(&self) -> Result<Hand, StoreError> {
        let hand = self.connection.query_row("SELECT randomblob(16)", [], |row| row.get(0));
        hand.map(Hand).during("begin to prune")
    }

    /// Forgets some of what is older than `keep`, and moves `hand` on.
    ///
    /// # Errors
    /// When the database refuses; then the step can be taken again.
    pub fn prune(&mut self, keep: &Keep, hand: Hand, now: DateTime<Utc>) -> Result<(Pruned, Hand), StoreError> {
        let what = "prune the state database";
        let alerts = self.old(OLD_ALERTS, before(now, keep.alerts)).during(what)?;
        let items = self.old(OLD_ITEMS, before(now, keep.items)).during(what)?;
        let (keys, next) = self.old_keys(keep, hand, now).during(what)?;
        let stories = self.old_stories(before(now, keep.stories)).during(what)?;
        let pruned = Pruned { items: items.len(), alerts: alerts.len(), keys: keys.len(), stories: stories.len() };
        if pruned != Pruned::default() {
            let transaction = self.connection.transaction().during(what)?;
            forget(&transaction, &alerts, &items, &keys).during(what)?;
            super::stories::forget(&transaction, &stories).during(what)?;
            transaction.commit().during(what)?;
        }
        Ok((pruned, next))
    }

    fn old(&self, sql: &str, before: i64) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let rows = statement.query_map(named_params! { ":before": before, ":most": ROWS }, |row| row.get(0))?;
        rows.collect()
    }

    fn old_stories(&self, before: i64) -> rusqlite::Result<Vec<[u8; 16]>> {
        let sql = "SELECT id FROM story WHERE last < ?1 ORDER BY last LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map(params![before, STORIES], |row| row.get(0))?.collect()
    }

    /// The keys to forget among the next ones behind `hand`, and where to go on.
    fn old_keys(&self, keep: &Keep, hand: Hand, now: DateTime<Utc>) -> rusqlite::Result<(Vec<[u8; 16]>, Hand)> {
        let mut statement = self.connection.prepare_cached(KEYS_BEHIND)?;
        let (keep, before) = (millis(keep.seen), before(now, keep.seen));
        let mut rows = statement.query(named_params! {
            ":hand": hand.0, ":before": before, ":keep": keep, ":most": KEYS
        })?;
        let (mut old, mut read, mut last) = (Vec::new(), 0, hand.0);
        while let Some(row) = rows.next()? {
            last = row.get(0)?;
            read += 1;
            if row.get(1)? {
                old.push(last);
            }
        }
        Ok((old, if read < KEYS { Hand::default() } else { Hand(last) }))
    }
}

/// Alerts that every sink is done with. The newest stays: where a file ends with it, the comparison at start ends too.
const OLD_ALERTS: &str = "SELECT seq FROM outbox
    WHERE delivered < :before AND seq < (SELECT max(seq) FROM outbox) ORDER BY delivered LIMIT :most";

/// Items that have their outcome and whose alert, if they raised one, is forgotten. The newest stays: SQLite would give its
/// number to the next item, and keys name items by number.
const OLD_ITEMS: &str = "SELECT id FROM item
    WHERE first_seen < :before AND outcome IS NOT NULL AND id < (SELECT max(id) FROM item)
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.item = item.id)
    ORDER BY first_seen LIMIT :most";

/// The next keys, and whether each is to go: old, its item gone, and no feed polled that may still list it. A feed that never
/// sent a document since its memory was kept counts as listing everything.
const KEYS_BEHIND: &str = "SELECT key,
        last_seen < :before
        AND NOT EXISTS (SELECT 1 FROM item WHERE item.id = seen.item)
        AND NOT EXISTS (SELECT 1 FROM feed
            WHERE feed.id = coalesce(seen.shown, seen.feed)
                AND active AND gone IS NULL AND origin <> 'backfill'
                AND coalesce(unixepoch(json_extract(history, '$.last_document')), 0) * 1000 - :keep <= last_seen)
    FROM seen WHERE key > :hand ORDER BY key LIMIT :most";

fn forget(connection: &Connection, alerts: &[i64], items: &[i64], keys: &[[u8; 16]]) -> rusqlite::Result<()> {
    for seq in alerts {
        connection.prepare_cached("DELETE FROM parked WHERE seq = ?1")?.execute([seq])?;
        connection.prepare_cached("DELETE FROM outbox WHERE seq = ?1")?.execute([seq])?;
    }
    for id in items {
        connection.prepare_cached("DELETE FROM item WHERE id = ?1")?.execute([id])?;
    }
    for key in keys {
        connection.prepare_cached("DELETE FROM seen WHERE key = ?1")?.execute(params![key])?;
    }
    Ok(())
}

fn before(now: DateTime<Utc>, age: Duration) -> i64 {
    now.timestamp_millis().saturating_sub(millis(age))
}

fn millis(age: Duration) -> i64 {
    i64::try_from(age.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
