//! Where alerts go: one trait, and what stands behind it.
//!
//! A sink takes alerts in the order of their decision and answers for each. Everything else is the same for all of them
//! and is done around it: which alerts it gets ([`Filter`]), when it is tried again ([`Retry`]), and how far it has got,
//! which is in the store. So a sink that is down holds nobody up, and goes on where it was.

mod command;
mod config;
mod error;
mod file;
mod filter;
mod open;
mod retry;
pub mod step;
mod telling;
mod webhook;

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, ready};

pub use command::CommandSink;
pub use config::{DeliveryConfig, OutputConfig, SinkConfig, SinkKind, problems};
pub use error::{SinkError, Verdict};
pub use file::{Compression, FilePolicy, FileSink, Fsync, Keep, Order, Part, Rotation, Walked, alerted, walk};
pub use filter::{Filter, Grade};
pub use open::{OpenError, Parts, Secrets, open};
pub use retry::{Next, Retry};
pub use telling::{InStory, Stories, Telling};
pub use webhook::{Format, Webhook};

use crate::store::Waiting;

/// Name of the main alert file among the sinks.
pub const MAIN: &str = "output";

/// An alert's id as a number: 32 hex digits as they stand in the line.
pub type AlertId = u128;

/// The number of an alert's id; `None` for what is no id of ours.
pub fn alert_number(id: &str) -> Option<AlertId> {
    (id.len() == 32).then(|| AlertId::from_str_radix(id, 16).ok()).flatten()
}

/// What became of the alerts that a sink was handed.
#[derive(Debug, Default)]
pub struct Delivery {
    /// `seq` of those it took.
    pub taken: Vec<i64>,
    /// The first that it did not take, and why. Those it is silent on were not tried.
    pub refused: Option<(i64, SinkError)>,
}

/// Something that takes alerts.
pub trait Sink: Send + Sync {
    /// Which of `waiting` it has already, though the store does not say so, since the last run was killed in between.
    /// `settled` are the ids of the last alerts before them. A sink that cannot be asked says none: its receiver tells
    /// repeats by their delivery id.
    fn already_has<'a>(
        &'a mut self,
        _waiting: &'a HashSet<String>,
        _settled: &'a HashSet<String>,
    ) -> BoxFuture<'a, Result<HashSet<String>, SinkError>> {
        ready(Ok(HashSet::new())).boxed()
    }

    /// The ids of the alerts that it holds, the newest `most`. Asked while the state is young: it may be made anew after the
    /// old one was lost, and what the feeds list still must not stand there twice.
    fn holds(&mut self, _most: usize) -> BoxFuture<'_, Result<Vec<AlertId>, SinkError>> {
        ready(Ok(Vec::new())).boxed()
    }

    /// How many alerts it is handed at once, at most.
    fn most(&self) -> usize;

    /// Takes `alerts`, which are in order and no more than [`Sink::most`].
    fn deliver<'a>(&'a mut self, alerts: &'a [&'a Waiting]) -> BoxFuture<'a, Delivery>;

    /// How long what it took may wait to be made safe by [`Sink::sync`]; `None`: it is safe when it is taken. Until then
    /// it is not marked as delivered.
    fn sync_every(&self) -> Option<Duration> {
        None
    }

    /// Makes safe what it took.
    fn sync(&mut self) -> BoxFuture<'_, Result<(), SinkError>> {
        ready(Ok(())).boxed()
    }

    /// Opens anew what it writes to: the file may have been moved away.
    fn reopen(&mut self) -> Result<(), SinkError> {
        Ok(())
    }

    /// Finishes what it does on the side.
    fn close(&mut self) {}
}

/// A sink with what is done around it.
pub struct Outlet {
    /// Its name in the store and in messages.
    pub name: String,
    /// The sink.
    pub sink: Box<dyn Sink>,
    /// Which alerts it gets.
    pub filter: Filter,
    /// How much it is told of a story.
    pub stories: Stories,
    /// When it is tried again.
    pub retry: Retry,
    /// Whether it leads out of this machine: then it is not waited for when the run stops.
    pub remote: bool,
    /// Hash of what it is connected to: another one is a new start for a sink that was closed.
    pub address: String,
}

impl Outlet {
    /// The main alert file: everything, and a run that cannot write it has failed.
    pub fn main(file: FileSink) -> Self {
        let (name, address) = (MAIN.to_owned(), file.path().display().to_string());
        let (filter, stories) = (Filter::everything(), Stories::All);
        Self { name, sink: Box::new(file), filter, stories, retry: Retry::local(), remote: false, address }
    }

    /// Whether it is the main alert file.
    pub fn is_main(&self) -> bool {
        self.name == MAIN
    }
}
