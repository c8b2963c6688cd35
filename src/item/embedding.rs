//! What a text is about, as a direction that can be compared with others.

use super::Identity;

/// A text's direction in a model's space: a unit vector, one signed byte a dimension.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Embedding {
    /// Whose space it is: directions of different models say nothing of one another.
    space: u32,
    values: Box<[i8]>,
}

/// A dimension's byte when the vector points along it.
const UNIT: f32 = 127.0;

impl Embedding {
    /// The direction of `values` in the space of `model`; `None` for a vector without one.
    pub fn of(model: &str, values: &[f32]) -> Option<Self> {
        let [a, b, c, d, ..] = Identity::of(&["embedding", model]).0;
        Self::along(u32::from_le_bytes([a, b, c, d]), values)
    }

    fn along(space: u32, values: &[f32]) -> Option<Self> {
        let norm = values.iter().map(|value| value * value).sum::<f32>().sqrt();
        let byte = |value: &f32| (value / norm * UNIT).round() as i8;
        (norm.is_normal()).then(|| Self { space, values: values.iter().map(byte).collect() })
    }

    /// Cosine of the angle between two directions (-1 to 1); `None` when they are of different spaces.
    pub fn cosine(&self, other: &Self) -> Option<f32> {
        let same = self.space == other.space && self.values.len() == other.values.len();
        let dot = |one: &[i8], other: &[i8]| -> i32 {
            one.iter().zip(other).map(|(a, b)| i32::from(*a) * i32::from(*b)).sum()
        };
        let length = |values: &[i8]| (dot(values, values) as f32).sqrt();
        same.then(|| dot(&self.values, &other.values) as f32 / (length(&self.values) * length(&other.values)))
    }

    /// The mean of `count` directions that this one is the mean of, and `other`; `other` when they are of different spaces.
    pub fn joined(&self, count: usize, other: &Self) -> Self {
        if self.space != other.space || self.values.len() != other.values.len() {
            return other.clone();
        }
        let sum = |(mean, value): (&i8, &i8)| f32::from(*mean) * count as f32 + f32::from(*value);
        let sums: Vec<f32> = self.values.iter().zip(&other.values).map(sum).collect();
        Self::along(self.space, &sums).unwrap_or_else(|| other.clone())
    }

    /// As the store keeps it.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.space.to_le_bytes().into_iter().chain(self.values.iter().map(|value| value.cast_unsigned())).collect()
    }

    /// What [`Embedding::to_bytes`] gave.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (space, values) = bytes.split_first_chunk::<4>()?;
        let values: Box<[i8]> = values.iter().map(|value| value.cast_signed()).collect();
        values.iter().any(|value| *value != 0).then(|| Self { space: u32::from_le_bytes(*space), values })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn embeddings_are_compared_within_a_space_and_come_back_from_their_bytes() {
        let one = Embedding::of("a", &[3.0, 4.0, 0.0]).unwrap();
        let other = Embedding::of("a", &[0.0, 2.0, 0.0]).unwrap();
        assert!((one.cosine(&other).unwrap() - 0.8).abs() < 0.01);
        assert!(one.joined(1, &other).cosine(&one).unwrap() > 0.9);
        assert_eq!(Embedding::of("b", &[3.0, 4.0, 0.0]).unwrap().cosine(&one), None);
        assert_eq!(Embedding::of("a", &[0.0, f32::NAN]), None);
        assert_eq!(Embedding::from_bytes(&one.to_bytes()), Some(one));
        assert_eq!(Embedding::from_bytes(&[1, 2, 3, 4, 0, 0]), None);
    }
}
