//! Subscriptions at hubs.

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::error::During;
use super::feeds::policy;
use super::{Store, StoreError};
use crate::dedup::IdentityPolicy;
use crate::item::FeedId;
use crate::websub::Subscription;

/// What a document said of its hub.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Hub {
    /// Nothing was heard (304, an error), or nobody wants to know.
    #[default]
    Unknown,
    /// It has none.
    None,
    /// It has this one.
    At {
        /// The hub.
        hub: String,
        /// What the hub calls the feed.
        topic: String,
    },
}

/// A subscription, and of its feed what a push needs.
#[derive(Debug, Clone)]
pub struct Subscribed {
    /// The subscription.
    pub subscription: Subscription,
    /// Address of the feed as the user names it.
    pub feed_url: String,
    /// What tells its items apart.
    pub identity: IdentityPolicy,
    /// Whether the feed is watched.
    pub watched: bool,
}

const COLUMNS: &str =
    "s.feed, s.hub, s.topic, s.token, s.secret, s.until, s.next_try, s.tries, f.url, f.identity, f.watched";

impl Store {
    /// Up to `limit` subscriptions of watched feeds whose hub is to be asked at `now`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn due_subscriptions(&self, now: DateTime<Utc>, limit: usize) -> Result<Vec<Subscribed>, StoreError> {
        let what = "read the subscriptions";
        let sql = format!(
            "SELECT {COLUMNS} FROM subscription s JOIN feed f ON f.id = s.feed
             WHERE s.next_try <= ?1 AND f.watched ORDER BY s.next_try LIMIT ?2"
        );
        let mut statement = self.connection.prepare_cached(&sql).during(what)?;
        let rows = statement.query_map(params![now.timestamp_millis(), limit], subscribed).during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }

    /// The subscription whose callback ends in `token`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn subscription(&self, token: &str) -> Result<Option<Subscribed>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM subscription s JOIN feed f ON f.id = s.feed WHERE s.token = ?1");
        self.connection.query_row(&sql, [token], subscribed).optional().during("read a subscription")
    }

    /// Stores what became of a subscription.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn keep_subscription(&mut self, kept: &Subscription) -> Result<(), StoreError> {
        let sql = "UPDATE subscription SET until = ?2, next_try = ?3, tries = ?4 WHERE token = ?1";
        let until = kept.until.map(|until| until.timestamp_millis());
        let params = params![kept.token, until, kept.next_try.timestamp_millis(), kept.tries];
        self.connection.execute(sql, params).during("store a subscription").map(drop)
    }
}

/// Notes what a document said of its hub. Another hub or topic is another subscription, with keys of its own.
pub(super) fn note_hub(connection: &Connection, feed: FeedId, hub: &Hub) -> rusqlite::Result<()> {
    match hub {
        Hub::Unknown => Ok(()),
        Hub::None => connection.prepare_cached("DELETE FROM subscription WHERE feed = ?1")?.execute([feed]).map(drop),
        Hub::At { hub, topic } => {
            // SQLite's random bytes come from a stream cipher that the system has seeded.
            let sql = "INSERT INTO subscription (feed, hub, topic, token, secret)
                       VALUES (?1, ?2, ?3, lower(hex(randomblob(16))), lower(hex(randomblob(32))))
                       ON CONFLICT (feed) DO UPDATE SET hub = excluded.hub, topic = excluded.topic,
                           token = excluded.token, secret = excluded.secret, until = NULL, next_try = 0, tries = 0
                       WHERE hub <> excluded.hub OR topic <> excluded.topic";
            connection.prepare_cached(sql)?.execute(params![feed, hub, topic]).map(drop)
        }
    }
}

fn subscribed(row: &Row<'_>) -> rusqlite::Result<Subscribed> {
    let time = |ms: i64| DateTime::from_timestamp_millis(ms).unwrap_or_default();
    let subscription = Subscription {
        feed: row.get(0)?,
        hub: row.get(1)?,
        topic: row.get(2)?,
        token: row.get(3)?,
        secret: row.get(4)?,
        until: row.get::<_, Option<i64>>(5)?.map(time),
        next_try: time(row.get(6)?),
        tries: row.get(7)?,
    };
    Ok(Subscribed { subscription, feed_url: row.get(8)?, identity: policy(row, 9)?, watched: row.get(10)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::FeedSpec;

    fn at(hub: &str) -> Hub {
        Hub::At { hub: hub.into(), topic: "https://a.example/feed".into() }
    }

    #[test]
    fn a_hub_that_changes_is_subscribed_anew_and_one_that_goes_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store
            .add_feeds(&[FeedSpec { url: "https://a.example/feed".into(), title: None, tags: vec![], floor_s: None }])
            .unwrap();
        let due = |store: &Store| store.due_subscriptions(Utc::now(), 9).unwrap();
        note_hub(&store.connection, 1, &at("https://hub.example/")).unwrap();
        let first = due(&store).remove(0).subscription;
        assert_eq!((first.token.len(), first.secret.len()), (32, 64));
        let mut asked = first.clone();
        asked.asked(Utc::now());
        store.keep_subscription(&asked).unwrap();
        note_hub(&store.connection, 1, &at("https://hub.example/")).unwrap();
        note_hub(&store.connection, 1, &Hub::Unknown).unwrap();
        assert!(due(&store).is_empty(), "the same hub is no news");
        note_hub(&store.connection, 1, &at("https://other.example/")).unwrap();
        let second = due(&store).remove(0).subscription;
        assert!(second.token != first.token && second.secret != first.secret && second.tries == 0);
        assert!(store.subscription(&first.token).unwrap().is_none());
        note_hub(&store.connection, 1, &Hub::None).unwrap();
        assert!(store.subscription(&second.token).unwrap().is_none());
    }
}
