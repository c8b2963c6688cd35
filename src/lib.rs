//! demarche watches news feeds for diplomacy: it polls RSS, Atom and JSON feeds, scores every item for its relevance to
//! negotiations, and writes matches as JSONL alerts.
//!
//! The modules stand in the order of the flow. `ARCHITECTURE.md` draws it.

// The nouns.
pub mod item;

// schedule → fetch → parse → dedup
pub mod dedup;
pub mod fetch;
pub mod parse;
pub mod schedule;

// classify → actors → cluster → alert → sink
pub mod actors;
pub mod alert;
pub mod classify;
pub mod cluster;
pub mod sink;

// State, and the tasks that move items through it.
pub mod backfill;
pub mod pipeline;
pub mod store;
pub mod websub;

// Making and measuring the model.
pub mod eval;
pub mod train;

// Around it.
pub mod cli;
pub mod config;
pub mod notify;
pub mod opml;
pub mod serve;
pub mod shutdown;
pub mod telemetry;
