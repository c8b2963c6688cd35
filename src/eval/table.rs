//! The report for people.

use std::collections::BTreeMap;
use std::io::{Result, Write};

use super::{Miss, Report, Slice};
use crate::train::label::printable;

pub(super) fn write(report: &Report, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "model      {}", report.model)?;
    writeln!(out, "items      {}, {} of grade 2", report.n, report.n_negotiation)?;
    writeln!(out, "threshold  {:.3}", report.threshold)?;
    writeln!(out, "speed      {:.0} items a second\n", report.items_per_s)?;
    let m = &report.measures;
    for (label, key, value) in [
        ("average precision, grade 2", "ap_negotiation", m.ap_negotiation),
        ("average precision, grade 1 and 2", "ap_diplomacy", m.ap_diplomacy),
        ("precision of alerts", "precision", m.precision),
        ("recall of grade 2", "recall", m.recall),
        ("F1", "f1", m.f1),
        ("calibration error", "ece", m.ece),
        ("stage macro-F1", "stage_macro_f1", m.stage_macro_f1),
    ] {
        let [low, high] = report.intervals.get(key).copied().unwrap_or_default();
        writeln!(out, "{label:<34}{value:.3}   95 %: {low:.3} to {high:.3}")?;
    }
    slices("month", &report.months, out)?;
    slices("draw", &report.draws, out)?;
    slices("source", &report.sources, out)?;
    misses("worst false alarms", &report.worst_false_alarms, out)?;
    misses("worst misses", &report.worst_misses, out)?;
    if let Some(comparison) = &report.comparison {
        writeln!(out, "\nless {}, paired bootstrap", comparison.other)?;
        for (name, difference) in &comparison.differences {
            let [low, high] = difference.interval;
            writeln!(out, "{name:<34}{:+.3}   95 %: {low:+.3} to {high:+.3}", difference.value)?;
        }
    }
    Ok(())
}

fn slices(by: &str, slices: &BTreeMap<String, Slice>, out: &mut dyn Write) -> Result<()> {
    writeln!(out, "\n{by:<34}{:>6}{:>9}{:>8}{:>11}{:>8}", "items", "grade 2", "AP", "precision", "recall")?;
    for (name, s) in slices {
        let name: String = name.chars().take(32).collect();
        let (ap, precision, recall) = (s.ap_negotiation, s.precision, s.recall);
        writeln!(out, "{name:<34}{:>6}{:>9}{ap:>8.3}{precision:>11.3}{recall:>8.3}", s.n, s.n_negotiation)?;
    }
    Ok(())
}

fn misses(title: &str, misses: &[Miss], out: &mut dyn Write) -> Result<()> {
    writeln!(out, "\n{title}")?;
    for miss in misses {
        writeln!(out, "{:.3}  grade {}  {}", miss.score, miss.grade, printable(&miss.title))?;
    }
    Ok(())
}
