//! JSON that ends too early: what it holds whole is kept, as with XML.

/// `text` up to its last whole object in an array of the outermost object, and closed there; `None` when there is none.
pub fn closed(text: &str) -> Option<String> {
    let (mut depth, mut quoted, mut escaped) = (Vec::new(), false, false);
    let mut whole = None;
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            _ if quoted => {}
            b'{' | b'[' => depth.push(byte),
            b'}' | b']' => {
                depth.pop();
                if byte == b'}' && depth == [b'{', b'['] {
                    whole = Some(at + 1);
                }
            }
            _ => {}
        }
    }
    whole.map(|end| format!("{}]}}", &text[..end]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keeps_what_is_whole() {
        let whole = r#"{"title":"a ]} \" b","items":[{"id":"{1","tags":["x"]},{"id":2}]}"#;
        for end in (whole.find(",{\"id\":2").unwrap() + 1)..whole.find("2}]").unwrap() + 1 {
            let text = closed(&whole[..end]).unwrap();
            let value: serde_json::Value = serde_json::from_str(&text).unwrap();
            assert_eq!(value["items"].as_array().map(Vec::len), Some(1), "{text}");
        }
        assert_eq!(closed("{\"items\":[{\"id\":"), None);
        assert_eq!(closed("]}[{}"), None);
    }
}
