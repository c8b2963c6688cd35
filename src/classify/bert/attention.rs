//! Attention inside each text, for the processor at hand. A text has a few dozen tokens, and libtorch's operations spend on
//! copies and calls for matrices that small five times what the arithmetic takes.

use multiversion::multiversion;
use multiversion::target::target_cfg_f;
use tch::Tensor;

use super::super::ScoreError;
use super::inference;
use super::rounding::{LANES, exp, extreme, folded, numbers};

/// Width of one head: what all-MiniLM-L6-v2 has.
const WIDTH: usize = 32;
/// Tokens whose scores are computed at once, so that each key and value that is read serves several.
const ROWS: usize = 4;

/// Takes rows that hold query, key and value of a token, `[tokens, 3 * heads * 32]`, to what each token gathers from its text,
/// `[tokens, heads * 32]`. Queries are scaled already. `lengths` are the texts' tokens.
pub fn attend(projected: &Tensor, lengths: &[i64], heads: i64) -> Result<Tensor, ScoreError> {
    let width = usize::try_from(heads).map_err(inference)? * WIDTH;
    let (tokens, lengths) = (lengths.iter().sum::<i64>(), lengths.iter().map(|&length| length as usize));
    if projected.size() != [tokens, 3 * width as i64] {
        return Err(inference("attention is made for heads that are 32 wide, and these are not"));
    }
    let mut rows = numbers::<f32>(projected)?;
    let mut gathered = vec![0.0_f32; tokens as usize * width];
    let (mut rest, mut work) = (&mut gathered[..], Work::default());
    for length in lengths {
        let (text, later) = rows.split_at(length * 3 * width);
        let (out, left) = rest.split_at_mut(length * width);
        (rows, rest) = (later, left);
        (0..width).step_by(WIDTH).for_each(|head| head_of(text, out, width, head, &mut work));
    }
    Tensor::f_from_slice(&gathered).and_then(|gathered| gathered.f_view([tokens, width as i64])).map_err(inference)
}

/// Memory that one head leaves to the next.
#[derive(Default)]
struct Work {
    /// The keys, a row for each of their numbers; each row is padded to whole vectors.
    keys: Vec<f32>,
    /// The scores of some tokens, one row each, padded likewise.
    scores: Vec<f32>,
}

/// One head of one text: the columns from `head` on.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl+fma", "x86_64+avx2+fma"))]
fn head_of(text: &[f32], out: &mut [f32], width: usize, head: usize, work: &mut Work) {
    const FUSED: bool = target_cfg_f!(target_feature = "fma");
    let length = out.len() / width;
    let padded = length.next_multiple_of(LANES);
    work.keys.resize(WIDTH * padded, 0.0);
    work.scores.resize(ROWS * padded, 0.0);
    let (queries, keys, values) = (head, width + head, 2 * width + head);
    for (token, row) in text.chunks_exact(3 * width).enumerate() {
        for (n, number) in row[keys..][..WIDTH].iter().enumerate() {
            work.keys[n * padded + token] = *number;
        }
    }
    for first in (0..length).step_by(ROWS) {
        // The last of a text are computed more than once when fewer are left.
        let tokens: [usize; ROWS] = std::array::from_fn(|row| (first + row).min(length - 1));
        score::<FUSED>(tokens.map(|token| &text[token * 3 * width + queries..][..WIDTH]), &work.keys, &mut work.scores);
        let mut shares = [0.0_f32; ROWS];
        for (share, scores) in shares.iter_mut().zip(work.scores.chunks_exact_mut(padded)) {
            *share = 1.0 / exponents(scores, length);
        }
        for from in (0..WIDTH).step_by(LANES) {
            let mixed = mix::<FUSED>(&text[values + from..], 3 * width, &work.scores, length);
            for row in 0..ROWS {
                let out = &mut out[tokens[row] * width + head + from..][..LANES];
                (0..LANES).for_each(|i| out[i] = mixed[row][i] * shares[row]);
            }
        }
    }
}

/// Adds a multiple of a vector of numbers; in one step if it is `FUSED`, which without an instruction for it would be a call. (Here
/// and in what calls it, loops and not closures: those are not compiled for the processor.)
#[inline(always)] // compiled for the same processor as its caller, as is what follows
fn add<const FUSED: bool>(sum: &mut [f32; LANES], many: f32, of: &[f32; LANES]) {
    for i in 0..LANES {
        sum[i] = if FUSED { many.mul_add(of[i], sum[i]) } else { sum[i] + many * of[i] };
    }
}

/// The vector that begins at a place.
#[inline(always)]
fn vector(numbers: &[f32], at: usize) -> &[f32; LANES] {
    numbers[at..].first_chunk().unwrap_or(&[0.0; LANES])
}

/// The products of some queries with all keys.
#[inline(always)]
fn score<const FUSED: bool>(queries: [&[f32]; ROWS], keys: &[f32], scores: &mut [f32]) {
    let padded = scores.len() / ROWS;
    for from in (0..padded).step_by(LANES) {
        let mut sums = [[0.0_f32; LANES]; ROWS];
        for (n, keys) in keys.chunks_exact(padded).enumerate() {
            let keys = vector(keys, from);
            for row in 0..ROWS {
                add::<FUSED>(&mut sums[row], queries[row][n], keys);
            }
        }
        (0..ROWS).for_each(|row| scores[row * padded + from..][..LANES].copy_from_slice(&sums[row]));
    }
}

/// The first numbers of all values, of which there is one every `step`, by the weights of some tokens.
#[inline(always)]
fn mix<const FUSED: bool>(values: &[f32], step: usize, weights: &[f32], length: usize) -> [[f32; LANES]; ROWS] {
    let padded = weights.len() / ROWS;
    let mut sums = [[0.0_f32; LANES]; ROWS];
    for token in 0..length {
        let value = vector(values, token * step);
        for row in 0..ROWS {
            add::<FUSED>(&mut sums[row], weights[row * padded + token], value);
        }
    }
    sums
}

/// Makes of scores their exponents, relative to the greatest, and gives the sum. The row is as long as whole vectors; what is
/// beyond its `length` counts for nothing.
#[inline(always)]
fn exponents(scores: &mut [f32], length: usize) -> f32 {
    scores[length..].fill(f32::NEG_INFINITY);
    let greatest = extreme(scores, |a, b| if a > b { a } else { b });
    let mut sums = [0.0_f32; LANES];
    for vector in scores.as_chunks_mut::<LANES>().0 {
        for (score, sum) in vector.iter_mut().zip(&mut sums) {
            *score = exp(*score - greatest);
            *sum += *score;
        }
    }
    folded(sums, |a, b| a + b)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    #[test]
    fn each_text_is_attended_as_libtorch_does() {
        tch::manual_seed(3);
        let (lengths, heads) = ([1, 2, 17, 16, 33], 3);
        let tokens: i64 = lengths.iter().sum();
        let projected = Tensor::randn([tokens, 3 * heads * 32], (Kind::Float, Device::Cpu)) * 0.7;
        let here = attend(&projected, &lengths, heads).expect("attends");
        let there = projected.split_with_sizes(lengths, 0).into_iter().zip(lengths).map(|(text, length)| {
            let parts = text.view([length, 3, heads, 32]).permute([1, 2, 0, 3]).unbind(0);
            let weights = parts[0].matmul(&parts[1].transpose(-1, -2)).softmax(-1, Kind::Float);
            weights.matmul(&parts[2]).transpose(0, 1).reshape([length, heads * 32])
        });
        let apart = (here - Tensor::cat(&there.collect::<Vec<_>>(), 0)).abs().max().double_value(&[]);
        assert!(apart < 1e-5, "{apart}");
    }

    #[test]
    fn heads_of_another_width_are_refused() {
        let projected = Tensor::zeros([4, 3 * 48], (Kind::Float, Device::Cpu));
        assert!(attend(&projected, &[4], 3).is_err());
    }
}
