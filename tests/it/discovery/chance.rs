//! Lists that change at random, held beside a model of what should be followed.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Value, json};

use super::{Endpoint, Setup, lost, timeless, unlisted};
use crate::harness::{Dir, Exporter, Gateway, until};

const TASKS: usize = 12;
const ROUNDS: usize = 25;
const SOURCES: [&str; 3] = ["http/first", "http/second", "file/third"];

/// Numbers that are the same in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

/// The label of each task in a list.
type List = BTreeMap<usize, String>;

fn elements(list: &List) -> Value {
    let element = |(number, customer): (&usize, &String)| json!({ "id": format!("t-{number:02}"), "labels": { "customer": customer } });
    list.iter().map(element).collect()
}

/// A task as it should be, and as it is: its sources and its label.
type Tasks = BTreeMap<String, (Vec<String>, String)>;

fn expected(lists: &[List; 3], last: &mut BTreeMap<usize, String>) -> Tasks {
    let mut tasks = Tasks::new();
    for number in 0..TASKS {
        let listed = || SOURCES.iter().zip(lists).filter(|(_, list)| list.contains_key(&number));
        if let Some((_, list)) = listed().next() {
            last.insert(number, list[&number].clone());
        }
        // A task that left keeps the label that it had last.
        let Some(customer) = last.get(&number) else { continue };
        let sources = listed().map(|(source, _)| (*source).to_owned()).collect();
        tasks.insert(format!("t-{number:02}"), (sources, customer.clone()));
    }
    tasks
}

fn seen(exporter: &Exporter) -> Tasks {
    let tasks = exporter.get("/api/v1/tasks").json()["tasks"].take();
    let task = |task: &Value| {
        let sources: Vec<String> = serde_json::from_value(task["sources"].clone()).unwrap();
        assert_eq!(task["listed"], !sources.is_empty(), "{task}");
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        (text(&task["task_id"]), (sources, text(&task["labels"]["customer"])))
    };
    tasks.as_array().unwrap().iter().map(task).collect()
}

#[test]
fn what_is_followed_is_what_was_ever_listed_and_is_open() {
    let (gateway, storage, mut dice) = (Gateway::start(), Dir::new(), Dice(7));
    for number in 0..TASKS {
        gateway.put(&format!("t-{number:02}"), &json!({ "steps": [{ "status": "running" }] }));
    }
    let endpoints = [Endpoint::listing(&[]), Endpoint::listing(&[])];
    let lists_dir = Dir::new();
    let file = lists_dir.write("third.json", "[]");
    let setup = Setup::new("poll_interval: 200ms")
        .provider(timeless(&gateway, "flux"))
        .endpoint("first", &endpoints[0], "")
        .endpoint("second", &endpoints[1], "")
        .file("third", file.to_str().unwrap(), "refresh_interval: 200ms");
    let mut exporter = setup.start_with(&storage);
    let (mut lists, mut labels) = ([(); 3].map(|()| List::new()), BTreeMap::new());
    let mut ever = BTreeSet::new();
    for round in 0..ROUNDS {
        let source = usize::try_from(dice.roll(3)).unwrap();
        match dice.roll(6) {
            // A failure changes nothing.
            0 if source < 2 => endpoints[source].fail("500 Oops"),
            0 => drop(lists_dir.write("third.json", "[\"t-00\"")),
            1 => {
                exporter.process.signal(if dice.roll(2) == 0 { "KILL" } else { "TERM" });
                exporter.process.wait();
                exporter = setup.start_with(&storage);
            }
            kind => {
                let mut list = List::new();
                for number in 0..TASKS {
                    // Some lists are nearly empty, and some nearly full.
                    if dice.roll(4) + 1 < kind {
                        list.insert(number, format!("{source}-{}", dice.roll(2)));
                    }
                }
                match source {
                    2 => drop(lists_dir.write("third.json", &elements(&list).to_string())),
                    _ => endpoints[source].list(&elements(&list)),
                }
                lists[source] = list;
            }
        }
        endpoints.iter().for_each(Endpoint::await_refresh);
        let expected = expected(&lists, &mut labels);
        until(&format!("round {round}: {expected:?}"), || seen(&exporter) == expected);
        ever.extend(expected.into_keys());
    }
    let samples = exporter.scrape();
    let open = samples.value("aitask_tasks", &[("state", "running")]);
    assert_eq!(open, Some(ever.len() as f64));
    let away = seen(&exporter).values().filter(|(sources, _)| sources.is_empty()).count();
    assert_eq!((unlisted(&samples, "flux"), lost(&samples, "flux")), (away as f64, 0.0));
    assert!(ever.len() > TASKS / 2);
}
