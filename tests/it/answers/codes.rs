//! Error codes of responses: only the codes that the mapping lists mean success.

use crate::harness::Exporter;
use crate::harness::upstream::{Reply, Upstream, json};

/// A value in the place of the code, and the label `code` of the failed poll; empty where it is one of
/// success.
const CODES: [(&str, &str); 18] = [
    ("0", ""),
    ("\"0\"", ""),
    ("\" 0 \"", ""),
    ("0.0", ""),
    ("null", ""),
    ("{}", "an object"),
    ("{\"code\": 0}", "an object"),
    ("[]", "an array"),
    ("[0]", "an array"),
    ("[[], {}]", "an array"),
    ("false", "false"),
    ("true", "true"),
    ("\"\"", "blank"),
    ("\" \\t\\n\"", "blank"),
    ("1e-1", "0.1"),
    ("-7", "-7"),
    ("\"null\"", "null"),
    ("\"a\\u0000b\"", "a\u{fffd}b"),
];

/// A provider whose task `t7` has the seventh of these in the place of its code.
fn upstream(codes: &'static [(&'static str, &'static str)]) -> Upstream {
    Upstream::start(move |asked| {
        let id = asked.after("/task/");
        let code = codes[id.trim_start_matches('t').parse::<usize>().unwrap()].0;
        let data = format!(r#"{{"taskId": "{id}", "status": "running"}}"#);
        Reply::Keep(json(&format!(r#"{{"code": {code}, "data": {data}}}"#)))
    })
}

#[test]
fn what_is_no_code_of_success_is_a_failed_poll() {
    let upstream = upstream(&CODES);
    let tasks: Vec<_> = (0..CODES.len()).map(|number| format!("t{number}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        upstream.provider("mj", "rate_limit: { requests: 1000 }"),
        tasks.join(", ")
    ));
    for (id, (code, label)) in tasks.iter().zip(CODES) {
        let samples = exporter.await_value(
            "aitask_up",
            &[("task_id", id)],
            if label.is_empty() { 1.0 } else { 0.0 },
        );
        let error = samples.label("aitask_error", &[("task_id", id), ("reason", "api")], "code");
        assert_eq!(error.unwrap_or_default(), label, "{code}");
        if !label.is_empty() {
            let counted = samples.value("aitask_response_codes_total", &[("code", label)]);
            assert!(counted.is_some(), "{code}");
        }
    }
}

/// `"success": true` in the place of a code, and a first place that cannot be read.
#[test]
fn a_boolean_can_be_a_code_and_null_hides_nothing() {
    const ANSWERS: [(&str, bool); 6] = [
        (r#""success": true"#, true),
        (r#""success": false"#, false),
        (r#""success": {}, "error": {"code": null}"#, false),
        (r#""success": null, "error": {"code": "E1"}"#, false),
        (r#""success": null, "error": {"code": "true"}"#, true),
        (r#""success": null, "error": null"#, true),
    ];
    let upstream = Upstream::start(|asked| {
        let id = asked.after("/task/");
        let envelope = ANSWERS[id.trim_start_matches('t').parse::<usize>().unwrap()].0;
        let data = format!(r#"{{"taskId": "{id}", "status": "running"}}"#);
        Reply::Keep(json(&format!(r#"{{{envelope}, "data": {data}}}"#)))
    });
    let response = "response: { code: { path: [/success, /error/code] }, success: [true] }";
    let tasks: Vec<_> = (0..ANSWERS.len()).map(|number| format!("t{number}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        upstream.provider("mj", response),
        tasks.join(", ")
    ));
    for (id, (_, is_success)) in tasks.iter().zip(ANSWERS) {
        let up = if is_success { 1.0 } else { 0.0 };
        exporter.await_value("aitask_up", &[("task_id", id)], up);
    }
}
