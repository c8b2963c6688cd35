//! `demarche parse`: what the parser sees.

use std::io::{BufRead, Read, Write};
use std::path::Path;

use anyhow::Context;
use clap::Args;
use serde::Serialize;

use super::Exit;
use super::exit::UsageError;
use crate::item::{Document, Entry, Identity};
use crate::parse::{Context as ParseContext, parse};

/// Most bytes of a file that are read: what the fetcher would take at the most, with room for local archives.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

/// Arguments of `parse`.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  demarche parse feed.xml\n  find feeds -name '*.xml' | demarche parse --json --files-from -"
)]
pub struct ParseArgs {
    /// Feed documents; `-` is standard input.
    #[arg(value_name = "FILE", required_unless_present = "files_from")]
    files: Vec<String>,
    /// Read file names from this file, one a line (`-` is standard input).
    #[arg(long, value_name = "FILE")]
    files_from: Option<String>,
    /// One JSON object a file.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Seen<'a> {
    file: &'a str,
    ok: bool,
    error: Option<String>,
    feed_title: Option<String>,
    n_entries: usize,
    entries: Vec<SeenEntry>,
}

#[derive(Serialize)]
struct SeenEntry {
    id: String,
    title: String,
    link: Option<String>,
    published: Option<i64>,
    updated: Option<i64>,
    summary: String,
    authors: Vec<String>,
}

pub(super) fn run(args: ParseArgs) -> anyhow::Result<Exit> {
    let (mut good, mut bad) = (0, 0);
    let mut each = |file: &str| -> anyhow::Result<()> {
        let result = read(file).and_then(|body| parse(&body, &ParseContext::default()).map_err(|e| e.to_string()));
        *(if result.is_ok() { &mut good } else { &mut bad }) += 1;
        if args.json { print_json(file, result) } else { print_text(file, result) }
    };
    for file in &args.files {
        each(file)?;
    }
    if let Some(list) = &args.files_from {
        for file in names(list)? {
            each(&file?)?;
        }
    }
    Ok(match (good, bad) {
        (_, 0) => Exit::Ok,
        (0, _) => Exit::Failed,
        _ => Exit::Partly,
    })
}

fn names(list: &str) -> anyhow::Result<impl Iterator<Item = anyhow::Result<String>>> {
    let reader: Box<dyn BufRead> = match list {
        "-" => Box::new(std::io::stdin().lock()),
        path => {
            let file = std::fs::File::open(path).map_err(|error| UsageError(format!("read {path}: {error}")))?;
            Box::new(std::io::BufReader::new(file))
        }
    };
    Ok(reader
        .lines()
        .map(|line| line.context("read the list of files"))
        .filter(|line| !matches!(line, Ok(l) if l.is_empty())))
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    let source: Box<dyn Read> = match file {
        "-" => Box::new(std::io::stdin().lock()),
        path => Box::new(std::fs::File::open(Path::new(path)).map_err(|error| format!("read: {error}"))?),
    };
    let mut body = Vec::new();
    source.take(MOST_BYTES).read_to_end(&mut body).map_err(|error| format!("read: {error}"))?;
    Ok(body)
}

fn print_json(file: &str, result: Result<Document, String>) -> anyhow::Result<()> {
    let seen = match result {
        Ok(document) => Seen {
            file,
            ok: true,
            error: None,
            feed_title: document.title,
            n_entries: document.entries.len(),
            entries: document.entries.into_iter().map(seen_entry).collect(),
        },
        Err(error) => Seen { file, ok: false, error: Some(error), feed_title: None, n_entries: 0, entries: vec![] },
    };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &seen)?;
    Ok(out.write_all(b"\n")?)
}

fn seen_entry(entry: Entry) -> SeenEntry {
    SeenEntry {
        id: id(&entry),
        title: entry.title,
        link: entry.link,
        published: entry.published.map(|time| time.timestamp()),
        updated: entry.updated.map(|time| time.timestamp()),
        summary: entry.summary,
        authors: entry.authors,
    }
}

/// The feed's own id, else the link, else a hash of the text: the same for the same bytes, always.
fn id(entry: &Entry) -> String {
    let own = entry.guid.clone().or_else(|| entry.link.clone());
    own.unwrap_or_else(|| Identity::of(&["text", &entry.title, &entry.summary]).to_string())
}

fn print_text(file: &str, result: Result<Document, String>) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    match result {
        Err(error) => writeln!(out, "{file}: failed to {error}")?,
        Ok(document) => {
            let title = document.title.as_deref().unwrap_or("(no title)");
            writeln!(out, "{file}: {:?}, {} entries, {title}", document.format, document.entries.len())?;
            for entry in &document.entries {
                let date = entry.published.map_or("no date".into(), |time| time.format("%Y-%m-%d %H:%M").to_string());
                writeln!(out, "  {date:16}  {}\n{:20}{}", entry.title, "", entry.link.as_deref().unwrap_or("no link"))?;
            }
        }
    }
    Ok(())
}
