//! Sources that fail: their last good list stays, and they are asked again.

use std::fs;
use std::os::unix::fs::symlink;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use parking_lot::Mutex;
use serde_json::json;

use super::{
    Endpoint, Setup, await_ids, await_listed, discovered, failures, ids, lost, rejected, unlisted,
};
use crate::harness::upstream::{Reply, answer, json as json_answer};
use crate::harness::{Dir, Exporter, Gateway, eventually, now, until};

#[test]
fn a_source_that_fails_keeps_its_list() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&["running-1"]);
    let exporter = Setup::new("poll_interval: 200ms, keep_unlisted: 0s")
        .provider(gateway.provider("mj", ""))
        .endpoint("jobs", &endpoint, "")
        .start();
    exporter.await_state("running-1", "running");
    let json = ["Content-Type: application/json"];
    let list = br#"["running-2"]"#;
    for (what, reply, reason) in [
        ("500", answer("500 Oops", &json, list), "http"),
        ("a redirect", answer("302 Found", &["Location: /"], b""), "http"),
        ("204", answer("204 No Content", &json, b""), "http"),
        ("another 2xx", answer("203 Changed", &json, list), "http"),
        ("401", answer("401 No", &json, list), "auth"),
        ("403", answer("403 No", &json, list), "auth"),
        ("404", answer("404 No", &json, list), "not_found"),
        ("429", answer("429 Slow", &json, list), "rate_limited"),
        ("a login page", answer("200 OK", &["Content-Type: text/html"], b"<html>"), "decode"),
        ("no type", answer("200 OK", &[], list), "decode"),
        ("an empty body", answer("200 OK", &json, b""), "empty"),
        ("an object", json_answer("{}"), "decode"),
        ("half a list", json_answer(r#"["running-2""#), "decode"),
        ("two lists", json_answer(r#"["running-2"]["running-2"]"#), "decode"),
        ("deep", json_answer(&("[".repeat(200) + &"]".repeat(200))), "decode"),
        ("large", json_answer(&format!("[\"running-2\"{}]", " ".repeat(33 << 20))), "too_large"),
    ] {
        let before = failures(&exporter.scrape(), "jobs", Some(reason));
        endpoint.answer(reply);
        eventually(&format!("{what} is a failure: {reason}"), || {
            (failures(&exporter.scrape(), "jobs", Some(reason)) > before).then_some(())
        });
        assert_eq!(ids(&exporter), ["running-1"], "{what}");
    }
    let samples = exporter.scrape();
    assert_eq!((discovered(&samples, "jobs"), lost(&samples, "mj")), (Some(1.0), 0.0));
    endpoint.list(&json!(["running-2"]));
    await_ids(&exporter, &["running-2"]);
    let samples = exporter.scrape();
    let tries = samples.value("aitask_sd_refreshes_total", &[("config", "jobs")]).unwrap();
    assert!(tries > failures(&samples, "jobs", None));
    let log = exporter.process.log();
    assert!(log.contains("source=http/jobs reason=auth detail="), "{log}");
    assert!(log.lines().all(|line| line.matches(" msg=").count() == 1), "{log}");
}

#[test]
fn a_broken_file_keeps_its_own_list() {
    let gateway = Gateway::start();
    let dir = Dir::with(
        &Setup::new("poll_interval: 200ms, keep_unlisted: 0s")
            .provider(gateway.provider("mj", ""))
            .file("files", "lists/*.json", "refresh_interval: 5m")
            .text(),
    );
    dir.write("lists/a.json", r#"["running-a"]"#);
    dir.write("lists/b.json", r#"["running-b"]"#);
    let exporter = Exporter::start_in(dir, &[]);
    for id in ["running-a", "running-b"] {
        exporter.await_state(id, "running");
    }
    let dir = &exporter.process.dir;
    // The interval is long: changes are seen by themselves.
    dir.write("lists/a.json", r#"["running-c""#);
    dir.write("lists/b.json", r#"["running-d"]"#);
    await_ids(&exporter, &["running-a", "running-d"]);
    let samples = exporter.scrape();
    assert!(failures(&samples, "files", Some("decode")) > 0.0);
    let page = exporter.get("/service-discovery");
    assert!(page.text().contains("a.json"), "{}", page.text());
    assert_eq!(discovered(&samples, "files"), Some(2.0));
    // One that cannot be read keeps its list as well.
    fs::remove_file(dir.path("lists/a.json")).unwrap();
    symlink("/dev/null", dir.path("lists/a.json")).unwrap();
    until("it is a device", || failures(&exporter.scrape(), "files", Some("read")) > 0.0);
    assert_eq!(ids(&exporter), ["running-a", "running-d"]);
    // A new file is read, and one that is gone unlists its tasks.
    dir.write("lists/e.json", r#"["running-e"]"#);
    fs::remove_file(dir.path("lists/b.json")).unwrap();
    await_ids(&exporter, &["running-a", "running-e"]);
    fs::remove_file(dir.path("lists/a.json")).unwrap();
    await_ids(&exporter, &["running-e"]);
    assert_eq!(lost(&exporter.scrape(), "mj"), 3.0);
}

/// Returns the seconds between the requests so far.
fn gaps(times: &Mutex<Vec<f64>>) -> Vec<f64> {
    times.lock().windows(2).map(|pair| pair[1] - pair[0]).collect()
}

#[test]
fn a_source_that_fails_is_asked_after_1_2_4_seconds() {
    let gateway = Gateway::start();
    let times = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&times);
    let failing = Endpoint::with(move |_| {
        log.lock().push(now());
        Reply::Keep(answer("500 Oops", &[], b""))
    });
    let short = Endpoint::listing(&[]);
    short.fail("500 Oops");
    let exporter = Setup::new("poll_interval: 1h")
        .provider(gateway.provider("mj", ""))
        .http("jobs", &failing.url(), "refresh_interval: 5m")
        .endpoint("short", &short, "")
        .start();
    // The interval is the longest pause: this one has many tries at once.
    until("it is asked often", || short.asked().len() >= 8);
    until("it is asked four times", || gaps(&times).len() >= 3);
    for (gap, least) in gaps(&times).into_iter().zip([1.0, 2.0, 4.0]) {
        assert!(gap > least * 0.7, "{:?}", gaps(&times));
    }
    assert!(failures(&exporter.scrape(), "jobs", Some("http")) >= 3.0);
}

#[test]
fn a_source_is_asked_no_sooner_than_it_asks_for() {
    let gateway = Gateway::start();
    let statuses = ["429 Too Many Requests", "503 Busy"];
    let times = statuses.map(|_| Arc::new(Mutex::new(Vec::new())));
    let endpoints = [0, 1].map(|number| {
        let log = Arc::clone(&times[number]);
        Endpoint::with(move |_| {
            log.lock().push(now());
            Reply::Keep(answer(statuses[number], &["Retry-After: 4"], b""))
        })
    });
    let exporter = Setup::new("poll_interval: 1h")
        .provider(gateway.provider("mj", ""))
        .http("a", &endpoints[0].url(), "refresh_interval: 5m")
        .http("b", &endpoints[1].url(), "refresh_interval: 5m")
        .start();
    for times in &times {
        until("it is asked again", || !gaps(times).is_empty());
        assert!(gaps(times)[0] > 3.9, "{:?}", gaps(times));
    }
    let samples = exporter.scrape();
    assert!(failures(&samples, "a", Some("rate_limited")) > 0.0);
}

#[test]
fn a_start_asks_each_source_once() {
    let endpoint = Endpoint::listing(&["running-1"]);
    let gateway = Gateway::start();
    let setup = Setup::new("poll_interval: 1h").provider(gateway.provider("mj", ""));
    let many = (0..200).fold(setup, |setup, number| {
        setup.http(&format!("jobs-{number}"), &endpoint.url(), "refresh_interval: 5m")
    });
    let exporter = many.start();
    until("all are tried", || exporter.get("/-/ready").status == 200);
    assert_eq!(endpoint.asked().len(), 200);
}

/// The state of `/-/ready` while a source is silent.
#[test]
fn readiness_waits_for_the_first_try_of_every_source() {
    let gateway = Gateway::start();
    let gate = Arc::new(AtomicU64::new(0));
    let opened = Arc::clone(&gate);
    let silent = Endpoint::with(move |_| {
        while opened.load(Ordering::Relaxed) == 0 {
            thread::sleep(Duration::from_millis(10));
        }
        Reply::Keep(json_answer("[]"))
    });
    let quick = Endpoint::listing(&["running-1"]);
    let setup = |timeout: &str| {
        Setup::new("poll_interval: 200ms")
            .provider(gateway.provider("mj", ""))
            .endpoint("quick", &quick, "")
            .http("silent", &silent.url(), &format!("refresh_interval: 5m, timeout: {timeout}"))
    };
    let ready = |exporter: &Exporter| exporter.get("/-/ready").status;
    let exporter = setup("4m").start();
    exporter.await_state("running-1", "running");
    assert_eq!(ready(&exporter), 503);
    gate.store(1, Ordering::Relaxed);
    until("it is ready after the answer", || ready(&exporter) == 200);

    // At most for its timeout, after which it has failed.
    gate.store(0, Ordering::Relaxed);
    let exporter = setup("1s").start();
    until("it is ready after the timeout", || ready(&exporter) == 200);
    assert_eq!(failures(&exporter.scrape(), "silent", Some("timeout")), 1.0);
    gate.store(1, Ordering::Relaxed);
}

/// A task that left while its source was down and the exporter reloaded is still the same.
#[test]
fn a_reload_keeps_the_list_of_a_source_that_stays() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&["running-1", "running-2"]);
    let other = Endpoint::listing(&["running-3"]);
    let base = |more: &str| {
        Setup::new(&format!("poll_interval: 200ms, {more}"))
            .provider(gateway.provider("mj", ""))
            .endpoint("jobs", &endpoint, "")
    };
    let exporter = base("").endpoint("other", &other, "").start();
    let samples = exporter.await_value("aitask_tasks", &[("state", "running")], 3.0);
    let enqueued = samples.find("aitask_enqueue_timestamp_seconds", &[]).len();
    assert_eq!(enqueued, 3);
    endpoint.fail("500 Oops");
    until("it fails", || failures(&exporter.scrape(), "jobs", None) > 0.0);
    // A reload asks at once, and waits for nothing.
    let before = other.asked().len();
    assert_eq!(exporter.reload(&base("").endpoint("other", &other, "limit: 5").text()).status, 200);
    until("all are asked", || other.asked().len() > before);
    assert_eq!(ids(&exporter), ["running-1", "running-2", "running-3"]);
    assert_eq!(discovered(&exporter.scrape(), "jobs"), Some(2.0));
    // One that left unlists its tasks.
    assert_eq!(exporter.reload(&base("").text()).status, 200);
    await_listed(&exporter, "running-3", false);
    let samples = exporter.scrape();
    assert_eq!(unlisted(&samples, "mj"), 1.0);
    assert!(samples.find("aitask_sd_refreshes_total", &[("config", "other")]).is_empty());
    for id in ["running-1", "running-2"] {
        await_listed(&exporter, id, true);
    }
    let requests = gateway.requests("running-3");
    until("it is polled on", || gateway.requests("running-3") > requests);
    assert_eq!(exporter.scrape().value("aitask_tasks", &[("state", "running")]), Some(3.0));
}

/// A reload that adds a source does not wait for its answer.
#[test]
fn a_reload_does_not_wait_for_sources() {
    let gateway = Gateway::start();
    let (gate, asked) = (Arc::new(Mutex::new(())), Arc::new(AtomicU64::new(0)));
    let (closed, count) = (Arc::clone(&gate), Arc::clone(&asked));
    let silent = Endpoint::with(move |_| {
        count.fetch_add(1, Ordering::Relaxed);
        drop(closed.lock());
        Reply::Keep(json_answer(r#"["running-1"]"#))
    });
    let base = || Setup::new("poll_interval: 200ms").provider(gateway.provider("mj", ""));
    let exporter = base().start();
    let closed = gate.lock();
    let with = base().http("silent", &silent.url(), "refresh_interval: 5m, timeout: 4m");
    assert_eq!(exporter.reload(&with.text()).status, 200);
    until("it is asked at once", || asked.load(Ordering::Relaxed) == 1);
    assert_eq!(ids(&exporter), [""; 0]);
    drop(closed);
    await_ids(&exporter, &["running-1"]);
    assert_eq!(rejected(&exporter.scrape(), "silent", "limit"), Some(0.0));
}
