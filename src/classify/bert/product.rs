//! Matrix products of the serving pass: in eight bits where the processor has instructions for them, else in single
//! precision. Eight bits take a third of the time. Every token's activations have a scale of their own and the sums are
//! whole numbers, so that a token's result does not depend on what else is in the batch.

use tch::{Kind, TchError, Tensor};

use super::super::ScoreError;
use super::inference;

/// The largest magnitude of a weight in eight bits, and the range of an activation.
const LARGEST: f64 = 127.0;
const RANGE: f64 = 255.0;
/// The smallest activation of a token in eight bits.
const LEAST: f64 = -128.0;
/// Added to a scale, so that a row of one value divides by something.
const TINY: f64 = 1e-8;

/// What a product is computed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 32-bit floating point.
    Single,
    /// Whole numbers of eight bits, summed in 32 bits.
    Eight,
}

impl Precision {
    /// Eight bits if they are `wanted` and the processor multiplies them in one instruction, and exactly. (Older ones do it in
    /// steps that may overflow, or one number at a time.)
    pub fn best(wanted: bool) -> Self {
        if wanted && has_instructions() && is_exact().unwrap_or(false) { Self::Eight } else { Self::Single }
    }
}

/// A matrix and a bias.
pub struct Product {
    weight: Weight,
    bias: Tensor,
}

enum Weight {
    /// `[out, in]`.
    Single(Tensor),
    Eight(Eight),
}

struct Eight {
    /// `[in, out]`, whole numbers.
    columns: Tensor,
    /// What each output's column is to be multiplied by.
    scale: Tensor,
    /// The sum of each output's column, so multiplied: what an activation's zero point comes to.
    sums: Tensor,
}

impl Product {
    /// Takes a matrix `[out, in]` and a bias `[out]`.
    pub fn new(weight: Tensor, bias: Tensor, precision: Precision) -> Result<Self, ScoreError> {
        let weight = match precision {
            Precision::Single => Weight::Single(weight),
            Precision::Eight => Weight::Eight(Eight::new(&weight).map_err(inference)?),
        };
        Ok(Self { weight, bias })
    }

    /// `[rows, in]` to `[rows, out]`.
    pub fn of(&self, x: &Tensor) -> Result<Tensor, ScoreError> {
        match &self.weight {
            Weight::Single(weight) => x.f_linear(weight, Some(&self.bias)).map_err(inference),
            Weight::Eight(eight) => eight.of(x, &self.bias).map_err(inference),
        }
    }

    /// Another handle on the same tensors.
    pub fn shared(&self) -> Self {
        let weight = match &self.weight {
            Weight::Single(weight) => Weight::Single(weight.shallow_clone()),
            Weight::Eight(eight) => Weight::Eight(eight.shared()),
        };
        Self { weight, bias: self.bias.shallow_clone() }
    }
}

impl Eight {
    /// Rounds a matrix `[out, in]`, each output's row by a scale of its own.
    fn new(weight: &Tensor) -> Result<Self, TchError> {
        let scale = weight.f_abs()?.f_amax([1], true)?.f_div_scalar(LARGEST)?.f_add_scalar(TINY)?;
        let whole = weight.f_div(&scale)?.f_round()?;
        let sums = whole.f_sum_dim_intlist(1, true, Kind::Float)?.f_mul(&scale)?;
        let columns = whole.f_to_kind(Kind::Int8)?.f_transpose(0, 1)?.f_contiguous()?;
        Ok(Self { columns, scale: scale.f_reshape([-1])?, sums: sums.f_reshape([-1])? })
    }

    /// `[rows, in]` to `[rows, out]`. Every row of `x` is stretched from its least to its greatest value over the eight bits.
    fn of(&self, x: &Tensor, bias: &Tensor) -> Result<Tensor, TchError> {
        let least = x.f_amin([1], true)?;
        let scale = x.f_amax([1], true)?.f_sub(&least)?.f_div_scalar(RANGE)?.f_add_scalar(TINY)?;
        // x = scale * whole + zero
        let zero = least.f_sub(&scale.f_mul_scalar(LEAST)?)?;
        let whole = x.f_sub(&zero)?.f_mul_(&scale.f_reciprocal()?)?.f_round_()?.f_to_kind(Kind::Int8)?;
        let mut sums = whole.f_internal_int_mm(&self.columns)?.f_to_kind(Kind::Float)?;
        bias.f_addcmul(&sums.f_mul_(&scale)?, &self.scale)?.f_addcmul_(&zero, &self.sums)
    }

    fn shared(&self) -> Self {
        let [columns, scale, sums] = [&self.columns, &self.scale, &self.sums].map(Tensor::shallow_clone);
        Self { columns, scale, sums }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_instructions() -> bool {
    std::arch::is_x86_feature_detected!("avx512vnni") || std::arch::is_x86_feature_detected!("avxvnni")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_instructions() -> bool {
    false
}

/// Whether products of the largest numbers come out right, for few rows and for many.
fn is_exact() -> Result<bool, TchError> {
    const INNER: usize = 384;
    let of_largest = |rows: usize, sign: &dyn Fn(usize) -> bool| {
        let values: Vec<i8> = (0..rows * INNER).map(|i| if sign(i) { i8::MAX } else { i8::MIN }).collect();
        Tensor::f_from_slice(&values)?.f_view([rows as i64, INNER as i64])
    };
    let right = of_largest(INNER, &|i| i / INNER < INNER / 2 || i * i % 7 < 3)?;
    for rows in [1, 7, 64] {
        // The first row has one sign only: its sums are the largest that there are.
        let left = of_largest(rows, &|i| i < INNER || i * i % 5 < 2)?;
        let expected = left.f_to_kind(Kind::Double)?.f_matmul(&right.f_to_kind(Kind::Double)?)?;
        if left.f_internal_int_mm(&right)?.f_to_kind(Kind::Double)? != expected {
            return Ok(false);
        }
    }
    Ok(true)
}
