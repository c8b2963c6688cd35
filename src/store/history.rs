//! History taken in: many items in one transaction, together with how far each source has been read.
//!
//! The keys of a whole group are looked up, then written, in the order of the index ([`super::keys`]). An item that the quick
//! model has settled leaves its keys alone.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, Transaction, params};
use serde::{Deserialize, Serialize};

use super::error::During;
use super::health::set_policy;
use super::items::{Origin, Revision, Sighted, ids_change, insert_item, revise};
use super::keys::{Keys, Known};
use super::{Store, StoreError};
use crate::dedup::{Candidate, IdentityPolicy};
use crate::item::{FeedId, Identity};

const WHAT: &str = "store the items of a backfill";

/// How far a day's sightings may lie apart before `last_seen` is written anew, in milliseconds: as for polls.
const DAY_MS: i64 = 86_400_000;

/// An outlet whose items history holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outlet {
    /// Address of its feed, or what stands for it: plain ids count within it.
    pub url: String,
    /// Its own title, if it gave one.
    pub title: Option<String>,
    /// What its document calls for.
    pub policy: IdentityPolicy,
}

/// An item of history.
#[derive(Debug, Clone)]
pub struct Sighting {
    /// Index of its outlet within the batch.
    pub outlet: usize,
    /// The item and its keys.
    pub candidate: Candidate,
    /// Whether the quick model has judged it irrelevant for good.
    pub settled: bool,
}

/// What a source gave, and how far it has been read with it.
#[derive(Debug, Clone, Default)]
pub struct Batch {
    /// The source's place on the command line.
    pub source: usize,
    /// What has been read once this is taken in, as JSON.
    pub position: String,
    /// Whether the source has come to its end.
    pub done: bool,
    /// Whether it is to be taken in without waiting for more: it was hard to come by.
    pub flush: bool,
    /// The outlets of its items.
    pub outlets: Vec<Outlet>,
    /// Its items, in order.
    pub sightings: Vec<Sighting>,
    /// What came of the reading; the store adds what comes of the taking in.
    pub counts: SourceCounts,
    /// Lines for the file of rejects.
    pub rejects: Vec<String>,
    /// What a person should know of it, a line each.
    pub notes: Vec<String>,
}

/// What became of a source's records: `read = new + duplicate + revised + outside + rejected`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SourceCounts {
    /// Documents and files read.
    pub documents: u64,
    /// Documents and files that failed, wholly or from some place on.
    pub failed: u64,
    /// Records read.
    pub read: u64,
    /// Seen for the first time.
    pub new: u64,
    /// Known.
    pub duplicate: u64,
    /// Known, under another headline.
    pub revised: u64,
    /// Of the revised, those to be judged again.
    pub reopened: u64,
    /// Published outside of the days asked for.
    pub outside: u64,
    /// Broken, or without text.
    pub rejected: u64,
    /// Pages of archives that are no articles; none of the records.
    pub passed_over: u64,
    /// Of the new and the revised, those that the quick model settled.
    pub settled: u64,
    /// Why documents failed and records were rejected.
    pub reasons: BTreeMap<String, u64>,
    /// Bytes read, as they came (packed).
    pub bytes: u64,
}

impl SourceCounts {
    /// Adds `more`.
    pub fn add(&mut self, more: &Self) {
        self.documents += more.documents;
        self.failed += more.failed;
        self.read += more.read;
        self.new += more.new;
        self.duplicate += more.duplicate;
        self.revised += more.revised;
        self.reopened += more.reopened;
        self.outside += more.outside;
        self.rejected += more.rejected;
        self.passed_over += more.passed_over;
        self.settled += more.settled;
        self.bytes += more.bytes;
        for (reason, count) in &more.reasons {
            *self.reasons.entry(reason.clone()).or_default() += count;
        }
    }
}

/// Where a backfill that was broken off goes on.
#[derive(Debug, Clone, Default)]
pub struct Resume {
    /// When it began, Unix milliseconds.
    pub started: i64,
    /// Length of the file of rejects, bytes.
    pub rejects: u64,
    /// Its sources that were begun, by their place on the command line.
    pub sources: HashMap<usize, SourceState>,
}

/// How far a source has been read.
#[derive(Debug, Clone, Default)]
pub struct SourceState {
    /// The last position taken in, as JSON.
    pub position: String,
    /// Whether it has come to its end.
    pub done: bool,
    /// Its counts so far.
    pub counts: SourceCounts,
}

/// What was judged of a source's items.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct JudgedCounts {
    /// Alerts.
    pub alert: u64,
    /// Not relevant.
    pub irrelevant: u64,
    /// Not to be judged.
    pub unscorable: u64,
}

impl Store {
    /// Begins the backfill `run`, or says where it goes on.
    ///
    /// # Errors
    /// When the database refuses or holds what this program did not write.
    pub fn begin_history(&mut self, run: Identity, now: DateTime<Utc>) -> Result<Resume, StoreError> {
        let what = "read how far the backfill has come";
        let sql = "INSERT INTO backfill (run, started) VALUES (?1, ?2) ON CONFLICT (run) DO NOTHING";
        self.connection.execute(sql, params![run.0, now.timestamp_millis()]).during(what)?;
        let sql = "SELECT started, rejects FROM backfill WHERE run = ?1";
        let (started, rejects) =
            self.connection.query_row(sql, [run.0], |row| Ok((row.get(0)?, row.get(1)?))).during(what)?;
        let sources = sources(&self.connection, run)?;
        Ok(Resume { started, rejects, sources })
    }

    /// Forgets how far the backfill `run` has come: it has come to its end, or is to start anew.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn forget_history(&mut self, run: Identity) -> Result<(), StoreError> {
        let what = "close the backfill";
        let transaction = self.connection.transaction().during(what)?;
        for table in ["backfill_item", "backfill_source", "backfill"] {
            transaction.execute(&format!("DELETE FROM {table} WHERE run = ?1"), [run.0]).during(what)?;
        }
        transaction.commit().during(what)
    }

    /// Takes in a group of batches and notes how far their sources have been read, as one.
    ///
    /// # Errors
    /// When the database refuses; then nothing of it is stored.
    pub fn commit_history(
        &mut self,
        run: Identity,
        group: &[Batch],
        rejects: u64,
        now: DateTime<Utc>,
    ) -> Result<Vec<SourceCounts>, StoreError> {
        let transaction = self.connection.transaction().during(WHAT)?;
        let stored = self.fresh.look_up(&transaction, &keys_of(group)).during(WHAT)?;
        let mut intake = Intake { transaction: &transaction, run, now, stored, written: Keys::default() };
        let counts = group.iter().map(|batch| intake.batch(batch)).collect::<Result<Vec<_>, _>>()?;
        let written = intake.written;
        self.fresh.write(&transaction, &written).during(WHAT)?;
        checkpoint(&transaction, run, group, &counts, rejects)?;
        transaction.commit().during(WHAT)?;
        self.fresh.took(written);
        Ok(counts)
    }

    /// What was judged of the items of each source of the backfill `run`.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn judged_history(&self, run: Identity) -> Result<HashMap<usize, JudgedCounts>, StoreError> {
        let what = "count what the backfill found";
        let sql = "SELECT b.source, i.outcome, count(*) FROM backfill_item b JOIN item i ON i.id = b.item
                   WHERE b.run = ?1 AND i.outcome IS NOT NULL GROUP BY b.source, i.outcome";
        let mut statement = self.connection.prepare(sql).during(what)?;
        let mut rows = statement.query([run.0]).during(what)?;
        let mut found: HashMap<usize, JudgedCounts> = HashMap::new();
        while let Some(row) = rows.next().during(what)? {
            let counts = found.entry(row.get(0).during(what)?).or_default();
            let outcome: String = row.get(1).during(what)?;
            let count = row.get(2).during(what)?;
            match outcome.as_str() {
                "alert" => counts.alert = count,
                "irrelevant" => counts.irrelevant = count,
                _ => counts.unscorable = count,
            }
        }
        Ok(found)
    }

    /// Hands every alert line that the backfill `run` has raised to `each`, in order of decision.
    ///
    /// # Errors
    /// When the database refuses.
    pub fn alerts_of_history(&self, run: Identity, mut each: impl FnMut(&str)) -> Result<(), StoreError> {
        let what = "read the alerts of the backfill";
        let sql = "SELECT o.line FROM backfill_item b JOIN outbox o ON o.item = b.item WHERE b.run = ?1 ORDER BY o.seq";
        let mut statement = self.connection.prepare(sql).during(what)?;
        let mut rows = statement.query([run.0]).during(what)?;
        while let Some(row) = rows.next().during(what)? {
            each(row.get_ref(0).during(what)?.as_str().unwrap_or_default());
        }
        Ok(())
    }

    /// A copy of the whole state in `dir`: what is tried on it leaves no trace here.
    ///
    /// # Errors
    /// When the copy cannot be written.
    pub fn copy_to(&self, dir: &std::path::Path) -> Result<(), StoreError> {
        let path = dir.join(super::DATABASE);
        let path = path.to_string_lossy();
        self.connection.execute("VACUUM INTO ?1", [path.as_ref()]).during("copy the state database").map(drop)
    }
}

fn sources(connection: &Connection, run: Identity) -> Result<HashMap<usize, SourceState>, StoreError> {
    let what = "read how far the backfill has come";
    let sql = "SELECT source, position, done, counts FROM backfill_source WHERE run = ?1";
    let mut statement = connection.prepare(sql).during(what)?;
    let mut rows = statement.query([run.0]).during(what)?;
    let mut found = HashMap::new();
    while let Some(row) = rows.next().during(what)? {
        let counts: String = row.get(3).during(what)?;
        let counts = serde_json::from_str(&counts).map_err(|source| StoreError::Row { what: "backfill", source })?;
        let state = SourceState { position: row.get(1).during(what)?, done: row.get(2).during(what)?, counts };
        found.insert(row.get(0).during(what)?, state);
    }
    Ok(found)
}

/// Adds the counts of the group to those of its sources, and notes their positions.
fn checkpoint(
    connection: &Connection,
    run: Identity,
    group: &[Batch],
    counts: &[SourceCounts],
    rejects: u64,
) -> Result<(), StoreError> {
    let mut totals = sources(connection, run)?;
    for (batch, counts) in group.iter().zip(counts) {
        let state = totals.entry(batch.source).or_default();
        state.counts.add(counts);
        state.position.clone_from(&batch.position);
        state.done = batch.done;
    }
    let sql = "INSERT INTO backfill_source (run, source, position, done, counts) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (run, source) DO UPDATE SET position = excluded.position, done = excluded.done,
                   counts = excluded.counts";
    let mut statement = connection.prepare_cached(sql).during(WHAT)?;
    let touched: std::collections::BTreeSet<usize> = group.iter().map(|batch| batch.source).collect();
    for source in touched {
        let Some(state) = totals.get(&source) else { continue };
        let counts =
            serde_json::to_string(&state.counts).map_err(|source| StoreError::Row { what: "backfill", source })?;
        statement.execute(params![run.0, source, state.position, state.done, counts]).during(WHAT)?;
    }
    connection
        .execute("UPDATE backfill SET rejects = ?2 WHERE run = ?1", params![run.0, rejects])
        .during(WHAT)
        .map(drop)
}

/// The keys of a group, in the order of the index.
fn keys_of(group: &[Batch]) -> Vec<Identity> {
    let candidates = group.iter().flat_map(|batch| &batch.sightings).map(|sighting| &sighting.candidate);
    let mut keys: Vec<Identity> = candidates.flat_map(|candidate| &candidate.keys).copied().collect();
    keys.sort_unstable();
    keys.dedup();
    keys
}

/// A group being taken in.
struct Intake<'t> {
    transaction: &'t Transaction<'t>,
    run: Identity,
    now: DateTime<Utc>,
    /// What was known under the group's keys before it.
    stored: Keys,
    /// What is to be known under them.
    written: Keys,
}

impl Intake<'_> {
    fn known(&self, key: &Identity) -> Option<Known> {
        self.written.get(key).or_else(|| self.stored.get(key)).copied()
    }

    fn batch(&mut self, batch: &Batch) -> Result<SourceCounts, StoreError> {
        let feeds = self.feeds(&batch.outlets).during(WHAT)?;
        let mut counts = batch.counts.clone();
        let mut per_feed = vec![(0, 0, 0_u64); feeds.len()];
        for sighting in &batch.sightings {
            let (feed, policy) = feeds[sighting.outlet];
            let (by_alias, new) = self.sighting(batch.source, sighting, feed, policy, &mut counts)?;
            let tally = &mut per_feed[sighting.outlet];
            *tally = (tally.0 + usize::from(by_alias), tally.1 + 1, tally.2 + u64::from(new));
        }
        for ((feed, _), ((by_alias, entries, new), outlet)) in feeds.iter().zip(per_feed.iter().zip(&batch.outlets)) {
            if outlet.policy == IdentityPolicy::Link || ids_change(*by_alias, *entries) {
                set_policy(self.transaction, *feed, IdentityPolicy::Link).during(WHAT)?;
            }
            let sql = "UPDATE feed SET own_title = coalesce(?2, own_title), items_seen = items_seen + ?3 WHERE id = ?1";
            let mut statement = self.transaction.prepare_cached(sql).during(WHAT)?;
            statement.execute(params![feed, outlet.title, new]).during(WHAT)?;
        }
        Ok(counts)
    }

    fn feeds(&self, outlets: &[Outlet]) -> rusqlite::Result<Vec<(FeedId, IdentityPolicy)>> {
        outlets.iter().map(|outlet| super::feeds::history_feed(self.transaction, &outlet.url)).collect()
    }

    /// Takes in one item; whether it was known by its second key alone, and whether it is new.
    fn sighting(
        &mut self,
        source: usize,
        sighting: &Sighting,
        feed: FeedId,
        policy: IdentityPolicy,
        counts: &mut SourceCounts,
    ) -> Result<(bool, bool), StoreError> {
        let candidate: &Candidate = &sighting.candidate.under(policy);
        let found = candidate.lookup.iter().enumerate().find_map(|(rank, key)| Some((rank, self.known(key)?)));
        let Some((rank, known)) = found else {
            counts.new += 1;
            self.store_new(source, sighting, candidate, feed, counts)?;
            return Ok((false, true));
        };
        let headline = short(candidate.headline);
        match known.settled {
            Some(settled) if settled == headline => counts.duplicate += 1,
            Some(_) => {
                counts.revised += 1;
                counts.reopened += 1;
                self.store_new(source, sighting, candidate, feed, counts)?;
            }
            None => match revise(self.transaction, candidate, known.item)? {
                Revision::None => counts.duplicate += 1,
                Revision::Recorded => counts.revised += 1,
                Revision::Reopened => {
                    counts.revised += 1;
                    counts.reopened += 1;
                    self.belongs(source, known.item).during(WHAT)?;
                }
            },
        }
        self.know(candidate, known, false);
        Ok((rank > 0 && known.feed == feed, false))
    }

    /// An item that has no row: it gets one, unless it is settled.
    fn store_new(
        &mut self,
        source: usize,
        sighting: &Sighting,
        candidate: &Candidate,
        feed: FeedId,
        counts: &mut SourceCounts,
    ) -> Result<(), StoreError> {
        let now = self.now.timestamp_millis();
        let (item, settled) = if sighting.settled {
            counts.settled += 1;
            (0, Some(short(candidate.headline)))
        } else {
            let row =
                insert_item(self.transaction, &Sighted { feed, at: self.now, origin: Origin::Backfill }, candidate)?;
            self.belongs(source, row).during(WHAT)?;
            (row, None)
        };
        self.know(candidate, Known { item, feed, last_seen: now, settled }, true);
        Ok(())
    }

    fn belongs(&self, source: usize, item: i64) -> rusqlite::Result<()> {
        let sql = "INSERT INTO backfill_item (item, run, source) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING";
        self.transaction.prepare_cached(sql)?.execute(params![item, self.run.0, source]).map(drop)
    }

    /// Notes `known` under all keys of `candidate`: where there is something else, if it `replaces` that or a day has
    /// passed since.
    fn know(&mut self, candidate: &Candidate, known: Known, replaces: bool) {
        let now = self.now.timestamp_millis();
        for key in &candidate.keys {
            match self.known(key) {
                Some(there) if !(replaces && there.settled.is_some()) => {
                    if now - there.last_seen >= DAY_MS {
                        self.written.insert(*key, Known { last_seen: now, ..there });
                    }
                }
                _ => drop(self.written.insert(*key, Known { last_seen: now, ..known })),
            }
        }
    }
}

/// The first 64 bits of a headline's hash.
pub(super) fn short(headline: Identity) -> i64 {
    let mut first = [0; 8];
    first.copy_from_slice(&headline.0[..8]);
    i64::from_le_bytes(first)
}
