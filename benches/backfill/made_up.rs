//! News that never was: enough words for hashes and models to work on, the same on every run.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

const PLACES: [&str; 16] = [
    "Arkhel", "Bresno", "Castoria", "Delmar", "Eastmere", "Fenwick", "Galdor", "Harrow", "Istria", "Jorvale",
    "Kestrel", "Lorien", "Mirova", "Norhaven", "Ostrava", "Pelham",
];
const SUBJECTS: [&str; 16] = [
    "The city council",
    "A local bakery",
    "The football club",
    "A startup",
    "The regional hospital",
    "A film festival",
    "The weather service",
    "A school choir",
    "The railway company",
    "A farmer",
    "The museum",
    "A court",
    "The university",
    "A chess player",
    "The fire brigade",
    "An airline",
];
const DEEDS: [&str; 16] = [
    "opens a new branch",
    "wins the autumn cup",
    "raises its prices",
    "closes for repairs",
    "announces record sales",
    "celebrates a hundred years",
    "loses an appeal",
    "presents its budget",
    "warns of heavy rain",
    "buys a competitor",
    "hires two hundred people",
    "postpones the premiere",
    "publishes a study on sleep",
    "reports fewer accidents",
    "plans a bicycle road",
    "recalls a product",
];
const TAILS: [&str; 8] = [
    "Residents had waited for the decision since spring.",
    "Tickets go on sale next week, the organisers said.",
    "The figures surprised analysts and neighbours alike.",
    "It is the third such case this year.",
    "Work is to begin as soon as the ground has thawed.",
    "A spokeswoman declined to comment on the costs.",
    "Visitors came from all over the region.",
    "More details are expected before the weekend.",
];
const TALKS: [&str; 4] = [
    "Foreign ministers resume ceasefire talks in",
    "Envoys exchange proposals on a prisoner swap in",
    "Mediators present a draft peace agreement in",
    "Delegations agree on a second round of negotiations in",
];

/// A generator without luck: splitmix64.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[(self.roll() % words.len() as u64) as usize]
    }
}

/// Headline and lead of item `n`.
fn item(n: u64, dice: &mut Dice) -> (String, String) {
    let (place, number) = (dice.of(&PLACES), dice.roll() % 10_000);
    let title = match n % 50 {
        0 => format!("{} {place}, round {number}", dice.of(&TALKS)),
        _ => format!("{} {} in {place}, case {number}", dice.of(&SUBJECTS), dice.of(&DEEDS)),
    };
    let lead: Vec<&str> = (0..3 + dice.roll() % 3).map(|_| dice.of(&TAILS)).collect();
    (title, lead.join(" "))
}

/// Writes `items` lines; how many bytes.
pub fn jsonl(path: &Path, items: u64) -> u64 {
    let mut out = BufWriter::new(File::create(path).expect("a file"));
    let mut dice = Dice(1);
    let mut bytes = 0;
    for n in 0..items {
        let (title, summary) = item(n, &mut dice);
        let line = format!(
            "{{\"id\":\"{n}\",\"url\":\"https://outlet{}.example/news/{n}\",\"title\":\"{title}\",\"description\":\"{summary}\",\
             \"published_at\":\"2024-{:02}-{:02}T{:02}:30:00Z\",\"author\":\"Desk\",\"lang\":\"en\",\"wordcount\":400}}\n",
            n % 200,
            1 + n / 86_000 % 12,
            1 + n / 3_000 % 28,
            n / 125 % 24,
        );
        out.write_all(line.as_bytes()).expect("room on the disk");
        bytes += line.len() as u64;
    }
    out.flush().expect("room on the disk");
    bytes
}

/// Writes feed documents of 30 items each, about 20 KB, until there are `bytes`; how many items and bytes.
pub fn feeds(dir: &Path, bytes: u64) -> (u64, u64) {
    let mut dice = Dice(2);
    let (mut written, mut n) = (0, 0);
    while written < bytes {
        let outlet = n / 30 % 200;
        let mut xml = format!(
            "<?xml version=\"1.0\"?><rss version=\"2.0\"><channel><title>Outlet {outlet}</title><link>https://outlet{outlet}.example/</link>"
        );
        for _ in 0..30 {
            let (title, summary) = item(n, &mut dice);
            xml += &format!(
                "<item><title>{title}</title><link>https://outlet{outlet}.example/news/{n}</link><guid isPermaLink=\"false\">{n}</guid>\
                 <pubDate>Tue, 06 Feb 2024 {:02}:00:00 GMT</pubDate><category>News</category>\
                 <description><![CDATA[<p>{summary}</p><img src=\"https://outlet{outlet}.example/{n}.jpg\"/>]]></description></item>",
                n / 125 % 24,
            );
            n += 1;
        }
        xml += "</channel></rss>\n";
        // A thousand documents to a directory.
        let directory = dir.join(format!("{:05}", n / 30_000));
        std::fs::create_dir_all(&directory).expect("a directory");
        std::fs::write(directory.join(format!("{n:09}.xml")), &xml).expect("room on the disk");
        written += xml.len() as u64;
    }
    (n, written)
}
