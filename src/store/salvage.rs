//! A damaged database is set aside under a new name, and a fresh one goes on with what can still be read of it.
//!
//! Damage is mostly a page or two: the rows before and behind them are found by reading each table from both ends. What is
//! left then contradicts itself in few ways, all mended here. Nothing of this touches the alert file; what it says is passed
//! in, so that no alert comes twice.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use rusqlite::{Connection, OpenFlags, Statement, params_from_iter, types::Value};

use super::error::During;
use super::{DATABASE, Store, StoreError};
use crate::item::Identity;

/// What came of it.
#[derive(Debug)]
pub struct Salvaged {
    /// The damaged database's new name.
    pub aside: PathBuf,
    /// Rows that could be read, by table.
    pub rows: Vec<(String, usize)>,
}

impl Store {
    /// Sets the damaged database in `dir` aside and opens a fresh one with what can be read of it. `alerted` are the items
    /// whose alerts stand in the alert file. Only for whoever holds the lock of the directory.
    ///
    /// # Errors
    /// When the files cannot be renamed, or no fresh database can be made.
    pub fn salvage(
        dir: &Path,
        alerted: &HashSet<Identity>,
        now: DateTime<Utc>,
    ) -> Result<(Self, Salvaged), StoreError> {
        let aside = set_aside(dir, now).map_err(|source| StoreError::SetAside { path: dir.join(DATABASE), source })?;
        let mut store = Self::open(dir)?;
        let what = "go on with what can be read of the damaged database";
        let rows = copy(&aside, &mut store.connection).during(what)?;
        store.merge_keys()?;
        mend(&mut store.connection, alerted, now).during(what)?;
        Ok((store, Salvaged { aside, rows }))
    }
}

/// Renames the database and its log to names that belong together: SQLite can still open it. The log goes first: left
/// alone, it would be taken for that of the fresh database.
fn set_aside(dir: &Path, now: DateTime<Utc>) -> std::io::Result<PathBuf> {
    let name = |count: u32| {
        let more = if count == 0 { String::new() } else { format!("-{count}") };
        dir.join(format!("demarche-damaged-{}{more}.sqlite", now.format("%Y%m%dT%H%M%SZ")))
    };
    let aside = (0..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0));
    for end in ["-wal", "-shm", ""] {
        let with_end = |path: &Path| PathBuf::from(format!("{}{end}", path.display()));
        match std::fs::rename(with_end(&dir.join(DATABASE)), with_end(&aside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(aside)
}

/// Copies what can be read, table by table.
fn copy(from: &Path, to: &mut Connection) -> rusqlite::Result<Vec<(String, usize)>> {
    // Read only, what was set aside stays as it is, its log too.
    let Ok(old) = Connection::open_with_flags(from, OpenFlags::SQLITE_OPEN_READ_ONLY) else { return Ok(Vec::new()) };
    to.pragma_update(None, "foreign_keys", false)?;
    let mut rows = Vec::new();
    for table in names(to, "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite%'")? {
        let count = copy_table(&old, to, &table)?;
        rows.push((table, count));
    }
    to.pragma_update(None, "foreign_keys", true)?;
    Ok(rows)
}

fn names(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<String>> {
    connection.prepare(sql)?.query_map([], |row| row.get(0))?.collect()
}

/// Copies the rows of a table that can be read, from its beginning up to the damage and from its end down to it.
fn copy_table(old: &Connection, to: &mut Connection, table: &str) -> rusqlite::Result<usize> {
    let of = |what: &str| format!("SELECT name FROM pragma_table_info('{table}') {what}");
    let Ok(known) = names(old, &of("")) else { return Ok(0) };
    let mut columns = names(to, &of(""))?;
    columns.retain(|column| known.contains(column));
    let keys = names(to, &of("WHERE pk > 0 ORDER BY pk"))?;
    if columns.is_empty() || keys.iter().any(|key| !columns.contains(key)) {
        return Ok(0);
    }
    let transaction = to.transaction()?;
    let marks = vec!["?"; columns.len()].join(", ");
    let columns = columns.join(", ");
    let mut insert = transaction.prepare(&format!("INSERT OR REPLACE INTO {table} ({columns}) VALUES ({marks})"))?;
    for direction in ["ASC", "DESC"] {
        let order: Vec<String> = keys.iter().map(|key| format!("{key} {direction}")).collect();
        let select = format!("SELECT {columns} FROM {table} ORDER BY {}", order.join(", "));
        let is_whole = old.prepare(&select).map(|mut select| copy_rows(&mut select, &mut insert));
        if is_whole.unwrap_or(Ok(false))? {
            break;
        }
    }
    drop(insert);
    let count = transaction.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?;
    transaction.commit()?;
    Ok(count)
}

/// Copies rows until the damage; whether there was none. A row that the fresh table refuses is left out.
fn copy_rows(select: &mut Statement<'_>, insert: &mut Statement<'_>) -> rusqlite::Result<bool> {
    let width = select.column_count();
    let Ok(mut rows) = select.query([]) else { return Ok(false) };
    loop {
        let values: Vec<Value> = match rows.next() {
            Ok(None) => return Ok(true),
            Ok(Some(row)) => match (0..width).map(|at| row.get(at)).collect() {
                Ok(values) => values,
                Err(_) => return Ok(false),
            },
            Err(_) => return Ok(false),
        };
        match insert.execute(params_from_iter(values)) {
            Err(error) if error.sqlite_error_code() != Some(rusqlite::ErrorCode::ConstraintViolation) => {
                return Err(error);
            }
            _ => {}
        }
    }
}

/// Makes what was read agree with itself and with the alert file.
fn mend(connection: &mut Connection, alerted: &HashSet<Identity>, now: DateTime<Utc>) -> rusqlite::Result<()> {
    let transaction = connection.transaction()?;
    transaction.execute_batch(AGREE)?;
    let known = "INSERT OR IGNORE INTO seen (key, item, feed, last_seen) VALUES (?1, 0, 0, ?2)";
    for id in alerted {
        transaction.prepare_cached(known)?.execute((id.0, now.timestamp_millis()))?;
    }
    let mut lost = Vec::new();
    let mut statement = transaction.prepare(WITHOUT_ALERT)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, identity): (i64, [u8; 16]) = (row.get(0)?, row.get(1)?);
        if !alerted.contains(&Identity(identity)) {
            lost.push(id);
        }
    }
    drop(rows);
    drop(statement);
    for id in lost {
        transaction.prepare_cached("UPDATE item SET outcome = NULL WHERE id = ?1")?.execute([id])?;
    }
    transaction.commit()
}

/// Rows whose feed is lost are of no use. A key whose item is lost (not pruned: then it would be older than all that are
/// left) is forgotten, so that the item comes again while its feed lists it; an item whose keys are lost is known by its
/// identity. Sinks have settled what the outbox calls delivered, in order; and the numbers of
/// alerts that are lost must not be given again, since sinks are behind them.
const AGREE: &str = "
    DELETE FROM item WHERE feed NOT IN (SELECT id FROM feed);
    DELETE FROM seen WHERE item > 0 AND item >= coalesce((SELECT min(id) FROM item), 0)
        AND NOT EXISTS (SELECT 1 FROM item WHERE item.id = seen.item)
        AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.item = seen.item);
    INSERT OR IGNORE INTO seen (key, item, feed, last_seen) SELECT identity, id, feed, first_seen FROM item;
    DELETE FROM subscription WHERE feed NOT IN (SELECT id FROM feed);
    UPDATE sink SET cursor = max(cursor, coalesce((SELECT max(seq) FROM outbox WHERE delivered IS NOT NULL), 0));
    DELETE FROM sqlite_sequence WHERE name = 'outbox';
    INSERT INTO sqlite_sequence (name, seq) VALUES ('outbox',
        max(coalesce((SELECT max(seq) FROM outbox), 0), coalesce((SELECT max(cursor) FROM sink), 0)));";

/// Items that raised an alert which is lost: unless it is in the file, they are judged again.
const WITHOUT_ALERT: &str = "SELECT id, identity FROM item
    WHERE outcome = 'alert' AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.item = item.id)";

#[cfg(test)]
mod tests;
