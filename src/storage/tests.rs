use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use proptest::prelude::*;

use super::*;
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::observation::{Observation, State};
use crate::store::{Slot, StoreConfig, provider_tasks::ProviderTasks};

/// A directory of its own, empty, which goes when the test ends.
struct Dir(PathBuf);

impl Dir {
    fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let path = std::env::temp_dir().join(format!("storage-{}-{number}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        Self(path)
    }

    fn names(&self) -> Vec<String> {
        names(&self.0)
    }

    /// The content of every file.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let content = |name: String| (name.clone(), fs::read(self.0.join(name)).unwrap());
        self.names().into_iter().map(content).collect()
    }

    /// Puts other files in the place of those that are there.
    fn restore(&self, files: &BTreeMap<String, Vec<u8>>) {
        for name in self.names() {
            fs::remove_file(self.0.join(name)).unwrap();
        }
        for (name, content) in files {
            fs::write(self.0.join(name), content).unwrap();
        }
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn names(path: &Path) -> Vec<String> {
    let name = |entry: io::Result<fs::DirEntry>| entry.unwrap().file_name().into_string();
    let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|entry| name(entry).unwrap()).collect();
    names.sort();
    names
}

/// An exporter whose threads do nothing by themselves.
struct Life {
    compactor: Compactor,
    queue: Arc<ChangeQueue>,
    telemetry: Arc<Telemetry>,
    tasks: Arc<ProviderTasks>,
    slots: Vec<Slot>,
    _errands: SyncSender<CompactorCommand>,
}

impl Life {
    /// One that watches so many tasks.
    fn begin(dir: &Path, tasks: usize) -> Self {
        let clock = Clock::system();
        let (store, telemetry) = (Arc::new(Store::new(clock)), Arc::new(Telemetry::new()));
        let mut opened = open(dir).unwrap();
        store.set_recovered(std::mem::take(&mut opened.tasks));
        telemetry.storage_opened(opened.lost);
        telemetry.show_finished(opened.ledger.shown().clone());
        telemetry.provider("p");
        let StorageParts { queue, compactor, commands, .. } =
            opened.parts(Arc::clone(&store), &telemetry);
        let ids: Vec<_> = (0..tasks).map(|n| format!("t-{n}")).collect();
        let text = format!(
            "providers: [{{ name: p, preset: mjdjourney }}]\ntasks: [{}]\n",
            ids.join(", ")
        );
        let Loaded { config, tasks } = config::load_text("c.yml", &text, Path::new("")).unwrap();
        let mut changes = store.apply_config(&StoreConfig::of(&config), tasks, &|_| {});
        let changes = changes.remove(0);
        let slots = changes.added.iter().map(|placed| placed.slot).collect();
        Self { compactor, queue, telemetry, tasks: changes.tasks, slots, _errands: commands }
    }

    /// Polls an open task, which is then in this state.
    fn poll(&mut self, index: usize, state: State) {
        if self.slots.is_empty() {
            return;
        }
        let index = index % self.slots.len();
        let outcome = Ok(Observation::new(state, state.as_str()));
        let change = self.tasks.record_poll(self.slots[index], &outcome, |record, change| {
            self.queue.push(QueuedChange::of_poll(record, change));
        });
        if change.unwrap().is_final {
            self.slots.remove(index);
        }
    }

    fn sample(&self, name: &str) -> f64 {
        let families = self.telemetry.gather();
        let family = families.iter().find(|family| family.name() == name).unwrap();
        let metric = &family.get_metric()[family.get_metric().len() - 1];
        metric.get_counter().get_value() + metric.get_gauge().get_value()
    }

    /// Number of succeeded tasks that readers see.
    fn shown(&self) -> f64 {
        self.sample("aitask_finished_total")
    }

    fn lost(&self) -> f64 {
        self.sample("aitask_exporter_storage_lost_bytes")
    }

    /// Does the work of the threads for a second.
    fn write(&self) {
        self.compactor.journal.write_waiting();
        self.compactor.sync();
    }
}

#[test]
fn a_finished_task_is_shown_once_the_disk_has_it() {
    let dir = Dir::new();
    let mut life = Life::begin(&dir.0, 2);
    life.poll(0, State::Running);
    life.poll(0, State::Succeeded);
    assert_eq!(life.shown(), 0.0);
    life.compactor.journal.write_waiting();
    assert_eq!(life.shown(), 0.0, "it is written, and no more");
    life.compactor.sync();
    assert_eq!(life.shown(), 1.0);

    // In the next run from the start, and the last changes once they are durable.
    life.poll(0, State::Running);
    life.poll(0, State::Succeeded);
    life.compactor.journal.write_waiting();
    drop(life);
    let life = Life::begin(&dir.0, 2);
    assert_eq!((life.shown(), life.lost()), (1.0, 0.0));
    life.compactor.sync();
    assert_eq!(life.shown(), 2.0);
    drop(life);
    assert_eq!(Life::begin(&dir.0, 2).shown(), 2.0);
}

#[test]
fn what_the_disk_refuses_waits_until_it_takes_a_snapshot() {
    let dir = Dir::new();
    let mut life = Life::begin(&dir.0, 3);
    (0..3).for_each(|_| life.poll(0, State::Running));
    (0..3).for_each(|task| life.poll(task, State::Running));
    life.poll(0, State::Succeeded);
    life.write();
    assert_eq!(life.shown(), 1.0);
    life.poll(0, State::Succeeded);
    life.compactor.journal.write_waiting();
    life.compactor.journal.fail(&StorageFull.into());
    life.poll(0, State::Succeeded);
    life.write();
    assert_eq!(life.shown(), 1.0);
    life.compactor.compact();
    assert_eq!(life.shown(), 3.0);
    drop(life);
    let life = Life::begin(&dir.0, 3);
    assert_eq!((life.shown(), life.lost()), (3.0, 0.0));
}

#[test]
fn what_a_disk_has_perhaps_forgotten_waits_for_a_snapshot_in_the_next_life() {
    let dir = Dir::new();
    let mut life = Life::begin(&dir.0, 1);
    life.poll(0, State::Running);
    life.poll(0, State::Succeeded);
    life.compactor.journal.write_waiting();
    // As a disk that has refused it leaves the journal.
    let mut refused = Vec::new();
    log_record::encode_sync_failed(&mut refused);
    let journal = dir.0.join("journal.0");
    drop(life);
    fs::write(&journal, [fs::read(&journal).unwrap(), refused].concat()).unwrap();
    let mut life = Life::begin(&dir.0, 1);
    life.compactor.sync();
    assert_eq!(life.shown(), 0.0);
    life.compactor.compact();
    assert_eq!(life.shown(), 1.0);
}

#[test]
fn a_provider_that_comes_back_continues() {
    let dir = Dir::new();
    let mut life = Life::begin(&dir.0, 1);
    life.poll(0, State::Running);
    life.poll(0, State::Succeeded);
    life.write();
    life.telemetry.remove_provider("p");
    life.telemetry.provider("q");
    assert_eq!(life.shown(), 0.0);
    life.telemetry.provider("p");
    life.telemetry.remove_provider("q");
    assert_eq!(life.shown(), 1.0);
}

#[test]
fn what_another_has_taken_is_left_alone() {
    let dir = Dir::new();
    let mut first = Life::begin(&dir.0, 1).compactor;
    fs::remove_dir_all(&dir.0).unwrap();
    let mut second = Life::begin(&dir.0, 1).compactor;
    first.compact();
    assert!(!first.journal.is_working());
    assert_eq!(dir.names(), ["journal.0", "lock"]);
    second.compact();
    assert!(second.journal.is_working());
    assert_eq!(dir.names(), ["journal.0", "lock", "snapshot"]);

    // One that was moved is not where it has to be.
    let moved = dir.0.with_extension("moved");
    let _ = fs::remove_dir_all(&moved);
    fs::rename(&dir.0, &moved).unwrap();
    second.sync();
    assert!(!second.journal.is_working());
    first.compact();
    assert!(first.journal.is_working());
    second.compact();
    assert!(!second.journal.is_working(), "it has come too late");
    fs::remove_dir_all(&moved).unwrap();
}

#[test]
fn failures_leave_nothing_that_grows() {
    let dir = Dir::new();
    let Life { mut compactor, queue, .. } = Life::begin(&dir.0, 1);
    // It prevents every snapshot.
    let obstacle = dir.0.join("snapshot.new");
    fs::create_dir(&obstacle).unwrap();
    let mut fail = || {
        queue.push(QueuedChange::example("t", false));
        compactor.compact();
        assert!(!compactor.journal.is_working());
        queue.push(QueuedChange::example("t", false));
        compactor.journal.write_waiting();
    };
    fail();
    let left = dir.names();
    assert_eq!(left, ["journal.0", "journal.1", "lock", "snapshot.new"]);
    (0..3).for_each(|_| fail());
    assert_eq!(dir.names(), left);
    fs::remove_dir(obstacle).unwrap();
    // A kill while a later attempt is under way: what the disk has refused was never there.
    let before = dir.files();
    compactor.journal.begin(&compactor.files, |_| true).unwrap();
    let begun = dir.files();
    dir.restore(&before);
    let other = Dir::new();
    fs::create_dir(&other.0).unwrap();
    other.restore(&begun);
    assert_eq!(open(&other.0).unwrap().lost, 0);
    compactor.compact();
    assert!(compactor.journal.is_working());
    assert_eq!(dir.names(), ["journal.8", "lock", "snapshot"]);

    // At the end no snapshot is begun.
    queue.push(QueuedChange::example("t", false));
    queue.close();
    compactor.journal.write_waiting();
    compactor.compact();
    assert_eq!(dir.names(), ["journal.8", "lock", "snapshot"]);
    drop(compactor);
    let opened = open(&dir.0).unwrap();
    assert_eq!((opened.lost, opened.next), (0, 9));
}

#[test]
fn what_waits_stands_before_what_a_new_snapshot_has() {
    let dir = Dir::new();
    let Life { mut compactor, queue, .. } = Life::begin(&dir.0, 0);
    queue.push(QueuedChange::example("t", false));
    compactor.compact();
    drop(compactor);
    let opened = open(&dir.0).unwrap();
    // The store, of which the snapshot is, has no such task.
    assert!(opened.tasks.is_empty());
    assert_eq!((opened.next, opened.lost), (1, 0));
}

/// Names that are not ours are in the way of nothing.
#[test]
fn odd_names_harm_nothing() {
    let dir = Dir::new();
    fs::create_dir_all(dir.0.join("journal.0/inner")).unwrap();
    fs::create_dir(dir.0.join("journal.2")).unwrap();
    for name in ["journal.18446744073709551615", "journal.007", "journal.+1", "journal.99"] {
        fs::write(dir.0.join(name), "").unwrap();
    }
    std::os::unix::fs::symlink("/dev/zero", dir.0.join("journal.3")).unwrap();
    let odd = dir.names();
    for life in 0..4 {
        let mut exporter = Life::begin(&dir.0, 4);
        assert_eq!((exporter.lost(), exporter.shown()), (0.0, f64::from(life)));
        exporter.poll(0, State::Running);
        exporter.poll(exporter.slots.len() - 1, State::Running);
        exporter.poll(exporter.slots.len() - 1, State::Succeeded);
        exporter.write();
        assert_eq!(exporter.shown(), f64::from(life + 1));
        if life % 2 == 1 {
            exporter.compactor.compact();
            assert!(exporter.compactor.journal.is_working());
        }
    }
    let mut left = dir.names();
    assert!(left.len() <= odd.len() + 3, "{left:?}");
    left.retain(|name| odd.contains(name));
    assert_eq!(left, odd, "nothing of it is removed");
}

/// A step of a run, or its end.
#[derive(Clone, Copy, Debug)]
enum StorageStep {
    /// A poll sees a task's end.
    Finish(usize),
    /// Writes the changes that wait, without a sync.
    Write,
    /// The disk has what is written.
    Sync,
    /// A new snapshot is written.
    Compact,
    /// The disk refuses.
    Fail,
    /// The process is killed.
    Kill,
    /// The machine loses power: what the disk did not have is gone.
    PowerCut,
    /// A kill while a new snapshot is written: before or after it is renamed.
    KillBeforeRename,
    KillBeforeRemoval,
}

fn step() -> impl Strategy<Value = StorageStep> {
    prop_oneof![
        8 => any::<usize>().prop_map(StorageStep::Finish),
        4 => Just(StorageStep::Write),
        4 => Just(StorageStep::Sync),
        2 => Just(StorageStep::Compact),
        1 => Just(StorageStep::Fail),
        2 => Just(StorageStep::Kill),
        1 => Just(StorageStep::PowerCut),
        1 => Just(StorageStep::KillBeforeRename),
        1 => Just(StorageStep::KillBeforeRemoval),
    ]
}

const TASKS: usize = 12;

/// Returns the files that a kill during a compaction leaves, made of those before and after it.
fn half_renewed(
    before: &BTreeMap<String, Vec<u8>>,
    behind: &BTreeMap<String, Vec<u8>>,
    is_renamed: bool,
) -> BTreeMap<String, Vec<u8>> {
    let mut files = before.clone();
    for (name, content) in behind {
        match (&**name, is_renamed, before.contains_key(name)) {
            ("snapshot", true, _) => drop(files.insert(name.clone(), content.clone())),
            ("snapshot", false, _) | (_, _, true) => {}
            // A new journal, which does not say yet that the disk has the snapshot.
            (_, _, false) => {
                let mut journal = content.clone();
                let follows = frame::read(content).payloads[0].len();
                journal.truncate(frame::HEADER + 12 + follows);
                files.insert(name.clone(), journal);
            }
        }
    }
    files
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    /// Over all runs, and however each ends, the shown totals never decrease, and each finish is
    /// in it once.
    #[test]
    fn every_finish_is_shown_once(steps in prop::collection::vec(step(), 1..60)) {
        let dir = Dir::new();
        let mut life = Life::begin(&dir.0, TASKS);
        (0..TASKS).for_each(|task| life.poll(task, State::Running));
        life.write();
        life.compactor.compact();
        let mut durable = dir.files();
        let mut seen = 0.0;
        for step in steps {
            match step {
                StorageStep::Finish(task) => life.poll(task, State::Succeeded),
                StorageStep::Write => life.compactor.journal.write_waiting(),
                StorageStep::Sync => life.compactor.sync(),
                StorageStep::Compact | StorageStep::KillBeforeRename | StorageStep::KillBeforeRemoval => {
                    let shown = life.shown();
                    // With this it begins anyway.
                    life.write();
                    let before = dir.files();
                    life.compactor.compact();
                    let works = life.compactor.journal.is_working();
                    if !matches!(step, StorageStep::Compact) {
                        drop(life);
                        let is_renamed = matches!(step, StorageStep::KillBeforeRemoval);
                        dir.restore(&half_renewed(&before, &dir.files(), is_renamed));
                        // The disk had all of it before the snapshot got its name.
                        durable = if works { dir.files() } else { durable };
                        life = Life::begin(&dir.0, TASKS);
                        // The renewal begins with a sync, and no reader came since.
                        prop_assert!(life.shown() >= shown);
                    }
                }
                StorageStep::Fail => life.compactor.journal.fail(&StorageFull.into()),
                StorageStep::Kill => {
                    drop(life);
                    life = Life::begin(&dir.0, TASKS);
                }
                StorageStep::PowerCut => {
                    drop(life);
                    dir.restore(&durable);
                    life = Life::begin(&dir.0, TASKS);
                }
            }
            if matches!(step, StorageStep::Sync | StorageStep::Compact) && life.compactor.journal.is_working() {
                durable = dir.files();
            }
            prop_assert_eq!(life.lost(), 0.0);
            prop_assert!(life.shown() >= seen, "{} after {seen}", life.shown());
            seen = life.shown();
        }
        while !life.slots.is_empty() {
            life.poll(0, State::Succeeded);
        }
        life.write();
        life.compactor.compact();
        life.compactor.sync();
        prop_assert_eq!(life.shown(), f64::from(u32::try_from(TASKS).unwrap()));
    }
}
