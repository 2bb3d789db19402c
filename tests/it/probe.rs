//! `/probe` and `poll`: one task now, and the whole story on request.

use aitask_simulator::Options;

use crate::harness::samples::Samples;
use crate::harness::upstream::{Reply, Upstream, json};
use crate::harness::{Dir, Exporter, Gateway, eventually, http, run, tools};

fn config(gateway: &Gateway) -> String {
    let credentials = "authorization: { credentials: right }, poll_timeout: 2s";
    format!(
        "providers: [{}]\ntasks: [{{ id: listed, labels: {{ customer: acme }} }}]\n\
         global: {{ poll_interval: 1y }}\n",
        gateway.provider("mj", credentials)
    )
}

fn gateway() -> Gateway {
    Gateway::with(Options { token: Some("right".to_owned()) })
}

#[test]
fn a_probe_answers_the_families_of_the_task() {
    let gateway = gateway();
    let exporter = Exporter::start(&config(&gateway));
    let reply = exporter.get("/probe?provider=mj&task_id=stuck-1");
    assert_eq!(reply.status, 200);
    tools::assert_promtool_is_content(&reply.body);
    let samples = Samples::parse(reply.text());
    assert_eq!(samples.value("probe_success", &[]), Some(1.0));
    assert!(samples.value("probe_duration_seconds", &[]) > Some(0.0));
    let age = samples.value("aitask_queue_age_seconds", &[("task_id", "stuck-1")]).unwrap();
    assert!((7_200.0..7_210.0).contains(&age), "{age}");
    assert_eq!(samples.label("aitask_status", &[], "state"), Some("queued"));
    assert_eq!(samples.find("aitask_tasks", &[]).len(), 0);

    let failed = Samples::parse(exporter.get("/probe?task_id=code-7-x&provider=mj").text());
    assert_eq!(failed.value("probe_success", &[]), Some(0.0));
    assert_eq!(failed.value("aitask_error", &[("reason", "api"), ("code", "7")]), Some(1.0));

    // A listed task has its labels; a probe leaves no trace in what is exported.
    let listed = Samples::parse(exporter.get("/probe?provider=mj&task_id=listed").text());
    assert_eq!(listed.label("aitask_up", &[], "customer"), Some("acme"));
    let samples = exporter.scrape();
    assert_eq!(samples.label("aitask_status", &[], "state"), Some("unpolled"));
    assert_eq!(samples.find("aitask_status", &[]).len(), 1);
}

#[test]
fn a_probe_that_gets_no_turn_has_failed() {
    let gateway = Gateway::start();
    // The only request that may be in flight lasts until its timeout, and is then repeated.
    let provider = gateway.provider("mj", "max_in_flight: 1, poll_timeout: 4s");
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 100ms }}\nproviders: [{provider}]\n\
         tasks: [hang-1, hang-2, hang-3, hang-4]\n"
    ));
    exporter.await_value("aitask_polls_in_flight", &[], 1.0);
    let waits = std::thread::scope(|scope| {
        // Polls are due as well, and only one probe is sent at a time.
        let ask = || exporter.get("/probe?provider=mj&task_id=hang-5");
        let [first, second] = [scope.spawn(ask), scope.spawn(ask)];
        [first.join().unwrap(), second.join().unwrap()]
    });
    for reply in waits {
        assert_eq!(reply.status, 200);
        tools::assert_promtool_is_content(&reply.body);
        let samples = Samples::parse(reply.text());
        assert_eq!(samples.value("probe_success", &[]), Some(0.0));
    }
}

/// Prometheus announces its timeout, and gets a response before it gives up.
#[test]
fn a_probe_is_over_before_its_reader_gives_up() {
    let gateway = Gateway::start();
    // Nothing of the provider's own ends a poll within a scrape.
    let provider = gateway.provider("mj", "max_in_flight: 1, poll_timeout: 10m");
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1y }}\nproviders: [{provider}]\ntasks: [listed]\n"
    ));
    let ask = |target: &str, seconds: &str| {
        let headers = [("X-Prometheus-Scrape-Timeout-Seconds", seconds)];
        http::send(exporter.address, "GET", target, &headers, "").unwrap()
    };
    for seconds in ["1.5", "0.2", "0.001"] {
        let reply = ask("/probe?provider=mj&task_id=hang-1", seconds);
        assert_eq!(reply.status, 200);
        tools::assert_promtool_is_content(&reply.body);
        let samples = Samples::parse(reply.text());
        assert_eq!(samples.value("probe_success", &[]), Some(0.0));
        let took = samples.value("probe_duration_seconds", &[]).unwrap();
        assert!(took < 40.0, "{took}");
        let timeout = [("task_id", "hang-1"), ("reason", "timeout")];
        assert_eq!(samples.value("aitask_error", &timeout), Some(1.0), "{seconds}");
        assert_eq!(samples.value("aitask_up", &[]), Some(0.0));
    }
    let debug = ask("/probe?provider=mj&task_id=hang-1&debug=true", "2");
    assert!(debug.text().contains("reason timeout"), "{}", debug.text());
    assert!(debug.text().contains("/api/mj/task/hang-1/fetch"), "{}", debug.text());
    let well = Samples::parse(ask("/probe?provider=mj&task_id=running-1", "30").text());
    assert_eq!(well.value("probe_success", &[]), Some(1.0));

    // Nor does a probe that waits for its turn wait for longer.
    std::thread::scope(|scope| {
        scope.spawn(|| ask("/probe?provider=mj&task_id=hang-2", "5"));
        exporter.await_value("aitask_polls_in_flight", &[], 1.0);
        let reply = ask("/probe?provider=mj&task_id=running-1", "1");
        let samples = Samples::parse(reply.text());
        assert_eq!(samples.value("probe_success", &[]), Some(0.0));
        assert_eq!(samples.value("aitask_error", &[("reason", "timeout")]), Some(1.0));
        let debug = ask("/probe?provider=mj&task_id=running-1&debug=1", "1");
        assert_eq!(debug.status, 503);
        assert!(debug.text().contains("got no turn in time"), "{}", debug.text());
    });
    for garbage in ["soon", "-1", "NaN"] {
        let reply = ask("/probe?provider=mj&task_id=running-1", garbage);
        assert_eq!(reply.status, 400, "{garbage}");
        assert!(reply.text().contains("number of seconds"), "{}", reply.text());
    }
}

#[test]
fn a_probe_goes_to_a_configured_provider_and_nowhere_else() {
    let gateway = gateway();
    let exporter = Exporter::start(&config(&gateway));
    for (query, says) in [
        ("", "provider"),
        ("?provider=mj", "task_id"),
        ("?task_id=a", "provider"),
        ("?provider=other&task_id=a", "other"),
        ("?provider=http://127.0.0.1/&task_id=a", "no provider"),
        ("?provider=mj&task_id=", "empty"),
        ("?provider=mj&task_id=..", ".."),
        ("?provider=mj&task_id=%00", "NUL"),
        ("?provider=mj&task_id=a&debug=perhaps", "debug"),
        ("?provider=mj&task_id=a&provider=mj", r#""provider" is given twice"#),
        ("?provider=mj&task_id=a&task%5Fid=b", r#""task_id" is given twice"#),
        ("?provider=mj&task_id=%C3%28", r#""task_id" is not UTF-8 text"#),
        ("?provider=mj&task_id=a&%FF=b", "the name of a parameter is not UTF-8 text"),
    ] {
        let reply = exporter.get(&format!("/probe{query}"));
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        assert!(reply.text().contains(says), "{query}: {}", reply.text());
    }
    assert_eq!(gateway.stats()["requests"], 0);
    let reply = exporter.get("/probe?provider=mj&task_id=%2Fadmin%3Fa");
    assert_eq!(reply.status, 200);
    assert_eq!(gateway.asked("/admin?a")["last_path"], "/api/mj/task/%2Fadmin%3Fa/fetch");
}

/// Params that are given for a listed task must be those that it is listed with.
#[test]
fn a_listed_task_keeps_its_params() {
    let text = "providers:\n  - name: pool\n    base_url: http://127.0.0.1:1\n\
        \x20   request: { path: '/{kind}/{task_id}' }\n\
        \x20   response: { status: /s, states: { running: [run] } }\n\
        tasks: [{ id: listed, params: { kind: video } }]\n\
        global: { poll_interval: 1y }\n";
    let exporter = Exporter::start(text);
    let dir = Dir::new();
    dir.write("aitask.yml", text);
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    for (name, value, says) in [
        ("kind", "video", None),
        ("kind", "image", Some("the task is listed with \"video\" as its param \"kind\"")),
        ("pool", "a", Some("the provider's request has no placeholder \"pool\"")),
    ] {
        let query = format!("/probe?provider=pool&task_id=listed&param.{name}={value}");
        let reply = exporter.get(&query);
        let param = format!("--param={name}={value}");
        let polled = run(["poll", "listed", &file, &param]);
        let said = String::from_utf8(polled.stderr).unwrap();
        match says {
            None => assert_eq!((reply.status, polled.status.code()), (200, Some(1)), "{said}"),
            Some(says) => {
                assert_eq!((reply.status, polled.status.code()), (400, Some(2)));
                assert!(reply.text().contains(says), "{}", reply.text());
                assert!(said.contains(says), "{said}");
            }
        }
    }
}

#[test]
fn debug_tells_the_request_the_answer_and_what_each_path_found() {
    let gateway = gateway();
    let exporter = Exporter::start(&config(&gateway));
    let reply = exporter.get("/probe?provider=mj&task_id=running-1&debug=true");
    assert_eq!(reply.header("content-type"), Some("text/plain; charset=utf-8"));
    let url = format!("GET http://{}/api/mj/task/running-1/fetch", gateway.address);
    for part in [
        &*url,
        "authorization: <secret>",
        "HTTP status 200",
        "\"status\":\"running\"",
        "/enqueue_time",
        "/job_type",
        "state: running",
    ] {
        assert!(reply.text().contains(part), "{part}: {}", reply.text());
    }
    assert!(!reply.text().contains("right"));
    let failed = exporter.get("/probe?provider=mj&task_id=garbage-1&debug=true");
    assert!(failed.text().contains("Bad gateway, good mood") && failed.text().contains("decode"));
    let silent = exporter.get("/probe?provider=mj&task_id=hang-1&debug=true");
    assert!(silent.text().contains("reason timeout"), "{}", silent.text());
}

#[test]
fn poll_prints_what_was_understood() {
    let gateway = gateway();
    let dir = Dir::with(&config(&gateway));
    let path = dir.path("aitask.yml");
    let poll = |ids: &[&str]| {
        let flags = ["poll", "--config.file", path.to_str().unwrap()];
        let output = run([&flags, ids].concat());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (output.status.code().unwrap(), text(output.stdout), text(output.stderr))
    };
    let (code, out, _) = poll(&["42a28dda-dc7a-4186-ac86-6e16c1fcef17"]);
    assert_eq!(code, 0);
    for part in ["state: succeeded", "status: \"completed\"", "1750402472.303527", "成功"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(!out.contains("right"));
    let (code, out, _) = poll(&["running-1", "garbage-1"]);
    assert_eq!(code, 1);
    assert!(out.contains("state: running") && out.contains("reason decode"), "{out}");
    for (ids, says) in [
        (&[][..], "ID"),
        (&["--provider", "other", "a"], "other"),
        (&[".."], "`..`"),
        (&["--what"], "--what"),
    ] {
        let (code, out, err) = poll(ids);
        assert_eq!((code, &*out), (2, ""), "{ids:?}");
        assert!(err.contains(says), "{ids:?}: {err}");
    }
    dir.write("aitask.yml", "providers: []\n");
    assert_eq!(poll(&["a"]).0, 2);
    eventually("no poll is left", || (gateway.stats()["requests"] == 3).then_some(()));
}

/// Texts of the query and the body in the configuration are not shown, and may come back.
#[test]
fn debug_shows_no_text_of_query_and_body_that_a_provider_sends_back() {
    let upstream = Upstream::start(|asked| {
        let line = asked.head[0].replace(['\\', '"'], "");
        let body = asked.body.replace('\\', "\\\\").replace('"', "\\\"");
        Reply::Keep(json(&format!(r#"{{"status":"running","line":"{line}","body":"{body}"}}"#)))
    });
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1y }}\ntasks: [a]\nproviders:\n- name: api\n  \
         base_url: 'http://{}'\n  request: {{ method: POST, path: '/t/{{task_id}}', \
         query: {{ key: query-secret-55, also: 'x y+secret-77' }}, body: {{ api_key: body/secret-66 }} }}\n  \
         response: {{ status: /status, states: {{ running: [running] }} }}\n",
        upstream.address
    ));
    let reply = exporter.get("/probe?provider=api&task_id=a&debug=true");
    let text = reply.text();
    assert!(text.contains("state: running") && text.contains("<secret>"), "{text}");
    for secret in ["secret-55", "secret-66", "secret-77"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
    let dir = &exporter.process.dir;
    let output = run(["poll", "--config.file", dir.path("aitask.yml").to_str().unwrap(), "a"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("state: running") && !text.contains("secret-"), "{text}");
}
