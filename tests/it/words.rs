//! An upstream that never uses the same word twice: of each kind, 64 words are shown, and then
//! `other`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::harness::samples::Samples;
use crate::harness::upstream::{Reply, Upstream, json};
use crate::harness::{Dir, Exporter, until};

/// The rounds, in each of which all tasks are others.
const ROUNDS: usize = 12;
const TASKS: usize = 20;
/// The distinct words of a sort, and `other`.
const MOST: usize = 65;
/// The labels that hold words of a provider, each in whatever families.
const LABELS: [&str; 3] = ["status", "code", "job_type"];

/// The words that were shown, by label.
#[derive(Default)]
struct Shown(BTreeMap<&'static str, BTreeSet<String>>);

impl Shown {
    fn look(&mut self, samples: &Samples) {
        for labels in samples.0.keys().map(|(_, labels)| labels) {
            for label in LABELS {
                let word = labels.get(label).filter(|word| !word.is_empty());
                self.0.entry(label).or_default().extend(word.cloned());
            }
        }
    }

    fn assert_bounded(&self) {
        for (label, words) in &self.0 {
            assert!(words.len() <= MOST, "{} of {label}: {words:?}", words.len());
            assert!(words.contains("other"), "{label}: {words:?}");
        }
    }
}

/// Starts an upstream whose responses contain arbitrary words: a third of the polls fail, some
/// tasks have failed, and some words differ from one of the mapping only in their spelling. The
/// task `named` has words of the mapping.
fn babel() -> Upstream {
    let count = AtomicUsize::new(0);
    Upstream::start(move |asked| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let id = asked.after("/task/");
        let status = match number % 4 {
            _ if id == "named" => "completed".to_owned(),
            0 => format!("status-{number}"),
            1 => spelled("processing_in_the_background", number),
            2 => "failed".to_owned(),
            _ => "running".to_owned(),
        };
        let code = match id {
            "named" => "0".to_owned(),
            "coded" => "\"E24\"".to_owned(),
            _ if number.is_multiple_of(3) => format!("\"code-{number}\""),
            _ => "0".to_owned(),
        };
        let words = format!(r#""action": "kind-{number}", "fail": "why-{number}""#);
        let data = format!(r#"{{"taskId": "{id}", "status": "{status}", {words}}}"#);
        Reply::Keep(json(&format!(r#"{{"code": {code}, "data": {data}}}"#)))
    })
}

/// One of the spellings of a word, in capitals and not.
fn spelled(word: &str, number: usize) -> String {
    let letter = |(index, letter): (usize, char)| match number >> (index % 16) & 1 {
        0 => letter,
        _ => letter.to_ascii_uppercase(),
    };
    word.chars().enumerate().map(letter).collect()
}

fn config(upstream: &Upstream, tasks: &[String]) -> String {
    let response = "response: { codes: { failed: [E24] }, job_type: /action, failure_code: /fail, \
                    states: { running: [running, processing_in_the_background] } }";
    format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        upstream.provider("mj", response),
        tasks.join(", ")
    )
}

/// The tasks of a round.
fn tasks(round: usize) -> Vec<String> {
    (0..TASKS).map(|number| format!("t-{round}-{number}")).collect()
}

fn until_polled(exporter: &Exporter, tasks: &[String]) -> Samples {
    let is_polled = |samples: &Samples, id: &String| {
        samples.value("aitask_up", &[("task_id", id.as_str())]).is_some()
    };
    let mut samples = Samples::default();
    until("all are polled", || {
        samples = exporter.scrape();
        tasks.iter().all(|id| is_polled(&samples, id))
    });
    samples
}

/// Replaces all tasks in each of the rounds, and looks at what is shown.
fn go_on(exporter: &Exporter, upstream: &Upstream, rounds: Range<usize>, shown: &mut Shown) {
    for tasks in rounds.map(tasks) {
        assert_eq!(exporter.reload(&config(upstream, &tasks)).status, 200);
        shown.look(&until_polled(exporter, &tasks));
    }
}

#[test]
fn an_upstream_that_never_says_the_same_twice_makes_so_many_series_and_no_more() {
    let upstream = babel();
    let exporter = Exporter::start(&config(&upstream, &[]));
    let mut shown = Shown::default();
    go_on(&exporter, &upstream, 0..ROUNDS, &mut shown);
    for number in 0..20 {
        let reply = exporter.get(&format!("/probe?provider=mj&task_id=probed-{number}"));
        shown.look(&Samples::parse(reply.text()));
    }
    shown.assert_bounded();
    // Words of the mapping are shown unchanged.
    let named = ["named", "coded"].map(str::to_owned);
    assert_eq!(exporter.reload(&config(&upstream, &named)).status, 200);
    let samples = until_polled(&exporter, &named);
    let label = |family, id, label| samples.label(family, &[("task_id", id)], label);
    assert_eq!(label("aitask_status", "named", "status"), Some("completed"));
    assert_eq!(label("aitask_info", "named", "job_type"), Some("other"));
    assert_eq!(label("aitask_error", "coded", "code"), Some("E24"));
    let spelled = shown.0["status"].iter().filter(|word| word.eq_ignore_ascii_case("running"));
    assert_eq!(spelled.collect::<Vec<_>>(), ["running"]);
}

#[test]
fn words_that_a_restart_brings_back_count_as_words() {
    let (upstream, storage) = (babel(), Dir::new());
    let path = storage.path("state");
    let life = |tasks: &[String]| {
        let flags = ["--storage.path", path.to_str().unwrap()];
        Exporter::start_in(Dir::with(&config(&upstream, tasks)), &flags)
    };
    let all: Vec<_> = (0..ROUNDS).flat_map(tasks).collect();
    let mut first = life(&all);
    until_polled(&first, &all);
    first.process.signal("TERM");
    assert!(first.process.wait().success());
    let second = life(&all);
    let mut shown = Shown::default();
    shown.look(&second.scrape());
    go_on(&second, &upstream, ROUNDS..2 * ROUNDS, &mut shown);
    shown.assert_bounded();
}
