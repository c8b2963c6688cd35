//! The precision–recall curve and the reliability diagram, as SVG.

use std::path::Path;

use super::Scored;
use super::metrics;

/// Side of the plotted square, in SVG units, and the margin around it.
const SIDE: f64 = 400.0;
const MARGIN: f64 = 60.0;

/// Writes `precision-recall.svg` and `reliability.svg` into `dir`.
pub(super) fn write(dir: &Path, scored: &[Scored]) -> std::io::Result<()> {
    std::fs::create_dir_all(dir)?;
    std::fs::write(dir.join("precision-recall.svg"), precision_recall(scored))?;
    std::fs::write(dir.join("reliability.svg"), reliability(scored))
}

fn precision_recall(scored: &[Scored]) -> String {
    let mut ranked: Vec<(f32, bool)> = scored.iter().map(|s| (s.score, s.grade == 2)).collect();
    ranked.sort_by(|a, b| b.0.total_cmp(&a.0));
    let positives = ranked.iter().filter(|(_, positive)| *positive).count().max(1) as f64;
    let line = polyline(steps(&ranked, positives), "#1f5fa8");
    frame("Precision and recall of grade 2", "recall", "precision", &line)
}

/// The corners of the curve. No threshold parts items of equal score, so they are one step; the area under the steps is
/// the average precision.
fn steps(ranked: &[(f32, bool)], positives: f64) -> Vec<(f64, f64)> {
    let (mut hits, mut seen, mut recall) = (0, 0, 0.0);
    let mut corners = Vec::new();
    for tied in ranked.chunk_by(|a, b| a.0 == b.0) {
        hits += tied.iter().filter(|(_, positive)| *positive).count();
        seen += tied.len();
        let precision = hits as f64 / seen as f64;
        corners.push((recall, precision));
        recall = hits as f64 / positives;
        corners.push((recall, precision));
    }
    corners
}

fn reliability(scored: &[Scored]) -> String {
    let score: Vec<f32> = scored.iter().map(|s| s.score).collect();
    let positive: Vec<bool> = scored.iter().map(|s| s.grade == 2).collect();
    let bins = metrics::reliability(&score, &positive);
    // The dot of the lowest bin is wide and close to the corner: what is outside the frame is cut off.
    let mut body = format!(
        "<clipPath id=\"inside\"><rect x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{SIDE}\" height=\"{SIDE}\"/></clipPath>\n\
         {}<g clip-path=\"url(#inside)\">\n",
        polyline(vec![(0.0, 0.0), (1.0, 1.0)], "#999999")
    );
    for bin in bins.iter().filter(|bin| bin.items > 0) {
        let (x, y) = place(bin.score, bin.positives);
        // The area of a dot grows with the items it stands for.
        let radius = (bin.items as f64).sqrt().clamp(2.0, 18.0);
        body += &format!(
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{radius:.1}\" fill=\"#1f5fa8\" fill-opacity=\"0.6\"><title>{} items</title></circle>\n",
            bin.items
        );
    }
    body += "</g>\n";
    frame("Reliability of the score", "mean score", "share of grade 2", &body)
}

fn place(x: f64, y: f64) -> (f64, f64) {
    (MARGIN + x * SIDE, MARGIN + (1.0 - y) * SIDE)
}

fn polyline(points: Vec<(f64, f64)>, colour: &str) -> String {
    let points: Vec<String> =
        points.into_iter().map(|(x, y)| place(x, y)).map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    format!("<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\n", points.join(" "))
}

fn frame(title: &str, x_name: &str, y_name: &str, body: &str) -> String {
    let size = SIDE + 2.0 * MARGIN;
    let middle = size / 2.0;
    let mut ticks = String::new();
    for tick in [0.0, 0.25, 0.5, 0.75, 1.0] {
        let ((x, bottom), (left, y)) = (place(tick, 0.0), place(0.0, tick));
        ticks += &format!("<text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{tick}</text>\n", bottom + 18.0);
        ticks += &format!("<text x=\"{:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{tick}</text>\n", left - 8.0);
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {size} {size}\" font-family=\"sans-serif\" \
         font-size=\"13\">\n<rect width=\"{size}\" height=\"{size}\" fill=\"white\"/>\n\
         <text x=\"{middle}\" y=\"30\" text-anchor=\"middle\" font-size=\"16\">{title}</text>\n\
         <rect x=\"{MARGIN}\" y=\"{MARGIN}\" width=\"{SIDE}\" height=\"{SIDE}\" fill=\"none\" stroke=\"#333333\"/>\n\
         {ticks}<text x=\"{middle}\" y=\"{:.0}\" text-anchor=\"middle\">{x_name}</text>\n\
         <text x=\"18\" y=\"{middle}\" text-anchor=\"middle\" transform=\"rotate(-90 18 {middle})\">{y_name}</text>\n\
         {body}</svg>\n",
        size - 16.0
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::item::Stage;

    #[test]
    fn plots_are_well_formed_and_finite() {
        let scored: Vec<Scored> = (0..50)
            .map(|i| Scored {
                score: i as f32 / 50.0,
                wide: 0.5,
                grade: if i > 30 { 2 } else { 0 },
                guess: Stage::None,
                stage: Stage::None,
            })
            .collect();
        for (plot, items) in
            [(precision_recall(&scored), "polyline"), (reliability(&scored), "circle"), (precision_recall(&[]), "svg")]
        {
            assert!(plot.starts_with("<svg") && plot.ends_with("</svg>\n") && plot.contains(items));
            assert!(!plot.contains("NaN") && !plot.contains("inf"));
        }
    }

    #[test]
    fn the_curve_steps_by_tied_scores_whatever_their_order() {
        let ranked = [(0.9, true), (0.5, false), (0.5, true), (0.1, false)];
        let corners = steps(&ranked, 2.0);
        let third = 2.0 / 3.0;
        assert_eq!(corners, [(0.0, 1.0), (0.5, 1.0), (0.5, third), (1.0, third), (1.0, 0.5), (1.0, 0.5)]);
        let area: f64 = corners.windows(2).map(|pair| (pair[1].0 - pair[0].0) * pair[1].1).sum();
        let (scores, positive): (Vec<f32>, Vec<bool>) = ranked.into_iter().unzip();
        assert!((area - metrics::average_precision(&scores, &positive)).abs() < 1e-9);
        let mut other = ranked;
        other.swap(1, 2);
        assert_eq!(steps(&other, 2.0), corners);
    }

    #[test]
    fn no_dot_leaves_the_frame() {
        let item = Scored { score: 0.01, wide: 0.5, grade: 0, guess: Stage::None, stage: Stage::None };
        let plot = reliability(&[item; 500]);
        let (before, dots) = plot.split_once("<g clip-path=\"url(#inside)\">").expect("a group that is clipped");
        assert!(
            before.contains("<clipPath id=\"inside\"><rect x=\"60\" y=\"60\" width=\"400\" height=\"400\"/>"),
            "{plot}"
        );
        assert!(!before.contains("<circle") && dots.contains("<circle") && dots.contains("</g>"), "{plot}");
    }
}
