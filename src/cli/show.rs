//! Alerts as a person reads them.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Seek, SeekFrom, Write};
use std::path::Path;

use anyhow::Context;
use console::style;
use serde_json::Value;

/// Prints the alerts of a file from byte `start` on, best first.
pub(super) fn alerts_from(path: &Path, start: u64) -> anyhow::Result<()> {
    let mut alerts = Vec::new();
    if path.exists() {
        let mut file = File::open(path).with_context(|| format!("read {}", path.display()))?;
        file.seek(SeekFrom::Start(start))?;
        for line in BufReader::new(file).lines() {
            alerts.push(serde_json::from_str::<Value>(&line?).with_context(|| format!("read {}", path.display()))?);
        }
    }
    alerts.sort_by(|a, b| score(b).total_cmp(&score(a)));
    alerts.iter().try_for_each(|alert| print(alert, &mut io::stdout())).context("print the alerts")
}

fn score(alert: &Value) -> f64 {
    alert["score"].as_f64().unwrap_or(0.0)
}

fn print(alert: &Value, out: &mut impl Write) -> io::Result<()> {
    let text = |pointer: &str| alert.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    let title = if text("/item/title").is_empty() { text("/item/summary") } else { text("/item/title") };
    let published = text("/item/published").replace('T', " ").replace(":00Z", " UTC");
    writeln!(
        out,
        "{}  {:8}  {}",
        style(format!("{:.2}", score(alert))).green().bold(),
        style(text("/stage/label")).cyan(),
        style(title).bold()
    )?;
    let source = [text("/feed/title"), published, text("/item/url")];
    let source: Vec<_> = source.into_iter().filter(|part| !part.is_empty()).collect();
    writeln!(out, "      {}", style(source.join(" · ")).dim())?;
    let reasons: Vec<String> = alert["reasons"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|reason| {
            format!(
                "“{}” {:+.2}",
                reason["text"].as_str().unwrap_or_default(),
                reason["weight"].as_f64().unwrap_or(0.0)
            )
        })
        .collect();
    if !reasons.is_empty() {
        writeln!(out, "      why: {}", reasons.join(", "))?;
    }
    writeln!(out)
}
