//! The outbox: alerts that are decided but may not yet stand in the file.

use chrono::{DateTime, Utc};
use rusqlite::params;

use super::error::During;
use super::{Store, StoreError};

/// An alert that waits for its delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Order of decision.
    pub seq: i64,
    /// The alert's id.
    pub alert_id: String,
    /// The line, without its newline.
    pub line: String,
}

impl Store {
    /// The first `limit` alerts that are not delivered, in order of decision.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn waiting(&self, limit: usize) -> Result<Vec<Waiting>, StoreError> {
        let what = "read the outbox";
        let sql = "SELECT seq, alert_id, line FROM outbox WHERE delivered IS NULL ORDER BY seq LIMIT ?1";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let rows = statement
            .query_map([limit], |row| Ok(Waiting { seq: row.get(0)?, alert_id: row.get(1)?, line: row.get(2)? }))
            .during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }

    /// Notes that these alerts stand in the file.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn mark_delivered(&mut self, seqs: &[i64], now: DateTime<Utc>) -> Result<(), StoreError> {
        let what = "mark alerts delivered";
        let transaction = self.connection.transaction().during(what)?;
        for seq in seqs {
            transaction
                .prepare_cached("UPDATE outbox SET delivered = ?2 WHERE seq = ?1")
                .and_then(|mut statement| statement.execute(params![seq, now.timestamp_millis()]))
                .during(what)?;
        }
        transaction.commit().during(what)
    }
}
