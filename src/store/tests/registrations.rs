//! Tests of the life of tasks that applications register.

use std::time::Duration;

use tokio::time::{Instant, advance};

use super::lists::{KEEP, SECOND, Stage, delays, seen, task};
use crate::clock::Clock;
use crate::observation::State;
use crate::record::tests::at;
use crate::store::registrations::{
    Registration, RegistrationChange, RegistrationOutcome, RegistrationOutcome::*,
};
use crate::store::{RecoveredTask, RecoveredTasks, Store, TaskChanges, TaskList};

const HOUR: Duration = Duration::from_secs(3_600);

fn register(id: &str, ttl: Duration) -> RegistrationChange {
    let task = task(id, "app");
    RegistrationChange::Register(Registration { task, enqueue_time: None, ttl })
}

fn delete(id: &str) -> RegistrationChange {
    RegistrationChange::Delete { provider: "p".into(), id: id.into() }
}

/// Applies requests. Returns their outcomes, and the changes of the only provider.
fn apply(
    stage: &Stage,
    limit: usize,
    requests: Vec<RegistrationChange>,
) -> (Vec<RegistrationOutcome>, Option<TaskChanges>) {
    let (outcomes, mut changes) =
        stage.store.apply_registrations(requests, limit, &|change| stage.save(change));
    (outcomes, changes.pop())
}

fn of(id: &str, source: &str) -> (String, String) {
    (id.to_owned(), source.to_owned())
}

#[tokio::test(start_paused = true)]
async fn a_registration_ends_after_its_time_unless_it_is_renewed() {
    let stage = Stage::new();
    stage.configure(&[]);
    stage.list("http/a", &["listed"]);
    let requests = ["ends", "renewed", "listed"].map(|id| register(id, HOUR));
    let (outcomes, changes) = apply(&stage, 9, requests.to_vec());
    assert_eq!(outcomes, [Created; 3]);
    let changes = changes.unwrap();
    assert_eq!(delays(&changes.added), [Some(Duration::ZERO); 2]);
    assert_eq!(changes.changed.len(), 1, "one has other labels now");
    for target in &changes.added {
        stage.poll(target.slot, &seen(State::Running));
    }
    advance(HOUR / 2).await;
    assert_eq!(apply(&stage, 9, vec![register("renewed", HOUR)]).0, [Renewed]);
    stage.saved();
    advance(HOUR / 2).await;
    let swept = stage.store.sweep(&|change| stage.save(change));
    assert_eq!((swept[0].changed.len(), swept[0].removed.len()), (1, 0), "the labels of the list");
    let mut saved = stage.saved();
    saved.sort();
    assert_eq!((saved, stage.unlisted()), (vec!["+ends".to_owned(), "+listed".into()], 1));
    let expected = [of("ends", "app"), of("listed", "http/a"), of("renewed", "app")];
    assert_eq!((stage.followed(), stage.store.registered_count()), (expected.to_vec(), 1));
    // From now on it is followed as long as what has left a list: a day, as `global` has it.
    advance(HOUR / 2).await;
    assert_eq!((stage.sweep(), stage.unlisted()), ((0, 0), 2));
    advance(24 * HOUR).await;
    assert_eq!((stage.sweep(), stage.followed().len()), ((2, 2), 1));
}

#[tokio::test(start_paused = true)]
async fn an_end_frees_a_place_of_the_limit() {
    let stage = Stage::new();
    stage.configure(&[]);
    let (outcomes, changes) =
        apply(&stage, 2, ["1", "2", "3"].map(|id| register(id, HOUR)).to_vec());
    assert_eq!(outcomes, [Created, Created, OverLimit]);
    let slot = changes.unwrap().added[0].slot;
    assert_eq!(
        apply(&stage, 1, vec![register("2", HOUR), register("3", HOUR)]).0,
        [Renewed, OverLimit]
    );
    assert!(stage.poll(slot, &seen(State::Succeeded)), "it was registered, so that its end counts");
    assert_eq!(stage.store.registered_count(), 1);
    // A final task takes no place, renewed or not.
    let listed = stage.list("http/a", &["final"]).added[0].slot;
    stage.poll(listed, &seen(State::Failed));
    let requests = ["1", "3", "4", "final"].map(|id| register(id, HOUR)).to_vec();
    assert_eq!(apply(&stage, 2, requests).0, [Renewed, Created, OverLimit, Created]);
    // A request after a deletion in the same group has its place.
    let requests = vec![delete("3"), register("4", HOUR), delete("4"), delete("4")];
    assert_eq!(apply(&stage, 2, requests).0, [Deleted, Created, Deleted, Absent]);
    assert_eq!(stage.store.registered_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_comes_and_goes_in_one_group_reaches_no_worker() {
    let stage = Stage::new();
    stage.configure(&[]);
    let requests = vec![register("a", HOUR), delete("a"), register("a", HOUR), register("b", HOUR)];
    let (_, changes) = apply(&stage, 9, [requests, vec![delete("b")]].concat());
    let changes = changes.unwrap();
    let tasks = stage.store.tasks(None).1;
    assert_eq!(tasks.iter().flat_map(TaskList::tasks).count(), 1);
    let added: Vec<_> = changes.added.iter().map(|target| target.slot).collect();
    assert_eq!((added.len(), added[0].generation), (1, 1), "{changes:?}");
    assert!(!changes.removed.contains(&added[0]));
    assert_eq!(stage.saved(), ["+a", "-a", "+a", "+b", "-b"]);
}

#[tokio::test(start_paused = true)]
async fn max_tasks_counts_what_is_registered() {
    let mut stage = Stage::new();
    stage.max_tasks = 2;
    stage.configure(&["configured"]);
    let requests = ["1", "2"].map(|id| register(id, HOUR)).to_vec();
    let (outcomes, changes) = apply(&stage, 9, requests);
    assert_eq!((outcomes, changes.unwrap().over_limit), (vec![Created, OverMaxTasks], 0));
    let unknown = RegistrationChange::Delete { provider: "q".into(), id: "1".into() };
    let requests = vec![unknown, delete("1"), register("2", HOUR)];
    assert_eq!(apply(&stage, 9, requests).0, [UnknownProvider, Deleted, Created]);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_in_a_second_are_polled_at_once() {
    let stage = Stage::new();
    stage.configure(&[]);
    let at_once = |group: u32| {
        let requests = (0..600).map(|number| register(&format!("{group}-{number}"), HOUR));
        let added = apply(&stage, 9_999, requests.collect()).1.unwrap().added;
        delays(&added).into_iter().flatten().count()
    };
    assert_eq!([at_once(0), at_once(1), at_once(2)], [600, 400, 0]);
    advance(SECOND).await;
    assert_eq!(at_once(3), 600);
}

/// A deletion leaves neither a task nor a record, and a list that names the task keeps it.
#[tokio::test(start_paused = true)]
async fn deletions_leave_nothing_behind() {
    let stage = Stage::new();
    stage.configure(&["configured"]);
    for number in 0..1_000 {
        let id = number.to_string();
        assert_eq!(
            apply(&stage, 1, vec![register(&id, HOUR), register(&id, 2 * HOUR)]).0,
            [Created, Renewed]
        );
        assert_eq!(apply(&stage, 1, vec![delete(&id)]).0, [Deleted]);
    }
    assert_eq!(apply(&stage, 1, vec![delete("configured")]).0, [Absent]);
    assert_eq!(apply(&stage, 1, vec![register("configured", HOUR)]).0, [Created]);
    assert_eq!(apply(&stage, 1, vec![delete("configured")]).0, [Deleted]);
    assert_eq!(stage.followed(), [of("configured", "config")]);
    let tasks = stage.store.providers().remove(0);
    let left = tasks.change_registrations(|table| {
        (table.registrations.rows().count(), table.expiry.rows().count(), table.registered)
    });
    assert_eq!((left, stage.store.all_records().len()), ((0, 0, 0), 1));
    // One that has left its list is followed no longer either.
    stage.list("http/a", &["left"]);
    stage.list("http/a", &[]);
    assert_eq!(apply(&stage, 1, vec![delete("left")]).0, [Deleted]);
    assert_eq!((stage.followed().len(), stage.unlisted()), (1, 0));
    advance(2 * KEEP).await;
    assert_eq!(stage.sweep(), (0, 0), "nothing is lost");
}

/// Returns what a restart finds.
fn recovered(store: &Store) -> RecoveredTasks {
    let lists = store.tasks(None).1;
    let tasks = lists.iter().flat_map(TaskList::tasks);
    let tasks = tasks.map(|tracked| {
        let listing = Some(store.stored_listing(tracked));
        ((&*tracked.task.id).into(), RecoveredTask { record: tracked.record.clone(), listing })
    });
    [("p".into(), tasks.collect())].into()
}

#[tokio::test(start_paused = true)]
async fn the_time_of_a_registration_goes_on_over_a_restart() {
    let before = Stage::new();
    before.configure(&[]);
    let times = [("short", SECOND), ("long", HOUR), ("odd", 9_999 * HOUR)];
    let requests = times.map(|(id, ttl)| register(id, ttl)).to_vec();
    apply(&before, 9, requests);
    let mut stage = Stage::new();
    // Half an hour later.
    stage.store = Store::new(Clock::Paused(Instant::now(), at(1_800)));
    stage.store.set_recovered(recovered(&before.store));
    assert_eq!(stage.configure(&[]).added.len(), 3);
    assert_eq!(stage.store.registered_count(), 3);
    let registered_after = async |time: Duration| {
        advance(time).await;
        stage.sweep();
        stage.store.registered_count()
    };
    assert_eq!(registered_after(59 * SECOND).await, 3, "it is polled before");
    assert_eq!(registered_after(SECOND).await, 2);
    assert_eq!(registered_after(1_739 * SECOND).await, 2);
    assert_eq!(registered_after(SECOND).await, 1);
    // The clock of the earlier life may have been wrong: `max_ttl` is 30 days.
    assert_eq!(registered_after(30 * 24 * HOUR).await, 0);
    assert_eq!(apply(&stage, 9, vec![register("odd", HOUR)]).0, [Created]);
}
