//! Section `[backfill]` of the configuration. The defaults and their reasons are in `config/demarche.toml`.

use std::time::Duration;

use bytesize::ByteSize;
use serde::Deserialize;

/// How history is read.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BackfillConfig {
    /// Longest record, unpacked.
    pub max_record: ByteSize,
    /// Longest document that is parsed as a whole.
    pub max_document: ByteSize,
    /// Most that one file may unpack to.
    pub max_unpacked: ByteSize,
    /// Most bytes that one packed byte may become.
    pub max_ratio: u64,
    /// Items that share one transaction.
    pub group: usize,
    /// Pages of one source on the web.
    pub max_pages: usize,
    /// Longest rest that a server may ask for before its source is left for the next run.
    #[serde(with = "humantime_serde")]
    pub max_rest: Duration,
    /// The Wayback machine.
    pub wayback: String,
}
