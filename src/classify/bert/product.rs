//! Matrix products of the serving pass: in eight bits where the processor has instructions for them, else in single
//! precision. Eight bits take a third of the time. Every token's activations have a scale of their own and the sums are
//! whole numbers, so that a token's result does not depend on what else is in the batch.

use std::sync::Arc;

use tch::{Kind, TchError, Tensor};

use super::super::ScoreError;
use super::inference;
use super::rounding::{self, Outputs, Rounded};

/// The largest magnitude of a weight in eight bits.
const LARGEST: f64 = 127.0;
/// Added to a scale, so that a row of zeros divides by something.
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
pub enum Product {
    /// The matrix `[out, in]` and the bias `[out]`.
    Single(Tensor, Tensor),
    /// The same in eight bits.
    Eight(Eight),
}

pub struct Eight {
    /// `[in, out]`, whole numbers.
    columns: Tensor,
    outputs: Arc<Outputs>,
}

impl Product {
    /// Takes a matrix `[out, in]` and a bias `[out]`.
    pub fn new(weight: Tensor, bias: Tensor, precision: Precision) -> Result<Self, ScoreError> {
        Ok(match precision {
            Precision::Single => Self::Single(weight, bias),
            Precision::Eight => Self::Eight(Eight::new(&weight, &bias)?),
        })
    }

    /// `[rows, in]` to `[rows, out]`.
    pub fn of(&self, x: &Tensor) -> Result<Tensor, ScoreError> {
        match self {
            Self::Single(weight, bias) => x.f_linear(weight, Some(bias)).map_err(inference),
            Self::Eight(eight) => eight.of(x),
        }
    }

    /// `[rows, in]` through this product, GELU and the `next` product.
    pub fn gelu_then(&self, next: &Self, x: &Tensor) -> Result<Tensor, ScoreError> {
        match (self, next) {
            (Self::Eight(wide), Self::Eight(narrow)) => {
                let x = rounding::rounded(x)?;
                let x = rounding::gelu(&wide.sums(&x)?, &x.rows, &wide.outputs)?;
                rounding::restored(narrow.sums(&x)?, &x.rows, &narrow.outputs)
            }
            _ => next.of(&self.of(x)?.f_gelu("none").map_err(inference)?),
        }
    }

    /// Another handle on the same tensors.
    pub fn shared(&self) -> Self {
        match self {
            Self::Single(weight, bias) => Self::Single(weight.shallow_clone(), bias.shallow_clone()),
            Self::Eight(Eight { columns, outputs }) => {
                Self::Eight(Eight { columns: columns.shallow_clone(), outputs: outputs.clone() })
            }
        }
    }
}

impl Eight {
    /// Rounds a matrix `[out, in]`, each output's row by a scale of its own.
    fn new(weight: &Tensor, bias: &Tensor) -> Result<Self, ScoreError> {
        let rounded = || -> Result<_, TchError> {
            let scale = weight.f_abs()?.f_amax([1], true)?.f_div_scalar(LARGEST)?.f_add_scalar(TINY)?;
            let whole = weight.f_div(&scale)?.f_round()?;
            let sums = whole.f_sum_dim_intlist(1, true, Kind::Float)?.f_mul(&scale)?;
            Ok((whole.f_to_kind(Kind::Int8)?.f_transpose(0, 1)?.f_contiguous()?, scale, sums))
        };
        let (columns, scale, sums) = rounded().map_err(inference)?;
        let plain = |tensor: &Tensor| Vec::<f32>::try_from(tensor.reshape([-1])).map_err(inference);
        let outputs = Outputs { scales: plain(&scale)?, sums: plain(&sums)?, bias: plain(bias)? };
        Ok(Self { columns, outputs: Arc::new(outputs) })
    }

    /// `[rows, in]` to `[rows, out]`.
    fn of(&self, x: &Tensor) -> Result<Tensor, ScoreError> {
        let rounded = rounding::rounded(x)?;
        rounding::restored(self.sums(&rounded)?, &rounded.rows, &self.outputs)
    }

    fn sums(&self, x: &Rounded) -> Result<Tensor, ScoreError> {
        x.whole.f_internal_int_mm(&self.columns).map_err(inference)
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
