//! Hands out feeds as they fall due. The schedule itself is in the store; this stage only knows what is in flight.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{PipelineError, capacity};
use crate::item::FeedId;
use crate::store::{DueFeed, StoreHandle};

/// How often the store is asked when nothing is known to fall due: a feed that another process adds (`feeds add`) is
/// noticed within this time.
const LONGEST_SLEEP: Duration = Duration::from_secs(30);

/// Rows read at a time. More than can be in flight, since feeds whose host is busy are passed over.
const WINDOW: usize = 4 * capacity::IN_FLIGHT;

/// Hands out due feeds until the run stops or, with `once`, every feed due was polled since that time.
pub(super) async fn run(
    store: StoreHandle,
    once: Option<DateTime<Utc>>,
    jobs: mpsc::Sender<DueFeed>,
    mut finished: mpsc::Receiver<FeedId>,
    stop: CancellationToken,
) -> Result<(), PipelineError> {
    let mut in_flight = InFlight::default();
    while !stop.is_cancelled() {
        let due = store.call(move |store| store.due_feeds(Utc::now(), once, WINDOW)).await?;
        let mut sent = 0;
        for feed in due {
            if in_flight.admits(&feed) {
                in_flight.add(&feed);
                sent += 1;
                if jobs.send(feed).await.is_err() {
                    return Ok(());
                }
            }
        }
        if once.is_some() && sent == 0 && in_flight.is_empty() {
            return Ok(());
        }
        let next = store.call(|store| store.next_due()).await?;
        tokio::select! {
            Some(feed) = finished.recv() => {
                in_flight.remove(feed);
                while let Ok(feed) = finished.try_recv() {
                    in_flight.remove(feed);
                }
            }
            () = tokio::time::sleep(sleep_for(next, Utc::now())), if in_flight.has_room() => {}
            () = stop.cancelled() => {}
        }
    }
    Ok(())
}

/// How long nothing can fall due. Feeds that are due now but whose host is busy are looked at when a poll finishes, at
/// the latest after a second.
fn sleep_for(next: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Duration {
    const BUSY_HOST: Duration = Duration::from_secs(1);
    let until = next.map_or(LONGEST_SLEEP, |next| (next - now).to_std().unwrap_or(BUSY_HOST));
    until.clamp(Duration::from_millis(10), LONGEST_SLEEP)
}

/// Feeds handed out and not yet committed, and their hosts: a host is asked one thing at a time.
#[derive(Default)]
struct InFlight {
    feeds: HashMap<FeedId, Option<String>>,
    hosts: HashMap<String, usize>,
}

impl InFlight {
    fn admits(&self, feed: &DueFeed) -> bool {
        self.has_room()
            && !self.feeds.contains_key(&feed.id)
            && host(&feed.url).is_none_or(|host| !self.hosts.contains_key(&host))
    }

    fn add(&mut self, feed: &DueFeed) {
        let host = host(&feed.url);
        if let Some(host) = &host {
            *self.hosts.entry(host.clone()).or_default() += 1;
        }
        self.feeds.insert(feed.id, host);
    }

    fn remove(&mut self, feed: FeedId) {
        if let Some(Some(host)) = self.feeds.remove(&feed) {
            self.hosts.remove(&host);
        }
    }

    fn has_room(&self) -> bool {
        self.feeds.len() < capacity::IN_FLIGHT
    }

    fn is_empty(&self) -> bool {
        self.feeds.is_empty()
    }
}

/// Host and port: what one server is.
fn host(url: &str) -> Option<String> {
    let url = Url::parse(url).ok()?;
    Some(format!("{}:{}", url.host_str()?, url.port_or_known_default().unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dedup::IdentityPolicy;

    fn due(id: FeedId, url: &str) -> DueFeed {
        let identity = IdentityPolicy::Guid;
        DueFeed { id, url: url.into(), floor_s: None, validators: None, history: None, identity }
    }

    #[test]
    fn one_poll_a_host_at_a_time() {
        let mut in_flight = InFlight::default();
        let (a, b) = (due(1, "https://one.example/a"), due(2, "https://one.example/b"));
        assert!(in_flight.admits(&a));
        in_flight.add(&a);
        assert!(!in_flight.admits(&b));
        in_flight.remove(1);
        assert!(in_flight.admits(&b) && in_flight.is_empty() && in_flight.hosts.is_empty());
    }
}
