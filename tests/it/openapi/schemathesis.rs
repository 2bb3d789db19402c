//! schemathesis makes requests from the description, valid and invalid ones, and compares the answers
//! with it.

use std::process::Command;

use super::{TARGET, start_receiver};
use crate::harness::tools::{present, test_tool};
use crate::harness::{Dir, Gateway};

/// Parameters that must have one of few values, since most requests would otherwise find nothing; and
/// the checks that do not hold here.
const SETTINGS: &str = r#"
[parameters]
"path.provider" = "mj"
"query.provider" = "mj"

# A schema cannot say which cursors, times and IDs are valid: some valid requests get 400.
[checks.positive_data_acceptance]
enabled = false

# What is wrong with one element of a list does not affect the others.
[[operations]]
include-operation-id = "registerTasks"
checks.negative_data_rejection.enabled = false
"#;

/// Number of requests of each kind for each operation.
const EXAMPLES: usize = 40;

#[test]
fn schemathesis_finds_nothing() {
    let (gateway, dir) = (Gateway::start(), Dir::new());
    let tasks = "tasks: [running-1, { id: ok-1, labels: { customer: acme } }]\n";
    let exporter = start_receiver(&gateway, tasks, &[]);
    let mut command = Command::new(test_tool("schemathesis"));
    command.current_dir(dir.path("")).arg("--config-file").arg(dir.write("s.toml", SETTINGS));
    command.arg("run").arg(format!("http://{}{TARGET}", exporter.address));
    command.args([
        "--seed=1",
        "--no-color",
        "--continue-on-failure",
        "--suppress-health-check=all",
    ]);
    command.arg(format!("--max-examples={EXAMPLES}"));
    let output = present(&mut command, Command::output);
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    // It has tried every operation.
    let count = |before: &str| {
        let rest = said.split_once(before).unwrap_or_else(|| panic!("{said}")).1.trim_start();
        rest.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse::<usize>().unwrap()
    };
    let description = super::description();
    let operations = super::operations(&description);
    // It leaves out the description itself.
    let operations = operations.iter().filter(|(path, ..)| *path != TARGET).count();
    assert_eq!((count("Selected: "), count("Tested: ")), (operations, operations), "{said}");
    assert!(count("Test cases:") > 10 * EXAMPLES, "{said}");
    let log = exporter.process.log();
    assert!(!log.contains("panicked"), "{log}");
}
