//! Keys of history on their way into `seen`.
//!
//! Keys are hashes, so the keys of one group touch nearly every leaf of a large index, and writing them costs as much as
//! writing the whole of it. So a group's keys are first written as one packed row, as they come, and held in memory; each
//! commit then moves one slice of the key space into `seen`, the keys of [`SLICES`] groups at a time. What is packed and
//! what is moved is one transaction with the group itself, so a killed process loses nothing: the packed rows are merged when
//! the next pipeline opens the state.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use rusqlite::{CachedStatement, Connection, OptionalExtension, params};

use super::error::During;
use super::{Store, StoreError};
use crate::item::{FeedId, Identity};

/// Slices of the key space, each merged in its turn. More gather more keys for each leaf that is written, and hold more in
/// memory: half as many groups' keys as there are slices, 64 bytes a key. Must divide 256.
const SLICES: usize = 16;

/// Bits of the filter as a power of two: 16 MiB. More keeps it sharp for larger states, and takes more memory in every backfill.
const FILTER_BITS: u32 = 27;

/// Keys looked up for each page of the database before the filter is made: it takes as long as looking up a few for each. Less
/// makes a small backfill read all of a large state; more leaves the filter out for longer.
const LOOK_UPS_PER_PAGE: u64 = 16;

/// What the store knows under a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// The item's row; 0 when there is none, since the quick model settled it.
    pub item: i64,
    pub feed: FeedId,
    /// Unix milliseconds.
    pub last_seen: i64,
    /// The headline that was settled.
    pub settled: Option<i64>,
}

/// The index of keys, to be looked up in.
pub(super) struct Seen<'c>(CachedStatement<'c>);

impl<'c> Seen<'c> {
    pub fn of(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("SELECT item, feed, last_seen, settled FROM seen WHERE key = ?1").map(Self)
    }

    pub fn get(&mut self, key: Identity) -> rusqlite::Result<Option<Known>> {
        let known = self.0.query_row([key.0], |row| {
            let (item, feed, last_seen, settled) = (row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?);
            Ok(Known { item, feed, last_seen, settled })
        });
        known.optional()
    }
}

/// Keys and what is known under each.
pub(super) type Keys = HashMap<Identity, Known, BuildHasherDefault<Prefix>>;

/// Keys that were committed but are not in `seen` yet, and what is remembered of those that are.
#[derive(Debug, Default)]
pub(super) struct Fresh {
    slices: [Keys; SLICES],
    /// Groups written since the state was opened: the next packed row, and whose turn it is.
    written: usize,
    /// Tells most keys that are not in the store at all, once there is one.
    filter: Option<Filter>,
    /// Keys looked up without it.
    unfiltered: u64,
}

impl Fresh {
    /// What is known under `keys`, which are sorted, here and in `seen`.
    pub fn look_up(&mut self, connection: &Connection, keys: &[Identity]) -> rusqlite::Result<Keys> {
        self.prepare(connection, keys.len())?;
        let may_be_known = |key: &&Identity| self.filter.as_ref().is_none_or(|filter| filter.may_hold(**key));
        let mut seen = Seen::of(connection)?;
        let mut found = Keys::default();
        for key in keys.iter().filter(may_be_known) {
            let known = match self.slices[slice(*key)].get(key) {
                Some(known) => Some(*known),
                None => seen.get(*key)?,
            };
            found.extend(known.map(|known| (*key, known)));
        }
        Ok(found)
    }

    /// Makes the filter once so many keys are looked up that reading all that are stored pays.
    fn prepare(&mut self, connection: &Connection, more: usize) -> rusqlite::Result<()> {
        self.unfiltered += more as u64;
        if self.filter.is_some() {
            return Ok(());
        }
        let pages: u64 = connection.pragma_query_value(None, "page_count", |row| row.get(0))?;
        if self.unfiltered < pages * LOOK_UPS_PER_PAGE {
            return Ok(());
        }
        let mut filter = Filter::default();
        let mut statement = connection.prepare("SELECT key FROM seen")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            filter.insert(Identity(row.get(0)?));
        }
        self.slices.iter().flat_map(Keys::keys).for_each(|key| filter.insert(*key));
        self.filter = Some(filter);
        Ok(())
    }

    /// Writes `group`, the keys of a group, as a packed row, and moves the slice whose turn it is into `seen`. [`Fresh::took`]
    /// follows once that is committed.
    pub fn write(&self, connection: &Connection, group: &Keys) -> rusqlite::Result<()> {
        let turn = self.written % SLICES;
        let mut moved = self.slices[turn].clone();
        moved.extend(group.iter().filter(|(key, _)| slice(**key) == turn));
        merge(connection, moved)?;
        let written = self.written as i64;
        let mut insert = connection.prepare_cached("INSERT INTO fresh_keys (seq, keys) VALUES (?1, ?2)")?;
        insert.execute(params![written, pack(group)])?;
        // Every slice has had its turn since.
        let mut delete = connection.prepare_cached("DELETE FROM fresh_keys WHERE seq <= ?1 - ?2")?;
        delete.execute(params![written, SLICES as i64 - 1]).map(drop)
    }

    /// Holds what [`Fresh::write`] wrote but did not move.
    pub fn took(&mut self, group: Keys) {
        let turn = self.written % SLICES;
        self.slices[turn] = Keys::default();
        if let Some(filter) = &mut self.filter {
            group.keys().for_each(|key| filter.insert(*key));
        }
        for (key, known) in group.into_iter().filter(|(key, _)| slice(*key) != turn) {
            self.slices[slice(key)].insert(key, known);
        }
        self.written += 1;
    }
}

/// A Bloom filter of four bits a key. Keys are hashes, so their own bytes say which; a fixed size, so that a state of any size
/// takes the same memory: of 5 million keys it lets one unknown in two thousand through, of 50 million one in three.
#[derive(Debug)]
struct Filter(Vec<u64>);

impl Default for Filter {
    fn default() -> Self {
        Self(vec![0; 1 << (FILTER_BITS - 6)])
    }
}

impl Filter {
    fn places(key: Identity) -> impl Iterator<Item = (usize, u64)> {
        (0..4).map(move |n| {
            let part = key.0[n * 4..][..4].iter().fold(0, |number, byte| number << 8 | u32::from(*byte));
            let bit = part >> (32 - FILTER_BITS);
            ((bit >> 6) as usize, 1 << (bit & 63))
        })
    }

    fn insert(&mut self, key: Identity) {
        Self::places(key).for_each(|(word, bit)| self.0[word] |= bit);
    }

    fn may_hold(&self, key: Identity) -> bool {
        Self::places(key).all(|(word, bit)| self.0[word] & bit != 0)
    }
}

impl Store {
    /// Merges keys of history that are packed still, whether this process wrote them or one that was killed. Only for whoever
    /// holds the lock of the directory: before anything is looked up, and after a backfill.
    ///
    /// # Errors
    /// When the database refuses or holds what this program did not write.
    pub fn merge_keys(&mut self) -> Result<(), StoreError> {
        let what = "merge the keys of a backfill";
        let transaction = self.connection.transaction().during(what)?;
        let mut keys = Keys::default();
        {
            let mut statement = transaction.prepare("SELECT keys FROM fresh_keys ORDER BY seq").during(what)?;
            let mut rows = statement.query([]).during(what)?;
            while let Some(row) = rows.next().during(what)? {
                let packed = row.get_ref(0).and_then(|value| Ok(value.as_blob()?)).during(what)?;
                keys.extend(unpack(packed));
            }
        }
        merge(&transaction, keys).during(what)?;
        transaction.execute("DELETE FROM fresh_keys", []).during(what)?;
        transaction.commit().during(what)?;
        self.fresh = Fresh::default();
        Ok(())
    }
}

/// Which slice a key belongs to: slices are ranges, so that each has leaves of its own.
fn slice(key: Identity) -> usize {
    usize::from(key.0[0]) * SLICES / 256
}

/// Writes `keys` into `seen`, in the order of the index.
fn merge(connection: &Connection, keys: Keys) -> rusqlite::Result<()> {
    let mut sorted: Vec<(Identity, Known)> = keys.into_iter().collect();
    sorted.sort_unstable_by_key(|(key, _)| *key);
    let sql = "INSERT INTO seen (key, item, feed, last_seen, settled) VALUES (?1, ?2, ?3, ?4, ?5)
               ON CONFLICT (key) DO UPDATE SET item = excluded.item, last_seen = excluded.last_seen,
                   settled = excluded.settled";
    let mut statement = connection.prepare_cached(sql)?;
    for (key, known) in sorted {
        statement.execute(params![key.0, known.item, known.feed, known.last_seen, known.settled])?;
    }
    Ok(())
}

/// Bytes of a packed key: the key, four numbers (little-endian), and whether the last is one.
const PACKED: usize = 16 + 4 * 8 + 1;

fn pack(group: &Keys) -> Vec<u8> {
    let mut packed = Vec::with_capacity(group.len() * PACKED);
    for (key, known) in group {
        packed.extend(key.0);
        let settled = known.settled.unwrap_or_default();
        let numbers = [known.item, known.feed, known.last_seen, settled];
        numbers.iter().for_each(|number| packed.extend(number.to_le_bytes()));
        packed.push(u8::from(known.settled.is_some()));
    }
    packed
}

fn unpack(packed: &[u8]) -> impl Iterator<Item = (Identity, Known)> + '_ {
    packed.chunks_exact(PACKED).map(|chunk| {
        let mut key = [0; 16];
        key.copy_from_slice(&chunk[..16]);
        let number = |place: usize| {
            let mut number = [0; 8];
            number.copy_from_slice(&chunk[16 + place * 8..][..8]);
            i64::from_le_bytes(number)
        };
        let settled = (chunk[PACKED - 1] != 0).then(|| number(3));
        (Identity(key), Known { item: number(0), feed: number(1), last_seen: number(2), settled })
    })
}

/// Hashes keys, which are hashes already.
#[derive(Default)]
pub(super) struct Prefix(u64);

impl Hasher for Prefix {
    fn write(&mut self, bytes: &[u8]) {
        for part in bytes.chunks_exact(8) {
            self.0 ^= part.iter().fold(0, |number, byte| number << 8 | u64::from(*byte));
        }
    }

    /// What tells arrays of other lengths apart: all keys are of one.
    fn write_usize(&mut self, _: usize) {}

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::{hash_map, vec};
    use proptest::prelude::*;

    use super::*;

    /// Keys from all over the space.
    fn key(number: u8) -> Identity {
        Identity::of(&[&number.to_string()])
    }

    fn commit(store: &mut Store, group: &Keys) {
        let transaction = store.connection.transaction().unwrap();
        store.fresh.write(&transaction, group).unwrap();
        transaction.commit().unwrap();
        store.fresh.took(group.clone());
    }

    fn look_up(store: &mut Store, keys: &[Identity]) -> Keys {
        store.fresh.look_up(&store.connection, keys).unwrap()
    }

    fn count(store: &Store, table: &str) -> usize {
        store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]
        /// Whatever groups come, and wherever the program is killed, what is known of a key is what was said of it last.
        #[test]
        fn what_was_said_last_is_known(
            groups in vec((hash_map(0_u8..40, (0_i64..3, proptest::option::of(-5_i64..5)), 0..25), proptest::bool::weighted(0.2)), 1..25)
        ) {
            let dir = tempfile::tempdir().unwrap();
            let mut store = Store::open(dir.path()).unwrap();
            let (mut all, mut said): (Vec<Identity>, _) = ((0..40).map(key).collect(), Keys::default());
            all.sort_unstable();
            for (time, (group, killed)) in groups.into_iter().enumerate() {
                let known = |(item, settled)| Known { item, feed: 7, last_seen: time as i64, settled };
                let group: Keys = group.into_iter().map(|(number, value)| (key(number), known(value))).collect();
                commit(&mut store, &group);
                said.extend(group);
                if killed {
                    drop(store);
                    store = Store::open(dir.path()).unwrap();
                    store.merge_keys().unwrap();
                }
                prop_assert_eq!(&look_up(&mut store, &all), &said);
                prop_assert!(count(&store, "fresh_keys") < SLICES);
            }
            store.merge_keys().unwrap();
            prop_assert_eq!((count(&store, "fresh_keys"), count(&store, "seen")), (0, said.len()));
            prop_assert_eq!(&look_up(&mut store, &all), &said);
        }
    }

    #[test]
    fn a_group_that_is_rolled_back_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let mut store = Store::open(dir.path()).unwrap();
        let group = Keys::from_iter([(key(1), Known { item: 1, feed: 1, last_seen: 1, settled: None })]);
        let transaction = store.connection.transaction().unwrap();
        store.fresh.write(&transaction, &group).unwrap();
        drop(transaction);
        assert!(look_up(&mut store, &[key(1)]).is_empty());
        commit(&mut store, &group);
        assert_eq!(look_up(&mut store, &[key(1)]).len(), 1);
    }
}
