//! Asking hubs: for a first lease, again where they were silent, and for renewals.

use std::sync::Arc;
use std::time::Duration;

use chrono::Utc;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::{Push, Subscription, WebsubConfig};
use crate::fetch::Fetcher;
use crate::pipeline::PipelineError;
use crate::store::StoreHandle;

/// How often the store is asked which hubs are due. A first subscription waits so long at most after the poll that found
/// the hub; shorter would only wake the disk.
const LOOK: Duration = Duration::from_secs(5);

/// Hubs asked in one go, one after the other: leases are for days, nothing hurries.
const BATCH: usize = 32;

pub(super) struct Asking {
    fetcher: Arc<Fetcher>,
    store: StoreHandle,
    config: WebsubConfig,
    callback: Url,
}

impl Asking {
    pub fn new(push: &Push, callback: Url) -> Self {
        let (fetcher, store, config) = (push.fetcher.clone(), push.store.clone(), push.config.clone());
        Self { fetcher, store, config, callback }
    }

    /// Asks whoever is due until the run stops.
    pub async fn run(self, stop: CancellationToken) -> Result<(), PipelineError> {
        loop {
            match self.ask_the_due(&stop).await {
                // The other stages say what is the matter; a subscription can wait until it is mended.
                Err(PipelineError::Store(error)) if error.is_passing() => {}
                asked => asked?,
            }
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
        }
    }

    async fn ask_the_due(&self, stop: &CancellationToken) -> Result<(), PipelineError> {
        for one in self.store.call(|store| store.due_subscriptions(Utc::now(), BATCH)).await? {
            tokio::select! {
                biased;
                () = stop.cancelled() => return Ok(()),
                asked = self.ask(one.subscription) => asked?,
            }
        }
        Ok(())
    }

    /// Notes the try first: the hub may verify before it answers.
    async fn ask(&self, mut subscription: Subscription) -> Result<(), PipelineError> {
        subscription.asked(Utc::now());
        let (form, hub) = (subscription.request(&self.callback, self.config.lease), subscription.hub_address());
        let topic = crate::alert::public_url(&subscription.topic);
        self.store.call(move |store| store.keep_subscription(&subscription)).await?;
        let Some(hub) = hub else {
            tracing::warn!(%topic, "the feed announces a hub that has no https address; it goes on being polled");
            return Ok(());
        };
        match self.fetcher.post(&hub, form).await {
            Ok(()) => tracing::debug!(%topic, %hub, "asked the hub"),
            Err(error) => tracing::warn!(%topic, %error, "the hub refused; the feed goes on being polled"),
        }
        Ok(())
    }
}
