//! Feeds: which there are, when each is due, how it fared.

use chrono::{DateTime, Utc};
use rusqlite::{OptionalExtension, Row, named_params, params};
use serde::{Deserialize, Serialize};

use url::Url;

use super::error::During;
use super::{Store, StoreError};
use crate::dedup::IdentityPolicy;
use crate::item::FeedId;
use crate::schedule::{Scope, host, site};

/// Who told us of a feed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FeedOrigin {
    /// `feeds add` or `feeds import`: stays until `feeds remove`.
    Added,
    /// The configuration or an OPML file it names: goes when it is no longer there.
    Config,
    /// `--feed` or `--opml` of this run: goes with the next run that does not name it.
    Flag,
    /// A document that was backfilled: never polled.
    Backfill,
}

impl FeedOrigin {
    fn as_str(self) -> &'static str {
        match self {
            Self::Added => "added",
            Self::Config => "config",
            Self::Flag => "flag",
            Self::Backfill => "backfill",
        }
    }

    fn parse(text: &str) -> Self {
        match text {
            "added" => Self::Added,
            "config" => Self::Config,
            "flag" => Self::Flag,
            _ => Self::Backfill,
        }
    }
}

/// A feed as the user names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FeedSpec {
    /// Address of the document.
    pub url: String,
    /// The user's title.
    pub title: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Least interval, seconds.
    pub floor_s: Option<u64>,
}

/// A feed that is due, with what the fetcher and the schedule need.
#[derive(Debug, Clone)]
pub struct DueFeed {
    /// Row id.
    pub id: FeedId,
    /// Address as the user names it: what its items belong to.
    pub url: String,
    /// Where it has moved to for good.
    pub moved_to: Option<String>,
    /// Host of the address that is polled.
    pub host: String,
    /// Registrable domain of that host.
    pub site: String,
    /// Items it has brought.
    pub items: u64,
    /// Least interval, seconds.
    pub floor_s: Option<u64>,
    /// Validators as JSON.
    pub validators: Option<String>,
    /// The schedule's memory as JSON.
    pub history: Option<String>,
    /// What tells its items apart.
    pub identity: IdentityPolicy,
    /// Whether its hub has promised to push.
    pub pushed: bool,
}

impl DueFeed {
    /// The address to poll.
    pub fn address(&self) -> &str {
        self.moved_to.as_deref().unwrap_or(&self.url)
    }
}

/// Feeds that a server wants left alone, and until when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Penalty {
    /// How far it reaches.
    pub scope: Scope,
    /// The host or site, as in [`DueFeed`].
    pub of: String,
    /// Until when.
    pub until: DateTime<Utc>,
}

impl Penalty {
    /// Whether it holds for `feed` too.
    pub fn holds_for(&self, feed: &DueFeed) -> bool {
        match self.scope {
            Scope::Url => false,
            Scope::Host => feed.host == self.of,
            Scope::Site => feed.site == self.of,
        }
    }
}

/// A feed with its health, for people.
#[derive(Debug, Clone, Serialize)]
pub struct FeedRow {
    /// Address.
    pub url: String,
    /// The user's title, else the feed's own.
    pub title: Option<String>,
    /// Where permanent redirects have led, if that is polled instead.
    pub moved_to: Option<String>,
    /// Labels.
    pub tags: Vec<String>,
    /// Who told us of it.
    pub origin: FeedOrigin,
    /// Whether it is polled.
    pub active: bool,
    /// When it ended (410).
    pub gone: Option<DateTime<Utc>>,
    /// When it is polled next.
    pub next_poll: Option<DateTime<Utc>>,
    /// When it was polled last.
    pub last_poll: Option<DateTime<Utc>>,
    /// When a person had it fetched last.
    pub last_check: Option<DateTime<Utc>>,
    /// When it last answered well.
    pub last_success: Option<DateTime<Utc>>,
    /// Its last HTTP status.
    pub last_status: Option<u16>,
    /// Class of its last error, if the last poll failed.
    pub error_class: Option<String>,
    /// Its last error, if the last poll failed.
    pub error: Option<String>,
    /// Failed polls in a row.
    pub errors_in_row: u32,
    /// Items it has brought.
    pub items: u64,
    /// What tells its items apart.
    pub identity: IdentityPolicy,
    /// Least interval, seconds.
    pub floor_s: Option<u64>,
    /// Until when its hub has promised to push.
    pub pushed_until: Option<DateTime<Utc>>,
    /// Validators as JSON.
    #[serde(skip)]
    pub validators: Option<String>,
    /// The schedule's memory as JSON.
    #[serde(skip)]
    pub history: Option<String>,
}

impl Store {
    /// Makes the feeds of `origin` exactly `specs`: new ones are inserted and due at once, known ones keep their
    /// schedule and validators, and those of the same origin that are not named become inactive.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn sync_feeds(&mut self, specs: &[FeedSpec], origin: FeedOrigin) -> Result<(), StoreError> {
        let what = "store the list of feeds";
        let transaction = self.connection.transaction().during(what)?;
        transaction
            .execute("UPDATE feed SET active = 0, watched = 0 WHERE origin = ?1", [origin.as_str()])
            .during(what)?;
        for spec in specs {
            upsert(&transaction, spec, origin).during(what)?;
        }
        transaction.commit().during(what)
    }

    /// Adds feeds that stay; returns how many were new or had been inactive.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn add_feeds(&mut self, specs: &[FeedSpec]) -> Result<usize, StoreError> {
        let what = "add the feed";
        let transaction = self.connection.transaction().during(what)?;
        let mut added = 0;
        for spec in specs {
            let active: Option<bool> = transaction
                .query_row("SELECT active FROM feed WHERE url = ?1", [&spec.url], |row| row.get(0))
                .optional()
                .during(what)?;
            added += usize::from(active != Some(true));
            upsert(&transaction, spec, FeedOrigin::Added).during(what)?;
        }
        transaction.commit().during(what)?;
        Ok(added)
    }

    /// Stops polling a feed; its history stays so that nothing repeats should it come back. False if unknown.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn remove_feed(&mut self, url: &str) -> Result<bool, StoreError> {
        let sql = "UPDATE feed SET active = 0, watched = 0 WHERE url = ?1 AND active";
        Ok(self.connection.execute(sql, [url]).during("remove the feed")? > 0)
    }

    /// Up to `limit` watched feeds due at `now`, longest overdue first, not polled at or after `not_since`, and not of
    /// the hosts in `closed`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn due_feeds(
        &self,
        now: DateTime<Utc>,
        not_since: Option<DateTime<Utc>>,
        closed: &[String],
        limit: usize,
    ) -> Result<Vec<DueFeed>, StoreError> {
        let what = "read the schedule";
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT id, url, moved_to, host, site, items_seen, floor_s, validators, history, identity,
                     EXISTS (SELECT 1 FROM subscription WHERE subscription.feed = feed.id AND until > :now)
                 FROM feed
                 WHERE watched AND next_poll <= :now AND (last_poll IS NULL OR last_poll < :not_since)
                     AND host NOT IN (SELECT value FROM json_each(:closed))
                 ORDER BY next_poll LIMIT :limit",
            )
            .during(what)?;
        let not_since = not_since.map_or(i64::MAX, |time| time.timestamp_millis());
        let closed = serde_json::to_string(closed).unwrap_or_else(|_| "[]".into());
        let params = named_params! {
            ":now": now.timestamp_millis(), ":not_since": not_since, ":closed": closed, ":limit": limit
        };
        let rows = statement.query_map(params, due_feed).during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }

    /// When the next watched feed falls due after `now`, if there is one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn next_due(&self, now: DateTime<Utc>) -> Result<Option<DateTime<Utc>>, StoreError> {
        let sql = "SELECT min(next_poll) FROM feed WHERE watched AND next_poll > ?1";
        let next: Option<i64> =
            self.connection.query_row(sql, [now.timestamp_millis()], |row| row.get(0)).during("read the schedule")?;
        Ok(next.and_then(DateTime::from_timestamp_millis))
    }

    /// Spreads the polls that are overdue at `now` at random over the time that `spread` gives for their number, so
    /// that a start after a long stop is no herd.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn spread_overdue(
        &mut self,
        now: DateTime<Utc>,
        spread: impl Fn(u64) -> std::time::Duration,
    ) -> Result<(), StoreError> {
        let what = "spread the polls";
        let now = now.timestamp_millis();
        let count = "SELECT count(*) FROM feed WHERE watched AND next_poll <= ?1";
        let overdue: u64 = self.connection.query_row(count, [now], |row| row.get(0)).during(what)?;
        let over_ms = i64::try_from(spread(overdue).as_millis()).unwrap_or(i64::MAX).max(1);
        let sql = "UPDATE feed SET next_poll = ?1 + abs(random() % ?2) WHERE watched AND next_poll <= ?1";
        self.connection.execute(sql, [now, over_ms]).during(what).map(drop)
    }

    /// One feed with its health, polled or not.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn feed(&self, url: &str) -> Result<Option<FeedRow>, StoreError> {
        let sql = format!("SELECT {FEED_ROW} FROM feed WHERE url = ?1 OR moved_to = ?1 ORDER BY url = ?1 DESC LIMIT 1");
        self.connection.query_row(&sql, [url], feed_row).optional().during("read the feed")
    }

    /// Notes that a person had a feed fetched.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn checked(&mut self, url: &str, now: DateTime<Utc>) -> Result<(), StoreError> {
        let sql = "UPDATE feed SET last_check = ?2 WHERE url = ?1";
        self.connection.execute(sql, params![url, now.timestamp_millis()]).during("note the check").map(drop)
    }

    /// With `--interval`: every active feed is due one interval after its last poll, whatever was planned.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn override_interval(&mut self, interval_ms: i64) -> Result<(), StoreError> {
        let sql = "UPDATE feed SET next_poll = coalesce(last_poll + ?1, 0) WHERE watched";
        self.connection.execute(sql, [interval_ms]).during("plan the polls").map(drop)
    }

    /// All feeds that are polled, by address; with `all`, the inactive ones too.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn feeds(&self, all: bool) -> Result<Vec<FeedRow>, StoreError> {
        let what = "read the feeds";
        let sql = format!("SELECT {FEED_ROW} FROM feed WHERE active OR ?1 ORDER BY url");
        let mut statement = self.connection.prepare(&sql).during(what)?;
        let rows = statement.query_map([all], feed_row).during(what)?;
        rows.collect::<Result<_, _>>().during(what)
    }

    /// Settles what this run polls: the feeds of `only`, or every active one.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn watch(&mut self, only: Option<&[FeedSpec]>) -> Result<(), StoreError> {
        let what = "settle what is polled";
        let transaction = self.connection.transaction().during(what)?;
        let all = "UPDATE feed SET watched = active AND ?1 WHERE watched <> (active AND ?1)";
        transaction.execute(all, [only.is_none()]).during(what)?;
        for spec in only.unwrap_or_default() {
            let one = "UPDATE feed SET watched = 1 WHERE url = ?1";
            transaction.prepare_cached(one).and_then(|mut s| s.execute([&spec.url])).during(what)?;
        }
        let ended = "UPDATE feed SET watched = 0 WHERE watched AND gone IS NOT NULL";
        transaction.execute(ended, []).during(what)?;
        transaction.execute(&format!("UPDATE feed SET watched = 0 WHERE watched AND {TWIN}"), []).during(what)?;
        transaction.commit().during(what)
    }

    /// How many feeds this run polls.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn watched_feeds(&self) -> Result<u64, StoreError> {
        let sql = "SELECT count(*) FROM feed WHERE watched";
        self.connection.query_row(sql, [], |row| row.get(0)).during("count the feeds")
    }
}

/// The row of a feed whose documents are read but not polled (backfill); made if unknown.
pub(super) fn history_feed(connection: &rusqlite::Connection, url: &str) -> rusqlite::Result<(FeedId, IdentityPolicy)> {
    let known = |connection: &rusqlite::Connection| {
        let mut statement = connection.prepare_cached("SELECT id, identity FROM feed WHERE url = ?1")?;
        statement.query_row([url], |row| Ok((row.get(0)?, policy(row, 1)?))).optional()
    };
    if let Some(feed) = known(connection)? {
        return Ok(feed);
    }
    let sql = "INSERT INTO feed (url, host, site, origin, active, watched) VALUES (?1, ?2, ?3, 'backfill', 0, 0)";
    let (host, site) = place(url);
    connection.prepare_cached(sql)?.execute([url, &host, &site])?;
    known(connection)?.ok_or(rusqlite::Error::QueryReturnedNoRows)
}

/// Another feed that is polled at the address this one has moved to: one fetch for both.
pub(super) const TWIN: &str = "moved_to IS NOT NULL AND EXISTS (
    SELECT 1 FROM feed AS other WHERE other.id <> feed.id AND other.active AND other.gone IS NULL
        AND (other.url = feed.moved_to OR (other.moved_to = feed.moved_to AND other.id < feed.id)))";

fn upsert(connection: &rusqlite::Connection, spec: &FeedSpec, origin: FeedOrigin) -> rusqlite::Result<()> {
    // A feed that has ended stays so, unless the user adds it by hand.
    let sql = "INSERT INTO feed (url, title, tags, origin, floor_s, host, site) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (url) DO UPDATE SET
                   title = coalesce(excluded.title, title), tags = excluded.tags, floor_s = excluded.floor_s,
                   gone = CASE WHEN excluded.origin = 'added' THEN NULL ELSE gone END,
                   active = 1, watched = (gone IS NULL OR excluded.origin = 'added'),
                   origin = CASE WHEN origin = 'added' THEN origin ELSE excluded.origin END";
    let tags = serde_json::to_string(&spec.tags).unwrap_or_else(|_| "[]".into());
    let (host, site) = place(&spec.url);
    let params = params![spec.url, spec.title, tags, origin.as_str(), spec.floor_s, host, site];
    connection.prepare_cached(sql)?.execute(params).map(drop)
}

/// Host and site of an address; what is no address is its own place.
pub(super) fn place(url: &str) -> (String, String) {
    Url::parse(url).map_or_else(|_| (url.to_owned(), url.to_owned()), |url| (host(&url), site(&url)))
}

fn due_feed(row: &Row<'_>) -> rusqlite::Result<DueFeed> {
    Ok(DueFeed {
        id: row.get(0)?,
        url: row.get(1)?,
        moved_to: row.get(2)?,
        host: row.get(3)?,
        site: row.get(4)?,
        items: row.get(5)?,
        floor_s: row.get(6)?,
        validators: row.get(7)?,
        history: row.get(8)?,
        identity: policy(row, 9)?,
        pushed: row.get(10)?,
    })
}

/// The columns of [`feed_row`].
const FEED_ROW: &str = "url, coalesce(title, own_title), tags, origin, active, next_poll, last_poll, last_success,
    last_status, error_class, error, errors_in_row, items_seen, identity, moved_to, gone, last_check, floor_s,
    validators, history, (SELECT until FROM subscription WHERE subscription.feed = feed.id)";

fn feed_row(row: &Row<'_>) -> rusqlite::Result<FeedRow> {
    let tags: String = row.get(2)?;
    let origin: String = row.get(3)?;
    Ok(FeedRow {
        url: row.get(0)?,
        title: row.get(1)?,
        tags: serde_json::from_str(&tags).unwrap_or_default(),
        origin: FeedOrigin::parse(&origin),
        active: row.get(4)?,
        next_poll: time(row, 5)?,
        last_poll: time(row, 6)?,
        last_success: time(row, 7)?,
        last_status: row.get(8)?,
        error_class: row.get(9)?,
        error: row.get(10)?,
        errors_in_row: row.get(11)?,
        items: row.get(12)?,
        identity: policy(row, 13)?,
        moved_to: row.get(14)?,
        gone: time(row, 15)?,
        last_check: time(row, 16)?,
        floor_s: row.get(17)?,
        validators: row.get(18)?,
        history: row.get(19)?,
        pushed_until: time(row, 20)?,
    })
}

fn time(row: &Row<'_>, column: usize) -> rusqlite::Result<Option<DateTime<Utc>>> {
    Ok(row.get::<_, Option<i64>>(column)?.and_then(DateTime::from_timestamp_millis))
}

pub(super) fn policy(row: &Row<'_>, column: usize) -> rusqlite::Result<IdentityPolicy> {
    Ok(IdentityPolicy::parse(&row.get::<_, String>(column)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(url: &str) -> FeedSpec {
        FeedSpec { url: url.into(), title: None, tags: vec![], floor_s: None }
    }

    fn urls(store: &Store) -> Vec<String> {
        store.feeds(false).unwrap().into_iter().map(|feed| feed.url).collect()
    }

    #[test]
    fn a_feed_no_longer_configured_goes_and_an_added_one_stays() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.add_feeds(&[spec("https://added.example/")]).unwrap();
        store.sync_feeds(&[spec("https://a.example/"), spec("https://b.example/")], FeedOrigin::Config).unwrap();
        store.sync_feeds(&[spec("https://b.example/")], FeedOrigin::Config).unwrap();
        assert_eq!(urls(&store), ["https://added.example/", "https://b.example/"]);
    }

    #[test]
    fn a_new_feed_is_due_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        store.add_feeds(&[spec("https://a.example/")]).unwrap();
        assert_eq!(store.due_feeds(Utc::now(), None, &[], 10).unwrap().len(), 1);
    }
}
