//! AdamW, with its state in the open so that a checkpoint can hold it: the library's optimizer cannot be saved.

use tch::{Tensor, no_grad};

/// How fast the mean and the mean square of a gradient forget; the values of the AdamW paper.
const FORGET: (f64, f64) = (0.9, 0.999);
/// Keeps a weight whose gradients are all but zero from jumping.
const EPSILON: f64 = 1e-8;
/// Pull of matrices towards zero at each step, times the learning rate. Biases and norms are left alone.
const DECAY: f64 = 0.01;
/// Longest gradient of a step, all weights together: one odd batch must not undo many good ones.
const LONGEST: f64 = 1.0;
/// Heads start at random and layers do not, so heads learn faster by this factor.
const HEADS: f64 = 10.0;

/// A variable in training.
pub(super) struct Variable {
    /// Its name in the weights file.
    pub name: String,
    /// Its value; shared with the network.
    pub value: Tensor,
    /// Running mean of its gradient.
    pub mean: Tensor,
    /// Running mean of its gradient's square.
    pub square: Tensor,
}

impl Variable {
    pub(super) fn new(name: String, value: Tensor) -> Self {
        let (mean, square) = (value.zeros_like(), value.zeros_like());
        Self { name, value, mean, square }
    }

    fn update(&mut self, scale: f64, rate: f64, steps: i32) {
        let gradient = self.value.grad() * scale;
        let _ = self.mean.lerp_(&gradient, 1.0 - FORGET.0);
        let _ = self.square.lerp_(&(&gradient * &gradient), 1.0 - FORGET.1);
        let rate = if self.name.starts_with("head.") { rate * HEADS } else { rate };
        if self.value.dim() > 1 {
            let _ = self.value.g_mul_scalar_(1.0 - rate * DECAY);
        }
        let root = (&self.square / (1.0 - FORGET.1.powi(steps))).sqrt() + EPSILON;
        self.value -= &self.mean / root * (rate / (1.0 - FORGET.0.powi(steps)));
    }
}

/// One step down the gradients that lie in `variables`; `steps` counts from 1.
pub(super) fn step(variables: &mut [Variable], rate: f64, steps: i32) {
    no_grad(|| {
        let squares: f64 = variables.iter().map(|v| v.value.grad().square().sum(None).double_value(&[])).sum();
        let scale = (LONGEST / (squares.sqrt() + 1e-6)).min(1.0);
        variables.iter_mut().for_each(|variable| variable.update(scale, rate, steps));
    });
}

/// Forgets the gradients of the last step.
pub(super) fn zero_grad(variables: &mut [Variable]) {
    variables.iter_mut().for_each(|variable| variable.value.zero_grad());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_bottom_of_a_bowl() {
        let start = Tensor::from_slice(&[3.0_f32, -2.0]).set_requires_grad(true);
        let mut variables = [Variable::new("x".into(), start)];
        for n in 1..=500 {
            zero_grad(&mut variables);
            (&variables[0].value - 1.0).square().sum(None).backward();
            step(&mut variables, 0.05, n);
        }
        let end = Vec::<f32>::try_from(variables[0].value.detach()).expect("floats");
        assert!(end.iter().all(|x| (x - 1.0).abs() < 0.01), "{end:?}");
    }
}
