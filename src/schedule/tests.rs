//! The rules of timing and of errors, each by its number.

use std::sync::LazyLock;

use super::*;
use crate::fetch::ErrorClass;
use proptest::prelude::*;

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

/// The configuration as shipped; read once, since the properties below want it hundreds of times.
fn config() -> ScheduleConfig {
    static SHIPPED: LazyLock<ScheduleConfig> = LazyLock::new(|| crate::config::load(None, []).unwrap().config.schedule);
    SHIPPED.clone()
}

/// Without jitter, so that waits are exact.
fn exact() -> ScheduleConfig {
    ScheduleConfig { jitter: 0.0, error_jitter: 0.0, ..config() }
}

fn now() -> DateTime<Utc> {
    "2026-03-04T12:00:00Z".parse().unwrap()
}

/// A feed with validators that brings plenty.
fn busy() -> History {
    History {
        validators: true,
        polled: Some(now() - TimeDelta::hours(1)),
        counted: Some(100),
        per_day: 50.0,
        ..History::default()
    }
}

fn url() -> Url {
    Url::parse("https://news.example/feed").unwrap()
}

fn answered<'a>(url: &'a Url, hints: &'a PollHints) -> Answered<'a> {
    Answered {
        url,
        document: Some(Document { hints, entries: 30 }),
        not_before: None,
        validators: true,
        items_before: 150,
        permanent_redirect: None,
        refetch: false,
    }
}

fn failed(class: ErrorClass) -> Failed {
    Failed { class, retry_after: None, not_before: None, refetch: false }
}

fn planned(config: &ScheduleConfig, history: &History, polled: &Polled<'_>) -> Plan {
    plan(config, Terms::default(), history, polled, now(), Jitter::of(7, 7))
}

/// The wait after a good answer with these hints.
fn wait_with(hints: &PollHints, not_before: Option<Duration>) -> (Duration, Why) {
    let url = url();
    let answered = Answered { not_before, ..answered(&url, hints) };
    let plan = planned(&exact(), &busy(), &Polled::Answered(answered));
    ((plan.next.unwrap() - now()).to_std().unwrap(), plan.why)
}

/// The waits after `count` such failures in a row.
fn waits(failure: Failed, count: usize) -> Vec<Duration> {
    let mut history = busy();
    let one = |_| {
        let plan = planned(&exact(), &history, &Polled::Failed(failure));
        history = plan.history;
        (plan.next.unwrap() - now()).to_std().unwrap()
    };
    (0..count).map(one).collect()
}

#[test]
fn rule_11_an_hour_with_validators_a_day_without_and_the_users_floor_over_both() {
    assert_eq!(wait_with(&PollHints::default(), None), (HOUR, Why::Floor));
    let (url, hints) = (url(), PollHints::default());
    let without = Polled::Answered(Answered { validators: false, ..answered(&url, &hints) });
    let history = History { validators: false, ..busy() };
    let plan_of = |terms| plan(&exact(), terms, &history, &without, now(), Jitter::of(1, 1));
    assert_eq!(plan_of(Terms::default()).next, Some(now() + TimeDelta::days(1)));
    assert_eq!(plan_of(Terms::default()).why, Why::NoValidators);
    let own = Terms { floor: Some(15 * MINUTE), ..Terms::default() };
    assert_eq!(plan_of(own).next, Some(now() + TimeDelta::minutes(15)));
}

#[test]
fn rule_13_and_14_the_cache_lifetime_is_not_before() {
    assert_eq!(wait_with(&PollHints::default(), Some(3 * HOUR)), (3 * HOUR, Why::CacheLifetime));
    assert_eq!(wait_with(&PollHints::default(), Some(MINUTE)), (HOUR, Why::Floor));
}

#[test]
fn rule_15_ttl_is_a_floor() {
    let hints = PollHints { ttl_min: Some(180), ..PollHints::default() };
    assert_eq!(wait_with(&hints, None), (3 * HOUR, Why::Ttl));
}

#[test]
fn rule_16_the_syndication_period_is_a_floor() {
    let hints = PollHints { sy_period_s: Some(4 * 3600), ..PollHints::default() };
    assert_eq!(wait_with(&hints, None), (4 * HOUR, Why::Syndication));
}

#[test]
fn rule_17_skipped_hours_hold_for_polls_after_a_304_too() {
    let (url, none) = (url(), PollHints::default());
    let skip = PollHints { skip_hours: 1 << 13, ..PollHints::default() };
    let history = History { hints: skip, ..busy() };
    let unchanged = Polled::Answered(Answered { document: None, ..answered(&url, &none) });
    let plan = planned(&exact(), &history, &unchanged);
    assert!((now() + TimeDelta::hours(2)..now() + TimeDelta::minutes(150)).contains(&plan.next.unwrap()));
    assert_eq!(plan.why, Why::Skip);
}

#[test]
fn rule_18_the_largest_wins_within_base_and_a_day() {
    let hints = PollHints { ttl_min: Some(120), sy_period_s: Some(5 * 3600), ..PollHints::default() };
    assert_eq!(wait_with(&hints, Some(3 * HOUR)), (5 * HOUR, Why::Syndication));
    assert_eq!(wait_with(&hints, Some(10 * 365 * DAY)).0, DAY);
    let endless = PollHints { ttl_min: Some(u32::MAX), sy_period_s: Some(u32::MAX), ..PollHints::default() };
    assert_eq!(wait_with(&endless, None).0, DAY);
    // The user's floor may be longer than a day; no hint shortens it.
    let url = url();
    let terms = Terms { floor: Some(3 * DAY), ..Terms::default() };
    let polled = Polled::Answered(Answered { not_before: Some(2 * DAY), ..answered(&url, &hints) });
    let plan = plan(&exact(), terms, &busy(), &polled, now(), Jitter::of(1, 1));
    assert_eq!(plan.next, Some(now() + TimeDelta::days(3)));
}

#[test]
fn rule_19_silent_feeds_slow_down_and_busy_ones_speed_up_within_the_bounds() {
    let (url, hints) = (url(), PollHints::default());
    let mut history = busy();
    let mut at = now();
    let mut poll = |history: &mut History, new: u64| {
        let items_before = history.counted.unwrap_or(0) + new;
        let answered = Answered { items_before, document: None, ..answered(&url, &hints) };
        let plan = plan(&exact(), Terms::default(), history, &Polled::Answered(answered), at, Jitter::of(1, 1));
        let wait = plan.next.unwrap() - at;
        (*history, at) = (plan.history, plan.next.unwrap());
        wait
    };
    assert_eq!(poll(&mut history, 5), TimeDelta::hours(1));
    let silent: Vec<TimeDelta> = (0..1500).map(|_| poll(&mut history, 0)).collect();
    assert!(silent.is_sorted() && silent[1499] == TimeDelta::days(1), "{:?}", silent.last());
    let first_busy = poll(&mut history, 20);
    assert!(first_busy < TimeDelta::days(1), "{first_busy}");
    assert_eq!((0..3).map(|_| poll(&mut history, 20)).next_back(), Some(TimeDelta::hours(1)));
}

#[test]
fn rule_20_errors_are_spread_most() {
    let at = |seed| {
        let failed = Polled::Failed(failed(ErrorClass::HttpServer));
        plan(&config(), Terms::default(), &busy(), &failed, now(), Jitter::of(seed, 0)).next.unwrap()
    };
    let times: std::collections::BTreeSet<i64> = (0..100).map(|seed| at(seed).timestamp()).collect();
    assert!(times.len() > 90 && times.last().unwrap() - times.first().unwrap() > 20 * 60, "{times:?}");
}

#[test]
fn rule_22_retry_after_is_obeyed_and_capped_at_two_days() {
    let asking = |wait| Failed { retry_after: Some(wait), ..failed(ErrorClass::HttpServer) };
    assert_eq!(waits(asking(5 * HOUR), 3), [5 * HOUR; 3]);
    assert_eq!(waits(asking(400 * DAY), 1), [2 * DAY]);
    assert_eq!(waits(asking(MINUTE), 1), [HOUR], "no reason to come sooner than usual");
    let plan = planned(&exact(), &busy(), &Polled::Failed(asking(5 * HOUR)));
    assert_eq!((plan.penalty, plan.why), (Some(now() + TimeDelta::hours(5)), Why::RetryAfter));
}

#[test]
fn rule_23_429_without_retry_after_rests_for_hours_and_doubles() {
    assert_eq!(waits(failed(ErrorClass::RateLimited), 5), [4, 8, 16, 32, 48].map(|hours| hours * HOUR));
}

#[test]
fn rule_24_no_error_is_retried_before_the_floor() {
    use ErrorClass::*;
    for class in [Dns, Connect, Tls, Timeout, TooLarge, Decode, Protocol, Auth, NotFound, HttpServer, NotAFeed, Empty] {
        assert!(waits(failed(class), 1)[0] >= HOUR, "{class}");
    }
}

#[test]
fn rule_25_max_age_on_an_error_counts() {
    let cached = |wait| Failed { not_before: Some(wait), ..failed(ErrorClass::NotFound) };
    assert_eq!(waits(cached(6 * HOUR), 1), [6 * HOUR]);
    assert_eq!(waits(cached(400 * DAY), 1), [DAY]);
}

#[test]
fn rule_26_410_stops_the_feed() {
    let plan = planned(&exact(), &busy(), &Polled::Failed(failed(ErrorClass::Gone)));
    assert_eq!((plan.next, plan.why), (None, Why::Gone));
}

#[test]
fn rule_27_404_backs_off_to_daily_then_weekly() {
    let waits = waits(failed(ErrorClass::NotFound), 30);
    assert!(waits.is_sorted());
    assert_eq!((waits[0], waits[8], waits[29]), (HOUR, DAY, 7 * DAY));
}

#[test]
fn rule_28_401_and_403_rest_like_other_errors_and_are_remembered_as_their_own_class() {
    let plan = planned(&exact(), &busy(), &Polled::Failed(failed(ErrorClass::Auth)));
    assert_eq!(plan.history.class, Some(ErrorClass::Auth));
    assert!(plan.next.is_some());
}

#[test]
fn rule_29_network_errors_double_up_to_a_day() {
    let hours = waits(failed(ErrorClass::Timeout), 8);
    assert_eq!(hours, [1, 2, 4, 8, 16, 24, 24, 24].map(|hours| hours * HOUR));
}

#[test]
fn rule_31_network_errors_never_stop_a_feed_and_an_outage_is_not_counted() {
    assert_eq!(waits(failed(ErrorClass::Dns), 10_000).last(), Some(&DAY));
    let plan = planned(&exact(), &busy(), &Polled::Outage);
    assert_eq!((plan.history, plan.why), (busy(), Why::Outage));
    assert_eq!(plan.next, Some(now() + TimeDelta::hours(1)));
}

#[test]
fn a_success_ends_the_back_off() {
    let (url, hints) = (url(), PollHints::default());
    let history = History { errors: 9, class: Some(ErrorClass::Dns), same_class: 9, ..busy() };
    let plan = planned(&exact(), &history, &Polled::Answered(answered(&url, &hints)));
    assert_eq!((plan.history.errors, plan.next), (0, Some(now() + TimeDelta::hours(1))));
}

#[test]
fn a_feed_that_never_answered_is_tried_at_the_floor() {
    let plan = planned(&exact(), &History::default(), &Polled::Failed(failed(ErrorClass::Dns)));
    assert_eq!(plan.next, Some(now() + TimeDelta::hours(1)));
}

#[test]
fn an_interval_replaces_floors_hints_and_back_off_but_not_410() {
    let (url, hints) = (url(), PollHints { ttl_min: Some(600), skip_hours: u32::MAX, ..PollHints::default() });
    let terms = Terms { floor: Some(DAY), interval: Some(Duration::from_secs(5)), pushed: None };
    let of = |polled| plan(&config(), terms, &busy(), &polled, now(), Jitter::of(1, 1));
    let five = Some(now() + TimeDelta::seconds(5));
    assert_eq!(of(Polled::Answered(answered(&url, &hints))).next, five);
    assert_eq!(of(Polled::Failed(failed(ErrorClass::RateLimited))).next, five);
    assert_eq!(of(Polled::Failed(failed(ErrorClass::Gone))).next, None);
}

#[test]
fn a_feed_that_its_hub_pushes_is_polled_seldom_and_not_never() {
    let (url, hints) = (url(), PollHints { ttl_min: Some(60), ..PollHints::default() });
    let polled = Polled::Answered(answered(&url, &hints));
    let terms = Terms { pushed: Some(12 * HOUR), ..Terms::default() };
    let plan = plan(&exact(), terms, &busy(), &polled, now(), Jitter::of(1, 1));
    assert_eq!((plan.next, plan.why), (Some(now() + TimeDelta::hours(12)), Why::Pushed));
}

fn any_class() -> impl Strategy<Value = ErrorClass> {
    use ErrorClass::*;
    prop::sample::select(vec![Dns, Connect, Tls, Timeout, TooLarge, Auth, NotFound, RateLimited, HttpServer, NotAFeed])
}

proptest! {
    /// Whatever servers say: never before the floor, never later than the caps with their jitter allow.
    #[test]
    fn rule_18_every_wait_lies_within_its_bounds(
        ttl_min: Option<u32>,
        sy_period_s: Option<u32>,
        sy_base: Option<i64>,
        not_before_s: Option<u32>,
        per_day in 0.0..1e6,
        items_before: u64,
        seed: i64,
    ) {
        let (url, hints) = (url(), PollHints { ttl_min, sy_period_s, sy_base, ..PollHints::default() });
        let not_before = not_before_s.map(|seconds| Duration::from_secs(seconds.into()));
        let polled = Polled::Answered(Answered { not_before, items_before, ..answered(&url, &hints) });
        let history = History { per_day, ..busy() };
        let next = plan(&config(), Terms::default(), &history, &polled, now(), Jitter::of(seed, 0)).next.unwrap();
        prop_assert!(next >= now() + TimeDelta::hours(1) && next <= now() + TimeDelta::hours(27));
    }

    #[test]
    fn rule_22_no_error_rests_longer_than_its_cap(
        class in any_class(),
        retry_after_s: Option<u64>,
        not_before_s: Option<u64>,
        errors in 0_u32..u32::MAX,
        seed: i64,
    ) {
        let seconds = |s: Option<u64>| s.map(Duration::from_secs);
        let failure = Failed { class, retry_after: seconds(retry_after_s), not_before: seconds(not_before_s), refetch: false };
        let history = History { errors, same_class: errors, class: Some(class), ..busy() };
        let next = plan(&config(), Terms::default(), &history, &Polled::Failed(failure), now(), Jitter::of(seed, 0)).next;
        let next = next.unwrap();
        prop_assert!(next >= now() + TimeDelta::hours(1) && next <= now() + TimeDelta::days(11));
    }
}
