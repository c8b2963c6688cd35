//! `demarche demo`: the main job on the bundled sample. The feeds are served over HTTP on loopback, this very binary
//! polls them as it would any other, and what it wrote is shown.

mod sample;
mod server;

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use tokio::process::Command;

use super::flow::block_on;
use super::setup::setup;
use super::{Common, Exit, show, summary};
use crate::pipeline::Totals;
use crate::store::FeedSpec;

/// Arguments of `demo`.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  demarche demo --state ./demo\n\nRun it twice: the second time nothing is new.")]
pub struct DemoArgs {}

pub(super) fn run(common: &Common, _args: DemoArgs) -> anyhow::Result<Exit> {
    let state = match &common.state {
        Some(dir) => dir.clone(),
        None => setup(common)?.state.join("demo"),
    };
    std::fs::create_dir_all(&state).with_context(|| format!("use state directory {}", state.display()))?;
    block_on(async {
        let (listener, address) = server::listen().await.context("listen on loopback")?;
        let done = tokio_util::sync::CancellationToken::new();
        let serving = server::serve(listener, done.clone().cancelled_owned());
        let polling = async {
            let ended = poll(common, &state, address).await;
            done.cancel();
            ended
        };
        let (served, ended) = tokio::join!(serving, polling);
        served.context("serve the sample")?;
        ended
    })
}

/// Runs `demarche run --once` on the sample and shows what it added to the alert file.
async fn poll(common: &Common, state: &Path, address: SocketAddr) -> anyhow::Result<Exit> {
    let opml = state.join("feeds.opml");
    std::fs::write(&opml, list(address)).with_context(|| format!("write {}", opml.display()))?;
    let alerts = state.join("alerts.jsonl");
    let before = std::fs::metadata(&alerts).map(|file| file.len()).unwrap_or(0);
    let mut command = command(common, state, &opml, &alerts)?;
    let shown: Vec<_> = command.as_std().get_args().map(|arg| arg.to_string_lossy().into_owned()).collect();
    writeln!(
        std::io::stdout(),
        "{} sample feeds on http://{address}\n$ demarche {}\n",
        sample::FEEDS.len(),
        shown.join(" ")
    )?;
    let output = command.output().await.context("start this binary again")?;
    let totals: Totals = match serde_json::from_slice(&output.stdout) {
        Ok(totals) if output.status.success() => totals,
        _ => return Ok(Exit::Failed),
    };
    show::alerts_from(&alerts, before)?;
    writeln!(std::io::stdout(), "{}", summary::lines(&totals, "feeds", &alerts))?;
    if totals.new == 0 {
        writeln!(
            std::io::stdout(),
            "nothing new since the last demo: no alert repeated; remove {} to start afresh",
            state.display()
        )?;
    }
    Ok(Exit::Ok)
}

/// The command a user would type. No interval: every server hint and floor gives way, since the feeds are our own.
fn command(common: &Common, state: &Path, opml: &Path, alerts: &Path) -> anyhow::Result<Command> {
    let mut command = Command::new(std::env::current_exe().context("find this binary")?);
    command.args(["run", "--once", "--json", "--interval", "0s", "--allow-net", "127.0.0.1/32", "--opml"]);
    command.arg(opml).arg("--state").arg(state).arg("--out").arg(alerts);
    command.args(["--log-level", common.log_level.as_deref().unwrap_or("warn")]);
    if let Some(config) = &common.config {
        command.arg("--config").arg(PathBuf::from(config));
    }
    command.stderr(std::process::Stdio::inherit()).kill_on_drop(true);
    Ok(command)
}

fn list(address: SocketAddr) -> String {
    let feeds: Vec<FeedSpec> = sample::FEEDS
        .iter()
        .map(|(name, ..)| FeedSpec {
            url: format!("http://{address}/{name}"),
            title: None,
            tags: vec!["sample".into()],
            floor_s: None,
        })
        .collect();
    crate::opml::write(&feeds)
}
