//! Plans that were made under a clock that has been set back since.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rusqlite::named_params;

use super::error::During;
use super::{Store, StoreError};

/// How far ahead of the clock a poll may lie that has been made: so much is the usual correction of a clock.
const SLACK_MS: i64 = 60_000;

impl Store {
    /// Mends what lies in a future that no plan reaches. A poll that was made "later than now" has its wait begin now: no feed
    /// is polled early, and none waits longer than was planned. What has no such sign goes by the longest wait there is,
    /// `longest`. Returns how many feeds that concerns.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn mend_clock(&mut self, now: DateTime<Utc>, longest: Duration) -> Result<usize, StoreError> {
        let what = "mend plans of a clock that was wrong";
        let now = now.timestamp_millis();
        let far = now.saturating_add(i64::try_from(longest.as_millis()).unwrap_or(i64::MAX));
        let transaction = self.connection.transaction().during(what)?;
        let mended = transaction.execute(POLLED, named_params! { ":now": now, ":slack": SLACK_MS }).during(what)?
            + transaction.execute(NEVER_POLLED, named_params! { ":now": now, ":far": far }).during(what)?;
        transaction.execute(CHECKED, named_params! { ":now": now }).during(what)?;
        transaction.execute(HUBS, named_params! { ":now": now, ":far": far }).during(what)?;
        transaction.commit().during(what)?;
        Ok(mended)
    }
}

const POLLED: &str = "UPDATE feed SET next_poll = :now + max(next_poll - last_poll, 0), last_poll = :now
    WHERE last_poll > :now + :slack";

/// Within an hour, so that they do not come together.
const NEVER_POLLED: &str = "UPDATE feed SET next_poll = :now + abs(random() % 3600000)
    WHERE last_poll IS NULL AND next_poll > :far";

const CHECKED: &str = "UPDATE feed SET last_check = nullif(min(coalesce(last_check, 0), :now), 0),
        last_success = nullif(min(coalesce(last_success, 0), :now), 0)
    WHERE last_check > :now OR last_success > :now";

/// A hub may be asked again at any time.
const HUBS: &str = "UPDATE subscription SET next_try = :now WHERE next_try > :far";

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;
    use proptest::prelude::*;

    use super::*;
    use crate::store::FeedSpec;

    const HOUR_MS: i64 = 3_600_000;

    fn now() -> DateTime<Utc> {
        DateTime::from_timestamp(1_790_000_000, 0).unwrap()
    }

    /// A store with one feed for each last and next poll, in milliseconds from now.
    fn store(polls: &[(Option<i64>, i64)]) -> (Store, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        for (number, (last, next)) in polls.iter().enumerate() {
            let url = format!("https://{number:04}.example/");
            store.add_feeds(&[FeedSpec { url: url.clone(), title: None, tags: vec![], floor_s: None }]).unwrap();
            let at = |ms: i64| now().timestamp_millis() + ms;
            let sql =
                "UPDATE feed SET last_poll = ?2, next_poll = ?3, last_check = ?2, last_success = ?2 WHERE url = ?1";
            store.connection.execute(sql, (url, last.map(at), at(*next))).unwrap();
        }
        (store, dir)
    }

    #[test]
    fn a_clock_that_was_a_year_ahead_stalls_nothing_and_hurries_nothing() {
        let year = 365 * 24 * HOUR_MS;
        let (mut store, _dir) = store(&[(Some(year), year + HOUR_MS), (Some(-HOUR_MS), HOUR_MS), (None, year)]);
        assert_eq!(store.mend_clock(now(), Duration::from_secs(4 * 86_400)).unwrap(), 2);
        let feeds = store.feeds(true).unwrap();
        let next = |at: usize| feeds[at].next_poll.unwrap() - now();
        assert_eq!((next(0), feeds[0].last_poll), (TimeDelta::hours(1), Some(now())));
        assert_eq!((feeds[0].last_check, feeds[0].last_success), (Some(now()), Some(now())));
        assert_eq!(
            (next(1), feeds[1].last_poll),
            (TimeDelta::hours(1), Some(now() - TimeDelta::hours(1))),
            "untouched"
        );
        assert!(next(2) <= TimeDelta::hours(1));
        assert_eq!(store.mend_clock(now(), Duration::from_secs(4 * 86_400)).unwrap(), 0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]
        /// However far the clock was set back: no feed waits longer than was planned after its last poll, and none that was
        /// polled "in the future" is due before its wait has passed.
        #[test]
        fn no_wait_grows_and_none_is_cut_short(polls in proptest::collection::vec((-100_000_000_000_i64..100_000_000_000, 0..200_000_000_i64), 1..8)) {
            let rows: Vec<_> = polls.iter().map(|(last, wait)| (Some(*last), last + wait)).collect();
            let (mut store, _dir) = store(&rows);
            store.mend_clock(now(), Duration::from_secs(86_400)).unwrap();
            for (feed, (last, wait)) in store.feeds(true).unwrap().iter().zip(polls) {
                let ahead = (feed.next_poll.unwrap() - now()).num_milliseconds();
                prop_assert!(ahead <= wait + SLACK_MS);
                prop_assert!(last <= SLACK_MS || ahead == wait);
            }
        }
    }
}
