//! The commands, their output and their exit codes.

use std::fs::File;
use std::process::{Command, Output, Stdio};

use crate::harness::{Dir, Exporter, Gateway, PROGRAM, run};

fn text(output: &Output) -> &str {
    std::str::from_utf8(&output.stdout).unwrap()
}

#[test]
fn what_prints_and_ends_well() {
    for (args, says) in [
        (&["--version"][..], env!("CARGO_PKG_VERSION")),
        (&["--help"], "--web.telemetry-path"),
        (&["demo", "--help"], "--web.listen-address"),
        (&["completions", "bash"], "complete -F"),
        (&["completions", "zsh"], "#compdef aitask_exporter"),
        (&["man"], ".TH aitask_exporter"),
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(text(&output).contains(says), "{args:?}: {}", text(&output));
        assert!(output.stderr.is_empty(), "{args:?}");
    }
    let help = run(["--help"]);
    for flag in [
        "--config.file",
        "--config.check",
        "--config.enable-auto-reload",
        "--config.auto-reload-interval",
        "--web.listen-address",
        "--web.telemetry-path",
        "--web.max-requests",
        "--log.level",
        "--log.format",
        "--history.limit",
        "--version",
    ] {
        assert!(text(&help).contains(flag), "{flag}");
    }
}

#[test]
fn the_schema_is_json_that_knows_the_keys() {
    let output = run(["schema"]);
    let schema: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(schema["$schema"].is_string());
    for key in ["global", "providers", "tasks", "task_files"] {
        assert!(schema["properties"][key].is_object(), "{key}");
    }
    // In the mapping, null removes a key of the preset.
    let allows_null = |schema: &serde_json::Value| schema["anyOf"][1]["type"] == "null";
    let definitions = &schema["$defs"];
    let states = &definitions["RawResponse"]["properties"]["states"];
    for property in [
        &definitions["RawRequest"]["properties"]["batch"],
        &definitions["RawResponse"]["properties"]["progress"],
        states,
        &states["anyOf"][0]["additionalProperties"],
    ] {
        assert!(allows_null(property), "{property}");
    }
    assert!(!allows_null(&definitions["RawProvider"]["properties"]["name"]));
    let mapping =
        serde_json::json!([{ "required": ["preset"] }, { "required": ["request", "response"] }]);
    assert_eq!(definitions["RawProvider"]["anyOf"], mapping);
    // A quoted number is one, too.
    assert_eq!(definitions["PositiveInteger"]["type"], serde_json::json!(["integer", "string"]));
}

#[test]
fn wrong_usage_is_2() {
    for args in [
        &["--what"][..],
        &["stray"],
        &["--config.file"],
        &["--web.listen-address=nowhere"],
        &["--web.listen-address=:70000"],
        &["--web.telemetry-path=metrics"],
        &["--web.telemetry-path=/tasks"],
        &["--web.telemetry-path=/-/ready"],
        &["--web.telemetry-path=/tasks/mj/a"],
        &["--web.max-requests=-1"],
        &["--log.level=loud"],
        &["--log.format=xml"],
        &["--config.auto-reload-interval=0s"],
        &["--config.auto-reload-interval=30"],
        &["--config.check", "demo"],
        &["demo", "--config.file=a.yml"],
        &["poll"],
        &["completions", "tcl"],
    ] {
        let output = run(args);
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty(), "{args:?}");
    }
}

/// As a template of flags leaves them whose values are not set.
#[test]
fn an_empty_path_is_none() {
    let dir = Dir::with("providers: []\n");
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let output = run(["--config.check", &file, "--storage.path=", "--web.config.file="]);
    assert_eq!((output.status.code(), output.stderr), (Some(0), Vec::new()));
    let exporter = Exporter::start_in(dir, &["--storage.path="]);
    let samples = exporter.scrape();
    assert_eq!(samples.value("aitask_exporter_storage_up", &[]), None);
}

#[test]
fn check_tells_right_from_wrong() {
    let dir = Dir::new();
    let check = || {
        let path = dir.path("aitask.yml");
        run(["--config.check", "--config.file", path.to_str().unwrap()])
    };
    let missing = check();
    assert_eq!(missing.status.code(), Some(2));
    let said = String::from_utf8(missing.stderr).unwrap();
    assert!(said.contains("aitask.yml"), "{said}");

    let right = "providers: [{ name: mjdjourney, preset: mjdjourney }]\ntasks: [a, b]\n";
    dir.write("aitask.yml", right);
    let output = check();
    assert_eq!(output.status.code(), Some(0));
    assert!(output.stderr.is_empty());

    dir.write(
        "aitask.yml",
        "providers: [{ name: mj, preset: mjdjourny }]\npol: 1\ntasks: [a, a]\n",
    );
    let wrong = check();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(wrong.stdout.is_empty());
    let said = String::from_utf8(wrong.stderr).unwrap();
    // Every error of the file is reported in one run, with its position.
    for place in ["aitask.yml:1:", "aitask.yml:2:1:", "aitask.yml:3:", "mjdjourney"] {
        assert!(said.contains(place), "{place}: {said}");
    }
    // Without --config.check the same errors are reported, and nothing starts.
    let path = dir.path("aitask.yml");
    let run = run(["--config.file", path.to_str().unwrap(), "--web.listen-address=127.0.0.1:0"]);
    assert_eq!(run.status.code(), Some(2));
    assert_eq!(String::from_utf8(run.stderr).unwrap(), said);
}

#[test]
fn a_result_that_cannot_be_written_is_1() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "");
    let dir = Dir::with(&format!("providers: [{provider}]\n"));
    let file = dir.path("aitask.yml");
    let file = file.to_str().unwrap();
    for args in [
        &["poll", "done-1", "--config.file", file][..],
        &["--config.check", "--config.file", file],
        &["schema"],
    ] {
        let run = |stdout| Command::new(PROGRAM).args(args).stdout(stdout).output().unwrap();
        assert_eq!(run(Stdio::piped()).status.code(), Some(0), "{args:?}");
        let full = File::create("/dev/full").unwrap();
        let output = run(full.into());
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("No space left"), "{args:?}: {said}");
    }
}

#[test]
fn an_address_in_use_is_1() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = Dir::with("providers: []\n");
    let path = dir.path("aitask.yml");
    let flag = format!("--web.listen-address={address}");
    let output = run(["--config.file", path.to_str().unwrap(), &flag]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(&address));
}
