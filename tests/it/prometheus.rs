//! A real Prometheus scrapes the exporter, which polls the gateway: queries return the values that
//! were scripted.

use std::net::TcpListener;

use serde_json::json;

use crate::harness::tools::Prometheus;
use crate::harness::{Dir, Exporter, Gateway, eventually, now, until};

const CONFIG: &str = "
global: { poll_interval: 500ms, poll_timeout: 2s, stuck_after: 30m }
providers:
- PROVIDER
tasks: [old, wait, win-1, win-2, lose, withdraw, over, denied, odd, zero]
";

/// Scripts every task of [`CONFIG`]; returns when the one that is old was enqueued.
fn script(gateway: &Gateway) -> f64 {
    let stays = |status: &str| json!({ "steps": [{ "status": status }] });
    let enqueued = now() - 3_600.0;
    let old = json!({ "enqueued_seconds_ago": 3_600, "steps": [{ "status": "queued" }] });
    gateway.put("old", &old);
    gateway.put("wait", &stays("waiting"));
    for (id, _) in LIVES {
        gateway.put(id, &stays("queued"));
    }
    gateway.put("over", &stays("completed"));
    gateway.put("denied", &json!({ "fault": { "kind": "code", "code": 1203 } }));
    gateway.put("odd", &stays("levi\"tating\\\n日本"));
    gateway.put("zero", &stays("a\u{0}b"));
    enqueued
}

/// Tasks that end, and how.
const LIVES: [(&str, &str); 4] =
    [("win-1", "completed"), ("win-2", "completed"), ("lose", "failed"), ("withdraw", "cancelled")];

/// Begins the lives of the tasks that end: four seconds queued, five running.
fn begin(gateway: &Gateway) {
    for (id, end) in LIVES {
        let steps = json!([
            { "status": "queued", "seconds": 4 },
            { "status": "running", "seconds": 5 },
            { "status": end },
        ]);
        gateway.put(id, &json!({ "enqueued_seconds_ago": 0, "steps": steps }));
    }
}

#[test]
fn prometheus_sees_what_was_scripted() {
    let gateway = Gateway::start();
    let more = "response: { states: { waiting: [waiting] } }";
    let config = CONFIG.replace("PROVIDER", &gateway.provider("mj", more));
    let enqueued = script(&gateway);
    let exporter = Exporter::start(&config);
    let prometheus = Prometheus::scraping(exporter.address);
    // Its first scrape takes some seconds to come.
    until("Prometheus scrapes", || prometheus.value("up") == Some(1.0));
    let start = now();
    begin(&gateway);

    let finished = |state: &str| {
        prometheus.value(&format!("aitask_finished_total{{provider='mj',state='{state}'}}"))
    };
    until("all that ends has ended", || {
        finished("succeeded") == Some(2.0)
            && finished("failed") == Some(1.0)
            && finished("cancelled") == Some(1.0)
    });
    // Final at first sight: not counted, though listed.
    assert_eq!(prometheus.value("aitask_tasks{state='succeeded'}"), Some(3.0));
    assert_eq!(finished("not_found"), Some(0.0));

    let status = |id: &str| {
        let found = prometheus.query(&format!("aitask_status{{task_id='{id}'}} == 1"));
        let [(labels, _)] = &found[..] else { panic!("{id}: {found:?}") };
        // Prometheus keeps no empty label.
        let label = |name| labels.get(name).cloned().unwrap_or_default();
        (label("state"), label("status"))
    };
    for (id, state, word) in [
        ("old", "queued", "queued"),
        ("wait", "waiting", "waiting"),
        ("win-1", "succeeded", "completed"),
        ("lose", "failed", "failed"),
        ("withdraw", "cancelled", "cancelled"),
        ("over", "succeeded", "completed"),
        ("denied", "unpolled", ""),
        ("odd", "unknown", "levi\"tating\\\n日本"),
        ("zero", "unknown", "a\u{fffd}b"),
    ] {
        assert_eq!(status(id), (state.to_owned(), word.to_owned()), "{id}");
    }
    codes(&prometheus);
    ages(&prometheus, enqueued);
    states_over_time(&prometheus, start);
}

fn codes(prometheus: &Prometheus) {
    for (expression, value) in [
        ("aitask_error{task_id='denied',reason='api',code='1203'}", 1.0),
        ("aitask_error{task_id='lose',reason='task',code=''}", 1.0),
        ("count(aitask_error)", 2.0),
        ("aitask_up{task_id='denied'}", 0.0),
        ("aitask_up{task_id='old'}", 1.0),
        ("aitask_response_codes_total{code='0'} > bool 8", 1.0),
        ("aitask_poll_failures_total{reason='api'} > bool 0", 1.0),
        ("sum(aitask_poll_failures_total{reason!='api'})", 0.0),
        ("up{job='aitask_exporter'}", 1.0),
    ] {
        assert_eq!(prometheus.value(expression), Some(value), "{expression}");
    }
}

/// Every age is within two seconds of the truth at the moment of its scrape.
fn ages(prometheus: &Prometheus, enqueued: f64) {
    let error = |family: &str| {
        prometheus.value(&format!("abs(timestamp({family}) - {family} - {enqueued:.3})")).unwrap()
    };
    for family in [
        "aitask_queue_age_seconds{task_id='old'}",
        "aitask_oldest_queue_age_seconds{state='queued'}",
    ] {
        assert!(error(family) < 2.0, "{family} is {} s off", error(family));
    }
    let timestamp = prometheus.value("aitask_enqueue_timestamp_seconds{task_id='old',since='api'}");
    assert!((timestamp.unwrap() - enqueued).abs() < 2.0);
    assert_eq!(prometheus.value("aitask_stuck{task_id='old'}"), Some(1.0));
    assert_eq!(prometheus.value("aitask_stuck{task_id='wait'}"), Some(0.0));
    assert_eq!(prometheus.value("aitask_stuck_tasks"), Some(1.0));
    // Final: a duration in place of an age. The end is our first sight of it.
    assert_eq!(prometheus.value("aitask_queue_age_seconds{task_id='win-1'}"), None);
    let duration = prometheus.value("aitask_duration_seconds{task_id='win-1'}").unwrap();
    assert!((9.0..12.0).contains(&duration), "{duration}");
    assert_eq!(prometheus.value("aitask_duration_seconds{task_id='over'}"), None);
    let timed = prometheus.value("aitask_task_duration_seconds_count{state='succeeded'}");
    assert_eq!(timed, Some(2.0));
}

/// A range query shows one state after the other, each for about as long as it lasted.
fn states_over_time(prometheus: &Prometheus, start: f64) {
    let states = eventually("the whole life is stored", || {
        let expression = "aitask_status{task_id='win-1'} and on () (up == 1)";
        let series = prometheus.query_range(expression, start, now(), 0.5);
        let times = |state: &str| {
            let (_, values) = series.iter().find(|(labels, _)| labels["state"] == state)?;
            let times: Vec<_> = values.iter().map(|(time, _)| *time - start).collect();
            Some((*times.first()?, *times.last()?))
        };
        Some([times("queued")?, times("running")?, times("succeeded")?])
    });
    let [queued, running, succeeded] = states;
    assert!(queued.1 < running.0 && running.1 < succeeded.0, "{states:?}");
    assert!((running.0 - 4.0).abs() < 3.0 && (succeeded.0 - 9.0).abs() < 3.0, "{states:?}");
}

/// Six lives of an exporter with a storage path, while tasks finish and two servers scrape it.
#[test]
fn each_prometheus_counts_each_finish_once_over_restarts() {
    const TASKS: u32 = 60;
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let mut ids = Vec::new();
    for number in 0..TASKS {
        let id = format!("t-{number}");
        let seconds = 2.0 + f64::from(number) * 0.3;
        let steps = json!([{ "status": "running", "seconds": seconds }, { "status": "completed" }]);
        gateway.put(&id, &json!({ "enqueued_seconds_ago": 0, "steps": steps }));
        ids.push(id);
    }
    let config = format!(
        "global: {{ poll_interval: 300ms }}\nproviders: [{}]\ntasks: [{}]\n",
        gateway.provider("mj", "max_in_flight: 64"),
        ids.join(", ")
    );
    // Both find each exporter at the same address.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let listen = format!("--web.listen-address={address}");
    let path = storage.path("state");
    let flags = ["--storage.path", path.to_str().unwrap(), &listen];
    let mut exporter = Exporter::start_in(Dir::with(&config), &flags);
    let servers = [Prometheus::scraping(address), Prometheus::scraping(address)];
    let families = ["aitask_finished_total", "aitask_task_duration_seconds_count"];
    let scraped = |server: &Prometheus, family: &str| {
        server.scraped(&format!("{family}{{state='succeeded'}}"))
    };
    // By the rule of `increase`, without its guess about the time before and after.
    let sum = |samples: &[f64]| {
        let steps = samples.windows(2).map(|pair| match pair[1] < pair[0] {
            true => pair[1],
            false => pair[1] - pair[0],
        });
        samples.first().copied().unwrap_or_default() + steps.sum::<f64>()
    };
    for life in 1..6 {
        let before = sum(&scraped(&servers[0], families[0]));
        until("finishes of this life were scraped", || {
            sum(&scraped(&servers[0], families[0])) >= before + 3.0
        });
        exporter.process.signal(if life % 2 == 0 { "TERM" } else { "KILL" });
        exporter.process.wait();
        exporter = Exporter::start_in(Dir::with(&config), &flags);
    }
    for server in &servers {
        for family in families {
            until("every finish was scraped", || sum(&scraped(server, family)) >= f64::from(TASKS));
            let samples = scraped(server, family);
            assert_eq!(sum(&samples), f64::from(TASKS), "{family}");
            assert!(samples.is_sorted(), "{family} goes on over restarts: {samples:?}");
        }
    }
    assert_eq!(servers[0].value("aitask_tasks{state='succeeded'}"), Some(f64::from(TASKS)));
}

/// One response of each kind, and no more.
#[test]
fn increase_sees_the_first_error_of_a_kind() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "response: { codes: { failed: [24] } }");
    let config = |tasks: &str| {
        format!("global: {{ poll_interval: 1s }}\nproviders: [{provider}]\ntasks: [{tasks}]\n")
    };
    let exporter = Exporter::start(&config("running-1"));
    let prometheus = Prometheus::scraping(exporter.address);
    let statuses = |status: &str| {
        prometheus.scraped(&format!("aitask_http_responses_total{{status_code='{status}'}}"))
    };
    let codes =
        |code: &str| prometheus.scraped(&format!("aitask_response_codes_total{{code='{code}'}}"));
    until("what is known beforehand was scraped", || {
        statuses("502").contains(&0.0) && codes("24").contains(&0.0)
    });
    // The second response of each task has the fault; the third ends the task.
    for (id, fault) in [
        ("bad-gateway", json!({ "kind": "status", "status": 502 })),
        ("refused", json!({ "kind": "code", "code": 24 })),
        ("strange", json!({ "kind": "code", "code": 77 })),
    ] {
        let steps = json!([{ "status": "running", "seconds": 0.5 }, { "status": "completed" }]);
        gateway.put(id, &json!({ "steps": steps, "fault": fault, "fault_every": 2 }));
    }
    assert_eq!(exporter.reload(&config("running-1, bad-gateway, refused, strange")).status, 200);
    let sees = |series: &str| {
        prometheus.value(&format!("increase({series}[5m]) > bool 0.5")) == Some(1.0)
            && prometheus.value(&format!("rate({series}[5m]) > bool 0")) == Some(1.0)
    };
    until("the first 502 is seen", || sees("aitask_http_responses_total{status_code='502'}"));
    until("the first code 24 is seen", || sees("aitask_response_codes_total{code='24'}"));
    // This one the mapping does not name. It is born in these seconds, and then takes its count.
    for scrapes in [1, 25, 50] {
        until("a code without a name is there", || codes("77").len() >= scrapes);
    }
    until("it has taken its count", || codes("77").contains(&1.0));
    assert!(sees("aitask_response_codes_total{code='77'}"));
    for samples in [statuses("502"), codes("24"), codes("77")] {
        assert_eq!((samples[0], samples.last()), (0.0, Some(&1.0)), "{samples:?}");
    }
}
