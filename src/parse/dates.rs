//! Dates as feeds write them: RFC 822 and RFC 3339 with every bend seen in the wild, Unix times, JavaScript's
//! `Date.toString`, asctime, month names in the main languages. Pure; no clock.
//!
//! A date is read in three cuts: the time of day is found by its colon, the zone behind it, and what is left (numbers and
//! a month's name, in any order that can be told) is the day.

mod names;

use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, NaiveTime, Utc};

/// Longest text looked at, in characters. Real dates stay under 60; a longer one is prose.
const MAX_CHARS: usize = 100;

/// Years taken for real. Earlier ones are a program's "no date" (0001-01-01), later ones a mistyped field.
const YEARS: std::ops::RangeInclusive<i32> = 1900..=2200;

/// Reads a date in any form feeds are known to use; a missing zone means UTC, a missing time midnight.
pub fn parse(text: &str) -> Option<DateTime<Utc>> {
    let text: String = text.trim().chars().take(MAX_CHARS).flat_map(char::to_lowercase).collect();
    let text = unpacked(&text).unwrap_or(text);
    if let Some(time) = unix(&text) {
        return Some(time);
    }
    let clock = Clock::find(&text);
    let (head, tail) = match &clock {
        Some(clock) => (&text[..clock.start], &text[clock.end..]),
        None => (text.as_str(), ""),
    };
    let (offset, tail) = split_zone(tail);
    let tokens = Tokens::of(head, &tail);
    let day = tokens.day(head.ends_with('t'))?;
    let time = clock.map_or(Some(NaiveDateTime::from(day)), |clock| clock.on(day, tokens.afternoon))?;
    let offset = offset.unwrap_or(if tokens.korean { 9 * 60 } else { 0 });
    let utc = time.checked_sub_signed(Duration::minutes(offset.into()))?.and_utc();
    YEARS.contains(&utc.year()).then_some(utc)
}

/// `20181006101500` and `201810061015` with the `t` they lack. Twelve digits could be milliseconds too, of the seventies.
fn unpacked(text: &str) -> Option<String> {
    let is_packed = matches!(text.len(), 12 | 14) && is_digits(text) && matches!(&text[..2], "19" | "20");
    let is_day = is_packed && matches!(text[4..6].parse(), Ok(1..=12)) && matches!(text[6..8].parse(), Ok(1..=31));
    is_day.then(|| format!("{}t{}", &text[..8], &text[8..]))
}

/// Seconds, milliseconds or microseconds since 1970, told apart by their number of digits.
fn unix(text: &str) -> Option<DateTime<Utc>> {
    let whole = text.split_once('.').map_or(text, |(whole, fraction)| if is_digits(fraction) { whole } else { text });
    if !is_digits(whole) {
        return None;
    }
    let number: i64 = whole.parse().ok()?;
    let time = match whole.len() {
        9 | 10 => DateTime::from_timestamp(number, 0),
        12 | 13 => DateTime::from_timestamp_millis(number),
        15 | 16 => DateTime::from_timestamp_micros(number),
        _ => None,
    };
    time.filter(|time| YEARS.contains(&time.year()))
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

/// The time of day and where it stands in the text.
struct Clock {
    hour: u32,
    minute: u32,
    second: u32,
    nanos: u32,
    start: usize,
    end: usize,
}

impl Clock {
    /// `h:mm`, `hh:mm:ss`, `hh:mm:ss.fraction`; `hh`, `hhmm` and `hhmmss` behind a `t`.
    fn find(text: &str) -> Option<Self> {
        Self::with_colon(text).or_else(|| Self::compact(text))
    }

    fn with_colon(text: &str) -> Option<Self> {
        let colon = text.match_indices(':').map(|(at, _)| at).find(|&at| {
            text[..at].ends_with(|c: char| c.is_ascii_digit())
                && text[at + 1..].starts_with(|c: char| c.is_ascii_digit())
                && !is_offset(text, at)
        })?;
        let start = colon - text[..colon].bytes().rev().take(2).take_while(u8::is_ascii_digit).count();
        let (hour, mut end) = (text[start..colon].parse().ok()?, colon);
        let mut field = |sign: &[char]| {
            let rest = text[end..].strip_prefix(sign)?;
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            (digits > 0).then(|| {
                end += 1 + digits;
                &rest[..digits]
            })
        };
        let minute = field(&[':'])?.parse().ok()?;
        let second = field(&[':']).map_or(Some(0), |second| second.parse().ok())?;
        let nanos = field(&['.', ',']).map_or(0, nanos_of);
        Some(Self { hour, minute, second, nanos, start, end })
    }

    /// `20181006t101500`
    fn compact(text: &str) -> Option<Self> {
        let at = text.find('t').filter(|&at| text[..at].ends_with(|c: char| c.is_ascii_digit()))?;
        let digits = text[at + 1..].bytes().take_while(u8::is_ascii_digit).count();
        let field = |from: usize| match digits > from {
            true => text.get(at + 1 + from..at + 3 + from)?.parse::<u32>().ok(),
            false => Some(0),
        };
        let (hour, minute, second) = (field(0)?, field(2)?, field(4)?);
        let clock = Self { hour, minute, second, nanos: 0, start: at + 1, end: at + 1 + digits };
        matches!(digits, 2 | 4 | 6).then_some(clock)
    }

    /// This time on `day`. 24:00 is the next midnight; a leap second counts as the second before.
    fn on(&self, day: NaiveDate, afternoon: Option<bool>) -> Option<NaiveDateTime> {
        let hour = match (afternoon, self.hour) {
            (Some(true), 1..=11) => self.hour + 12,
            (Some(false), 12) => 0,
            (_, hour) => hour,
        };
        let (day, hour) = if hour == 24 && self.minute == 0 { (day.succ_opt()?, 0) } else { (day, hour) };
        NaiveTime::from_hms_nano_opt(hour, self.minute, self.second.min(59), self.nanos)
            .filter(|_| self.second <= 61)
            .map(|time| day.and_time(time))
    }
}

/// Whether the colon at `colon` is that of an offset right behind a day (`2018-10-06+05:30`), which has no seconds.
fn is_offset(text: &str, colon: usize) -> bool {
    let start = colon - text[..colon].bytes().rev().take_while(u8::is_ascii_digit).count();
    let minutes = text[colon + 1..].bytes().take_while(u8::is_ascii_digit).count();
    text[..start].ends_with(['+', '-']) && !text[colon + 1 + minutes..].starts_with(':')
}

fn nanos_of(fraction: &str) -> u32 {
    fraction.bytes().chain(std::iter::repeat(b'0')).take(9).fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0'))
}

/// The offset from UTC in minutes that the text behind the time names, and that text without it. A number wins over a
/// name (`GMT+0200 (EET)`).
fn split_zone(tail: &str) -> (Option<i32>, String) {
    if let Some((offset, from, to)) = numeric_zone(tail) {
        return (Some(offset), format!("{} {}", &tail[..from], &tail[to..]));
    }
    let words = tail.split(|c: char| !c.is_alphabetic());
    let alone = tail.trim().chars().count() == 1; // "z", but not the "m" of "p.m."
    let named = words.filter(|word| word.len() > 1 || alone).find_map(names::zone);
    (named, tail.to_owned())
}

/// `+02:00`, `-0500`, `+2`, `+530` and where it stands.
fn numeric_zone(tail: &str) -> Option<(i32, usize, usize)> {
    let tail_bytes = tail.as_bytes();
    let at = tail.char_indices().map(|(at, _)| at).find(|&at| {
        let free = at == 0 || !tail_bytes[at - 1].is_ascii_digit();
        free && sign_at(tail, at).is_some() && tail[at + sign_len(tail, at)..].starts_with(|c: char| c.is_ascii_digit())
    })?;
    let from = at + sign_len(tail, at);
    let digits = |from: usize| tail[from..].bytes().take_while(u8::is_ascii_digit).count();
    let count = digits(from);
    let (hours, minutes, to) = if count <= 2 && tail[from + count..].starts_with(':') {
        let to = from + count + 1 + digits(from + count + 1).min(2);
        (&tail[from..from + count], &tail[from + count + 1..to], to)
    } else {
        let split = from + if count > 2 { count - 2 } else { count };
        (&tail[from..split], &tail[split..from + count], from + count)
    };
    let hours: i32 = hours.parse().ok()?;
    let minutes: i32 = if minutes.is_empty() { 0 } else { minutes.parse().ok()? };
    let is_sound = (0..=15).contains(&hours) && (0..60).contains(&minutes);
    is_sound.then(|| Some((sign_at(tail, at)? * (hours * 60 + minutes), at, to)))?
}

fn sign_at(text: &str, at: usize) -> Option<i32> {
    match text[at..].chars().next()? {
        '+' => Some(1),
        '-' | '\u{2212}' | '\u{2013}' => Some(-1),
        _ => None,
    }
}

fn sign_len(text: &str, at: usize) -> usize {
    text[at..].chars().next().map_or(0, char::len_utf8)
}

/// Numbers and names of the day part.
#[derive(Default)]
struct Tokens {
    /// Value, number of digits, the character before it (a separator).
    numbers: Vec<(u32, usize, char)>,
    /// The last word that names a month, and how many numbers stood before it. The last, because a weekday can look like
    /// a month ("mar, 12 mar 2024").
    month: Option<(u32, usize)>,
    afternoon: Option<bool>,
    korean: bool,
}

impl Tokens {
    fn of(head: &str, tail: &str) -> Self {
        let mut tokens = Self::default();
        for (part, text) in [head, tail].into_iter().enumerate() {
            let mut rest = text;
            let mut before = ' ';
            while let Some(first) = rest.chars().next() {
                let length = run(rest, first);
                tokens.take(&rest[..length], before, part == 1);
                before = first;
                rest = &rest[length..];
            }
        }
        tokens
    }

    fn take(&mut self, token: &str, before: char, in_tail: bool) {
        if is_digits(token) {
            if let Ok(value) = token.parse() {
                self.numbers.push((value, token.len(), before));
            }
        } else if let Some(afternoon) = names::afternoon(token) {
            self.afternoon = Some(afternoon);
            self.korean |= token.starts_with('오');
        } else if token == "년" {
            self.korean = true;
        } else if !(in_tail && self.month.is_some())
            && let Some(month) = names::month(token)
        {
            self.month = Some((month, self.numbers.len()));
        }
    }

    /// The day, from whatever order its parts stand in. `iso` says that a `T` follows.
    fn day(&self, iso: bool) -> Option<NaiveDate> {
        match (self.month, self.numbers.as_slice()) {
            (Some((month, _)), [first, second, ..]) => day_around_month(month, *first, *second),
            (Some(_), _) => None,
            (None, [(number, length, _)]) => one_number(*number, *length),
            (None, [(year, 4, _), (ordinal, 3, _)]) => NaiveDate::from_yo_opt(i32::try_from(*year).ok()?, *ordinal),
            (None, [(year, 4, _), (month, 1..=2, _)]) => date(*year, *month, 1),
            (None, [first, second, third, ..]) => three_numbers(*first, *second, *third, iso),
            (None, _) => None,
        }
    }
}

/// Length of the run of characters of one kind that `text` begins with: digits, letters (with inner dots: `p.m.`), or one
/// separator.
fn run(text: &str, first: char) -> usize {
    let end = |same: fn(char) -> bool| text.find(|c| !same(c)).unwrap_or(text.len());
    if first.is_ascii_digit() {
        end(|c| c.is_ascii_digit())
    } else if text.starts_with("p.m") || text.starts_with("a.m") {
        end(|c| matches!(c, 'p' | 'a' | 'm' | '.'))
    } else if is_letter(first) {
        end(is_letter)
    } else {
        first.len_utf8()
    }
}

/// A letter or a mark on one (Indic vowel signs are no letters to Unicode).
fn is_letter(c: char) -> bool {
    c.is_alphabetic() || matches!(c, '\u{300}'..='\u{36f}' | '\u{900}'..='\u{97f}')
}

/// `6 Oct 2018`, `Oct 6 2018`, `2018 Oct 6`, two-digit years.
fn day_around_month(month: u32, first: (u32, usize, char), second: (u32, usize, char)) -> Option<NaiveDate> {
    let (day, year) = if first.1 >= 3 { (second, first) } else { (first, second) };
    date(full_year(year.0, year.1), month, day.0)
}

/// `20181006`, `2018279` (day of the year), `2018`, `181006`, `20181006101500`.
fn one_number(number: u32, length: usize) -> Option<NaiveDate> {
    match length {
        4 => date(number, 1, 1),
        6 => date(full_year(number / 10_000, 2), number / 100 % 100, number % 100),
        7 => NaiveDate::from_yo_opt(i32::try_from(number / 1_000).ok()?, number % 1_000),
        8 => date(number / 10_000, number / 100 % 100, number % 100),
        _ => None,
    }
}

/// Year first when it has four digits, a `T` follows, or dashes stand between two-digit parts (ISO 8601); else day and
/// month: `/` is read the American way unless that cannot be, `.` and blanks the European way.
fn three_numbers(
    first: (u32, usize, char),
    second: (u32, usize, char),
    third: (u32, usize, char),
    iso: bool,
) -> Option<NaiveDate> {
    if first.1 == 4 {
        return date(first.0, second.0, third.0);
    }
    let dashed = second.2 == '-' && third.2 == '-';
    if third.1 <= 2 && (iso || dashed) {
        return date(full_year(first.0, first.1), second.0, third.0);
    }
    let year = full_year(third.0, third.1);
    let (american, european) = (date(year, first.0, second.0), date(year, second.0, first.0));
    if second.2 == '/' { american.or(european) } else { european.or(american) }
}

/// A day that its month lacks (30 February) runs over into the next month, as in C's `mktime`.
fn date(year: u32, month: u32, day: u32) -> Option<NaiveDate> {
    let first = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, 1)?;
    let day = (1..=31).contains(&day).then(|| day - 1)?;
    first.checked_add_days(chrono::Days::new(day.into()))
}

/// Two digits below 90 are of this century, as in most feed readers; three are years since 1900 (a Perl slip).
fn full_year(year: u32, digits: usize) -> u32 {
    match digits {
        1 | 2 if year < 90 => 2000 + year,
        1..=3 => 1900 + year,
        _ => year,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        parse(text).map_or_else(|| "none".into(), |time| time.format("%Y-%m-%dT%H:%M:%S").to_string())
    }

    #[test]
    fn reads_rfc_822_and_its_bends() {
        for text in [
            "Sat, 06 Oct 2018 08:15:02 GMT",
            "Sat, 6 Oct 2018 8:15:02 +0000",
            "Saturday, 06 October 2018 08:15:02 UT",
            "Mon, 06 Oct 2018 08:15:02",
            "06 Oct 18 08:15:02 Z",
            "Sat, Oct 6 2018 08:15:02 GMT",
            "Sat, 06-Oct-2018 08:15:02 GMT",
            "October 6th, 2018 at 8:15:02 am",
            "Sat Oct  6 08:15:02 2018",
            "Sat Oct  6 04:15:02 EDT 2018",
            "Sat Oct 06 10:15:02 +0200 2018",
            "Sat Oct 06 2018 10:15:02 GMT+0200 (Central European Summer Time)",
            "Sat, 06 Oct 2018 09:15:02 BST",
            "Sat, 06 Oct 2018 13:45:02 IST",
            "Sat, 06 Oct 2018 19:15:02 AEDT",
            "Sat, 06 Oct 2018 10:15:02 Etc/GMT+2",
            "Sat, 06 Oct 118 08:15:02 GMT",
        ] {
            assert_eq!(shown(text), "2018-10-06T08:15:02", "{text}");
        }
    }

    #[test]
    fn reads_iso_and_its_bends() {
        for text in [
            "2018-10-06T08:15:02Z",
            "2018-10-06T08:15:02.5Z",
            "2018-10-06 08:15:02",
            "2018-10-06T10:15:02+02:00",
            "2018-10-06T10:15:02+0200",
            "2018-10-06 10:15:02 +02",
            "2018-10-06T04:45:02-03:30",
            "2018/10/06 08:15:02",
            "2018.10.06 08:15:02",
            "20181006T081502Z",
            "20181006081502",
            "20181006T08:15:02Z",
            "2018-279T08:15:02Z",
            "2018279T08:15:02Z",
            "18-10-06T08:15:02Z",
            "2018-10-06T08:15:02Z[UTC]",
        ] {
            assert_eq!(shown(text), "2018-10-06T08:15:02", "{text}");
        }
        for text in ["2018-10-06T08:15Z", "201810060815"] {
            assert_eq!(shown(text), "2018-10-06T08:15:00", "{text}");
        }
        for text in ["2018-10-06T08Z", "2018-10-06T10+02:00"] {
            assert_eq!(shown(text), "2018-10-06T08:00:00", "{text}");
        }
    }

    #[test]
    fn reads_days_without_time() {
        for (text, day) in [
            ("2018", "2018-01-01"),
            ("2018-10", "2018-10-01"),
            ("20181006", "2018-10-06"),
            ("181006", "2018-10-06"),
            ("06 Oct 2018", "2018-10-06"),
            ("10/06/2018", "2018-10-06"),
            ("23/06/2018", "2018-06-23"),
            ("06.10.2018", "2018-10-06"),
            ("18-10-06", "2018-10-06"),
            ("2018-10-06+05:30", "2018-10-06"),
            ("2018-10-06-05:00", "2018-10-06"),
            ("2018-09-31", "2018-10-01"),
        ] {
            assert_eq!(shown(text), format!("{day}T00:00:00"), "{text}");
        }
    }

    #[test]
    fn reads_unix_times() {
        for text in ["1538813702", "1538813702.25", "1538813702000", "1538813702000000"] {
            assert_eq!(shown(text), "2018-10-06T08:15:02", "{text}");
        }
    }

    #[test]
    fn reads_the_twelve_hour_clock() {
        assert_eq!(shown("10/6/2018 12:05:00 AM"), "2018-10-06T00:05:00");
        assert_eq!(shown("Oct 6, 2018, 8:15 p.m. EST"), "2018-10-07T01:15:00");
        assert_eq!(shown("2018-10-06 오후 8:15:00"), "2018-10-06T11:15:00");
    }

    #[test]
    fn reads_months_in_other_languages() {
        for text in [
            "sam., 06 oct. 2018 08:15:02 +0000",
            "06 octobre 2018 08:15:02",
            "Sa, 06 Okt 2018 08:15:02 GMT",
            "сб, 06 окт 2018 11:15:02 MSK",
            "6 października 2018 08:15:02",
            "06 Ekim 2018 11:15:02 TRT",
            "sáb, 06 out 2018 05:15:02 -0300",
            "06 أكتوبر 2018 08:15:02",
            "2018년 10월 06일 17:15:02",
            "2018年10月6日 08:15:02",
            "Σαβ, 06 Οκτ 2018 08:15:02 GMT",
            "2018-október-06T08:15:02Z",
        ] {
            assert_eq!(shown(text), "2018-10-06T08:15:02", "{text}");
        }
        assert_eq!(shown("mar, 13 mar 2018 08:00:00 GMT"), "2018-03-13T08:00:00");
        assert_eq!(shown("mar. 3 juil. 2018 08:00:00 GMT"), "2018-07-03T08:00:00");
    }

    #[test]
    fn refuses_what_is_no_date() {
        for text in [
            "",
            "yesterday",
            "06",
            "0001-01-01T00:00:00Z",
            "2018-13-45",
            "35 Feb 2018",
            "12:30",
            "99:99 Oct",
            ":",
            "1:é",
            "9:30:00 +202495446030",
            "9504600046151",
        ] {
            assert_eq!(shown(text), "none", "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,60}") {
            let _ = parse(&text);
        }

        #[test]
        fn never_panics_on_near_dates(text in "[0-9]{0,5}[-/:. tT+]{0,2}[0-9janokMAR:+-]{0,12}[ ,é]{0,2}[0-9:+zGMT.-]{0,14}") {
            let _ = parse(&text);
        }

        #[test]
        fn reads_back_what_chrono_writes(seconds in 0i64..4_000_000_000) {
            let time = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
            proptest::prop_assert_eq!(parse(&time.to_rfc3339()), Some(time));
            proptest::prop_assert_eq!(parse(&time.to_rfc2822()), Some(time));
        }
    }
}
