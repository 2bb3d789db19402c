//! `poll --list`: what a provider's list says, as a person sees it.

use crate::harness::upstream::{Reply, Upstream, answer, json};
use crate::harness::{Dir, run};

/// A value of the configuration that must not be shown.
const SECRET: &str = "zq1zq2zq3";

/// Returns the exit code, the results and the errors of `poll --list`.
fn poll_list(dir: &Dir, provider: &str) -> (i32, String, String) {
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let output = run(["poll", &file, "--list", provider]);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
}

/// Returns the lines of a report without the time that a request took.
fn lines(report: &str) -> Vec<&str> {
    let is_fixed = |line: &&str| !line.starts_with("result, after ");
    report.lines().filter(is_fixed).collect()
}

#[test]
fn every_element_is_a_line() {
    let body = r#"[
        {"id": "1320", "status": "IN_PROGRESS", "action": "IMAGINE", "progress": "31%",
         "submitTime": 1780000000000},
        {"id": "a b", "status": "SUBMITTED\n", "submitTime": 7},
        {"id": "ended", "status": "FAILURE", "submitTime": 1780000000000,
         "finishTime": 1780000060000, "failReason": "no"},
        {"status": "SUBMITTED"},
        {"id": "..", "status": "SUBMITTED"},
        {"id": "7", "status": null},
        {"id": "u", "status": "zq1zq2zq3"}
    ]"#;
    let date = "Date: Thu, 28 May 2026 20:27:10 GMT";
    let reply = answer("200 OK", &[date, "Content-Type: application/json"], body.as_bytes());
    let upstream = Upstream::saying(reply);
    let dir = Dir::with(&format!(
        "providers:\n- name: mj\n  preset: midjourney-proxy\n  base_url: http://{}\n\
         \x20 authorization: {{ credentials: {SECRET} }}\n\
         \x20 request: {{ list: {{ query: {{ key: t0p9t0p9, kind: x }} }} }}\n",
        upstream.address
    ));
    let (code, out, err) = poll_list(&dir, "mj");
    assert_eq!((code, &*err), (0, ""), "{out}");
    let url = format!("  GET http://{}/mj/task/queue?key=<secret>&kind=<secret>", upstream.address);
    assert_eq!(
        lines(&out),
        [
            "request",
            &url,
            "  mj-api-secret: <secret>",
            "answer",
            "  HTTP status 200, 7 elements",
            "  1320       running   IN_PROGRESS    enqueued 2026-05-28T20:26:40Z, 30 s ago, \
             progress 0.31, job_type IMAGINE",
            "  \"a b\"      queued    \"SUBMITTED\\n\"  no enqueue_time, odd: enqueue_time \"7\": \
             before the year 2000: is the unit correct?",
            "  ended      failed    FAILURE        enqueued 2026-05-28T20:26:40Z, 30 s ago, \
             finished 2026-05-28T20:27:40Z, final: only observed if it is followed already",
            "  element 4  rejected                 it has no ID",
            "  ..         rejected                 a task ID must not be `.` or `..`, which no URL \
             can carry",
            "  7          rejected                 /status is missing or null",
            "  u          unknown   <secret>       no enqueue_time, odd: the mapping does not list \
             this status",
        ]
    );
    let [asked] = &upstream.asked()[..] else { panic!("{:?}", upstream.asked()) };
    assert_eq!(asked.head[0], "GET /mj/task/queue?key=t0p9t0p9&kind=x HTTP/1.1");
    assert_eq!(asked.header("mj-api-secret"), Some(SECRET));
}

/// A provider whose list has two kinds and pages of two elements.
fn with_pages(upstream: &Upstream) -> Dir {
    Dir::with(&format!(
        "providers:\n- name: farm\n  base_url: http://{}\n\
         \x20 request:\n    path: '/{{kind}}/{{task_id}}'\n    list:\n      path: '/{{kind}}'\n\
         \x20     query: {{ key: t0p9t0p9 }}\n      params: {{ kind: [a, b] }}\n      task: /items\n\
         \x20     page: {{ number: {{ query: from, first: 0, step: 2 }}, \
         size: {{ query: n, value: 2 }} }}\n\
         \x20 response: {{ id: /id, status: /status, states: {{ running: [run] }} }}\n",
        upstream.address
    ))
}

#[test]
fn all_kinds_and_pages_are_requested() {
    let upstream = Upstream::start(|asked| {
        let kind = asked.after("GET /");
        let ids: &[u8] = if asked.head[0].contains("from=0") { &[1, 2] } else { &[3] };
        let item = |id| format!(r#"{{"id":"{kind}{id}","status":"run","key":"t0p9t0p9"}}"#);
        let items: Vec<_> = ids.iter().map(item).collect();
        Reply::Keep(json(&format!(r#"{{"items":[{}]}}"#, items.join(","))))
    });
    let (code, out, err) = poll_list(&with_pages(&upstream), "farm");
    assert_eq!((code, &*err), (0, ""), "{out}");
    let asked = upstream.asked();
    let asked: Vec<_> = asked.iter().map(|asked| &*asked.head[0]).collect();
    assert_eq!(
        asked,
        [
            "GET /a?key=t0p9t0p9&from=0&n=2 HTTP/1.1",
            "GET /a?key=t0p9t0p9&from=2&n=2 HTTP/1.1",
            "GET /b?key=t0p9t0p9&from=0&n=2 HTTP/1.1",
            "GET /b?key=t0p9t0p9&from=2&n=2 HTTP/1.1",
        ]
    );
    let url = format!("\n  GET http://{}/b?key=<secret>&from=2&n=2\n", upstream.address);
    assert!(out.contains(&url), "{out}");
    for id in ["a1", "a2", "a3", "b1", "b2", "b3"] {
        assert_eq!(out.matches(&format!("\n  {id}  running  run")).count(), 1, "{id}: {out}");
    }
}

#[test]
fn a_request_that_fails_ends_the_report() {
    let upstream = Upstream::start(|asked| {
        Reply::Keep(match asked.head[0].contains("from=0") {
            true => json(r#"{"items":[{"id":"1","status":"run"},{"id":"2","status":"run"}]}"#),
            false => json(r#"{"error":"t0p9t0p9 zq","items":{}}"#),
        })
    });
    let (code, out, err) = poll_list(&with_pages(&upstream), "farm");
    assert_eq!((code, &*err), (1, ""), "{out}");
    assert_eq!(upstream.count(), 2);
    let lines = lines(&out);
    assert!(lines.contains(&r#"  {"error":"<secret> zq","items":{}}"#), "{out}");
    let failure = "  failed, reason mapping: /items is an object, not an array of tasks";
    assert_eq!(lines.last(), Some(&failure), "{out}");

    let same = r#"{"items":[{"id":"1","status":"run"},{"id":"2","status":"run"}]}"#;
    let upstream = Upstream::saying(json(same));
    let (code, _, err) = poll_list(&with_pages(&upstream), "farm");
    assert_eq!((code, upstream.count()), (1, 2));
    assert!(err.contains("it is the page before: does the API know \"from\"?"), "{err}");
}

#[test]
fn a_body_and_its_echo_are_masked() {
    let upstream = Upstream::start(|asked| Reply::Keep(json(&format!("[{}]", asked.body))));
    let dir = Dir::with(&format!(
        "providers:\n- name: farm\n  base_url: http://{}\n\
         \x20 request:\n    path: '/{{task_id}}'\n    list:\n      method: POST\n      path: /list\n\
         \x20     body: {{ id: t0p9t0p9, status: '{{kind}}' }}\n      params: {{ kind: [run] }}\n\
         \x20 response: {{ id: /id, status: /status, states: {{ running: [run] }} }}\n",
        upstream.address
    ));
    let (code, out, err) = poll_list(&dir, "farm");
    assert_eq!((code, &*err), (0, ""), "{out}");
    assert_eq!(upstream.asked()[0].body, r#"{"id":"t0p9t0p9","status":"run"}"#);
    assert!(out.contains("\n  {\"id\":\"<secret>\",\"status\":\"run\"}\n"), "{out}");
    assert!(out.contains("\n  <secret>  running  run") && !out.contains("t0p9t0p9"), "{out}");
}

#[test]
fn a_provider_without_a_list_is_wrong_usage() {
    let upstream = Upstream::saying(json("[]"));
    let dir = Dir::with(&format!(
        "providers:\n- {{ name: mj, preset: midjourney-proxy, base_url: 'http://{}' }}\n\
         - {{ name: flux, preset: bfl-flux }}\n",
        upstream.address
    ));
    for (provider, says) in [
        ("flux", "has no request.list; the presets with one are kling, luma, midjourney-proxy\n"),
        ("other", "no provider \"other\" is configured: the providers are mj, flux\n"),
    ] {
        let (code, out, err) = poll_list(&dir, provider);
        assert_eq!((code, &*out), (2, ""), "{provider}");
        assert!(err.ends_with(says), "{provider}: {err}");
    }
    let both = run(["poll", "--list", "mj", "some-id"]);
    assert_eq!((both.status.code(), upstream.count()), (Some(2), 0));
    // An error of another provider does not stand in the way.
    let config = dir.read("aitask.yml").replace("bfl-flux }", "bfl-flux, list: {} }");
    dir.write("aitask.yml", &config);
    let (code, out, err) = poll_list(&dir, "mj");
    assert_eq!(code, 0, "{err}");
    assert!(out.contains("\n  HTTP status 200, 0 elements\n"), "{out}");
    assert!(err.contains("The providers with errors are left out."), "{err}");
}
