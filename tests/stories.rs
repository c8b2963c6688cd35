//! Alerts of one event are one story: across outlets, restarts, and for a sink that asks for stories only.

#[path = "support/program.rs"]
mod program;
mod support;

use program::{Program, read_alerts};
use serde_json::Value;
use support::{Origin, Response};

/// What an outlet writes of the talks: the event in words of its own.
const OWN_WORDS: [&str; 6] = [
    "Iranian and US envoys hold second day of talks in Muscat|The two envoys sat at one table in Muscat for four hours, with \
     Omani mediators carrying papers between rooms when it became loud, a diplomat told our reporter on the spot.",
    "Muscat talks between Iran and United States go into another day|Oman's foreign minister walked from one villa to the \
     other until the evening; Tehran's delegation spoke of progress on enrichment limits and Washington of an open list.",
    "Oman hosts Iran and US for talks on enrichment|Nobody smiled for the cameras, yet negotiators of Iran and the United \
     States agreed in Muscat that experts shall look at the numbers overnight, officials of both countries said.",
    "Iran says talks with US envoys in Muscat were serious|Foreign ministry spokesmen in Tehran called the session with the \
     American side useful and said that enrichment remains the hardest chapter of the negotiation in Oman.",
    "US envoy: Iran talks in Muscat constructive but long|The American negotiator said before his flight that the talks with \
     Iranian counterparts had touched on every chapter, from enrichment to inspections, and will go on in Oman.",
    "Iran, US negotiators meet again in Muscat on enrichment|A third meeting within a week brought the Iranian and American \
     teams back to Oman, where inspections and the stock of uranium stood on the agenda, two officials said.",
];

/// A feed of an outlet with these texts (headline|summary).
fn feed(outlet: &str, texts: &[&str]) -> Response {
    let item = |(n, text): (usize, &&str)| {
        let (title, summary) = text.split_once('|').unwrap_or((text, ""));
        format!(
            "<item><guid>{outlet}-{n}</guid><link>https://{outlet}.example/{n}</link><title>{title}</title>\
             <description>{summary}</description><pubDate>Tue, 06 Oct 2026 1{n}:00:00 GMT</pubDate></item>"
        )
    };
    let items: String = texts.iter().enumerate().map(item).collect();
    Response::feed(format!("<rss version=\"2.0\"><channel><title>{outlet}</title>{items}</channel></rss>"))
}

struct Desk {
    origin: Origin,
    program: Program,
    feeds: Vec<String>,
}

impl Desk {
    fn new() -> Self {
        Self { origin: Origin::start(), program: Program::new(), feeds: Vec::new() }
    }

    /// The outlet lists these texts from now on.
    fn lists(&mut self, outlet: &str, texts: &[&str]) {
        self.origin.serve(&format!("/{outlet}"), feed(outlet, texts));
        let url = self.origin.url(&format!("/{outlet}"));
        if !self.feeds.contains(&url) {
            self.feeds.push(url);
        }
    }

    /// One run over all outlets; its totals.
    fn run(&self) -> Value {
        let config = self.program.dir.path().join("demarche.toml");
        let more = if config.exists() { vec!["--config", config.to_str().unwrap()] } else { vec![] };
        let (code, totals, log) = self.program.once(&self.feeds, &more);
        assert_eq!(code, 0, "{log}");
        totals
    }

    fn stories(&self, args: &[&str]) -> Vec<String> {
        let output = self.program.output(&[&["stories"], args].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect()
    }
}

fn changes(alert: &Value) -> Vec<&str> {
    let events = alert["story"]["events"].as_array().unwrap().iter();
    events.map(|event| event["what"].as_str().unwrap()).collect()
}

#[test]
fn outlets_with_the_same_event_are_one_story_and_other_talks_another() {
    let mut desk = Desk::new();
    for (n, outlet) in ["gulf", "north", "harbour"].iter().enumerate() {
        desk.lists(outlet, &[OWN_WORDS[n]]);
    }
    desk.lists(
        "plateau",
        &["Congo and M23 rebels resume ceasefire talks in Doha|Delegates of the Congolese government and of the M23 movement \
           met in Doha to discuss the release of prisoners and a ceasefire in the east, mediators from Qatar said."],
    );
    desk.run();
    let alerts = desk.program.alerts();
    assert_eq!(alerts.len(), 4);
    let of = |alert: &Value| alert["story"]["id"].as_str().unwrap().to_owned();
    let (talks, others): (Vec<&Value>, Vec<&Value>) =
        alerts.iter().partition(|alert| alert["places"].as_array().unwrap().iter().any(|place| place == "Muscat"));
    assert!(talks.iter().all(|alert| of(alert) == of(talks[0])), "{talks:#?}");
    assert_ne!(of(others[0]), of(talks[0]));
    let last = &talks[2]["story"];
    assert_eq!((&last["size"], &last["sources"], &last["new"]), (&3.into(), &3.into(), &false.into()));
    assert_eq!(changes(talks[0]), ["begins"]);
    assert!(changes(talks[1]).contains(&"corroborated"), "{:#?}", talks[1]);
}

#[test]
fn a_story_goes_on_after_a_restart() {
    let mut desk = Desk::new();
    for n in 0..OWN_WORDS.len() {
        desk.lists("gulf", &OWN_WORDS[..=n]);
        desk.run();
    }
    let sizes: Vec<u64> = desk.program.alerts().iter().map(|alert| alert["story"]["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [1, 2, 3, 4, 5, 6]);
    let alerts = desk.program.alerts();
    assert!(alerts.iter().all(|alert| alert["story"]["id"] == alerts[0]["story"]["id"]));
    assert!(alerts.iter().all(|alert| alert["story"]["sources"] == 1));
}

#[test]
fn a_sink_that_asks_for_stories_hears_of_their_beginning_and_of_their_changes() {
    let mut desk = Desk::new();
    let config = "[stories]\nmarks = [4]\n\n[[sink]]\nname = \"desk\"\ntype = \"file\"\nfile = \"desk.jsonl\"\nstories = \"first\"\n";
    std::fs::write(desk.program.dir.path().join("demarche.toml"), config).unwrap();
    for n in 0..OWN_WORDS.len() {
        desk.lists("gulf", &OWN_WORDS[..=n]);
        desk.run();
    }
    let (all, told) = (desk.program.alerts(), read_alerts(&desk.program.dir.path().join("desk.jsonl")));
    assert_eq!(all.len(), OWN_WORDS.len());
    assert_eq!(told[0], all[0], "the alert itself");
    let changed: Vec<&Value> = all[1..].iter().filter(|alert| !changes(alert).is_empty()).collect();
    assert_eq!(
        told[1..].iter().map(|line| &line["alert_id"]).collect::<Vec<_>>(),
        changed.iter().map(|a| &a["alert_id"]).collect::<Vec<_>>()
    );
    assert!(told[1..].iter().all(|line| line["schema"] == "demarche.story_update/1"));
    assert!(told[1..].iter().any(|line| changes(line).contains(&"size") && line["story"]["size"] == 4));
    desk.run();
    assert_eq!(read_alerts(&desk.program.dir.path().join("desk.jsonl")).len(), told.len(), "nothing is told twice");
}

#[test]
fn copies_of_one_wire_text_take_over_its_verdict_and_confirm_nothing() {
    let mut desk = Desk::new();
    let (title, summary) = OWN_WORDS[0].split_once('|').unwrap();
    desk.lists("agency", &[OWN_WORDS[0]]);
    desk.lists("gulf", &[&format!("{title} - Gulf Post|{summary}")]);
    desk.lists("north", &[&format!("{}|{summary}", title.to_uppercase())]);
    let totals = desk.run();
    assert_eq!(totals["copied"], 2, "{totals}");
    let alerts = desk.program.alerts();
    assert_eq!(alerts.len(), 3, "each is an alert of its own");
    assert!(alerts.iter().all(|alert| alert["score"] == alerts[0]["score"]));
    assert_eq!((&alerts[2]["story"]["size"], &alerts[2]["story"]["sources"]), (&3.into(), &3.into()));
    assert!(alerts.iter().all(|alert| !changes(alert).contains(&"corroborated")), "{alerts:#?}");
    for alert in &alerts {
        let text = format!("{} {}", alert["item"]["title"], alert["item"]["summary"]);
        let reasons = alert["reasons"].as_array().unwrap();
        assert!(reasons.iter().all(|reason| text.contains(reason["text"].as_str().unwrap())), "{alert:#?}");
    }
    desk.lists("harbour", &[OWN_WORDS[1]]);
    desk.run();
    assert!(changes(&desk.program.alerts()[3]).contains(&"corroborated"));
    // What was said before a restart is taken over after it.
    desk.lists("late", &[&format!("{title} - The Late Edition|{summary}")]);
    assert_eq!(desk.run()["copied"], 1);
}

#[test]
fn stories_are_listed_chosen_and_shown_as_timelines() {
    let mut desk = Desk::new();
    desk.lists("gulf", &OWN_WORDS[..2]);
    desk.lists("north", &OWN_WORDS[2..4]);
    desk.lists(
        "plateau",
        &["Congo and M23 rebels resume ceasefire talks in Doha|Mediators of Qatar spoke with both delegations."],
    );
    desk.run();
    assert_eq!(desk.stories(&["list"]).len(), 1 + 2);
    assert_eq!(desk.stories(&["list", "--min-size", "2", "--json"]).len(), 1);
    let chosen = desk.stories(&["list", "--json", "--actor", "IRN", "--actor", "USA", "--place", "Muscat"]);
    let story: Value = serde_json::from_str(&chosen[0]).unwrap();
    assert_eq!((chosen.len(), &story["size"], &story["sources"]), (1, &4.into(), &2.into()));
    assert_eq!(desk.stories(&["list", "--json", "--actor", "IRN", "--place", "Doha"]), Vec::<String>::new());
    let shown = desk.stories(&["show", &story["id"].as_str().unwrap()[..8]]);
    assert!(shown.iter().any(|line| line.starts_with("alerts     4 from 2 sources")), "{shown:#?}");
    assert_eq!(shown.iter().filter(|line| line.starts_with("2026-10-06")).count(), 4);
    assert!(shown.iter().any(|line| line.contains("← a new story")));
    let missing = desk.program.output(&["stories", "show", "nothing"]);
    assert_eq!(missing.status.code(), Some(2));
}
