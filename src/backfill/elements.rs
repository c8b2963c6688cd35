//! The objects of a JSON document that is longer than memory: those in its outermost array, or one after the other.
//! Only brackets and strings are told apart here; each object is parsed on its own.

use std::io::BufRead;
use std::sync::Arc;

use super::feeder::{Feeder, Gather, Stop};
use super::piece::{Content, Reject};
use super::read::cut_off;

/// Cuts bytes into objects: those that lie directly in an array, no deeper than `deepest` (`[{…}]` is 2,
/// `{"items": [{…}]}` 3).
#[derive(Debug)]
struct Cutter {
    deepest: usize,
    /// Open brackets.
    stack: Vec<u8>,
    in_string: bool,
    escaped: bool,
    /// The depth at which the object in hand was opened.
    within: Option<usize>,
}

#[derive(Debug, PartialEq, Eq)]
enum Cut {
    Nothing,
    Begins,
    Ends,
    /// A bracket that closes another kind.
    Broken,
}

/// Brackets within each other that are followed; deeper ones are no list of news.
const DEEPEST: usize = 512;

/// Where lists of items lie at least, and at most: `{"data": {"blog": {"posts": [{…}]}}}`.
const LISTS: std::ops::RangeInclusive<usize> = 3..=5;

/// How deep the items may lie that `head` begins. The shallowest list says it, so that lists in what stands around the
/// items (`{"meta": {"tags": [{…}]}, "items": [{…}]}`) are not taken for them.
fn depth(head: &[u8]) -> usize {
    let mut cutter = Cutter::new(*LISTS.end(), false);
    let lists = head.iter().filter_map(|&byte| (cutter.take(byte) == Cut::Begins).then_some(cutter.stack.len()));
    lists.min().unwrap_or(*LISTS.end()).max(*LISTS.start())
}

/// Whether there is a list without anything in it: an export of a day without news is no fault.
fn holds_empty_list(head: &[u8]) -> bool {
    memchr::memchr_iter(b'[', head).any(|at| head[at + 1..].trim_ascii_start().starts_with(b"]"))
}

impl Cutter {
    /// `bare` objects lie in an array that nobody wrote.
    fn new(deepest: usize, bare: bool) -> Self {
        let stack = if bare { vec![b'['] } else { Vec::new() };
        Self { deepest, stack, in_string: false, escaped: false, within: None }
    }

    fn take(&mut self, byte: u8) -> Cut {
        if self.in_string {
            match byte {
                _ if self.escaped => self.escaped = false,
                b'\\' => self.escaped = true,
                b'"' => self.in_string = false,
                _ => {}
            }
            return Cut::Nothing;
        }
        match byte {
            b'"' => self.in_string = true,
            b'{' | b'[' => return self.open(byte),
            b'}' | b']' => return self.close(byte),
            _ => {}
        }
        Cut::Nothing
    }

    fn open(&mut self, byte: u8) -> Cut {
        if self.stack.len() >= DEEPEST {
            return Cut::Broken;
        }
        self.stack.push(byte);
        let listed = self.stack.len() <= self.deepest && self.stack.ends_with(b"[{");
        if self.within.is_none() && listed {
            self.within = Some(self.stack.len());
            return Cut::Begins;
        }
        Cut::Nothing
    }

    fn close(&mut self, byte: u8) -> Cut {
        let fits = matches!((self.stack.pop(), byte), (Some(b'{'), b'}') | (Some(b'['), b']'));
        if !fits {
            return Cut::Broken;
        }
        if self.within == Some(self.stack.len() + 1) {
            self.within = None;
            return Cut::Ends;
        }
        Cut::Nothing
    }
}

const NO_LIST: &str = "no list of objects is near its top: make them one a line, as jq -c '.PATH.TO.LIST[]' does";

/// Reads the objects of `file`. `bare` are objects one after the other, as `jq` prints them; otherwise an array holds them.
pub fn read(
    mut reader: impl BufRead,
    bare: bool,
    feeder: &mut Feeder,
    file: &Arc<str>,
    limit: usize,
) -> Result<(), Stop> {
    let mut gather = Gather::new(feeder, file, Content::Json);
    let head = reader.fill_buf().map_err(|error| cut_off(file, &error, 1))?;
    let (mut cutter, empty) = (Cutter::new(depth(head), bare), holds_empty_list(head));
    let (mut object, mut inside, mut long) = (Vec::new(), false, false);
    let (mut at, mut begin, mut number) = (0_u64, 0_u64, 0_u64);
    loop {
        let chunk = reader.fill_buf().map_err(|error| cut_off(file, &error, number + 1))?;
        if chunk.is_empty() {
            break;
        }
        let length = chunk.len();
        for &byte in chunk {
            let cut = cutter.take(byte);
            if cut == Cut::Begins {
                (inside, long, begin) = (true, false, at);
                number += 1;
            }
            if inside && object.len() < limit {
                object.push(byte);
            } else if inside {
                long = true;
            }
            at += 1;
            match cut {
                Cut::Ends if long => {
                    let reject = Reject::of(file, "too long", "an object beyond [backfill] max_record");
                    gather.broken(reject.at(number, begin).text(&object[..object.len().min(1_024)]))?;
                }
                Cut::Ends => gather.push(&object, number, begin)?,
                Cut::Broken => {
                    gather.flush()?;
                    return Err(Stop::Trouble(
                        Reject::of(file, "broken JSON", "a bracket is closed that was not opened")
                            .at(number.max(1), at - 1),
                    ));
                }
                Cut::Begins | Cut::Nothing => continue,
            }
            object.clear();
            inside = false;
        }
        reader.consume(length);
    }
    if cutter.stack.len() > usize::from(bare) || cutter.in_string {
        gather.flush()?;
        let reject = Reject::of(file, "cut off", "the document ends within its brackets");
        return Err(Stop::Trouble(reject.at(number.max(1), at)));
    }
    if number == 0 && !empty {
        return Err(Stop::trouble(file, "no items", NO_LIST));
    }
    gather.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str, bare: bool) -> Vec<String> {
        let mut cutter = Cutter::new(depth(text.as_bytes()), bare);
        let (mut found, mut start) = (Vec::new(), 0);
        for (at, byte) in text.bytes().enumerate() {
            match cutter.take(byte) {
                Cut::Begins => start = at,
                Cut::Ends => found.push(text[start..=at].to_owned()),
                Cut::Broken => found.push("broken".into()),
                Cut::Nothing => {}
            }
        }
        found
    }

    #[test]
    fn objects_are_found_where_lists_hold_them() {
        assert_eq!(objects(r#"[{"a": "}{"}, {"b": [{"c": 1}]}]"#, false), [r#"{"a": "}{"}"#, r#"{"b": [{"c": 1}]}"#]);
        assert_eq!(objects(r#"{"id": "x", "items": [{"a": "\""}, 3], "n": 1}"#, false), [r#"{"a": "\""}"#]);
        assert_eq!(objects("{\n\"a\": 1}\n{\"b\": {}}", true), ["{\n\"a\": 1}", "{\"b\": {}}"]);
        assert_eq!(objects("[}", false), ["broken"]);
    }

    #[test]
    fn lists_are_found_within_wrappers_but_not_beside_a_list_above_them() {
        assert_eq!(
            objects(r#"{"response": {"results": [{"a": 1}, {"b": [{}]}]}}"#, false),
            [r#"{"a": 1}"#, r#"{"b": [{}]}"#]
        );
        assert_eq!(objects(r#"{"data": {"blog": {"posts": [{"a": 1}]}}}"#, false), [r#"{"a": 1}"#]);
        assert_eq!(objects(r#"[[{"a": 1}], [{"b": 2}]]"#, false), [r#"{"a": 1}"#, r#"{"b": 2}"#]);
        assert_eq!(objects(r#"{"meta": {"tags": [{"t": 1}]}, "items": [{"a": 1}]}"#, false), [r#"{"a": 1}"#]);
        assert!(objects(r#"{"a": {"b": {"c": {"d": [{"e": 1}]}}}}"#, false).is_empty());
    }
}
