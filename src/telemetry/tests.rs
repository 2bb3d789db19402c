use prometheus::TextEncoder;
use prometheus::proto::MetricType;

use super::*;
use crate::family::{DISCOVERY_FAMILIES, EXPORTER_FAMILIES, MetricKind, PROVIDER_FAMILIES};
use crate::observation::{OddField, Reason, State};
use crate::telemetry::provider::{DuePolls, ProbeResult};

fn text(telemetry: &Telemetry) -> String {
    TextEncoder::new().encode_to_string(&telemetry.gather()).unwrap()
}

/// Returns the value of the only sample that begins with `series` and a space.
fn value(telemetry: &Telemetry, series: &str) -> f64 {
    let text = text(telemetry);
    let mut values = text.lines().filter_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    let value = values.next().unwrap_or_else(|| panic!("{series} is not in\n{text}"));
    assert_eq!(values.next(), None);
    value.parse().unwrap()
}

/// Number of families of the providers that come from the store, which are the first.
const FROM_STORE: usize = 6;

#[test]
fn gathered_families_are_those_of_the_table() {
    let telemetry = Telemetry::new();
    let provider = telemetry.provider("p");
    provider.count_response(200);
    provider.count_code("0");
    telemetry.storage_opened(0);
    telemetry.source("http", "orders");
    let of_providers = PROVIDER_FAMILIES.iter().skip(FROM_STORE);
    let mut expected: Vec<_> =
        of_providers.chain(DISCOVERY_FAMILIES).chain(EXPORTER_FAMILIES).collect();
    expected.sort_by_key(|family| family.name);
    let gathered = telemetry.gather();
    assert_eq!(gathered.len(), expected.len());
    for (gathered, expected) in gathered.iter().zip(expected) {
        assert_eq!(gathered.name(), expected.name);
        let kind = match gathered.get_field_type() {
            MetricType::GAUGE => MetricKind::Gauge,
            MetricType::COUNTER => MetricKind::Counter,
            MetricType::HISTOGRAM => MetricKind::Histogram,
            other => panic!("{other:?}"),
        };
        assert_eq!(kind, expected.kind, "{}", expected.name);
        let mut labels = expected.labels.to_vec();
        labels.sort_unstable();
        for metric in gathered.get_metric() {
            let names: Vec<_> = metric.get_label().iter().map(LabelPair::name).collect();
            assert_eq!(names, labels, "{}", expected.name);
        }
    }
}

#[test]
fn closed_sets_exist_from_the_start() {
    let telemetry = Telemetry::new();
    telemetry.provider("p");
    for reason in Reason::ALL {
        let series = format!(r#"aitask_poll_failures_total{{provider="p",reason="{reason}"}}"#);
        assert_eq!(value(&telemetry, &series), 0.0);
    }
    for result in ProbeResult::ALL.map(ProbeResult::as_str) {
        let series = format!(r#"aitask_probes_total{{provider="p",result="{result}"}}"#);
        assert_eq!(value(&telemetry, &series), 0.0);
    }
    assert_eq!(value(&telemetry, r#"aitask_poll_overdue_seconds{provider="p"}"#), 0.0);
    for field in OddField::ALL {
        let series = format!(r#"aitask_odd_answers_total{{field="{field}",provider="p"}}"#);
        assert_eq!(value(&telemetry, &series), 0.0);
    }
    for state in State::FINAL {
        for family in ["aitask_finished_total", "aitask_task_duration_seconds_count"] {
            let series = format!(r#"{family}{{provider="p",state="{state}"}}"#);
            assert_eq!(value(&telemetry, &series), 0.0);
        }
    }
    for reason in ["max_tasks", "credentials"] {
        let series = format!(r#"aitask_exporter_dropped_tasks{{reason="{reason}"}}"#);
        assert_eq!(value(&telemetry, &series), 0.0);
    }
    assert_eq!(value(&telemetry, r#"aitask_provider_up{provider="p"}"#), 0.0);
}

#[test]
fn a_failed_poll_and_its_retry() {
    let telemetry = Telemetry::new();
    let provider = telemetry.provider("p");
    provider.poll_started(Duration::from_millis(200), false);
    let request = provider.request_started();
    assert_eq!(value(&telemetry, r#"aitask_polls_in_flight{provider="p"}"#), 1.0);
    assert_eq!(value(&telemetry, r#"aitask_polls_total{provider="p"}"#), 0.0);
    provider.count_response(503);
    drop(request);
    provider.count_poll(Duration::from_millis(300), Some(Reason::Http));
    provider.poll_started(Duration::ZERO, true);
    provider.count_poll(Duration::from_secs(60), None);
    provider.set_up(true);
    for (series, expected) in [
        (r#"aitask_polls_in_flight{provider="p"}"#, 0.0),
        (r#"aitask_polls_total{provider="p"}"#, 2.0),
        (r#"aitask_poll_retries_total{provider="p"}"#, 1.0),
        (r#"aitask_poll_failures_total{provider="p",reason="http"}"#, 1.0),
        (r#"aitask_http_responses_total{provider="p",status_code="503"}"#, 1.0),
        (r#"aitask_provider_up{provider="p"}"#, 1.0),
        (r#"aitask_poll_lag_seconds_bucket{provider="p",le="0.1"}"#, 1.0),
        (r#"aitask_poll_lag_seconds_bucket{provider="p",le="0.25"}"#, 2.0),
        (r#"aitask_poll_duration_seconds_bucket{provider="p",le="30"}"#, 1.0),
        (r#"aitask_poll_duration_seconds_sum{provider="p"}"#, 60.3),
    ] {
        assert_eq!(value(&telemetry, series), expected, "{series}");
    }
    provider.set_up(false);
    assert_eq!(value(&telemetry, r#"aitask_provider_up{provider="p"}"#), 0.0);
}

#[test]
fn tasks_that_end() {
    let telemetry = Telemetry::new();
    let provider = telemetry.provider("p");
    provider.count_finished(State::Failed, Some(Duration::from_secs(90)));
    provider.count_finished(State::Failed, None);
    provider.count_finished(State::Running, None);
    let labels = r#"{provider="p",state="failed"}"#;
    assert_eq!(value(&telemetry, &format!("aitask_finished_total{labels}")), 2.0);
    assert_eq!(value(&telemetry, &format!("aitask_task_duration_seconds_count{labels}")), 1.0);
    assert_eq!(value(&telemetry, &format!("aitask_task_duration_seconds_sum{labels}")), 90.0);
    assert!(!text(&telemetry).contains("running"));
}

#[tokio::test(start_paused = true)]
async fn a_flood_of_codes_ends_in_other() {
    let telemetry = Telemetry::new();
    let provider = telemetry.provider("p");
    for code in 0..100 {
        provider.count_code(&code.to_string());
    }
    provider.count_code("63");
    provider.count_code(&"x".repeat(10_000));
    let series = |code| format!(r#"aitask_response_codes_total{{code="{code}",provider="p"}}"#);
    // Nothing was known beforehand, so each begins at 0.
    for code in ["0", "63", "other"] {
        assert_eq!(value(&telemetry, &series(code)), 0.0);
    }
    tokio::time::advance(dynamic_counters::BIRTH_DELAY).await;
    assert_eq!(value(&telemetry, &series("63")), 2.0);
    assert_eq!(value(&telemetry, &series("other")), 37.0);
    assert_eq!(text(&telemetry).matches("aitask_response_codes_total{").count(), 65);
}

#[test]
fn what_a_mapping_names_exists_from_the_start() {
    use crate::config::{Loaded, load_text};
    let telemetry = Telemetry::new();
    let provider = telemetry.provider("p");
    let expect = |response: &str| {
        let text = format!(
            "providers: [{{ name: p, preset: mjdjourney, response: {{ {response} }} }}]\ntasks: []\n"
        );
        let Loaded { config, .. } = load_text("c.yml", &text, std::path::Path::new("")).unwrap();
        provider.declare(&config.providers[0].mapping);
    };
    let code = |code: &str| {
        let series = format!(r#"aitask_response_codes_total{{code="{code}",provider="p"}}"#);
        value(&telemetry, &series)
    };
    let status = |status: u16| {
        let series =
            format!(r#"aitask_http_responses_total{{provider="p",status_code="{status}"}}"#);
        value(&telemetry, &series)
    };
    expect("codes: { failed: [24] }, accept: [2xx, 418]");
    for known in [200, 418, 429, 502] {
        assert_eq!(status(known), 0.0);
    }
    assert_eq!([code("0"), code("24")], [0.0; 2]);
    provider.count_response(502);
    provider.count_code("24");
    assert_eq!((status(502), code("24")), (1.0, 1.0), "the first is there at once");
    // On a reload what is named then, and what there was stays.
    expect("codes: { failed: [25] }");
    assert_eq!((code("24"), code("25"), status(418)), (1.0, 0.0, 0.0));
}

#[test]
fn finished_tasks_continue_from_what_is_shown() {
    let telemetry = Telemetry::new();
    telemetry.provider("p");
    let mut finishes = Finishes::default();
    let duration = Some(Duration::from_secs(90));
    for provider in ["p", "q", "q"] {
        finishes.add(&provider.into(), State::Failed, duration);
    }
    telemetry.show_finished(finishes.clone());
    let failed = |provider| {
        let labels = format!(r#"{{provider="{provider}",state="failed"}}"#);
        let of = |family| value(&telemetry, &format!("{family}{labels}"));
        (of("aitask_finished_total"), of("aitask_task_duration_seconds_sum"))
    };
    assert_eq!(failed("p"), (1.0, 90.0));
    assert!(!text(&telemetry).contains(r#"provider="q""#), "it is not in the configuration");
    telemetry.provider("q");
    assert_eq!(failed("q"), (2.0, 180.0));
    finishes.add(&"p".into(), State::Failed, None);
    telemetry.show_finished(finishes);
    assert_eq!((failed("p"), failed("q")), ((2.0, 90.0), (2.0, 180.0)));
}

#[test]
fn a_provider_comes_and_goes() {
    let telemetry = Telemetry::new();
    let first = telemetry.provider("p");
    assert!(Arc::ptr_eq(&first, &telemetry.provider("p")));
    let due = DuePolls { count: 3, ..DuePolls::default() };
    telemetry.provider("q").due.set(due, Instant::now());
    first.poll_started(Duration::ZERO, true);
    assert_eq!(value(&telemetry, r#"aitask_poll_retries_total{provider="p"}"#), 1.0);
    telemetry.remove_provider("p");
    assert!(!text(&telemetry).contains(r#"provider="p""#));
    assert_eq!(value(&telemetry, r#"aitask_poll_queue_length{provider="q"}"#), 3.0);
    telemetry.provider("p");
    assert_eq!(value(&telemetry, r#"aitask_poll_retries_total{provider="p"}"#), 0.0);
}

#[test]
fn reloads() {
    let telemetry = Telemetry::new();
    let config = |name| value(&telemetry, &format!("aitask_exporter_config_{name}"));
    assert_eq!(config("last_reload_successful"), 0.0);
    telemetry.reload_succeeded(Timestamp::from_micros(1_750_402_472_250_000), u64::MAX);
    assert_eq!(config("last_reload_successful"), 1.0);
    assert_eq!(config("last_reload_success_timestamp_seconds"), 1_750_402_472.25);
    assert_eq!(config("hash"), 281_474_976_710_655.0);
    telemetry.reload_failed();
    assert_eq!(config("last_reload_successful"), 0.0);
    assert_eq!(config("last_reload_success_timestamp_seconds"), 1_750_402_472.25);
    telemetry.tasks_over_limit(7);
    assert_eq!(value(&telemetry, r#"aitask_exporter_dropped_tasks{reason="max_tasks"}"#), 7.0);
    telemetry.tasks_without_credentials(0, 5);
    telemetry.tasks_without_credentials(0, 2);
    telemetry.tasks_without_credentials(5, 0);
    assert_eq!(value(&telemetry, r#"aitask_exporter_dropped_tasks{reason="credentials"}"#), 2.0);
}

fn cpu_seconds(process: &ProcessMetrics) -> f64 {
    let families = process.collect();
    let family = families.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
    family.get_metric()[0].get_counter().get_value()
}

#[test]
fn cpu_time_has_the_resolution_of_the_kernel() {
    let process = ProcessMetrics::new();
    let start = cpu_seconds(&process);
    let mut last = start;
    for _ in 0..100 {
        let next = std::iter::repeat_with(|| cpu_seconds(&process)).find(|next| *next != last);
        let next = next.unwrap();
        assert!(next > last, "{next} after {last}");
        last = next;
    }
    // In whole seconds these would have been a hundred, which no work here takes.
    assert!(last - start < 60.0, "{start} to {last}");
    let whole = process.0.collect();
    let whole = whole.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
    let whole = whole.get_metric()[0].get_counter().get_value();
    assert!(cpu_seconds(&process) >= whole && last < whole + 60.0, "{last} and {whole}");
}
