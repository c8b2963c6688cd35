//! The outbox: alerts that are decided but may not yet have reached every sink.

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
    /// The tags of its feed, as a JSON array.
    pub tags: String,
}

impl Store {
    /// The first `limit` alerts behind `after`, in order of decision.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn waiting(&self, after: i64, limit: usize) -> Result<Vec<Waiting>, StoreError> {
        let what = "read the outbox";
        let sql = "SELECT o.seq, o.alert_id, o.line, coalesce(f.tags, '[]') FROM outbox o
                   LEFT JOIN item i ON i.id = o.item LEFT JOIN feed f ON f.id = i.feed
                   WHERE o.seq > ?1 ORDER BY o.seq LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let rows = statement
            .query_map(params![after, limit], |row| {
                Ok(Waiting { seq: row.get(0)?, alert_id: row.get(1)?, line: row.get(2)?, tags: row.get(3)? })
            })
            .during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }

    /// The ids of the `limit` alerts up to `cursor`, the last one first: where a sink that can be read ends.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn settled_ids(&self, cursor: i64, limit: usize) -> Result<Vec<String>, StoreError> {
        let what = "read the outbox";
        let sql = "SELECT alert_id FROM outbox WHERE seq <= ?1 ORDER BY seq DESC LIMIT ?2";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let rows = statement.query_map(params![cursor, limit], |row| row.get(0)).during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }
}
