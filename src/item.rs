//! The nouns of the flow: what a feed, an item, a verdict and an alert are. No I/O, no clock.

mod embedding;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

pub use embedding::Embedding;

/// Row id of a feed in the store.
pub type FeedId = i64;

/// What makes two sightings the same item: 128 bits of BLAKE3, shown as 32 hex digits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Identity(pub [u8; 16]);

impl Identity {
    /// Hashes `parts` with a separator that no part can forge (each part is preceded by its length).
    pub fn of(parts: &[&str]) -> Self {
        let mut hasher = blake3::Hasher::new();
        for part in parts {
            hasher.update(&(part.len() as u64).to_le_bytes());
            hasher.update(part.as_bytes());
        }
        let mut id = [0; 16];
        hasher.finalize_xof().fill(&mut id);
        Self(id)
    }
}

impl std::fmt::Display for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl std::str::FromStr for Identity {
    type Err = NoIdentity;

    fn from_str(text: &str) -> Result<Self, NoIdentity> {
        let number = u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32 && !text.starts_with('+'));
        number.map(|number| Self(number.to_be_bytes())).ok_or(NoIdentity)
    }
}

/// A text that is no identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("read an item's id: 32 hexadecimal digits are expected")]
pub struct NoIdentity;

/// Where an item's `published` time comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PublishedSource {
    /// The feed said so.
    Feed,
    /// The feed gave no usable date: the time we first saw the item.
    FirstSeen,
    /// The feed gave a date more than an hour ahead: pulled back to the time we first saw it.
    Clamped,
}

/// One entry of a feed as the parser leaves it: clean text, absolute links, UTC times.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Entry {
    /// The feed's own id for the entry (guid, atom:id, rdf:about, JSON Feed id), if it gave one.
    pub guid: Option<String>,
    /// Plain text; empty when the feed gave none.
    pub title: String,
    /// Absolute http(s) link as the feed gave it (made absolute, not otherwise changed).
    pub link: Option<String>,
    /// Plain text of description, summary or content; empty when the feed gave none.
    pub summary: String,
    /// Published time if the feed gave a usable one; not clamped here.
    pub published: Option<DateTime<Utc>>,
    /// Updated time if the feed gave a usable one.
    pub updated: Option<DateTime<Utc>>,
    /// Author names, in the feed's order.
    pub authors: Vec<String>,
    /// Category labels, in the feed's order.
    pub categories: Vec<String>,
    /// BCP 47 primary language subtag ("en"), declared by the feed or detected.
    pub language: Option<String>,
}

/// A parsed feed document.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Document {
    /// Which family of formats the document belongs to.
    pub format: Format,
    /// Plain text title of the feed, if any.
    pub title: Option<String>,
    /// The site's page (not the feed document).
    pub site: Option<String>,
    /// The document's own address as it declares it (atom:link rel=self, JSON Feed feed_url).
    pub self_url: Option<String>,
    /// WebSub hub the document announces.
    pub hub: Option<String>,
    /// RFC 5005: address of the previous archive document or next page.
    pub older: Option<String>,
    /// What the document says about how often it may be polled.
    pub hints: PollHints,
    /// Entries in document order.
    pub entries: Vec<Entry>,
    /// Entries beyond the most that are kept of one document.
    pub dropped: usize,
}

/// Family of a feed document.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// RSS 0.91 to 0.94 and 2.0.
    #[default]
    Rss2,
    /// RSS 0.90, 1.0 and 1.1: RDF.
    Rss1,
    /// Atom 0.3 and 1.0.
    Atom,
    /// JSON Feed 1.0 and 1.1.
    Json,
    /// Microsoft's Channel Definition Format.
    Cdf,
}

/// What a document says about its polling: `<ttl>`, `sy:*`, skipHours and skipDays.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PollHints {
    /// RSS `<ttl>`, in minutes.
    pub ttl_min: Option<u32>,
    /// Syndication module: period divided by frequency, in seconds.
    pub sy_period_s: Option<u32>,
    /// Syndication module: updateBase, Unix seconds.
    pub sy_base: Option<i64>,
    /// RSS skipHours: bit h set means hour h (0–23, GMT) is not to be polled.
    pub skip_hours: u32,
    /// RSS skipDays: bit d set means day d (0 = Monday) is not to be polled.
    pub skip_days: u8,
}

/// An entry that belongs to a feed, with its identity settled: what the store keeps and the scorer reads.
#[derive(Debug, Clone, PartialEq)]
pub struct Item {
    /// The identity that decides whether it is new.
    pub id: Identity,
    /// What the feed said.
    pub entry: Entry,
    /// The time that counts as published, by `published_source`.
    pub published: DateTime<Utc>,
    /// Why that time.
    pub published_source: PublishedSource,
}

/// How much an item is about negotiation (labelling grades 2, 1, 0).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct GradeProbs {
    /// Probability of grade 2.
    pub negotiation: f32,
    /// Probability of grade 1.
    pub diplomacy: f32,
    /// Probability of grade 0.
    pub neither: f32,
}

impl GradeProbs {
    /// Probabilities in the order of the grades: 0, 1, 2.
    pub fn from_order([neither, diplomacy, negotiation]: [f32; 3]) -> Self {
        Self { negotiation, diplomacy, neither }
    }

    /// The probabilities in the order of the grades.
    pub fn in_order(&self) -> [f32; 3] {
        [self.neither, self.diplomacy, self.negotiation]
    }
}

/// Stage of a negotiation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, Default)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Announced, invited to, called for, expected.
    Planned,
    /// Under way or just held.
    Held,
    /// A concrete proposal is tabled or answered.
    Offer,
    /// Reached, signed, taking effect.
    Agreed,
    /// Rejected, stalled, collapsed.
    Refused,
    /// None fits, or not a negotiation.
    #[default]
    None,
}

/// A stage in the terms of the event codes that researchers use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Plover {
    /// PLOVER event type.
    pub event_type: &'static str,
    /// The CAMEO code it comes from.
    pub cameo: &'static str,
}

impl Stage {
    /// Its name, as lines and labelled files write it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Planned => "planned",
            Self::Held => "held",
            Self::Offer => "offer",
            Self::Agreed => "agreed",
            Self::Refused => "refused",
            Self::None => "none",
        }
    }

    /// The PLOVER event type and the CAMEO code of a stage; ARCHITECTURE.md has the table with the reasons.
    pub fn plover(self) -> Option<Plover> {
        let (event_type, cameo) = match self {
            Self::Planned => ("AGREE", "036"),
            Self::Held => ("CONSULT", "046"),
            Self::Offer => ("AGREE", "03"),
            Self::Agreed => ("SUPPORT", "057"),
            Self::Refused => ("REJECT", "125"),
            Self::None => return None,
        };
        Some(Plover { event_type, cameo })
    }
}

/// A stage and how sure the model is of it (0–1, given that the item is a negotiation).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StageGuess {
    /// The most probable stage.
    pub label: Stage,
    /// Its probability, 0–1.
    pub confidence: f32,
}

/// A span of the item's own text and how much of the score rests on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reason {
    /// The words, as they stand in title or summary.
    pub text: String,
    /// How far the score falls without them, 0–1.
    pub weight: f32,
}

/// What the classifier says of an item.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Probabilities of the three grades; they sum to 1.
    pub grade: GradeProbs,
    /// Most probable stage of the negotiation.
    pub stage: StageGuess,
    /// Two or three spans; filled for alerts only.
    pub reasons: Vec<Reason>,
    /// What the text is about, if the scorer has a sense of it: texts on one event lie close together.
    pub embedding: Option<Embedding>,
}

impl Verdict {
    /// The calibrated probability that the item is about a negotiation: what the threshold is compared with.
    pub fn score(&self) -> f32 {
        self.grade.negotiation
    }
}
