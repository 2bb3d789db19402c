//! Every preset against the simulated gateway, over the network: the exporter understands the
//! responses, although neither uses the other's code.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config::{self, preset};
use aitask_exporter::fetch::resolver::Resolver;
use aitask_exporter::observation::{Observation, Reason, State};
use aitask_exporter::poll::{self, ProviderClient};
use aitask_exporter::task::{Task, TaskCommon, TaskGroup};
use aitask_exporter::tls;
use aitask_simulator::{self as simulator, Options, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

const TOKEN: &str = "t0ken";

/// A simulated gateway that wants credentials.
struct Gateway(SocketAddr);

impl Gateway {
    async fn start() -> Self {
        tls::install();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let simulator = Simulator::new(Options { token: Some(TOKEN.to_owned()) });
        tokio::spawn(simulator::serve(listener, simulator, std::future::pending()));
        Self(address)
    }

    async fn control(&self, method: &str, path: &str, body: &str) -> String {
        let length = body.len();
        let mut stream = TcpStream::connect(self.0).await.unwrap();
        let head = format!(
            "{method} /simulator/{path} HTTP/1.1\r\nhost: gateway\r\nconnection: close\r\n\
             content-length: {length}\r\n\r\n{body}"
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    async fn get(&self, path: &str) -> Value {
        serde_json::from_str(&self.control("GET", path, "").await).unwrap()
    }

    /// Puts a task 100 s of queue, 200 s of work and its success, `age` seconds after its begin.
    async fn live(&self, id: &str, age: u32) {
        let script = json!({
            "enqueued_seconds_ago": age,
            "steps": [
                { "status": "queued", "seconds": 100 },
                { "status": "running", "seconds": 200 },
                { "status": "completed" },
            ],
        });
        self.control("PUT", &format!("tasks/{id}"), &script.to_string()).await;
    }

    fn upstream(&self, preset: &str, token: &str) -> ProviderClient {
        let provider = json!({
            "name": preset,
            "preset": preset,
            "base_url": format!("http://{}/{preset}", self.0),
            "authorization": { "credentials": token },
        });
        let config = json!({ "providers": [provider] }).to_string();
        let loaded = config::load_text("x.yml", &config, Path::new(""));
        let loaded = loaded.unwrap_or_else(|diagnostics| panic!("{diagnostics}"));
        let provider = Arc::clone(&loaded.config.providers[0]);
        ProviderClient::new(provider, None, &Resolver::system()).unwrap()
    }
}

fn task(preset: &str, id: impl AsRef<str>) -> Task {
    let params = [("kind".into(), "avatar/image2video".into())];
    let params = if preset == "kling" { Arc::from(params) } else { Arc::from([]) };
    let common = TaskCommon { provider: preset.into(), labels: [].into(), params };
    Task { id: id.as_ref().into(), common: Arc::new(common) }
}

/// The state, or the reason of the failure.
async fn state(upstream: &ProviderClient, task: Task) -> Result<State, Reason> {
    let polled = poll::poll_once(upstream, &TaskGroup::one(task), false, None).await;
    let [outcome] = &*polled.outcomes else { panic!("{} outcomes", polled.outcomes.len()) };
    outcome.as_ref().map(|seen| seen.state).map_err(|failure| failure.reason)
}

async fn observe(upstream: &ProviderClient, task: &Task) -> Observation {
    let polled = poll::poll_once(upstream, &TaskGroup::one(task.clone()), false, None).await;
    polled.outcomes[0]
        .clone()
        .unwrap_or_else(|failure| panic!("{}: {failure:?}", task.common.provider))
}

/// The `response` of a preset as it is written.
fn response(preset: &str) -> Value {
    let written: Value = serde_yaml::from_str(preset::get(preset).unwrap()).unwrap();
    written["response"].clone()
}

fn near(seconds: f64, expected: f64) -> bool {
    (seconds - expected).abs() < 5.0
}

/// Returns the states of a queued and of a running task: some APIs do not distinguish them, and the
/// words of one are unknown.
fn open_states(preset: &str) -> [State; 2] {
    match preset {
        "bfl-flux" | "cogvideox" | "stability" => [State::Running; 2],
        "ideogram" => [State::Queued; 2],
        "viggle" => [State::Unknown; 2],
        _ => [State::Queued, State::Running],
    }
}

#[tokio::test]
async fn a_life() {
    let gateway = Gateway::start().await;
    for name in preset::NAMES {
        let (upstream, written) = (gateway.upstream(name, TOKEN), response(name));
        let task = task(name, format!("life-of-{name}"));
        let [queued, running] = open_states(name);
        for (age, state) in [(50, queued), (150, running), (400, State::Succeeded)] {
            gateway.live(&task.id, age).await;
            let seen = observe(&upstream, &task).await;
            assert_eq!(seen.state, state, "{name} after {age} s: {}", seen.status);

            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
            let seconds = |time: Timestamp| time.to_string().parse::<f64>().unwrap();
            let enqueued = seen.enqueue_time.map(seconds);
            assert_eq!(enqueued.is_some(), written["enqueue_time"].is_object(), "{name}");
            let enqueued = enqueued.unwrap_or(now - f64::from(age));
            assert!(near(now - enqueued, age.into()), "{name}: {}", now - enqueued);

            let tells_end = written["finish_time"].is_object() && age == 400;
            assert_eq!(seen.finish_time.is_some(), tells_end, "{name} after {age} s");
            let finished = seen.finish_time.map_or(enqueued + 300.0, seconds);
            assert!(near(finished - enqueued, 300.0), "{name}: {}", finished - enqueued);

            if age == 150 {
                let told = written["progress"].is_object().then_some(0.25);
                assert_eq!(seen.progress, told, "{name}");
            }
        }
    }
}

#[tokio::test]
async fn other_ends() {
    let gateway = Gateway::start().await;
    for name in preset::NAMES {
        let upstream = gateway.upstream(name, TOKEN);
        let written = response(name);
        let failed = if *name == "viggle" { State::Unknown } else { State::Failed };
        let has = |state: &str| !written["states"][state].is_null();
        let cancelled = if has("cancelled") { State::Cancelled } else { failed };
        let [_, running] = open_states(name);
        let waiting = match *name {
            // A word of the simulated gateway's own.
            "mjdjourney" => State::Unknown,
            _ if has("waiting") => State::Waiting,
            _ => running,
        };
        for (word, state) in [("failed", failed), ("cancelled", cancelled), ("waiting", waiting)] {
            let task = task(name, format!("{word}-at-{name}"));
            let script = json!({ "steps": [{ "status": word }] }).to_string();
            gateway.control("PUT", &format!("tasks/{}", task.id), &script).await;
            let seen = observe(&upstream, &task).await;
            assert_eq!(seen.state, state, "{name}: {}", seen.status);
        }
    }
}

#[tokio::test]
async fn failures() {
    let gateway = Gateway::start().await;
    for name in preset::NAMES {
        let upstream = gateway.upstream(name, TOKEN);
        let written = response(name);
        let unknown = if *name == "midjourney-proxy" { Reason::Empty } else { Reason::NotFound };
        let mut reasons = vec![
            ("missing", unknown),
            ("broken", Reason::Http),
            ("busy", Reason::Http),
            ("forbidden", Reason::Auth),
            ("throttled", Reason::RateLimited),
            ("reset", Reason::Connect),
        ];
        if written["body"] != "ignored" {
            let code = if written["success"].is_array() { Reason::Api } else { Reason::Mapping };
            reasons.extend([
                ("code-77", code),
                ("type", Reason::Mapping),
                ("empty", Reason::Empty),
                ("nothing", Reason::Empty),
                ("garbage", Reason::Decode),
                ("deep", Reason::Decode),
                ("huge", Reason::TooLarge),
                ("endless", Reason::TooLarge),
                ("half", Reason::Connect),
            ]);
        }
        for (scenario, reason) in reasons {
            let task = task(name, format!("{scenario}-at-{name}"));
            assert_eq!(state(&upstream, task).await, Err(reason), "{name}: {scenario}");
        }
    }
}

#[tokio::test]
async fn credentials() {
    let gateway = Gateway::start().await;
    for name in preset::NAMES {
        let task = || task(name, format!("running-at-{name}"));
        let (right, wrong) = (gateway.upstream(name, TOKEN), gateway.upstream(name, "other"));
        assert!(state(&right, task()).await.is_ok(), "{name}");
        assert_eq!(state(&wrong, task()).await, Err(Reason::Auth), "{name}");
    }
}

#[tokio::test]
async fn batches() {
    let gateway = Gateway::start().await;
    let mut batches = 0;
    for name in preset::NAMES {
        let upstream = gateway.upstream(name, TOKEN);
        if upstream.provider.batch.is_none() {
            continue;
        }
        batches += 1;
        let ids = ["queued", "missing", "other", "running", "done"];
        // No ID is safe from separators.
        let tasks = ids.iter().map(|word| task(name, format!("{word}-a,b\"{name}")));
        let tasks = TaskGroup::collect(tasks).unwrap();
        let polled = poll::poll_once(&upstream, &tasks, true, None).await;
        let states = polled.outcomes.iter();
        let states: Vec<_> =
            states.map(|outcome| outcome.as_ref().map(|s| s.state).map_err(|f| f.reason)).collect();
        let not_found = Err(Reason::NotFound);
        let [queued, running] = open_states(name);
        let expected = [Ok(queued), not_found, not_found, Ok(running), Ok(State::Succeeded)];
        assert_eq!(states, expected, "{name}");
        assert_eq!(gateway.get("stats").await["batches"], batches, "{name}");
    }
    assert_eq!(batches, 5);
}

#[tokio::test]
async fn an_asset_is_never_downloaded() {
    let gateway = Gateway::start().await;
    let upstream = gateway.upstream("stability", TOKEN);
    let task = task("stability", "done-asset");
    assert_eq!(state(&upstream, task.clone()).await, Ok(State::Succeeded));
    let gone = async {
        loop {
            let report = gateway.get("tasks/done-asset").await;
            if report["in_flight"] == 0 {
                return report;
            }
        }
    };
    let report = timeout(Duration::from_secs(20), gone).await.expect("the connection is dropped");
    let bytes = report["body_bytes"].as_u64().unwrap();
    // All that the buffers on the way hold; the asset has 64 MiB.
    assert!(bytes < 16 << 20, "{bytes} bytes were handed over");
    assert_eq!(report["requests"], 1);
}
