//! Readers of the counters, over restarts and kills: each sees every finish once.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::Mutex;

use super::{TIMESTAMP, config, finished, finishing, flags, kill};
use crate::harness::host::Disk;
use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, eventually, http, until};

/// Finished tasks as a reader adds them up from scrapes of several lives, by the rule of
/// Prometheus: a value below the last one is of counters that have begun again.
#[derive(Clone, Debug, Default)]
struct Reader {
    last: [f64; 2],
    sum: [f64; 2],
    scrapes: usize,
    resets: usize,
}

impl Reader {
    /// Takes in a scrape: tasks, and those of them whose duration is known.
    fn read(&mut self, samples: &Samples) {
        let labels = [("state", "succeeded")];
        let durations = samples.value("aitask_task_duration_seconds_count", &labels);
        let now = [finished(samples), durations.unwrap()];
        for ((sum, last), now) in self.sum.iter_mut().zip(self.last).zip(now) {
            self.resets += usize::from(now < last);
            *sum += if now < last { now } else { now - last };
        }
        self.last = now;
        self.scrapes += 1;
    }
}

/// A reader that scrapes the exporter that currently listens.
struct Scraper {
    reader: Arc<Mutex<Reader>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Scraper {
    fn start(address: SocketAddr, every: Duration) -> Self {
        let (reader, stop) = (Arc::<Mutex<Reader>>::default(), Arc::<AtomicBool>::default());
        let (sees, stopped) = (Arc::clone(&reader), Arc::clone(&stop));
        let thread = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                // A response that a kill cuts short does not count.
                if let Ok(reply) = http::send(address, "GET", "/metrics", &[], "")
                    && reply.status == 200
                {
                    sees.lock().read(&Samples::parse(reply.text()));
                }
                thread::sleep(every);
            }
        });
        Self { reader, stop, thread: Some(thread) }
    }

    fn sees(&self) -> Reader {
        self.reader.lock().clone()
    }
}

impl Drop for Scraper {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.take().unwrap().join();
    }
}

/// A place where each life listens.
fn address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

fn life_at(address: SocketAddr, config: &str, path: &Path) -> Exporter {
    let listen = format!("--web.listen-address={address}");
    let flags = [&flags(path)[..], &[&listen]].concat();
    Exporter::start_in(Dir::with(config), &flags)
}

/// A hundred lives, each ended by a kill at some moment, while tasks finish and two readers with
/// rhythms of their own, and now and then a person, look at the counters.
#[test]
fn a_kill_at_any_moment_loses_and_doubles_nothing_for_any_reader() {
    const TASKS: usize = 300;
    let (gateway, storage) = (Gateway::start(), Dir::new());
    let config = finishing(&gateway, TASKS, 2.0, 20.0);
    let path = storage.path("state");
    let address = address();
    let life = || life_at(address, &config, &path);
    // The first life sees that all have begun.
    let mut exporter = life();
    let all = TASKS as f64 + 1.0;
    let seen = exporter.await_value("aitask_tasks", &[("state", "running")], all);
    let begun = seen.value(TIMESTAMP, &[("task_id", "timeless")]);
    let scrapers = [37, 211].map(|every| Scraper::start(address, Duration::from_millis(every)));
    let mut person = Reader::default();
    for number in 0..50 {
        thread::sleep(Duration::from_millis(number * 29 % 500));
        if number % 3 == 0 {
            let url = format!("http://{address}/metrics");
            let said = Command::new("curl").args(["-sS", "--fail", &url]).output().unwrap();
            person.read(&Samples::parse(&String::from_utf8(said.stdout).unwrap()));
        }
        kill(exporter);
        // One that may not even get to its first poll.
        let mut process = Exporter::begin(Dir::with(&config), &flags(&path));
        thread::sleep(Duration::from_millis(number * 61 % 150));
        process.signal("KILL");
        process.wait();
        exporter = life();
    }
    let end = eventually("every finish is shown", || {
        let samples = exporter.scrape();
        let ended = samples.value("aitask_tasks", &[("state", "succeeded")]);
        (ended == Some(TASKS as f64) && finished(&samples) == TASKS as f64).then_some(samples)
    });
    person.read(&end);
    let readers = scrapers.each_ref().map(|scraper| {
        until("the readers have seen it", || scraper.sees().last[0] == TASKS as f64);
        scraper.sees()
    });
    for reader in readers.iter().chain([&person]) {
        assert_eq!((reader.sum, reader.resets), ([TASKS as f64; 2], 0), "{readers:?} {person:?}");
        assert!(reader.scrapes > 10, "{reader:?}");
    }
    assert_eq!(end.value(TIMESTAMP, &[("task_id", "timeless")]), begun, "its age goes on");
    assert_eq!(end.value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
    let size: u64 =
        fs::read_dir(&path).unwrap().map(|f| f.unwrap().metadata().unwrap().len()).sum();
    assert!(size < 200_000, "{size} bytes for {TASKS} tasks");
}

/// A finish that no scrape has shown before an ordinary end, or a kill, is there from the first
/// scrape on. Asking changes nothing.
#[test]
fn finishes_not_yet_scraped_survive_a_restart() {
    for signal in ["TERM", "KILL"] {
        let (gateway, storage) = (Gateway::start(), Dir::new());
        let path = storage.path("state");
        let config = config(&gateway, &["ok-1".to_owned()]);
        let life = || Exporter::start_in(Dir::with(&config), &flags(&path));
        let mut first = life();
        until("it has ended", || first.process.log().contains("to=succeeded"));
        first.process.signal(signal);
        first.process.wait();
        // The second life has no reader.
        kill(life());
        let third = life();
        for _ in 0..3 {
            assert_eq!(finished(&third.scrape()), 1.0, "{signal}");
            let reply = http::send(third.address, "HEAD", "/metrics", &[], "").unwrap();
            assert_eq!(reply.status, 200);
        }
        let samples = third.scrape();
        let labels = [("state", "succeeded")];
        let sum = samples.value("aitask_task_duration_seconds_sum", &labels).unwrap();
        let duration = samples.value("aitask_duration_seconds", &[("task_id", "ok-1")]).unwrap();
        assert!((sum - duration).abs() < 1e-6, "{sum} {duration}");
    }
}

/// Each life ends with a power failure. The next one shows everything that it has shown, without an
/// `fsync` that succeeded for it.
#[test]
fn what_was_shown_survives_the_loss_of_power() {
    const TASKS: usize = 60;
    let (gateway, storage, disk) = (Gateway::start(), Dir::new(), Disk::that("works"));
    let config = finishing(&gateway, TASKS, 2.0, 8.0);
    let path = storage.path("state");
    let mut exporter = Exporter::start_with_disk(&disk, Dir::with(&config), &flags(&path));
    exporter.await_value("aitask_tasks", &[("state", "running")], TASKS as f64 + 1.0);
    let mut seen = 0.0;
    for number in 0..10 {
        let end = eventually("another has finished", || {
            let samples = exporter.scrape();
            (finished(&samples) > seen || finished(&samples) == TASKS as f64).then_some(samples)
        });
        thread::sleep(Duration::from_millis(number * 37 % 200));
        seen = finished(&exporter.scrape()).max(finished(&end));
        kill(exporter);
        disk.lose_power(&path);
        disk.now("stalls");
        exporter = Exporter::start_with_disk(&disk, Dir::with(&config), &flags(&path));
        let samples = exporter.scrape();
        assert!(finished(&samples) >= seen, "{} after {seen}", finished(&samples));
        seen = finished(&samples);
        assert_eq!(samples.value("aitask_exporter_storage_lost_bytes", &[]), Some(0.0));
        disk.now("works");
    }
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], TASKS as f64);
    exporter.await_value("aitask_tasks", &[("state", "succeeded")], TASKS as f64);
    assert_eq!(finished(&exporter.scrape()), TASKS as f64);
}
