//! `demarche config`: the built-in file, and a check that reports every problem at once.

use std::io::Write;

use clap::Subcommand;

use super::setup::{checked, configured_feeds};
use super::{Common, Exit};
use crate::config::DEFAULTS;

/// Subcommands of `config`.
#[derive(Debug, Subcommand)]
pub enum ConfigCommand {
    /// Check the configuration (file, environment, feed lists); every problem is reported.
    #[command(after_help = "Example:\n  demarche config check --config /etc/demarche/demarche.toml")]
    Check,
    /// Print the built-in configuration with its comments: a template for your own.
    #[command(after_help = "Example:\n  demarche config show > demarche.toml")]
    Show,
}

pub(super) fn run(common: &Common, command: ConfigCommand) -> anyhow::Result<Exit> {
    match command {
        ConfigCommand::Show => write!(std::io::stdout(), "{DEFAULTS}")?,
        ConfigCommand::Check => {
            let loaded = checked(common.config.as_deref())?;
            let feeds = configured_feeds(&loaded)?;
            let name = common.config.as_deref().map_or("built-in defaults".into(), |path| path.display().to_string());
            writeln!(std::io::stdout(), "{name}: good, {} feeds", feeds.len())?;
        }
    }
    Ok(Exit::Ok)
}
