//! What the alert file knows when the state does not: the items whose alerts stand in it.

use std::collections::HashSet;
use std::io::BufRead;
use std::ops::ControlFlow;
use std::path::Path;

use serde::Deserialize;

use super::walk::{Order, walk};
use crate::item::Identity;

/// The items whose alerts stand in the alert file at `path` or in those it was rotated to. Lines that are no alerts are passed
/// over; a file that cannot be read is named in the log.
pub fn alerted(path: &Path) -> HashSet<Identity> {
    let mut items = HashSet::new();
    let walked = walk(path, Order::NewestFirst, |part| {
        for line in part.text()?.split(b'\n') {
            let Ok(alert) = serde_json::from_slice::<Alert>(&line?) else { continue };
            items.extend(alert.item.id.parse::<Identity>().ok());
        }
        Ok(ControlFlow::Continue(()))
    });
    if let Err(error) = walked {
        tracing::warn!(path = %path.display(), %error, "cannot read the alert file; its alerts may come again");
    }
    items
}

#[derive(Deserialize)]
struct Alert {
    item: Item,
}

#[derive(Deserialize)]
struct Item {
    id: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_and_what_it_was_rotated_to_are_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("alerts.jsonl");
        let line = |id: &str| format!("{{\"alert_id\":\"x\",\"item\":{{\"id\":\"{}\"}}}}\n", Identity::of(&[id]));
        std::fs::write(&path, format!("{}by hand\n{}{{\"torn", line("a"), line("b"))).unwrap();
        let closed = zstd::encode_all(line("c").as_bytes(), 1).unwrap();
        std::fs::write(dir.path().join("alerts-20260101T000000Z.jsonl.zst"), closed).unwrap();
        std::fs::write(dir.path().join("alerts-20260102T000000Z.jsonl.zst"), "no such thing").unwrap();
        assert_eq!(alerted(&path), ["a", "b", "c"].map(|id| Identity::of(&[id])).into());
        assert!(alerted(Path::new("-")).is_empty());
    }
}
