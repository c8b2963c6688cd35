//! Days and times on the command line.

use chrono::{DateTime, Days, NaiveDate, Utc};

/// The beginning of a day, or a time.
pub(super) fn since(text: &str) -> Result<DateTime<Utc>, String> {
    match day(text) {
        Some(day) => midnight(day, text),
        None => time(text),
    }
}

/// The end of a day, or a time.
pub(super) fn until(text: &str) -> Result<DateTime<Utc>, String> {
    match day(text) {
        Some(day) => midnight(day.checked_add_days(Days::new(1)).unwrap_or(day), text),
        None => time(text),
    }
}

fn day(text: &str) -> Option<NaiveDate> {
    NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()
}

fn midnight(day: NaiveDate, text: &str) -> Result<DateTime<Utc>, String> {
    day.and_hms_opt(0, 0, 0).map(|time| time.and_utc()).ok_or_else(|| format!("no such day: {text}"))
}

fn time(text: &str) -> Result<DateTime<Utc>, String> {
    let parsed = DateTime::parse_from_rfc3339(text).map(|time| time.to_utc());
    parsed.map_err(|_| "a day such as 2024-05-31 or a time such as 2024-05-31T18:00:00Z is wanted".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_whole() {
        let show = |time: Result<DateTime<Utc>, String>| time.unwrap().to_rfc3339();
        assert_eq!(show(since("2024-05-31")), "2024-05-31T00:00:00+00:00");
        assert_eq!(show(until("2024-05-31")), "2024-06-01T00:00:00+00:00");
        assert_eq!(show(until("2024-05-31T18:00:00+02:00")), "2024-05-31T16:00:00+00:00");
        assert!(since("May").is_err());
    }
}
