use proptest::prelude::*;

use super::super::terms::Vector;
use super::*;

const TERMS: Terms = Terms { window: TimeDelta::days(3), similarity: 0.22, max_stories: 1000 };

fn at(hour: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::hours(hour)
}

/// Sighting `n` of event `event`: six terms of the event, four of its own, one that all news shares.
fn sighting(event: u32, n: u32, hour: i64) -> Sighting {
    let shared = (0..6).map(|i| (event * 1000 + i, 1.5));
    let own = (0..4).map(|i| (1_000_000 + event * 10_000 + n * 10 + i, 1.0));
    let mut vector: Vec<(u32, f32)> = shared.chain(own).chain([(u32::MAX, 1.0)]).collect();
    vector.sort_by_key(|(term, _)| *term);
    Sighting {
        item: Identity::of(&[&event.to_string(), &n.to_string()]),
        at: at(hour),
        owner: format!("owner{}", n % 7),
        stage: Stage::None,
        print: None,
        embedding: None,
        vector: Vector(vector),
    }
}

#[test]
fn forty_outlets_on_one_event_are_one_story_and_another_event_is_another() {
    let mut stories = Stories::new(TERMS, &[5]);
    let mut last = None;
    for n in 0..40 {
        let one = stories.place(&sighting(1, n, i64::from(n)));
        let other = stories.place(&sighting(2, n, i64::from(n)));
        assert_ne!(one.story, other.story);
        assert_eq!(one.new, n == 0);
        last = Some(one);
    }
    let last = last.unwrap();
    assert_eq!((stories.len(), last.size, last.sources), (2, 40, 7));
    assert_eq!(last.first_seen, at(0));
}

#[test]
fn the_same_subject_after_the_window_is_another_story() {
    let mut stories = Stories::new(TERMS, &[5]);
    let first = stories.place(&sighting(1, 0, 0));
    assert_eq!(stories.place(&sighting(1, 1, 71)).story, first.story);
    assert_ne!(stories.place(&sighting(1, 2, 71 + 73)).story, first.story);
}

#[test]
fn a_restart_goes_on_where_the_run_before_stopped() {
    let mut before = Stories::new(TERMS, &[5]);
    let seen: Vec<(Sighting, Placement)> = (0..20)
        .map(|n| sighting(n % 4, n, i64::from(n)))
        .map(|sighting| (sighting.clone(), before.place(&sighting)))
        .collect();
    let mut after = Stories::new(TERMS, &[5]);
    seen.iter().for_each(|(sighting, placement)| after.remember(placement.story, sighting));
    for n in 20..30 {
        let next = sighting(n % 5, n, i64::from(n));
        assert_eq!(after.place(&next), before.place(&next), "{n}");
    }
}

#[test]
fn memory_is_bounded_by_time_and_by_number() {
    let mut stories = Stories::new(TERMS, &[5]);
    for event in 0..3000 {
        stories.place(&sighting(event, 0, i64::from(event)));
    }
    // Three days of one story an hour, and what has come since stories were last looked through.
    assert!(stories.len() <= 72 + 4, "{}", stories.len());
    let mut crowded = Stories::new(TERMS, &[5]);
    for event in 0..3000 {
        crowded.place(&sighting(event, 0, 0));
    }
    assert!(crowded.len() <= TERMS.max_stories, "{}", crowded.len());
    let mut talkative = Stories::new(TERMS, &[5]);
    (0..1000).for_each(|n| _ = talkative.place(&sighting(1, n, 0)));
    let terms: usize = talkative.live.values().map(|story| story.sum.len()).sum();
    assert!(terms <= 2 * STORY_TERMS, "{terms}");
}

#[test]
fn a_sighting_without_terms_is_a_story_of_its_own() {
    let mut stories = Stories::new(TERMS, &[5]);
    let empty = |n: u32| Sighting { vector: Vector::default(), ..sighting(1, n, 0) };
    assert_ne!(stories.place(&empty(1)).story, stories.place(&empty(2)).story);
}

#[test]
fn a_story_tells_its_mark_its_stages_and_the_first_who_has_it_in_his_own_words() {
    let mut stories = Stories::new(TERMS, &[3]);
    let mut told = |n: u32, owner: &str, print: u64, stage: Stage| {
        let sighting = Sighting { owner: owner.into(), print: Some(print), stage, ..sighting(1, n, i64::from(n)) };
        stories.place(&sighting).events
    };
    assert_eq!(told(0, "agency.example", 0, Stage::Held), [Event::Begins]);
    assert_eq!(told(1, "paper.example", 0b11, Stage::None), [], "a copy of the agency's text");
    assert_eq!(
        told(2, "desk.example", !0, Stage::Agreed),
        [
            Event::Stage { from: Stage::Held, to: Stage::Agreed },
            Event::Size { mark: 3 },
            Event::Corroborated { owners: 2 }
        ]
    );
    assert_eq!(told(3, "desk.example", 0xffff, Stage::Agreed), []);
}

#[test]
fn what_alerts_are_about_joins_them_and_keeps_them_apart() {
    // Half of the terms of the event: alike, and not enough alone.
    let loose = |n: u32, values: &[f32]| {
        let mut sighting = sighting(1, n, 0);
        sighting.vector.0.retain(|(term, _)| *term > 1_000_000 || term % 3 == 0);
        Sighting { embedding: Embedding::of("model", values), ..sighting }
    };
    let joins = |one: Sighting, other: Sighting| {
        let mut stories = Stories::new(Terms { similarity: 0.6, ..TERMS }, &[]);
        stories.place(&one).story == stories.place(&other).story
    };
    assert!(joins(loose(1, &[1.0, 0.1]), loose(2, &[1.0, 0.0])));
    assert!(!joins(loose(1, &[1.0, 0.1]), loose(2, &[0.0, 1.0])));
}

#[test]
fn a_vector_comes_back_from_its_bytes() {
    let vector = sighting(3, 4, 0).vector;
    assert_eq!(Vector::from_bytes(&vector.to_bytes()), vector);
    assert_eq!(Vector::from_bytes(&vector.to_bytes()[1..9]).0.len(), 1);
}

/// Share of pairs on which two partitions agree.
fn agreement(one: &[Identity], other: &[Identity]) -> f64 {
    let pairs: Vec<(usize, usize)> = (0..one.len()).flat_map(|a| (0..a).map(move |b| (a, b))).collect();
    let same = pairs.iter().filter(|(a, b)| (one[*a] == one[*b]) == (other[*a] == other[*b])).count();
    same as f64 / pairs.len() as f64
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_order_of_arrival_hardly_matters(
        order in Just((0u32..48).collect::<Vec<_>>()).prop_shuffle(),
        events in 2u32..12,
    ) {
        let stories_of = |order: &[u32]| {
            let mut stories = Stories::new(TERMS, &[5]);
            let mut placed = vec![Identity([0; 16]); order.len()];
            for n in order {
                placed[*n as usize] = stories.place(&sighting(n % events, *n, i64::from(*n))).story;
            }
            placed
        };
        let in_order: Vec<u32> = (0..48).collect();
        let agreed = agreement(&stories_of(&in_order), &stories_of(&order));
        prop_assert!(agreed >= 0.95, "{agreed}");
    }

    #[test]
    fn every_sighting_counts_in_exactly_one_story(events in proptest::collection::vec((0u32..9, 0i64..200), 1..80)) {
        let mut stories = Stories::new(Terms { window: TimeDelta::days(30), ..TERMS }, &[]);
        let mut sizes: HashMap<Identity, usize> = HashMap::new();
        for (n, (event, hour)) in (0u32..).zip(events) {
            let placement = stories.place(&sighting(event, n, hour));
            let size = sizes.entry(placement.story).or_default();
            *size += 1;
            prop_assert_eq!(*size, placement.size);
            prop_assert_eq!(placement.new, *size == 1);
            prop_assert!(placement.sources <= placement.size);
        }
    }
}
