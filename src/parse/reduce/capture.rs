//! The text of one field while it comes in.

use quick_xml::escape::partial_escape;

use super::attributes::Tag;
use crate::parse::entities::{self, Own, push_limited};
use crate::parse::text::Kind;
use crate::parse::vocabulary::Role;

/// Most bytes taken of a field with markup and of a plain one. 16 KiB of markup hold far more than the summary that is
/// kept; no identifier, date or name is longer than 4 KiB.
const MAX_MARKUP: usize = 16 * 1_024;
const MAX_PLAIN: usize = 4 * 1_024;

/// A field that is being read.
pub struct Capture<'a> {
    pub role: Role,
    pub name: &'a str,
    /// Depth of its element.
    pub depth: usize,
    pub text: String,
    pub kind: Kind,
    pub permalink: Option<bool>,
    pub base64: bool,
    /// The part of a person that is being read, and those read so far.
    part: Option<Role>,
    pub person: Person,
    /// Elements of the same name open inside.
    nested: usize,
    /// The text is markup as it stands in the document (XHTML), not markup escaped as text.
    inline: bool,
}

/// Name and address of a person.
#[derive(Default)]
pub struct Person {
    pub name: String,
    pub email: String,
}

impl<'a> Capture<'a> {
    pub fn new(role: Role, tag: &Tag<'a, '_>, depth: usize) -> Self {
        let markup = is_markup(role);
        let stated = if markup { tag.get(&["type"]).unwrap_or_default().to_ascii_lowercase() } else { String::new() };
        let mode = if markup { tag.get(&["mode"]).unwrap_or_default() } else { String::new() };
        let is_text = stated.is_empty() && matches!(role, Role::Title | Role::MediaTitle) || stated.starts_with("text");
        Self {
            role,
            name: tag.name,
            depth,
            text: String::new(),
            kind: if is_text && stated != "text/html" { Kind::Text } else { Kind::Html },
            permalink: permalink(role, tag),
            base64: mode.eq_ignore_ascii_case("base64") || is_binary(&stated),
            part: None,
            person: Person::default(),
            nested: 0,
            inline: matches!(stated.as_str(), "xhtml" | "application/xhtml+xml")
                && !mode.eq_ignore_ascii_case("escaped"),
        }
    }

    /// Whether a start tag of this role means that the field was never closed.
    pub fn is_ended_by(&self, role: Role) -> bool {
        match self.role {
            Role::Summary | Role::MinorSummary | Role::Content => {
                // XML inside may have elements of these names too
                role.is_structure() || !self.inline && matches!(role, Role::Published | Role::Guid)
            }
            Role::Author => role.is_structure() || matches!(role, Role::Published | Role::Summary | Role::Title),
            Role::Aside => role.is_structure() || self.is_picture() && role.ends_short_field(),
            _ => role.ends_title(),
        }
    }

    /// An image or text input of RSS, which holds title, link and description alone.
    fn is_picture(&self) -> bool {
        same_name(self.name, "image") || same_name(self.name, "textinput")
    }

    pub fn push_text(&mut self, raw: &str, own: &Own<'_>) {
        match (self.role, self.inline) {
            (Role::Aside, _) => {}
            (_, true) => push_limited(raw, self.limit(), &mut self.text),
            (_, false) => entities::decode_into(raw, own, self.limit(), &mut self.text),
        }
    }

    pub fn push_cdata(&mut self, text: &str) {
        if self.inline {
            push_limited(&partial_escape(text), self.limit(), &mut self.text);
        } else if self.role != Role::Aside {
            push_limited(text, self.limit(), &mut self.text);
        }
    }

    /// A start tag inside the field.
    pub fn push_start(&mut self, name: &str, role: Role, empty: bool) {
        self.nested += usize::from(!empty && same_name(self.name, name));
        if self.role == Role::Author && matches!(role, Role::Name | Role::Email) {
            self.part = (!empty).then_some(role);
            self.text.clear();
        } else if is_markup(self.role) {
            self.become_inline();
            self.push_tag("<", name, if empty { "/>" } else { ">" });
        }
    }

    /// An end tag inside the field. Tells whether it is the field's own.
    pub fn push_end(&mut self, name: &str) -> bool {
        if same_name(self.name, name) && self.nested == 0 {
            return true;
        }
        self.nested -= usize::from(same_name(self.name, name));
        if let Some(part) = self.part.take() {
            let text = std::mem::take(&mut self.text).trim().to_owned();
            *(if part == Role::Name { &mut self.person.name } else { &mut self.person.email }) = text;
        } else if is_markup(self.role) {
            self.push_tag("</", name, ">");
        }
        false
    }

    fn push_tag(&mut self, open: &str, name: &str, close: &str) {
        if self.text.len() + name.len() + 3 < self.limit() {
            self.text.extend([open, local(name), close]);
        }
    }

    /// Elements show that the text is markup as it stands, whatever its type says.
    fn become_inline(&mut self) {
        self.inline = true;
        self.kind = Kind::Html;
    }

    fn limit(&self) -> usize {
        if is_markup(self.role) { MAX_MARKUP } else { MAX_PLAIN }
    }
}

fn is_markup(role: Role) -> bool {
    matches!(role, Role::Title | Role::MediaTitle | Role::Summary | Role::MinorSummary | Role::Content)
}

/// A media type that is neither text nor XML, which Atom carries as Base64.
fn is_binary(stated: &str) -> bool {
    stated.contains('/') && !stated.starts_with("text/") && !stated.ends_with("xml")
}

fn permalink(role: Role, tag: &Tag<'_, '_>) -> Option<bool> {
    let stated = if role == Role::Guid { tag.get(&["ispermalink"]) } else { None };
    stated.map(|stated| !stated.eq_ignore_ascii_case("false"))
}

/// Whether an end tag fits a start tag: same local name, whatever case and prefix.
pub fn same_name(start: &str, end: &str) -> bool {
    start == end || local(start).eq_ignore_ascii_case(local(end))
}

/// A name without its prefix.
pub fn local(name: &str) -> &str {
    memchr::memrchr(b':', name.as_bytes()).map_or(name, |colon| &name[colon + 1..])
}
