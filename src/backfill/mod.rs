//! History as a source of work: feed documents on disk, through the same pipeline as live data.

mod files;

pub use files::{Files, read_files};
