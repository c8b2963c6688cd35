//! The objects of a JSON document that is longer than memory: those in its outermost array, or one after the other.
//! Only brackets and strings are told apart here; each object is parsed on its own.

use std::io::BufRead;
use std::sync::Arc;

use super::feeder::{Feeder, Gather, Stop};
use super::piece::{Content, Reject};
use super::read::cut_off;

/// Cuts bytes into objects. An object is one that lies at the top or directly in an array which does so, or in an array
/// that an outermost object holds (`{"items": [{…}]}`).
#[derive(Debug, Default)]
struct Cutter {
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

impl Cutter {
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
        let begins = self.within.is_none() && byte == b'{' && matches!(self.stack[..], [b'[', _] | [b'{', b'[', _]);
        if begins {
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

/// Reads the objects of `file`. `bare` are objects one after the other, as `jq` prints them; otherwise an array holds them.
pub fn read(
    mut reader: impl BufRead,
    bare: bool,
    feeder: &mut Feeder,
    file: &Arc<str>,
    limit: usize,
) -> Result<(), Stop> {
    let mut gather = Gather::new(feeder, file, Content::Json);
    let mut cutter = Cutter::default();
    if bare {
        cutter.stack.push(b'[');
    }
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
    gather.end()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn objects(text: &str, bare: bool) -> Vec<String> {
        let mut cutter = Cutter::default();
        if bare {
            cutter.stack.push(b'[');
        }
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
}
