//! A small origin on loopback that serves the sample as a real one would: media types, ETags, 304.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use super::sample::FEEDS;

/// The port a second demo looks for first, so that feeds keep their addresses (any fixed one would do).
const PORT: u16 = 48_623;

/// Listens on the usual port, on another if that is taken.
pub(super) async fn listen() -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, PORT)).await {
        Ok(listener) => listener,
        Err(_) => TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?,
    };
    let address = listener.local_addr()?;
    Ok((listener, address))
}

/// Serves until `done`.
pub(super) async fn serve(
    listener: TcpListener,
    done: impl Future<Output = ()> + Send + 'static,
) -> std::io::Result<()> {
    axum::serve(listener, Router::new().route("/{name}", get(feed))).with_graceful_shutdown(done).await
}

async fn feed(Path(name): Path<String>, request: HeaderMap) -> Response {
    let Some((_, media_type, body)) = FEEDS.iter().find(|(file, ..)| *file == name) else {
        return StatusCode::NOT_FOUND.into_response();
    };
    let etag = format!("\"{}\"", &blake3::hash(body).to_hex()[..16]);
    if request.get(header::IF_NONE_MATCH).is_some_and(|known| known.as_bytes() == etag.as_bytes()) {
        return (StatusCode::NOT_MODIFIED, [(header::ETAG, etag)]).into_response();
    }
    ([(header::CONTENT_TYPE, (*media_type).to_owned()), (header::ETAG, etag)], *body).into_response()
}
