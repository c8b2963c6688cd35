//! Matrix products of the serving pass: in eight bits where the processor has instructions for them, else in single
//! precision. Eight bits take a third of the time. Every token's activations have a scale of their own and the sums are
//! whole numbers, so that a token's result does not depend on what else is in the batch.

use tch::{Kind, Tensor};

use super::super::ScoreError;
use super::inference;

/// The largest magnitude in eight bits; the scale leaves out -128, so that zero is in the middle.
const LARGEST: f64 = 127.0;
/// Added to a scale, so that a row of zeros divides by something.
const TINY: f64 = 1e-12;

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
    /// `[in, out]` in eight bits, and what each output's column is to be multiplied by.
    Eight(Tensor, Tensor),
}

impl Product {
    /// Takes a matrix `[out, in]` and a bias `[out]`.
    pub fn new(weight: Tensor, bias: Tensor, precision: Precision) -> Result<Self, ScoreError> {
        let weight = match precision {
            Precision::Single => Weight::Single(weight),
            Precision::Eight => {
                let (whole, scale) = in_eight_bits(&weight)?;
                let columns = whole.transpose(0, 1).f_contiguous().map_err(inference)?;
                Weight::Eight(columns, scale.f_reshape([-1]).map_err(inference)?)
            }
        };
        Ok(Self { weight, bias })
    }

    /// `[rows, in]` to `[rows, out]`.
    pub fn of(&self, x: &Tensor) -> Result<Tensor, ScoreError> {
        match &self.weight {
            Weight::Single(weight) => x.f_linear(weight, Some(&self.bias)).map_err(inference),
            Weight::Eight(columns, scale) => {
                let (whole, row_scale) = in_eight_bits(x)?;
                let sums = whole.f_internal_int_mm(columns).map_err(inference)?;
                let mut sums = sums.f_to_kind(Kind::Float).map_err(inference)?;
                let _ = sums.f_mul_(&row_scale).map_err(inference)?;
                self.bias.f_addcmul(&sums, scale).map_err(inference)
            }
        }
    }

    /// Another handle on the same tensors.
    pub fn shared(&self) -> Self {
        let weight = match &self.weight {
            Weight::Single(weight) => Weight::Single(weight.shallow_clone()),
            Weight::Eight(columns, scale) => Weight::Eight(columns.shallow_clone(), scale.shallow_clone()),
        };
        Self { weight, bias: self.bias.shallow_clone() }
    }

    /// The same with tensors that nobody else writes to.
    pub fn copied(self) -> Self {
        let weight = match self.weight {
            Weight::Single(weight) => Weight::Single(weight.copy()),
            own @ Weight::Eight(..) => own,
        };
        Self { weight, bias: self.bias.copy() }
    }
}

/// Each row in whole numbers of eight bits, and by what to multiply it to have it back.
fn in_eight_bits(x: &Tensor) -> Result<(Tensor, Tensor), ScoreError> {
    let of = || {
        let scale = x.f_abs()?.f_amax([1], true)?.f_div_scalar(LARGEST)?.f_add_scalar(TINY)?;
        Ok((x.f_div(&scale)?.f_round_()?.f_to_kind(Kind::Int8)?, scale))
    };
    of().map_err(|error: tch::TchError| inference(error))
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
fn is_exact() -> Result<bool, tch::TchError> {
    const INNER: usize = 384;
    let of_largest = |rows: usize, sign: &dyn Fn(usize) -> bool| {
        let values: Vec<i8> = (0..rows * INNER).map(|i| if sign(i) { 127 } else { -127 }).collect();
        Tensor::f_from_slice(&values)?.f_view([rows as i64, INNER as i64])
    };
    let right = of_largest(INNER, &|i| i / INNER % 2 == 0 || i * i % 7 < 3)?;
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
