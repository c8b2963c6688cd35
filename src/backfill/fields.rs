//! Names of fields, as tables and JSON objects of news have them, and what stands in them made an entry.

use std::collections::HashMap;
use std::fmt;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use crate::item::Entry;
use crate::parse::{MAX_SUMMARY, MAX_TITLE, TextKind, author, dates, declared_language, label, links, plain};

/// Most authors and categories kept of one item: as many as of a feed's entry.
const MAX_LABELS: usize = 32;

/// What a field of a record can be to an item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Field {
    /// The outlet's own id.
    Id,
    /// The headline.
    Title,
    /// The address.
    Link,
    /// The lead, or more of the text.
    Summary,
    /// When it was published.
    Published,
    /// When it was changed.
    Updated,
    /// Who wrote it.
    Author,
    /// What it is filed under.
    Category,
    /// Its language.
    Language,
    /// The address of its feed.
    FeedUrl,
    /// The name of its feed or outlet.
    FeedTitle,
}

const FIELDS: usize = 11;

/// The usual names, best first, without case, blanks, `_`, `-` and `:`.
const USUAL: [(Field, &[&str]); FIELDS] = [
    (Field::Id, &["guid", "id", "uid", "uuid", "identifier", "articleid", "entryid", "itemid", "gkgrecordid"]),
    (Field::Title, &["title", "headline", "pagetitle", "heading", "name", "subject"]),
    (
        Field::Link,
        &[
            "canonical",
            "canonicalurl",
            "url",
            "link",
            "alternate",
            "permalink",
            "href",
            "externalurl",
            "articleurl",
            "weburl",
            "documentidentifier",
            "sourceurl",
        ],
    ),
    (
        Field::Summary,
        &[
            "summary",
            "description",
            "excerpt",
            "lead",
            "abstract",
            "snippet",
            "standfirst",
            "teaser",
            "trailtext",
            "subtitle",
            "content",
            "contenttext",
            "contenthtml",
            "contentencoded",
            "text",
            "body",
            "articlebody",
            "fulltext",
            "maintext",
        ],
    ),
    (
        Field::Published,
        &[
            "published",
            "publishedat",
            "datepublished",
            "publisheddate",
            "pubdate",
            "publicationdate",
            "publishdate",
            "publishedtime",
            "publishtime",
            "publishedon",
            "firstpublicationdate",
            "webpublicationdate",
            "dategmt",
            "date",
            "datetime",
            "issued",
            "dcdate",
            "createdat",
            "created",
            "seendate",
            "timestamp",
            "time",
            "crawltimemsec",
        ],
    ),
    (
        Field::Updated,
        &[
            "updated",
            "updatedat",
            "datemodified",
            "modified",
            "modifiedat",
            "modifiedgmt",
            "lastmodified",
            "lastupdated",
        ],
    ),
    (Field::Author, &["authors", "author", "creator", "dccreator", "byline", "writers"]),
    (
        Field::Category,
        &["categories", "category", "tags", "tag", "keywords", "section", "topics", "subjects", "labels"],
    ),
    (Field::Language, &["language", "lang", "languagecode", "sourcelang", "inlanguage", "locale"]),
    (Field::FeedUrl, &["feedurl", "feedlink", "rssurl", "xmlurl", "feed", "streamid", "origin"]),
    (
        Field::FeedTitle,
        &[
            "feedtitle",
            "feedname",
            "source",
            "sourcename",
            "sourcetitle",
            "publisher",
            "outlet",
            "sitename",
            "publication",
            "sourcecommonname",
            "domain",
            "site",
        ],
    ),
];

/// How good a name for an id `guid` is; better is only one that the user gave.
const NAMED_GUID: u8 = 1;

/// Where a name's value goes, and how good a source of it the name is (0 is best).
pub type Slot = (Field, u8);

/// Which names stand for which fields.
#[derive(Debug, Default)]
pub struct FieldMap {
    usual: HashMap<&'static str, Slot>,
    named: HashMap<String, Field>,
    /// Paths into nested objects, `data.headline`; each is in `named` too.
    paths: Vec<(String, Field)>,
}

impl FieldMap {
    /// The usual names, but for the fields that `named` (`title=headline`) assigns.
    ///
    /// # Errors
    /// What is wrong with an assignment.
    pub fn new(named: &[String]) -> Result<Self, String> {
        let mut map = Self::default();
        for assignment in named {
            let (field, name) = assignment
                .split_once('=')
                .filter(|(_, name)| !name.is_empty())
                .ok_or_else(|| format!("use --field {assignment}: it is FIELD=NAME, such as title=headline"))?;
            let field = parse_field(field).ok_or_else(|| format!("use --field {assignment}: {FIELD_NAMES}"))?;
            if name.contains('.') {
                map.paths.push((format!("/{}", name.replace('.', "/")), field));
            }
            // Flattened objects have names with dots: such a name is a path and a name at once.
            map.named.insert(name.to_owned(), field);
        }
        let taken = |field: Field| map.named.values().any(|named| *named == field);
        let free: Vec<_> = USUAL.iter().filter(|(field, _)| !taken(*field)).collect();
        for (field, names) in free {
            map.usual.extend((1_u8..).zip(*names).map(|(rank, name)| (*name, (*field, rank))));
        }
        Ok(map)
    }

    /// What `name` stands for.
    pub fn slot(&self, name: &str) -> Option<Slot> {
        if let Some(field) = self.named.get(name) {
            return Some((*field, 0));
        }
        /// The longest usual name, and some for the signs between its words.
        const LONGEST: usize = 32;
        if name.len() > LONGEST {
            return None;
        }
        let (mut plain, mut length) = ([0_u8; LONGEST], 0);
        for byte in name.bytes().filter(|byte| !matches!(byte, b'_' | b'-' | b' ' | b':' | b'.')) {
            plain[length] = byte.to_ascii_lowercase();
            length += 1;
        }
        self.usual.get(std::str::from_utf8(&plain[..length]).ok()?).copied()
    }
}

const FIELD_NAMES: &str =
    "the fields are id, title, link, summary, published, updated, author, category, language, feed_url, feed_title";

fn parse_field(text: &str) -> Option<Field> {
    Some(match text {
        "id" => Field::Id,
        "title" => Field::Title,
        "link" | "url" => Field::Link,
        "summary" => Field::Summary,
        "published" => Field::Published,
        "updated" => Field::Updated,
        "author" => Field::Author,
        "category" => Field::Category,
        "language" => Field::Language,
        "feed_url" => Field::FeedUrl,
        "feed_title" => Field::FeedTitle,
        _ => return None,
    })
}

/// A record's values, raw, by what they are to an item.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct Row {
    values: [Option<(u8, String)>; FIELDS],
    /// Names, in order.
    pub authors: Vec<String>,
    /// Labels, in order.
    pub categories: Vec<String>,
}

impl Row {
    /// Puts a value, unless there is one from a better name.
    pub fn put(&mut self, (field, rank): Slot, value: impl Into<String>) {
        let value = value.into();
        if value.trim().is_empty() {
            return;
        }
        match field {
            Field::Author if self.authors.len() < MAX_LABELS => self.authors.push(value),
            Field::Category if self.categories.len() < MAX_LABELS => self.categories.push(value),
            Field::Author | Field::Category => {}
            _ => {
                let place = &mut self.values[field as usize];
                if place.as_ref().is_none_or(|(known, _)| rank < *known) {
                    *place = Some((rank, value));
                }
            }
        }
    }

    /// A value.
    pub fn get(&self, field: Field) -> Option<&str> {
        self.values[field as usize].as_ref().map(|(_, value)| value.as_str())
    }

    /// Forgets a value.
    pub fn forget(&mut self, field: Field) {
        self.values[field as usize] = None;
    }

    /// The entry that it makes; its language only as declared.
    pub fn entry(&self) -> Entry {
        let text = |field, limit| self.get(field).map(|text| plain(text, TextKind::Html, limit)).unwrap_or_default();
        let date = |field| self.get(field).and_then(dates::parse);
        let (published, updated) = (date(Field::Published), date(Field::Updated));
        Entry {
            guid: self.id().map(str::to_owned),
            title: text(Field::Title, MAX_TITLE),
            link: self.get(Field::Link).and_then(|link| links::absolute(link, [])).filter(|link| links::is_web(link)),
            summary: text(Field::Summary, MAX_SUMMARY),
            published: published.or(updated),
            updated,
            authors: self.authors.iter().filter_map(|name| author(name)).collect(),
            categories: self.categories.iter().filter_map(|name| label(name)).collect(),
            language: self.get(Field::Language).and_then(language),
        }
    }

    /// The outlet's own id. What a table numbers its rows by is none: the next table of the same outlet begins at one again, and its
    /// items would be taken for those of the first.
    fn id(&self) -> Option<&str> {
        let (rank, id) = self.values[Field::Id as usize].as_ref()?;
        let id = id.trim();
        let may_count_rows = *rank > NAMED_GUID && id.bytes().all(|byte| byte.is_ascii_digit());
        let known_otherwise = may_count_rows && self.get(Field::Link).is_some();
        (id.len() <= links::MAX_LINK && !known_otherwise).then_some(id)
    }

    /// The address that stands for its outlet: the feed's, else the site's root, if either is known.
    pub fn outlet(&self) -> Option<String> {
        let feed = self.get(Field::FeedUrl).map(|url| url.strip_prefix("feed/").unwrap_or(url));
        feed.filter(|url| links::is_web(url)).map(str::to_owned).or_else(|| site(self.get(Field::Link)?))
    }
}

/// `https://host/` of an address.
pub fn site(link: &str) -> Option<String> {
    let rest = link.trim().split_once("://")?;
    let host = rest.1.split(['/', '?', '#']).next()?;
    let host = host.rsplit('@').next()?;
    (matches!(rest.0, "http" | "https") && !host.is_empty()).then(|| format!("https://{}/", host.to_ascii_lowercase()))
}

/// A language by its tag, or by its English name, as GDELT has it.
fn language(text: &str) -> Option<String> {
    declared_language(text).filter(|tag| tag.len() < text.trim().len() || text.trim().len() <= 3).or_else(|| {
        let name = text.trim();
        let lang = whatlang::Lang::all().iter().find(|lang| lang.eng_name().eq_ignore_ascii_case(name))?;
        declared_language(lang.code())
    })
}

/// Reads one JSON object.
///
/// # Errors
/// Where it is not sound, or is no object.
pub fn object(text: &[u8], map: &FieldMap) -> serde_json::Result<Row> {
    let mut row = Row::default();
    let mut reader = serde_json::Deserializer::from_slice(text);
    if map.paths.is_empty() {
        (&mut reader).deserialize_map(Fill { row: &mut row, map })?;
    } else {
        let value: Value = serde::Deserialize::deserialize(&mut reader)?;
        fill(&value, map, &mut row);
    }
    reader.end()?;
    Ok(own_ids_go(row))
}

/// Ids that a feed reader gave out itself tell nothing: the same item has another in the next reader.
fn own_ids_go(mut row: Row) -> Row {
    let readers = row.get(Field::Id).is_some_and(|id| id.starts_with("tag:google.com,2005:reader"));
    if readers {
        row.forget(Field::Id);
    }
    row
}

fn fill(value: &Value, map: &FieldMap, row: &mut Row) {
    for (path, field) in &map.paths {
        value.pointer(path).into_iter().for_each(|value| put(row, (*field, 0), value));
    }
    for (name, value) in value.as_object().into_iter().flatten() {
        map.slot(name).into_iter().for_each(|slot| put(row, slot, value));
    }
}

struct Fill<'r> {
    row: &'r mut Row,
    map: &'r FieldMap,
}

impl<'de> Visitor<'de> for Fill<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<(), A::Error> {
        let mut own_id = false;
        while let Some(key) = object.next_key_seed(Name(self.map))? {
            match key {
                Key::Slot(slot) => put(self.row, slot, &object.next_value::<Value>()?),
                Key::Reader => own_id = object.next_value::<IgnoredAny>().map(|_| true)?,
                Key::Other => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        if own_id {
            self.row.forget(Field::Id);
        }
        Ok(())
    }
}

enum Key {
    Slot(Slot),
    /// A field that only exports of Miniflux have: its ids are its own.
    Reader,
    Other,
}

struct Name<'m>(&'m FieldMap);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Key;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Key, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Key;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Key, E> {
        Ok(match self.0.slot(name) {
            Some(slot) => Key::Slot(slot),
            None if name == "share_code" => Key::Reader,
            None => Key::Other,
        })
    }
}

/// Puts a JSON value: of an object what stands for it, of an array the first (of authors and categories, each).
fn put(row: &mut Row, slot: Slot, value: &Value) {
    let (field, rank) = slot;
    match value {
        Value::Object(object) if matches!(field, Field::FeedUrl | Field::FeedTitle) => {
            let part = |names: &[&str]| names.iter().find_map(|name| object.get(*name)?.as_str());
            let url = part(&["feed_url", "feedUrl", "streamId", "xmlUrl", "url"]);
            url.into_iter().for_each(|url| row.put((Field::FeedUrl, rank), url));
            let title = part(&["title", "name"]);
            title.into_iter().for_each(|title| row.put((Field::FeedTitle, rank), title));
        }
        Value::Array(many) if matches!(field, Field::Author | Field::Category) => {
            many.iter().filter_map(scalar).for_each(|one| row.put(slot, one));
        }
        Value::Array(many) => many.first().into_iter().for_each(|first| put(row, slot, first)),
        // Tables hold lists in one cell, readers mark states as labels.
        other => scalar(other).into_iter().for_each(|text| row.put(slot, text)),
    }
}

fn scalar(value: &Value) -> Option<String> {
    /// What stands for an object: WordPress's `rendered`, the readers' `content` and `href`, a person's `name`.
    const PARTS: [&str; 10] =
        ["rendered", "content", "value", "text", "name", "title", "label", "href", "url", "#text"];
    match value {
        Value::String(text) => Some(text.clone()).filter(|text| !text.starts_with("user/-/state/")),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(_) | Value::Null => None,
        Value::Object(object) => PARTS.iter().find_map(|part| object.get(*part)?.as_str()).map(str::to_owned),
        Value::Array(many) => many.first().and_then(scalar),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(text: &str, named: &[&str]) -> Row {
        let named: Vec<String> = named.iter().map(|name| (*name).to_owned()).collect();
        object(text.as_bytes(), &FieldMap::new(&named).unwrap()).unwrap()
    }

    #[test]
    fn usual_names_are_known() {
        let entry = row(
            r#"{"Headline": "Talks &amp; tea", "permalink": "https://o.example/1", "published_at": "2024-05-01T10:00:00Z",
                "body": "Long <b>text</b>", "excerpt": "Short", "byline": "Ada", "keywords": ["a", {"name": "b"}], "lang": "en-GB",
                "unknown": {"deep": [1]}, "guid": 7}"#,
            &[],
        )
        .entry();
        assert_eq!((entry.title.as_str(), entry.summary.as_str()), ("Talks & tea", "Short"));
        assert_eq!(entry.published.unwrap().to_rfc3339(), "2024-05-01T10:00:00+00:00");
        assert_eq!((entry.guid.as_deref(), entry.language.as_deref()), (Some("7"), Some("en")));
        assert_eq!((entry.authors, entry.categories), (vec!["Ada".to_owned()], vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn named_fields_replace_usual_ones_also_within_objects() {
        let text = r#"{"title": "Section", "kicker": "Talks", "meta": {"when": "2024-05-01"}}"#;
        assert_eq!(row(text, &["title=kicker"]).get(Field::Title), Some("Talks"));
        let nested = row(text, &["title=kicker", "published=meta.when"]);
        assert_eq!((nested.get(Field::Title), nested.get(Field::Published)), (Some("Talks"), Some("2024-05-01")));
        assert_eq!(
            row(r#"{"meta.title": "Talks", "title": "Section"}"#, &["title=meta.title"]).get(Field::Title),
            Some("Talks")
        );
        assert!(FieldMap::new(&["headline=x".into()]).unwrap_err().contains("the fields are id, title"));
        assert!(FieldMap::new(&["title".into()]).unwrap_err().contains("title=headline"));
    }

    #[test]
    fn exports_of_readers_are_understood() {
        let greader = row(
            r#"{"id": "tag:google.com,2005:reader/item/0001", "title": "Talks", "published": 1714557600, "crawlTimeMsec": "1",
                "canonical": [{"href": "https://o.example/1"}], "summary": {"content": "<p>Lead</p>"},
                "categories": ["user/-/state/com.google/read", "Peace"],
                "origin": {"streamId": "feed/https://o.example/rss", "title": "Outlet", "htmlUrl": "https://o.example/"}}"#,
            &[],
        );
        assert_eq!(greader.outlet().as_deref(), Some("https://o.example/rss"));
        assert_eq!((greader.get(Field::FeedTitle), greader.get(Field::Id)), (Some("Outlet"), None));
        assert_eq!(
            (greader.entry().summary.as_str(), greader.categories.as_slice()),
            ("Lead", &["Peace".to_owned()][..])
        );
        let miniflux = row(
            r#"{"id": 9, "title": "Talks", "url": "https://o.example/1", "published_at": "2024-05-01T10:00:00Z", "share_code": "",
                "content": "Lead", "feed": {"id": 3, "title": "Outlet", "feed_url": "https://o.example/rss"}}"#,
            &[],
        );
        assert_eq!((miniflux.outlet().as_deref(), miniflux.get(Field::Id)), (Some("https://o.example/rss"), None));
        assert_eq!(miniflux.entry().summary, "Lead");
    }

    #[test]
    fn an_outlet_is_the_site_where_no_feed_is_named() {
        assert_eq!(row(r#"{"url": "http://Me@O.Example/a?b"}"#, &[]).outlet().as_deref(), Some("https://o.example/"));
        assert_eq!(row(r#"{"title": "t"}"#, &[]).outlet(), None);
        assert_eq!(row(r#"{"sourcelang": "French"}"#, &[]).entry().language.as_deref(), Some("fr"));
        assert!(object(b"[1]", &FieldMap::default()).is_err());
    }
}
