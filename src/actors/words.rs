//! Small questions about text: what stands beside a span, how a word is written.

/// Whether `c` can be part of a word.
pub(super) fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Whether words of `c`'s script are written without spaces between.
pub(super) fn is_unspaced(c: char) -> bool {
    matches!(c, '\u{3040}'..='\u{30ff}' | '\u{3400}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ac00}'..='\u{d7af}' | '\u{0e00}'..='\u{0e7f}')
}

/// The word that ends right before `at`, past spaces; empty at the start of a sentence or after other punctuation.
pub(super) fn before(text: &str, at: usize) -> &str {
    let head = text[..at].trim_end_matches([' ', '\u{a0}', '"', '\u{201c}', '\u{2018}']);
    let start = head.char_indices().rev().take_while(|(_, c)| in_word(*c)).last().map_or(head.len(), |(i, _)| i);
    &head[start..]
}

/// The word that begins right after `at`, past spaces and a possessive; empty at the end or before punctuation.
pub(super) fn after(text: &str, at: usize) -> &str {
    let tail = possessive(&text[at..]).trim_start_matches([' ', '\u{a0}']);
    let end = tail.char_indices().find(|(_, c)| !in_word(*c)).map_or(tail.len(), |(i, _)| i);
    &tail[..end]
}

/// `tail` without the "'s" it begins with.
pub(super) fn possessive(tail: &str) -> &str {
    ["'s", "\u{2019}s", "'", "\u{2019}"].iter().find_map(|mark| tail.strip_prefix(mark)).unwrap_or(tail)
}

fn in_word(c: char) -> bool {
    is_word(c) || matches!(c, '-' | '.' | '\u{2019}' | '\'')
}

/// Whether a word is in a list, whatever its case.
pub(super) fn is_one_of(word: &str, list: &[String]) -> bool {
    let word = word.trim_end_matches(['.', '\'', '\u{2019}']);
    !word.is_empty() && list.iter().any(|item| eq(item, word))
}

/// Equality but for case, in any script.
pub(super) fn eq(a: &str, b: &str) -> bool {
    a.eq_ignore_ascii_case(b) || (!a.is_ascii() && a.to_lowercase() == b.to_lowercase())
}

/// Whether a word begins with a capital letter.
pub(super) fn is_capitalised(word: &str) -> bool {
    word.chars().next().is_some_and(char::is_uppercase)
}

/// How a part of the text is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// Sentence case: a capital tells a name.
    Sentence,
    /// Most Words Begin With A Capital.
    Headline,
    /// ALL CAPS.
    Capitals,
    /// no capital at all, although the script has them
    Lower,
}

/// The style of a title or a summary.
pub(super) fn style(part: &str) -> Style {
    let (mut upper, mut lower) = (0usize, 0usize);
    for c in part.chars() {
        upper += usize::from(c.is_uppercase());
        lower += usize::from(c.is_lowercase());
    }
    if upper == 0 {
        return if lower == 0 { Style::Sentence } else { Style::Lower };
    }
    if upper > 3 * lower {
        return Style::Capitals;
    }
    let long = part.split_whitespace().filter(|word| word.chars().count() > 3 && word.starts_with(char::is_alphabetic));
    let (words, capitals) = long.fold((0usize, 0usize), |(n, c), word| (n + 1, c + usize::from(is_capitalised(word))));
    if words >= 4 && capitals * 10 >= words * 7 { Style::Headline } else { Style::Sentence }
}

/// Title and summary of a text with their styles.
#[derive(Debug)]
pub(super) struct Parts {
    /// Where the title ends.
    pub title: usize,
    styles: [Style; 2],
}

impl Parts {
    /// The parts of a text that has a line feed after its title.
    pub fn of(text: &str) -> Self {
        let title = text.find('\n').unwrap_or(text.len());
        Self { title, styles: [style(&text[..title]), style(&text[title..])] }
    }

    /// The style around an offset.
    pub fn style(&self, at: usize) -> Style {
        self.styles[usize::from(at > self.title)]
    }

    /// Whether the text has no capital anywhere.
    pub fn is_lower(&self) -> bool {
        self.styles.contains(&Style::Lower)
            && !self.styles.contains(&Style::Headline)
            && !self.styles.contains(&Style::Capitals)
    }
}
