//! Outputs and responses in the documents are those that the program prints and takes.

use std::fs;

use serde_json::Value;

use super::markdown::{Block, blocks};
use super::session::Session;
use crate::harness::root;

/// The kinds of blocks, each with the test that runs all blocks of the kind.
const KINDS: [(&str, &str); 11] = [
    ("sh", "commands, story"),
    ("yaml", "configurations, story"),
    ("promql", "queries"),
    ("json", "shown, story"),
    ("text", "shown, story"),
    ("python", "adaptors, clients"),
    ("js", "clients"),
    ("go", "clients"),
    ("rust", "shown"),
    ("crontab", "story"),
    ("sql", "databases, story"),
];

/// A configuration with the errors that docs/configuration.md shows.
const WITH_ERRORS: &str = "\
providers:
  - name: mjdjourney
    preset: mjdjurney
    authorization:
      credentials_file: tokn
  - name: kling
    preset: kling
    authorisation: { credentials: t0ken }
tasks:
  - { id: abc, provider: mjdjorney }
";

/// The providers that the lists in the documents name.
const PROVIDERS: &str = "\
providers:
- { name: kling, preset: kling }
- { name: mj, preset: mjdjourney }
file_sd_configs:
- { name: shown, files: [list.json], provider: mj }
";

#[test]
fn every_block_is_of_a_kind_that_a_test_runs() {
    for block in blocks() {
        let is_known = KINDS.iter().any(|(kind, _)| *kind == block.kind);
        assert!(is_known, "{}: no test runs blocks of the kind {:?}", block.place(), block.kind);
        // Only the READMEs are followed as stories, and only one page sets up databases.
        assert!(block.kind != "crontab" || block.path.starts_with("README"), "{}", block.place());
        let is_of_a_database = (&*block.path, &*block.heading) == ("docs/discovery.md", "A query");
        assert!(
            block.kind != "sql" || is_of_a_database || block.path.starts_with("README"),
            "{}",
            block.place()
        );
        let is_program = ["python", "js", "go"].contains(&&*block.kind);
        assert!(!is_program || block.path == "docs/discovery.md", "{}", block.place());
    }
}

fn others_of(kind: &str) -> Vec<Block> {
    let all = blocks().into_iter();
    all.filter(|block| block.kind == kind && !block.path.starts_with("README")).collect()
}

#[test]
fn every_text_is_what_the_program_prints() {
    for block in others_of("text") {
        let mut session = Session::new();
        match (&*block.path, &*block.heading) {
            ("docs/configuration.md", "Errors") => {
                session.dir.write("aitask.yml", WITH_ERRORS);
                let said = session.run("aitask_exporter --config.check 2>&1 || [ $? = 2 ]", "");
                assert_eq!(said, block.text);
            }
            _ => panic!("{}: nothing prints this\n{}", block.place(), block.text),
        }
    }
}

#[test]
fn every_json_is_what_the_program_returns_or_takes() {
    for block in others_of("json") {
        let place = block.place();
        let shown: Value =
            serde_json::from_str(&block.text).unwrap_or_else(|error| panic!("{place}: {error}"));
        match (&*block.path, &*block.heading) {
            // Compared with the response: `api`.
            ("docs/api.md", _) => {}
            ("docs/configuration.md", "Elements") | ("docs/discovery.md", "The list") => {
                let mut session = Session::new();
                session.dir.write("aitask.yml", PROVIDERS);
                session.dir.write("list.json", &block.text);
                let said = session.run("aitask_exporter discover", "");
                assert!(
                    said.starts_with("file shown: 4 tasks, 0 elements rejected\n"),
                    "{place}: {said}"
                );
            }
            ("docs/providers.md", "A system without a preset") => {
                let answers = fs::read_dir(root("tests/data/render-farm")).unwrap();
                let mut answers =
                    answers.map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
                let is_shown =
                    |answer: String| serde_json::from_str(&answer).ok() == Some(shown.clone());
                assert!(answers.any(is_shown), "{place}: not one of the answers in the tests");
            }
            _ => panic!("{place}: nothing returns this\n{}", block.text),
        }
    }
}

#[test]
fn every_line_of_rust_is_in_the_source() {
    let source = fs::read_to_string(root("src/config/raw.rs")).unwrap();
    for block in others_of("rust") {
        for line in block.text.lines().map(str::trim) {
            assert!(source.contains(line), "{}: {line}", block.place());
        }
    }
}
