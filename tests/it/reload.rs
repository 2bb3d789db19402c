//! Another configuration: taken on as a whole or not at all, at once, and nothing that stays
//! loses its history.

mod followed;

use std::fs;
use std::io::Read;
use std::time::{Duration, Instant};

use serde_json::json;

use aitask_simulator::Options;

use crate::crowds::connections;
use crate::harness::host::GATE;
use crate::harness::raw::{Asked, RawGateway};
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, http, until};
use crate::web_config;

const SUCCESSFUL: &str = "aitask_exporter_config_last_reload_successful";
const TIMESTAMP: &str = "aitask_exporter_config_last_reload_success_timestamp_seconds";
const HASH: &str = "aitask_exporter_config_hash";

fn config(gateway: &Gateway, interval: &str, tasks: &str) -> String {
    let provider = gateway.provider("mj", "");
    format!("global: {{ poll_interval: {interval} }}\nproviders: [{provider}]\ntasks: [{tasks}]\n")
}

fn ids(samples: &Samples) -> Vec<&str> {
    let found = samples.find("aitask_status", &[]);
    let mut ids: Vec<_> = found.into_iter().map(|(labels, _)| &*labels["task_id"]).collect();
    ids.sort_unstable();
    ids
}

#[test]
fn tasks_come_go_and_stay() {
    let gateway = Gateway::start();
    let life =
        json!({ "steps": [{ "status": "running", "seconds": 1 }, { "status": "completed" }] });
    gateway.put("ends", &life);
    let exporter = Exporter::start(&config(&gateway, "300ms", "ends, queued-stays, queued-goes"));
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    let before = exporter.await_state("queued-stays", "queued");
    let polls = before.value("aitask_polls_total", &[]).unwrap();
    let asked = gateway.requests("ends");

    let tasks = "queued-comes, { id: queued-stays, labels: { customer: acme } }, ends";
    let reply = exporter.reload(&config(&gateway, "300ms", tasks));
    assert_eq!(reply.status, 200, "{}", reply.text());
    // It responds after the swap: removed tasks are gone, and added ones are there.
    let after = exporter.scrape();
    assert_eq!(ids(&after), ["ends", "queued-comes", "queued-stays"]);
    assert_eq!(after.find("aitask_up", &[("task_id", "queued-goes")]).len(), 0);
    let stays = [("task_id", "queued-stays")];
    assert_eq!(after.label("aitask_up", &stays, "customer"), Some("acme"));
    for kept in ["aitask_state_timestamp_seconds", "aitask_enqueue_timestamp_seconds"] {
        for id in ["queued-stays", "ends"] {
            let value = |samples: &Samples| samples.value(kept, &[("task_id", id)]);
            assert_eq!(value(&after), value(&before), "{kept} of {id}");
        }
    }
    // Counters go on counting; the end that was counted is not counted again, nor polled again.
    assert!(after.value("aitask_polls_total", &[]) >= Some(polls));
    exporter.await_state("queued-comes", "queued");
    let later = exporter.scrape();
    assert_eq!(later.value("aitask_finished_total", &[("state", "succeeded")]), Some(1.0));
    assert_eq!(gateway.requests("ends"), asked);
    let gone = gateway.requests("queued-goes");
    until("others are polled", || gateway.requests("queued-stays") > asked + 5);
    assert!(gateway.requests("queued-goes") <= gone + 1, "a task that left is still polled");
}

/// Tasks beyond `max_tasks` are reported, not dropped silently.
#[test]
fn tasks_over_the_limit_are_counted() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(&gateway, "1h", "a, b, c"));
    let dropped = |samples: &Samples| {
        samples.value("aitask_exporter_dropped_tasks", &[("reason", "max_tasks")])
    };
    assert_eq!(dropped(&exporter.scrape()), Some(0.0));
    let limited = config(&gateway, "1h, max_tasks: 2", "a, b, c");
    assert_eq!(exporter.reload(&limited).status, 200);
    let samples = exporter.scrape();
    assert_eq!((ids(&samples), dropped(&samples)), (vec!["a", "b"], Some(1.0)));
    let page = exporter.get("/tasks/mj/c");
    assert_eq!(page.status, 404);
    assert!(page.text().contains("or max_tasks drops it"), "{}", page.text());
}

/// Providers come and go with all their families.
#[test]
fn providers_come_and_go() {
    let gateway = Gateway::start();
    let text = |names: &[&str]| {
        let providers: Vec<_> = names.iter().map(|name| gateway.provider(name, "")).collect();
        format!("providers: [{}]\n", providers.join(", "))
    };
    let exporter = Exporter::start(&text(&["a", "b"]));
    let providers = || {
        let samples = exporter.scrape();
        let found = samples.find("aitask_polls_total", &[]);
        let names: Vec<_> = found.iter().map(|(labels, _)| labels["provider"].clone()).collect();
        for name in ["a", "b", "c"] {
            let label = [("provider", name)];
            let all = samples.0.keys().filter(|(_, labels)| {
                labels.get("provider").is_some_and(|provider| provider == name)
            });
            let known = names.iter().any(|known| known == name);
            assert_eq!(all.count() > 0, known, "{name}");
            assert_eq!(samples.find("aitask_tasks", &label).len(), if known { 9 } else { 0 });
        }
        names
    };
    assert_eq!(providers(), ["a", "b"]);
    assert_eq!(exporter.reload(&text(&["b", "c"])).status, 200);
    assert_eq!(providers(), ["b", "c"]);
}

#[test]
fn reloading_moves_no_poll() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(&gateway, "1s", "running-a"));
    let offsets = |from: usize| {
        let times = gateway.request_times("running-a");
        let mut offsets: Vec<_> = times[from..].iter().map(|time| time % 1_000).collect();
        offsets.sort_unstable();
        offsets
    };
    until("three polls", || offsets(0).len() >= 3);
    let first = gateway.request_times("running-a");
    let mut tasks = "running-a".to_owned();
    for n in 0..5 {
        tasks += &format!(", queued-{n}");
        assert_eq!(exporter.reload(&config(&gateway, "1s", &tasks)).status, 200);
    }
    until("three more", || gateway.request_times("running-a").len() >= first.len() + 3);
    let all = gateway.request_times("running-a");
    let gaps: Vec<_> = all.windows(2).map(|pair| pair[1] - pair[0]).collect();
    // A late poll makes one gap longer and the next shorter; on the whole they keep step.
    let steps = (all[all.len() - 1] - all[0]) as f64 / 1_000.0;
    assert!((steps - gaps.len() as f64).abs() < 0.4, "{gaps:?}");
}

/// Tasks that are removed while they are due are not polled, and an empty request is never sent: it
/// would reveal the token, and its 404 would stop batches.
#[test]
fn nothing_is_asked_for_tasks_that_have_left() {
    let gateway = RawGateway::start(|asked| {
        if asked.method != "POST" || asked.target != "/mj/task/list-by-condition" {
            return ("404 Not Found", b"{}".to_vec());
        }
        let element = |id: &String| format!(r#"{{"id": "{id}", "status": "IN_PROGRESS"}}"#);
        let elements: Vec<_> = asked.ids().iter().map(element).collect();
        ("200 OK", format!("[{}]", elements.join(",")).into_bytes())
    });
    let text = |names: [&str; 2]| {
        let provider = |name| {
            let url = format!("http://{}", gateway.address);
            format!("{{ name: {name}, preset: midjourney-proxy, base_url: '{url}' }}")
        };
        let tasks = (0..2_000).map(|n| {
            let name = if n % 2 == 0 { "a" } else { "b" };
            format!("{{ id: {}-{n}, provider: {name} }}", names[n % 2])
        });
        format!(
            "global: {{ poll_interval: 100ms }}\nproviders: [{}, {}]\ntasks: [{}]\n",
            provider("a"),
            provider("b"),
            tasks.collect::<Vec<_>>().join(", ")
        )
    };
    let configs = [text(["one", "two"]), text(["three", "four"])];
    let exporter = Exporter::start(&configs[0]);
    exporter.await_value("aitask_tasks", &[("provider", "b"), ("state", "running")], 1_000.0);
    for round in 1..=20 {
        assert_eq!(exporter.reload(&configs[round % 2]).status, 200);
    }
    let after = gateway.asked().len();
    until("others are polled", || gateway.asked().len() > after + 200);
    let asked = gateway.asked();
    let wrong: Vec<_> = asked.iter().filter(|asked| asked.method != "POST").take(3).collect();
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(asked.iter().all(|asked| !asked.ids().is_empty()));
    // Requests that were in flight when the last reload ended may arrive later.
    let late = asked.iter().skip(after + 32).flat_map(Asked::ids);
    let left: Vec<_> =
        late.filter(|id| id.starts_with("three") || id.starts_with("four")).collect();
    assert!(left.is_empty(), "{left:?}");
    assert!(!exporter.process.log().contains("does not support batches"));
}

/// Refused credentials stay refused for as long as they are the same, wherever they are written.
#[test]
fn a_reload_does_not_try_refused_credentials_again() {
    let gateway = Gateway::with(Options { token: Some("right".to_owned()) });
    let text = |credentials: &str, more: &str| {
        let tasks: Vec<_> = (0..200).map(|n| format!("running-{n}")).collect();
        let provider = gateway.provider("mj", &format!("authorization: {{ {credentials} }}"));
        format!(
            "global: {{ poll_interval: 1m }}\nproviders: [{provider}]\ntasks: [{}{more}]\n",
            tasks.join(", ")
        )
    };
    let file = "credentials_file: token";
    let dir = Dir::with(&text(file, ""));
    dir.write("token", "wrong\n");
    let exporter = Exporter::start_in(dir, &[]);
    let dir = &exporter.process.dir;
    // Two may have been under way.
    until("a poll was refused", || {
        !exporter.scrape().find("aitask_error", &[("reason", "auth")]).is_empty()
    });
    until("what was under way has ended", || {
        exporter.scrape().value("aitask_polls_in_flight", &[]) == Some(0.0)
    });
    // The next attempt is at least 45 s away.
    let asked = || gateway.stats()["requests"].as_u64().unwrap();
    let before = asked();
    let mut more = String::new();
    for n in 0..10 {
        more += &format!(", queued-{n}");
        assert_eq!(exporter.reload(&text(file, &more)).status, 200);
    }
    assert_eq!(exporter.reload(&text("credentials: wrong", &more)).status, 200);
    // A file that was gone for a while, and has the same in it.
    assert_eq!(exporter.reload(&text(file, &more)).status, 200);
    fs::remove_file(dir.path("token")).unwrap();
    let dropped = [("reason", "credentials")];
    exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 210.0);
    dir.write("token", "wrong\n");
    exporter.await_value("aitask_exporter_dropped_tasks", &dropped, 0.0);
    assert_eq!(asked(), before, "refused credentials were tried again");

    assert_eq!(exporter.reload(&text("credentials: right", &more)).status, 200);
    until("new credentials are tried at once", || asked() > before + 10);
}

/// An added ID costs no connection; what a connection depends on does.
#[test]
fn connections_outlive_a_reload() {
    let answer = |asked: &Asked| {
        let id = asked.target.split('/').nth(4).unwrap();
        let body = format!(r#"{{"code": 0, "data": {{"taskId": "{id}", "status": "running"}}}}"#);
        ("200 OK", body.into_bytes())
    };
    let (first, second) = (RawGateway::start(answer), RawGateway::start(answer));
    let text = |gateway: &RawGateway, more: &str, ids: &str| {
        let url = format!("http://{}", gateway.address);
        format!(
            "global: {{ poll_interval: 100ms }}\n\
             providers: [{{ name: mj, preset: mjdjourney, base_url: '{url}', {more} }}]\n\
             tasks: [running-a{ids}]\n"
        )
    };
    let exporter = Exporter::start(&text(&first, "max_in_flight: 1", ""));
    let asked = |gateway: &RawGateway| gateway.asked().len();
    until("it is asked", || asked(&first) > 3);
    let mut ids = String::new();
    for n in 0..20 {
        ids += &format!(", running-{n}");
        // The connection does not depend on the request or on the size limit of responses.
        let more = format!(
            "max_in_flight: 1, body_size_limit: {}KiB, authorization: {{ credentials: t{n} }}",
            n + 1
        );
        assert_eq!(exporter.reload(&text(&first, &more, &ids)).status, 200);
        let before = asked(&first);
        until("it is asked", || asked(&first) > before + 3);
    }
    assert_eq!(first.connections(), 1, "connections in 20 reloads");
    assert_eq!(exporter.reload(&text(&second, "max_in_flight: 1", &ids)).status, 200);
    until("another address is asked", || asked(&second) > 3);
    let before = second.connections();
    assert_eq!(exporter.reload(&text(&second, "max_in_flight: 2", &ids)).status, 200);
    until("another setting of the client takes effect", || second.connections() > before);
}

/// A file system that stops responding.
#[test]
fn a_configuration_that_hangs_is_given_up_after_a_minute() {
    // A minute of the exporter takes two seconds.
    const SPEED: u32 = 30;
    let gateway = Gateway::start();
    let right = config(&gateway, "9s", "queued-a");
    let process = Exporter::begin_hanging_fast(Dir::with(&right), "aitask.yml", SPEED);
    let exporter = Exporter::listening(process);
    exporter.await_state("queued-a", "queued");
    let gate = exporter.process.dir.write(GATE, "");
    let start = Instant::now();
    exporter.process.signal("HUP");
    exporter.await_value(SUCCESSFUL, &[], 0.0);
    let took = start.elapsed() * SPEED;
    assert!(took >= Duration::from_secs(60), "{took:?}");
    let polls = gateway.requests("queued-a");
    until("polls go on", || gateway.requests("queued-a") > polls + 1);
    let log = exporter.process.log();
    assert!(log.contains("not read within 60s"), "{log}");

    // The read that timed out has to end before the next one starts.
    fs::remove_file(gate).unwrap();
    assert_eq!(exporter.reload(&right).status, 200);
    assert_eq!(exporter.scrape().value(SUCCESSFUL, &[]), Some(1.0));
}

#[test]
fn a_bad_reload_changes_nothing_and_says_why() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(&gateway, "300ms", "queued-a"));
    let before = exporter.await_state("queued-a", "queued");
    assert_eq!(before.value(SUCCESSFUL, &[]), Some(1.0));

    let reply = exporter.reload("providers: [{ name: mj, preset: nonsense }]\ntasks: [b, b]\n");
    assert_eq!(reply.status, 500);
    for part in ["aitask.yml:1:", "nonsense", "aitask.yml:2:"] {
        assert!(reply.text().contains(part), "{part}: {}", reply.text());
    }
    let after = exporter.scrape();
    assert_eq!(after.value(SUCCESSFUL, &[]), Some(0.0));
    for kept in [TIMESTAMP, HASH] {
        assert_eq!(after.value(kept, &[]), before.value(kept, &[]), "{kept}");
    }
    assert_eq!(ids(&after), ["queued-a"]);
    assert_eq!(after.find("aitask_info", &[]), before.find("aitask_info", &[]));
    assert!(exporter.get("/config").text().contains("queued-a"));
    let log = exporter.process.log();
    assert!(log.contains("level=error") && log.contains("nonsense"), "{log}");
    let polls = gateway.requests("queued-a");
    until("polls go on", || gateway.requests("queued-a") > polls + 1);

    // A file that is cut off while it is written takes no task away.
    let whole = config(&gateway, "300ms", "queued-a");
    for key in ["tasks:", "providers:", "global:"] {
        let (before, _) = whole.split_once(key).unwrap();
        let reply = exporter.reload(&format!("{before}{key}\n"));
        assert_eq!(reply.status, 500, "{key}");
        assert!(reply.text().contains("missing value"), "{key}: {}", reply.text());
        assert_eq!(ids(&exporter.scrape()), ["queued-a"], "{key}");
    }

    assert_eq!(exporter.reload(&config(&gateway, "300ms", "queued-c")).status, 200);
    let right = exporter.scrape();
    assert_eq!(right.value(SUCCESSFUL, &[]), Some(1.0));
    assert!(right.value(TIMESTAMP, &[]) > before.value(TIMESTAMP, &[]));
    assert_ne!(right.value(HASH, &[]), before.value(HASH, &[]));
    assert_eq!(ids(&right), ["queued-c"]);
}

#[test]
fn reload_takes_post_and_put_and_hangup() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(&gateway, "1h", "a"));
    for method in ["GET", "HEAD", "DELETE", "PATCH"] {
        let reply = http::send(exporter.address, method, "/-/reload", &[], "").unwrap();
        assert_eq!(reply.status, 405, "{method}");
        assert_eq!(reply.header("allow"), Some("POST, PUT"), "{method}");
    }
    exporter.process.dir.write("aitask.yml", &config(&gateway, "1h", "b"));
    assert_eq!(ids(&exporter.scrape()), ["a"]);
    let reply = http::send(exporter.address, "PUT", "/-/reload", &[], "").unwrap();
    assert_eq!(reply.status, 200);
    assert_eq!(ids(&exporter.scrape()), ["b"]);

    exporter.process.dir.write("aitask.yml", &config(&gateway, "1h", "c"));
    exporter.process.signal("HUP");
    until("SIGHUP reloads", || ids(&exporter.scrape()) == ["c"]);
    exporter.process.dir.write("aitask.yml", "providers: 7\n");
    exporter.process.signal("HUP");
    exporter.await_value(SUCCESSFUL, &[], 0.0);
    assert_eq!(ids(&exporter.scrape()), ["c"]);
}

#[test]
fn a_flood_of_reloads_costs_a_few() {
    let exporter = Exporter::start_idle(30_000, 36, &[]);
    let ask =
        b"POST /-/reload HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
    // Clients that leave at once, clients that stay, and signals.
    for _ in 0..300 {
        drop(connections(exporter.address, 1, ask));
        exporter.process.signal("HUP");
    }
    for mut stream in connections(exporter.address, 100, ask) {
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(http::send(exporter.address, "POST", "/-/reload", &[], "").unwrap().status, 200);
    let log = exporter.process.log();
    assert!(log.matches("configuration reloaded").count() < 30, "{log}");
}
