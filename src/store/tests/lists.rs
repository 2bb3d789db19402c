//! Tests of the life of tasks that sources list.

use std::cell::RefCell;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, advance};

use crate::clock::{Clock, Timestamp};
use crate::config::{Config, load_text};
use crate::observation::{Failure, Observation, Reason, State};
use crate::record::tests::at;
use crate::store::sources::SourceSettings;
use crate::store::{
    FirstPoll, ListingChange, PollTarget, RecoveredTask, RecoveredTasks, Slot, Store, StoreConfig,
    StoreList, TaskChanges, TaskList,
};
use crate::task::{Task, TaskCommon};

pub const SECOND: Duration = Duration::from_secs(1);
pub const KEEP: Duration = Duration::from_secs(3_600);

/// A store with one provider and two sources, `http/a` before `http/b`, on paused time.
pub struct Stage {
    pub store: Store,
    config: Config,
    sources: Vec<SourceSettings>,
    pub max_tasks: usize,
    saved: RefCell<Vec<String>>,
}

impl Stage {
    pub fn new() -> Self {
        Self::with("tasks: []\n")
    }

    fn with(tasks: &str) -> Self {
        let text = format!("providers: [{{ name: p, preset: mjdjourney }}]\n{tasks}");
        let config = load_text("c.yml", &text, Path::new("")).unwrap().config;
        let sources = ["http/a", "http/b"].map(|key| SourceSettings {
            key: key.into(),
            keep_unlisted: KEEP,
            refresh_interval: 10 * SECOND,
        });
        Self {
            store: Store::new(Clock::Paused(Instant::now(), at(0))),
            config,
            sources: sources.to_vec(),
            max_tasks: 1_000_000,
            saved: RefCell::default(),
        }
    }

    pub fn configure(&self, ids: &[&str]) -> TaskChanges {
        let mut config = StoreConfig::of(&self.config);
        (config.sources, config.max_tasks) = (self.sources.clone(), self.max_tasks);
        let tasks = ids.iter().map(|id| task(id, "config")).collect();
        self.store.apply_config(&config, tasks, &|change| self.save(change)).remove(0)
    }

    pub fn list(&self, source: &str, ids: &[&str]) -> TaskChanges {
        let tasks = ids.iter().map(|id| task(id, source)).collect();
        self.apply(source, StoreList { tasks, times: Vec::new(), is_whole: true, is_window: false })
    }

    fn apply(&self, source: &str, list: StoreList) -> TaskChanges {
        self.store.apply_list(source, list, &|change| self.save(change)).remove(0)
    }

    pub fn save(&self, change: ListingChange<'_>) {
        self.saved.borrow_mut().push(match change {
            ListingChange::Saved(tracked) => format!("+{}", tracked.task.id),
            ListingChange::Removed(task) => format!("-{}", task.id),
        });
    }

    pub fn saved(&self) -> Vec<String> {
        std::mem::take(&mut *self.saved.borrow_mut())
    }

    /// Polls a task; returns true if its end was counted.
    pub fn poll(&self, slot: Slot, observation: &Observation) -> bool {
        let tasks = self.store.providers().remove(0);
        let change = tasks.record_poll(slot, &Ok(observation.clone()), |_, _| {});
        change.unwrap().finished.is_some()
    }

    pub fn sweep(&self) -> (usize, u64) {
        let swept = self.store.sweep(&|change| self.save(change));
        let removed = swept.iter().map(|changes| changes.removed.len()).sum();
        (removed, swept.iter().map(|changes| changes.lost).sum())
    }

    /// Returns the IDs of the tasks that are followed, with the source that gives them their labels.
    pub fn followed(&self) -> Vec<(String, String)> {
        let (_, lists) = self.store.tasks(None);
        let tasks = lists.iter().flat_map(TaskList::tasks);
        let labels = |task: &Task| task.common.labels[0].1.to_string();
        let mut all: Vec<_> =
            tasks.map(|tracked| (tracked.task.id.to_string(), labels(&tracked.task))).collect();
        all.sort();
        all
    }

    pub fn unlisted(&self) -> u64 {
        self.store.snapshot().providers[0].unlisted
    }
}

pub fn task(id: &str, source: &str) -> Task {
    let labels = [("from".into(), source.into())].into();
    let common = TaskCommon { provider: "p".into(), labels, params: [].into() };
    Task { id: id.into(), common: Arc::new(common) }
}

pub fn seen(state: State) -> Observation {
    Observation::new(state, state.as_str())
}

pub fn delays(targets: &[PollTarget]) -> Vec<Option<Duration>> {
    let delay = |target: &PollTarget| match target.first_poll {
        FirstPoll::AtPlace => None,
        FirstPoll::After(delay) => Some(delay),
    };
    targets.iter().map(delay).collect()
}

#[tokio::test(start_paused = true)]
async fn several_sources_list_one_task() {
    let stage = Stage::new();
    stage.configure(&["t"]);
    stage.list("http/b", &["t", "u"]);
    stage.list("http/a", &["t", "u"]);
    let of = |id: &str, source: &str| (id.to_owned(), source.to_owned());
    assert_eq!(stage.followed(), [of("t", "config"), of("u", "http/a")]);
    let changes = stage.configure(&[]);
    assert!(changes.removed.is_empty() && changes.changed.len() == 1);
    assert_eq!(stage.followed(), [of("t", "http/a"), of("u", "http/a")]);
    stage.list("http/a", &[]);
    assert_eq!(stage.followed(), [of("t", "http/b"), of("u", "http/b")]);
    assert_eq!(stage.unlisted(), 0);
    stage.list("http/b", &[]);
    assert_eq!((stage.unlisted(), stage.followed().len()), (2, 2), "followed until their end");
}

#[tokio::test(start_paused = true)]
async fn only_what_changes_is_written() {
    let stage = Stage::new();
    stage.configure(&[]);
    stage.list("http/a", &["1", "2", "3"]);
    assert_eq!(stage.saved(), ["+1", "+2", "+3"]);
    let changes = stage.list("http/a", &["3", "1", "2"]);
    assert!(changes.is_empty() && stage.saved().is_empty());
    stage.list("http/a", &["1", "2", "4"]);
    assert_eq!(stage.saved(), ["+3", "+4"]);
    stage.configure(&["1"]);
    assert_eq!(stage.saved(), ["+1"]);
}

#[tokio::test(start_paused = true)]
async fn new_tasks_are_polled_at_once_unless_the_list_is_the_first() {
    let stage = Stage::new();
    stage.configure(&["configured"]);
    assert_eq!(delays(&stage.list("http/a", &["1"]).added), [None]);
    assert_eq!(delays(&stage.list("http/a", &["1", "2"]).added), [Some(Duration::ZERO)]);
    let many: Vec<_> = (0..1_500).map(|number| format!("m-{number}")).collect();
    let many: Vec<_> = many.iter().map(String::as_str).collect();
    let added = delays(&stage.list("http/a", &many).added);
    assert_eq!(added.iter().filter(|delay| delay.is_none()).count(), 500);
    let within = added.iter().flatten();
    assert!(within.clone().all(|delay| *delay < SECOND) && within.max() > Some(&(SECOND / 2)));
    assert_eq!(delays(&stage.configure(&["configured", "more"]).added), [Some(Duration::ZERO)]);
}

#[tokio::test(start_paused = true)]
async fn an_open_task_that_left_is_followed_to_its_end_or_counts_as_lost() {
    let stage = Stage::new();
    stage.configure(&[]);
    let slots: Vec<_> =
        stage.list("http/a", &["ends", "lost", "back"]).added.iter().map(|it| it.slot).collect();
    for slot in &slots {
        assert!(!stage.poll(*slot, &seen(State::Running)));
    }
    assert!(stage.list("http/a", &[]).removed.is_empty());
    assert_eq!((stage.unlisted(), stage.sweep()), (3, (0, 0)));
    assert!(stage.poll(slots[0], &seen(State::Succeeded)), "its end is counted");
    assert_eq!(stage.unlisted(), 2);
    assert!(stage.list("http/a", &["back"]).added.is_empty(), "it never was away");
    advance(KEEP + SECOND).await;
    // A reload puts nothing off.
    stage.configure(&[]);
    stage.saved();
    assert_eq!(stage.sweep(), (2, 1));
    let mut saved = stage.saved();
    saved.sort();
    assert_eq!((saved, stage.followed().len()), (vec!["-ends".to_owned(), "-lost".into()], 1));
}

#[tokio::test(start_paused = true)]
async fn without_time_to_keep_it_an_open_task_is_lost_at_once() {
    let mut stage = Stage::new();
    stage.sources[0].keep_unlisted = Duration::ZERO;
    stage.configure(&[]);
    stage.list("http/a", &["t", "both"]);
    stage.list("http/b", &["both"]);
    stage.list("http/b", &[]);
    let changes = stage.list("http/a", &[]);
    assert_eq!((changes.removed.len(), changes.lost), (1, 1));
    assert_eq!(stage.unlisted(), 1, "of several sources the longest time counts");
}

#[tokio::test(start_paused = true)]
async fn an_id_that_was_never_known_leaves_at_once_and_is_not_lost() {
    let stage = Stage::new();
    stage.configure(&[]);
    let slots: Vec<_> =
        stage.list("http/a", &["before", "after"]).added.iter().map(|it| it.slot).collect();
    let tasks = stage.store.providers().remove(0);
    let unknown = || Err(Failure::new(Reason::NotFound, ""));
    tasks.record_poll(slots[0], &unknown(), |_, _| {});
    let changes = stage.list("http/a", &[]);
    assert_eq!((changes.removed.as_slice(), changes.lost), (&slots[..1], 0));
    assert_eq!(stage.sweep(), (0, 0));
    tasks.record_poll(slots[1], &unknown(), |_, _| {});
    assert_eq!(stage.sweep(), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_final_task_that_comes_back_is_the_same() {
    let stage = Stage::new();
    stage.configure(&["c"]);
    let slot = stage.list("http/a", &["t"]).added[0].slot;
    stage.poll(slot, &seen(State::Running));
    assert!(stage.poll(slot, &seen(State::Succeeded)));
    stage.list("http/a", &[]);
    advance(KEEP.saturating_sub(SECOND)).await;
    stage.store.snapshot();
    assert_eq!(stage.sweep(), (0, 0));
    assert!(stage.list("http/a", &["t"]).added.is_empty(), "it is final already");
    stage.list("http/a", &[]);
    // The series end after `retain_finished`; the record goes after both times.
    advance(SECOND * 2).await;
    assert_eq!(stage.store.snapshot().tasks[0].tasks().count(), 1, "the configured one");
    assert_eq!(stage.sweep(), (0, 0));
    advance(KEEP).await;
    stage.saved();
    assert_eq!(stage.sweep(), (1, 0));
    assert_eq!(stage.saved(), ["-t"]);
}

#[tokio::test(start_paused = true)]
async fn a_configured_task_leaves_at_once_and_comes_back_with_its_age() {
    let stage = Stage::new();
    let slot = stage.configure(&["t"]).added[0].slot;
    stage.poll(slot, &seen(State::Running));
    let changes = stage.configure(&[]);
    assert_eq!((changes.removed, changes.lost, stage.followed().len()), (vec![slot], 0, 0));
    let tasks = stage.store.providers().remove(0);
    assert_eq!(tasks.record_poll(slot, &Ok(seen(State::Succeeded)), |_, _| {}), None);
    advance(60 * SECOND).await;
    assert_eq!(stage.configure(&["t"]).added[0].slot, slot);
    let tracked = tasks.find_tracked("t").unwrap();
    assert_eq!((tracked.state(), tracked.enqueued()), (State::Running, at(0)));
    let counts = stage.store.snapshot().providers[0].tasks;
    assert_eq!(counts.iter().sum::<u64>(), 1);
}

/// A final state at the first poll, and with which times.
fn ended(enqueued: Option<u64>, finished: Option<u64>) -> Observation {
    Observation {
        enqueue_time: enqueued.map(at),
        finish_time: finished.map(at),
        ..seen(State::Succeeded)
    }
}

#[tokio::test(start_paused = true)]
async fn an_end_at_the_first_poll_counts_if_the_task_is_known_to_be_new() {
    let stage = Stage::new();
    stage.configure(&[]);
    let first = stage.list("http/a", &["first"]).added[0].slot;
    assert!(!stage.poll(first, &ended(None, None)), "a first list");
    advance(100 * SECOND).await;
    stage.list("http/a", &["first"]);
    advance(5 * SECOND).await;
    let ids = ["new", "timed", "old", "over", "edge"];
    let slots: Vec<_> = stage.list("http/a", &ids).added.iter().map(|it| it.slot).collect();
    assert!(stage.poll(slots[0], &ended(None, None)));
    assert!(stage.poll(slots[1], &ended(Some(101), Some(104))));
    assert!(!stage.poll(slots[2], &ended(Some(89), Some(104))), "before the list before");
    assert!(!stage.poll(slots[3], &ended(None, Some(89))));
    assert!(stage.poll(slots[4], &ended(Some(90), None)), "one interval earlier");
}

#[tokio::test(start_paused = true)]
async fn a_first_list_that_was_empty_is_no_burst() {
    let stage = Stage::new();
    stage.configure(&[]);
    stage.list("http/a", &[]);
    advance(10 * SECOND).await;
    let slots: Vec<_> =
        stage.list("http/a", &["untimed", "timed"]).added.iter().map(|it| it.slot).collect();
    assert!(!stage.poll(slots[0], &ended(None, None)), "it may have ended long ago");
    assert!(stage.poll(slots[1], &ended(Some(3), None)));
    let slot = stage.list("http/a", &["later"]).added[0].slot;
    assert!(stage.poll(slot, &ended(None, None)), "a list before named others");
}

#[tokio::test(start_paused = true)]
async fn the_time_of_the_source_stands_in_for_that_of_the_api() {
    let stage = Stage::new();
    stage.configure(&[]);
    let list = |seconds| {
        let tasks = vec![task("t", "http/a")];
        StoreList { tasks, times: vec![Some(at(seconds))], is_whole: true, is_window: false }
    };
    let slot = stage.apply("http/a", list(7)).added[0].slot;
    let enqueued = || {
        let tracked = stage.store.providers()[0].find_tracked("t").unwrap();
        (tracked.enqueued(), tracked.enqueued_since())
    };
    assert_eq!(enqueued(), (at(7), "source"));
    stage.saved();
    stage.apply("http/a", list(7));
    assert_eq!(stage.saved().len(), 0);
    stage.apply("http/a", list(8));
    assert_eq!((stage.saved().len(), enqueued()), (1, (at(8), "source")));
    stage.poll(slot, &Observation { enqueue_time: Some(at(3)), ..seen(State::Running) });
    stage.apply("http/a", list(9));
    assert_eq!(enqueued(), (at(3), "api"));
}

#[tokio::test(start_paused = true)]
async fn what_is_followed_comes_before_what_is_new() {
    let mut stage = Stage::new();
    stage.max_tasks = 3;
    stage.configure(&["c"]);
    let changes = stage.list("http/a", &["1", "2", "3", "4"]);
    assert_eq!((changes.added.len(), changes.over_limit), (2, 2));
    let changes = stage.list("http/a", &["4", "3", "2", "1"]);
    assert_eq!((changes.added.len(), changes.over_limit), (0, 2));
    // One that ends and leaves makes room; one that is open does not.
    let changes = stage.configure(&[]);
    assert_eq!(changes.removed.len(), 1);
    let changes = stage.list("http/a", &["4", "3", "2", "1"]);
    assert_eq!((changes.added.len(), changes.over_limit), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn a_restart_goes_on_with_what_was_followed() {
    let before = Stage::new();
    before.configure(&["c", "gone"]);
    let mut slots = before.list("http/a", &["t", "left", "both"]).added;
    slots.extend(before.list("http/b", &["both", "other"]).added);
    for target in &slots {
        before.poll(target.slot, &seen(State::Running));
    }
    before.list("http/a", &["t", "both"]);
    let mut recovered = RecoveredTasks::new();
    for block in before.store.all_records() {
        for tracked in block.tasks() {
            let listing = Some(before.store.stored_listing(tracked));
            let listing = listing.filter(|listing| !listing.is_plain());
            let task = RecoveredTask { record: tracked.record.clone(), listing };
            let id = Arc::from(&*tracked.task.id);
            recovered.entry("p".into()).or_default().insert(id, task);
        }
    }
    let mut after = Stage::new();
    after.sources.remove(1);
    after.store.set_recovered(recovered);
    let changes = after.configure(&["c"]);
    assert_eq!(changes.lost, 0);
    assert_eq!(after.sweep(), (0, 0));
    assert_eq!(changes.added.len(), 5, "polled before any source has answered");
    let ids: Vec<_> = after.followed().into_iter().map(|(id, _)| id).collect();
    assert_eq!(
        (ids, after.unlisted()),
        (vec!["both".into(), "c".into(), "left".into(), "other".into(), "t".to_owned()], 2)
    );
    // The first list of this life takes up where the last one ended.
    let changes = after.list("http/a", &["t", "both"]);
    assert!(changes.is_empty());
    after.list("http/a", &["t"]);
    assert_eq!(after.unlisted(), 3, "the other source has left the configuration");
    advance(KEEP + 61 * SECOND).await;
    assert_eq!(after.sweep().1, 1, "left");
    // The configuration's `keep_unlisted` is that of sources that it does not have.
    advance(24 * KEEP).await;
    assert_eq!(after.sweep().1, 2, "other, both");
}

#[tokio::test(start_paused = true)]
async fn dormant_records_have_a_limit() {
    let mut stage = Stage::new();
    stage.max_tasks = 10;
    stage.configure(&[]);
    for round in 0..10 {
        let ids: Vec<_> = (0..10).map(|number| format!("{round}-{number}")).collect();
        stage.configure(&ids.iter().map(String::as_str).collect::<Vec<_>>());
        advance(SECOND).await;
        stage.sweep();
    }
    assert_eq!(
        stage.store.all_records().iter().map(|block| block.tasks().len()).sum::<usize>(),
        20
    );
    let _: Timestamp = at(0);
}
