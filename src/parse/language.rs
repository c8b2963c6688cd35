//! The language of an entry: as declared, else as its words show. Pure.

use whatlang::{Detector, Info, Lang, Script};

use crate::item::Entry;

/// Most characters of an entry looked at. Detection costs some 0.1 ms, as much as all the rest of reading an entry.
const LOOK_AT: usize = 200;

/// Fewest letters that a language is told from. Shorter headlines are guessed wrong too often.
const FEWEST_LETTERS: usize = 24;

/// How many entries of a document are looked at first. If these agree, the others of the same script go with them.
const SAMPLE: usize = 6;

/// Languages that most Latin feeds are in: whether an entry goes with its document's first is asked of these and the first
/// alone, which takes a fifth of the time of asking all forty-odd. An entry in yet another language is liker to one of these
/// than to the first, and then all entries are looked at one by one.
const COMMON: [Lang; 8] = [Lang::Eng, Lang::Spa, Lang::Fra, Lang::Deu, Lang::Por, Lang::Ita, Lang::Nld, Lang::Swe];

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
    let mut sample = missing.iter().step_by(step).map(|(_, entry)| &**entry);
    let first = sample.find_map(detected);
    let common = first.filter(|&first| sample.all(|other| goes_with(first, other)));
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
    let info = is_long_enough(&words).then(|| whatlang::detect(&words)).flatten();
    info.filter(Info::is_reliable).map(|info| info.lang())
}

fn is_long_enough(words: &str) -> bool {
    words.chars().filter(|c| c.is_alphabetic()).count() >= FEWEST_LETTERS
}

/// Whether the entry's words show no other language than `first`.
fn goes_with(first: Lang, entry: &Entry) -> bool {
    let words = words(entry);
    if whatlang::detect_script(&words) != Some(Script::Latin) {
        return detected(entry).is_none_or(|lang| lang == first);
    }
    let detector = Detector::with_allowlist(COMMON.into_iter().chain([first]).collect());
    is_long_enough(&words).then(|| detector.detect(&words)).flatten().is_none_or(|info| info.lang() == first)
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
    fn an_entry_in_a_rare_language_does_not_go_with_english() {
        let others = [
            ("pl", "Ministrowie spraw zagranicznych obu krajów spotkali się w Genewie i uzgodnili dalsze rozmowy"),
            ("cs", "Ministři zahraničí obou zemí se sešli v Ženevě a dohodli se na pokračování rozhovorů"),
            ("tr", "İki ülkenin dışişleri bakanları Cenevre'de bir araya geldi ve görüşmelere devam etme kararı aldı"),
            (
                "id",
                "Menteri luar negeri kedua negara bertemu di Jenewa dan sepakat untuk melanjutkan pembicaraan mereka",
            ),
            (
                "ro",
                "Miniștrii de externe ai celor două țări s-au întâlnit la Geneva și au convenit să continue discuțiile",
            ),
            ("hu", "A két ország külügyminiszterei Genfben találkoztak, és megállapodtak a tárgyalások folytatásában"),
            ("fi", "Molempien maiden ulkoministerit tapasivat Genevessä ja sopivat jatkavansa neuvottelujaan"),
            ("vi", "Ngoại trưởng hai nước đã gặp nhau tại Geneva và nhất trí tiếp tục các cuộc đàm phán"),
            ("sv", "Utrikesministrarna från båda länderna möttes i Genève och enades om att fortsätta samtalen"),
            ("nl", "De ministers van Buitenlandse Zaken van beide landen kwamen bijeen in Genève en spraken verder"),
        ];
        for (code, title) in others {
            let entry = Entry { title: title.into(), ..Entry::default() };
            assert!(!goes_with(Lang::Eng, &entry), "{code}");
            let mut titles = [ENGLISH; 12];
            titles[2] = title;
            let found = detected_of(&titles)[2].clone();
            assert!(found.as_deref().is_none_or(|found| found == code), "{code}: {found:?}");
        }
        let entry = Entry { title: ENGLISH.into(), ..Entry::default() };
        assert!(goes_with(Lang::Eng, &entry));
    }

    #[test]
    fn every_subtag_has_two_letters() {
        assert!(Lang::all().iter().all(|lang| subtag(*lang).len() == 2));
    }
}
