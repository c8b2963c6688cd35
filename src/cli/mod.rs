//! The command line: thin; each command is a file.

mod alerts;
mod backfill;
mod check;
mod config;
mod demo;
mod discover;
pub mod exit;
mod feeds;
mod flow;
mod label;
mod list;
mod paint;
mod parse;
mod progress;
mod reload;
mod run;
mod score;
mod setup;
mod show;
mod state;
mod stories;
mod summary;
mod table;

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::config::LogFormat;
pub use exit::Exit;

/// Watches news feeds for diplomacy and writes matches as JSONL alerts.
#[derive(Debug, Parser)]
#[command(name = "demarche", version, propagate_version = true, max_term_width = 100, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

/// Flags of every command.
#[derive(Debug, Args)]
pub struct Common {
    /// Configuration file; without it the built-in defaults hold (see `demarche config show`).
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// State directory, over `state.dir`.
    #[arg(long, global = true, value_name = "DIR")]
    state: Option<PathBuf>,
    /// How log lines look, over `log.format`.
    #[arg(long, global = true, value_enum, value_name = "FORMAT")]
    log_format: Option<LogFormat>,
    /// Log level or filter, over `log.level`.
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Watch the feeds: as a daemon, or with --once until everything due was polled.
    Run(run::RunArgs),
    /// Run history (files, archives, exports, pages of the past) through the same pipeline, then exit.
    Backfill(backfill::BackfillArgs),
    /// Score a text and say why.
    Score(score::ScoreArgs),
    /// Show what the parser sees in feed documents.
    Parse(parse::ParseArgs),
    /// List, add, remove, import, export, check and discover feeds.
    #[command(subcommand)]
    Feeds(feeds::FeedsCommand),
    /// List, follow and show alerts that were written.
    #[command(subcommand)]
    Alerts(alerts::AlertsCommand),
    /// List, follow and show the stories that alerts belong to.
    #[command(subcommand)]
    Stories(stories::StoriesCommand),
    /// Show or check the configuration.
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Train the classifier on labelled items.
    #[command(after_help = "Example:\n  demarche train --data mine.jsonl --dev held-out.jsonl --out my-model")]
    Train(crate::train::TrainArgs),
    /// Measure the classifier on labelled items.
    #[command(after_help = "Example:\n  demarche eval --data held-out.jsonl --json")]
    Eval(crate::eval::EvalArgs),
    /// Grade items by hand, as training data for `train`.
    #[command(after_help = "Example:\n  demarche label --from-alerts --out mine.jsonl")]
    Label(crate::train::label::LabelArgs),
    /// Poll the bundled sample feeds over loopback HTTP and show the alerts.
    Demo(demo::DemoArgs),
    /// Print shell completions.
    #[command(
        after_help = "Example:\n  demarche completions bash > ~/.local/share/bash-completion/completions/demarche"
    )]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual page (roff).
    #[command(after_help = "Example:\n  demarche man | man -l -")]
    Man,
}

/// Runs one command.
///
/// # Errors
/// Whatever kept it from its work; [`Exit::of`] gives the exit code.
pub fn run(cli: Cli) -> anyhow::Result<Exit> {
    let common = &cli.common;
    match cli.command {
        Command::Run(args) => run::run(common, args),
        Command::Backfill(args) => backfill::run(common, args),
        Command::Score(args) => score::run(common, args),
        Command::Parse(args) => parse::run(args),
        Command::Feeds(command) => feeds::run(common, command),
        Command::Alerts(command) => alerts::run(common, command),
        Command::Stories(command) => stories::run(common, command),
        Command::Config(command) => config::run(common, command),
        Command::Train(args) => {
            let setup = setup::setup(common)?;
            crate::train::run(&args, &setup.config().model)?;
            Ok(Exit::Ok)
        }
        Command::Eval(args) => {
            let setup = setup::setup(common)?;
            crate::eval::run(&args, &setup.config().model, &mut std::io::stdout().lock())?;
            Ok(Exit::Ok)
        }
        Command::Label(args) => label::run(common, &args),
        Command::Demo(args) => demo::run(common, args),
        Command::Completions { shell } => {
            clap_complete::generate(shell, &mut command(), "demarche", &mut std::io::stdout());
            Ok(Exit::Ok)
        }
        Command::Man => Ok(clap_mangen::Man::new(command()).render(&mut std::io::stdout()).map(|()| Exit::Ok)?),
    }
}

fn command() -> clap::Command {
    <Cli as clap::CommandFactory>::command()
}
