//! `demarche feeds discover`: the feeds of a web page.

use std::io::Write;

use chrono::Utc;
use clap::Args;
use serde::Serialize;
use url::Url;

use super::Exit;
use super::flow::block_on;
use super::setup::{Setup, address};
use crate::alert::public_url;
use crate::fetch::{Fetcher, Outcome, Request, Validators};
use crate::parse::{Alternate, Context, alternates, decode, parse};

/// Where feeds are when a page names none, most usual first.
const USUAL_PLACES: [&str; 8] =
    ["/feed", "/rss", "/feed.xml", "/rss.xml", "/atom.xml", "/index.xml", "/feed.json", "/rss/index.xml"];

/// Arguments of `feeds discover`.
#[derive(Debug, Args)]
pub struct DiscoverArgs {
    /// Address of the page.
    url: String,
    /// One JSON object a line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Found {
    url: String,
    title: Option<String>,
}

pub(super) fn run(setup: &Setup, args: &DiscoverArgs) -> anyhow::Result<Exit> {
    let page = Url::parse(&address(&args.url)?)?;
    let fetcher = Fetcher::new(&setup.config().fetch)?;
    let found = block_on(discover(&fetcher, &page, setup.config().schedule.host_gap))?;
    let mut out = std::io::stdout().lock();
    for feed in &found {
        if args.json {
            writeln!(out, "{}", serde_json::to_string(feed)?)?;
        } else {
            writeln!(out, "{}  {}", feed.url, feed.title.as_deref().unwrap_or_default())?;
        }
    }
    if found.is_empty() {
        writeln!(std::io::stderr(), "no feed found: the page names none, and none is in the usual places")?;
        return Ok(Exit::Failed);
    }
    Ok(Exit::Ok)
}

/// What the page at `url` is or names; failing that, the first feed in a usual place.
async fn discover(fetcher: &Fetcher, url: &Url, gap: std::time::Duration) -> anyhow::Result<Vec<Found>> {
    let (found_at, body, content_type) = get(fetcher, url).await?;
    let context = Context { content_type: content_type.as_deref(), url: Some(&found_at) };
    if let Ok(document) = parse(&body, &context) {
        return Ok(vec![found(&Alternate { url: found_at, title: document.title })]);
    }
    let named = alternates(&decode(&body, content_type.as_deref()), &found_at);
    if !named.is_empty() {
        return Ok(named.iter().map(found).collect());
    }
    for place in USUAL_PLACES {
        tokio::time::sleep(gap).await;
        let place = found_at.join(place)?;
        let Ok((url, body, content_type)) = get(fetcher, &place).await else { continue };
        if let Ok(document) = parse(&body, &Context { content_type: content_type.as_deref(), url: Some(&url) }) {
            return Ok(vec![found(&Alternate { url, title: document.title })]);
        }
    }
    Ok(Vec::new())
}

fn found(alternate: &Alternate) -> Found {
    Found { url: public_url(alternate.url.as_str()), title: alternate.title.clone() }
}

async fn get(fetcher: &Fetcher, url: &Url) -> anyhow::Result<(Url, bytes::Bytes, Option<String>)> {
    let request = Request { url, validators: &Validators::default(), credential: None };
    let answer = fetcher.fetch(&request, Utc::now()).await?;
    match answer.outcome {
        Outcome::Fresh { body, content_type } => Ok((answer.final_url, body, content_type)),
        // The fetcher never answers so to a request without conditions.
        Outcome::NotModified => Ok((answer.final_url, bytes::Bytes::new(), None)),
    }
}
