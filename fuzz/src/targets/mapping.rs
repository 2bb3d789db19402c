//! The first line says how an answer came, the rest is its body: every preset reads it.
//!
//! The line holds the HTTP status, headers as `name:value`, and the IDs that were asked for.

use std::collections::HashSet;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config::provider_list::ListSourceConfig;
use aitask_exporter::config::{self, Provider, preset};
use aitask_exporter::mapping::task_list::ObservedElement;
use aitask_exporter::mapping::{ProviderResponse, ReceivedBody};
use aitask_exporter::observation::{Failure, Observation, OddField, PollOutcome, State};
use aitask_exporter::record::TrackedTask;
use aitask_exporter::task::{Task, TaskCommon};
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::harness::root;

/// A mapping with features that no preset has or combines.
const ODD: &str = "
  - name: odd
    base_url: https://gateway.example
    request:
      path: '/{task_id}'
      list: { path: /l, task: /1/list, page: { next: /2/next } }
    response:
      accept: [2xx, 404]
      code: { path: [/0/code, /1/~0~1/why/code] }
      retry_after: { path: /0/wait, format: milliseconds }
      message: { header: x-message }
      success: [ok]
      codes: { auth: [1], cancelled: [2], failed: [3] }
      task: /1/~0~1
      id: { path: /id, until: '-' }
      status: { path: /status, until: ' ' }
      job_type: /type/0
      enqueue_time: { path: /begun, format: epoch_milliseconds }
      finish_time: { path: /ended, format: rfc3339, zone: '+08:00' }
      progress: { path: /progress, format: ratio }
      failure_code: /why/code
      failure_reason: /why
      states: { running: [run], succeeded: [done], failed: [Ausfälle], not_found: [gone] }
      refine: [{ if: { status: done, failure_reason: no }, state: failed }]
";

/// The time at which every response was sent: 2026-11-30T07:00:00Z.
const SENT: Timestamp = Timestamp::from_micros(1_796_022_000_000_000);

/// Maximum number of elements of a list.
const MAX_ELEMENTS: usize = 50;

/// 1 January 2000, in microseconds.
const YEAR_2000: i64 = 946_684_800_000_000;

static PROVIDERS: LazyLock<Vec<Arc<Provider>>> = LazyLock::new(|| {
    let presets = preset::NAMES.iter().map(|name| {
        format!("\n  - {{ name: {name}, preset: {name}, base_url: 'https://gateway.example' }}")
    });
    let text = format!("providers:{}{ODD}", presets.collect::<String>());
    let loaded = config::load_text("mapping.yml", &text, &root("fuzz"));
    loaded.unwrap_or_else(|told| panic!("{told}")).config.providers
});

pub fn run(data: &[u8]) {
    let (first, body) = match data.iter().position(|byte| *byte == b'\n') {
        Some(end) => (&data[..end], &data[end + 1..]),
        None => (&[][..], data),
    };
    let first = String::from_utf8_lossy(first);
    let mut words = first.split(' ').filter(|word| !word.is_empty());
    let status = words.next().and_then(|word| word.parse().ok()).unwrap_or(200);
    let mut headers = HeaderMap::new();
    let mut asked = Vec::new();
    for word in words {
        let header = word.split_once(':').and_then(|(name, value)| {
            Some((name.parse::<HeaderName>().ok()?, value.parse::<HeaderValue>().ok()?))
        });
        match header {
            Some((name, value)) => drop(headers.insert(name, value)),
            None => asked.push(word),
        }
    }
    if asked.is_empty() {
        asked.push("x");
    }
    for provider in &*PROVIDERS {
        let bodies = match provider.mapping.ignores_body {
            true => vec![ReceivedBody::Ignored],
            false => {
                let half = &body[..body.len() / 2];
                let start = |start: &[u8]| ReceivedBody::Truncated {
                    start: start.to_vec().into(),
                    limit: body.len(),
                };
                let whole = ReceivedBody::Whole(body.to_vec().into());
                vec![whole, start(body), start(half)]
            }
        };
        for body in bodies {
            let response = ProviderResponse { status, headers: headers.clone(), sent: SENT, body };
            map(provider, &response, &asked, data.len());
        }
    }
}

fn map(provider: &Provider, response: &ProviderResponse, asked: &[&str], length: usize) {
    let mapped = provider.mapping.map_response(response, asked, asked.len() > 1);
    assert_eq!(mapped.outcomes.len(), asked.len());
    if let Some(code) = &mapped.code {
        label(code);
    }
    assert!(mapped.message.is_none_or(|message| message.len() <= 3 * length));
    assert!(mapped.retry_after.is_none_or(|delay| delay.as_secs() <= 31_536_000));
    assert!(mapped.retry_after.is_none() || mapped.outcomes.iter().all(Result::is_err));
    for (outcome, id) in mapped.outcomes.iter().zip(asked) {
        match outcome {
            Ok(seen) => observation(seen),
            Err(failure) => failed(failure),
        }
        keep(outcome, id);
    }
    if let Some(list) = &provider.list {
        map_list(list, response, length);
    }
    for columns in provider.mapping.explain(response, asked[0]) {
        let told: usize = columns.iter().map(String::len).sum();
        assert!(told <= 2_048 && !columns.concat().contains('\n'), "{columns:?}");
    }
}

/// Asserts that a list has each ID once, and no more elements than asked for.
fn map_list(list: &ListSourceConfig, response: &ProviderResponse, length: usize) {
    let mapped = list.mapping.map_list(response, MAX_ELEMENTS);
    if let Some(code) = &mapped.code {
        label(code);
    }
    assert!(mapped.message.is_none_or(|message| message.len() <= 3 * length));
    assert!(mapped.retry_after.is_none() || mapped.tasks.is_err());
    let tasks = match mapped.tasks {
        Ok(tasks) => tasks,
        Err(failure) => return failed(&failure),
    };
    assert!(matches!(response.body, ReceivedBody::Whole(_)), "{tasks:?}");
    assert!(tasks.elements.len() <= tasks.page.elements && tasks.page.elements <= MAX_ELEMENTS);
    assert!(tasks.elements.is_sorted_by(|a, b| a.number < b.number), "{tasks:?}");
    let mut ids = HashSet::new();
    for ObservedElement { number, id, outcome } in &tasks.elements {
        assert!(*number >= 1 && *number <= tasks.page.elements);
        assert!(id.is_empty() || ids.insert(id), "{id:?} twice");
        assert!(!id.is_empty() || outcome.is_err(), "{outcome:?}");
        match outcome {
            Ok(seen) => observation(seen),
            Err(failure) => failed(failure),
        }
        keep(outcome, id);
    }
}

fn label(value: &str) {
    assert!(value.len() <= 1_024 && !value.contains('\0'), "{value:?}");
}

fn observation(seen: &Observation) {
    assert!(!matches!(seen.state, State::NotFound | State::Unpolled), "{seen:?}");
    label(&seen.status);
    seen.job_type.iter().chain(&seen.failure_code).for_each(|text| label(text));
    assert!(seen.failure_code.is_none() || seen.state == State::Failed, "{seen:?}");
    assert!(seen.finish_time.is_none() || seen.state.is_final(), "{seen:?}");
    let moments = seen.enqueue_time.iter().chain(&seen.finish_time);
    assert!(moments.into_iter().all(|moment| moment.since(SENT).as_secs() <= 300), "{seen:?}");
    let moments = seen.enqueue_time.iter().chain(&seen.finish_time);
    assert!(moments.into_iter().all(|moment| moment.micros() >= YEAR_2000), "{seen:?}");
    assert!(seen.odd.len() <= OddField::ALL.len(), "{seen:?}");
    assert!(seen.odd.iter().all(|oddity| oddity.value.chars().count() <= 64), "{seen:?}");
    assert!(seen.progress.is_none_or(|ratio| (0.0..=1.0).contains(&ratio)), "{seen:?}");
}

fn failed(failure: &Failure) {
    label(&failure.code);
    assert!(failure.detail.len() <= 2_048, "{failure:?}");
}

/// Asserts that any response may follow any other, whatever the clock shows.
fn keep(outcome: &PollOutcome, id: &str) {
    let common = TaskCommon { provider: "p".into(), labels: [].into(), params: [].into() };
    let task = Task { id: id.into(), common: Arc::new(common) };
    let mut tracked = TrackedTask::new(task, Timestamp::from_micros(1_750_000_000_000_000));
    for now in [i64::MIN, 0, 1_750_000_000_000_001, i64::MAX] {
        let now = Timestamp::from_micros(now);
        let change = tracked.apply(outcome, now, Duration::from_secs(600));
        assert_eq!(change.is_final, tracked.is_final());
        assert!(tracked.queue_age(now).is_none() || !tracked.is_final());
        assert!(
            tracked.error().is_some() == (outcome.is_err() || tracked.state() == State::Failed)
        );
    }
}
