use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use prometheus::{Gauge, IntCounter, Opts, Registry, TextEncoder};
use proptest::prelude::*;

use super::*;
use crate::clock::Timestamp;
use crate::family::PROVIDER_FAMILIES;
use crate::observation::{Failure, Observation, PollOutcome, Reason};
use crate::record::TrackedTask;
use crate::store::TaskList;
use crate::store::blocks::BlockList;
use crate::task::{Labels, Task, TaskCommon};
use crate::telemetry::Telemetry;
use crate::telemetry::provider::ProbeResult;

const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);

fn micros(seconds: i64, micros: i64) -> Timestamp {
    Timestamp::from_micros(seconds * 1_000_000 + micros)
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

fn task(id: &str, labels: Labels) -> Task {
    let common = TaskCommon { provider: "mjdjourney".into(), labels, params: Labels::default() };
    Task { id: id.into(), common: Arc::new(common) }
}

/// A task before its first poll.
fn unpolled(id: &str, labels: Labels) -> TrackedTask {
    TrackedTask::new(task(id, labels), micros(1_750_402_999, 999_750))
}

fn seen(state: State, status: &str) -> Observation {
    Observation::new(state, status)
}

/// A snapshot of these tasks, of which those count as stuck that are older than a second.
fn of(records: impl IntoIterator<Item = TrackedTask>) -> Snapshot {
    Snapshot::of(vec![TaskList::of(records, Duration::from_secs(1))], NOW)
}

/// The age of a task that is running, where there is no other.
fn running_alone(age: Duration) -> [Duration; State::OPEN.len()] {
    State::OPEN.map(|state| if state == State::Running { age } else { Duration::ZERO })
}

/// A snapshot in which every family has a sample.
fn small() -> Snapshot {
    let labelled = labels(&[("customer", "x"), ("team", "vidéo")]);
    let mut running = unpolled("a\\b\"c\nü/?#", labelled);
    let observation = Observation {
        job_type: Some("vid_1.1".into()),
        enqueue_time: Some(micros(1_750_402_472, 303_527)),
        progress: Some(0.31),
        ..seen(State::Running, "in \"progress\"")
    };
    running.observe(&observation, micros(1_750_402_900, 0));
    let failed = micros(1_750_402_998, 5);
    running.fail(&Failure::new(Reason::Timeout, ""), failed, Duration::from_secs(1));
    let mut failed = unpolled("2", Labels::default());
    let observation = Observation {
        enqueue_time: Some(micros(1_750_402_800, 0)),
        finish_time: Some(micros(1_750_402_890, 500_000)),
        failure_code: Some("30".into()),
        ..seen(State::Failed, "FAILURE")
    };
    failed.observe(&observation, NOW);
    let provider = ProviderSummary {
        name: "mjdjourney".into(),
        tasks: State::ALL.map(|state| u64::from(state == State::Running)),
        oldest: running_alone(Duration::from_micros(527_696_473)),
        oldest_net: running_alone(Duration::from_micros(427_000_001)),
        open: 3,
        stuck: 1,
        unlisted: 2,
    };
    let snapshot = of([running, unpolled("1", Labels::default()), failed]);
    Snapshot { providers: vec![provider], ..snapshot }
}

/// `count` tasks like many in the field, with eight samples each.
pub(crate) fn many(count: usize) -> Snapshot {
    let tasks = (0..count).map(|index| {
        let id = format!("42a28dda-dc7a-4186-ac86-{index:012}");
        let mut tracked = unpolled(&id, Labels::default());
        tracked.observe(&seen(State::Queued, "SUBMITTED"), NOW);
        tracked
    });
    of(tasks)
}

/// Returns the families of a registry after some work, and families with unusual values.
fn gathered() -> Vec<MetricFamily> {
    let telemetry = Telemetry::new();
    let provider = telemetry.provider("p \\ \" \n ü");
    provider.poll_started(Duration::from_micros(123_457), true);
    provider.count_poll(Duration::from_secs(3600), Some(Reason::RateLimited));
    provider.count_response(429);
    provider.count_code("a\"b");
    provider.count_finished(State::Succeeded, Some(Duration::from_millis(1)));
    provider.count_probe(ProbeResult::Busy);
    telemetry.reload_succeeded(NOW, u64::MAX);
    let mut families = telemetry.gather();
    // These change from one reading to the next.
    families.retain(|family| !family.name().starts_with("process_"));
    let odd = [0.0, -0.0, 0.1 + 0.2, 1e-9, 5e-324, 1e15, 1e16, 1e21, f64::MAX, f64::NAN];
    for (index, value) in odd.into_iter().enumerate() {
        let name = format!("odd_{index}");
        let gauge = Gauge::new(name, "A \"help\" with \\ and\nanother line.").unwrap();
        gauge.set(value);
        families.append(&mut prometheus::core::Collector::collect(&gauge));
    }
    families
}

pub(crate) fn written(format: Format, snapshot: &Snapshot, registry: &[MetricFamily]) -> String {
    let mut out = BodyWriter::new(false, Vec::new()).unwrap();
    write(format, snapshot, registry, &mut out).unwrap();
    String::from_utf8(out.finish().unwrap()).unwrap()
}

fn nothing() -> Snapshot {
    Snapshot::of(Vec::new(), NOW)
}

/// A few families of the registry, one of each type.
fn few() -> Vec<MetricFamily> {
    let registry = Registry::new();
    let count = IntCounter::new("aitask_polls_total", "Polls: \"all\" of \\ them.").unwrap();
    count.inc_by(3);
    registry.register(Box::new(count)).unwrap();
    let up = Gauge::with_opts(Opts::new("aitask_up_ratio", "Up.").const_label("p", "q\"")).unwrap();
    up.set(0.5);
    registry.register(Box::new(up)).unwrap();
    let opts = prometheus::HistogramOpts::new("lag_seconds", "Lag.").buckets(vec![0.25, 1.0, 60.0]);
    let lag = prometheus::Histogram::with_opts(opts).unwrap();
    lag.observe(0.5);
    lag.observe(120.0);
    registry.register(Box::new(lag)).unwrap();
    registry.gather()
}

/// Compares an exposition with a file, which `UPDATE_GENERATED` makes it write.
fn compare(file: &str, text: &str) {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/exposition");
    let path = format!("{folder}/{file}");
    if std::env::var_os("UPDATE_GENERATED").is_some() {
        std::fs::write(&path, text).unwrap();
    }
    assert_eq!(text, std::fs::read_to_string(&path).unwrap(), "{file}");
}

#[test]
fn text() {
    compare("small.txt", &written(Format::Text, &small(), &few()));
}

#[test]
fn open_metrics() {
    compare("small.openmetrics.txt", &written(Format::OpenMetrics, &small(), &few()));
}

#[test]
fn an_empty_snapshot_has_no_families() {
    assert_eq!(written(Format::Text, &nothing(), &[]), "");
    assert_eq!(written(Format::OpenMetrics, &nothing(), &[]), "# EOF\n");
}

#[test]
fn the_table_is_whole() {
    let names = written(Format::Text, &small(), &[]);
    let names: BTreeSet<_> = names.lines().filter_map(|l| l.strip_prefix("# TYPE ")).collect();
    for family in TASK_FAMILIES.map(|family| family.family).iter().chain(&PROVIDER_FAMILIES[..4]) {
        assert!(names.contains(format!("{} {}", family.name, family.kind).as_str()));
    }
}

/// Returns a task after each of many histories of polls.
fn histories() -> Vec<TrackedTask> {
    let second = |second: i64| micros(1_750_403_000 + second, 0);
    let with_progress = |progress, state| Observation { progress, ..seen(state, "word") };
    let history = |outcomes: &[PollOutcome]| {
        let mut tracked = unpolled("1", Labels::default());
        for (outcome, at) in outcomes.iter().zip(1..) {
            tracked.apply(outcome, second(at), Duration::from_secs(100));
        }
        tracked
    };
    let queued = Observation { job_type: Some("a".into()), ..seen(State::Queued, "wait") };
    let running = Observation {
        job_type: Some("b".into()),
        enqueue_time: Some(second(-90)),
        ..with_progress(Some(-0.0), State::Running)
    };
    let succeeded =
        Observation { finish_time: Some(second(-7)), ..with_progress(Some(0.0), State::Succeeded) };
    let failed = Observation { failure_code: Some("7".into()), ..seen(State::Failed, "x") };
    let timeout = || Err(Failure::new(Reason::Timeout, ""));
    let api_error = Err(Failure { code: "8".into(), ..Failure::new(Reason::Api, "") });
    vec![
        history(&[]),
        history(&[timeout()]),
        history(&[Ok(queued.clone())]),
        history(&[Ok(queued.clone()), api_error.clone()]),
        history(&[Ok(running.clone())]),
        history(&[Ok(seen(State::Waiting, "wait")), Ok(running.clone()), timeout()]),
        history(&[Ok(running), Ok(succeeded)]),
        history(&[Ok(queued), Ok(failed)]),
    ]
}

/// Returns the records that differ from `base` in one field, which they have from `other`.
fn mixed(base: &TrackedTask, other: &TrackedTask) -> Vec<TrackedTask> {
    let fields = |tracked: &TrackedTask| serde_json::to_value(&tracked.record).unwrap();
    let changed = fields(other).as_object().unwrap().clone().into_iter().map(|(name, value)| {
        let mut known = fields(base);
        known[name] = value;
        TrackedTask { record: serde_json::from_value(known).unwrap(), ..base.clone() }
    });
    changed.filter(|tracked: &TrackedTask| tracked.record != base.record).collect()
}

#[test]
fn no_change_of_a_field_leaves_cached_text_stale() {
    let view = |blocks: &BlockList| TaskList {
        stuck_after: Duration::from_secs(100),
        blocks: blocks.blocks().to_vec(),
    };
    let histories = histories();
    let pairs = histories.iter().flat_map(|base| histories.iter().map(move |other| (base, other)));
    for (before, after) in pairs
        .flat_map(|(base, other)| mixed(base, other).into_iter().map(move |mixed| (base, mixed)))
    {
        let mut blocks = BlockList::default();
        blocks.push(0, before.clone());
        let at = |seconds: u64| NOW + Duration::from_secs(seconds);
        compressed(&Snapshot::of(vec![view(&blocks)], at(10)));
        blocks.update(0, |tracked| *tracked = after.clone());
        // By the second time the task may have become stuck.
        for seconds in [10, 105] {
            let snapshot = Snapshot::of(vec![view(&blocks)], at(seconds));
            let expected = written(Format::Text, &snapshot, &[]);
            assert!(compressed(&snapshot) == expected, "{before:?}\n{after:?}");
        }
    }
}

fn compressed(snapshot: &Snapshot) -> String {
    let mut out = BodyWriter::new(true, Vec::new()).unwrap();
    write(Format::Text, snapshot, &[], &mut out).unwrap();
    let mut text = String::new();
    let file = out.finish().unwrap();
    Read::read_to_string(&mut flate2::read::GzDecoder::new(&file[..]), &mut text).unwrap();
    text
}

#[test]
fn the_registry_reads_as_its_own_encoder_writes_it() {
    let families = gathered();
    let expected = TextEncoder::new().encode_to_string(&families).unwrap();
    assert_eq!(written(Format::Text, &nothing(), &families), expected);
}

#[test]
fn infinity_is_spelt_as_prometheus_spells_it() {
    let gauge = Gauge::new("g", "G.").unwrap();
    gauge.set(f64::NEG_INFINITY);
    let family = prometheus::core::Collector::collect(&gauge);
    assert!(written(Format::Text, &nothing(), &family).ends_with("\ng -Inf\n"));
}

/// A task that took so long.
fn ended_after(duration: Duration) -> TrackedTask {
    let mut tracked = unpolled("1", Labels::default());
    let observation = Observation {
        enqueue_time: Some(NOW),
        finish_time: Some(NOW + duration),
        ..seen(State::Succeeded, "SUCCESS")
    };
    tracked.observe(&observation, NOW + duration);
    tracked
}

#[test]
fn durations_have_the_digits_they_need() {
    for (micros, expected) in
        [(0, "0"), (1, "0.000001"), (90_500_000, "90.5"), (1_200_000_000, "1200")]
    {
        let text = written(Format::Text, &of([ended_after(Duration::from_micros(micros))]), &[]);
        let samples = parsed(&text);
        let duration = samples.iter().find(|(name, ..)| name == "aitask_duration_seconds");
        assert_eq!(duration.unwrap().2, expected);
    }
}

#[test]
fn both_formats_carry_the_same_samples() {
    let families = gathered();
    let text = written(Format::Text, &small(), &families);
    let open_metrics = written(Format::OpenMetrics, &small(), &families);
    let samples = parsed(&text);
    assert!(samples.len() > 150);
    assert_eq!(samples, parsed(open_metrics.strip_suffix("# EOF\n").unwrap()));
    let unique: BTreeSet<_> = samples.iter().map(|(name, labels, _)| (name, labels)).collect();
    assert_eq!(unique.len(), samples.len());
}

#[test]
fn a_writer_that_fails_ends_it() {
    struct Full;
    impl Write for Full {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let result = write(Format::Text, &many(1000), &[], &mut BodyWriter::Plain(Full));
    assert_eq!(result.unwrap_err().kind(), io::ErrorKind::BrokenPipe);
}

proptest! {
    #[test]
    fn label_values_come_back(id in any::<String>(), status in r#"[\\\n"ü{},= a]{0,20}"#) {
        let mut tracked = unpolled(&id, labels(&[("own", &status)]));
        tracked.observe(&seen(State::Unknown, &status), NOW);
        let snapshot = of([tracked]);
        for format in [Format::Text, Format::OpenMetrics] {
            let text = written(format, &snapshot, &[]);
            let text = text.strip_suffix("# EOF\n").unwrap_or(&text);
            let samples = parsed(text);
            let task_id = ("task_id".to_owned(), id.clone());
            prop_assert!(samples.iter().all(|(_, labels, _)| labels.contains(&task_id)));
            let mut statuses = samples.iter().filter(|(name, ..)| name == "aitask_status");
            let (_, labels, value) = statuses.next().unwrap();
            prop_assert!(value == "1" && statuses.next().is_none());
            let expected = [
                ("provider", "mjdjourney"),
                ("task_id", &id),
                ("own", &status),
                ("state", "unknown"),
                ("status", &status),
            ];
            prop_assert_eq!(labels, &expected.map(|(n, v)| (n.to_owned(), v.to_owned())));
        }
    }

    #[test]
    fn values_read_back(value in any::<f64>(), at in any::<i64>(), age in any::<u32>()) {
        let gauge = Gauge::new("g", "G.").unwrap();
        gauge.set(value);
        let family = prometheus::core::Collector::collect(&gauge);
        let text = written(Format::Text, &nothing(), &family);
        // Of two shortest spellings that are equally near, zmij takes the even one.
        let (read, spelt) = (&parsed(&text)[0].2, value.to_string());
        prop_assert!(!value.is_finite() || (read.len(), read.parse()) == (spelt.len(), Ok(value)));
        let at = Timestamp::from_micros(at);
        let begun = TrackedTask::new(task("1", Labels::default()), at);
        let text = written(
            Format::Text,
            &of([begun, ended_after(Duration::from_micros(age.into()))]),
            &[],
        );
        let samples = parsed(&text);
        let find = |name| samples.iter().find(|(found, ..)| found == name).unwrap().2.as_str();
        prop_assert_eq!(find("aitask_state_timestamp_seconds"), at.to_string());
        let duration = find("aitask_duration_seconds");
        prop_assert_eq!(duration.parse(), Ok(f64::from(age) / 1e6));
    }
}

type Parsed = (String, Vec<(String, String)>, String);

/// The samples of `text`, bounds of buckets in one spelling. Panics at whatever is not exactly
/// as the formats want it, and at samples outside their family.
fn parsed(text: &str) -> Vec<Parsed> {
    let mut family = "";
    let mut samples = Vec::new();
    for line in text.strip_suffix('\n').unwrap().split('\n') {
        if let Some(header) = line.strip_prefix("# ") {
            let mut words = header.splitn(3, ' ');
            assert!(matches!(words.next(), Some("HELP" | "TYPE" | "UNIT")), "{line}");
            family = words.next().unwrap();
            continue;
        }
        let sample = parsed_sample(line).unwrap_or_else(|| panic!("{line}"));
        assert!(sample.0.starts_with(family), "{line} below {family}");
        samples.push(sample);
    }
    samples
}

fn parsed_sample(line: &str) -> Option<Parsed> {
    let end = line.find(['{', ' '])?;
    let (name, mut rest) = line.split_at(end);
    let mut labels = Vec::new();
    while let Some(pair) = rest.strip_prefix(if labels.is_empty() { '{' } else { ',' }) {
        let (name, value) = pair.split_once("=\"")?;
        let mut chars = value.chars();
        let mut unescaped = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => unescaped.push(match chars.next()? {
                    'n' => '\n',
                    c @ ('\\' | '"') => c,
                    _ => return None,
                }),
                c => unescaped.push(c),
            }
        }
        if name == "le" {
            unescaped = unescaped.parse::<f64>().ok()?.to_string();
        }
        labels.push((name.to_owned(), unescaped));
        rest = chars.as_str();
    }
    let rest = if labels.is_empty() { rest } else { rest.strip_prefix('}')? };
    let value = rest.strip_prefix(' ')?;
    value.parse::<f64>().ok()?;
    Some((name.to_owned(), labels, value.to_owned()))
}
