//! Hiding words while training: names go out of date, what is said of them does not.

use crate::classify::bert::Encoded;
use crate::train::Rng;

/// `[MASK]` in the vocabulary of every uncased BERT; of another vocabulary it would be an arbitrary word.
const MASK: i64 = 103;
/// `[CLS]` and `[SEP]`, which stay.
const FRAME: [i64; 2] = [101, 102];

/// `text` with each word piece hidden by the chance `share` (0–1).
pub(super) fn some(text: &Encoded, share: f64, rng: &mut Rng) -> Encoded {
    let mut ids = text.ids.clone();
    for id in ids.iter_mut().filter(|id| !FRAME.contains(id)) {
        // The upper 53 bits as a number from 0 to 1.
        if ((rng.next() >> 11) as f64) < share * (1_u64 << 53) as f64 {
            *id = MASK;
        }
    }
    Encoded { ids, segments: text.segments.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_the_share_is_hidden_and_the_frame_stays() {
        let ids: Vec<i64> = [101].into_iter().chain(1_000..11_000).chain([102]).collect();
        let text = Encoded { segments: vec![0; ids.len()], ids };
        let hidden = some(&text, 0.1, &mut Rng(1)).ids;
        let count = hidden.iter().filter(|&&id| id == MASK).count();
        assert!((900..1_100).contains(&count), "{count}");
        assert_eq!((hidden[0], hidden[10_001]), (101, 102));
        assert_eq!(some(&text, 0.0, &mut Rng(1)), text);
    }
}
