//! Where a model comes from: a manifest and its weights, embedded in the binary or read from a directory.

use std::borrow::Cow;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};

use super::{ClassifyConfig, ScoreError};

/// File name of the manifest inside a model's directory.
pub const MANIFEST: &str = "manifest.toml";
/// File name of the weights inside a model's directory.
pub const WEIGHTS: &str = "weights.safetensors";

/// A manifest and its weights, not yet checked.
pub struct Package {
    /// Name in errors: the directory, or the model's name for an embedded one.
    pub name: String,
    /// The text of `manifest.toml`.
    pub manifest: Cow<'static, str>,
    /// The bytes of `weights.safetensors`.
    pub weights: Cow<'static, [u8]>,
}

impl Package {
    /// The linear model: the directory that the configuration names, if it holds a linear model, else the embedded one.
    pub fn linear(config: &ClassifyConfig) -> Result<Self, ScoreError> {
        if !config.dir.as_os_str().is_empty() {
            return Self::read(&config.dir);
        }
        Ok(Self::embedded_linear())
    }

    /// The linear model that is part of the binary.
    pub fn embedded_linear() -> Self {
        Self {
            name: "the built-in linear model".into(),
            manifest: Cow::Borrowed(include_str!("../../models/linear/manifest.toml")),
            weights: Cow::Borrowed(include_bytes!("../../models/linear/weights.safetensors")),
        }
    }

    /// The transformer's tuned part: from the configured directory, else the embedded one.
    #[cfg(feature = "bert")]
    pub fn transformer(config: &ClassifyConfig) -> Result<Self, ScoreError> {
        if !config.dir.as_os_str().is_empty() {
            return Self::read(&config.dir);
        }
        Ok(Self {
            name: "the built-in transformer".into(),
            manifest: Cow::Borrowed(include_str!("../../models/transformer/manifest.toml")),
            weights: Cow::Borrowed(include_bytes!("../../models/transformer/weights.safetensors")),
        })
    }

    /// Reads `manifest.toml` and `weights.safetensors` from `dir`.
    pub fn read(dir: &Path) -> Result<Self, ScoreError> {
        let failed = |file: &str, source| ScoreError::File {
            path: dir.join(file),
            source,
            remedy: "a model's directory holds manifest.toml and weights.safetensors, as `demarche train` writes them",
        };
        Ok(Self {
            name: dir.display().to_string(),
            manifest: Cow::Owned(std::fs::read_to_string(dir.join(MANIFEST)).map_err(|e| failed(MANIFEST, e))?),
            weights: Cow::Owned(std::fs::read(dir.join(WEIGHTS)).map_err(|e| failed(WEIGHTS, e))?),
        })
    }

    /// The weights as named tensors.
    pub fn tensors(&self) -> Result<SafeTensors<'_>, ScoreError> {
        SafeTensors::deserialize(&self.weights).map_err(|error| self.bad(format!("the file is damaged ({error})")))
    }

    /// An error about this package's weights.
    pub fn bad(&self, reason: String) -> ScoreError {
        ScoreError::Weights { model: self.name.clone(), reason }
    }

    /// The tensor `name`, of exactly this type and shape.
    pub fn tensor<'t>(
        &self,
        tensors: &'t SafeTensors<'t>,
        name: &str,
        dtype: Dtype,
        shape: &[usize],
    ) -> Result<TensorView<'t>, ScoreError> {
        let view = tensors.tensor(name).map_err(|_| self.bad(format!("tensor {name} is missing")))?;
        if view.dtype() != dtype || view.shape() != shape {
            let found = format!("{:?} {:?}", view.dtype(), view.shape());
            return Err(self.bad(format!("tensor {name} should be {dtype:?} {shape:?} but is {found}")));
        }
        Ok(view)
    }

    /// The numbers of a 32-bit float tensor; refuses what is not a finite number.
    pub fn floats<'t>(
        &self,
        tensors: &'t SafeTensors<'t>,
        name: &str,
        shape: &[usize],
    ) -> Result<Vec<f32>, ScoreError> {
        let view = self.tensor(tensors, name, Dtype::F32, shape)?;
        let numbers: Vec<f32> =
            view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        match numbers.iter().all(|x| x.is_finite()) {
            true => Ok(numbers),
            false => Err(self.bad(format!("tensor {name} holds a value that is not a number"))),
        }
    }
}
