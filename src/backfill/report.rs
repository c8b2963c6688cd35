//! What a backfill found, as one page that needs nothing but itself: alerts by time, stage, story and feed. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use quick_xml::escape::escape;
use serde::Deserialize;

/// Bars of the chart over time at most: days, else weeks, months, years.
const MOST_BARS: usize = 120;

/// Feeds and stories that are named.
const NAMED: usize = 15;

/// Feeds and stories that are counted apart at once. Beyond it those with one alert make room: a list of the first few is
/// all that is shown.
const COUNTED: usize = 100_000;

/// Alerts, added up.
#[derive(Debug, Default)]
pub struct Digest {
    alerts: u64,
    days: BTreeMap<NaiveDate, u64>,
    stages: BTreeMap<String, u64>,
    feeds: HashMap<String, (u64, String)>,
    stories: HashMap<String, (u64, String)>,
}

#[derive(Deserialize)]
struct Line {
    item: LineItem,
    feed: LineFeed,
    stage: LineStage,
    #[serde(default)]
    story: Option<LineStory>,
}

#[derive(Deserialize)]
struct LineItem {
    title: String,
    published: DateTime<Utc>,
}

#[derive(Deserialize)]
struct LineFeed {
    url: String,
    title: Option<String>,
}

#[derive(Deserialize)]
struct LineStage {
    label: String,
}

#[derive(Deserialize)]
struct LineStory {
    id: String,
}

impl Digest {
    /// Adds an alert line.
    pub fn add(&mut self, line: &str) {
        // Lines are our own; one that is not is none of the alerts.
        let Ok(line) = serde_json::from_str::<Line>(line) else { return };
        self.alerts += 1;
        *self.days.entry(line.item.published.date_naive()).or_default() += 1;
        *self.stages.entry(line.stage.label).or_default() += 1;
        let name = line.feed.title.unwrap_or_else(|| line.feed.url.clone());
        count(&mut self.feeds, line.feed.url, name);
        if let Some(story) = line.story {
            count(&mut self.stories, story.id, line.item.title);
        }
    }

    /// The page; `sources` are named in it, `at` is when it is made.
    pub fn html(&self, sources: &[String], read: u64, at: DateTime<Utc>) -> String {
        let mut page = String::from(HEAD);
        let sources = sources.iter().map(|source| escape(source.as_str()).into_owned()).collect::<Vec<_>>().join(", ");
        let span = self.days.keys().next().zip(self.days.keys().next_back());
        let span = span.map_or_else(String::new, |(first, last)| format!(" from {first} to {last}"));
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<h1>Negotiations found</h1><p><b>{}</b> alerts among {} items{span}.</p><p class=\"small\">Sources: {sources}. Made {} by \
             demarche {}.</p>",
            thousands(self.alerts),
            thousands(read),
            at.format("%Y-%m-%d %H:%M UTC"),
            env!("CARGO_PKG_VERSION"),
        );
        let (unit, bars) = self.over_time();
        page += &format!("<h2>Alerts by {unit}</h2>{}", columns(&bars));
        let mut stages: Vec<(String, u64)> = self.stages.iter().map(|(label, n)| (label.clone(), *n)).collect();
        stages.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        page += &format!("<h2>By stage of negotiation</h2>{}", rows(&stages));
        if !self.stories.is_empty() {
            page += &format!("<h2>Largest stories</h2>{}", rows(&largest(&self.stories)));
        }
        page += &format!("<h2>Top feeds</h2>{}", rows(&largest(&self.feeds)));
        page + "</main></body></html>\n"
    }

    /// Counts by the shortest unit that does not make too many bars; gaps are bars of nothing.
    fn over_time(&self) -> (&'static str, Vec<(String, u64)>) {
        let first_of = |unit: &str, day: NaiveDate| match unit {
            "day" => Some(day),
            "week" => day.checked_sub_days(Days::new(day.weekday().num_days_from_monday().into())),
            "month" => day.with_day(1),
            _ => day.with_day(1).and_then(|day| day.with_month(1)),
        };
        let Some((&first, &last)) = self.days.keys().next().zip(self.days.keys().next_back()) else {
            return ("day", Vec::new());
        };
        let length = (last - first).num_days() as usize + 1;
        let unit = match length {
            days if days <= MOST_BARS => "day",
            days if days <= MOST_BARS * 7 => "week",
            days if days <= MOST_BARS * 30 => "month",
            _ => "year",
        };
        let mut bars: BTreeMap<NaiveDate, u64> = BTreeMap::new();
        for day in first.iter_days().take_while(|day| *day <= last) {
            bars.entry(first_of(unit, day).unwrap_or(day)).or_default();
        }
        for (day, count) in &self.days {
            *bars.entry(first_of(unit, *day).unwrap_or(*day)).or_default() += count;
        }
        (unit, bars.into_iter().map(|(day, count)| (day.to_string(), count)).collect())
    }
}

fn count(counts: &mut HashMap<String, (u64, String)>, key: String, name: String) {
    if counts.len() >= COUNTED && !counts.contains_key(&key) {
        counts.retain(|_, (count, _)| *count > 1);
    }
    counts.entry(key).or_insert((0, name)).0 += 1;
}

fn largest(counts: &HashMap<String, (u64, String)>) -> Vec<(String, u64)> {
    let mut all: Vec<(String, u64)> = counts.values().map(|(count, name)| (name.clone(), *count)).collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    all.truncate(NAMED);
    all
}

/// Upright bars with a scale and the dates at both ends and between.
fn columns(bars: &[(String, u64)]) -> String {
    const WIDTH: f64 = 960.0;
    const HEIGHT: f64 = 220.0;
    const LEFT: f64 = 44.0;
    const BOTTOM: f64 = 24.0;
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let step = (WIDTH - LEFT) / bars.len().max(1) as f64;
    let high = HEIGHT - BOTTOM - 14.0;
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"alerts over time\">");
    for part in [most, most / 2] {
        let y = HEIGHT - BOTTOM - high * part as f64 / most as f64;
        let _ = write!(
            svg,
            "<line class=\"grid\" x1=\"{LEFT}\" x2=\"{WIDTH}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/><text x=\"{:.1}\" y=\"{:.1}\" \
             text-anchor=\"end\">{}</text>",
            LEFT - 6.0,
            y + 4.0,
            thousands(part),
        );
    }
    let labelled = (bars.len() / 6).max(1);
    for (index, (name, count)) in bars.iter().enumerate() {
        let (x, height) = (LEFT + step * index as f64, high * *count as f64 / most as f64);
        let _ = write!(
            svg,
            "<rect x=\"{x:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{height:.1}\"><title>{name}: {count}</title></rect>",
            HEIGHT - BOTTOM - height,
            (step * 0.85).min(40.0),
        );
        if index % labelled == 0 && x < WIDTH - 70.0 {
            let _ = write!(svg, "<text x=\"{x:.1}\" y=\"{:.1}\">{name}</text>", HEIGHT - 6.0);
        }
    }
    svg + "</svg>"
}

/// Lying bars with their names before and their counts behind them.
fn rows(bars: &[(String, u64)]) -> String {
    const WIDTH: f64 = 960.0;
    const ROW: f64 = 24.0;
    const LEFT: f64 = 330.0;
    /// Characters of a name that fit before its bar.
    const FITS: usize = 46;
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let mut svg = format!("<svg viewBox=\"0 0 {WIDTH} {}\" role=\"img\">", ROW * bars.len() as f64);
    for (index, (name, count)) in bars.iter().enumerate() {
        let (y, length) = (ROW * index as f64, (WIDTH - LEFT - 80.0) * *count as f64 / most as f64);
        let short: String = name.chars().take(FITS).collect();
        let short = if short.len() < name.len() { format!("{}…", short.trim_end()) } else { short };
        let _ = write!(
            svg,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}<title>{}</title></text><rect x=\"{LEFT}\" y=\"{:.1}\" \
             width=\"{length:.1}\" height=\"16\"/><text x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            LEFT - 10.0,
            y + 16.0,
            escape(&short),
            escape(name.as_str()),
            y + 3.0,
            LEFT + length + 8.0,
            y + 16.0,
            thousands(*count),
        );
    }
    svg + "</svg>"
}

/// `1234567` as `1,234,567`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let parts: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().filter_map(|part| std::str::from_utf8(part).ok()).collect();
    parts.join(",")
}

const HEAD: &str = "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>Negotiations found</title>\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><style>\
:root{color-scheme:light dark;--bar:#2a6f97;--grid:#8884}@media(prefers-color-scheme:dark){:root{--bar:#61a5c2}}\
body{font:16px/1.5 system-ui,sans-serif;margin:0}main{max-width:60rem;margin:2rem auto;padding:0 1rem}h1{margin-bottom:.2em}\
h2{margin:2rem 0 .6rem;font-size:1.1rem}.small{opacity:.7;font-size:.85rem;overflow-wrap:anywhere}svg{width:100%;height:auto}\
svg text{font-size:13px;fill:currentColor}svg rect{fill:var(--bar)}.grid{stroke:var(--grid)}</style></head><body><main>";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(day: &str, feed: &str, stage: &str, story: Option<&str>) -> String {
        json!({"item": {"title": "Talks <b> & tea", "published": format!("{day}T10:00:00Z")}, "feed": {"url": feed, "title": null},
            "stage": {"label": stage, "confidence": 0.9}, "story": story.map(|id| json!({"id": id, "size": 3}))})
        .to_string()
    }

    #[test]
    fn alerts_are_added_up_and_gaps_shown() {
        let mut digest = Digest::default();
        for (day, feed, stage) in
            [("2024-05-01", "https://a.example/", "held"), ("2024-05-03", "https://a.example/", "offer")]
        {
            digest.add(&line(day, feed, stage, Some("s1")));
        }
        digest.add("no alert");
        let (unit, bars) = digest.over_time();
        assert_eq!(
            (unit, bars),
            ("day", vec![("2024-05-01".into(), 1), ("2024-05-02".into(), 0), ("2024-05-03".into(), 1)])
        );
        let page = digest.html(&["a<b".into()], 1_234, DateTime::default());
        assert!(page.contains("<b>2</b> alerts among 1,234 items from 2024-05-01 to 2024-05-03"));
        assert!(
            page.contains("a&lt;b") && page.contains("Talks &lt;b&gt; &amp; tea") && page.contains("Largest stories")
        );
        assert!(!page.contains("http-equiv") && !page.contains("src="));
    }

    #[test]
    fn long_times_are_shown_in_fewer_bars() {
        for (last, unit) in
            [("2024-06-01", "day"), ("2025-06-01", "week"), ("2032-06-01", "month"), ("2099-01-01", "year")]
        {
            let mut digest = Digest::default();
            digest.add(&line("2024-01-01", "f", "held", None));
            digest.add(&line(last, "f", "held", None));
            let (found, bars) = digest.over_time();
            assert_eq!(found, unit);
            assert!(bars.len() <= MOST_BARS && bars.iter().map(|(_, n)| n).sum::<u64>() == 2);
        }
    }
}
