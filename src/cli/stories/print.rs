//! Stories for people: a line each, or a timeline.

use std::io::{self, Write};

use super::super::alerts::print::{plain, time};
use super::super::alerts::read::View;
use super::super::table;
use super::gather::{Story, changes};

/// Names of a story's actors in a list; all of them are in `stories show`.
const ACTORS: usize = 4;

/// The stories under headings.
pub(super) fn list(stories: &[Story]) -> io::Result<()> {
    let row = |story: &Story| {
        let names: Vec<&str> = story.actors.iter().take(ACTORS).map(|actor| actor.id.as_str()).collect();
        [
            time(story.last_seen),
            story.size.to_string(),
            story.sources.to_string(),
            story.stage.clone(),
            short(&story.id),
            plain(&names.join(" ")),
            plain(&story.title),
        ]
    };
    let rows: Vec<_> = stories.iter().map(row).collect();
    table::print(["last seen (UTC)", "alerts", "sources", "stage", "id", "actors", "headline"], &rows)
}

/// One story as a timeline.
pub(super) fn timeline(story: &Story) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", console::style(plain(&story.title)).bold())?;
    let names: Vec<&str> = story.actors.iter().map(|actor| actor.name.as_str()).collect();
    let lasted = story.first_seen.zip(story.last_seen).map(|(first, last)| last - first);
    let rows = [
        ("story", story.id.clone()),
        ("alerts", format!("{} from {} sources", story.size, story.sources)),
        ("stage", story.stage.clone()),
        ("first seen", time(story.first_seen)),
        ("last seen", [time(story.last_seen), lasted.map_or(String::new(), after)].join("").trim().to_owned()),
        ("actors", names.join(", ")),
        ("places", story.places.join(", ")),
    ];
    for (name, value) in rows.iter().filter(|(_, value)| !value.is_empty()) {
        writeln!(out, "{name:<10} {}", plain(value))?;
    }
    writeln!(out)?;
    story.sightings.iter().try_for_each(|one| {
        let events = one.events.join(", ");
        let events = if events.is_empty() { events } else { format!("  ← {events}") };
        let (at, title) = (time(one.published), plain(&one.title));
        writeln!(out, "{at:<16}  {:>5.3}  {:<7}  {title} · {}{events}", one.score, one.stage, plain(&one.feed))
    })
}

/// What an alert changed in its story, in a line.
pub(super) fn change(view: &View) -> io::Result<()> {
    let Some(story) = &view.story else { return Ok(()) };
    writeln!(
        io::stdout().lock(),
        "{:<16}  {:<7}  {:<8}  {:>3} from {:<3}  {} · {}",
        time(view.emitted_at),
        view.stage.label,
        short(&story.id),
        story.size,
        story.sources,
        changes(view).join(", "),
        plain(&view.item.title)
    )
}

fn after(time: chrono::TimeDelta) -> String {
    match (time.num_days(), time.num_hours(), time.num_minutes()) {
        (days @ 2.., ..) => format!(" (after {days} days)"),
        (_, hours @ 2.., _) => format!(" (after {hours} h)"),
        (.., minutes @ 1..) => format!(" (after {minutes} min)"),
        _ => String::new(),
    }
}

fn short(id: &str) -> String {
    id.chars().take(8).collect()
}
