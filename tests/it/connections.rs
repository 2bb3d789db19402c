//! Connections that are kept from poll to poll: a server that closes one is no failed poll.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::harness::samples::Samples;
use crate::harness::upstream::{Asked, Reply, Upstream, answer};
use crate::harness::{Dir, Exporter, Process, eventually, http, root};

/// Starts an exporter that polls `tasks` tasks of a provider every `interval`.
fn poll(provider: &str, interval: &str, tasks: usize) -> Exporter {
    let tasks: Vec<_> = (0..tasks).map(|number| format!("t{number}")).collect();
    Exporter::start(&format!(
        "global: {{ poll_interval: {interval} }}\nproviders: [{provider}]\ntasks: [{}]\n",
        tasks.join(", ")
    ))
}

/// Returns the samples after so many polls.
fn after_polls(exporter: &Exporter, polls: f64) -> Samples {
    eventually(&format!("{polls} polls"), || {
        let samples = exporter.scrape();
        let counts = samples.find("aitask_polls_total", &[]).into_iter();
        (counts.map(|(_, count)| count).sum::<f64>() >= polls).then_some(samples)
    })
}

fn assert_none_failed(samples: &Samples) {
    let failures = samples.find("aitask_poll_failures_total", &[]);
    assert!(failures.iter().all(|(_, count)| *count == 0.0), "{failures:?}");
    let retries = samples.find("aitask_poll_retries_total", &[]);
    assert!(retries.iter().all(|(_, count)| *count == 0.0), "{retries:?}");
}

/// Asserts that no poll fails if every request on a reused connection ends with `end`, and requests
/// on new connections are answered.
fn no_poll_fails_where_a_reused_connection(end: fn() -> Reply, tasks: usize) {
    let upstream = Upstream::start(move |asked| match asked.number {
        0 => Reply::Keep(asked.running()),
        _ => end(),
    });
    let exporter = poll(&upstream.provider("mj", ""), "200ms", tasks);
    let samples = after_polls(&exporter, 60.0);
    assert_none_failed(&samples);
    let asked = upstream.asked();
    let reused = asked.iter().filter(|asked| asked.number > 0).count();
    assert!(reused >= 10, "{reused} of {} requests by a reused connection", asked.len());
    // Each poll has been answered once and is counted once; polls in flight are not counted yet.
    let answered = (asked.len() - reused) as f64;
    let later = after_polls(&exporter, answered);
    let polls = later.value("aitask_polls_total", &[]).unwrap();
    let answers = later.value("aitask_http_responses_total", &[("status_code", "200")]).unwrap();
    assert_eq!(polls, answers);
}

#[test]
fn a_reused_connection_that_is_closed_costs_no_poll() {
    no_poll_fails_where_a_reused_connection(|| Reply::Close(Vec::new()), 4);
}

#[test]
fn a_reused_connection_that_is_reset_costs_no_poll() {
    no_poll_fails_where_a_reused_connection(|| Reply::Reset, 4);
}

#[test]
fn a_request_timeout_on_an_idle_connection_costs_no_poll() {
    no_poll_fails_where_a_reused_connection(
        || Reply::Close(answer("408 Request Timeout", &["Connection: close"], b"")),
        4,
    );
}

/// All connections of the pool have died: the one retry does not meet another of them.
#[test]
fn a_whole_pool_that_has_died_costs_no_poll() {
    let upstream = Upstream::start(|asked| {
        if asked.number > 0 {
            return Reply::Reset;
        }
        // Long enough for many to be under way at once.
        thread::sleep(Duration::from_millis(300));
        Reply::Keep(asked.running())
    });
    let exporter = poll(&upstream.provider("mj", ""), "500ms", 30);
    assert_none_failed(&after_polls(&exporter, 120.0));
    let asked = upstream.asked();
    let reused = asked.iter().filter(|asked| asked.number > 0).count();
    assert!(reused >= 16, "{reused} of {} requests by a reused connection", asked.len());
}

#[test]
fn a_batch_is_sent_again_as_well() {
    let upstream = Upstream::start(|asked: &Asked| {
        let ids: serde_json::Value = serde_json::from_str(&asked.body).unwrap();
        let task = |id: &serde_json::Value| format!(r#"{{"id": {id}, "status": "IN_PROGRESS"}}"#);
        let tasks: Vec<_> = ids["ids"].as_array().unwrap().iter().map(task).collect();
        match asked.number {
            0 => {
                let body = format!("[{}]", tasks.join(", "));
                Reply::Keep(answer("200 OK", &[], body.as_bytes()))
            }
            number if number % 2 == 1 => Reply::Close(Vec::new()),
            _ => Reply::Reset,
        }
    });
    let provider = format!(
        "{{ name: mj, preset: midjourney-proxy, base_url: 'http://{}' }}",
        upstream.address
    );
    let exporter = poll(&provider, "200ms", 10);
    let samples = after_polls(&exporter, 100.0);
    assert_none_failed(&samples);
    assert!(upstream.asked().iter().any(|asked| asked.number > 0));
}

/// Each fails with `connect` and is requested once.
#[test]
fn a_fresh_connection_or_a_begun_answer_that_breaks_is_a_failed_poll() {
    let half = b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{\"code\":".to_vec();
    let begun = half.clone();
    let closed = Upstream::start(|_| Reply::Close(Vec::new()));
    let reset = Upstream::start(|_| Reply::Reset);
    let cut = Upstream::start(move |_| Reply::Close(half.clone()));
    let cut_later = Upstream::start(move |asked| match asked.number {
        0 => Reply::Keep(asked.running()),
        _ => Reply::Close(begun.clone()),
    });
    let timeout = Upstream::start(|_| {
        Reply::Close(answer("408 Request Timeout", &["Connection: close"], b""))
    });
    let fresh = [("closed", &closed), ("reset", &reset), ("cut", &cut), ("timeout", &timeout)];
    let providers: Vec<_> =
        fresh.iter().map(|(name, upstream)| upstream.provider(name, "poll_interval: 1h")).collect();
    let later = cut_later.provider("later", "poll_interval: 400ms");
    let tasks = ["closed", "reset", "cut", "timeout", "later"];
    let tasks = tasks.map(|name| format!("{{ id: t, provider: {name} }}"));
    // A first poll comes within the interval; a probe comes at once.
    let exporter = Exporter::start(&format!(
        "providers: [{}, {later}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    ));
    for (name, upstream) in fresh {
        let reply = exporter.get(&format!("/probe?provider={name}&task_id=t"));
        let reason = if name == "timeout" { "http" } else { "connect" };
        assert!(reply.text().contains(&format!("reason=\"{reason}\"")), "{name}: {}", reply.text());
        assert_eq!(upstream.asked().len(), 1, "{name}");
    }
    exporter.await_value("aitask_error", &[("provider", "later"), ("reason", "connect")], 1.0);
    let asked = cut_later.asked();
    let reused = asked.iter().position(|asked| asked.number > 0).unwrap();
    assert_eq!(reused, 1, "{asked:?}");
    assert!(asked.get(2).is_none_or(|asked| asked.number == 0 && asked.connection == 1));
}

/// Servers that announce for how long they keep a connection, and reset connections that are idle
/// for longer.
#[test]
fn a_connection_is_not_reused_after_the_time_that_the_server_announces() {
    let announcing = |timeout: &'static str| {
        Upstream::start(move |asked| {
            let id = asked.after("/task/");
            let body =
                format!(r#"{{"code": 0, "data": {{"taskId": "{id}", "status": "running"}}}}"#);
            Reply::Keep(answer("200 OK", &[timeout], body.as_bytes()))
        })
    };
    let (long, short) =
        (announcing("Keep-Alive: timeout=60"), announcing("keep-alive: max=9, Timeout=3"));
    let none = announcing("Keep-Alive: timeout=0");
    let exporter = Exporter::start(&format!(
        "providers: [{}, {}, {}]\n\
         tasks: [{{ id: t, provider: long }}, {{ id: t, provider: short }}, {{ id: t, provider: none }}]\n",
        long.provider("long", "poll_interval: 2500ms"),
        short.provider("short", "poll_interval: 2500ms"),
        none.provider("none", "poll_interval: 500ms"),
    ));
    for provider in ["long", "short"] {
        eventually("five polls", || {
            let polls = exporter.scrape().value("aitask_polls_total", &[("provider", provider)])?;
            (polls >= 5.0).then_some(())
        });
    }
    assert_none_failed(&exporter.scrape());
    let reused = |upstream: &Upstream| {
        let asked = upstream.asked();
        asked.iter().filter(|asked| asked.number > 0).count()
    };
    // All but the first, with some tolerance for a busy machine.
    assert!(reused(&long) >= 3, "{:?}", long.asked());
    assert_eq!((reused(&short), reused(&none)), (0, 0));
}

/// Passes bytes on with a delay, as a line of some thousand kilometres does.
fn delayed(to: SocketAddr, delay: Duration) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for near in listener.incoming() {
            let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
            let pairs = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
            for (from, into) in pairs {
                thread::spawn(move || pass_on(from, into, delay));
            }
        }
    });
    address
}

fn pass_on(mut from: TcpStream, mut into: TcpStream, delay: Duration) -> io::Result<()> {
    let (sender, receiver) = mpsc::channel::<(Instant, Vec<u8>)>();
    thread::spawn(move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let passed = match bytes.is_empty() {
                true => into.shutdown(Shutdown::Write),
                false => into.write_all(&bytes),
            };
            if passed.is_err() {
                break;
            }
        }
    });
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if sender.send((Instant::now() + delay, buffer[..read].to_vec())).is_err() || read == 0 {
            return Ok(());
        }
    }
}

/// Node with its default keep-alive of 5 s, 100 ms away. Requests that are sent in the 200 ms
/// before the close becomes known meet a closed connection; newer versions wait one second longer
/// than they announce.
#[test]
fn a_real_node_server_far_away_costs_no_poll() {
    const PROVIDERS: usize = 16;
    let mut command = Command::new("node");
    command.arg(root("tests/it/connections/keepalive.js"));
    let mut node = Process::start(Dir::new(), &mut command);
    let near = node.addresses(1)[0];
    let far = delayed(near, Duration::from_millis(100));
    let provider = |number: usize| {
        let interval = if number.is_multiple_of(2) { "5100ms" } else { "6100ms" };
        format!(
            "{{ name: p{number}, preset: mjdjourney, base_url: 'http://{far}', \
             poll_interval: {interval} }}"
        )
    };
    let task = |number| format!("{{ id: t, provider: p{number} }}");
    let exporter = Exporter::start(&format!(
        "providers: [{}]\ntasks: [{}]\n",
        (0..PROVIDERS).map(provider).collect::<Vec<_>>().join(", "),
        (0..PROVIDERS).map(task).collect::<Vec<_>>().join(", "),
    ));
    let samples = after_polls(&exporter, 4.0 * PROVIDERS as f64);
    assert_none_failed(&samples);
    // It announces its keep-alive, so that no request had to be sent again.
    let count = http::get(near, "/count").json();
    let polls = samples.find("aitask_polls_total", &[]).iter().map(|(_, count)| count).sum::<f64>();
    assert!(count["asked"].as_f64().unwrap() <= polls + PROVIDERS as f64, "{count}, {polls} polls");
}
