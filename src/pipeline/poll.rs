//! One poll, whole: fetch, parse, sort the entries, and say when to come again.

use std::panic::AssertUnwindSafe;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use url::Url;

use super::Polling;
use super::commit::{Document, Kind};
use crate::dedup;
use crate::fetch::{Answer, ErrorClass, FetchError, Outcome, Request, Validators};
use crate::item;
use crate::parse::{Context, ErrorKind, ParseError, parse};
use crate::schedule::{self, Answered, Failed, History, Jitter, Plan, Polled, Scope, Terms, plan};
use crate::store::{DueFeed, Health, Hub, Intake, Origin, Penalty, Poll};

/// Polls `feed`; whatever happens is a document for the commit stage.
pub(super) async fn poll(polling: &Polling, feed: DueFeed, now: DateTime<Utc>) -> Document {
    let history = History::from_json(feed.history.as_deref());
    let refetch = history.wants_refetch(polling.schedule.refetch_after, now);
    let got = get(polling, &feed, refetch, now).await;
    let polled = Visit { polling, feed: &feed, history, refetch, now };
    match got {
        Ok(good) => polled.succeeded(good),
        Err(trouble) => polled.failed(trouble),
    }
}

/// A good answer; no document means 304.
struct Good {
    address: Url,
    answer: Answer,
    document: Option<item::Document>,
}

/// Why there is none.
struct Trouble {
    class: ErrorClass,
    text: String,
    status: Option<u16>,
    failed: Failed,
    /// Where a redirect may have led to: the host that the server's wishes are about.
    host: Option<String>,
}

async fn get(polling: &Polling, feed: &DueFeed, refetch: bool, now: DateTime<Utc>) -> Result<Good, Trouble> {
    let address = Url::parse(feed.address()).map_err(|_| Trouble::fetching(&FetchError::Scheme, refetch))?;
    let known = feed.validators.as_deref().filter(|_| !refetch);
    let validators: Validators = known.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default();
    let credential = polling.credentials.get(&feed.url);
    let request = Request { url: &address, validators: &validators, credential };
    let mut answer = polling.fetcher.fetch(&request, now).await.map_err(|error| Trouble::fetching(&error, refetch))?;
    let document = match std::mem::replace(&mut answer.outcome, Outcome::NotModified) {
        Outcome::NotModified => None,
        Outcome::Fresh { body, content_type } => match parsed(body, content_type, &answer.final_url).await {
            Some(parsed) => Some(parsed.map_err(|error| Trouble::parsing(&error, &answer, refetch))?),
            None => return Err(Trouble::panicked(&answer, refetch)),
        },
    };
    Ok(Good { address, answer, document })
}

/// What the parser makes of a body; `None` if it panicked.
async fn parsed(body: Bytes, content_type: Option<String>, url: &Url) -> Option<Result<item::Document, ParseError>> {
    /// Bodies up to here, bytes, are parsed where they are: about a millisecond, less than it costs to have another thread
    /// do it, and that thread's memory. Larger ones would keep other polls waiting.
    const SHORT: usize = 64 * 1024;
    let url = url.clone();
    let short = body.len() <= SHORT;
    let work = move || parse(&body, &Context { content_type: content_type.as_deref(), url: Some(&url) });
    match short {
        // Nothing that the parser had in hand outlives a panic.
        true => std::panic::catch_unwind(AssertUnwindSafe(work)).ok(),
        false => tokio::task::spawn_blocking(work).await.ok(),
    }
}

impl Trouble {
    fn fetching(error: &FetchError, refetch: bool) -> Self {
        let (class, retry_after, not_before) = (error.class(), error.retry_after(), error.not_before());
        Self {
            class,
            text: error.to_string(),
            status: error.status(),
            failed: Failed { class, retry_after, not_before, refetch },
            host: error.host().map(str::to_owned),
        }
    }

    /// A captcha page says 200 and names a cache lifetime like any other; its validators are not for the feed.
    fn parsing(error: &ParseError, answer: &Answer, refetch: bool) -> Self {
        let class = match error.kind() {
            ErrorKind::NotAFeed => ErrorClass::NotAFeed,
            ErrorKind::Empty => ErrorClass::Empty,
            ErrorKind::Broken => ErrorClass::Broken,
        };
        Self::document(class, error.to_string(), answer, refetch)
    }

    fn panicked(answer: &Answer, refetch: bool) -> Self {
        Self::document(
            ErrorClass::Broken,
            "parse the feed: a fault of this program; please report it".into(),
            answer,
            refetch,
        )
    }

    fn document(class: ErrorClass, text: String, answer: &Answer, refetch: bool) -> Self {
        let failed = Failed { class, retry_after: None, not_before: answer.not_before, refetch };
        Self { class, text, status: Some(answer.status), failed, host: None }
    }
}

/// What there is to say of a poll once it is over.
struct Visit<'a> {
    polling: &'a Polling,
    feed: &'a DueFeed,
    history: History,
    refetch: bool,
    now: DateTime<Utc>,
}

impl Visit<'_> {
    fn succeeded(self, good: Good) -> Document {
        let Good { address, answer, document } = good;
        self.note_reach(None);
        let seen = document.as_ref();
        let plan = self.plan(&Polled::Answered(Answered {
            url: &address,
            document: seen
                .map(|document| schedule::Document { hints: &document.hints, entries: document.entries.len() }),
            not_before: answer.not_before,
            validators: !answer.validators.is_empty(),
            items_before: self.feed.items,
            permanent_redirect: answer.permanent_redirect.as_ref(),
            refetch: self.refetch,
        }));
        let mut health = self.health(plan, Some(answer.status));
        health.hub = self.hub(document.as_ref(), &answer);
        health.validators = serde_json::to_string(&answer.validators).ok();
        match document {
            None => self.report(Kind::NotModified, health, None, Intake::default()),
            Some(document) => {
                let sorted = dedup::sort(document.entries, &self.feed.url, self.feed.identity, self.now);
                let (candidates, rejected, policy) = (sorted.candidates, sorted.rejected.len(), sorted.policy);
                self.report(Kind::Fresh, health, document.title, Intake { candidates, rejected, policy })
            }
        }
    }

    /// The hub that headers or document announce, where hubs can reach us.
    fn hub(&self, document: Option<&item::Document>, answer: &Answer) -> Hub {
        let Some(document) = document.filter(|_| self.polling.websub.callback.is_some()) else { return Hub::Unknown };
        let Some(hub) = answer.links.hub.as_ref().map(Url::as_str).or(document.hub.as_deref()) else {
            return Hub::None;
        };
        let topic = answer.links.topic.as_ref().map(Url::as_str).or(document.self_url.as_deref());
        Hub::At { hub: hub.to_owned(), topic: topic.unwrap_or(answer.final_url.as_str()).to_owned() }
    }

    fn failed(self, trouble: Trouble) -> Document {
        let Trouble { class, text, status, failed, host } = trouble;
        let ours = self.note_reach(Some(class));
        let plan = self.plan(&if ours { Polled::Outage } else { Polled::Failed(failed) });
        match (ours, plan.next) {
            (true, _) => tracing::warn!(%class, error = text, "poll failed, as does every other: is the network down?"),
            (false, None) => tracing::warn!(%class, error = text, "the feed has ended and is not polled again"),
            (false, Some(next)) => tracing::warn!(%class, error = text, %next, "poll failed"),
        }
        let mut health = self.health(plan, status);
        if let (Some(penalty), Some(host)) = (&mut health.penalty, host) {
            self.aim(penalty, &host);
        }
        health.error = Some((class.to_string(), text));
        self.report(Kind::Failed, health, None, Intake::default())
    }

    /// Whether no host at all can be reached, this poll included.
    fn note_reach(&self, failure: Option<ErrorClass>) -> bool {
        // A poisoned lock means that a thread died between two lines of bookkeeping: go on without.
        let Ok(mut outage) = self.polling.outage.lock() else { return false };
        outage.record(&self.feed.host, failure);
        failure.is_some_and(ErrorClass::is_network) && outage.is_on()
    }

    fn plan(&self, polled: &Polled<'_>) -> Plan {
        let floor = self.feed.floor_s.map(std::time::Duration::from_secs);
        let terms = Terms {
            floor,
            interval: self.polling.interval,
            pushed: self
                .polling
                .websub
                .callback
                .as_ref()
                .filter(|_| self.feed.pushed)
                .map(|_| self.polling.websub.poll),
        };
        let jitter = Jitter::of(self.feed.id, self.now.timestamp_millis());
        plan(&self.polling.schedule, terms, &self.history, polled, self.now, jitter)
    }

    fn health(&self, plan: Plan, status: Option<u16>) -> Health {
        let scope = self.polling.schedule.penalty_scope;
        let of = if scope == Scope::Site { &self.feed.site } else { &self.feed.host };
        Health {
            status,
            error: None,
            errors_in_row: plan.history.errors,
            validators: None,
            next_poll: plan.next,
            history: plan.history.to_json(),
            hub: Hub::Unknown,
            moved_to: plan.moved_to.map(String::from),
            penalty: plan.penalty.map(|until| Penalty { scope, of: of.clone(), until }),
        }
    }

    /// After a redirect the wish to be left alone is that of the host that uttered it.
    fn aim(&self, penalty: &mut Penalty, host: &str) {
        if let Ok(url) = Url::parse(&format!("http://{host}/")) {
            penalty.of = if penalty.scope == Scope::Site { schedule::site(&url) } else { schedule::host(&url) };
        }
    }

    fn report(&self, kind: Kind, health: Health, own_title: Option<String>, intake: Intake) -> Document {
        let (feed, at) = (self.feed.id, self.now);
        Document { kind, poll: Poll { feed, at, origin: Origin::Live, health: Some(health), own_title, intake } }
    }
}
