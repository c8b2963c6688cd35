//! How things stand, for whoever watches the program: counted at the moment of the question.

use chrono::{DateTime, Utc};
use rusqlite::Row;

use super::error::During;
use super::{Store, StoreError};

/// How the feeds, the queue and the sinks stand.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Standing {
    /// Feeds by state: `ok`, `failing`, `new` (never polled), `ended` (410), `off`.
    pub feeds: Vec<(String, u64)>,
    /// By how much the feed that is due for longest is late, seconds; 0 when none is due.
    pub overdue_s: f64,
    /// Items that wait for a verdict.
    pub pending: u64,
    /// The sinks.
    pub sinks: Vec<SinkStanding>,
}

/// How a sink stands.
#[derive(Debug, Clone, PartialEq)]
pub struct SinkStanding {
    /// Its name; the main alert file is `output`.
    pub name: String,
    /// Alerts it has taken, ever.
    pub taken: u64,
    /// Alerts that wait for it.
    pub waiting: u64,
    /// Age of the oldest of them, seconds; 0 when none waits.
    pub lag_s: f64,
    /// Failures in a row.
    pub tries: u64,
    /// Alerts it refused for good.
    pub parked: u64,
}

impl Store {
    /// How things stand at `now`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn standing(&self, now: DateTime<Utc>) -> Result<Standing, StoreError> {
        let what = "see how things stand";
        let feeds =
            "SELECT CASE WHEN gone IS NOT NULL THEN 'ended' WHEN NOT active THEN 'off' WHEN error_class IS NOT NULL
                     THEN 'failing' WHEN last_poll IS NULL THEN 'new' ELSE 'ok' END AS state, count(*)
                     FROM feed WHERE origin <> 'backfill' GROUP BY state ORDER BY state";
        let mut statement = self.connection.prepare_cached(feeds).during(what)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).during(what)?;
        let feeds = rows.collect::<Result<_, _>>().during(what)?;
        let first = "SELECT min(next_poll) FROM feed WHERE watched AND next_poll > 0";
        let first: Option<i64> = self.connection.query_row(first, [], |row| row.get(0)).during(what)?;
        let pending = self.pending_count()? as u64;
        Ok(Standing { feeds, overdue_s: age(first, now), pending, sinks: self.sinks_standing(now)? })
    }

    fn sinks_standing(&self, now: DateTime<Utc>) -> Result<Vec<SinkStanding>, StoreError> {
        let what = "see how the sinks stand";
        let sql = "SELECT name, taken, (SELECT count(*) FROM outbox WHERE seq > cursor),
                          (SELECT created FROM outbox WHERE seq > cursor ORDER BY seq LIMIT 1), tries,
                          (SELECT count(*) FROM parked WHERE parked.sink = sink.name)
                   FROM sink WHERE active ORDER BY name";
        let mut statement = self.connection.prepare_cached(sql).during(what)?;
        let rows = statement.query_map([], |row| sink(row, now)).during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }
}

fn sink(row: &Row<'_>, now: DateTime<Utc>) -> rusqlite::Result<SinkStanding> {
    Ok(SinkStanding {
        name: row.get(0)?,
        taken: row.get(1)?,
        waiting: row.get(2)?,
        lag_s: age(row.get(3)?, now),
        tries: row.get(4)?,
        parked: row.get(5)?,
    })
}

/// Seconds from `since` (Unix milliseconds) to `now`; 0 when there is none or it is still to come.
fn age(since: Option<i64>, now: DateTime<Utc>) -> f64 {
    since.map_or(0.0, |since| (now.timestamp_millis() - since).max(0) as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Identity;
    use crate::store::{FeedSpec, Judged, Raised};

    #[test]
    fn what_waits_is_counted_with_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let feed = FeedSpec { url: "https://news.example/".into(), title: None, tags: Vec::new(), floor_s: None };
        store.add_feeds(&[feed]).unwrap();
        store.sync_sinks(&[("output".into(), "a".into())]).unwrap();
        let item = "INSERT INTO item (identity, feed, origin, first_seen, published, published_source, content, entry)
                    VALUES (x'00', 1, 'live', 0, 0, 'feed', x'00', '{}')";
        store.connection.execute(item, []).unwrap();
        let now = Utc::now();
        assert_eq!(store.standing(now).unwrap().pending, 1);
        let alert = Some(Raised::alone(Identity([0; 16]), "{}".to_owned()));
        store.commit_verdicts(&[Judged { row: 1, score: Some(0.9), alert }], now).unwrap();
        let standing = store.standing(now + chrono::TimeDelta::seconds(90)).unwrap();
        assert_eq!((standing.pending, standing.feeds.as_slice()), (0, [("new".to_owned(), 1)].as_slice()));
        let output = &standing.sinks[0];
        assert_eq!((output.name.as_str(), output.waiting), ("output", 1));
        assert!((output.lag_s - 90.0).abs() < 0.01, "{output:?}");
    }
}
