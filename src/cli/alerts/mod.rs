//! `demarche alerts`: the alert file, read back.

pub(super) mod filter;
pub(super) mod follow;
pub(super) mod print;
pub(super) mod read;

use std::io::Write;
use std::path::PathBuf;

use anyhow::Context;
use chrono::Utc;
use clap::{Args, Subcommand};

use self::filter::FilterArgs;
use super::exit::UsageError;
use super::setup::{Setup, setup};
use super::{Common, Exit};

/// What to do with the alerts.
#[derive(Debug, Subcommand)]
pub enum AlertsCommand {
    /// List alerts, oldest first.
    #[command(after_help = "Examples:\n  \
        demarche alerts list --since 24h --min-score 0.9\n  \
        demarche alerts list --stage agreed --actor RUS --actor USA --json | jq -r .item.url")]
    List(ListArgs),
    /// Show the latest alerts and then every new one as it is written, also across rotation.
    #[command(after_help = "Example:\n  demarche alerts follow --min-score 0.8")]
    Follow(FollowArgs),
    /// Show one alert in full.
    #[command(after_help = "Example:\n  demarche alerts show 3f9c")]
    Show(ShowArgs),
}

/// Which file is read.
#[derive(Debug, Args)]
pub(super) struct Source {
    /// Alert file, over `output.file`; files it was rotated into are read first, compressed ones too.
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// One JSON object a line; alerts as they stand in the file.
    #[arg(long)]
    pub json: bool,
}

/// Arguments of `alerts list`; `stories list` has them too.
#[derive(Debug, Args)]
pub struct ListArgs {
    #[command(flatten)]
    pub(super) source: Source,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// Only the latest N of them.
    #[arg(long, short = 'n', value_name = "N")]
    pub(super) limit: Option<usize>,
}

/// Arguments of `alerts follow` and `stories follow`.
#[derive(Debug, Args)]
pub struct FollowArgs {
    #[command(flatten)]
    pub(super) source: Source,
    #[command(flatten)]
    pub(super) filter: FilterArgs,
    /// How many of those already there are shown first.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 10)]
    pub(super) limit: usize,
}

/// Arguments of `alerts show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The alert's id or its item's, or the start of either.
    id: String,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(common: &Common, command: AlertsCommand) -> anyhow::Result<Exit> {
    let setup = setup(common)?;
    match command {
        AlertsCommand::List(args) => list(&setup, &args),
        AlertsCommand::Follow(args) => {
            let filter = args.filter.filter(Utc::now())?;
            let (takes, json) = (|view: &read::View| filter.takes(view), args.source.json);
            let path = path(&setup, &args.source)?;
            if !json {
                print::heading()?;
            }
            follow::run(&path, &takes, args.limit, &|line| print::line(line, json))
        }
        AlertsCommand::Show(args) => show(&setup, &args),
    }
}

fn list(setup: &Setup, args: &ListArgs) -> anyhow::Result<Exit> {
    let filter = args.filter.filter(Utc::now())?;
    let mut found = read::Latest::new(args.limit);
    let unreadable = read::each(&path(setup, &args.source)?, |alert| {
        if filter.takes(&alert.view) {
            found.push(alert);
        }
    })?;
    print::list(found.iter(), args.source.json)?;
    Ok(if unreadable > 0 { Exit::Partly } else { Exit::Ok })
}

fn show(setup: &Setup, args: &ShowArgs) -> anyhow::Result<Exit> {
    let mut found = Vec::new();
    let unreadable = read::each(&path(setup, &args.source)?, |alert| {
        if alert.view.is_known_as(&args.id) {
            found.push(alert);
        }
    })?;
    let alert = the_one(found, "alert", &args.id, "alerts list --json")?;
    if args.source.json {
        writeln!(std::io::stdout(), "{}", alert.line).context("write")?;
    } else {
        print::whole(&alert.view)?;
    }
    Ok(if unreadable > 0 { Exit::Partly } else { Exit::Ok })
}

/// The one of `found` that `id` was to name; `list` is the command that prints ids.
pub(super) fn the_one<T>(found: Vec<T>, what: &str, id: &str, list: &str) -> Result<T, UsageError> {
    match <[T; 1]>::try_from(found) {
        Ok([one]) => Ok(one),
        Err(none) if none.is_empty() => {
            Err(UsageError(format!("find {what} {id}: `demarche {list}` prints their ids")))
        }
        Err(several) => Err(UsageError(format!("show one {what}: {} begin with {id}", several.len()))),
    }
}

pub(super) fn path(setup: &Setup, source: &Source) -> anyhow::Result<PathBuf> {
    let path = source.file.clone().unwrap_or_else(|| setup.alert_file());
    if path.as_os_str() == "-" {
        return Err(UsageError(
            "read the alerts back: [output] file is standard output; name a file with --file".into(),
        )
        .into());
    }
    Ok(path)
}
