//! Cost of a list of a source: 10,000, 100,000 and 1,000,000 tasks, read from a file and applied to
//! the store, with each change written to a storage path. Later lists replace 1 task in 100.
//!
//! `cargo bench --bench lists` measures; without `--bench`, as in `cargo test`, one short round shows
//! that it still runs.

#![expect(clippy::unwrap_used, reason = "a benchmark that cannot run says so and stops")]

use std::fs;
use std::hint::black_box;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use aitask_exporter::clock::Clock;
use aitask_exporter::config::{self, Config, Loaded};
use aitask_exporter::discovery::list::{ListedTask, Refresh};
use aitask_exporter::discovery::source::Source;
use aitask_exporter::fetch::resolver::Resolver;
use aitask_exporter::storage::{self, Storage};
use aitask_exporter::store::{ListingChange, Store, StoreConfig, StoreList};
use aitask_exporter::telemetry::Telemetry;

fn main() {
    let measure = std::env::args().any(|argument| argument == "--bench");
    let (sizes, rounds) =
        if measure { (&[10_000, 100_000, 1_000_000][..], 5) } else { (&[2_000][..], 2) };
    println!(
        "    tasks | first list | 1 % replaced | parsing it alone | ratio | bytes a change | all tasks"
    );
    for tasks in sizes {
        Fleet::new(*tasks).run(rounds);
    }
}

/// A source, and the store and the storage that its lists are applied to.
struct Fleet {
    tasks: usize,
    folder: PathBuf,
    config: Config,
    source: Source,
    store: Arc<Store>,
    storage: Storage,
}

impl Fleet {
    fn new(tasks: usize) -> Self {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("bench-lists");
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let text = "global: { max_tasks: 2000000, keep_unlisted: 0s }\n\
                    providers: [{ name: p, preset: mjdjourney }]\n\
                    file_sd_configs: [{ name: jobs, files: [list.json] }]\n";
        let Loaded { config, tasks: none } = config::load_text("bench.yml", text, &folder).unwrap();
        let source =
            Source::new(config.discovery.first().unwrap(), None, &Resolver::system()).unwrap();
        let store = Arc::new(Store::new(Clock::system()));
        store.apply_config(&StoreConfig::of(&config), none, &|_| {});
        let opened = storage::open(&folder.join("storage")).unwrap();
        let storage = opened.start(Arc::clone(&store), &Arc::new(Telemetry::new())).unwrap();
        Self { tasks, folder, config, source, store, storage }
    }

    fn run(&mut self, rounds: usize) {
        let first = self.refresh(0);
        self.compact();
        let whole = self.stored();
        let (mut times, mut parses) = (Vec::new(), Vec::new());
        for round in 1..=rounds {
            times.push(self.refresh(round).as_secs_f64());
            parses.push(self.parse().as_secs_f64());
        }
        self.storage.end();
        let changes = 2 * (self.tasks / 100) * rounds;
        let written = self.stored() - whole;
        let (time, parse) = (median(times), median(parses));
        println!(
            "{:>9} | {:>8.2} s | {:>10.3} s | {:>14.3} s | {:>5.1} | {:>14.0} | {:>5.1} MB",
            self.tasks,
            first.as_secs_f64(),
            time,
            parse,
            time / parse,
            of(written) / of(changes),
            of(whole) / 1e6,
        );
    }

    /// Writes the list of a round, and measures how long it takes to read and to apply it.
    fn refresh(&mut self, round: usize) -> Duration {
        let replaced = round * (self.tasks / 100);
        let ids = (replaced..replaced + self.tasks).map(|number| format!("\"job-{number:012}\""));
        let list = format!("[{}]", ids.collect::<Vec<_>>().join(","));
        fs::write(self.folder.join("next.json"), list).unwrap();
        fs::rename(self.folder.join("next.json"), self.list()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let begun = Instant::now();
        let Self { config, source, store, storage, .. } = self;
        let refreshed = source.refresh(&config.providers, config.label_limits, None);
        let list = match runtime.block_on(refreshed).unwrap() {
            Refresh::List(list) => Some(list),
            _ => None,
        };
        let tasks = list.unwrap().tasks.into_iter().map(|ListedTask { task, .. }| task).collect();
        let list = StoreList { tasks, times: Vec::new(), is_whole: true, is_window: false };
        let save = |change: ListingChange<'_>| {
            storage.save_listing(change, store);
        };
        let changes = store.apply_list(&config.discovery.first().unwrap().key(), list, &save);
        black_box(changes);
        begun.elapsed()
    }

    fn parse(&self) -> Duration {
        let begun = Instant::now();
        let content = fs::read(self.list()).unwrap();
        black_box(serde_json::from_slice::<serde_json::Value>(&content).unwrap());
        begun.elapsed()
    }

    fn list(&self) -> PathBuf {
        self.folder.join("list.json")
    }

    /// Waits until a snapshot has all tasks.
    fn compact(&self) {
        self.storage.compact();
        let snapshot = self.folder.join("storage/snapshot");
        while !snapshot.exists() {
            std::thread::sleep(Duration::from_millis(10));
        }
        std::thread::sleep(Duration::from_secs(2));
    }

    /// Returns the size of the files of the storage, in bytes.
    fn stored(&self) -> usize {
        let files = fs::read_dir(self.folder.join("storage")).unwrap();
        let sizes = files.map(|file| file.unwrap().metadata().unwrap().len());
        usize::try_from(sizes.sum::<u64>()).unwrap()
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap()
}

#[expect(clippy::cast_precision_loss, clippy::as_conversions, reason = "figures for people")]
fn of(count: usize) -> f64 {
    count as f64
}
