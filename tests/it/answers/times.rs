//! Times that cannot be: they cost themselves, and never the state.

use serde_json::{Value, json};

use super::Api;
use crate::harness::samples::Samples;
use crate::harness::until;

const STATES: &str = "id: /id, status: /status, states: { running: [RUN], succeeded: [DONE] }";

/// A mapping with both times in this format.
fn mapping(format: &str) -> String {
    format!(
        "{STATES}, enqueue_time: {{ path: /submitTime, {format} }}, \
         finish_time: {{ path: /finishTime, {format} }}"
    )
}

/// Returns the value of the counter of invalid values.
fn odd(samples: &Samples, field: &str) -> f64 {
    samples.value("aitask_odd_answers_total", &[("field", field)]).unwrap()
}

fn since(samples: &Samples, id: &str) -> String {
    let task = [("task_id", id)];
    samples.label("aitask_enqueue_timestamp_seconds", &task, "since").unwrap().to_owned()
}

#[test]
fn a_time_that_cannot_be_read_costs_no_state() {
    let api = Api::start();
    let finish = [
        ("text", json!("2026-11-30 07:00:00")),
        ("object", json!({ "seconds": 1 })),
        ("array", json!([])),
        ("boolean", json!(false)),
        ("huge", json!("1e999")),
    ];
    for (id, time) in &finish {
        let answer = json!({ "id": id, "status": "DONE", "submitTime": 0, "finishTime": time });
        api.answer(&format!("/t/{id}"), answer.to_string());
    }
    api.answer("/t/open", r#"{"id":"open","status":"RUN","submitTime":{"a":1},"finishTime":"x"}"#);
    api.answer("/t/float", r#"{"id":"float","status":"DONE","finishTime":1e999}"#);
    let exporter = api.exporter(
        &mapping("format: epoch_milliseconds"),
        "",
        "text, object, array, boolean, huge, open, float",
    );
    let samples = exporter.await_value("aitask_tasks", &[("state", "succeeded")], 6.0);
    assert_eq!(odd(&samples, "finish_time"), 6.0);
    exporter.await_state("open", "running");
    until("it is counted at each poll", || odd(&exporter.scrape(), "enqueue_time") >= 3.0);
    let samples = exporter.scrape();
    // An end is not looked for before it has come.
    assert_eq!(odd(&samples, "finish_time"), 6.0);
    let failures = samples.find("aitask_poll_failures_total", &[]);
    assert!(failures.iter().all(|(_, count)| *count == 0.0), "{failures:?}");
    let log = exporter.process.log();
    assert_eq!(log.matches("implausible value in an answer").count(), 5, "{log}");
    assert_eq!(log.matches("field=enqueue_time").count(), 1, "{log}");

    let reply = exporter.get("/probe?provider=api&task_id=text&debug=true");
    let says = "odd: finish_time \"2026-11-30 07:00:00\": not a number: is the format correct?";
    assert!(reply.text().contains(says), "{}", reply.text());
    let reply = exporter.get("/probe?provider=api&task_id=open&debug=true");
    assert!(reply.text().contains("odd: enqueue_time is an object"), "{}", reply.text());
}

/// Returns the exporter's view of an API that writes `submitTime`: the time in its debug report,
/// and the source of the enqueue time.
fn seen(format: &str, submit: &Value, date: &str) -> (String, String, f64) {
    let api = Api::start();
    let answer = json!({ "id": "a", "status": "RUN", "submitTime": submit }).to_string();
    api.answer_with("/t/a", &format!("200 OK\r\n{date}"), answer);
    let exporter = api.exporter(&mapping(format), "", "a");
    let samples = exporter.await_state("a", "running");
    let reply = exporter.get("/probe?provider=api&task_id=a&debug=true");
    let said = reply.text().lines().find(|line| line.contains("odd: enqueue_time \""));
    let age = samples.value("aitask_queue_age_seconds", &[]).unwrap();
    assert_eq!(odd(&samples, "enqueue_time") > 0.0, said.is_some(), "{}", reply.text());
    (said.unwrap_or_default().to_owned(), since(&samples, "a"), age)
}

#[test]
fn a_time_in_the_wrong_unit_or_zone_is_not_believed() {
    let now = jiff::Timestamp::now().as_second();
    let local = |ahead: i64| {
        let time = jiff::Timestamp::from_second(now + ahead).unwrap();
        time.strftime("%Y-%m-%d %H:%M:%S").to_string()
    };
    let beijing = 8 * 3_600;
    for (format, submit, question) in [
        ("format: epoch_milliseconds", json!(now), "unit"),
        ("format: epoch_seconds", json!(now * 1_000), "unit"),
        ("format: rfc3339", json!(local(beijing)), "zone"),
        ("format: rfc3339", json!(local(700)), "zone"),
        ("format: rfc3339", json!("1999-12-31 23:59:59"), "field"),
    ] {
        let (said, since, age) = seen(format, &submit, "");
        assert!(said.contains(question), "{format} {submit}: {said:?}");
        assert_eq!(since, "first_seen", "{format} {submit}");
        assert!(age < 60.0, "{format} {submit}: {age}");
    }
    for (format, submit) in [
        ("format: epoch", json!(now - 100)),
        ("format: epoch", json!((now - 100) * 1_000)),
        ("format: rfc3339", json!(local(-100))),
        ("format: rfc3339, zone: '+08:00'", json!(local(beijing - 100))),
        ("format: rfc3339, zone: '+08:00'", json!(local(-100) + " +0000 UTC")),
    ] {
        let (said, since, age) = seen(format, &submit, "");
        assert_eq!((&*said, &*since), ("", "api"), "{format} {submit}");
        assert!((100.0..160.0).contains(&age), "{format} {submit}: {age}");
    }
    // Unset is not odd.
    for submit in [json!("0001-01-01T00:00:00Z"), json!("0000-00-00 00:00:00"), json!(0), json!("")]
    {
        let (said, since, _) = seen("format: rfc3339", &submit, "");
        assert_eq!((&*said, &*since), ("", "first_seen"), "{submit}");
    }
}

/// The response's own `Date` counts, so that a wrong clock of the exporter does not invalidate a
/// time.
#[test]
fn what_is_in_the_future_the_date_of_the_answer_tells() {
    let submit = json!("2026-11-30T07:00:00Z");
    let near = "Date: Mon, 30 Nov 2026 06:55:01 GMT\r\n";
    let (said, since, _) = seen("format: rfc3339", &submit, near);
    assert_eq!((&*said, &*since), ("", "api"));
    let far = "Date: Mon, 30 Nov 2026 06:54:59 GMT\r\n";
    let (said, since, _) = seen("format: rfc3339", &submit, far);
    assert!(said.contains("more than 5 minutes in the future"), "{said}");
    assert_eq!(since, "first_seen");
    // Without one that can be, our clock.
    let submit = json!("2025-06-20 06:54:32.303527891234+00:00");
    for date in ["", "Date: soon\r\n", "Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n"] {
        let (said, since, _) = seen("format: rfc3339", &submit, date);
        assert_eq!((&*said, &*since), ("", "api"), "{date}");
    }
}
