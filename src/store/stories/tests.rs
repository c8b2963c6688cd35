use chrono::TimeDelta;

use super::*;
use crate::dedup;
use crate::store::{FeedSpec, Intake, Judged, Keep, Origin, Poll, Raised};

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_790_000_000, 0).unwrap()
}

/// A store with `items` waiting items.
fn store(dir: &std::path::Path, items: usize) -> Store {
    let mut store = Store::open(dir).unwrap();
    let url = "https://news.example/feed.xml";
    store.add_feeds(&[FeedSpec { url: url.into(), title: None, tags: vec![], floor_s: None }]).unwrap();
    take_in(&mut store, 0..items);
    store
}

fn take_in(store: &mut Store, items: std::ops::Range<usize>) {
    let entry = |n: usize| Entry { guid: Some(n.to_string()), title: format!("Talks {n}"), ..Entry::default() };
    let sorted = dedup::sort(items.map(entry).collect(), "https://news.example/", Default::default(), now());
    let intake = Intake { candidates: sorted.candidates, ..Intake::default() };
    store
        .commit_polls(&[Poll { feed: 1, at: now(), origin: Origin::Live, health: None, own_title: None, intake }])
        .unwrap();
}

const LINE: &str = r#"{"grade":{"negotiation":0.8,"diplomacy":0.15,"neither":0.05},
    "stage":{"label":"held","confidence":0.7},"reasons":[{"text":"Talks","weight":0.4}]}"#;

/// Judges what waits: items with an odd row are alerts, each a story of its own.
fn judge(store: &mut Store, at: DateTime<Utc>) -> Vec<Raised> {
    let raised = |row: i64, item| (row % 2 == 1).then(|| Raised::alone(item, LINE.into()));
    let pending = store.pending(100).unwrap();
    let judged: Vec<Judged> = pending
        .iter()
        .map(|pending| Judged { row: pending.row, score: Some(0.5), alert: raised(pending.row, pending.item.id) })
        .collect();
    store.commit_verdicts(&judged, at).unwrap();
    judged.into_iter().filter_map(|judged| judged.alert).collect()
}

#[test]
fn sightings_come_back_as_they_were_in_their_order() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), 6);
    let row = store.pending(1).unwrap()[0].row;
    let item = store.pending(1).unwrap()[0].item.id;
    let sighting = Sighting {
        at: now(),
        owner: "news.example".into(),
        stage: Stage::Agreed,
        print: Some(u64::MAX - 5),
        embedding: Embedding::of("model", &[1.0, -2.0, 0.5]),
        vector: Vector(vec![(7, 1.5), (u32::MAX, 0.25)]),
        item,
    };
    let alert = Some(Raised { sighting: sighting.clone(), ..Raised::alone(item, LINE.into()) });
    store.commit_verdicts(&[Judged { row, score: Some(0.9), alert }], now()).unwrap();
    let others: Vec<Identity> = judge(&mut store, now()).into_iter().map(|raised| raised.sighting.item).collect();
    let mut found = Vec::new();
    store.each_sighting(|_, sighting| found.push(sighting.clone())).unwrap();
    assert_eq!(found.remove(0), sighting);
    assert_eq!(found.into_iter().map(|sighting| sighting.item).collect::<Vec<_>>(), others);
}

#[test]
fn verdicts_of_late_are_those_of_the_model_that_judges() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), 4);
    assert_eq!(store.judged_of_late("a", 10).unwrap(), []);
    judge(&mut store, now());
    let said = |store: &mut Store, model: &str, most: usize| -> Vec<(String, bool)> {
        let judged = store.judged_of_late(model, most).unwrap();
        judged.into_iter().map(|(text, said)| (text.title, matches!(said, Said::Alert(_)))).collect()
    };
    let all = said(&mut store, "a", 10);
    assert_eq!(all.iter().filter(|(_, alert)| *alert).count(), 2);
    assert_eq!(said(&mut store, "a", 3), all[1..], "the last ones, in order of intake");
    assert_eq!(said(&mut store, "b", 10), [], "another model has said nothing yet");
    take_in(&mut store, 4..5);
    judge(&mut store, now());
    assert_eq!(said(&mut store, "b", 10), [("Talks 4".to_owned(), true)]);
    assert_eq!(said(&mut store, "a", 10), [], "nor does the first one take over what the second said");
}

#[test]
fn a_story_begins_for_a_sink_with_one_alert_whatever_happens_then() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), 0);
    let story = |n: u8| Identity([n; 16]).to_string();
    let alerts = [(1, story(1)), (2, story(1)), (3, story(2))];
    assert_eq!(store.begin_stories("desk", &alerts).unwrap(), [1, 3].into());
    assert_eq!(store.begin_stories("desk", &alerts).unwrap(), [1, 3].into(), "read again after a crash");
    assert_eq!(store.begin_stories("other", &alerts[1..]).unwrap(), [2, 3].into());
}

#[test]
fn silent_stories_go_with_all_they_had() {
    let dir = tempfile::tempdir().unwrap();
    let mut store = store(dir.path(), 3);
    let raised = judge(&mut store, now());
    store.begin_stories("desk", &[(1, raised[0].story.to_string())]).unwrap();
    take_in(&mut store, 3..5);
    judge(&mut store, now() + TimeDelta::days(20));
    let keep = Keep { items: DAY * 90, alerts: DAY * 90, seen: DAY * 90, stories: DAY * 17 };
    let (pruned, _) = store.prune(&keep, Default::default(), now() + TimeDelta::days(21)).unwrap();
    assert_eq!(pruned.stories, raised.len());
    let left = |table: &str| -> i64 {
        store.connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).unwrap()
    };
    assert_eq!((left("story"), left("sighting"), left("told")), (1, 1, 0));
}

const DAY: std::time::Duration = std::time::Duration::from_secs(86_400);
