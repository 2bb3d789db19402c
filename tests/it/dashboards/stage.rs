//! All that there is to see at once: two exporters that share providers, an exporter that is down,
//! a job of somebody else, a disk that refuses writes, a provider for every kind of trouble, tasks
//! in every state, three hours of history, and a Prometheus that shows each exporter twice, as a
//! querier above a pair of servers does.

use std::fmt::Write;
use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use crate::alerts::sped_up;
use crate::harness::samples::Samples;
use crate::harness::tools::{Prometheus, said};
use crate::harness::{Dir, Exporter, Gateway, now, until};

/// A port on which nothing listens.
const NOBODY: &str = "127.0.0.1:1";

/// Length of the history, and the interval of its samples, in seconds.
const HISTORY_SECONDS: u32 = 3 * 3_600;
const HISTORY_STEP_SECONDS: u32 = 60;

/// The list of `cron`: a task that is dropped from it later, and an element that is not a task.
const LIST: &str = r#"["running-listed", {"id": null}, {"targets": ["queued-listed"]}]"#;
/// The list of `night`, and what stays of it.
const NIGHT: [&str; 2] = [r#"["running-at-night", "queued-at-night"]"#, "[]"];

/// In the last part of the history counters grow: within the half hour that rules look back.
const GROWTH_SECONDS: u32 = 1_200;

/// Number of stuck tasks on the stage; their IDs begin with `stuck`.
pub const STUCK: usize = 5;

const SHARDS: [&str; 2] = [
    "
global: { poll_interval: 1s, poll_timeout: 2s, stuck_after: 30m, max_tasks: 32 }
providers: [MJ, PROXY, FLUX, LOCKED, BUSY, DEAD, LOST, LATE, STOPPED]
tasks:
- { provider: mj, id: stuck-a1, labels: { customer: acme } }
- { provider: mj, id: stuck-a2 }
- { provider: mj, id: queued-a }
- { provider: mj, id: waiting-a }
- { provider: mj, id: weird-a }
- { provider: mj, id: missing-a }
- { provider: mj, id: code-1203-a }
- { provider: mj, id: hang-a }
- { provider: mj, id: empty-a }
- { provider: mj, id: garbage-a }
- { provider: mj, id: other-a }
- { provider: mj, id: broken-a }
- { provider: mj, id: reset-a }
- { provider: mj, id: huge-a }
- { provider: mj, id: ok-a1 }
- { provider: mj, id: ok-a2 }
- { provider: mj, id: ok-a3 }
- { provider: mj, id: fail-a1 }
- { provider: mj, id: fail-a2 }
- { provider: mj, id: fail-a3 }
- { provider: proxy, id: stuck-a3 }
- { provider: proxy, id: running-a }
- { provider: proxy, id: cancel-a }
- { provider: flux, id: running-b }
- { provider: locked, id: unauthorized-a }
- { provider: busy, id: throttled-a }
- { provider: dead, id: queued-b }
- { provider: lost, id: missing-b }
- { provider: late, id: queued-1 }
- { provider: late, id: queued-2 }
- { provider: stopped, id: queued-3 }
- { provider: stopped, id: queued-4 }
- { provider: late, id: one-too-many }
",
    "
global: { poll_interval: 1s, poll_timeout: 2s, stuck_after: 30m }
providers: [MJ, PROXY]
http_sd_configs:
- { name: orders, url: \"http://NOBODY/jobs\", provider: mj, refresh_interval: 1s }
file_sd_configs:
- { name: cron, files: [list.json], provider: proxy, refresh_interval: 1s, keep_unlisted: 0s }
- { name: night, files: [night.json], provider: proxy, refresh_interval: 1s }
tasks:
- { provider: mj, id: stuck-b1 }
- { provider: mj, id: queued-b }
- { provider: mj, id: ok-b }
- { provider: proxy, id: stuck-b2 }
- { provider: proxy, id: running-b }
- { provider: proxy, id: fail-b }
",
];

pub struct Stage {
    _gateway: Gateway,
    _exporters: [Exporter; 2],
    pub prometheus: Prometheus,
}

impl Stage {
    /// Returns the stage, which tests at the same time share.
    pub fn shared() -> Arc<Self> {
        static STAGE: Mutex<Weak<Stage>> = Mutex::new(Weak::new());
        let mut stage = STAGE.lock();
        stage.upgrade().unwrap_or_else(|| {
            let set = Arc::new(Self::set());
            *stage = Arc::downgrade(&set);
            set
        })
    }

    fn set() -> Self {
        let gateway = Gateway::start();
        let exporters = SHARDS.map(|shard| {
            let dir = Dir::with(&providers(&gateway, shard));
            dir.write("list.json", LIST);
            dir.write("night.json", NIGHT[0]);
            keeping(dir, shard == SHARDS[1])
        });
        exporters[1].await_value("aitask_exporter_storage_up", &[], 0.0);
        let addresses = exporters.each_ref().map(|exporter| exporter.address);
        // Its counters have begun, and everything is seen.
        for (exporter, id, state) in [
            (0, "fail-a1", "failed"),
            (0, "fail-a2", "failed"),
            (0, "fail-a3", "failed"),
            (0, "cancel-a", "cancelled"),
            (1, "fail-b", "failed"),
        ] {
            exporters[exporter].await_state(id, state);
        }
        let lost = [("provider", "lost"), ("state", "not_found")];
        exporters[0].await_value("aitask_finished_total", &lost, 1.0);
        assert_eq!(exporters[1].reload("tasks: [").status, 500);
        let before = leave_lists(&exporters[1]);

        let dir = Dir::new();
        remember(&dir, &exporters, &before);
        let rules = dir.write("rules.yml", &sped_up());
        let targets: Vec<_> = addresses.iter().map(SocketAddr::to_string).collect();
        let targets = format!("['{}', '{NOBODY}']", targets.join("', '"));
        let config = format!(
            "global: {{ scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s }}\n\
             rule_files: ['{}']\n\
             scrape_configs:\n\
             - job_name: aitask_exporter\n\
             \x20 static_configs:\n\
             \x20 - {{ targets: {targets}, labels: {{ replica: a }} }}\n\
             \x20 - {{ targets: {targets}, labels: {{ replica: b }} }}\n\
             - {{ job_name: node, static_configs: [{{ targets: ['{NOBODY}'] }}] }}\n",
            rules.display(),
        );
        let prometheus = Prometheus::start(dir, &config);
        until("Prometheus scrapes", || prometheus.value("count(up == 1)") == Some(4.0));
        Self { _gateway: gateway, _exporters: exporters, prometheus }
    }
}

/// Drops open tasks from lists: one is lost, and two are unlisted. Returns the state of the lost task
/// before.
fn leave_lists(exporter: &Exporter) -> Samples {
    for id in ["running-listed", "running-at-night", "queued-at-night"] {
        exporter.await_state(id, id.split('-').next().unwrap());
    }
    let mut before = exporter.scrape();
    before.0.retain(|(name, labels), _| {
        name == "aitask_status" && labels.get("task_id").is_some_and(|id| id == "running-listed")
    });
    exporter.process.dir.write("list.json", &LIST.replacen("running-listed", "ok-listed", 1));
    exporter.process.dir.write("night.json", NIGHT[1]);
    exporter.await_value("aitask_lost_tasks_total", &[("provider", "proxy")], 1.0);
    exporter.await_value("aitask_unlisted_tasks", &[("provider", "proxy")], 2.0);
    before
}

/// Starts an exporter with a storage path, which is damaged and refuses writes if that is wanted.
fn keeping(dir: Dir, refuses: bool) -> Exporter {
    if refuses {
        dir.write("state/snapshot", "damaged");
        // Nobody, not even root, can write a snapshot at the path of a directory.
        fs::create_dir(dir.path("state/snapshot.new")).unwrap();
    }
    let storage = dir.path("state");
    Exporter::start_in(dir, &["--storage.path", storage.to_str().unwrap()])
}

/// Puts the providers in the place of their names.
fn providers(gateway: &Gateway, shard: &str) -> String {
    let at = |name: &str, preset: &str, more: &str| {
        let url = format!("http://{}/{preset}", gateway.address);
        format!("{{ name: {name}, preset: {preset}, base_url: \"{url}\", {more} }}")
    };
    let waiting = "response: { states: { waiting: [waiting] } }";
    let dead = format!("{{ name: dead, preset: mjdjourney, base_url: \"http://{NOBODY}\" }}");
    [
        ("MJ", at("mj", "mjdjourney", waiting)),
        ("PROXY", at("proxy", "midjourney-proxy", "")),
        ("FLUX", at("flux", "bfl-flux", "")),
        ("LOCKED", at("locked", "luma", "")),
        ("BUSY", at("busy", "luma", "")),
        ("LOST", at("lost", "mjdjourney", "stuck_after: 1s")),
        ("LATE", at("late", "mjdjourney", "rate_limit: { requests: 1, per: 33s, burst: 1 }")),
        ("STOPPED", at("stopped", "mjdjourney", "rate_limit: { requests: 1, per: 1h, burst: 1 }")),
        ("DEAD", dead),
        ("NOBODY", NOBODY.to_owned()),
    ]
    .iter()
    .fold(shard.to_owned(), |shard, (name, provider)| shard.replace(name, provider))
}

/// Writes blocks of the past: what the exporters show now, with counters that have grown to it, and
/// what the second showed `before`.
fn remember(dir: &Dir, exporters: &[Exporter], before: &Samples) {
    let after = exporters.iter().map(|exporter| (exporter.address, exporter.scrape()));
    let scraped: Vec<_> = after.collect();
    let end = now() - 120.0;
    let mut text = String::new();
    for second in (0..HISTORY_SECONDS).step_by(HISTORY_STEP_SECONDS as usize) {
        let to_come = f64::from(HISTORY_SECONDS - second) / f64::from(GROWTH_SECONDS);
        let share = (1.0 - to_come).max(0.0);
        for (address, samples) in &scraped {
            past(&mut text, address, samples, share, end - f64::from(HISTORY_SECONDS - second));
        }
        // Prometheus finds a series for five minutes after its last sample.
        if HISTORY_SECONDS - second > 600 {
            let time = end - f64::from(HISTORY_SECONDS - second);
            past(&mut text, &exporters[1].address, before, share, time);
        }
    }
    text += "# EOF\n";
    let (history, data) = (dir.write("history.txt", &text), dir.path("data"));
    let mut create = Command::new("promtool");
    create.args(["tsdb", "create-blocks-from", "openmetrics"]).args([history, data]);
    said(&mut create);
}

/// A scrape of the past: counters had come to a share of what they are now.
fn past(text: &mut String, address: &SocketAddr, samples: &Samples, share: f64, time: f64) {
    for ((name, labels), value) in &samples.0 {
        let counts = ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end));
        let value = if counts { (value * share).floor() } else { *value };
        let target = format!("job=\"aitask_exporter\",instance=\"{address}\",replica=\"a\"");
        let own = labels.iter().fold(target, |own, (label, value)| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            own + &format!(",{label}=\"{value}\"")
        });
        writeln!(text, "{name}{{{own}}} {value} {time:.3}").unwrap();
    }
}
