//! `demarche stories`: the alert file read back as stories.

mod gather;
mod print;

use std::io::Write;

use anyhow::Context;
use chrono::Utc;
use clap::{Args, Subcommand};

use self::gather::{Stories, changes};
use super::alerts::{self, FollowArgs, Source, follow, path, read, the_one};
use super::setup::{Setup, setup};
use super::{Common, Exit};

/// What to do with the stories.
#[derive(Debug, Subcommand)]
pub enum StoriesCommand {
    /// List stories, the one that was heard of last at the end. Flags choose by all alerts of a story together.
    #[command(after_help = "Examples:\n  \
        demarche stories list --since 7days --min-size 3\n  \
        demarche stories list --actor RUS --actor UKR --place Geneva --stage held")]
    List(StoryListArgs),
    /// Show every change of a story as it is written: that it begins, its stages, its marks, its second source.
    #[command(after_help = "Example:\n  demarche stories follow --actor IRN")]
    Follow(FollowArgs),
    /// Show one story as a timeline of its alerts.
    #[command(after_help = "Example:\n  demarche stories show 3f9c")]
    Show(ShowArgs),
}

/// Arguments of `stories list`.
#[derive(Debug, Args)]
pub struct StoryListArgs {
    #[command(flatten)]
    list: alerts::ListArgs,
    /// Least number of alerts.
    #[arg(long, value_name = "N", default_value_t = 1)]
    min_size: u64,
}

/// Arguments of `stories show`.
#[derive(Debug, Args)]
pub struct ShowArgs {
    /// The story's id, or the start of it.
    id: String,
    #[command(flatten)]
    source: Source,
}

pub(super) fn run(common: &Common, command: StoriesCommand) -> anyhow::Result<Exit> {
    let setup = setup(common)?;
    match command {
        StoriesCommand::List(args) => list(&setup, &args),
        StoriesCommand::Follow(args) => {
            let filter = args.filter.filter(Utc::now())?;
            let takes = |view: &read::View| !changes(view).is_empty() && filter.takes(view);
            follow::run(&path(&setup, &args.source)?, &takes, args.limit, &|line| match args.source.json {
                true => writeln!(std::io::stdout(), "{}", line.line),
                false => print::change(&line.view),
            })
        }
        StoriesCommand::Show(args) => show(&setup, &args),
    }
}

fn list(setup: &Setup, StoryListArgs { list, min_size }: &StoryListArgs) -> anyhow::Result<Exit> {
    let (stories, unreadable) = gather(setup, &list.source)?;
    let mut found = stories.taken(&list.filter.filter(Utc::now())?);
    found.retain(|story| story.size >= *min_size);
    let skipped = found.len().saturating_sub(list.limit.unwrap_or(usize::MAX));
    let mut found = found.split_off(skipped);
    if list.source.json {
        // The timeline of one is what `show` is for.
        found.iter_mut().for_each(|story| story.sightings.clear());
        found.iter().try_for_each(json)?;
    } else {
        print::list(&found)?;
    }
    Ok(if unreadable > 0 { Exit::Partly } else { Exit::Ok })
}

fn show(setup: &Setup, args: &ShowArgs) -> anyhow::Result<Exit> {
    let (stories, unreadable) = gather(setup, &args.source)?;
    let story = the_one(stories.named(&args.id), "story", &args.id, "stories list")?;
    if args.source.json {
        json(&story)?;
    } else {
        print::timeline(&story)?;
    }
    Ok(if unreadable > 0 { Exit::Partly } else { Exit::Ok })
}

fn gather(setup: &Setup, source: &Source) -> anyhow::Result<(Stories, usize)> {
    let mut stories = Stories::default();
    let unreadable = read::each(&path(setup, source)?, |alert| stories.add(alert.view))?;
    Ok((stories, unreadable))
}

fn json(story: &gather::Story) -> anyhow::Result<()> {
    let line = serde_json::to_string(story)?;
    writeln!(std::io::stdout(), "{line}").context("write")
}
