//! What a backfill found, as one page that needs nothing but itself: alerts by time, stage, story and feed. Pure.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use chrono::{DateTime, Datelike, Days, NaiveDate, Utc};
use quick_xml::escape::escape;
use serde::Deserialize;

/// Bars of the chart over time at most: days up to a year, else weeks, months, years. More are thinner than a pixel on a phone.
const MOST_BARS: usize = 372;

/// Bars of the chart at least, so that a single day is no wall.
const FEWEST_BARS: usize = 30;

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
    stories: HashMap<String, Story>,
}

/// What the alerts of a story come to.
#[derive(Debug)]
struct Story {
    alerts: u64,
    /// Headline of its first alert.
    title: String,
    /// Most outlets that an alert counted.
    sources: u64,
    first: NaiveDate,
    last: NaiveDate,
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
    #[serde(default)]
    sources: u64,
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
            self.story(story, line.item);
        }
    }

    fn story(&mut self, line: LineStory, item: LineItem) {
        make_room(&mut self.stories, &line.id, |story| story.alerts);
        let day = item.published.date_naive();
        let story = self.stories.entry(line.id).or_insert_with(|| Story {
            alerts: 0,
            title: item.title,
            sources: 0,
            first: day,
            last: day,
        });
        story.alerts += 1;
        story.sources = story.sources.max(line.sources);
        (story.first, story.last) = (story.first.min(day), story.last.max(day));
    }

    /// The page; `sources` are named in it, `at` is when it is made.
    pub fn html(&self, sources: &[String], read: u64, at: DateTime<Utc>) -> String {
        let mut page = String::from(HEAD);
        let sources = sources.iter().map(|source| escape(source.as_str()).into_owned()).collect::<Vec<_>>().join(", ");
        let span = self.days.keys().next().zip(self.days.keys().next_back());
        let span = span.map_or_else(String::new, |(first, last)| match first == last {
            true => format!(" on {first}"),
            false => format!(" from {first} to {last}"),
        });
        // Writing to a string cannot fail.
        let _ = write!(
            page,
            "<h1>Negotiations found</h1><p><b>{}</b> alert{} among {} items{span}.</p><p class=\"small\">Sources: {sources}. Made {} by \
             demarche {}.</p>",
            thousands(self.alerts),
            if self.alerts == 1 { "" } else { "s" },
            thousands(read),
            at.format("%Y-%m-%d %H:%M UTC"),
            env!("CARGO_PKG_VERSION"),
        );
        if self.alerts > 0 {
            self.sections(&mut page);
        }
        page + "</main></body></html>\n"
    }

    fn sections(&self, page: &mut String) {
        let (unit, bars) = self.over_time();
        *page += &format!("<h2>Alerts by {unit}</h2>{}", columns(unit, &bars));
        if let Some((day, count)) = self.days.iter().max_by_key(|(day, count)| (**count, std::cmp::Reverse(**day))) {
            *page += &format!("<p class=\"small\">The busiest day was {day}, with {}.</p>", many(*count));
        }
        let mut stages: Vec<(&str, u64)> = self.stages.iter().map(|(label, n)| (label.as_str(), *n)).collect();
        stages.sort_by_key(|(_, n)| std::cmp::Reverse(*n));
        *page += &format!("<h2>By stage of negotiation</h2>{}", rows(&stages));
        if !self.stories.is_empty() {
            let all = thousands(self.stories.len() as u64);
            let title = if self.stories.len() > NAMED { format!("Largest of {all} stories") } else { "Stories".into() };
            *page += &format!("<h2>{title}</h2>{}", self.told());
        }
        *page += &format!("<h2>Top feeds</h2>{}", rows(&largest(&self.feeds)));
    }

    /// The largest stories, a row each.
    fn told(&self) -> String {
        let mut stories: Vec<&Story> = self.stories.values().collect();
        let rank = |story: &&Story| (std::cmp::Reverse((story.alerts, story.sources)), story.first);
        stories.sort_by(|a, b| rank(a).cmp(&rank(b)).then_with(|| a.title.cmp(&b.title)));
        let row = |story: &&Story| {
            let days = if story.first == story.last {
                story.first.to_string()
            } else {
                format!("{} to {}", story.first, story.last)
            };
            format!(
                "<tr><td dir=\"auto\">{}</td><td data-of=\"alerts\">{}</td><td data-of=\"sources\">{}</td><td>{days}</td></tr>",
                escape(story.title.as_str()),
                thousands(story.alerts),
                thousands(story.sources),
            )
        };
        let rows: String = stories.iter().take(NAMED).map(row).collect();
        format!("<table><tr><th>First headline</th><th>Alerts</th><th>Sources</th><th>Days</th></tr>{rows}</table>")
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

/// Forgets those with one alert where there are too many to count apart, and `key` is not among them.
fn make_room<T>(counts: &mut HashMap<String, T>, key: &str, of: impl Fn(&T) -> u64) {
    if counts.len() >= COUNTED && !counts.contains_key(key) {
        counts.retain(|_, counted| of(counted) > 1);
    }
}

fn count(counts: &mut HashMap<String, (u64, String)>, key: String, name: String) {
    make_room(counts, &key, |(count, _)| *count);
    counts.entry(key).or_insert((0, name)).0 += 1;
}

fn largest(counts: &HashMap<String, (u64, String)>) -> Vec<(&str, u64)> {
    let mut all: Vec<(&str, u64)> = counts.values().map(|(count, name)| (name.as_str(), *count)).collect();
    all.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(b.0)));
    all.truncate(NAMED);
    all
}

/// Upright bars with a scale and dates below. The drawing stretches with the page, the words do not.
fn columns(unit: &str, bars: &[(String, u64)]) -> String {
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let width = bars.len().max(FEWEST_BARS);
    let mut svg = format!(
        "<svg viewBox=\"0 0 {width} 100\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"alerts by {unit}\">\
         <path class=\"grid\" d=\"M0 .5H{width}M0 50H{width}\"/>"
    );
    let mut dates = String::new();
    let labelled = (width / 5).max(1);
    for (index, (name, count)) in bars.iter().enumerate() {
        let height = 100.0 * *count as f64 / most as f64;
        // A bar is seen however high its neighbours are; one of nothing is not drawn.
        if *count > 0 {
            let _ = write!(
                svg,
                "<rect x=\"{index}.08\" y=\"{:.1}\" width=\".84\" height=\"{:.1}\"><title>{name}: {}</title></rect>",
                100.0 - height.max(1.0),
                height.max(1.0),
                many(*count),
            );
        }
        if index % labelled == 0 && width - index >= labelled {
            let _ = write!(dates, "<span style=\"left:{:.1}%\">{name}</span>", 100.0 * index as f64 / width as f64);
        }
    }
    let half = if most >= 2 { thousands(most / 2) } else { String::new() };
    let scale = format!("<div class=\"scale\"><span>{}</span><span>{half}</span><span>0</span></div>", thousands(most));
    format!("<div class=\"time\">{scale}{svg}</svg><div class=\"dates\">{dates}</div></div>")
}

/// Lying bars, each below its name.
fn rows(bars: &[(&str, u64)]) -> String {
    let most = bars.iter().map(|(_, count)| *count).max().unwrap_or(0).max(1);
    let row = |(name, count): &(&str, u64)| {
        format!(
            "<li><span dir=\"auto\">{}</span><b>{}</b><i style=\"width:{:.1}%\"></i></li>",
            escape(*name),
            thousands(*count),
            100.0 * *count as f64 / most as f64,
        )
    };
    format!("<ul>{}</ul>", bars.iter().map(row).collect::<String>())
}

fn many(alerts: u64) -> String {
    format!("{} alert{}", thousands(alerts), if alerts == 1 { "" } else { "s" })
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
:root{color-scheme:light dark;--paper:#fff;--ink:#1b1f24;--soft:#5c6570;--line:#8883;--bar:#2a6f97}\
@media(prefers-color-scheme:dark){:root{--paper:#15181c;--ink:#e6e8ea;--soft:#9aa4ae;--bar:#61a5c2}}\
body{font:16px/1.5 system-ui,sans-serif;margin:0;background:var(--paper);color:var(--ink)}main{max-width:60rem;margin:2rem auto;padding:0 1rem}\
h1{font-size:1.6rem;line-height:1.2;margin-bottom:.3em}h2{margin:2.2rem 0 .6rem;font-size:1.1rem}p{margin:.4rem 0;overflow-wrap:anywhere}\
.small,.scale,.dates,th{color:var(--soft);font-size:.85rem}\
.time{display:grid;grid-template-columns:auto 1fr;column-gap:.5rem}.time svg{width:100%;height:11rem;border-bottom:1px solid var(--soft)}\
.scale{display:flex;flex-direction:column;justify-content:space-between;text-align:right;line-height:1;font-variant-numeric:tabular-nums}\
.dates{grid-column:2;position:relative;height:1.6rem}.dates span{position:absolute;top:.2rem;white-space:nowrap}\
rect{fill:var(--bar)}.grid{stroke:var(--line);vector-effect:non-scaling-stroke}\
ul{list-style:none;margin:0;padding:0}li{display:grid;grid-template-columns:minmax(0,20rem) 4.5rem 1fr;column-gap:.8rem;align-items:center;padding:.15rem 0}\
li span{overflow:hidden;text-overflow:ellipsis;white-space:nowrap}li b{text-align:right;font-weight:600;font-variant-numeric:tabular-nums}\
li i{background:var(--bar);height:.8rem;min-width:2px;border-radius:2px}\
table{border-collapse:collapse;width:100%}th,td{text-align:right;padding:.35rem 0 .35rem 1rem;border-top:1px solid var(--line);vertical-align:top;\
font-variant-numeric:tabular-nums}th{border:0;font-weight:400}th:first-child,td:first-child{text-align:left;padding-left:0;overflow-wrap:anywhere}\
td:last-child{white-space:nowrap}\
@media(max-width:40rem){li{grid-template-columns:1fr auto}li i{grid-column:1/-1}.dates span:nth-child(even){display:none}\
th{display:none}\
tr{display:flex;flex-wrap:wrap;gap:0 .8rem;padding:.35rem 0;border-top:1px solid var(--line)}td{border:0;padding:0;color:var(--soft);font-size:.85rem}\
td:first-child{flex-basis:100%;color:var(--ink);font-size:1rem}td[data-of]::after{content:' 'attr(data-of)}}</style></head><body><main>";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(day: &str, feed: &str, stage: &str, story: Option<&str>) -> String {
        json!({"item": {"title": "Talks <b> & tea", "published": format!("{day}T10:00:00Z")}, "feed": {"url": feed, "title": null},
            "stage": {"label": stage, "confidence": 0.9}, "story": story.map(|id| json!({"id": id, "size": 3, "sources": 2}))})
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
        assert!(page.contains("a&lt;b") && page.contains("<h2>Stories</h2>"));
        let story = "<td dir=\"auto\">Talks &lt;b&gt; &amp; tea</td><td data-of=\"alerts\">2</td><td data-of=\"sources\">2</td><td>2024-05-01 to 2024-05-03</td>";
        assert!(page.contains(story), "{page}");
        assert!(page.contains("The busiest day was 2024-05-01, with 1 alert."));
        assert!(!page.contains("http-equiv") && !page.contains("src="));
    }

    #[test]
    fn a_page_without_alerts_says_so_and_one_without_stories_has_none() {
        let page = Digest::default().html(&["a".into()], 5, DateTime::default());
        assert!(page.contains("<b>0</b> alerts among 5 items.") && !page.contains("<h2>"));
        let mut digest = Digest::default();
        digest.add(&line("2024-05-01", "f", "held", None));
        let page = digest.html(&[], 5, DateTime::default());
        assert!(page.contains("<b>1</b> alert among 5 items") && !page.contains("tories") && !page.contains("<table"));
    }

    #[test]
    fn long_times_are_shown_in_fewer_bars() {
        for (last, unit) in
            [("2024-12-31", "day"), ("2025-06-01", "week"), ("2032-06-01", "month"), ("2099-01-01", "year")]
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
