//! Alerts for people: a line each, or one in full.

use std::io::{self, Write};

use chrono::{DateTime, Utc};

use super::read::{Line, View};

/// The alerts under a heading, or as they are.
pub(super) fn list<'a>(lines: impl Iterator<Item = &'a Line>, json: bool) -> io::Result<()> {
    if !json {
        heading()?;
    }
    for one in lines {
        line(one, json)?;
    }
    Ok(())
}

/// What stands above alerts in lines.
pub(super) fn heading() -> io::Result<()> {
    writeln!(io::stdout(), "{:<16}  score  stage    id        headline · feed", "emitted (UTC)")
}

/// One alert in a line.
pub(super) fn line(line: &Line, json: bool) -> io::Result<()> {
    let mut out = io::stdout().lock();
    if json {
        return writeln!(out, "{}", line.line);
    }
    let view = &line.view;
    let id: String = view.alert_id.chars().take(8).collect();
    let story = view.story.as_ref().filter(|story| story.size > 1);
    let story = story.map_or(String::new(), |story| format!(" · {} in its story", story.size));
    let feed = view.feed.title.as_deref().unwrap_or(&view.feed.url);
    writeln!(
        out,
        "{:<16}  {:>5.3}  {:<7}  {id:<8}  {} · {feed}{story}",
        time(view.emitted_at),
        view.score,
        view.stage.label,
        plain(&view.item.title)
    )
}

/// One alert with everything that is known of it.
pub(super) fn whole(view: &View) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", console::style(plain(&view.item.title)).bold())?;
    if !view.item.summary.is_empty() {
        writeln!(out, "{}", plain(&view.item.summary))?;
    }
    let actors: Vec<&str> = view.actors.iter().map(|actor| actor.name.as_str()).collect();
    let story = view.story.as_ref();
    let story = story.map(|story| format!("{}, {} items from {} sources", story.id, story.size, story.sources));
    let rows = [
        ("link", view.item.url.clone().unwrap_or_default()),
        ("feed", [view.feed.title.clone().unwrap_or_default(), view.feed.url.clone()].join(" ").trim().to_owned()),
        ("published", time(view.item.published)),
        ("emitted", format!("{} ({})", time(view.emitted_at), view.origin)),
        ("score", format!("{:.3} (threshold {:.3}, {})", view.score, view.model.threshold, view.model.id)),
        ("stage", format!("{} ({:.2})", view.stage.label, view.stage.confidence)),
        ("actors", actors.join(", ")),
        ("places", view.places.join(", ")),
        ("story", story.unwrap_or_default()),
        ("alert id", view.alert_id.clone()),
        ("item id", view.item.id.clone()),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<10} {}", plain(value))?;
    }
    for reason in &view.reasons {
        writeln!(out, "{:<10} {:+.2}  {}", "reason", reason.weight, plain(&reason.text))?;
    }
    Ok(())
}

pub(in crate::cli) fn time(time: Option<DateTime<Utc>>) -> String {
    time.map_or(String::new(), |time| time.format("%Y-%m-%d %H:%M").to_string())
}

/// A file may have been edited: nothing in it may steer the terminal.
pub(in crate::cli) fn plain(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
