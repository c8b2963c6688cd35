//! SIGHUP: the configuration is read again while the program runs.

use std::cell::RefCell;

use super::run::RunArgs;
use super::setup::Setup;
use super::{Common, exit};
use crate::pipeline::Handles;

/// A run's way to the next configuration.
pub(super) struct Reload<'a> {
    common: &'a Common,
    args: &'a RunArgs,
    setup: &'a Setup,
    next: RefCell<Option<Setup>>,
}

impl<'a> Reload<'a> {
    pub fn new(common: &'a Common, args: &'a RunArgs, setup: &'a Setup) -> Self {
        Self { common, args, setup, next: RefCell::default() }
    }

    /// Reads the configuration again. A good one ends the intake, so that the run ends when it has finished what it began;
    /// a bad one is refused. A single run only opens its files anew.
    pub fn hang_up(&self, handles: &Handles) {
        if self.args.once {
            return handles.reopen.ask();
        }
        crate::notify::reloading();
        match self.read() {
            Ok(next) => {
                tracing::info!("the configuration is good; finishing what has begun under the old one");
                self.next.replace(Some(next));
                handles.intake.cancel();
            }
            Err(error) => {
                refused(&error);
                handles.reopen.ask();
            }
        }
    }

    fn read(&self) -> anyhow::Result<Setup> {
        let mut next = self.setup.again(self.common)?;
        self.args.flow.lay_over(&mut next)?;
        Ok(next)
    }

    /// The configuration to go on with, if there was a reload.
    pub fn next(self) -> Option<Setup> {
        self.next.into_inner()
    }
}

/// Says what is wrong with a configuration; the old one stays in force.
pub(super) fn refused(error: &anyhow::Error) {
    tracing::error!(error = exit::message(error), "the new configuration is refused; going on with the old one");
    crate::notify::still_ready();
}
