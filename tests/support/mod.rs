//! A scripted origin on loopback: it answers each path from a list of responses (the last one repeats) and records
//! every request. Blocking, on threads of its own, so that tests can drive the program as a process beside it.
#![allow(dead_code, reason = "each test binary uses a part of it")]

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

/// Reads and writes of a connection that a test has forgotten end after this; no test waits for it.
const FORGOTTEN: Duration = Duration::from_secs(30);

/// A request as the origin saw it.
#[derive(Debug, Clone)]
pub struct Seen {
    pub at: Instant,
    /// Which connection it came over, counted from 0.
    pub connection: usize,
    pub method: String,
    /// Path and query.
    pub path: String,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    /// The first header of that name, in any case.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }

    /// Whether it carries a validator.
    pub fn is_conditional(&self) -> bool {
        self.header("if-none-match").is_some() || self.header("if-modified-since").is_some()
    }
}

/// One scripted response.
#[derive(Debug, Clone)]
pub struct Response {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
    etag: Option<String>,
    delay: Duration,
    drip: Option<Duration>,
    endless: bool,
    length: Option<usize>,
    raw: Option<Vec<u8>>,
}

impl Response {
    pub fn status(status: u16) -> Self {
        let raw = None;
        let (headers, body, etag, delay) = (Vec::new(), Vec::new(), None, Duration::ZERO);
        Self { status, headers, body, etag, delay, drip: None, endless: false, length: None, raw }
    }

    /// 200 with a document as RSS.
    pub fn feed(body: impl Into<Vec<u8>>) -> Self {
        Self::status(200).header("content-type", "application/rss+xml").body(body)
    }

    pub fn redirect(status: u16, to: &str) -> Self {
        Self::status(status).header("location", to)
    }

    /// Exactly these bytes, then the connection closes.
    pub fn raw(bytes: impl Into<Vec<u8>>) -> Self {
        Self { raw: Some(bytes.into()), ..Self::status(0) }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn body(self, body: impl Into<Vec<u8>>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sends `ETag` and answers 304 to whoever has it.
    pub fn etag(self, etag: &str) -> Self {
        Self { etag: Some(etag.to_owned()), ..self.header("etag", etag) }
    }

    /// Compresses the body.
    pub fn gzip(self) -> Self {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(&self.body).unwrap();
        self.body(encoder.finish().unwrap()).header("content-encoding", "gzip")
    }

    /// Waits before it answers.
    pub fn delay(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }

    /// Sends the body byte by byte with this pause between (slow-loris).
    pub fn drip(self, pause: Duration) -> Self {
        Self { drip: Some(pause), ..self }
    }

    /// Repeats the body until the client hangs up.
    pub fn endless(self) -> Self {
        Self { endless: true, ..self }
    }

    /// Claims this `Content-Length`, whatever the body has; the connection closes after the body.
    pub fn claimed_length(self, length: usize) -> Self {
        Self { length: Some(length), ..self }
    }
}

#[derive(Default)]
struct State {
    script: HashMap<String, Vec<Response>>,
    seen: Vec<Seen>,
    connections: usize,
}

/// The origin; it listens until the test's process ends.
#[derive(Clone)]
pub struct Origin {
    base: String,
    state: Arc<Mutex<State>>,
}

impl Origin {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        Self::serve_on(listener, base, |stream| Box::new(stream))
    }

    /// Serves what `wrap` makes of each connection, such as TLS, at `base`.
    pub fn serve_on(
        listener: TcpListener,
        base: String,
        wrap: impl Fn(TcpStream) -> Box<dyn Stream> + Send + Sync + 'static,
    ) -> Self {
        let origin = Self { base, state: Arc::default() };
        let (serving, wrap) = (origin.clone(), Arc::new(wrap));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (origin, wrap) = (serving.clone(), wrap.clone());
                thread::spawn(move || {
                    let _ = stream.set_nodelay(true);
                    let _ = stream.set_read_timeout(Some(FORGOTTEN));
                    let _ = stream.set_write_timeout(Some(FORGOTTEN));
                    // A client that hangs up is part of many tests.
                    let _ = origin.connection(wrap(stream));
                });
            }
        });
        origin
    }

    /// The address of `path` (which starts with a slash).
    pub fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Answers `path` with `response` from now on.
    pub fn serve(&self, path: &str, response: Response) {
        self.script(path, [response]);
    }

    /// Answers `path` with these in turn; the last one repeats.
    pub fn script(&self, path: &str, responses: impl IntoIterator<Item = Response>) {
        let mut responses: Vec<Response> = responses.into_iter().collect();
        responses.reverse();
        self.state().script.insert(path.to_owned(), responses);
    }

    /// The requests for `path`, in order.
    pub fn requests(&self, path: &str) -> Vec<Seen> {
        self.state().seen.iter().filter(|seen| seen.path == path).cloned().collect()
    }

    /// All requests, in order.
    pub fn all_requests(&self) -> Vec<Seen> {
        self.state().seen.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn connection(&self, stream: Box<dyn Stream>) -> std::io::Result<()> {
        let mut stream = BufReader::new(stream);
        let connection = {
            let mut state = self.state();
            state.connections += 1;
            state.connections - 1
        };
        while let Some(seen) = read_request(&mut stream, connection)? {
            let response = self.next(&seen);
            self.state().seen.push(seen.clone());
            if !answer(stream.get_mut(), &seen, response)? {
                break;
            }
        }
        Ok(())
    }

    fn next(&self, seen: &Seen) -> Response {
        let mut state = self.state();
        match state.script.get_mut(&seen.path) {
            None => Response::status(404),
            Some(responses) if responses.len() > 1 => responses.pop().unwrap(),
            Some(responses) => responses.last().cloned().unwrap_or_else(|| Response::status(404)),
        }
    }
}

/// A connection, plain or TLS.
pub trait Stream: Read + Write + Send {}
impl<T: Read + Write + Send> Stream for T {}

fn read_request(stream: &mut BufReader<Box<dyn Stream>>, connection: usize) -> std::io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut seen = Seen { at: Instant::now(), connection, method, path, headers: Vec::new(), body: Vec::new() };
    loop {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else { break };
        seen.headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let length = seen.header("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
    seen.body.resize(length, 0);
    stream.read_exact(&mut seen.body)?;
    Ok(Some(seen))
}

/// Writes the response; whether the connection stays open.
fn answer(stream: &mut Box<dyn Stream>, seen: &Seen, response: Response) -> std::io::Result<bool> {
    thread::sleep(response.delay);
    if let Some(raw) = &response.raw {
        stream.write_all(raw)?;
        return Ok(false);
    }
    let known = response.etag.is_some() && seen.header("if-none-match") == response.etag.as_deref();
    let (status, body) = if known { (304, &[][..]) } else { (response.status, &response.body[..]) };
    let closes = response.endless || response.length.is_some();
    let mut head = format!("HTTP/1.1 {status} Scripted\r\n");
    for (name, value) in &response.headers {
        head += &format!("{name}: {value}\r\n");
    }
    if !response.endless && status != 304 {
        head += &format!("content-length: {}\r\n", response.length.unwrap_or(body.len()));
    }
    head += if closes { "connection: close\r\n\r\n" } else { "\r\n" };
    match response.drip {
        None => {
            stream.write_all(&[head.as_bytes(), body].concat())?;
            if response.endless {
                loop {
                    stream.write_all(body)?;
                }
            }
        }
        Some(pause) => {
            stream.write_all(head.as_bytes())?;
            for byte in body {
                stream.write_all(&[*byte])?;
                stream.flush()?;
                thread::sleep(pause);
            }
        }
    }
    stream.flush()?;
    Ok(!closes)
}
