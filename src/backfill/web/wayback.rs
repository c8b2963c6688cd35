//! Snapshots of a feed in the Wayback Machine, by its CDX interface. Pure.

use std::collections::HashSet;

use chrono::{DateTime, Days, NaiveDateTime, Utc};
use url::Url;

use crate::backfill::work::Window;

/// Snapshots listed at once: a position in the store names those that are still to be asked for.
const LISTED: usize = 500;

/// How long after the last day asked for snapshots may still hold its items, in days.
const AFTER: u64 = 31;

/// A part of the list of snapshots.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// Address and time of each.
    pub snapshots: Vec<(String, DateTime<Utc>)>,
    /// Where the list goes on.
    pub more: Option<String>,
}

/// The address of the list of `feed`'s snapshots: those that differ, in the order of time.
pub fn listing(server: &str, feed: &str, window: Window) -> String {
    let mut query = url::form_urlencoded::Serializer::new(String::new());
    query.append_pair("url", feed).append_pair("output", "json").append_pair("fl", "timestamp,original,digest");
    query.append_pair("filter", "statuscode:200").append_pair("collapse", "digest");
    query.append_pair("limit", &LISTED.to_string()).append_pair("showResumeKey", "true");
    if let Some(since) = window.since {
        query.append_pair("from", &stamp(since));
    }
    if let Some(until) = window.until.and_then(|until| until.checked_add_days(Days::new(AFTER))) {
        query.append_pair("to", &stamp(until));
    }
    format!("{}/cdx/search/cdx?{}", server.trim_end_matches('/'), query.finish())
}

fn stamp(time: DateTime<Utc>) -> String {
    time.format("%Y%m%d%H%M%S").to_string()
}

/// Reads a list that was found at `asked`.
///
/// # Errors
/// When it is none.
pub fn read(body: &[u8], asked: &str, server: &str) -> Result<Listing, String> {
    if body.trim_ascii().is_empty() {
        return Ok(Listing::default());
    }
    let rows: Vec<Vec<String>> = serde_json::from_slice(body).map_err(|error| error.to_string())?;
    let mut listing = Listing::default();
    let mut digests = HashSet::new();
    let mut rows = rows.into_iter();
    while let Some(row) = rows.next() {
        match row.as_slice() {
            // An empty row announces the key by which the list goes on.
            [] => {
                let key = rows.next().and_then(|row| row.into_iter().next());
                listing.more = key.and_then(|key| resumed(asked, &key));
                break;
            }
            [stamp, original, digest, ..] => {
                let time = NaiveDateTime::parse_from_str(stamp, "%Y%m%d%H%M%S");
                if let Ok(time) = time
                    && digests.insert(digest.clone())
                {
                    let url = format!("{}/web/{stamp}id_/{original}", server.trim_end_matches('/'));
                    listing.snapshots.push((url, time.and_utc()));
                }
            }
            _ => return Err("a row has fewer cells than were asked for".into()),
        }
    }
    Ok(listing)
}

fn resumed(asked: &str, key: &str) -> Option<String> {
    let mut url = Url::parse(asked).ok()?;
    let kept: Vec<(String, String)> = url
        .query_pairs()
        .filter(|(name, _)| name != "resumeKey")
        .map(|(name, value)| (name.into(), value.into()))
        .collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair("resumeKey", key);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_gives_each_body_once_and_where_it_goes_on() {
        let asked = listing("https://w.example/", "https://o.example/rss", Window::default());
        assert!(asked.starts_with("https://w.example/cdx/search/cdx?url=https%3A%2F%2Fo.example%2Frss&output=json"));
        let body = br#"[["timestamp","original","digest"],["20240501000000","https://o.example/rss","A"],
            ["20240502000000","https://o.example/rss","A"],["20240503000000","https://o.example/rss","B"],[],["com,key 1"]]"#;
        let listing = read(body, &asked, "https://w.example").unwrap();
        let urls: Vec<&str> = listing.snapshots.iter().map(|(url, _)| url.as_str()).collect();
        let at = |stamp: &str| format!("https://w.example/web/{stamp}id_/https://o.example/rss");
        assert_eq!(urls, [at("20240501000000"), at("20240503000000")]);
        assert!(listing.more.unwrap().ends_with("&resumeKey=com%2Ckey+1"));
        assert_eq!(read(b"\n", &asked, "").unwrap(), Listing::default());
        assert!(read(b"<html>", &asked, "").is_err());
    }

    #[test]
    fn days_are_handed_on() {
        let day = |text: &str| Some(text.parse().unwrap());
        let window = Window { since: day("2024-05-01T00:00:00Z"), until: day("2024-06-01T00:00:00Z") };
        let asked = listing("https://w.example", "https://o.example/rss", window);
        assert!(asked.ends_with("&from=20240501000000&to=20240702000000"), "{asked}");
    }
}
