//! demarche watches news feeds for diplomacy: it polls RSS, Atom and JSON feeds, scores every item for its relevance to
//! negotiations, and writes matches as JSONL alerts.
//!
//! The modules stand in the order of the flow. `ARCHITECTURE.md` draws it.

pub mod item;

pub mod schedule;

pub mod fetch;

pub mod parse;

pub mod dedup;

pub mod classify;

pub mod alert;

pub mod store;

pub mod sink;

pub mod pipeline;

pub mod backfill;

// pub mod train;

// pub mod eval;

pub mod config;

pub mod opml;

pub mod cli;

pub mod telemetry;

pub mod shutdown;
