//! The bytes are the texts of tasks, separated by NUL, six per task: both formats, and gzip,
//! reproduce them unchanged.

use std::collections::BTreeSet;
use std::io::Read;
use std::sync::Arc;
use std::time::Duration;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::exposition::{BodyWriter, Format, write};
use aitask_exporter::label::bounded;
use aitask_exporter::observation::{Failure, Observation, Reason, State};
use aitask_exporter::record::TrackedTask;
use aitask_exporter::store::{ProviderSummary, Snapshot, TaskList};
use aitask_exporter::task::{Task, TaskCommon, check_id, stable_hash};
use aitask_exporter::telemetry::Telemetry;
use flate2::read::GzDecoder;

use crate::harness::samples::Samples;

const NOW: Timestamp = Timestamp::from_micros(1_750_403_000_000_000);

/// Maximum number of samples of a task: one per family.
const MOST_OF_A_TASK: usize = 12;

pub fn run(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let mut texts = text.split('\0');
    let provider: Arc<str> = bounded(texts.next().unwrap_or_default()).into();
    let telemetry = Telemetry::new();
    let counted = telemetry.provider(&provider);
    let mut tasks = Vec::new();
    let mut told = BTreeSet::new();
    while let Some(id) = texts.next() {
        let mut label = || bounded(texts.next().unwrap_or_default()).into_owned();
        let [status, job_type, code, own, dice] = [(); 5].map(|()| label());
        if check_id(id).is_err() || told.iter().any(|(known, _)| known == id) {
            continue;
        }
        let labels = [("own".into(), own.as_str().into())].into();
        let common = TaskCommon { provider: Arc::clone(&provider), labels, params: [].into() };
        let tracked = TrackedTask::new(Task { id: id.into(), common: Arc::new(common) }, NOW);
        tasks.push(lived(tracked, [&status, &job_type, &code], dice.as_bytes()));
        counted.count_code(&code);
        told.insert((id.to_owned(), own));
    }
    let most = MOST_OF_A_TASK * tasks.len();
    let snapshot = Snapshot {
        providers: vec![ProviderSummary {
            name: provider,
            tasks: [1; State::ALL.len()],
            oldest: [Duration::MAX; State::OPEN.len()],
            oldest_net: [Duration::MAX; State::OPEN.len()],
            stuck: u64::MAX,
            unlisted: u64::MAX,
        }],
        ..Snapshot::of(vec![TaskList::of(tasks, Duration::from_secs(1))], NOW)
    };
    let registry = telemetry.gather();
    let written = |format, gzip| {
        let mut out = BodyWriter::new(gzip, Vec::new()).unwrap();
        write(format, &snapshot, &registry, &mut out).unwrap();
        out.finish().unwrap()
    };
    let [text, open_metrics] = [Format::Text, Format::OpenMetrics].map(|format| {
        let plain = String::from_utf8(written(format, false)).unwrap();
        // The second time the lines come from the cache.
        for _ in 0..2 {
            assert_eq!(unzipped(&written(format, true)), plain, "unzipped");
        }
        plain
    });
    families(&text);
    families(open_metrics.strip_suffix("# EOF\n").unwrap());
    let samples = bounds_in_one_spelling(Samples::parse(&text));
    assert_eq!(samples, bounds_in_one_spelling(Samples::parse(&open_metrics)));
    assert!(samples.0.keys().filter(|(_, l)| l.contains_key("task_id")).count() <= most);
    let came_back = samples.find("aitask_status", &[]);
    let came_back = came_back.iter().map(|(l, _)| (l["task_id"].clone(), l["own"].clone()));
    assert_eq!(came_back.collect::<BTreeSet<_>>(), told);
}

/// Returns the record of a task after two polls, whose outcomes depend on `dice`.
fn lived(
    mut tracked: TrackedTask,
    [status, job_type, code]: [&str; 3],
    dice: &[u8],
) -> TrackedTask {
    let dice = |what: &str| stable_hash([what.as_bytes(), dice]);
    let pick = |what: &str, most: usize| usize::try_from(dice(what) % 1_024).unwrap() % most;
    let moment = |what: &str| {
        (pick(what, 4) > 0).then(|| Timestamp::from_micros(dice(&format!("{what}!")).cast_signed()))
    };
    let seen = Observation {
        state: State::ALL[pick("state", 6)],
        status: status.into(),
        job_type: (!job_type.is_empty()).then(|| job_type.into()),
        enqueue_time: moment("enqueued"),
        finish_time: moment("finished"),
        progress: (pick("progress", 3) > 0).then(|| f64::from_bits(dice("ratio"))),
        failure_code: (!code.is_empty()).then(|| code.into()),
        odd: Vec::new(),
    };
    tracked.observe(&seen, NOW);
    if pick("fails", 2) == 0 {
        let reason = Reason::ALL[pick("reason", Reason::ALL.len())];
        let failure = Failure { reason, code: code.into(), detail: "".into() };
        tracked.fail(&failure, NOW, Duration::from_secs(1));
    }
    tracked
}

fn unzipped(bytes: &[u8]) -> String {
    let mut text = String::new();
    GzDecoder::new(bytes).read_to_string(&mut text).unwrap();
    text
}

/// Asserts that each family has HELP, TYPE and perhaps UNIT, once and before its samples.
fn families(text: &str) {
    let mut known = BTreeSet::new();
    let mut family = "";
    for line in text.strip_suffix('\n').unwrap().split('\n') {
        match line.strip_prefix("# ") {
            Some(header) => {
                let mut words = header.splitn(3, ' ');
                let keyword = words.next().unwrap();
                family = words.next().unwrap();
                assert!(matches!(keyword, "HELP" | "TYPE" | "UNIT"), "{line}");
                assert!(known.insert((keyword, family)), "{line} is there twice");
                assert!(keyword == "HELP" || known.contains(&("HELP", family)), "{line}");
            }
            None => assert!(!family.is_empty() && line.starts_with(family), "{line} in {family}"),
        }
    }
}

/// Spells the bounds of buckets alike: OpenMetrics writes them with a point.
fn bounds_in_one_spelling(samples: Samples) -> Samples {
    let mut spelt = Samples::default();
    for ((name, mut labels), value) in samples.0 {
        if let Some(bound) = labels.get_mut("le") {
            *bound = bound.parse::<f64>().unwrap().to_string();
        }
        // NaN does not equal itself.
        spelt.add(name, labels, if value.is_nan() { -1.0 } else { value });
    }
    spelt
}
