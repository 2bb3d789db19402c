//! Defaults of keys: what the schema, the example and `/config` say is what the code does.

use std::fs;

use aitask_exporter::config::{self, Config, Limits};
use serde_json::{Map, Value, json};

use super::load_text;

/// The blocks whose keys have defaults, with the place of each in [`every_block`].
const BLOCKS: [(&str, &str); 16] = [
    ("RawGlobal", "/global"),
    ("RawProbe", "/global/probe"),
    ("RawProvider", "/providers/0"),
    ("RawTlsConfig", "/providers/0/tls_config"),
    ("RawRateLimit", "/providers/0/rate_limit"),
    ("RawRequest", "/providers/0/request"),
    ("RawBatch", "/providers/0/request/batch"),
    ("RawListRequest", "/providers/0/request/list"),
    ("RawProviderList", "/providers/0/list"),
    ("RawResponse", "/providers/0/response"),
    ("RawHttpSource", "/http_sd_configs/0"),
    ("RawPage", "/http_sd_configs/0/page"),
    ("RawPageNumber", "/http_sd_configs/0/page/number"),
    ("RawFileSource", "/file_sd_configs/0"),
    ("RawSqlSource", "/sql_sd_configs/0"),
    ("RawTaskReceiver", "/task_receiver"),
];

/// A configuration that has each of the blocks, with the required keys alone.
fn every_block() -> Value {
    let batch = json!({ "path": "/{task_ids}" });
    let list = json!({ "path": "/" });
    json!({ "global": { "probe": {} }, "providers": [{
        "name": "a",
        "base_url": "https://api.example",
        "tls_config": {},
        "rate_limit": { "requests": 1 },
        "list": {},
        "request": { "path": "/{task_id}", "batch": batch, "list": list },
        "response": { "id": "/id", "status": "/status", "states": { "running": ["a"] } },
    }],
        "http_sd_configs": [{
            "name": "a",
            "url": "https://app.example",
            "page": { "number": { "query": "p" } },
        }],
        "file_sd_configs": [{ "name": "a", "files": ["*.json"] }],
        "sql_sd_configs": [{
            "name": "a",
            "data_source_name": "postgres://exporter@db.example/app",
            "query": "TABLE open_jobs",
        }],
        "task_receiver": {},
    })
}

/// Returns the schema, in which null is no value of a key.
fn schema() -> Value {
    let mut schema: Value = serde_json::from_str(&config::schema()).unwrap();
    for block in schema["$defs"].as_object_mut().unwrap().values_mut() {
        let keys = block.get_mut("properties").and_then(Value::as_object_mut).into_iter();
        for key in keys.flat_map(Map::values_mut) {
            if let Some(alone) =
                key.pointer("/anyOf/0").filter(|_| key.get("description").is_none())
            {
                *key = alone.clone();
            }
        }
    }
    schema
}

/// Returns the keys of a block that have a default, with it.
fn defaults(schema: &Value, block: &str) -> Map<String, Value> {
    let keys = schema["$defs"][block]["properties"].as_object().into_iter().flatten();
    keys.filter_map(|(key, property)| Some((key.clone(), property.get("default")?.clone())))
        .collect()
}

/// Returns what `/config` shows of `global`.
fn global(config: &Config) -> Value {
    serde_yaml::from_str::<Value>(&config.shown).unwrap()["global"].take()
}

#[test]
fn a_key_at_its_default_changes_nothing() {
    let schema = schema();
    let without = load_text(&every_block().to_string()).unwrap();
    let mut written = every_block();
    for (block, at) in BLOCKS {
        let defaults = defaults(&schema, block);
        assert!(!defaults.is_empty(), "{block}");
        written.pointer_mut(at).unwrap().as_object_mut().unwrap().extend(defaults);
    }
    let with = load_text(&written.to_string()).unwrap();
    assert_eq!(global(&with), global(&without));
    assert_eq!(format!("{:?}", with.providers), format!("{:?}", without.providers));
    assert_eq!(format!("{:?}", with.discovery), format!("{:?}", without.discovery));
    assert_eq!(format!("{:?}", with.task_receiver), format!("{:?}", without.task_receiver));
    let blocks = schema["$defs"].as_object().unwrap().keys();
    let with_defaults = blocks.filter(|block| !defaults(&schema, block).is_empty());
    assert_eq!(with_defaults.count(), BLOCKS.len(), "a block is not in BLOCKS");
}

#[test]
fn config_shows_every_key_of_global() {
    let config = load_text(&every_block().to_string()).unwrap();
    let shown: Value = serde_yaml::from_str(&config.shown).unwrap();
    let schema = schema();
    for (at, block) in [("/global", "RawGlobal"), ("/global/probe", "RawProbe")] {
        let mut shown: Vec<_> = shown.pointer(at).unwrap().as_object().unwrap().keys().collect();
        shown.sort();
        let keys: Vec<_> =
            schema["$defs"][block]["properties"].as_object().unwrap().keys().collect();
        assert_eq!(shown, keys);
    }
}

#[test]
fn the_example_has_every_key_at_its_default() {
    let root = env!("CARGO_MANIFEST_DIR");
    let text = fs::read_to_string(format!("{root}/config/exporter.yml")).unwrap();
    let schema = schema();
    // Those of `global` that a provider may set are commented out there.
    let of = |block: &str| schema["$defs"][block]["properties"].as_object().unwrap();
    let shared =
        |key: &str| of("RawGlobal").contains_key(key) && of("RawProvider").contains_key(key);
    let uncommented = |line: &str| {
        let key = line.trim_start().strip_prefix("# ").and_then(|line| line.split(':').next());
        let overrides = key.is_some_and(|key| shared(key) && key != "max_tasks");
        line.replacen("# ", "", usize::from(overrides)) + "\n"
    };
    let text: String = text.lines().map(uncommented).collect();
    let config = load_text(&text).unwrap();
    assert_eq!(config.providers[0].limits, Limits::default());
    let bare = load_text("providers: [{ name: mjdjourney, preset: mjdjourney }]").unwrap();
    assert_eq!(global(&config), global(&bare));
    assert_eq!(format!("{:?}", config.providers), format!("{:?}", bare.providers));
    let blocks = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let keys = blocks.filter_map(|block| block["properties"].as_object()).flatten();
    let mut count = 0;
    for (key, property) in keys {
        count += 1;
        let line = match property.get("default") {
            // Strings in YAML, and lists of them, need no quotes here.
            Some(default) => format!(" {key}: {}", default.to_string().replace('"', "")),
            None => format!("{key}:"),
        };
        assert!(text.contains(&line), "{line} is not in config/exporter.yml");
    }
    assert!(count > 60, "{count}");
}
