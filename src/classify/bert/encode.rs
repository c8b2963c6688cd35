//! Text to word pieces, and word pieces to batches of like length.

use std::path::Path;

use rust_tokenizers::tokenizer::{BertTokenizer, Tokenizer, TruncationStrategy};

use super::super::{ScoreError, Text, lead};
use super::network::{REMEDY, VOCABULARY, file_error};

/// Bytes of title and of summary that go to the tokenizer: many times what `max_tokens` can hold of any script, and a
/// bound on its work (it is some ten microseconds for each hundred characters).
const LEAD_BYTES: usize = 2_000;

/// Turns texts into word pieces.
pub struct Encoder {
    tokenizer: BertTokenizer,
    max_tokens: usize,
}

/// One text as the network reads it.
#[derive(Debug, Clone, PartialEq)]
pub struct Encoded {
    /// Word piece ids, with the separators.
    pub ids: Vec<i64>,
    /// 0 for the title, 1 for the summary.
    pub segments: Vec<i64>,
}

impl Encoder {
    /// Reads `vocab.txt` from the base model's directory.
    pub fn open(base: &Path, max_tokens: usize) -> Result<Self, ScoreError> {
        let path = base.join(VOCABULARY);
        std::fs::metadata(&path).map_err(|source| file_error(&path, source))?;
        let tokenizer = BertTokenizer::from_file(&path, true, true).map_err(|error| ScoreError::File {
            path: path.clone(),
            source: std::io::Error::new(std::io::ErrorKind::InvalidData, error.to_string()),
            remedy: REMEDY,
        })?;
        Ok(Self { tokenizer, max_tokens })
    }

    /// `[CLS] title [SEP] summary [SEP]`, the longer of the two cut first.
    pub fn encode(&self, text: &Text) -> Encoded {
        let summary = lead(&text.summary, LEAD_BYTES);
        let pair = (!summary.is_empty()).then_some(summary);
        let title = lead(&text.title, LEAD_BYTES);
        let input = self.tokenizer.encode(title, pair, self.max_tokens, &TruncationStrategy::LongestFirst, 0);
        Encoded { ids: input.token_ids, segments: input.segment_ids.into_iter().map(i64::from).collect() }
    }

    /// Every text, in order.
    pub fn encode_all(&self, texts: &[Text]) -> Vec<Encoded> {
        texts.iter().map(|text| self.encode(text)).collect()
    }
}

/// Indexes of `encoded` in batches of like length, each of at most `items` texts and, unless it is one text alone,
/// `tokens` padded tokens.
pub fn bucketed(encoded: &[Encoded], items: usize, tokens: usize) -> Vec<Vec<usize>> {
    shared_out(encoded, encoded.len().div_ceil(items), tokens)
}

/// Indexes of `encoded`, the shortest first, in `count` batches of as many texts each; in more where a batch would have more than
/// `tokens` padded tokens and more than one text.
pub fn shared_out(encoded: &[Encoded], count: usize, tokens: usize) -> Vec<Vec<usize>> {
    let mut order: Vec<usize> = (0..encoded.len()).collect();
    order.sort_by_key(|&i| encoded[i].ids.len());
    let count = count.min(order.len());
    // Where it does not come out even, the shorter texts are the more.
    let from = |n: usize| (order.len() * n).div_ceil(count);
    let mut batches: Vec<Vec<usize>> = Vec::new();
    for share in (0..count).map(|n| &order[from(n)..from(n + 1)]) {
        for (n, &i) in share.iter().enumerate() {
            // The order is ascending: the newest text is the longest, and the batch is padded to it.
            let fits = |batch: &Vec<usize>| n > 0 && (batch.len() + 1) * encoded[i].ids.len() <= tokens;
            match batches.last_mut() {
                Some(batch) if fits(batch) => batch.push(i),
                _ => batches.push(vec![i]),
            }
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_len(n: usize) -> Encoded {
        Encoded { ids: vec![1; n], segments: vec![0; n] }
    }

    #[test]
    fn batches_hold_like_lengths_within_both_budgets() {
        let encoded: Vec<_> = [50, 3, 40, 4, 5, 100].map(of_len).into();
        assert_eq!(bucketed(&encoded, 2, 90), [vec![1, 3], vec![4, 2], vec![0], vec![5]]);
        assert_eq!(bucketed(&[], 8, 100), Vec::<Vec<usize>>::new());
    }
}
