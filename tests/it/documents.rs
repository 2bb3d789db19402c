//! The documents against the program: what they name exists, and every command, query, configuration
//! and other snippet that they show is run as it is written.

mod adaptors;
mod clients;
mod commands;
mod configurations;
#[cfg(feature = "sql")]
mod databases;
pub mod markdown;
mod queries;
mod session;
mod shown;
mod story;

use std::collections::BTreeSet;
use std::fs;

use aitask_exporter::cli::Cli;
use aitask_exporter::config::{self, preset};
use aitask_exporter::family::{self, Family, MetricKind};
use aitask_exporter::observation::Reason;
use clap::CommandFactory;
use serde_json::Value;

use crate::dashboards::rules;
use crate::harness::root;
pub use markdown::documents;
use markdown::{blocks_of, read};

/// Flags in the documents that belong to other programs.
const FLAGS_OF_OTHERS: &str = "lib release locked path test headless no-sandbox hide-scrollbars window-size screenshot build multi exec from alertmanager.url cacert netrc";

/// Commands of the documents that no test runs, each with the reason.
const EXCLUDED: &[(&str, &str)] = &[
    ("make test", "runs these tests"),
    ("cargo install --locked --path .", "builds what is built already"),
    ("docker compose up --build", "needs an engine; `compose` checks its files"),
    ("apt install build-essential", "installs packages as root"),
    ("apt install build-essential curl", "installs packages as root"),
    // Of CONTRIBUTING.md.
    (
        "chromium --headless --no-sandbox --hide-scrollbars --window-size=1200,1200 \
         --screenshot=docs/img/landing.png http://localhost:10054/",
        "draws over the picture in the repository",
    ),
    (
        "node tests/grafana/preview.mjs http://localhost:9090 dashboards/fleet.json --from=3600 > fleet.html",
        "needs a Prometheus with data: `queries` runs it",
    ),
    ("cargo install cargo-fuzz --locked", "builds a large program"),
    (
        "cargo fuzz run -D -s none mapping fuzz/artifacts/new fuzz/corpus/mapping",
        "needs cargo-fuzz",
    ),
];

/// Returns the commands that a document asks its reader to type.
fn typed(text: &str) -> BTreeSet<String> {
    let blocks = blocks_of("", text).into_iter().filter(|block| block.kind == "sh");
    blocks.flat_map(|block| session::commands(&block.text)).collect()
}

/// Returns the texts between backticks, including blocks of code.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The longest runs of letters, digits and `_`.
fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// The names behind `--`.
fn flags(text: &str) -> BTreeSet<&str> {
    let part = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '.' || c == '-';
    let behind = text.split(|c: char| !part(c)).filter_map(|run| run.strip_prefix("--"));
    behind
        .map(|name| name.trim_end_matches(['.', '-']))
        .filter(|name| name.starts_with(|c: char| c.is_ascii_lowercase()))
        .collect()
}

#[test]
fn every_metric_and_flag_that_is_named_exists() {
    let families: Vec<Family> = family::all().collect();
    // The middle of the names of recorded series.
    let recorded: Vec<_> = rules::all().into_iter().map(|rule| rule.name).collect();
    let is_recorded = |word: &str| recorded.iter().any(|name| name.split(':').nth(1) == Some(word));
    let exists = |word: &str| {
        let histogram = |family: &&Family| family.kind == MetricKind::Histogram;
        let stems = ["_bucket", "_sum", "_count"].map(|suffix| word.strip_suffix(suffix));
        families.iter().any(|family| family.name == word)
            || is_recorded(word)
            || families.iter().filter(histogram).any(|family| stems.contains(&Some(family.name)))
    };
    let command = Cli::command();
    let known: BTreeSet<_> = std::iter::once(&command)
        .chain(command.get_subcommands())
        .flat_map(|command| command.get_arguments().filter_map(clap::Arg::get_long))
        .chain(FLAGS_OF_OTHERS.split(' '))
        .chain(["help", "version"])
        .collect();
    for (path, text) in documents() {
        let metrics = words(&text).filter(|word| word.starts_with("aitask_"));
        for metric in metrics.filter(|word| *word != "aitask_exporter") {
            assert!(exists(metric), "{path}: there is no metric {metric}");
        }
        for flag in flags(&text) {
            assert!(known.contains(flag), "{path}: there is no flag --{flag}");
        }
    }
}

#[test]
fn every_flag_key_and_reason_is_documented() {
    let text = read("docs/configuration.md");
    let command = Cli::command();
    for argument in command.get_arguments() {
        let Some(long) = argument.get_long() else { continue };
        let default = argument.get_default_values().first().and_then(|value| value.to_str());
        let flag = match default.filter(|_| argument.get_action().takes_values()) {
            Some(default) => format!("`--{long}={default}`"),
            None => format!("`--{long}`"),
        };
        assert!(text.contains(&flag), "{flag}");
    }
    let providers = read("docs/providers.md");
    let named: BTreeSet<_> = code(&text).chain(code(&providers)).flat_map(words).collect();
    let schema: Value = serde_json::from_str(&config::schema()).unwrap();
    let definitions = schema["$defs"].as_object().unwrap().values().chain([&schema]);
    let keys: Vec<_> = definitions
        .filter_map(|definition| definition["properties"].as_object())
        .flat_map(serde_json::Map::keys)
        .collect();
    assert!(keys.len() > 60, "{keys:?}");
    for key in keys {
        assert!(named.contains(key.as_str()), "the key {key} is nowhere explained");
    }
    let meaning = read("docs/meaning.md");
    for reason in Reason::ALL {
        assert!(meaning.contains(&format!("\n| `{reason}` | ")), "{reason}");
    }
}

/// The name by which a heading can be linked to.
fn slug(heading: &str) -> String {
    let kept = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = kept.chars().filter(|c| c.is_alphanumeric() || "-_ ".contains(*c));
    kept.map(|c| if c == ' ' { '-' } else { c }).collect()
}

#[test]
fn every_link_leads_somewhere() {
    let mut links = 0;
    for (path, text) in documents() {
        let targets = text.split("](").skip(1).map(|rest| rest.split_once(')').unwrap().0);
        for target in targets.filter(|target| !target.starts_with("https://")) {
            links += 1;
            let (file, anchor) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => root(&path),
                file => root(&path).parent().unwrap().join(file),
            };
            assert!(file.exists(), "{path}: no file {target}");
            if anchor.is_empty() {
                continue;
            }
            let linked = fs::read_to_string(&file).unwrap();
            let mut headings = linked.lines().filter(|line| line.starts_with('#'));
            assert!(headings.any(|line| slug(line) == anchor), "{path}: no heading {target}");
        }
    }
    assert!(links > 50, "{links}");
}

#[test]
fn the_table_of_systems_has_every_preset_and_asks_as_it_does() {
    let (text, readme) = (read("docs/providers.md"), read("README.md"));
    for name in preset::NAMES {
        let in_readme = format!("[`{name}`](docs/providers.md#{name})");
        assert!(readme.contains(&in_readme), "{name} is not in the README");
        let link = format!("| [`{name}`](#{name}) | ");
        let row =
            text.lines().find(|line| line.contains(&link)).unwrap_or_else(|| panic!("{name}"));
        let preset: Value = serde_yaml::from_str(preset::get(name).unwrap()).unwrap();
        let request = &preset["request"];
        let method = request["method"].as_str().unwrap_or("GET");
        let query = request["query"].as_object().into_iter().flatten();
        let query: Vec<_> =
            query.map(|(key, value)| format!("{key}={}", value.as_str().unwrap())).collect();
        let mark = if query.is_empty() { "" } else { "?" };
        let path = request["path"].as_str().unwrap();
        let asked = format!("`{method} {path}{mark}{}`", query.join("&"));
        assert!(row.contains(&asked), "{name}: {asked}\n{row}");
    }
}

#[test]
fn both_readmes_name_the_same_commands() {
    let (english, chinese) = (read("README.md"), read("README.zh-CN.md"));
    assert!(typed(&english).len() > 4);
    assert_eq!(typed(&english), typed(&chinese));
    for command in Cli::command().get_subcommands() {
        let name = command.get_name();
        let is_row = |line: &str| {
            let rest = line.strip_prefix("| `aitask_exporter ").and_then(|r| r.strip_prefix(name));
            rest.is_some_and(|rest| rest.starts_with(['`', ' ']))
        };
        assert!(english.lines().any(is_row) && chinese.lines().any(is_row), "{name}");
    }
}

/// The READMEs show the current tasks of the demo.
#[test]
fn the_excerpts_are_of_the_demo() {
    let demo = read("config/demo.yml");
    for readme in ["README.md", "README.zh-CN.md"] {
        let text = read(readme);
        for label in ["task_id=\"", "provider=\""] {
            let values = text.split(label).skip(1).map(|rest| rest.split_once('"').unwrap().0);
            let values: BTreeSet<_> = values.collect();
            assert!(!values.is_empty());
            for value in values {
                let mut words = demo.split([' ', '\n', ',']);
                assert!(words.any(|word| word == value), "{readme}: {value} is not in the demo");
            }
        }
    }
}
