//! What others may ask of a running daemon over HTTP: `/metrics` (Prometheus), `/healthz` (does it get on), `/readyz` (does
//! it do its work). Off unless `[serve] listen` names an address; it tells nothing of feeds by name, but is meant for
//! loopback or a private network all the same.

mod config;
mod metrics;

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::Utc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::pipeline::{HUNG, Handles, PipelineError, Tally};
use crate::store::StoreHandle;

pub use config::ServeConfig;

/// What is looked at to answer.
pub struct Serve {
    /// The store: feeds, queue, sinks.
    pub store: StoreHandle,
    /// What was counted.
    pub tally: Arc<Tally>,
    /// Whether the stages get on.
    pub handles: Handles,
    /// The model's id.
    pub model: String,
}

impl Serve {
    /// Answers until `stop`.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn run(self, config: ServeConfig, stop: CancellationToken) -> Result<(), PipelineError> {
        let Some(address) = config.listen else { return Ok(()) };
        let wrong = |source| PipelineError::Listen { address: address.to_string(), key: "[serve] listen", source };
        let listener = TcpListener::bind(address).await.map_err(wrong)?;
        tracing::info!(address = %listener.local_addr().map_err(wrong)?, "serving metrics and health");
        let router = Router::new()
            .route("/metrics", get(metrics))
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .with_state(Arc::new(self));
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await.map_err(wrong)
    }
}

async fn metrics(State(serve): State<Arc<Serve>>) -> Response {
    let standing = match serve.store.call(|store| store.standing(Utc::now())).await {
        Ok(standing) => standing,
        Err(error) => return (StatusCode::SERVICE_UNAVAILABLE, error.to_string()).into_response(),
    };
    let troubles = serve.handles.pulse.troubles();
    match metrics::text(&standing, &serve.tally, &troubles, &serve.model) {
        Ok(text) => ([(header::CONTENT_TYPE, metrics::CONTENT_TYPE)], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// Well as long as no stage has hung: what a restart would mend.
async fn healthz(State(serve): State<Arc<Serve>>) -> Response {
    match serve.handles.pulse.hung(HUNG) {
        None => "ok\n".into_response(),
        Some((stage, at)) => {
            let text = format!("{stage} has been at one piece of work for {} s\n", at.as_secs());
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

/// Ready when it takes in and stores: not while it waits out a trouble, reads its configuration again, or stops.
async fn readyz(State(serve): State<Arc<Serve>>) -> Response {
    let troubles = serve.handles.pulse.troubles();
    if serve.handles.intake.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "the intake has ended\n").into_response();
    }
    if troubles.is_empty() {
        return "ok\n".into_response();
    }
    let text: String = troubles.iter().map(|(stage, error)| format!("{stage} waits: {error}\n")).collect();
    (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
}
