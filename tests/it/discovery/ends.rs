//! The ends of jobs that come and go: each is counted once.

use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::app::App;
use super::{Endpoint, Setup, discovered, finished, lost, task, timed, timeless};
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, READ_TIMEOUT, now, until};

/// Jobs of each app at each provider.
const JOBS: usize = 60;
const PROVIDERS: [&str; 2] = ["timed", "timeless"];

/// Runs two apps, one that lists its jobs at an endpoint and one that writes them into a file, with
/// default intervals but for the sources', and waits until all ends are counted.
fn assert_all_ends_are_counted(life: Duration, lingers: Option<Duration>) {
    let gateway = Gateway::start();
    let (web, cron) = (App::new(life, lingers), App::new(life, lingers));
    let endpoint = web.endpoint();
    let often = "refresh_interval: 2s";
    let setup = Setup::new("")
        .provider(timed(&gateway, PROVIDERS[0]))
        .provider(timeless(&gateway, PROVIDERS[1]))
        .http("web", &endpoint.url(), often)
        .file("cron", "jobs.json", often);
    let dir = Dir::with(&setup.text());
    dir.write("jobs.json", "[]");
    let exporter = Exporter::start_in(dir, &[]);
    let write = || drop(exporter.process.dir.write("jobs.json", &cron.list().to_string()));
    for number in 0..JOBS {
        for provider in PROVIDERS {
            web.submit(&gateway, provider, &format!("{provider}-web-{number}"));
            cron.submit(&gateway, provider, &format!("{provider}-cron-{number}"));
        }
        write();
        thread::sleep(Duration::from_millis(250));
    }
    let counted = || {
        let samples = exporter.scrape();
        (PROVIDERS.map(|provider| finished(&samples, provider)), samples)
    };
    let expected = [2.0 * JOBS as f64; 2];
    let deadline = Instant::now() + life + lingers.unwrap_or_default() + READ_TIMEOUT;
    while counted().0 != expected {
        assert!(Instant::now() < deadline, "{:?} of {expected:?} ends", counted().0);
        write();
        thread::sleep(Duration::from_millis(250));
    }
    // Two further lists change nothing.
    endpoint.await_refresh();
    let (ends, samples) = counted();
    assert_eq!(ends, expected);
    assert_eq!(PROVIDERS.map(|provider| lost(&samples, provider)), [0.0; 2]);
}

#[test]
fn each_end_of_jobs_that_leave_the_list_a_second_later_is_counted() {
    assert_all_ends_are_counted(Duration::from_secs(30), Some(Duration::from_secs(1)));
}

#[test]
fn each_end_of_jobs_of_five_seconds_is_counted() {
    assert_all_ends_are_counted(Duration::from_secs(5), None);
}

/// A job that was submitted some seconds ago and ended at once.
fn ended(gateway: &Gateway, id: &str, seconds_ago: f64) {
    let steps = json!([{ "status": "completed" }]);
    gateway.put(id, &json!({ "enqueued_seconds_ago": seconds_ago, "steps": steps }));
}

const HOUR: f64 = 3_600.0;

fn of(provider: &str, ids: &[&str]) -> Value {
    json!({ "targets": ids, "labels": { "provider": provider } })
}

fn succeeded(samples: &Samples) -> f64 {
    let found = samples.find("aitask_tasks", &[("state", "succeeded")]);
    found.iter().map(|(_, count)| count).sum()
}

/// Waits until so many tasks have succeeded; returns the ends that were counted at each provider.
fn await_succeeded(exporter: &Exporter, count: usize) -> [f64; 2] {
    until(&format!("{count} tasks have succeeded"), || {
        succeeded(&exporter.scrape()) == count as f64
    });
    let samples = exporter.scrape();
    PROVIDERS.map(|provider| finished(&samples, provider))
}

/// Waits until these ends have been counted at each provider: with a storage path, they are once they
/// are durable.
fn await_ends(exporter: &Exporter, expected: [f64; 2]) {
    until(&format!("the ends are {expected:?}"), || {
        let samples = exporter.scrape();
        PROVIDERS.map(|provider| finished(&samples, provider)) == expected
    });
}

/// Two providers, each polled several times a second.
fn setup(gateway: &Gateway) -> Setup {
    Setup::new("poll_interval: 300ms")
        .provider(timed(gateway, PROVIDERS[0]))
        .provider(timeless(gateway, PROVIDERS[1]))
}

#[test]
fn a_task_that_is_final_at_its_first_poll_counts_if_it_is_new() {
    let gateway = Gateway::start();
    for id in ["first-1", "first-2"] {
        ended(&gateway, id, 0.0);
    }
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!([of("timed", &["first-1"]), of("timeless", &["first-2"])]));
    let exporter = setup(&gateway).endpoint("jobs", &endpoint, "").start();
    // Of the first list nobody knows how long it has been so.
    assert_eq!(await_succeeded(&exporter, 2), [0.0, 0.0]);
    endpoint.await_refresh();

    for id in ["new", "unknown", "source-new", "source-old"] {
        ended(&gateway, id, 0.0);
    }
    ended(&gateway, "old", HOUR);
    endpoint.list(&json!([
        of("timed", &["first-1", "new", "old"]),
        of("timeless", &["first-2", "unknown"]),
        { "id": "source-new", "provider": "timeless", "enqueue_time": now() },
        { "id": "source-old", "provider": "timeless", "enqueue_time": now() - HOUR },
    ]));
    // The new one of the API, the one of which nothing is known but the list, and the new one of the
    // source.
    assert_eq!(await_succeeded(&exporter, 7), [1.0, 2.0]);
    endpoint.await_refresh();
    assert_eq!(await_succeeded(&exporter, 7), [1.0, 2.0]);
}

#[test]
fn a_task_that_comes_with_a_reload_counts_likewise() {
    let gateway = Gateway::start();
    for id in ["first-1", "first-2"] {
        ended(&gateway, id, 0.0);
    }
    let tasks = "{ id: first-1, provider: timed }, { id: first-2, provider: timeless }";
    let setup = |more: &str| setup(&gateway).and(&format!("tasks: [{tasks}{more}]")).text();
    let exporter = Exporter::start(&setup(""));
    assert_eq!(await_succeeded(&exporter, 2), [0.0, 0.0]);
    ended(&gateway, "new", 0.0);
    ended(&gateway, "unknown", 0.0);
    ended(&gateway, "old", HOUR);
    let more = ", { id: new, provider: timed }, { id: old, provider: timed }, \
                { id: unknown, provider: timeless }";
    assert_eq!(exporter.reload(&setup(more)).status, 200);
    assert_eq!(await_succeeded(&exporter, 5), [1.0, 1.0]);
}

/// Jobs that have all ended, some long ago, as elements.
fn archive(gateway: &Gateway) -> Value {
    let ids = |word: &str| (0..20).map(|number| format!("{word}-{number}")).collect::<Vec<_>>();
    let (known, unknown) = (ids("known"), ids("unknown"));
    for id in known.iter().chain(&unknown) {
        ended(gateway, id, HOUR);
    }
    let ids = |ids: &[String], provider: &str| json!({ "targets": ids, "labels": { "provider": provider } });
    json!([ids(&known, "timed"), ids(&unknown, "timeless")])
}

#[test]
fn a_first_list_that_was_empty_by_mistake_is_no_burst_of_ends() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    let exporter = setup(&gateway).endpoint("jobs", &endpoint, "").start();
    exporter.await_value("aitask_sd_discovered_tasks", &[("config", "jobs")], 0.0);
    endpoint.await_refresh();
    endpoint.list(&archive(&gateway));
    assert_eq!(await_succeeded(&exporter, 40)[0], 0.0);
}

#[test]
fn a_restart_is_no_burst_of_ends() {
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let endpoint = Endpoint::listing(&[]);
    let archive = archive(&gateway);
    endpoint.list(&archive);
    let setup = setup(&gateway).endpoint("jobs", &endpoint, "");
    // Nothing is known of a life before, twice.
    for _ in 0..2 {
        assert_eq!(await_succeeded(&setup.start(), 40), [0.0, 0.0]);
    }
    let mut exporter = setup.start_with(&storage);
    assert_eq!(await_succeeded(&exporter, 40), [0.0, 0.0]);
    ended(&gateway, "new", 0.0);
    endpoint.list(&json!([archive[0], archive[1], of("timed", &["new"])]));
    await_ends(&exporter, [1.0, 0.0]);
    for signal in ["KILL", "TERM"] {
        exporter.process.signal(signal);
        exporter.process.wait();
        exporter = setup.start_with(&storage);
        await_succeeded(&exporter, 41);
        await_ends(&exporter, [1.0, 0.0]);
    }
}

/// A list that is empty for a moment, and full again, after the series of its tasks have ended.
#[test]
fn a_list_that_was_empty_for_a_moment_counts_nothing_twice() {
    let gateway = Gateway::start();
    ended(&gateway, "first", 0.0);
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!([of("timed", &["first"])]));
    let setup = Setup::new("poll_interval: 300ms, retain_finished: 0s")
        .provider(timed(&gateway, PROVIDERS[0]))
        .provider(timeless(&gateway, PROVIDERS[1]))
        .endpoint("jobs", &endpoint, "");
    let exporter = setup.start();
    assert_eq!(await_succeeded(&exporter, 1), [0.0, 0.0]);
    ended(&gateway, "a", 0.0);
    ended(&gateway, "b", 0.0);
    let list = json!([of("timed", &["first", "a"]), of("timeless", &["b"])]);
    endpoint.list(&list);
    assert_eq!(await_succeeded(&exporter, 3), [1.0, 1.0]);
    let polls = gateway.requests("a");
    for _ in 0..2 {
        endpoint.list(&json!([]));
        endpoint.await_refresh();
        assert_eq!(discovered(&exporter.scrape(), "jobs"), Some(0.0));
        endpoint.list(&list);
        endpoint.await_refresh();
        assert_eq!(await_succeeded(&exporter, 3), [1.0, 1.0]);
    }
    assert_eq!(gateway.requests("a"), polls, "a task that has ended is polled no more");
    assert_eq!(task(&exporter, "a").unwrap()["listed"], true);
}
