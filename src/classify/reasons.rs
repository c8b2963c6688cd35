//! Which words a score rests on: take a phrase out, score again, and see how far the score falls.

use super::{ScoreError, Scored, Text, lead};
use crate::item::{GradeProbs, Reason};

/// Reasons given at most.
const REASONS: usize = 3;
/// Phrases tried at most: each costs one scoring, and the lead holds the point.
const PHRASES: usize = 24;
/// Words in one phrase at most. Longer ones name half the sentence and explain nothing.
const WORDS: usize = 4;
/// Bytes of the summary that are looked at.
const LEAD: usize = 600;
/// A fall below this is noise.
const LEAST: f32 = 0.005;
/// Words that end a phrase: a reason neither begins nor ends with one.
const STOP: &[&str] = &[
    "a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "from", "has", "have", "he", "her", "his", "in",
    "is", "it", "its", "of", "on", "or", "s", "said", "says", "she", "that", "the", "their", "they", "this", "to",
    "was", "were", "which", "who", "will", "with",
];

/// A phrase: whether it stands in the title, and its bytes there or in the summary.
pub type Span = (bool, (usize, usize));

/// Asks a scorer for the grades of texts.
pub type Grades<'a> = dyn FnMut(&[Text]) -> Result<Vec<GradeProbs>, ScoreError> + 'a;

/// The phrases of `text` that may carry its score.
pub fn spans(text: &Text) -> Vec<Span> {
    let title = phrases(&text.title).map(|span| (true, span));
    let summary = phrases(lead(&text.summary, LEAD)).map(|span| (false, span));
    title.chain(summary).take(PHRASES).collect()
}

/// The `most` of `spans` whose absence costs most by a quick scorer's word, in the order of the text.
pub fn promising(text: &Text, spans: Vec<Span>, most: usize, quick: &mut Grades<'_>) -> Result<Vec<Span>, ScoreError> {
    if spans.len() <= most {
        return Ok(spans);
    }
    let without: Vec<Text> = spans.iter().map(|&(title, span)| without(text, title, span)).collect();
    let mut ranked: Vec<(f32, Span)> = quick(&without)?.iter().map(|grade| grade.negotiation).zip(spans).collect();
    ranked.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut kept: Vec<Span> = ranked.into_iter().take(most).map(|(_, span)| span).collect();
    kept.sort_by_key(|&(title, span)| (!title, span));
    Ok(kept)
}

/// Scores each text without each of its `spans`, all of them together; for each text the spans whose absence costs most,
/// strongest first.
pub fn by_occlusion(
    scored: &[Scored],
    spans: Vec<Vec<Span>>,
    grades: &mut Grades<'_>,
) -> Result<Vec<Vec<Reason>>, ScoreError> {
    let pairs = || scored.iter().zip(&spans);
    let variants = pairs().flat_map(|(of, spans)| spans.iter().map(|&(title, span)| without(&of.text, title, span)));
    let mut left = grades(&variants.collect::<Vec<Text>>())?.into_iter().map(|grade| grade.negotiation);
    let drop = |(of, spans): (&Scored, &Vec<Span>)| {
        let reason = |(&(title, (start, end)), left): (&Span, f32)| {
            let source = if title { &of.text.title } else { &of.text.summary };
            Reason { text: source[start..end].to_string(), weight: (of.score - left).max(0.0) }
        };
        strongest(spans.iter().zip(left.by_ref()).map(reason).collect())
    };
    Ok(pairs().map(drop).collect())
}

/// The strongest few of `reasons`, none twice.
fn strongest(mut reasons: Vec<Reason>) -> Vec<Reason> {
    reasons.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    // The strongest stays however weak: an alert always says why.
    let mut kept = Vec::new();
    for reason in reasons {
        let new = !kept.iter().any(|k: &Reason| k.text.eq_ignore_ascii_case(&reason.text));
        if kept.len() < REASONS && new && (kept.is_empty() || reason.weight >= LEAST) {
            kept.push(reason);
        }
    }
    kept
}

/// `text` with the bytes `span` of title or summary taken out.
fn without(text: &Text, title: bool, (start, end): (usize, usize)) -> Text {
    let cut = |source: &str| format!("{}{}", &source[..start], &source[end..]);
    match title {
        true => Text { title: cut(&text.title), summary: text.summary.clone() },
        false => Text { title: text.title.clone(), summary: cut(&text.summary) },
    }
}

/// Runs of up to [`WORDS`] words between punctuation and stop words, as byte ranges.
fn phrases(text: &str) -> impl Iterator<Item = (usize, usize)> {
    let mut spans: Vec<(usize, usize)> = Vec::new();
    let mut run = 0; // words in the last span; 0 means that the next word begins a new one
    let mut last_end = 0;
    for (start, word) in words(text) {
        let glued = text[last_end..start].chars().all(|c| c == ' ' || c == '-');
        let stop = STOP.contains(&word.to_lowercase().as_str());
        if stop {
            run = 0;
        } else {
            match spans.last_mut() {
                Some(span) if run > 0 && run < WORDS && glued => (span.1, run) = (start + word.len(), run + 1),
                _ => (run, _) = (1, spans.push((start, start + word.len()))),
            }
        }
        last_end = start + word.len();
        if spans.len() > PHRASES {
            break;
        }
    }
    spans.into_iter()
}

/// Words with their byte offsets.
fn words(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.split(|c: char| !c.is_alphanumeric())
        .filter(|word| !word.is_empty())
        .map(move |word| (word.as_ptr() as usize - text.as_ptr() as usize, word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(text: &str) -> Vec<&str> {
        phrases(text).map(|(start, end)| &text[start..end]).collect()
    }

    /// Scores 0.9 while "truce talks" is there, else 0.2.
    fn truce(texts: &[Text]) -> Result<Vec<GradeProbs>, ScoreError> {
        let one = |t: &Text| if t.title.contains("truce talks") { [0.1, 0.0, 0.9] } else { [0.8, 0.0, 0.2] };
        Ok(texts.iter().map(one).map(GradeProbs::from_order).collect())
    }

    fn of<const N: usize>(texts: [Text; N]) -> Vec<Vec<Reason>> {
        let scored = texts.map(|text| {
            let score = truce(std::slice::from_ref(&text)).expect("scores")[0].negotiation;
            Scored { score, text }
        });
        by_occlusion(&scored, scored.iter().map(|scored| spans(&scored.text)).collect(), &mut truce).expect("explains")
    }

    fn of_one(text: Text) -> Vec<Reason> {
        of([text]).remove(0)
    }

    #[test]
    fn phrases_end_at_stop_words_and_punctuation() {
        assert_eq!(
            found("Envoys meet in Doha, as cease-fire talks resume"),
            ["Envoys meet", "Doha", "cease-fire talks resume"]
        );
        assert_eq!(found(""), Vec::<&str>::new());
        assert_eq!(found("\u{1F600} - !"), Vec::<&str>::new());
    }

    #[test]
    fn the_words_that_carry_the_score_come_first() {
        let reasons = of_one(Text::new("Rivals hold truce talks in the capital", ""));
        assert_eq!(reasons[0].text, "Rivals hold truce talks");
        assert!((reasons[0].weight - 0.7).abs() < 1e-6);
        assert_eq!(reasons.len(), 1, "the rest moves nothing");
    }

    #[test]
    fn each_of_several_texts_gets_its_own_reasons() {
        let titles = ["Rivals hold truce talks in the capital", "", "Dinner, and truce talks"];
        let alone: Vec<Vec<Reason>> = titles.iter().map(|&title| of_one(Text::new(title, ""))).collect();
        assert_eq!(of(titles.map(|title| Text::new(title, ""))), alone);
        assert!(alone[1].is_empty() && alone[2][0].text == "truce talks");
    }

    #[test]
    fn a_quick_scorer_chooses_what_is_tried() {
        let text = Text::new("In the capital, rivals hold truce talks, and rain falls", "Nothing else of note.");
        let kept = promising(&text, spans(&text), 1, &mut truce).expect("ranks");
        let of = |&(title, (start, end)): &Span| (title, &text.title[start..end]);
        assert_eq!(kept.iter().map(of).collect::<Vec<_>>(), [(true, "rivals hold truce talks")]);
        assert_eq!(promising(&text, spans(&text), 100, &mut truce).expect("ranks"), spans(&text));
    }

    #[test]
    fn a_text_without_words_has_no_reasons() {
        assert_eq!(of_one(Text::default()), []);
    }

    #[test]
    fn long_and_strange_texts_are_bounded() {
        let text = Text::new("\u{5317}\u{4EAC} ".repeat(10_000), "\u{0}\u{1F600} x, ".repeat(10_000));
        assert!(of_one(text).len() <= REASONS);
    }
}
