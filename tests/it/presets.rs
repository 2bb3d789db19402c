//! Every preset against recorded responses. `tests/data/presets/<preset>` holds the bodies;
//! `expected.yml` defines the requests and the meaning of each response.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config::{self, Config, Loaded, preset};
use aitask_exporter::discovery::http::paging::Pages;
use aitask_exporter::fetch::credentials::Credentials;
use aitask_exporter::mapping::{ProviderResponse, ReceivedBody};
use aitask_exporter::observation::PollOutcome;
use aitask_exporter::task::{Task, TaskGroup};
use http::{HeaderMap, HeaderName, HeaderValue};
use reqwest::Url;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::harness::root;

/// Base URL of self-hosted software.
const SELF_HOSTED: &str = "https://gateway.example";

/// A time after every recorded response: 2026-11-30T07:00:00Z.
const SENT: Timestamp = Timestamp::from_micros(1_796_022_000_000_000);

/// The content of a file `expected.yml`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    task: String,
    #[serde(default)]
    params: BTreeMap<String, String>,
    request: Request,
    batch: Option<Batch>,
    list: Option<List>,
    answers: Vec<Recorded>,
}

/// The expected request for several tasks, and the expected meaning of the response for each.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Batch {
    tasks: Vec<String>,
    /// Method and URL.
    call: String,
    body: Option<Value>,
    file: String,
    means: Vec<BTreeMap<String, Value>>,
}

/// The expected requests for the list of all tasks, and the expected meaning of each element of a
/// response.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    /// Method and URL of each request, of its first page.
    calls: Vec<String>,
    file: String,
    tasks: Vec<BTreeMap<String, Value>>,
}

/// The expected request for the task.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Request {
    /// Method and URL.
    call: String,
    headers: BTreeMap<String, String>,
    body: Option<Value>,
}

/// A response and its expected meaning.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Recorded {
    file: String,
    #[serde(default = "ok")]
    http_status: u16,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    means: BTreeMap<String, Value>,
}

fn ok() -> u16 {
    200
}

fn names(directory: &str, extension: &str) -> BTreeSet<String> {
    let entries = fs::read_dir(root(directory)).unwrap().map(|entry| entry.unwrap());
    let names = entries.map(|entry| entry.file_name().into_string().unwrap());
    names.map(|name| name.strip_suffix(extension).unwrap().to_owned()).collect()
}

/// A provider with its task, what is recorded of it, and its `response` as written.
struct System {
    name: String,
    directory: String,
    config: Config,
    tasks: Vec<Task>,
    expected: Expected,
    response: Value,
}

fn system(directory: String, config: impl Fn(&Expected) -> String, response: Value) -> System {
    let expected = fs::read_to_string(root(&directory).join("expected.yml")).unwrap();
    let expected: Expected = serde_yaml::from_str(&expected).unwrap();
    let good = root("tests/data/config/good");
    let loaded = config::load_text("x.yml", &config(&expected), &good);
    let Loaded { config, tasks } = loaded.unwrap_or_else(|d| panic!("{d}"));
    System {
        name: config.providers[0].name.to_string(),
        directory,
        config,
        tasks,
        expected,
        response,
    }
}

fn of_preset(preset: &str) -> System {
    let config = |expected: &Expected| {
        let mut provider = json!({
            "name": preset,
            "preset": preset,
            "authorization": { "credentials": "token" },
        });
        if expected.request.call.contains(SELF_HOSTED) {
            provider["base_url"] = SELF_HOSTED.into();
        }
        let task = json!({ "id": expected.task, "params": expected.params });
        json!({ "providers": [provider], "tasks": [task] }).to_string()
    };
    let written: Value = serde_yaml::from_str(preset::get(preset).unwrap()).unwrap();
    system(format!("tests/data/presets/{preset}"), config, written["response"].clone())
}

/// Every preset, and the example of the documentation, which has none.
fn systems() -> impl Iterator<Item = System> {
    let written: Value = serde_yaml::from_str(&render_farm()).unwrap();
    let response = written["providers"][0]["response"].clone();
    let farm = system("tests/data/render-farm".to_owned(), |_| render_farm(), response);
    preset::NAMES.iter().map(|name| of_preset(name)).chain([farm])
}

fn render_farm() -> String {
    fs::read_to_string(root("tests/data/config/good/render-farm.yml")).unwrap()
}

/// A scalar of YAML or JSON as text.
fn text(scalar: &Value) -> String {
    scalar.as_str().map_or(scalar.to_string(), str::to_owned)
}

/// Formats the meaning of a response as in `expected.yml`.
fn meaning(result: &PollOutcome, code: Option<&str>) -> BTreeMap<String, String> {
    let facts = match result {
        Ok(seen) => vec![
            (
                "odd",
                (!seen.odd.is_empty()).then(|| {
                    seen.odd
                        .iter()
                        .map(|oddity| oddity.field.as_str())
                        .collect::<Vec<_>>()
                        .join(" ")
                }),
            ),
            ("state", Some(seen.state.to_string())),
            ("status", Some(seen.status.to_string())),
            ("job_type", seen.job_type.as_ref().map(ToString::to_string)),
            ("enqueue_time", seen.enqueue_time.map(|time| time.micros().to_string())),
            ("finish_time", seen.finish_time.map(|time| time.micros().to_string())),
            ("progress", seen.progress.map(|ratio| ratio.to_string())),
            ("failure_code", seen.failure_code.as_ref().map(ToString::to_string)),
        ],
        Err(failure) => {
            assert_eq!(&*failure.code, code.unwrap_or_default(), "the API's own code");
            vec![("reason", Some(failure.reason.to_string()))]
        }
    };
    let facts = facts.into_iter().chain([("code", code.map(str::to_owned))]);
    facts.filter_map(|(key, fact)| Some((key.to_owned(), fact?))).collect()
}

fn check_answer(system: &System, recorded: &Recorded) {
    let mapping = &system.config.providers[0].mapping;
    let file = root(&system.directory).join(&recorded.file);
    let body = fs::read(&file).unwrap();
    let body =
        if mapping.ignores_body { ReceivedBody::Ignored } else { ReceivedBody::Whole(body.into()) };
    let headers = recorded.headers.iter().map(|(name, value)| {
        (name.parse::<HeaderName>().unwrap(), value.parse::<HeaderValue>().unwrap())
    });
    let headers: HeaderMap = headers.collect();
    let status = recorded.http_status;
    let response = ProviderResponse { status, headers, sent: SENT, body };
    let mapped = mapping.map_response(&response, &[&system.expected.task], false);
    let [result] = &*mapped.outcomes else { panic!("{} tasks", mapped.outcomes.len()) };
    let means = recorded.means.iter().map(|(key, fact)| (key.clone(), text(fact)));
    assert_eq!(
        meaning(result, mapped.code.as_deref()),
        means.collect(),
        "{} with HTTP status {status}: {result:?}",
        file.display()
    );
}

#[test]
fn a_preset_is_a_file_and_a_folder_of_answers() {
    let listed: BTreeSet<_> = preset::NAMES.iter().map(|name| (*name).to_owned()).collect();
    assert_eq!(names("config/providers", ".yml"), listed);
    assert_eq!(names("tests/data/presets", ""), listed);
}

#[test]
fn requests() {
    for System { name, config, tasks, expected, .. } in systems() {
        let (provider, task) = (&config.providers[0], TaskGroup::one(tasks[0].clone()));
        let base = provider.base_url.as_str().trim_end_matches('/');
        let request = &provider.request;
        let call = format!("{} {base}{}", request.method, request.target(&task));
        assert_eq!(call, expected.request.call, "{name}");
        let body = request.body(&task).map(|body| serde_json::from_str(&body).unwrap());
        assert_eq!(body, expected.request.body, "{name}");
        let (headers, _) = Credentials::read(&provider.client).unwrap().current();
        let headers = headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap()));
        let wanted = &expected.request.headers;
        let wanted = wanted.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        assert_eq!(headers.collect::<BTreeMap<_, _>>(), wanted.collect(), "{name}");
    }
}

#[test]
fn answers() {
    for system in systems() {
        for recorded in &system.expected.answers {
            check_answer(&system, recorded);
        }
        let answers = system.expected.answers.iter().map(|answer| answer.file.clone());
        let batch = system.expected.batch.iter().map(|batch| batch.file.clone());
        let list = system.expected.list.iter().map(|list| list.file.clone());
        let others = batch.chain(list).chain(["expected.yml".to_owned()]);
        let listed: BTreeSet<_> = answers.chain(others).collect();
        assert_eq!(names(&system.directory, ""), listed, "the files of {}", system.name);
    }
}

/// A response to a batch is mapped task by task: a missing task is not found, and an error of one
/// task affects no other.
#[test]
fn batches() {
    for System { name, directory, config, tasks, expected, .. } in systems() {
        let provider = &config.providers[0];
        let (Some(request), Some(batch)) = (&provider.batch, &expected.batch) else {
            assert!(provider.batch.is_none() && expected.batch.is_none(), "{name}");
            continue;
        };
        let task = |id: &String| Task { id: id.as_str().into(), ..tasks[0].clone() };
        let tasks = TaskGroup::collect(batch.tasks.iter().map(task)).unwrap();
        let base = provider.base_url.as_str().trim_end_matches('/');
        let call = format!("{} {base}{}", request.method, request.target(&tasks));
        assert_eq!(call, batch.call, "{name}");
        let body = request.body(&tasks).map(|body| serde_json::from_str(&body).unwrap());
        assert_eq!(body, batch.body, "{name}");
        let body = fs::read(root(&directory).join(&batch.file)).unwrap();
        let (headers, body) = (HeaderMap::new(), ReceivedBody::Whole(body.into()));
        let response = ProviderResponse { status: 200, headers, sent: SENT, body };
        let asked: Vec<_> = batch.tasks.iter().map(String::as_str).collect();
        let mapped = provider.mapping.map_response(&response, &asked, true);
        let means = mapped.outcomes.iter().map(|result| meaning(result, mapped.code.as_deref()));
        let wanted = batch.means.iter().map(|facts| {
            facts.iter().map(|(key, fact)| (key.clone(), text(fact))).collect::<BTreeMap<_, _>>()
        });
        assert_eq!(means.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{name}");
    }
}

/// A list is mapped element by element, with the ID of each.
#[test]
fn lists() {
    let mut with_list = Vec::new();
    for System { name, directory, config, expected, .. } in systems() {
        let provider = &config.providers[0];
        let (Some(list), Some(expected)) = (&provider.list, &expected.list) else {
            assert!(provider.list.is_none() && expected.list.is_none(), "{name}");
            continue;
        };
        let base = provider.base_url.as_str().trim_end_matches('/');
        let calls = list.queries.iter().map(|query| {
            let url = Url::parse(&format!("{base}{}", query.target)).unwrap();
            let first = list.paging.as_ref().map(|paging| Pages::new(&url, paging).first());
            format!("{} {}", query.method, first.unwrap_or(url))
        });
        assert_eq!(calls.collect::<Vec<_>>(), expected.calls, "{name}");
        let body = fs::read(root(&directory).join(&expected.file)).unwrap();
        let (headers, body) = (HeaderMap::new(), ReceivedBody::Whole(body.into()));
        let response = ProviderResponse { status: 200, headers, sent: SENT, body };
        let mapped = list.mapping.map_list(&response, 100);
        let tasks = mapped.tasks.unwrap_or_else(|failure| panic!("{name}: {failure}"));
        let means = tasks.elements.iter().map(|element| {
            let mut facts = meaning(&element.outcome, None);
            facts.insert("id".to_owned(), element.id.to_string());
            facts
        });
        let wanted = expected.tasks.iter().map(|facts| {
            facts.iter().map(|(key, fact)| (key.clone(), text(fact))).collect::<BTreeMap<_, _>>()
        });
        assert_eq!(means.collect::<Vec<_>>(), wanted.collect::<Vec<_>>(), "{name}");
        with_list.push(name);
    }
    assert_eq!(with_list, preset::WITH_LIST);
}

/// Every word for a state, every refinement and every meaning of a code has a recorded response,
/// and so have an unknown ID, an error and another task.
#[test]
fn answers_cover_the_mapping() {
    for System { name, expected, response, .. } in systems() {
        let shown = |facts: &[(&str, &str)]| {
            expected.answers.iter().any(|answer| {
                facts.iter().all(|(key, fact)| {
                    let found = answer.means.get(*key).map(text);
                    found.is_some_and(|found| found.trim().eq_ignore_ascii_case(fact))
                })
            })
        };
        for (state, words) in response["states"].as_object().unwrap() {
            for word in words.as_array().unwrap().iter().map(text) {
                let shown = match state.as_str() {
                    "not_found" => shown(&[("reason", "not_found")]),
                    _ => shown(&[("state", state), ("status", &word)]),
                };
                assert!(shown, "{name}: no answer has the status {word}");
            }
        }
        for refine in response["refine"].as_array().into_iter().flatten() {
            let (state, status) = (text(&refine["state"]), text(&refine["if"]["status"]));
            let shown = shown(&[("state", &state), ("status", &status)]);
            assert!(shown, "{name}: no answer is refined to {state}");
        }
        for (reason, _) in response["codes"].as_object().into_iter().flatten() {
            assert!(shown(&[("reason", reason)]), "{name}: no answer has a code of {reason}");
        }
        let reasons = |reasons: &[&str]| reasons.iter().any(|reason| shown(&[("reason", reason)]));
        assert!(reasons(&["not_found", "empty"]), "{name}: no answer for an unknown ID");
        assert!(reasons(&["api", "http"]), "{name}: no answer is an error");
        let other_task = expected.answers.iter().any(|answer| answer.file == "other-task.json");
        assert!(other_task || response["body"] == "ignored", "{name}: no answer of another task");
    }
}

#[test]
fn the_documentation() {
    let documentation = fs::read_to_string(root("docs/providers.md")).unwrap();
    for preset in preset::NAMES {
        assert!(documentation.contains(&format!("\n### `{preset}`\n")), "{preset}");
    }
    let blocks = documentation.split("```yaml\n").skip(1);
    let blocks: Vec<_> = blocks.filter_map(|rest| Some(rest.split_once("```")?.0)).collect();
    assert!(blocks.contains(&&*render_farm()));
    for block in blocks {
        let loaded = config::load_text("docs.yml", block, &root("tests/data/config/good"));
        assert!(loaded.is_ok(), "{}\n{block}", loaded.unwrap_err());
    }
}
