//! Hostile input: every fuzz target with its kept corpus, the test data, and mutations of both.

mod mutation;
#[path = "../../fuzz/src/targets/all.rs"]
mod targets;

use std::fs;
use std::path::Path;
use std::thread;

use crate::harness::{compute_in_background, root};

type Target = fn(&[u8]);

/// Every target, and how many mutations of its corpus are tried.
const TARGETS: [(&str, Target, u32); 15] = [
    ("configuration", targets::configuration::run, 1_200),
    ("data_sources", targets::data_sources::run, 1_500),
    ("durations", targets::durations::run, 5_000),
    ("elements", targets::elements::run, 5_000),
    ("exposition", targets::exposition::run, 120),
    ("heads", targets::heads::run, 1_500),
    ("list_response", targets::list_response::run, 3_000),
    ("mapping", targets::mapping::run, 3_000),
    ("names", targets::names::run, 1_500),
    ("probe", targets::probe::run, 5_000),
    ("redaction", targets::redaction::run, 5_000),
    ("registrations", targets::registrations::run, 5_000),
    ("requests", targets::requests::run, 3_000),
    ("storage", targets::storage::run, 3_000),
    ("times", targets::times::run, 5_000),
];

/// Maximum number of files in the corpus of a target: a corpus must remain readable.
const MOST_FILES: usize = 50;
const MOST_BYTES: usize = 4_096;

fn contents(folder: &Path, extension: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    paths.sort();
    paths.retain(|path| path.to_string_lossy().ends_with(extension));
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The configurations of the other tests, good and bad.
fn configurations() -> Vec<Vec<u8>> {
    let folders = ["tests/data/config/good", "tests/data/config/bad", "config"];
    folders.into_iter().flat_map(|folder| contents(&root(folder), ".yml")).collect()
}

/// Returns the recorded responses of every preset, each as the response to the request for which it
/// was recorded.
fn answers() -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    for folder in fs::read_dir(root("tests/data/presets")).unwrap() {
        let folder = folder.unwrap().path();
        let expected = fs::read_to_string(folder.join("expected.yml")).unwrap();
        let expected: serde_json::Value = serde_yaml::from_str(&expected).unwrap();
        let asked = format!("200 {} other\n", expected["task"].as_str().unwrap());
        let bodies = contents(&folder, ".json");
        answers.extend(bodies.into_iter().map(|body| [asked.as_bytes(), &body].concat()));
    }
    answers.sort();
    answers
}

/// Runs a target with all of its corpus and with mutations of it.
fn attack(name: &str, more: Vec<Vec<u8>>) {
    compute_in_background();
    let (_, target, mutations) = TARGETS.into_iter().find(|(known, ..)| *known == name).unwrap();
    let kept = contents(&root("fuzz/corpus").join(name), "");
    assert!(!kept.is_empty() && kept.len() <= MOST_FILES, "{} files are kept", kept.len());
    assert!(kept.iter().all(|bytes| bytes.len() <= MOST_BYTES), "a file is too large");
    let corpus = [kept, more].concat();
    for bytes in &corpus {
        target(bytes);
    }
    // For who wants to search longer.
    let more = std::env::var("MUTATIONS").ok().map(|count| count.parse().unwrap());
    mutation::attack(&corpus, more.unwrap_or(mutations), target);
}

#[test]
fn configuration() {
    attack("configuration", configurations());
}

#[test]
fn data_sources() {
    attack("data_sources", Vec::new());
}

#[test]
fn durations() {
    attack("durations", Vec::new());
}

#[test]
fn elements() {
    attack("elements", Vec::new());
}

#[test]
fn exposition() {
    attack("exposition", Vec::new());
}

#[test]
fn heads() {
    attack("heads", Vec::new());
}

#[test]
fn list_response() {
    attack("list_response", Vec::new());
}

#[test]
fn mapping() {
    attack("mapping", answers());
}

#[test]
fn names() {
    attack("names", Vec::new());
}

#[test]
fn probe() {
    attack("probe", Vec::new());
}

#[test]
fn redaction() {
    attack("redaction", Vec::new());
}

#[test]
fn registrations() {
    attack("registrations", Vec::new());
}

#[test]
fn requests() {
    attack("requests", Vec::new());
}

#[test]
fn storage() {
    attack("storage", Vec::new());
}

#[test]
fn times() {
    attack("times", Vec::new());
}

/// The fuzzer runs what the tests run.
#[test]
fn every_target_is_the_fuzzers_too() {
    let manifest = fs::read_to_string(root("fuzz/Cargo.toml")).unwrap();
    let bins = manifest.lines().filter_map(|line| line.strip_prefix("path = \"fuzz_targets/"));
    let bins: Vec<_> = bins.filter_map(|file| file.strip_suffix(".rs\"")).collect();
    let names: Vec<_> = TARGETS.iter().map(|(name, ..)| *name).collect();
    assert_eq!(bins, names);
    for name in names {
        let file = root(&format!("fuzz/fuzz_targets/{name}.rs"));
        assert!(fs::read_to_string(file).unwrap().contains(&format!("targets::{name}::run(data)")));
    }
}

/// A finding of an attack fails its test.
#[test]
fn an_attack_finds_what_is_there() {
    let corpus = [b"seconds=1".to_vec(), b"minutes=2".to_vec()];
    let target: Target = |bytes| assert!(!bytes.windows(3).any(|window| window == b"1se"));
    let attack = move || mutation::attack(&corpus, 3_000, target);
    assert!(thread::spawn(attack).join().is_err());
}
