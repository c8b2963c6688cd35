//! Where alerts go.

mod jsonl;

pub use jsonl::{JsonlSink, SinkError};
