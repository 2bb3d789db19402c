//! The first line is `list`, or the ID of a task; the rest is the body of a registration.

use std::collections::{BTreeSet, HashSet};
use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use aitask_exporter::clock::Timestamp;
use aitask_exporter::config::{self, Config};
use aitask_exporter::discovery::registration::{
    ParsedRegistration, RegistrationList, parse_registration, parse_registrations,
};
use aitask_exporter::printable::is_printable;
use aitask_exporter::task::check_id;
use serde_json::{Map, Value};

/// Two providers, of which one needs a param, and small limits.
const CONFIG: &str = "
global: { label_limit: 3, label_name_length_limit: 16, label_value_length_limit: 16 }
providers: [{ name: mj, preset: mjdjourney }, { name: kling, preset: kling }]
task_receiver: { ttl: 1h, max_ttl: 2h }
";
const MAX_TTL: Duration = Duration::from_secs(2 * 3_600);
const KEYS: [&str; 4] = ["labels", "params", "enqueue_time", "ttl"];
/// 2026-11-30T07:00:00Z
const NOW: Timestamp = Timestamp::from_micros(1_796_022_000_000_000);

static LOADED: LazyLock<Config> =
    LazyLock::new(|| config::load_text("c.yml", CONFIG, Path::new("")).unwrap().config);

pub fn run(data: &[u8]) {
    let end = data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len());
    let body = data.get(end + 1..).unwrap_or_default();
    match (&data[..end], std::str::from_utf8(&data[..end])) {
        (b"list", _) => register_list(body),
        (_, Ok(id)) => ["mj", "kling", "other"].iter().for_each(|name| register(name, id, body)),
        (_, Err(_)) => {}
    }
}

fn register(provider: &str, id: &str, body: &[u8]) {
    match parse_registration(&LOADED, provider, id, body, NOW) {
        Ok(parsed) => {
            check(&parsed);
            let common = &parsed.registration.task.common;
            assert_eq!((&*parsed.registration.task.id, &*common.provider), (id, provider));
            if body.trim_ascii().is_empty() {
                assert!(common.labels.is_empty(), "{parsed:?}");
                return;
            }
            // serde_json knows neither halves of surrogate pairs nor great numbers.
            if let Ok(object) = serde_json::from_slice::<Map<String, Value>>(body) {
                assert!(object.keys().all(|key| KEYS.contains(&&**key)), "{object:?}");
                assert!(!parsed.is_cut || object["ttl"].is_string(), "{object:?}");
            }
        }
        Err(fault) => assert!(fault.chars().all(is_printable) && !fault.is_empty(), "{fault:?}"),
    }
}

fn register_list(body: &[u8]) {
    let list = match parse_registrations(&LOADED, body, NOW) {
        Ok(list) => list,
        Err(error) => return assert!(error.message.chars().all(is_printable), "{error}"),
    };
    let RegistrationList { tasks, rejected } = &list;
    let mut seen = HashSet::new();
    for parsed in tasks {
        check(parsed);
        let task = &parsed.registration.task;
        assert!(seen.insert((&*task.common.provider, &*task.id)), "{parsed:?}");
    }
    for (_, fault) in rejected {
        assert!(fault.chars().all(is_printable) && fault.chars().count() < 400, "{fault:?}");
    }
    // Each element is a task, or rejected, or names a task that an earlier one names, or is an empty
    // group; and no other has an index.
    let used: BTreeSet<_> =
        tasks.iter().map(|parsed| parsed.index).chain(rejected.iter().map(|(at, _)| *at)).collect();
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    if let Ok(elements) = serde_json::from_slice::<Vec<Value>>(body) {
        assert!(used.last().is_none_or(|last| *last < elements.len()), "{used:?}");
        assert!(used.is_empty() == (tasks.is_empty() && rejected.is_empty()));
        for (at, element) in elements.iter().enumerate() {
            let is_task = element.is_string() || element.is_number();
            assert!(used.contains(&at) || is_task || element.is_object(), "{at}: {element}");
        }
    }
}

/// Whatever an application sends, a task obeys the rules.
fn check(parsed: &ParsedRegistration) {
    let registration = &parsed.registration;
    let (task, common) = (&registration.task, &registration.task.common);
    assert_eq!(check_id(&task.id), Ok(()), "{parsed:?}");
    let provider = LOADED.providers.iter().find(|known| known.name == common.provider).unwrap();
    assert_eq!(provider.check_id(&task.id), Ok(()), "{parsed:?}");
    assert_eq!(common.params.len(), usize::from(&*common.provider == "kling"), "{parsed:?}");
    assert!(common.labels.len() <= 3 && common.labels.is_sorted(), "{parsed:?}");
    for (name, value) in &*common.labels {
        assert!(name.len() <= 16 && value.len() <= 16, "{parsed:?}");
    }
    assert!(!registration.ttl.is_zero() && registration.ttl <= MAX_TTL, "{parsed:?}");
    assert!(!parsed.is_cut || registration.ttl == MAX_TTL, "{parsed:?}");
    assert!(registration.enqueue_time.is_none_or(|time| time.micros() > 0), "{parsed:?}");
}
