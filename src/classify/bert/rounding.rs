//! Activations to eight bits and sums back to floating point, each in one pass over the numbers. By libtorch's operations they
//! are ten passes, which take half as long as the products themselves. Between the two products of a layer's widest part both
//! are done, and GELU, while a row is in the processor's nearest cache.

use std::slice;

use multiversion::multiversion;
use tch::kind::Element;
use tch::{Device, Kind, Tensor};

use super::super::ScoreError;
use super::inference;

/// The least and the greatest whole number of eight bits.
const LEAST: f32 = -128.0;
const MOST: f32 = 127.0;
/// Added to a scale, so that a row of one value divides by something.
const TINY: f32 = 1e-8;
/// 1.5 * 2^23: added to a number below 2^22, it leaves the nearest whole number in the last bits of the sum, without the call
/// that rounding is on older processors.
const ROUNDS: f32 = 12_582_912.0;
/// Numbers computed with at once: a vector register of the largest kind.
pub const LANES: usize = 16;

/// How a row was rounded: `value = scale * whole + zero`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Row {
    scale: f32,
    zero: f32,
}

/// What each output's column of a rounded matrix is to be multiplied by, its sum so multiplied (what a row's zero comes to), and
/// the bias.
pub struct Outputs {
    pub scales: Vec<f32>,
    pub sums: Vec<f32>,
    pub bias: Vec<f32>,
}

impl Outputs {
    /// Scale, sum and bias of each output.
    #[inline(always)] // compiled for the same processor as its caller
    fn each(&self) -> impl Iterator<Item = ((&f32, &f32), &f32)> {
        self.scales.iter().zip(&self.sums).zip(&self.bias)
    }
}

/// Numbers `[rows, in]` in eight bits.
pub struct Rounded {
    pub whole: Tensor,
    pub rows: Vec<Row>,
}

/// Rounds `[rows, in]` to whole numbers of eight bits: every row is stretched from its least to its greatest value over them.
pub fn rounded(x: &Tensor) -> Result<Rounded, ScoreError> {
    let (width, values) = (width(&x.size())?, numbers::<f32>(x)?);
    let mut whole = vec![0_i8; values.len()];
    let rows = values.chunks_exact(width).zip(whole.chunks_exact_mut(width)).map(|(row, whole)| round(row, whole));
    let rows = rows.collect();
    packed(&whole, rows, x)
}

/// Makes of whole sums `[rows, out]` what they stand for, takes that through GELU and rounds it.
pub fn gelu(sums: &Tensor, rows: &[Row], outputs: &Outputs) -> Result<Rounded, ScoreError> {
    let width = matching(sums, rows, outputs)?;
    let values = numbers::<i32>(sums)?;
    let (mut whole, mut bent) = (vec![0_i8; values.len()], vec![0.0; width]);
    let each = values.chunks_exact(width).zip(whole.chunks_exact_mut(width)).zip(rows);
    let rows = each.map(|((sums, whole), row)| {
        bend(sums, *row, outputs, &mut bent);
        round(&bent, whole)
    });
    let rows = rows.collect();
    packed(&whole, rows, sums)
}

/// Whole numbers in the shape of `like`.
fn packed(whole: &[i8], rows: Vec<Row>, like: &Tensor) -> Result<Rounded, ScoreError> {
    let whole = Tensor::f_from_slice(whole).and_then(|whole| whole.f_view(like.size().as_slice()));
    Ok(Rounded { whole: whole.map_err(inference)?, rows })
}

/// Makes of whole sums `[rows, out]`, which nothing else holds, what they stand for; in their own memory.
pub fn restored(sums: Tensor, rows: &[Row], outputs: &Outputs) -> Result<Tensor, ScoreError> {
    let width = matching(&sums, rows, outputs)?;
    check::<i32>(&sums)?;
    // SAFETY: as for `numbers`; and the sums are this function's own, so that no other handle reads them meanwhile.
    #[expect(unsafe_code, reason = "libtorch has no operation that does this in one pass")]
    let values = unsafe { slice::from_raw_parts_mut(sums.data_ptr().cast::<i32>(), sums.numel()) };
    values.chunks_exact_mut(width).zip(rows).for_each(|(values, row)| restore(values, *row, outputs));
    sums.f_view_dtype(Kind::Float).map_err(inference)
}

/// The numbers of a tensor, in its own memory.
pub fn numbers<T: Element>(x: &Tensor) -> Result<&[T], ScoreError> {
    check::<T>(x)?;
    // SAFETY: `check` has found `T`s, without gaps, in this process's memory, and `x` keeps them there.
    #[expect(unsafe_code, reason = "libtorch's own conversions copy the numbers once more")]
    Ok(unsafe { slice::from_raw_parts(x.data_ptr().cast::<T>(), x.numel()) })
}

/// Width of whole sums `[rows, out]`, which must have a row for each of `rows` and a column for each of `outputs`.
fn matching(sums: &Tensor, rows: &[Row], outputs: &Outputs) -> Result<usize, ScoreError> {
    let width = width(&sums.size())?;
    let right = width == outputs.bias.len() && sums.numel() == width * rows.len();
    if right { Ok(width) } else { Err(inference("a product lost a row or a column")) }
}

fn width(size: &[i64]) -> Result<usize, ScoreError> {
    match *size {
        [_, width] if width > 0 => usize::try_from(width).map_err(inference),
        _ => Err(inference("a product is not of two dimensions")),
    }
}

/// Whether the tensor's memory holds `T`s, one after the other.
fn check<T: Element>(tensor: &Tensor) -> Result<(), ScoreError> {
    let right = tensor.kind() == T::KIND && tensor.is_contiguous() && tensor.device() == Device::Cpu;
    if right && tensor.numel() > 0 { Ok(()) } else { Err(inference("a tensor is not what a product gives")) }
}

/// Rounds one row.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn round(row: &[f32], whole: &mut [i8]) -> Row {
    // One after the other: together the compiler shuffles them.
    let least = extreme(row, |a, b| if a < b { a } else { b });
    let most = extreme(row, |a, b| if a > b { a } else { b });
    let scale = (most - least) / (MOST - LEAST) + TINY;
    let (zero, many) = (least - scale * LEAST, 1.0 / scale);
    for (whole, value) in whole.iter_mut().zip(row) {
        let near = ((value - zero) * many).clamp(LEAST, MOST) + ROUNDS;
        *whole = near.to_bits() as i8;
    }
    Row { scale, zero }
}

/// What `better` keeps of a row, many numbers at once.
#[inline(always)] // compiled for the same processor as its caller
pub fn extreme(row: &[f32], better: impl Fn(f32, f32) -> f32) -> f32 {
    let (vectors, rest) = row.as_chunks::<LANES>();
    let mut best: [f32; LANES] = std::array::from_fn(|i| rest.get(i).or(row.first()).copied().unwrap_or_default());
    for vector in vectors {
        best = std::array::from_fn(|i| better(vector[i], best[i]));
    }
    folded(best, better)
}

/// The numbers of a vector made one by halves, which can be computed side by side.
#[inline(always)]
pub fn folded(all: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let half: [f32; 8] = std::array::from_fn(|i| join(all[i], all[i + 8]));
    let half: [f32; 4] = std::array::from_fn(|i| join(half[i], half[i + 4]));
    join(join(half[0], half[2]), join(half[1], half[3]))
}

/// `e` to the power of a number that is not above 0, to seven digits: 2 to a whole power, and the rest by its series. The
/// standard one is a call for each number.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    /// Below it, the result is too small to have all its digits.
    const LEAST: f32 = -87.0;
    /// The natural logarithm of 2 in two parts; the first has few enough digits to be multiplied exactly.
    const LN_2: (f32, f32) = (0.693_359_4, -2.121_944_4e-4);
    // What is not a number stays none.
    let x = if x < LEAST { LEAST } else { x };
    let near = x * std::f32::consts::LOG2_E + ROUNDS;
    let whole = near - ROUNDS;
    let r = x - whole * LN_2.0 - whole * LN_2.1;
    let series = 1.0 + r * (1.0 + r * (0.5 + r * (1.0 / 6.0 + r * (1.0 / 24.0 + r * (1.0 / 120.0 + r / 720.0)))));
    series * f32::from_bits(near.to_bits().wrapping_add(127) << 23)
}

/// What a sum stands for.
#[inline(always)] // compiled for the same processor as its caller
fn meant(sum: i32, row: Row, ((scale, column), bias): ((&f32, &f32), &f32)) -> f32 {
    (sum as f32 * row.scale) * scale + (row.zero * column + bias)
}

/// Turns one row of sums into floating point; the bits of each lie where the sum was.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn restore(sums: &mut [i32], row: Row, outputs: &Outputs) {
    for (sum, output) in sums.iter_mut().zip(outputs.each()) {
        *sum = meant(*sum, row, output).to_bits() as i32;
    }
}

/// Turns one row of sums into floating point and takes it through GELU.
#[multiversion(targets("x86_64+avx512f+avx512bw+avx512vl", "x86_64+avx2"))]
fn bend(sums: &[i32], row: Row, outputs: &Outputs, bent: &mut [f32]) {
    for ((bent, sum), output) in bent.iter_mut().zip(sums).zip(outputs.each()) {
        *bent = bend_one(meant(*sum, row, output));
    }
}

/// GELU: `x` times the share of a standard normal distribution that lies below it, to 3e-7 of the larger of 1 and `x`. The share's
/// complement is the error function's of Abramowitz and Stegun, 7.1.26; the standard one is a call for each number.
#[inline(always)] // compiled for the same processor as its caller
fn bend_one(x: f32) -> f32 {
    let far = x.abs();
    let t = 1.0 / (1.0 + 0.327_591_1 * std::f32::consts::FRAC_1_SQRT_2 * far);
    let series = t * (0.254_829_6 + t * (-0.284_496_74 + t * (1.421_413_7 + t * (-1.453_152 + t * 1.061_405_4))));
    let beyond = 0.5 * series * exp(-0.5 * far * far);
    (if x > 0.0 { x } else { 0.0 }) - far * beyond
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponents_have_seven_digits() {
        for x in (0..8_700).map(|n| n as f32 * -0.01) {
            assert!((exp(x) / x.exp() - 1.0).abs() < 3e-7, "{x}: {} instead of {}", exp(x), x.exp());
        }
        assert!(exp(f32::NEG_INFINITY) < 1e-37 && exp(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_is_libtorchs() {
        let x: Vec<f32> = (-1_400..1_400).map(|n| n as f32 * 0.01).collect();
        let there = Vec::<f32>::try_from(Tensor::from_slice(&x).gelu("none")).expect("floats");
        for (x, there) in x.iter().zip(there) {
            assert!((bend_one(*x) - there).abs() < 3e-7 * x.abs().max(1.0), "{x}: {} instead of {there}", bend_one(*x));
        }
        assert!(bend_one(f32::NAN).is_nan());
    }

    #[test]
    fn gelu_of_sums_is_that_of_what_they_stand_for() {
        let outputs = Outputs { scales: vec![0.01; 40], sums: vec![0.3; 40], bias: vec![-0.2; 40] };
        let row = Row { scale: 0.02, zero: 0.5 };
        let sums = || Tensor::arange_start_step(-20_000, 20_000, 1_000, (Kind::Int, Device::Cpu)).view([1, 40]);
        let here = gelu(&sums(), &[row], &outputs).expect("bends");
        let there = rounded(&restored(sums(), &[row], &outputs).expect("restores").gelu("none")).expect("rounds");
        assert!((here.rows[0].scale - there.rows[0].scale).abs() < 1e-6);
        let apart = (here.whole.to_kind(Kind::Int) - there.whole.to_kind(Kind::Int)).abs().max().int64_value(&[]);
        assert!(apart <= 1, "{apart}");
        assert!(gelu(&sums(), &[row; 2], &outputs).is_err());
    }

    fn whole(row: &[f32]) -> (Vec<i8>, Row) {
        let mut whole = vec![0; row.len()];
        let how = round(row, &mut whole);
        (whole, how)
    }

    #[test]
    fn a_row_is_stretched_over_eight_bits() {
        let (numbers, row) = whole(&[-1.0, 0.0, 1.55]);
        assert_eq!((numbers[0], numbers[2]), (-128, 127));
        assert!((row.scale - 0.01).abs() < 1e-6 && (f32::from(numbers[1]) * row.scale + row.zero).abs() < 0.005);
    }

    #[test]
    fn every_number_of_a_row_of_any_length_is_restored_to_half_a_step() {
        for length in [1, 15, 16, 17, 40] {
            let row: Vec<f32> = (0..length).map(|i| ((i * 37 % 23) as f32 - 9.0) * 0.3).collect();
            let (numbers, how) = whole(&row);
            for (number, value) in numbers.iter().zip(&row) {
                let back = f32::from(*number) * how.scale + how.zero;
                assert!((back - value).abs() <= how.scale * 0.501, "{value} came back as {back}");
            }
        }
    }

    #[test]
    fn rows_of_one_value_and_of_huge_ones_stay_finite() {
        for row in [[0.0; 20], [3.5; 20], [-1e30; 20]] {
            let (numbers, how) = whole(&row);
            let back = f32::from(numbers[7]) * how.scale + how.zero;
            assert!((back - row[0]).abs() <= row[0].abs() * 1e-5 + 1e-5, "{} came back as {back}", row[0]);
        }
    }

    #[test]
    fn what_is_not_a_product_is_refused() {
        let outputs = Outputs { scales: vec![1.0; 3], sums: vec![0.0; 3], bias: vec![0.0; 3] };
        let row = Row { scale: 1.0, zero: 0.0 };
        let sums = |kind| Tensor::zeros([2, 3], (kind, Device::Cpu));
        assert!(restored(sums(Kind::Int), &[row; 2], &outputs).is_ok());
        assert!(restored(sums(Kind::Int), &[row; 1], &outputs).is_err());
        assert!(restored(sums(Kind::Float), &[row; 2], &outputs).is_err());
        assert!(restored(sums(Kind::Int).transpose(0, 1), &[row; 3], &outputs).is_err());
        assert!(rounded(&Tensor::zeros([4], (Kind::Float, Device::Cpu))).is_err());
        assert!(rounded(&Tensor::zeros([2, 3], (Kind::Double, Device::Cpu))).is_err());
    }
}
