//! Cached compressed lines equal newly written ones after any sequence of changes.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use aitask_exporter::clock::{Clock, Timestamp};
use aitask_exporter::config::{self, Loaded};
use aitask_exporter::exposition::{self, BodyWriter, Format};
use aitask_exporter::observation::{Failure, Observation, PollOutcome, Reason, State};
use aitask_exporter::store::provider_tasks::ProviderTasks;
use aitask_exporter::store::{Slot, Snapshot, Store, StoreConfig};
use flate2::read::GzDecoder;
use proptest::prelude::*;

use crate::harness::{Exporter, compute_in_background, http, tools};

/// More than a block holds, so that blocks are filled, emptied and refilled from others.
const TASKS: usize = 1_300;

#[derive(Clone, Debug)]
enum Step {
    /// Polls one open task in so many, with an outcome of this kind.
    Poll {
        every: usize,
        kind: u8,
    },
    /// Advances the clock by so many seconds.
    Wait(u64),
    /// Lists every task except one in so many; changes the labels and the retention of final tasks.
    Reload {
        without: usize,
        label: u8,
        retain: u64,
    },
    Scrape,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (1..12_usize, 0..7_u8).prop_map(|(every, kind)| Step::Poll { every, kind }),
        2 => (0..2_000_u64).prop_map(Step::Wait),
        1 => (2..9_usize, 0..2_u8, 0..4_u64).prop_map(|(without, label, hours)| Step::Reload {
            without,
            label,
            retain: hours * 1_000 + 1,
        }),
        3 => Just(Step::Scrape),
    ]
}

/// The tasks that a configuration lists.
fn listed(without: usize) -> impl Iterator<Item = usize> {
    (0..TASKS).filter(move |n| n % without != 1)
}

struct Fleet {
    store: Store,
    clock: Clock,
    /// Tasks that are not final, by provider and row.
    open: BTreeMap<(usize, u32), Slot>,
    /// Times at which the other tasks ended.
    ended: BTreeMap<(usize, u32), Timestamp>,
    retain: Duration,
    providers: Vec<Arc<ProviderTasks>>,
}

impl Fleet {
    fn new() -> Self {
        let clock = Clock::starting_at(Timestamp::from_micros(1_750_403_000_000_000));
        let store = Store::new(clock);
        let (open, ended) = (BTreeMap::new(), BTreeMap::new());
        let mut fleet =
            Self { store, clock, open, ended, retain: Duration::ZERO, providers: Vec::new() };
        fleet.reload(usize::MAX, 0, 3_600);
        fleet
    }

    fn reload(&mut self, without: usize, label: u8, retain: u64) {
        let task = |n: usize| match n % 700 {
            0 => format!("{{ id: t-{n}, provider: b }}"),
            1 => format!("{{ id: t-{n}, provider: a, labels: {{ l: 'v{label}' }} }}"),
            _ => format!("{{ id: t-{n}, provider: a }}"),
        };
        let tasks = listed(without).map(task).collect::<Vec<_>>().join(", ");
        let text = format!(
            "global: {{ retain_finished: {retain}s, keep_unlisted: 0s }}\n\
             providers: [{{ name: a, preset: mjdjourney }}, {{ name: b, preset: mjdjourney }}]\n\
             tasks: [{tasks}]\n"
        );
        let Loaded { config, tasks } = config::load_text("c.yml", &text, Path::new("")).unwrap();
        self.retain = Duration::from_secs(retain);
        self.providers.clear();
        for (provider, changes) in self
            .store
            .apply_config(&StoreConfig::of(&config), tasks, &|_| {})
            .into_iter()
            .enumerate()
        {
            for slot in changes.removed {
                self.open.remove(&(provider, slot.row));
                self.ended.remove(&(provider, slot.row));
            }
            for placed in changes.added {
                self.open.insert((provider, placed.slot.row), placed.slot);
            }
            self.providers.push(changes.tasks);
        }
    }

    fn poll(&mut self, every: usize, kind: u8) {
        for (place, slot) in self.open.clone().into_iter().step_by(every) {
            let change =
                self.providers[place.0].record_poll(slot, &outcome(kind), |_, _| ()).unwrap();
            if change.is_final {
                self.open.remove(&place);
                self.ended.insert(place, self.clock.now());
            }
        }
    }

    /// Returns the number of tasks that have series.
    fn shown(&self) -> usize {
        let now = self.clock.now();
        let retained = self.ended.values().filter(|ended| now.since(**ended) <= self.retain);
        self.open.len() + retained.count()
    }
}

fn outcome(kind: u8) -> PollOutcome {
    let observation = |state, status: &str| Observation {
        state,
        status: status.into(),
        job_type: Some("video".into()),
        enqueue_time: None,
        finish_time: None,
        progress: Some(f64::from(kind) / 8.0),
        failure_code: None,
        odd: Vec::new(),
    };
    match kind {
        0 => Ok(observation(State::Queued, "SUBMITTED")),
        1 => Ok(observation(State::Running, "RUNNING")),
        2 => Ok(observation(State::Waiting, "MODAL")),
        3 => Ok(observation(State::Succeeded, "SUCCESS")),
        4 => Ok(Observation {
            failure_code: Some("7".into()),
            ..observation(State::Failed, "FAILURE")
        }),
        5 => Err(Failure::new(Reason::Timeout, "")),
        _ => Err(Failure::new(Reason::NotFound, "")),
    }
}

fn plain(snapshot: &Snapshot) -> String {
    let mut out = BodyWriter::new(false, Vec::new()).unwrap();
    exposition::write(Format::Text, snapshot, &[], &mut out).unwrap();
    String::from_utf8(out.finish().unwrap()).unwrap()
}

fn through_gzip(snapshot: &Snapshot) -> String {
    let mut out = BodyWriter::new(true, Vec::new()).unwrap();
    exposition::write(Format::Text, snapshot, &[], &mut out).unwrap();
    let mut text = String::new();
    GzDecoder::new(&out.finish().unwrap()[..]).read_to_string(&mut text).unwrap();
    text
}

/// The number of tasks that `aitask_tasks` counts, and of those whose series are shown.
fn counted(text: &str) -> (f64, usize) {
    let counts = text.lines().filter(|line| line.starts_with("aitask_tasks{"));
    let sum = counts.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap()).sum();
    (sum, text.lines().filter(|line| line.starts_with("aitask_status{")).count())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, ..ProptestConfig::default() })]
    #[test]
    fn compressed_text_is_the_text(steps in prop::collection::vec(step(), 1..60)) {
        compute_in_background();
        let mut runtime = tokio::runtime::Builder::new_current_thread();
        let runtime = runtime.enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            let mut fleet = Fleet::new();
            let mut expected = listed(usize::MAX).count();
            let mut held: Option<(Snapshot, String)> = None;
            for step in steps {
                match step {
                    Step::Poll { every, kind } => {
                        tokio::time::advance(Duration::from_millis(1)).await;
                        fleet.poll(every, kind);
                    }
                    Step::Wait(seconds) => tokio::time::advance(Duration::from_secs(seconds)).await,
                    Step::Reload { without, label, retain } => {
                        fleet.reload(without, label, retain);
                        expected = listed(without).count();
                    }
                    Step::Scrape => {
                        let snapshot = fleet.store.snapshot();
                        let text = plain(&snapshot);
                        assert!(through_gzip(&snapshot) == text, "what is kept is stale");
                        let (counted, shown) = counted(&text);
                        assert_eq!(counted, expected as f64);
                        assert_eq!(shown, fleet.shown());
                        // Later changes must not appear in the earlier snapshot.
                        if let Some((snapshot, text)) = held.replace((snapshot, text)) {
                            assert!(plain(&snapshot) == text, "a snapshot has changed");
                            assert!(through_gzip(&snapshot) == text, "a snapshot has changed");
                        }
                    }
                }
            }
        });
    }
}

/// One member, read whole by those that others use.
#[test]
fn curl_and_python_read_all_of_it() {
    let tasks: Vec<_> = (0..TASKS).map(|n| format!("t-{n}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 1y }}\n\
         providers: [{{ name: a, preset: mjdjourney, base_url: 'http://127.0.0.1:9' }}]\n\
         tasks: [{}]\n",
        tasks.join(", ")
    ));
    let url = format!("http://{}/metrics", exporter.address);
    // The second time what was kept is sent.
    for _ in 0..2 {
        let text = tools::said(Command::new("curl").args(["-sS", "--fail", "--compressed", &url]));
        assert_eq!(counted(&text), (TASKS as f64, TASKS));
        assert!(text.ends_with('\n') && text.contains("\nprocess_start_time_seconds"));
        let gzip = [("Accept-Encoding", "gzip")];
        let reply = http::send(exporter.address, "GET", "/metrics", &gzip, "").unwrap();
        let script =
            "import gzip, sys; sys.stdout.buffer.write(gzip.decompress(sys.stdin.buffer.read()))";
        let output = tools::pipe(Command::new("python3").args(["-c", script]), &reply.body);
        assert_eq!(counted(std::str::from_utf8(&output.stdout).unwrap()), (TASKS as f64, TASKS));
    }
}
