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

#[test]
fn discover_prints_what_would_be_followed() {
    let list = r#"[
        {"targets": ["a", 8076], "labels": {"provider": "mj", "customer": "acme \"1\""}},
        {"id": "b", "provider": "nobody"},
        {"id": "c", "labels": {"__enqueue_time__": "2026-11-30T07:00:00Z"}}
    ]"#;
    let dir = Dir::with(
        "providers: [{ name: mj, preset: mjdjourney }, { name: luma, preset: luma }]\n\
         http_sd_configs:\n\
         - { name: orders, url: 'http://127.0.0.1:1/jobs', authorization: { credentials: zq1zq2zq3 } }\n\
         file_sd_configs:\n\
         - { name: cron, files: [lists/*.json], provider: luma }\n\
         - { name: other, files: [other.txt], provider: mj }\n",
    );
    dir.write("lists/a.json", list);
    dir.write("other.txt", "a\n");
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let discover = |name: &[&str]| {
        let output = run(["discover", &file].iter().chain(name));
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    let (code, out, err) = discover(&["cron"]);
    assert_eq!((code, &*err), (Some(0), ""), "{out}");
    let lines: Vec<_> = out.lines().collect();
    assert_eq!(
        lines[..4],
        [
            "file cron: 3 tasks, 1 element rejected",
            r#"  mj a labels{customer="acme \"1\""}"#,
            r#"  mj 8076 labels{customer="acme \"1\""}"#,
            "  luma c enqueued 2026-11-30T07:00:00Z",
        ]
    );
    assert!(lines[4].starts_with("  rejected, provider: b: ") && lines.len() == 5, "{out}");

    let (code, out, err) = discover(&[]);
    assert_eq!(code, Some(1), "{err}");
    assert!(err.starts_with("http orders: connect: ") && err.lines().count() == 1, "{err}");
    assert!(out.contains("file other: 1 task, 0 elements rejected\n  mj a\n"), "{out}");
    assert!(out.ends_with("\n3 distinct tasks\n"), "{out}");
    assert!(!out.contains("zq1zq2zq3") && !err.contains("zq1zq2zq3"));

    dir.write("lists/b.json", "[\"half");
    let (code, out, err) = discover(&["cron"]);
    assert_eq!(code, Some(1), "{err}");
    assert!(out.contains("luma c ") && err.contains("b.json"), "the file that can be read: {out}");

    let (code, out, err) = discover(&["nothing"]);
    assert_eq!((code, &*out), (Some(2), ""));
    assert_eq!(err, "no source \"nothing\" is configured\n");
    dir.write("aitask.yml", "providers: []\nfile_sd_configs: [{ files: [a.json] }]\n");
    let (code, out, err) = discover(&[]);
    assert!(code == Some(2) && out.is_empty() && err.contains("missing key: name"), "{err}");
    dir.write("aitask.yml", "providers: []\n");
    let nothing = "the configuration has no sources of tasks\n".to_owned();
    assert_eq!(discover(&[]), (Some(0), nothing, String::new()));
}
