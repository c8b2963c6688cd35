//! The language of an entry: as declared, else as its words show. Pure.

use whatlang::{Info, Lang};

use crate::item::Entry;

/// Most characters of an entry looked at. Detection costs some 0.1 ms, as much as all the rest of reading an entry.
const LOOK_AT: usize = 200;

/// Fewest letters that a language is told from. Shorter headlines are guessed wrong too often.
const FEWEST_LETTERS: usize = 24;

/// How many entries of a document are looked at first. If these agree, the others of the same script go with them.
const SAMPLE: usize = 6;

/// Most entries looked at one by one when the sample disagrees. Bounds the time for an archive in many languages.
const MAX_SINGLE: usize = 1_000;

/// The primary subtag of a declared language tag (`en-US`, `EN_us`, `eng`), if it can be one.
pub fn declared(tag: &str) -> Option<String> {
    let primary = tag.trim().split(['-', '_', ',', ';', ' ']).next()?.to_ascii_lowercase();
    let is_subtag = matches!(primary.len(), 2 | 3) && primary.bytes().all(|byte| byte.is_ascii_lowercase());
    let two = || Lang::from_code(primary.as_str()).map(|lang| subtag(lang).to_owned());
    match primary.as_str() {
        "und" | "zxx" | "mul" => None,
        _ if !is_subtag => None,
        _ if primary.len() == 3 => Some(two().unwrap_or(primary)),
        _ => Some(primary),
    }
}

/// Fills in the language of entries that declare none, where the words show it surely; of those alone that are `wanted`, by
/// their place.
///
/// Most feeds keep to one language, so a few entries spread over the document speak for the rest; a feed in several
/// languages is looked at entry by entry.
pub fn detect_missing(entries: &mut [Entry], wanted: impl Fn(usize) -> bool) {
    let all = entries.iter_mut().enumerate().filter(|(_, entry)| entry.language.is_none());
    let missing: Vec<(usize, &mut Entry)> = all.collect();
    if !missing.iter().any(|(place, _)| wanted(*place)) {
        return;
    }
    let step = (missing.len() / SAMPLE).max(1);
    let mut sample = missing.iter().step_by(step).filter_map(|(_, entry)| detected(entry));
    let first = sample.next();
    let common = if sample.all(|other| Some(other) == first) { first } else { None };
    for (n, (_, entry)) in missing.into_iter().enumerate().filter(|(_, (place, _))| wanted(*place)) {
        entry.language = match common {
            Some(lang)
                if whatlang::detect_script(&words(entry)).is_some_and(|script| script.langs().contains(&lang)) =>
            {
                common
            }
            None if n >= MAX_SINGLE => None,
            _ => detected(entry),
        }
        .map(|lang| subtag(lang).to_owned());
    }
}

/// The language that an entry's words show, where that is sure.
fn detected(entry: &Entry) -> Option<Lang> {
    let words = words(entry);
    if words.chars().filter(|c| c.is_alphabetic()).count() < FEWEST_LETTERS {
        return None;
    }
    whatlang::detect(&words).filter(Info::is_reliable).map(|info| info.lang())
}

fn words(entry: &Entry) -> String {
    entry.title.chars().chain([' ']).chain(entry.summary.chars()).take(LOOK_AT).collect()
}

/// ISO 639-1 where there is one; the library speaks ISO 639-3.
fn subtag(lang: Lang) -> &'static str {
    let code = lang.code();
    SUBTAGS.iter().find(|(three, _)| *three == code).map_or(code, |(_, two)| two)
}

const SUBTAGS: &[(&str, &str)] = &[
    ("epo", "eo"),
    ("eng", "en"),
    ("rus", "ru"),
    ("cmn", "zh"),
    ("spa", "es"),
    ("por", "pt"),
    ("ita", "it"),
    ("ben", "bn"),
    ("fra", "fr"),
    ("deu", "de"),
    ("ukr", "uk"),
    ("kat", "ka"),
    ("ara", "ar"),
    ("hin", "hi"),
    ("jpn", "ja"),
    ("heb", "he"),
    ("yid", "yi"),
    ("pol", "pl"),
    ("amh", "am"),
    ("jav", "jv"),
    ("kor", "ko"),
    ("nob", "nb"),
    ("dan", "da"),
    ("swe", "sv"),
    ("fin", "fi"),
    ("tur", "tr"),
    ("nld", "nl"),
    ("hun", "hu"),
    ("ces", "cs"),
    ("ell", "el"),
    ("bul", "bg"),
    ("bel", "be"),
    ("mar", "mr"),
    ("kan", "kn"),
    ("ron", "ro"),
    ("slv", "sl"),
    ("hrv", "hr"),
    ("srp", "sr"),
    ("mkd", "mk"),
    ("lit", "lt"),
    ("lav", "lv"),
    ("est", "et"),
    ("tam", "ta"),
    ("vie", "vi"),
    ("urd", "ur"),
    ("tha", "th"),
    ("guj", "gu"),
    ("uzb", "uz"),
    ("pan", "pa"),
    ("aze", "az"),
    ("ind", "id"),
    ("tel", "te"),
    ("pes", "fa"),
    ("mal", "ml"),
    ("ori", "or"),
    ("mya", "my"),
    ("nep", "ne"),
    ("sin", "si"),
    ("khm", "km"),
    ("tuk", "tk"),
    ("aka", "ak"),
    ("zul", "zu"),
    ("sna", "sn"),
    ("afr", "af"),
    ("lat", "la"),
    ("slk", "sk"),
    ("cat", "ca"),
    ("tgl", "tl"),
    ("hye", "hy"),
    ("cym", "cy"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_primary_subtag() {
        let cases =
            [("en-US", Some("en")), ("PT_br", Some("pt")), ("eng", Some("en")), ("", None), ("und", None), ("x", None)];
        for (tag, expected) in cases {
            assert_eq!(declared(tag).as_deref(), expected, "{tag}");
        }
    }

    fn detected_of(titles: &[&str]) -> Vec<Option<String>> {
        let mut entries: Vec<Entry> =
            titles.iter().map(|title| Entry { title: (*title).into(), ..Entry::default() }).collect();
        detect_missing(&mut entries, |_| true);
        entries.into_iter().map(|entry| entry.language).collect()
    }

    const ENGLISH: &str = "Foreign ministers of both countries met in Geneva and agreed to go on with their talks";
    const GERMAN: &str = "Die Außenminister beider Länder trafen sich in Genf und vereinbarten weitere Gespräche";
    const RUSSIAN: &str =
        "Министры иностранных дел двух стран встретились в Женеве и договорились продолжить переговоры";

    #[test]
    fn detects_only_what_is_sure() {
        assert_eq!(detected_of(&[RUSSIAN]), [Some("ru".to_owned())]);
        assert_eq!(detected_of(&["Oslo"]), [None]);
    }

    #[test]
    fn one_language_speaks_for_short_headlines_and_not_for_other_scripts() {
        let mut titles = [ENGLISH; 12];
        (titles[1], titles[3]) = ("Oslo talks", "日本と韓国の外相が東京で会談し、協議の継続で合意した");
        let languages = detected_of(&titles);
        let languages: Vec<_> = languages.iter().map(Option::as_deref).collect();
        assert_eq!(languages[1], Some("en"));
        assert_ne!(languages[3], Some("en"));
    }

    #[test]
    fn mixed_feeds_are_looked_at_entry_by_entry() {
        assert_eq!(
            detected_of(&[ENGLISH, GERMAN, RUSSIAN]),
            [Some("en".to_owned()), Some("de".into()), Some("ru".into())]
        );
    }

    #[test]
    fn every_subtag_has_two_letters() {
        assert!(Lang::all().iter().all(|lang| subtag(*lang).len() == 2));
    }
}
