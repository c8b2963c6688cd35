//! The metrics, as text for Prometheus (OpenMetrics). `config/grafana.json` draws them, `config/prometheus-rules.yml` alerts
//! on them; a test keeps both to the names here.

use std::fmt;

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::pipeline::Tally;
use crate::store::Standing;

/// The media type of OpenMetrics 1.0.
pub(super) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

type Labels = Vec<(&'static str, String)>;

/// Everything, as it stands now. A registry is made for each scrape: the numbers live in the tally and in the store.
pub(super) fn text(
    standing: &Standing,
    tally: &Tally,
    troubles: &[(&'static str, String)],
    model: &str,
) -> Result<String, fmt::Error> {
    let mut registry = Registry::with_prefix("demarche");
    let build = vec![("version", env!("CARGO_PKG_VERSION").to_owned()), ("model", model.to_owned())];
    registry.register("build", "Version of the program and id of its model", Info::new(build));
    counted(&mut registry, tally);
    standing_now(&mut registry, standing, troubles);
    let timing = tally.timing();
    registry.register_with_unit(
        "scoring",
        "Time from handing a batch of texts to the scorer to its verdicts",
        Unit::Seconds,
        timing.seconds.clone(),
    );
    registry.register("scoring_batch_items", "Texts in a batch", timing.items.clone());
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn counted(registry: &mut Registry, tally: &Tally) {
    let t = tally.totals();
    let polls = [("fresh", t.documents), ("unchanged", t.not_modified), ("failed", t.failed)];
    counters(registry, "polls", "Polls by outcome", "outcome", &polls);
    let items = [("new", t.new), ("duplicate", t.duplicate), ("revised", t.revised), ("rejected", t.rejected)];
    counters(registry, "items", "Entries of documents by outcome", "outcome", &items);
    let judged = [("alert", t.alert), ("irrelevant", t.irrelevant), ("unscorable", t.unscorable)];
    counters(registry, "judged", "Items judged by outcome", "outcome", &judged);
    let mut counter = |name: &str, help: &str, count: u64| {
        let counter = Counter::<u64>::default();
        counter.inc_by(count);
        registry.register(name, help, counter);
    };
    counter("copied", "Items judged that took over the verdict of a text they copy", t.copied);
    counter("delivered", "Alerts written to the main alert file", t.delivered);
}

fn standing_now(registry: &mut Registry, standing: &Standing, troubles: &[(&'static str, String)]) {
    let feeds = standing.feeds.iter().map(|(state, count)| (state.as_str(), *count as f64));
    gauges(registry, "feeds", "Feeds by state", "state", feeds);
    let one = |value: f64| std::iter::once(("judge", value));
    gauges(registry, "queue_items", "Items that wait between two stages", "stage", one(standing.pending as f64));
    single(
        registry,
        "schedule_lag_seconds",
        "By how much the feed that is due for longest is late",
        standing.overdue_s,
    );
    let waiting = troubles.iter().map(|(stage, _)| (*stage, 1.0));
    gauges(registry, "stage_waiting", "1 for a stage that waits out a trouble (full disk, ...)", "stage", waiting);
    let sinks = || standing.sinks.iter();
    let name = |sink: &'_ crate::store::SinkStanding| sink.name.clone();
    let taken: Vec<(String, u64)> = sinks().map(|sink| (name(sink), sink.taken)).collect();
    let taken: Vec<(&str, u64)> = taken.iter().map(|(name, count)| (name.as_str(), *count)).collect();
    counters(registry, "sink_taken", "Alerts that a sink has taken, ever", "sink", &taken);
    let of = |value: fn(&crate::store::SinkStanding) -> f64| sinks().map(move |sink| (sink.name.as_str(), value(sink)));
    gauges(registry, "sink_waiting", "Alerts that wait for a sink", "sink", of(|sink| sink.waiting as f64));
    gauges(
        registry,
        "sink_lag_seconds",
        "Age of the oldest alert that waits for a sink",
        "sink",
        of(|sink| sink.lag_s),
    );
    gauges(registry, "sink_failures", "Failures of a sink in a row", "sink", of(|sink| sink.tries as f64));
    gauges(registry, "sink_parked", "Alerts that a sink refused for good", "sink", of(|sink| sink.parked as f64));
}

fn counters(registry: &mut Registry, name: &str, help: &str, label: &'static str, counts: &[(&str, u64)]) {
    let family = Family::<Labels, Counter>::default();
    for (value, count) in counts {
        family.get_or_create(&vec![(label, (*value).to_owned())]).inc_by(*count);
    }
    registry.register(name, help, family);
}

fn gauges<'a>(
    registry: &mut Registry,
    name: &str,
    help: &str,
    label: &'static str,
    values: impl Iterator<Item = (&'a str, f64)>,
) {
    let family = Family::<Labels, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    for (value, number) in values {
        family.get_or_create(&vec![(label, value.to_owned())]).set(number);
    }
    registry.register(name, help, family);
}

fn single(registry: &mut Registry, name: &str, help: &str, value: f64) {
    let gauge = Gauge::<f64, std::sync::atomic::AtomicU64>::default();
    gauge.set(value);
    registry.register(name, help, gauge);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::SinkStanding;

    fn sample() -> String {
        let tally = Tally::default();
        tally.judged(2, 5, 1);
        tally.scored(8, Duration::from_millis(90));
        let sink = SinkStanding { name: "output".into(), taken: 7, waiting: 3, lag_s: 4.5, tries: 0, parked: 0 };
        let standing = Standing { feeds: vec![("ok".into(), 12)], overdue_s: 1.5, pending: 4, sinks: vec![sink] };
        text(&standing, &tally, &[("commit", "disk full".into())], "linear-2").unwrap()
    }

    #[test]
    fn every_number_has_its_name_and_labels() {
        let text = sample();
        for line in [
            "demarche_judged_total{outcome=\"alert\"} 2",
            "demarche_feeds{state=\"ok\"} 12.0",
            "demarche_queue_items{stage=\"judge\"} 4.0",
            "demarche_schedule_lag_seconds 1.5",
            "demarche_stage_waiting{stage=\"commit\"} 1.0",
            "demarche_sink_lag_seconds{sink=\"output\"} 4.5",
            "demarche_sink_taken_total{sink=\"output\"} 7",
            "demarche_scoring_seconds_count 1",
            "demarche_scoring_batch_items_sum 8.0",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} is missing in\n{text}");
        }
    }

    #[test]
    fn dashboard_and_alert_rules_name_only_what_there_is() {
        let text = sample();
        for file in [include_str!("../../config/grafana.json"), include_str!("../../config/prometheus-rules.yml")] {
            let mut named = 0;
            for word in file.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
                if word.starts_with("demarche_") {
                    named += 1;
                    assert!(text.contains(&format!("\n{word}{{")) || text.contains(&format!("\n{word} ")), "{word}");
                }
            }
            assert!(named > 3);
        }
    }
}
