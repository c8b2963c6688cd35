//! What is posted: the alert itself, or what a chat shows of it. Pure.

use std::fmt::Write;

use serde::{Deserialize, Serialize};

use crate::alert::UPDATE_SCHEMA;
use crate::cluster::events::in_words;

/// What a webhook is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The alert as it stands in the file.
    Json,
    /// The same in a CloudEvents 1.0 envelope, structured mode.
    Cloudevents,
    /// A Slack message.
    Slack,
    /// A Mattermost message.
    Mattermost,
    /// A Discord embed.
    Discord,
}

/// Characters of a headline that a chat gets: Discord takes no more in a title.
const TITLE: usize = 256;

/// Characters of a summary: enough to see what it is about.
const SUMMARY: usize = 500;

/// What the formats read of a line.
#[derive(Debug, Deserialize)]
struct Alert {
    alert_id: String,
    emitted_at: String,
    score: f32,
    stage: Stage,
    item: Item,
    feed: Feed,
    #[serde(default)]
    reasons: Vec<Reason>,
    schema: String,
    #[serde(default)]
    story: Story,
}

/// Lines of an older program have none.
#[derive(Debug, Default, Deserialize)]
struct Story {
    size: usize,
    sources: usize,
    #[serde(default)]
    events: Vec<serde_json::Value>,
}

#[derive(Debug, Deserialize)]
struct Stage {
    label: String,
}

#[derive(Debug, Deserialize)]
struct Item {
    id: String,
    title: String,
    summary: String,
    url: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Feed {
    url: String,
    title: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Reason {
    text: String,
}

/// The attributes of a CloudEvent; `data` is put behind them as it is.
#[derive(Debug, Serialize)]
struct Envelope<'a> {
    specversion: &'static str,
    id: &'a str,
    source: &'a str,
    r#type: &'static str,
    subject: &'a str,
    time: &'a str,
    datacontenttype: &'static str,
}

impl Format {
    /// Its media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Cloudevents => "application/cloudevents+json; charset=utf-8",
            _ => "application/json",
        }
    }

    /// The body for an alert's line.
    ///
    /// # Errors
    /// When the line is none of ours.
    pub fn body(self, line: &str) -> Result<String, serde_json::Error> {
        if self == Self::Json {
            return Ok(line.to_owned());
        }
        let alert: Alert = serde_json::from_str(line)?;
        match self {
            Self::Json => Ok(line.to_owned()),
            Self::Cloudevents => envelope(&alert, line),
            Self::Slack => serde_json::to_string(&serde_json::json!({ "text": slack(&alert) })),
            Self::Mattermost => serde_json::to_string(&serde_json::json!({ "text": mattermost(&alert) })),
            Self::Discord => serde_json::to_string(&discord(&alert)),
        }
    }
}

fn envelope(alert: &Alert, line: &str) -> Result<String, serde_json::Error> {
    let envelope = Envelope {
        specversion: "1.0",
        id: &alert.alert_id,
        source: &alert.feed.url,
        r#type: if alert.schema == UPDATE_SCHEMA { "demarche.story_update.v1" } else { "demarche.alert.v1" },
        subject: &alert.item.id,
        time: &alert.emitted_at,
        datacontenttype: "application/json",
    };
    let mut text = serde_json::to_string(&envelope)?;
    text.pop();
    // A string takes everything.
    let _ = write!(text, ",\"data\":{line}}}");
    Ok(text)
}

/// What an alert changes in a story that was told before, and how large that is by now.
fn news(alert: &Alert) -> Option<String> {
    let Story { size, sources, events } = &alert.story;
    let changes = in_words(events);
    let is_update = alert.schema == UPDATE_SCHEMA && !changes.is_empty();
    is_update.then(|| format!("{} · {size} alerts from {sources} sources", changes.join(", ")))
}

/// "Outlet · 93 % · held", and the words that the score rests on.
fn facts(alert: &Alert) -> String {
    let outlet = alert.feed.title.as_deref().unwrap_or(&alert.feed.url);
    let news = news(alert).map(|news| news + " · ").unwrap_or_default();
    let mut text = format!("{news}{outlet} · {:.0} %", alert.score * 100.0);
    if alert.stage.label != "none" {
        let _ = write!(text, " · {}", alert.stage.label);
    }
    let reasons: Vec<String> = alert.reasons.iter().map(|reason| format!("“{}”", reason.text)).collect();
    if !reasons.is_empty() {
        let _ = write!(text, " · {}", reasons.join(", "));
    }
    text
}

fn slack(alert: &Alert) -> String {
    let escape = |text: &str| text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
    let title = escape(&title(alert));
    let headline = match &alert.item.url {
        // A bar would end the address.
        Some(url) => format!("<{}|{title}>", escape(url).replace('|', "%7C")),
        None => title,
    };
    format!("*{headline}*\n{}", escape(&facts(alert)))
}

fn mattermost(alert: &Alert) -> String {
    let title = plain(&title(alert));
    let headline = match &alert.item.url {
        Some(url) => format!("[{title}]({})", url.replace('(', "%28").replace(')', "%29").replace(' ', "%20")),
        None => title,
    };
    format!("**{headline}**\n{}", plain(&facts(alert)))
}

fn discord(alert: &Alert) -> serde_json::Value {
    let mut embed = serde_json::json!({
        "title": cut(&plain(&title(alert)), TITLE),
        "description": cut(&plain(&alert.item.summary), SUMMARY),
        "timestamp": alert.emitted_at,
        "footer": { "text": facts(alert) },
    });
    if let Some(url) = &alert.item.url {
        embed["url"] = url.as_str().into();
    }
    serde_json::json!({ "embeds": [embed], "allowed_mentions": { "parse": [] } })
}

fn title(alert: &Alert) -> String {
    let text = if alert.item.title.is_empty() { &alert.item.summary } else { &alert.item.title };
    cut(&text.replace(['\n', '\r'], " "), TITLE)
}

/// What a publisher writes is text: it neither formats our message nor calls on anybody in the channel.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            // A space of no width behind it: `@channel` is no mention then.
            '@' => plain.push_str("@\u{200b}"),
            '\\' | '*' | '_' | '~' | '`' | '[' | ']' | '<' | '>' | '|' | '#' => plain.extend(['\\', letter]),
            _ => plain.push(letter),
        }
    }
    plain
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most - 1).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    fn line(title: &str) -> String {
        serde_json::json!({
            "schema": "demarche.alert/1", "alert_id": "a1", "emitted_at": "2026-03-01T12:00:00Z", "score": 0.934,
            "stage": {"label": "held", "confidence": 0.8}, "reasons": [{"text": "ceasefire talks", "weight": 0.4}],
            "item": {"id": "i1", "title": title, "summary": "Envoys *met*.", "url": "https://news.example/a|b(c)"},
            "feed": {"url": "https://news.example/feed", "title": "Example & Sons"},
        })
        .to_string()
    }

    fn body(format: Format, title: &str) -> Value {
        serde_json::from_str(&format.body(&line(title)).unwrap()).unwrap()
    }

    #[test]
    fn json_is_the_line_to_the_byte() {
        assert_eq!(Format::Json.body("{\"b\": 1,\"a\":2}").unwrap(), "{\"b\": 1,\"a\":2}");
    }

    #[test]
    fn an_event_has_what_the_standard_wants_and_the_alert_as_its_data() {
        let event = body(Format::Cloudevents, "Talks");
        assert_eq!(
            (&event["specversion"], &event["id"], &event["source"], &event["type"]),
            (&"1.0".into(), &"a1".into(), &"https://news.example/feed".into(), &"demarche.alert.v1".into())
        );
        assert_eq!(event["time"], "2026-03-01T12:00:00Z");
        assert_eq!(event["data"], serde_json::from_str::<Value>(&line("Talks")).unwrap());
    }

    #[test]
    fn slack_gets_a_link_and_no_markup_of_the_publisher() {
        let text = body(Format::Slack, "<!channel> talks")["text"].as_str().unwrap().to_owned();
        assert_eq!(
            text,
            "*<https://news.example/a%7Cb(c)|&lt;!channel&gt; talks>*\nExample &amp; Sons · 93 % · held · “ceasefire talks”"
        );
    }

    #[test]
    fn an_update_of_a_story_says_what_has_changed() {
        let mut line: Value = serde_json::from_str(&line("Deal signed")).unwrap();
        line["story"] = serde_json::json!({"size": 12, "sources": 7, "events":
            [{"what": "stage", "from": "held", "to": "agreed"}, {"what": "of tomorrow"}]});
        let text = |line: &Value| Format::Slack.body(&line.to_string()).unwrap();
        assert!(!text(&line).contains("12 alerts"), "an alert tells itself");
        line["schema"] = UPDATE_SCHEMA.into();
        assert!(
            text(&line).contains("held → agreed · 12 alerts from 7 sources · Example &amp; Sons"),
            "{}",
            text(&line)
        );
        let event: Value = serde_json::from_str(&Format::Cloudevents.body(&line.to_string()).unwrap()).unwrap();
        assert_eq!(event["type"], "demarche.story_update.v1");
    }

    #[test]
    fn mattermost_is_not_made_to_call_everybody() {
        let text = body(Format::Mattermost, "@channel [talks](x)")["text"].as_str().unwrap().to_owned();
        assert!(text.starts_with("**[@\u{200b}channel \\[talks\\](x)](https://news.example/a|b%28c%29)**\n"), "{text}");
    }

    #[test]
    fn discord_gets_an_embed_within_its_limits() {
        let message = body(Format::Discord, &"x*".repeat(400));
        let embed = &message["embeds"][0];
        assert!(embed["title"].as_str().unwrap().chars().count() <= 256);
        assert_eq!(embed["description"], "Envoys \\*met\\*.");
        assert_eq!(message["allowed_mentions"]["parse"], serde_json::json!([]));
    }

    #[test]
    fn a_line_of_somebody_else_is_no_alert() {
        assert!(Format::Slack.body("{\"x\":1}").is_err());
    }
}
