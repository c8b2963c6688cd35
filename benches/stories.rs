//! What an alert costs besides its score: finding whom it names, and its story among 100,000 live sightings.
//! `cargo bench --bench stories`.

use chrono::{DateTime, TimeDelta, Utc};
use criterion::{Criterion, criterion_group, criterion_main};
use demarche::actors::{Extractor, Named};
use demarche::cluster::{Sighting, Stories, Terms, Vector, copies};
use demarche::item::{Identity, Stage};

const LIVE: u64 = 100_000;
const PARTIES: [&str; 12] = [
    "Russia",
    "Ukraine",
    "Iran",
    "Washington",
    "Qatar",
    "Hamas",
    "Israel",
    "India",
    "Pakistan",
    "Sudan",
    "the EU",
    "NATO",
];
const PLACES: [&str; 8] = ["Geneva", "Doha", "Cairo", "Istanbul", "Muscat", "Vienna", "Jeddah", "Oslo"];
const SUBJECTS: [&str; 10] = [
    "prisoners",
    "grain",
    "uranium",
    "border posts",
    "tariffs",
    "a buffer zone",
    "river water",
    "fishing",
    "gas",
    "hostages",
];

/// A headline and a summary of usual length. Five in a row are about the same event.
fn text(n: u64) -> (String, String) {
    let event = n / 5;
    let pick = |list: &[&'static str], salt: u64| list[(event.wrapping_mul(salt) >> 7) as usize % list.len()];
    let (one, other) = (pick(&PARTIES, 2_654_435_761), pick(&PARTIES, 40_503));
    let (place, subject) = (pick(&PLACES, 97), pick(&SUBJECTS, 7_919));
    let title = format!("Envoys of {one} and {other} discuss {subject} in {place}, session {event}");
    let summary = format!(
        "Delegates spent hour {n} on {subject}, case{event} and dossier{} among them, and will return to {place} with maps, \
         two people briefed on the session said. The mediator called the mood businesslike; neither side would speak of \
         a breakthrough before the texts have been compared, and a date for the next round is still to be found.",
        event / 3
    );
    (title, summary)
}

fn sighting(n: u64, named: &Named) -> Sighting {
    let (title, summary) = text(n);
    Sighting {
        item: Identity::of(&[&n.to_string()]),
        at: DateTime::<Utc>::UNIX_EPOCH + TimeDelta::seconds(n as i64 * 2),
        owner: format!("outlet{}", n % 300),
        stage: Stage::None,
        embedding: None,
        print: copies::fingerprint(&title, &summary),
        vector: Vector::of(&title, &summary, named),
    }
}

fn bench(criterion: &mut Criterion) {
    let extractor = Extractor::new(&[]).expect("the built-in dictionary");
    let mut stories = Stories::new(Terms { window: TimeDelta::days(3), similarity: 0.22, max_stories: 100_000 }, &[]);
    for n in 0..LIVE {
        let (title, summary) = text(n);
        stories.place(&sighting(n, &extractor.extract(&title, &summary)));
    }
    let mut n = LIVE;
    let mut group = criterion.benchmark_group("stories");
    group.bench_function("extract and place, 100,000 live sightings", |bencher| {
        bencher.iter(|| {
            let (title, summary) = text(n);
            let named = extractor.extract(&title, &summary);
            n += 1;
            stories.place(&sighting(n, &named))
        });
    });
    group.bench_function("extract", |bencher| {
        let (title, summary) = text(1);
        bencher.iter(|| extractor.extract(&title, &summary));
    });
    group.bench_function("fingerprint", |bencher| {
        let (title, summary) = text(1);
        bencher.iter(|| copies::fingerprint(&title, &summary));
    });
    group.bench_function("compile the dictionary", |bencher| bencher.iter(|| Extractor::new(&[])));
    group.finish();
}

criterion_group!(benches, bench);
criterion_main!(benches);
