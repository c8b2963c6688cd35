//! A text with what matters in it set off: reasons bold, actors and places underlined. Colours obey `NO_COLOR` and pipes.

use std::ops::Range;

use console::Style;

use crate::classify::Text;
use crate::item::Reason;

/// Title and summary in one line. `spans` count in the title, a line feed and the summary.
pub(super) fn paint(text: &Text, reasons: &[Reason], spans: &[Range<usize>]) -> String {
    let whole = format!("{}\n{}", text.title, text.summary);
    let bold: Vec<Range<usize>> =
        reasons.iter().filter_map(|reason| whole.find(&reason.text).map(|at| at..at + reason.text.len())).collect();
    let mut edges: Vec<usize> = bold.iter().chain(spans).flat_map(|span| [span.start, span.end]).collect();
    edges.extend([0, text.title.len(), text.title.len() + 1, whole.len()]);
    edges.sort_unstable();
    edges.dedup();
    let pieces = edges.windows(2).filter_map(|edge| match edge {
        [start, end] => whole.get(*start..*end).map(|piece| (*start, piece)),
        _ => None,
    });
    let painted: String = pieces
        .map(|(at, piece)| match piece {
            "\n" if text.summary.is_empty() => String::new(),
            "\n" => " · ".to_owned(),
            _ => style(at, &bold, spans).apply_to(piece).to_string(),
        })
        .collect();
    painted
}

fn style(at: usize, bold: &[Range<usize>], underlined: &[Range<usize>]) -> Style {
    let within = |spans: &[Range<usize>]| spans.iter().any(|span| span.contains(&at));
    let style = if within(bold) { Style::new().bold() } else { Style::new() };
    if within(underlined) { style.underlined() } else { style }
}

#[cfg(test)]
#[allow(clippy::single_range_in_vec_init, reason = "one span of a text is what is meant")]
mod tests {
    use super::*;

    #[test]
    fn without_colours_the_text_is_as_it_was() {
        let text = Text::new("Envoys meet in Geneva", "Talks go on.");
        let reasons = [Reason { text: "Envoys meet".into(), weight: 0.5 }, Reason { text: "gone".into(), weight: 0.1 }];
        assert_eq!(paint(&text, &reasons, &[15..21]), "Envoys meet in Geneva · Talks go on.");
        assert_eq!(paint(&Text::new("Alone", ""), &[], &[]), "Alone");
    }

    #[test]
    fn reasons_are_bold_and_names_underlined_where_they_overlap_too() {
        assert_eq!(style(3, &[0..5], &[]), Style::new().bold());
        assert_eq!(style(3, &[0..5], &[2..4]), Style::new().bold().underlined());
        assert_eq!(style(5, &[0..5], &[2..4]), Style::new());
    }
}
