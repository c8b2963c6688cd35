//! Sources on the web: feeds with their archives and pages, sitemaps, snapshots; one document after the other, by the
//! fetcher that polls, and with its manners.

mod frontier;
mod wayback;

use std::collections::{HashMap, HashSet};
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use chrono::Utc;
use tokio::sync::{Mutex, mpsc};
use tokio_util::sync::CancellationToken;
use url::Url;

pub use frontier::{Frontier, Pages, Rules};

use super::feeder::Stop;
use super::piece::{Bundle, Content, Page, Piece, Position, Reject};
use crate::alert::public_url;
use crate::fetch::{Answer, Credential, ErrorClass, FetchError, Fetcher, Outcome, Request, Validators};
use crate::parse::{Context, decode, parse};
use crate::schedule::{HostGate, host};
use frontier::{Ask, Fate, Found, Kind};

/// How documents are fetched.
pub struct Web {
    /// The fetcher.
    pub fetcher: Fetcher,
    /// Secret headers, by the feed's address.
    pub credentials: HashMap<String, Credential>,
    /// Keeps requests to a host apart.
    pub gate: Mutex<HostGate>,
    /// Pages of one source.
    pub max_pages: usize,
    /// Longest rest that is waited for.
    pub max_rest: Duration,
    /// Longest document, unpacked, bytes.
    pub max_document: usize,
    /// What is asked for.
    pub rules: Rules,
}

/// Times that a server may ask for a rest before its document is left for the next run.
const RESTS: usize = 3;

/// Reads one source on the web.
pub(super) struct Visit<'w> {
    pub web: &'w Web,
    pub source: usize,
    pub pieces: mpsc::Sender<Bundle>,
    pub stop: CancellationToken,
    pub frontier: Frontier,
    /// Pieces sent, for positions.
    pub sent: u64,
}

/// What is to be done about a document that was not had.
enum Trouble {
    /// Nothing: it is the end of numbered pages.
    End,
    /// The run is told to stop.
    Halt,
    /// It is left for the next run.
    Passing(Reject),
    /// It is as it is.
    Final(Reject),
}

impl Visit<'_> {
    /// Reads `feeds` with all that lies behind them.
    pub async fn run(mut self, feeds: &[String]) -> Result<(), Stop> {
        self.frontier.begin(feeds, &self.web.rules);
        let named: HashSet<&str> = feeds.iter().map(String::as_str).collect();
        while let Some(ask) = self.frontier.asks.pop_front() {
            self.frontier.turn_to(&ask.feed, &named);
            if self.frontier.asked >= self.web.max_pages {
                let detail = format!("{} pages, the cap of [backfill] max_pages", self.frontier.asked);
                let reject = Reject::of(&public_url(&ask.url), "too many pages", detail);
                self.frontier.give_up(&named);
                self.send(&ask, Content::Failed(reject), false).await?;
                continue;
            }
            self.frontier.asked += 1;
            let got = self.get(&ask).await.and_then(|got| self.read(&ask, got));
            self.frontier.cut(self.web.max_pages, &named);
            match got {
                Ok(Some(content)) => self.send(&ask, content, false).await?,
                Ok(None) | Err(Trouble::End) => {}
                Err(Trouble::Halt) => return Err(Stop::Halt),
                Err(Trouble::Passing(reject)) => {
                    self.frontier.later.push(ask.clone());
                    self.send(&ask, Content::Failed(reject), false).await?;
                }
                Err(Trouble::Final(reject)) => self.send(&ask, Content::Failed(reject), false).await?,
            }
        }
        let done = self.frontier.done();
        let last = Ask { url: String::new(), feed: String::new(), kind: Kind::Start };
        self.send(&last, Content::Pages(Vec::new()), done).await
    }

    async fn send(&mut self, ask: &Ask, content: Content, done: bool) -> Result<(), Stop> {
        self.sent += 1;
        let bytes = match &content {
            Content::Pages(pages) => pages.iter().map(|page| page.body.len() as u64).sum(),
            _ => 0,
        };
        let position = Position {
            file: ask.feed.clone(),
            pieces: self.sent,
            web: Some(self.frontier.clone()),
            ..Position::default()
        };
        let file: Arc<str> = public_url(&ask.url).into();
        let piece = Piece { source: self.source, file, position, done, bytes, content };
        self.pieces.send(Bundle { pieces: vec![piece], room: None }).await.map_err(|_| Stop::Halt)
    }

    /// One document, with the manners of polling: a request to a host at a time, a gap between, and a rest where one is asked
    /// for.
    async fn get(&mut self, ask: &Ask) -> Result<Answer, Trouble> {
        let shown = public_url(&ask.url);
        let refused = |detail: String| Trouble::Final(Reject::of(&shown, "not fetched", detail));
        let url = Url::parse(&ask.url).map_err(|error| refused(error.to_string()))?;
        let validators = Validators::default();
        for rest in 0.. {
            self.turn(&url).await?;
            let credential = self.web.credentials.get(&ask.feed);
            let request = Request { url: &url, validators: &validators, credential };
            let answer = tokio::select! {
                answer = self.web.fetcher.fetch(&request, Utc::now()) => answer,
                () = self.stop.cancelled() => return Err(Trouble::Halt),
            };
            self.web.gate.lock().await.end(&host(&url), Utc::now());
            let error = match answer {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            match rest_for(&error).filter(|wait| rest < RESTS && *wait <= self.web.max_rest) {
                Some(wait) => self.pause(wait).await?,
                None => return Err(self.trouble(ask, &error)),
            }
        }
        Err(Trouble::Halt)
    }

    fn trouble(&self, ask: &Ask, error: &FetchError) -> Trouble {
        let class = error.class();
        let gone = matches!(class, ErrorClass::NotFound | ErrorClass::Gone | ErrorClass::HttpClient);
        let reject = Reject::of(&public_url(&ask.url), "not fetched", error.to_string());
        match class {
            // Numbered pages end like this.
            _ if gone && matches!(ask.kind, Kind::Page { .. }) => Trouble::End,
            ErrorClass::HttpServer | ErrorClass::RateLimited | ErrorClass::Protocol => Trouble::Passing(reject),
            class if class.is_network() => Trouble::Passing(reject),
            _ => Trouble::Final(reject),
        }
    }

    /// Waits until the host may be asked.
    async fn turn(&self, url: &Url) -> Result<(), Trouble> {
        loop {
            let wait = {
                let (mut gate, host, now) = (self.web.gate.lock().await, host(url), Utc::now());
                if gate.admits(&host, now) {
                    gate.sweep(now);
                    gate.start(host, now);
                    return Ok(());
                }
                gate.next_opening(now).map_or(Duration::from_millis(50), |at| (at - now).to_std().unwrap_or_default())
            };
            self.pause(wait).await?;
        }
    }

    async fn pause(&self, wait: Duration) -> Result<(), Trouble> {
        tokio::select! {
            () = tokio::time::sleep(wait) => Ok(()),
            () = self.stop.cancelled() => Err(Trouble::Halt),
        }
    }

    /// Looks into a document for what comes next; gives it if it is to be read.
    fn read(&mut self, ask: &Ask, answer: Answer) -> Result<Option<Content>, Trouble> {
        let shown = public_url(&ask.url);
        let failed = |reason, detail: String| Trouble::Final(Reject::of(&shown, reason, detail));
        let Outcome::Fresh { body, content_type } = answer.outcome else {
            return Err(failed("not fetched", "it answered 304 to a first request".into()));
        };
        let body = unpacked(body, self.web.max_document).map_err(|detail| failed("broken data", detail))?;
        let rules = &self.web.rules;
        if let (Kind::Snapshots, Some(server)) = (&ask.kind, &rules.wayback) {
            let listing = wayback::read(&body, &ask.url, server);
            let listing = listing.map_err(|detail| failed("not a list of snapshots", detail))?;
            self.frontier.answered(ask, Found::Snapshots(listing), rules);
            return Ok(None);
        }
        let context = Context { content_type: content_type.as_deref(), url: Some(&answer.final_url) };
        let parsed = tokio::task::block_in_place(|| parse(&body, &context));
        let (fate, feed) = match parsed {
            Ok(document) => (self.frontier.answered(ask, Found::Feed(&document, &body), rules), Some(ask.feed.clone())),
            Err(error) if matches!(ask.kind, Kind::Page { .. }) => {
                tracing::debug!(page = shown, %error, "the last numbered page is no feed");
                return Ok(None);
            }
            Err(error) => match frontier::other(&decode(&body, content_type.as_deref())) {
                Some(Ok(sitemap)) => (self.frontier.answered(ask, Found::Sitemap(&sitemap), rules), None),
                Some(Err(feeds)) => (self.frontier.answered(ask, Found::Opml(feeds), rules), None),
                None => return Err(failed("not a feed", error.to_string())),
            },
        };
        if fate == Fate::Pass {
            return Ok(None);
        }
        let at = match ask.kind {
            Kind::Snapshot { at } => Some(at),
            _ => None,
        };
        let url = Some(answer.final_url.into());
        Ok(Some(Content::Pages(vec![Page {
            url,
            feed,
            content_type,
            body: body.into(),
            at,
            record: 0,
            byte: 0,
            torn: false,
        }])))
    }
}

/// The rest that a server asks for.
fn rest_for(error: &FetchError) -> Option<Duration> {
    match error {
        FetchError::Status { retry_after, status: 429 | 503, .. } => *retry_after,
        _ => None,
    }
}

/// A sitemap may be a gzip file, whatever it is called.
fn unpacked(body: Bytes, limit: usize) -> Result<Bytes, String> {
    if !body.starts_with(&[0x1f, 0x8b, 8]) {
        return Ok(body);
    }
    let mut text = Vec::new();
    let decoder = flate2::bufread::MultiGzDecoder::new(body.as_ref());
    decoder.take(limit as u64 + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() > limit { Err("it unpacks beyond [backfill] max_document".into()) } else { Ok(text.into()) }
}
