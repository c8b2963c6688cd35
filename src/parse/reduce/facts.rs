//! What a document says about the feed itself and about polling it.

use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use chrono::Timelike as _;

use crate::item::{Format, PollHints};
use crate::parse::dates;
use crate::parse::vocabulary::Role;

/// Facts about a feed.
#[derive(Debug, Default)]
pub struct Facts {
    /// The family of formats; none if no element of any feed format was met.
    pub format: Option<Format>,
    /// The site's page as written.
    pub site: Option<String>,
    /// The document's own address.
    pub self_url: Option<String>,
    /// WebSub hub.
    pub hub: Option<String>,
    /// RFC 5005: the previous archive document or the next page.
    pub older: Option<String>,
    /// When to poll.
    pub hints: PollHints,
    /// The feed's language as declared.
    pub language: Option<String>,
    /// Entries that were not kept because there are too many.
    pub dropped: usize,
    /// Frequency of the syndication module: updates in a period.
    frequency: Option<u32>,
    period: Option<u32>,
}

impl Facts {
    /// The first element of a feed format decides.
    pub fn set_format(&mut self, role: Role, name: &str) {
        let format = match role {
            Role::Rdf => Format::Rss1,
            Role::Feed => Format::Atom,
            Role::Item if name.ends_with("entry") => Format::Atom,
            Role::Channel => Format::Cdf,
            _ => Format::Rss2,
        };
        self.format.get_or_insert(format);
    }

    /// The first address of the site counts.
    pub fn offer_site(&mut self, link: Option<String>) {
        if self.site.is_none() {
            self.site = link;
        }
    }

    /// An Atom link of the feed.
    pub fn offer_link(&mut self, rel: &str, kind: &str, link: Option<String>) {
        let slot = match rel {
            "alternate" if kind.is_empty() || kind.contains("html") => &mut self.site,
            "self" => &mut self.self_url,
            "hub" => &mut self.hub,
            "prev-archive" => return self.older = link.or(self.older.take()), // better than a next page
            "next" => &mut self.older,
            _ => return,
        };
        if slot.is_none() {
            *slot = link;
        }
    }

    /// A field of the feed that is neither title nor link.
    pub fn fill(&mut self, role: Role, text: &str) {
        match role {
            Role::Language if !text.is_empty() => self.language = Some(text.to_owned()),
            Role::Ttl => self.hints.ttl_min = text.parse().ok().filter(|&minutes| minutes > 0),
            Role::SkipHour => {
                self.hints.skip_hours |= text.parse().ok().filter(|&h: &u32| h <= 24).map_or(0, |h| 1 << (h % 24))
            }
            Role::SkipDay => self.hints.skip_days |= day_bit(text),
            Role::SyPeriod => self.period = period(text),
            Role::SyFrequency => self.frequency = text.parse().ok().filter(|&times| times > 0),
            Role::SyBase => {
                self.hints.sy_base =
                    dates::parse(text).and_then(|time| time.with_nanosecond(0)).map(|time| time.timestamp());
            }
            _ => return,
        }
        self.hints.sy_period_s = self.period.map(|period| period / self.frequency.unwrap_or(1).min(period));
    }
}

/// Length of a period of the syndication module, in seconds.
fn period(name: &str) -> Option<u32> {
    const HOUR: u32 = 3_600;
    match name.to_ascii_lowercase().as_str() {
        "hourly" => Some(HOUR),
        "daily" => Some(24 * HOUR),
        "weekly" => Some(7 * 24 * HOUR),
        "monthly" => Some(30 * 24 * HOUR),
        "yearly" => Some(365 * 24 * HOUR),
        _ => None,
    }
}

fn day_bit(name: &str) -> u8 {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    let name = name.to_ascii_lowercase();
    DAYS.iter().position(|day| name.starts_with(day)).map_or(0, |day| 1 << day)
}

/// Text that Atom 0.3 carries as Base64; as it stands if it is none.
pub fn from_base64(text: &str) -> String {
    let lenient = GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
    let engine = GeneralPurpose::new(&base64::alphabet::STANDARD, lenient);
    let compact: String = text.split_whitespace().collect();
    let decoded = engine.decode(compact).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    decoded.unwrap_or_else(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polling_hints_add_up() {
        let mut facts = Facts::default();
        for (role, text) in [
            (Role::Ttl, "30"),
            (Role::SkipHour, "0"),
            (Role::SkipHour, "23"),
            (Role::SkipHour, "24"),
            (Role::SkipHour, "99"),
            (Role::SkipDay, "Sunday"),
            (Role::SyPeriod, "daily"),
            (Role::SyFrequency, "4"),
            (Role::SyBase, "1970-01-01T00:01+00:00"),
        ] {
            facts.fill(role, text);
        }
        let hints = PollHints {
            ttl_min: Some(30),
            sy_period_s: Some(21_600),
            sy_base: Some(60),
            skip_hours: 1 | 1 << 23,
            skip_days: 1 << 6,
        };
        assert_eq!(facts.hints, hints);
    }

    #[test]
    fn a_previous_archive_beats_a_next_page() {
        let mut facts = Facts::default();
        facts.offer_link("prev-archive", "", Some("archive".into()));
        facts.offer_link("next", "", Some("page".into()));
        assert_eq!(facts.older.as_deref(), Some("archive"));
    }
}
