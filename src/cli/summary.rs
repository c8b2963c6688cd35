//! The closing lines of a run.

use std::io::Write;
use std::path::Path;

use super::Exit;
use crate::pipeline::Totals;

/// The totals in words; `source` is what was read ("feeds", "files").
pub(super) fn lines(totals: &Totals, source: &str, file: &Path) -> String {
    let t = totals;
    let mut text = format!(
        "{source:<8} {} read, {} unchanged, {} failed\n\
         items    {} in them: {} new, {} duplicates, {} revised, {} without text\n\
         judged   {} alerts, {} not relevant",
        t.documents,
        t.not_modified,
        t.failed,
        t.items,
        t.new,
        t.duplicate,
        t.revised,
        t.rejected,
        t.alert,
        t.irrelevant,
    );
    for (count, what) in [(t.unscorable, "that the model could not judge"), (t.waiting(), "left for the next run")] {
        if count > 0 {
            text += &format!(", {count} {what}");
        }
    }
    if t.sinks_behind > 0 {
        text += &format!("\nsinks    {} did not take all of their alerts; the log says why", t.sinks_behind);
    }
    text + &format!(
        "\nalerts   {} written to {}",
        t.delivered,
        if file.as_os_str() == "-" { "standard output".into() } else { file.display().to_string() }
    )
}

/// Shows the totals: as JSON on standard output for programs, else in words on standard error, out of the way of alerts
/// on standard output.
pub(super) fn show(totals: &Totals, json: bool, source: &str, file: &Path) -> anyhow::Result<()> {
    if json {
        return Ok(writeln!(std::io::stdout(), "{}", serde_json::to_string(totals)?)?);
    }
    Ok(writeln!(std::io::stderr(), "{}", lines(totals, source, file))?)
}

/// All well, partly, or nothing at all.
pub(super) fn exit(totals: &Totals) -> Exit {
    match (totals.failed, totals.documents + totals.not_modified) {
        (0, _) if totals.sinks_behind > 0 => Exit::Partly,
        (0, _) => Exit::Ok,
        (_, 0) => Exit::Failed,
        _ => Exit::Partly,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_exit_code_says_whether_all_some_or_none_failed() {
        let totals = |documents, failed| Totals { documents, failed, ..Totals::default() };
        assert_eq!(exit(&totals(3, 0)), Exit::Ok);
        assert_eq!(exit(&totals(3, 1)), Exit::Partly);
        assert_eq!(exit(&totals(0, 1)), Exit::Failed);
        assert_eq!(exit(&totals(0, 0)), Exit::Ok);
    }
}
