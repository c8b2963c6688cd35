//! What relative links are relative to: the stack of `xml:base`.

use std::cell::OnceCell;

use url::Url;

use crate::parse::links::{self, MAX_BASE};

/// Most bases within one another. Relative bases that pile up would otherwise grow with every level.
const MAX_NESTED: usize = 16;

/// The bases of the open elements, outermost first.
pub struct Bases<'u> {
    document: Option<&'u Url>,
    open: Vec<Base>,
}

struct Base {
    depth: usize,
    stated: String,
    /// Joined with the bases around it when a link asks for it, since most bases are never used.
    joined: OnceCell<Option<Url>>,
}

impl<'u> Bases<'u> {
    /// `document` is the address of the document.
    pub fn new(document: Option<&'u Url>) -> Self {
        Self { document, open: Vec::new() }
    }

    /// The element at `depth` has this `xml:base`.
    pub fn push(&mut self, depth: usize, stated: String) {
        if self.open.len() < MAX_NESTED && !stated.is_empty() && stated.len() <= MAX_BASE {
            self.open.push(Base { depth, stated, joined: OnceCell::new() });
        }
    }

    /// The elements at `depth` and deeper are closed.
    pub fn close(&mut self, depth: usize) {
        while self.open.last().is_some_and(|base| base.depth >= depth) {
            self.open.pop();
        }
    }

    /// `link` made absolute where an `xml:base` is in force; else as it stands, for the site's address to complete.
    pub fn resolve(&self, link: &str) -> Option<String> {
        let base = self.open.iter().fold(None, |outer, base| self.joined(base, outer).or(outer));
        links::absolute(link, base)
    }

    fn joined<'b>(&'b self, base: &'b Base, outer: Option<&'b Url>) -> Option<&'b Url> {
        let join = || {
            let absolute = links::absolute(&base.stated, outer.or(self.document))?;
            links::base(Url::parse(&absolute).ok()?)
        };
        base.joined.get_or_init(join).as_ref()
    }
}
