//! Where each sink has got to in the outbox, and what it refused.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::Serialize;

use super::error::During;
use super::{Store, StoreError};

/// How one sink stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SinkState {
    /// Its name; the main alert file is `output`.
    pub name: String,
    /// The last alert that is settled: taken, not meant for it, or parked.
    pub cursor: i64,
    /// Failures in a row with the alert after it.
    pub tries: u32,
    /// When the first of them was.
    pub since: Option<DateTime<Utc>>,
    /// Not before then.
    pub next_try: Option<DateTime<Utc>>,
    /// Why it takes nothing any more, until its configuration changes.
    pub closed: Option<String>,
    /// The last failure, if the last try failed.
    pub error: Option<String>,
    /// Alerts it has taken, ever.
    pub taken: u64,
    /// When this state has met it.
    pub made: Option<DateTime<Utc>>,
    /// Alerts behind the cursor.
    pub waiting: u64,
    /// Alerts it refused for good.
    pub parked: u64,
}

/// What a step of delivery changes for one sink.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settled {
    /// Everything up to here is settled.
    pub cursor: i64,
    /// How many of it the sink took.
    pub taken: u64,
    /// What it refused for good: `seq` and why.
    pub parked: Vec<(i64, String)>,
}

impl Settled {
    /// Whether the sink is done with an alert that was meant for it.
    pub fn is_progress(&self) -> bool {
        self.taken > 0 || !self.parked.is_empty()
    }

    /// Adds what was settled after it.
    pub fn add(&mut self, later: Self) {
        self.cursor = later.cursor;
        self.taken += later.taken;
        self.parked.extend(later.parked);
    }
}

/// A failure, and when the sink is tried again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// Failures in a row.
    pub tries: u32,
    /// When the first of them was.
    pub since: Option<DateTime<Utc>>,
    /// Not before then; `None`: never, until its configuration changes.
    pub next_try: Option<DateTime<Utc>>,
    /// In words.
    pub error: String,
}

const COLUMNS: &str = "name, cursor, tries, since, next_try, closed, error, taken, made,
    (SELECT count(*) FROM outbox WHERE seq > cursor), (SELECT count(*) FROM parked p WHERE p.sink = name)";

impl Store {
    /// Brings the list of sinks in line with the configuration: `sinks` are the names and hashes of what they are
    /// connected to. One that is new starts behind what the outbox holds now; one that is gone holds nothing up any
    /// more, and goes on where it was when it comes back. For one that is connected to something else the failures are over.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sync_sinks(&mut self, sinks: &[(String, String)]) -> Result<(), StoreError> {
        let what = "store the list of sinks";
        let transaction = self.connection.transaction().during(what)?;
        transaction.execute("UPDATE sink SET active = 0", []).during(what)?;
        for (name, address) in sinks {
            let sql =
                "INSERT INTO sink (name, cursor, address) VALUES (?1, (SELECT coalesce(max(seq), 0) FROM outbox), ?2)
                       ON CONFLICT (name) DO UPDATE SET active = 1, address = ?2,
                           closed = CASE WHEN address IS ?2 THEN closed END,
                           tries = CASE WHEN address IS ?2 THEN tries ELSE 0 END,
                           since = CASE WHEN address IS ?2 THEN since END,
                           next_try = CASE WHEN address IS ?2 THEN next_try END,
                           error = CASE WHEN address IS ?2 THEN error END";
            transaction.execute(sql, params![name, address]).during(what)?;
        }
        transaction.commit().during(what)
    }

    /// How the active sinks stand, by name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sinks(&self) -> Result<Vec<SinkState>, StoreError> {
        let what = "read the sinks";
        let sql = format!("SELECT {COLUMNS} FROM sink WHERE active ORDER BY name");
        let mut statement = self.connection.prepare_cached(&sql).during(what)?;
        let rows = statement.query_map([], state).during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }

    /// How one sink stands, if there is one of that name.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sink(&self, name: &str) -> Result<Option<SinkState>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM sink WHERE name = ?1");
        let read = self.connection.prepare_cached(&sql).and_then(|mut sql| sql.query_row([name], state).optional());
        read.during("read the sinks")
    }

    /// Notes what a sink has settled; with it the failures before are over.
    ///
    /// # Errors
    /// When the database refuses; then nothing is noted.
    pub fn settle(&mut self, sink: &str, settled: &Settled, now: DateTime<Utc>) -> Result<(), StoreError> {
        let what = "mark alerts delivered";
        let now = now.timestamp_millis();
        let transaction = self.connection.transaction().during(what)?;
        let sql = "UPDATE sink SET cursor = ?2, taken = taken + ?3 WHERE name = ?1 AND cursor <= ?2";
        transaction.execute(sql, params![sink, settled.cursor, settled.taken]).during(what)?;
        if settled.is_progress() {
            let sql =
                "UPDATE sink SET tries = 0, since = NULL, next_try = NULL, error = NULL WHERE name = ?1 AND tries > 0";
            transaction.execute(sql, [sink]).during(what)?;
        }
        for (seq, reason) in &settled.parked {
            let sql = "INSERT OR IGNORE INTO parked (sink, seq, at, reason) VALUES (?1, ?2, ?3, ?4)";
            transaction.execute(sql, params![sink, seq, now, reason]).during(what)?;
        }
        mark_settled(&transaction, now).during(what)?;
        transaction.commit().during(what)
    }

    /// Which of the alerts, given with their stories' ids, begin their story for `sink`: the first for which this is asked, and
    /// the same ones after a restart.
    ///
    /// # Errors
    /// When the database refuses; then nothing is noted.
    pub fn begin_stories(&mut self, sink: &str, alerts: &[(i64, String)]) -> Result<HashSet<i64>, StoreError> {
        let what = "note the stories that a sink is told of";
        let transaction = self.connection.transaction().during(what)?;
        let mut begin = HashSet::new();
        for (seq, story) in alerts {
            let first = begins(&transaction, sink, *seq, story).during(what)?;
            begin.extend(first.then_some(*seq));
        }
        transaction.commit().during(what)?;
        Ok(begin)
    }

    /// Notes that a sink failed.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sink_failed(&mut self, sink: &str, failure: &Failure) -> Result<(), StoreError> {
        let millis = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_millis());
        let (since, next_try) = (millis(failure.since), millis(failure.next_try));
        let closed = failure.next_try.is_none().then_some(&failure.error);
        let sql = "UPDATE sink SET tries = ?2, since = ?3, next_try = ?4, error = ?5, closed = ?6 WHERE name = ?1";
        self.connection
            .execute(sql, params![sink, failure.tries, since, next_try, failure.error, closed])
            .during("note a sink's failure")?;
        Ok(())
    }
}

fn begins(connection: &Connection, sink: &str, seq: i64, story: &str) -> rusqlite::Result<bool> {
    let sql = "INSERT OR IGNORE INTO told (sink, story, seq) VALUES (?1, unhex(?2), ?3)";
    connection.prepare_cached(sql)?.execute(params![sink, story, seq])?;
    let sql = "SELECT seq = ?3 FROM told WHERE sink = ?1 AND story = unhex(?2)";
    connection.prepare_cached(sql)?.query_row(params![sink, story, seq], |row| row.get(0))
}

/// An alert is done with when every active sink that still takes alerts has settled it.
fn mark_settled(connection: &Connection, now: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE outbox SET delivered = ?1
               WHERE delivered IS NULL AND seq <= (SELECT min(cursor) FROM sink WHERE active AND closed IS NULL)";
    connection.prepare_cached(sql)?.execute([now]).map(drop)
}

fn state(row: &Row<'_>) -> rusqlite::Result<SinkState> {
    let time = |millis: Option<i64>| millis.and_then(DateTime::from_timestamp_millis);
    Ok(SinkState {
        name: row.get(0)?,
        cursor: row.get(1)?,
        tries: row.get(2)?,
        since: time(row.get(3)?),
        next_try: time(row.get(4)?),
        closed: row.get(5)?,
        error: row.get(6)?,
        taken: row.get(7)?,
        made: time(row.get(8)?),
        waiting: row.get(9)?,
        parked: row.get(10)?,
    })
}
