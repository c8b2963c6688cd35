//! The state database, opened by whoever holds its lock: a damaged one is set aside and the run goes on.

use std::time::{Duration, Instant};

use chrono::Utc;
use tokio_util::sync::CancellationToken;

use super::setup::Setup;
use crate::pipeline::PipelineError;
use crate::store::{Salvaged, Store, StoreError};

/// A database that is damaged again within this time lies on a disk that is failing: then the run ends, for a person to look.
const BAD_DISK: Duration = Duration::from_secs(3_600);

/// Opens the database, or a fresh one with what can be read of a damaged one.
pub(super) fn open(setup: &Setup) -> anyhow::Result<Store> {
    match Store::open(&setup.state) {
        Err(error) if error.is_damage() => replace(setup, &error),
        opened => Ok(opened?),
    }
}

/// Sets a database aside that proved damaged.
fn replace(setup: &Setup, damage: &dyn std::error::Error) -> anyhow::Result<Store> {
    let file = setup.alert_file();
    let alerted = crate::sink::alerted(&file);
    let (store, Salvaged { aside, rows }) = Store::salvage(&setup.state, &alerted, Utc::now())?;
    let read: Vec<String> = rows.iter().map(|(table, count)| format!("{table} {count}")).collect();
    tracing::error!(
        %damage,
        aside = %aside.display(),
        read = read.join(", "),
        alerted = alerted.len(),
        "the state database is damaged: set aside under another name; a fresh one goes on with what could be read of it and \
         of the alert file, which is untouched. Feeds that only `feeds add` named may be missing: see `feeds list`"
    );
    Ok(store)
}

/// What is done about damage while the program runs.
#[derive(Default)]
pub(super) struct Repairs {
    last: Option<Instant>,
}

impl Repairs {
    /// Passes on how a part of the run ended; `None` if the database had proved damaged and another is in its place, so that
    /// the run can begin anew.
    pub fn after<T>(
        &mut self,
        setup: &Setup,
        stop: &CancellationToken,
        ended: anyhow::Result<T>,
    ) -> anyhow::Result<Option<T>> {
        match ended {
            Err(error) if is_damage(&error) && !stop.is_cancelled() && self.may_help() => {
                drop(replace(setup, &*error)?);
                self.last = Some(Instant::now());
                Ok(None)
            }
            ended => ended.map(Some),
        }
    }

    fn may_help(&self) -> bool {
        self.last.is_none_or(|last| last.elapsed() > BAD_DISK)
    }
}

/// Whether a run ended because the database is damaged.
fn is_damage(error: &anyhow::Error) -> bool {
    let of_run = error.downcast_ref::<PipelineError>().and_then(|error| match error {
        PipelineError::Store(error) => Some(error),
        _ => None,
    });
    of_run.or_else(|| error.downcast_ref::<StoreError>()).is_some_and(StoreError::is_damage)
}
