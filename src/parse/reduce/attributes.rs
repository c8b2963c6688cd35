//! Attributes of a start tag, read when they are wanted.

use quick_xml::events::attributes::Attributes;

use crate::parse::entities::{self, Own};

/// Most attributes looked at in one tag. Real tags stay under 30 (all namespaces on a root).
const MAX_COUNT: usize = 64;

/// Longest value taken, in bytes: the longest link kept.
const MAX_VALUE: usize = crate::parse::links::MAX_LINK;

/// The attributes of one start tag.
#[derive(Clone, Copy)]
pub struct Tag<'a, 'o> {
    /// All between the angle brackets.
    pub inside: &'a str,
    /// The element's name, which `inside` begins with.
    pub name: &'a str,
    /// Entities of the document.
    pub own: &'o Own<'a>,
}

impl<'a> Tag<'a, '_> {
    /// Names as written and raw values. Values without quotes and names without values are taken as HTML takes them.
    fn raw(&self) -> impl Iterator<Item = (&'a str, std::borrow::Cow<'a, str>)> + use<'a> {
        let mut attributes = Attributes::html(self.inside, self.name.len());
        attributes.with_checks(false);
        let sound = attributes.take(MAX_COUNT).filter_map(Result::ok).filter(|found| found.value.len() <= MAX_VALUE);
        sound.map(|found| (found.key.0, found.value))
    }

    /// The value of the first of `names` that is there and not blank; case makes no difference.
    pub fn get(&self, names: &[&str]) -> Option<String> {
        if self.inside.len() <= self.name.len() {
            return None;
        }
        names.iter().find_map(|name| {
            let mut same = self.raw().filter(|(key, _)| key.eq_ignore_ascii_case(name));
            same.next().map(|(_, value)| entities::decoded(value.trim(), self.own)).filter(|value| !value.is_empty())
        })
    }

    /// Attributes of the `xml` family (`xmlns`, `xmlns:…`, `xml:base`, `xml:lang`), which any element may have.
    pub fn xml_family(&self) -> impl Iterator<Item = (&'a str, String)> {
        let any = memchr::memmem::find(self.inside.as_bytes(), b"xml").is_some();
        let family = any.then(|| self.raw()).into_iter().flatten().filter(|(key, _)| key.starts_with("xml"));
        family.map(|(key, value)| (key, entities::decoded(value.trim(), self.own)))
    }
}
