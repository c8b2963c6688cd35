//! WebSub: feeds whose hub tells us of news at once, instead of our asking. Off unless a public address is configured.
//!
//! [`Subscription`] is pure: what is asked, what is confirmed, when a lease is renewed, whose signature counts. The shell
//! around it asks the hubs and listens for them. Polls go on, seldom, under a feed that is pushed: a hub may be silent.

mod config;
mod lease;
mod listen;
mod subscribe;

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::fetch::Fetcher;
use crate::pipeline::{Document, PipelineError};
use crate::store::StoreHandle;

pub use config::WebsubConfig;
pub use lease::{Intent, Reply, Subscription};

/// The stage: asks hubs, and takes what they push.
pub struct Push {
    /// Asks the hubs, behind the same guard as for feeds.
    pub fetcher: Arc<Fetcher>,
    /// Where subscriptions are.
    pub store: StoreHandle,
    /// How hubs reach us.
    pub config: WebsubConfig,
    /// Largest document, bytes.
    pub max_body: usize,
    /// To the commit stage.
    pub documents: mpsc::Sender<Document>,
}

impl Push {
    /// Listens and asks until the run stops.
    ///
    /// # Errors
    /// When the address cannot be listened on, or the store refuses.
    pub async fn run(self, callback: Url, stop: CancellationToken) -> Result<(), PipelineError> {
        let listener = bind(self.config.listen).await?;
        let (asking, stopped) = (subscribe::Asking::new(&self, callback), stop.clone());
        let server = axum::serve(listener, listen::router(self)).with_graceful_shutdown(stopped.cancelled_owned());
        let (served, asked) = tokio::join!(async { server.await }, asking.run(stop.clone()));
        served.map_err(|source| PipelineError::Listen { address: "the hubs' requests".into(), key: KEY, source })?;
        asked
    }
}

/// Where the address is configured.
const KEY: &str = "[websub] listen";

async fn bind(address: SocketAddr) -> Result<TcpListener, PipelineError> {
    let wrong = |source| PipelineError::Listen { address: address.to_string(), key: KEY, source };
    TcpListener::bind(address).await.map_err(wrong)
}
