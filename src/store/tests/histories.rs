//! Tests of the histories of tasks: who has one, and when it ends.

use std::path::Path;

use tokio::time::{Duration, Instant, advance};

use super::*;
use crate::config::Config;
use crate::history::task_history::PollSummary;
use crate::task::TaskCommon;

/// A store with two providers, whose tasks are those of the configuration, on paused time.
struct Stage {
    store: Store,
    config: Config,
}

impl Stage {
    fn with_room_for(histories: usize) -> Self {
        let text = "providers: [{ name: p, preset: mjdjourney }, { name: q, preset: mjdjourney }]\n\
                    tasks: []\n";
        let config = load_text("c.yml", text, Path::new("")).unwrap().config;
        let mut store = Store::new(Clock::Paused(Instant::now(), at(0)));
        store.histories = HistoryBudget::new(histories);
        Self { store, config }
    }

    fn configure(&self, tasks: &[(&str, &str)]) {
        let task = |(provider, id): &(&str, &str)| {
            let (labels, params) = ([].into(), [].into());
            let common = TaskCommon { provider: (*provider).into(), labels, params };
            Task { id: (*id).into(), common: Arc::new(common) }
        };
        let config = StoreConfig::of(&self.config);
        self.store.apply_config(&config, tasks.iter().map(task).collect(), &|_| {});
    }

    fn list(&self, ids: &[&str]) {
        let task = |id: &&str| Task { id: (*id).into(), ..task("") };
        let tasks = ids.iter().map(task).collect();
        let list = StoreList { tasks, times: Vec::new(), is_whole: true, is_window: false };
        self.store.apply_list("http/a", list, &|_| {});
    }

    fn poll(&self, provider: &str, id: &str, outcome: &PollOutcome) {
        let providers = self.store.providers();
        let tasks = providers.iter().find(|known| *known.name == *provider).unwrap();
        let open = Arc::clone(tasks).open_tasks_as_added().added.into_iter();
        let is_it = |slot: &Slot| tasks.task(*slot).is_some_and(|task| *task.id == *id);
        let slot = open.map(|target| target.slot).find(is_it).unwrap();
        tasks.record_poll(slot, outcome, |_, _| {}).unwrap();
    }

    fn has_history(&self, provider: &str, id: &str) -> bool {
        self.store.history(provider, id).is_some()
    }
}

fn observed(state: State) -> Observation {
    Observation::new(state, state.as_str())
}

#[tokio::test(start_paused = true)]
async fn the_first_tasks_have_a_history_as_long_as_they_are_known() {
    let stage = Stage::with_room_for(2);
    stage.configure(&[("p", "a"), ("p", "b"), ("q", "c"), ("q", "d")]);
    assert!(!stage.has_history("p", "a"), "no poll yet");
    // Nothing more will happen to it.
    stage.poll("p", "b", &Ok(observed(State::Succeeded)));
    for (provider, id) in [("p", "a"), ("q", "c"), ("q", "d")] {
        stage.poll(provider, id, &Ok(observed(State::Running)));
    }
    let has =
        || [("p", "a"), ("p", "b"), ("q", "c"), ("q", "d")].map(|(p, id)| stage.has_history(p, id));
    assert_eq!(has(), [true, false, true, false]);
    // An ended task keeps its own.
    stage.poll("p", "a", &Ok(observed(State::Failed)));
    assert_eq!(has(), [true, false, true, false]);
    // One that leaves makes room, and comes back without.
    stage.configure(&[("p", "b"), ("q", "c"), ("q", "d")]);
    stage.poll("q", "d", &Ok(observed(State::Running)));
    assert_eq!(has(), [false, false, true, true]);
    stage.configure(&[("p", "a"), ("q", "c"), ("q", "d")]);
    assert_eq!(has(), [false, false, true, true]);
    // So does a provider.
    let mut only_p = StoreConfig::of(&stage.config);
    only_p.providers = &stage.config.providers[..1];
    stage.store.apply_config(&only_p, Vec::new(), &|_| {});
    stage.configure(&[("p", "x"), ("p", "y"), ("p", "z")]);
    for id in ["x", "y", "z"] {
        stage.poll("p", id, &Err(failure(Reason::Api)));
    }
    assert_eq!(["x", "y", "z"].map(|id| stage.has_history("p", id)), [true, true, false]);
}

#[tokio::test(start_paused = true)]
async fn a_task_does_not_inherit_the_history_of_another() {
    let stage = Stage::with_room_for(1);
    stage.configure(&[]);
    stage.list(&["first"]);
    stage.poll("p", "first", &Err(failure(Reason::NotFound)));
    assert!(stage.has_history("p", "first"));
    // The provider never knew it, so it leaves with its list, and another gets its row.
    stage.list(&[]);
    stage.list(&["second"]);
    assert!(!stage.has_history("p", "second"));
    stage.poll("p", "second", &Ok(observed(State::Running)));
    assert!(stage.has_history("p", "second"));
}

#[tokio::test(start_paused = true)]
async fn a_history_begins_with_what_was_known_and_shares_the_details_of_failures() {
    let stage = Stage::with_room_for(9);
    stage.configure(&[("p", "a")]);
    advance(Duration::from_secs(5)).await;
    let failed = Err(Failure { detail: "x".repeat(2_000).into(), ..failure(Reason::Http) });
    stage.poll("p", "a", &failed);
    advance(Duration::from_secs(5)).await;
    stage.poll("p", "a", &Ok(observed(State::Running)));
    let history = stage.store.history("p", "a").unwrap();
    let states: Vec<_> = history.states().iter().map(|span| (span.since, span.state)).collect();
    assert_eq!(states, [(at(0), State::Unpolled), (at(10), State::Running)]);
    let polls: Vec<_> = history.polls().iter().map(|run| (run.first, &run.result)).collect();
    assert_eq!(polls.len(), 2);
    assert_eq!((polls[0].0, polls[1].0), (at(5), at(10)));
    let PollSummary::Failed(Reason::Http, code, detail) = polls[0].1 else { panic!("{polls:?}") };
    assert!(**code == *"7" && detail.len() <= 512 && detail.ends_with('…'));
    assert_eq!(stage.store.started(), at(0));
}
