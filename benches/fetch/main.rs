//! The fetcher, measured as whole runs against an origin that is a process of its own and whose cost is not counted.
//!
//! `cargo bench --bench fetch` polls 1,000 real-size feeds cold and warm. `-- many [SECONDS]` registers 100,000 feeds, all due
//! within that time (default 360: ten times the pace of an hour). `-- soak [MINUTES]` runs the daemon with one feed in
//! twenty failing and a webhook that comes and goes, and watches its memory and file descriptors. `-- idle [MINUTES]` says what
//! a daemon costs that has nothing to do.

#![allow(missing_docs, reason = "a program, not an interface")]

mod daemon;
mod documents;
mod origin;
mod poller;
mod process;
mod receiver;
mod rounds;

use std::path::Path;

use origin::Kind;

fn main() {
    // `cargo bench` adds an argument of its own.
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| arg != "--bench").collect();
    let mut args = args.into_iter();
    match args.next().as_deref() {
        Some("--role") => role(args),
        Some("many") => daemon::many(number(args.next(), 360)),
        Some("idle") => daemon::idle(number(args.next(), 10)),
        Some("soak") => daemon::soak(number(args.next(), 30)),
        _ => rounds::cold_and_warm(),
    }
}

fn number(arg: Option<String>, default: u64) -> u64 {
    arg.map_or(default, |arg| arg.parse().expect("a number"))
}

fn role(mut args: impl Iterator<Item = String>) {
    match args.next().as_deref() {
        Some("origin") => {
            let kind = Kind::parse(&args.next().expect("a kind"));
            origin::run(kind, number(args.next(), 1) as usize);
        }
        Some("poller") => poller::run(Path::new(&args.next().expect("a directory"))),
        _ => process::measure(args),
    }
}
