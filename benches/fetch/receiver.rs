//! A webhook's other end that comes and goes: a minute each it takes what it gets, answers 500, hangs up, or says nothing.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How long it takes for one way after the other.
const PHASE: Duration = Duration::from_secs(60);

/// Longer than the program waits for an answer.
const SILENCE: Duration = Duration::from_secs(8);

/// A receiver on a thread of its own, for as long as this process lives.
pub struct Receiver {
    pub port: u16,
    taken: Arc<AtomicU64>,
}

impl Receiver {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let (port, started) = (listener.local_addr().expect("an address").port(), Instant::now());
        let taken = Arc::new(AtomicU64::new(0));
        let counter = taken.clone();
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let taken = counter.clone();
                // Whoever is hung up on is part of the game.
                std::thread::spawn(move || answer(stream, started, &taken).ok());
            }
        });
        Self { port, taken }
    }

    /// Deliveries that it has taken.
    pub fn taken(&self) -> u64 {
        self.taken.load(Ordering::Relaxed)
    }
}

fn answer(mut stream: TcpStream, started: Instant, taken: &AtomicU64) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    while let Some(length) = head(&mut reader)? {
        reader.read_exact(&mut vec![0; length])?;
        match started.elapsed().as_secs() / PHASE.as_secs() % 4 {
            0 => {
                taken.fetch_add(1, Ordering::Relaxed);
                stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n")?;
            }
            1 => stream.write_all(b"HTTP/1.1 500 Oops\r\ncontent-length: 4\r\n\r\noops")?,
            2 => return Ok(()),
            _ => std::thread::sleep(SILENCE),
        }
    }
    Ok(())
}

/// Reads a request's head; the length of its body, or nothing at the end.
fn head(reader: &mut impl BufRead) -> std::io::Result<Option<usize>> {
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            return Ok(Some(length));
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("content-length")
        {
            length = value.trim().parse().unwrap_or(0);
        }
    }
}
