//! Dates as feeds write them.

use chrono::{DateTime, Utc};

/// Reads a date in any form feeds are known to use.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text = text.trim();
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_rfc2822(text))
        .ok()
        .map(|time| time.with_timezone(&Utc))
}
