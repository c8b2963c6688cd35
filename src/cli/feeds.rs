//! `demarche feeds`: the list of feeds and its health.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, Subcommand};

use super::exit::UsageError;
use super::setup::{Setup, address, configured_feeds, open_opml, setup};
use super::{Common, Exit, check, discover, list};
use crate::alert::public_url;
use crate::store::{FeedOrigin, FeedRow, FeedSpec, Store};

/// Subcommands of `feeds`.
#[derive(Debug, Subcommand)]
pub enum FeedsCommand {
    /// List the feeds with their health.
    #[command(after_help = "Example:\n  demarche feeds list --json | jq 'select(.error).url'")]
    List {
        /// Also those that are no longer polled.
        #[arg(long)]
        all: bool,
        /// One JSON object a line.
        #[arg(long)]
        json: bool,
    },
    /// Add feeds; they stay until removed.
    #[command(after_help = "Example:\n  demarche feeds add https://news.example/world.xml --tag agency")]
    Add(AddArgs),
    /// Stop polling feeds. What they brought stays known, so that nothing repeats should they come back.
    #[command(after_help = "Example:\n  demarche feeds remove https://news.example/world.xml")]
    Remove {
        /// Addresses of the feeds.
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// Add the feeds of an OPML file; folders become tags.
    #[command(after_help = "Example:\n  demarche feeds import subscriptions.opml")]
    Import {
        /// The OPML file.
        file: PathBuf,
    },
    /// Write the feeds as OPML on standard output.
    #[command(after_help = "Example:\n  demarche feeds export > feeds.opml")]
    Export,
    /// Fetch feeds now and report what is found; no item is stored.
    #[command(after_help = "Example:\n  demarche feeds check --all --json | jq 'select(.problems != []) | .url'")]
    Check(check::CheckArgs),
    /// Find the feeds of a web page: those it names, else the first in a usual place.
    #[command(after_help = "Example:\n  demarche feeds discover https://news.example/")]
    Discover(discover::DiscoverArgs),
}

/// Arguments of `feeds add`.
#[derive(Debug, Args)]
pub struct AddArgs {
    /// Addresses of the feeds.
    #[arg(required = true)]
    urls: Vec<String>,
    /// Title, instead of the feed's own.
    #[arg(long)]
    title: Option<String>,
    /// Label; may be repeated.
    #[arg(long)]
    tag: Vec<String>,
    /// Least time between polls ("2h").
    #[arg(long, value_parser = humantime_serde::re::humantime::parse_duration)]
    floor: Option<std::time::Duration>,
}

pub(super) fn run(common: &Common, command: FeedsCommand) -> anyhow::Result<Exit> {
    let setup = setup(common)?;
    match command {
        FeedsCommand::List { all, json } => list::run(&setup, all, json),
        FeedsCommand::Add(args) => add(&setup, args),
        FeedsCommand::Remove { urls } => remove(&setup, &urls),
        FeedsCommand::Import { file } => import(&setup, &file),
        FeedsCommand::Export => {
            let feeds: Vec<FeedSpec> = feeds(&setup, false)?.into_iter().map(spec).collect();
            say(crate::opml::write(&feeds).trim_end())
        }
        FeedsCommand::Check(args) => check::run(&setup, &args),
        FeedsCommand::Discover(args) => discover::run(&setup, &args),
    }
}

fn say(text: &str) -> anyhow::Result<Exit> {
    writeln!(std::io::stdout(), "{text}").context("write to standard output")?;
    Ok(Exit::Ok)
}

/// The feeds as the store and the present configuration have them.
pub(super) fn feeds(setup: &Setup, all: bool) -> anyhow::Result<Vec<FeedRow>> {
    let mut store = Store::open(&setup.state)?;
    let configured = configured_feeds(&setup.loaded)?;
    if !configured.is_empty() {
        store.sync_feeds(&configured, FeedOrigin::Config)?;
    }
    Ok(store.feeds(all)?)
}

fn spec(feed: FeedRow) -> FeedSpec {
    FeedSpec { url: feed.url, title: feed.title, tags: feed.tags, floor_s: None }
}

fn add(setup: &Setup, args: AddArgs) -> anyhow::Result<Exit> {
    let specs: Vec<FeedSpec> = args
        .urls
        .iter()
        .map(|url| {
            let floor_s = args.floor.map(|floor| floor.as_secs());
            Ok(FeedSpec { url: address(url)?, title: args.title.clone(), tags: args.tag.clone(), floor_s })
        })
        .collect::<anyhow::Result<_>>()?;
    let added = Store::open(&setup.state)?.add_feeds(&specs)?;
    say(&format!("{added} added, {} known already", specs.len() - added))
}

/// Adds the feeds of an OPML file and says what of it was passed over.
fn import(setup: &Setup, file: &Path) -> anyhow::Result<Exit> {
    let listing = open_opml(file)?;
    let added = Store::open(&setup.state)?.add_feeds(&listing.feeds)?;
    let (known, skipped) = (listing.feeds.len() - added, listing.skipped.len());
    say(&format!("{added} added, {known} known already, {skipped} skipped"))?;
    for skipped in &listing.skipped {
        say(&format!("skipped {skipped}"))?;
    }
    Ok(Exit::Ok)
}

fn remove(setup: &Setup, urls: &[String]) -> anyhow::Result<Exit> {
    let mut store = Store::open(&setup.state)?;
    for url in urls {
        if !store.remove_feed(&address(url)?)? {
            return Err(
                UsageError(format!("remove {}: no such feed; see `demarche feeds list`", public_url(url))).into()
            );
        }
    }
    say(&format!("{} removed", urls.len()))
}
