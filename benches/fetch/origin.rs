//! The origin: many hosts (loopback addresses of their own) in one process, as cheap as can be, so that what is measured
//! is the poller.

use std::collections::HashMap;
use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::TaskTracker;

use crate::documents::{Shape, real_size, rss};

/// What is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Real-size documents that never change, made before the first request.
    Fixed,
    /// Small documents that never change, made on request: for very many feeds.
    Small,
    /// Documents with a new item every minute; one feed in twenty fails, each in a way of its own.
    Changing,
}

impl Kind {
    pub fn parse(text: &str) -> Self {
        match text {
            "fixed" => Self::Fixed,
            "small" => Self::Small,
            _ => Self::Changing,
        }
    }

    /// Of documents that are made on request. Those that change are long, so that the program's caches are full soon and
    /// what grows after that is a leak.
    fn shape(self) -> Shape {
        Shape { items: if self == Self::Changing { 30 } else { 3 }, words: 25 }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Fixed => "fixed",
            Self::Small => "small",
            Self::Changing => "changing",
        }
    }
}

/// The address of host `n`: one loopback address each.
pub fn host(n: usize) -> Ipv4Addr {
    Ipv4Addr::new(127, 1 + (n / 62_500) as u8, (n / 250 % 250) as u8, (n % 250 + 1) as u8)
}

/// The address of feed `n`, of `hosts` hosts.
pub fn url(n: usize, hosts: usize, port: u16) -> String {
    format!("http://{}:{port}/{n}", host(n % hosts))
}

#[derive(Default)]
struct Counts {
    requests: AtomicU64,
    not_modified: AtomicU64,
    failures: AtomicU64,
}

struct Origin {
    kind: Kind,
    started: Instant,
    ready: HashMap<usize, Vec<u8>>,
    counts: Counts,
}

/// Serves `hosts` hosts until its standard input closes. Writes the port first, then for each line on standard input
/// the counts so far: requests, 304s, failures.
pub fn run(kind: Kind, hosts: usize) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let ready = if kind == Kind::Fixed {
        (0..hosts).map(|n| (n, document(n, 0, real_size(n)))).collect()
    } else {
        HashMap::new()
    };
    let origin = Arc::new(Origin { kind, started: Instant::now(), ready, counts: Counts::default() });
    let port = runtime.block_on(listen(&origin, hosts));
    println!("{port}");
    for _ in std::io::stdin().lines() {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counts = &origin.counts;
        println!("{} {} {}", count(&counts.requests), count(&counts.not_modified), count(&counts.failures));
    }
}

async fn listen(origin: &Arc<Origin>, hosts: usize) -> u16 {
    let (mut port, tasks) = (0, TaskTracker::new());
    for n in 0..hosts {
        let listener = TcpListener::bind(SocketAddr::from((host(n), port))).await.expect("a free port");
        port = listener.local_addr().expect("an address").port();
        let (origin, tasks) = (origin.clone(), tasks.clone());
        tasks.clone().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let origin = origin.clone();
                // A client that hangs up is part of the game.
                tasks.spawn(async move { origin.connection(stream).await.ok() });
            }
        });
    }
    port
}

impl Origin {
    async fn connection(&self, mut stream: TcpStream) -> std::io::Result<()> {
        stream.set_nodelay(true)?;
        let mut buffer = Vec::with_capacity(1024);
        loop {
            buffer.clear();
            while !buffer.ends_with(b"\r\n\r\n") {
                if stream.read_buf(&mut buffer).await? == 0 {
                    return Ok(());
                }
            }
            self.counts.requests.fetch_add(1, Ordering::Relaxed);
            let request = String::from_utf8_lossy(&buffer);
            let feed: usize = request.split(['/', ' ']).nth(2).and_then(|path| path.parse().ok()).unwrap_or(0);
            if self.kind == Kind::Changing && feed.is_multiple_of(20) {
                self.counts.failures.fetch_add(1, Ordering::Relaxed);
                return fail(&mut stream, feed / 20).await;
            }
            let version = self.version();
            let known = request
                .lines()
                .any(|line| line.eq_ignore_ascii_case(&format!("if-none-match: {}", etag(feed, version))));
            if known {
                self.counts.not_modified.fetch_add(1, Ordering::Relaxed);
                let head = format!("HTTP/1.1 304 Not Modified\r\netag: {}\r\n\r\n", etag(feed, version));
                stream.write_all(head.as_bytes()).await?;
            } else if let Some(ready) = self.ready.get(&feed) {
                stream.write_all(ready).await?;
            } else {
                stream.write_all(&document(feed, version, self.kind.shape())).await?;
            }
        }
    }

    /// Minutes since the start, for documents that change.
    fn version(&self) -> usize {
        if self.kind == Kind::Changing { (self.started.elapsed().as_secs() / 60) as usize } else { 0 }
    }
}

fn etag(feed: usize, version: usize) -> String {
    format!("\"{feed}-{version}\"")
}

fn document(feed: usize, version: usize, shape: Shape) -> Vec<u8> {
    let mut body = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    body.write_all(rss(feed, version, shape).as_bytes()).expect("memory takes everything");
    let body = body.finish().expect("memory takes everything");
    let head = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/rss+xml\r\ncontent-encoding: gzip\r\netag: {}\r\ncontent-length: {}\r\n\r\n",
        etag(feed, version),
        body.len()
    );
    [head.as_bytes(), &body].concat()
}

/// Fails in one of several ways; the connection ends.
async fn fail(stream: &mut TcpStream, way: usize) -> std::io::Result<()> {
    let answer: &[u8] = match way % 7 {
        0 => b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops",
        1 => b"",
        2 => b"HTTP/1.1 200 OK\r\ncontent-length: 90000\r\n\r\n<rss><channel>",
        3 => b"HTTP/1.1 429 Slow down\r\nretry-after: 99999\r\ncontent-length: 0\r\n\r\n",
        4 => b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 29\r\n\r\n<html><body>hello</body></html",
        5 => b"HTTP/1.1 302 Found\r\nlocation: /0\r\ncontent-length: 0\r\n\r\n",
        _ => {
            // Slow loris, for longer than the poller waits.
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await?;
            for _ in 0..1000 {
                stream.write_all(b"x").await?;
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            return Ok(());
        }
    };
    stream.write_all(answer).await
}
