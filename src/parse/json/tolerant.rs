//! Types that take any JSON value and keep what they can use of it.

use std::fmt;
use std::marker::PhantomData;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use crate::parse::reduce::MAX_ENTRIES;

/// Most authors and tags kept of one item.
const MAX_LABELS: usize = 32;

/// A string; a number or boolean is written out, anything else is nothing.
#[derive(Default)]
pub struct Text(pub Option<String>);

/// Strings, one or many; of an object its `name`, else its `url`.
#[derive(Default)]
pub struct Many(pub Vec<String>);

/// The objects of an array, up to the most entries kept; anything else in it is nothing.
pub struct Items<T> {
    pub kept: Vec<T>,
    /// How many more there were.
    pub dropped: usize,
}

impl<T> Default for Items<T> {
    fn default() -> Self {
        Self { kept: Vec::new(), dropped: 0 }
    }
}

/// The part of an object that stands for a person or a hub.
#[derive(serde::Deserialize, Default)]
#[serde(default)]
struct Named {
    name: Text,
    url: Text,
}

/// An object, or something else in its place.
struct Maybe<T>(Option<T>);

/// Builds one of the types above from the parts of a value. What a method does not take is passed over.
trait Take<'de>: Sized + Default {
    fn scalar(_text: String) -> Self {
        Self::default()
    }

    fn array<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }

    fn object<A: MapAccess<'de>>(mut map: A) -> Result<Self, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Self::default())
    }
}

impl<'de> Take<'de> for Text {
    fn scalar(text: String) -> Self {
        Self(Some(text).filter(|text| !text.trim().is_empty()))
    }
}

impl<'de> Take<'de> for Many {
    fn scalar(text: String) -> Self {
        Self(Text::scalar(text).0.into_iter().collect())
    }

    fn array<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut all = Vec::new();
        while let Some(one) = seq.next_element::<Many>()? {
            all.extend(one.0.into_iter().take(MAX_LABELS - all.len().min(MAX_LABELS)));
        }
        Ok(Self(all))
    }

    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        let named = Named::deserialize(MapAccessDeserializer::new(map))?;
        Ok(Self(named.name.0.or(named.url.0).into_iter().collect()))
    }
}

impl<T> Default for Maybe<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<'de, T: Deserialize<'de>> Take<'de> for Maybe<T> {
    fn object<A: MapAccess<'de>>(map: A) -> Result<Self, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(|object| Self(Some(object)))
    }
}

impl<'de, T: Deserialize<'de>> Take<'de> for Items<T> {
    fn array<A: SeqAccess<'de>>(mut seq: A) -> Result<Self, A::Error> {
        let mut items = Self::default();
        while items.kept.len() < MAX_ENTRIES {
            let Some(item) = seq.next_element::<Maybe<T>>()? else { return Ok(items) };
            items.kept.extend(item.0);
        }
        while seq.next_element::<IgnoredAny>()?.is_some() {
            items.dropped += 1;
        }
        Ok(items)
    }
}

struct AnyValue<T>(PhantomData<T>);

impl<'de, T: Take<'de>> Visitor<'de> for AnyValue<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<T, E> {
        Ok(T::scalar(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<T, E> {
        Ok(T::scalar(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<T, E> {
        Ok(T::scalar(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<T, E> {
        Ok(T::scalar(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<T, E> {
        Ok(T::scalar(value.to_owned()))
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<T, A::Error> {
        T::array(seq)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<T, A::Error> {
        T::object(map)
    }
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Many {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Maybe<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Items<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue(PhantomData))
    }
}
