//! Batches: one request for many tasks, and what happens where a gateway has none, or where one of
//! its tasks cannot be read.

use std::net::SocketAddr;

use serde_json::json;

use crate::harness::raw::{Answer, Asked, RawGateway};
use crate::harness::{Exporter, Gateway, eventually, until};

const RUNNING: [(&str, &str); 2] = [("provider", "mj"), ("state", "running")];

fn config(address: SocketAddr, prefix: &str) -> String {
    config_of(20, address, prefix)
}

fn config_of(tasks: usize, address: SocketAddr, prefix: &str) -> String {
    let ids: Vec<_> = (0..tasks).map(|number| format!("running-{number}")).collect();
    format!(
        "global: {{ poll_interval: 500ms }}\n\
         providers: [{{ name: mj, preset: midjourney-proxy, base_url: 'http://{address}{prefix}' }}]\n\
         tasks: [{}]\n",
        ids.join(", ")
    )
}

#[test]
fn many_tasks_are_asked_for_at_once() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(gateway.address, "/midjourney-proxy"));
    let samples = exporter.await_value("aitask_tasks", &RUNNING, 20.0);
    let polls = samples.value("aitask_polls_total", &[]).unwrap();
    let answers = samples.value("aitask_http_responses_total", &[("status_code", "200")]).unwrap();
    assert!(answers <= polls / 2.0, "{polls} polls with {answers} requests");
    assert_eq!(gateway.stats()["max_in_flight_per_task"], 1);
}

fn running(id: &str) -> String {
    format!(r#"{{"id": "{id}", "status": "IN_PROGRESS"}}"#)
}

/// Answers a request for one task with the text of `element`, and a batch with an array of them.
fn answer(asked: &Asked, element: impl Fn(&str) -> String) -> Answer {
    let body = match &*asked.method {
        "GET" => element(asked.target.split('/').nth(3).unwrap()),
        _ => {
            format!("[{}]", asked.ids().iter().map(|id| element(id)).collect::<Vec<_>>().join(","))
        }
    };
    ("200 OK", body.into_bytes())
}

fn is_batch(asked: &Asked) -> bool {
    asked.method == "POST"
}

#[test]
fn a_gateway_without_batches_is_asked_for_each_task() {
    let gateway = RawGateway::start(|asked| match is_batch(asked) {
        true => ("404 Not Found", b"{}".to_vec()),
        false => answer(asked, running),
    });
    let exporter = Exporter::start(&config(gateway.address, ""));
    let samples = exporter.await_value("aitask_tasks", &RUNNING, 20.0);
    // No task looked lost on the way, and what was in vain is not tried again at once.
    assert_eq!(samples.value("aitask_poll_failures_total", &[("reason", "not_found")]), Some(0.0));
    exporter.await_value("aitask_up", &[("task_id", "running-0")], 1.0);
    let asked = gateway.asked();
    let batches = asked.iter().filter(|asked| is_batch(asked)).count();
    assert!((1..=16).contains(&batches) && asked.len() >= 20 + batches, "{batches} batches");
    assert_eq!(exporter.process.log().matches("does not support batches").count(), 1);
}

/// A batch of one task gets the answer that a batch of many would get.
#[test]
fn a_batch_of_one_task_is_read_as_a_batch() {
    let gateway = RawGateway::start(|asked| match is_batch(asked) {
        true => {
            let list = String::from_utf8(answer(asked, running).1).unwrap();
            ("200 OK", format!(r#"{{"status": "success", "data": {list}}}"#).into_bytes())
        }
        false => answer(asked, running),
    });
    let exporter = Exporter::start(&config_of(1, gateway.address, ""));
    exporter.await_value("aitask_tasks", &RUNNING, 1.0);
    assert!(gateway.asked().iter().any(is_batch), "a batch of one");
}

#[test]
fn answers_that_are_too_large_together_are_asked_for_in_smaller_batches() {
    let gateway = Gateway::start();
    // Twenty are 8 MB, and two fit into the limit of 1 MiB.
    let prompt = "x".repeat(400_000);
    for number in 0..20 {
        let id = format!("running-{number}");
        let answer = json!({ "id": id, "status": "IN_PROGRESS", "prompt": prompt });
        gateway.put(&id, &json!({ "answer": answer }));
    }
    let exporter = Exporter::start(&config(gateway.address, "/midjourney-proxy"));
    let samples = exporter.await_value("aitask_tasks", &RUNNING, 20.0);
    assert_eq!(samples.value("aitask_poll_failures_total", &[("reason", "too_large")]), Some(0.0));
    until("batches are smaller", || {
        exporter.process.log().contains("the answer to a batch is too large")
    });
}

/// Counts the polls that failed, of all tasks but `bad`.
fn failures(exporter: &Exporter) -> f64 {
    let samples = exporter.scrape();
    samples.find("aitask_poll_failures_total", &[]).iter().map(|(_, count)| count).sum()
}

/// A fault of one task costs no other task a poll, whether the response is not JSON, cannot be
/// divided into tasks, or rejects the whole batch.
#[test]
fn a_broken_task_fails_alone() {
    let not_a_number = |asked: &Asked| {
        answer(asked, |id| match id {
            "running-7" => r#"{"id": "running-7", "status": NaN}"#.to_owned(),
            id => running(id),
        })
    };
    let with_7 =
        |asked: &Asked| asked.body.contains("running-7\"") || asked.target.contains("running-7/");
    let text = move |asked: &Asked| match with_7(asked) {
        true => ("200 OK", b"\"a string\"".to_vec()),
        false => answer(asked, running),
    };
    let refused = move |asked: &Asked| match with_7(asked) {
        true => ("400 Bad Request", br#"{"code": 4, "description": "invalid ID"}"#.to_vec()),
        false => answer(asked, running),
    };
    let nothing = move |asked: &Asked| match with_7(asked) {
        true => ("200 OK", Vec::new()),
        false => answer(asked, running),
    };
    for (gateway, reason) in [
        (RawGateway::start(not_a_number), "decode"),
        (RawGateway::start(text), "mapping"),
        (RawGateway::start(refused), "http"),
        (RawGateway::start(nothing), "empty"),
    ] {
        let exporter = Exporter::start(&config(gateway.address, ""));
        exporter.await_value("aitask_tasks", &RUNNING, 19.0);
        let broken = [("task_id", "running-7"), ("reason", reason)];
        let samples = exporter.await_value("aitask_error", &broken, 1.0);
        assert_eq!(samples.find("aitask_error", &[]).len(), 1, "{reason}");
        let log = exporter.process.log();
        let logged = log.matches("these tasks make every batch unreadable").count();
        assert_eq!(logged, 1, "{log}");

        // Its neighbours are in batches again, and not every round is divided.
        let before = gateway.asked().len();
        let polls = exporter.scrape().value("aitask_polls_total", &[]).unwrap();
        let samples = eventually("ten rounds", || {
            let samples = exporter.scrape();
            (samples.value("aitask_polls_total", &[]) >= Some(polls + 190.0)).then_some(samples)
        });
        let others = samples.find("aitask_up", &[]).into_iter();
        let up = others.filter(|(_, up)| *up == 1.0).count();
        assert_eq!(up, 19, "{reason}");
        let failed = samples.value("aitask_poll_failures_total", &[("reason", reason)]);
        assert_eq!(failed, Some(failures(&exporter)), "{reason}");
        let asked = gateway.asked().split_off(before);
        let in_batches = asked.iter().filter(|asked| is_batch(asked));
        assert!(in_batches.clone().all(|asked| !asked.body.contains("running-7\"")), "{reason}");
        let most = asked.len() - in_batches.count();
        assert!(most <= 60, "{most} of {} requests for single tasks", asked.len());
    }
}

/// A code of the envelope that means "not found" for one unknown ID affects no other task.
#[test]
fn an_unknown_task_does_not_deny_its_batch() {
    let gateway = RawGateway::start(|asked| {
        let single = asked.target.rsplit('/').next().unwrap().to_owned();
        let ids = if is_batch(asked) { asked.ids() } else { vec![single] };
        if ids.iter().any(|id| id == "running-7") {
            return ("200 OK", br#"{"code": "task_not_exist", "data": null}"#.to_vec());
        }
        let element = |id: &String| format!(r#"{{"task_id": "{id}", "status": "IN_PROGRESS"}}"#);
        let elements = ids.iter().map(element).collect::<Vec<_>>().join(",");
        let data = if is_batch(asked) { format!("[{elements}]") } else { elements };
        ("200 OK", format!(r#"{{"code": "success", "data": {data}}}"#).into_bytes())
    });
    let config = config(gateway.address, "").replace("midjourney-proxy", "new-api-task");
    let exporter = Exporter::start(&config);
    exporter.await_value("aitask_tasks", &RUNNING, 19.0);
    let samples = exporter.await_value("aitask_tasks", &[("state", "not_found")], 1.0);
    let errors = samples.find("aitask_error", &[]);
    assert!(errors.iter().all(|(labels, _)| labels["task_id"] == "running-7"), "{errors:?}");
}

/// A gateway whose responses cannot be read does not get more requests for that reason.
#[test]
fn a_gateway_that_answers_garbage_is_not_asked_more_for_it() {
    let gateway = RawGateway::start(|_| ("200 OK", b"<html>busy</html>".to_vec()));
    let exporter = Exporter::start(&config_of(1_000, gateway.address, ""));
    until("all have failed twice", || {
        let samples = exporter.scrape();
        samples.value("aitask_polls_total", &[]) >= Some(2_000.0)
    });
    let samples = exporter.scrape();
    let polls = samples.value("aitask_polls_total", &[]).unwrap();
    let asked = gateway.asked();
    let (batches, singles): (Vec<_>, Vec<_>) = asked.iter().partition(|asked| is_batch(asked));
    assert!(singles.len() <= 16, "{} requests for single tasks", singles.len());
    assert!(batches.len() as f64 <= polls / 5.0 + 32.0, "{} for {polls} polls", batches.len());
    let log = exporter.process.log();
    assert_eq!(log.matches("no part of a batch is readable").count(), 1, "{log}");
    assert!(!log.contains("these tasks make every batch"), "{log}");
}
