//! `aitask_exporter discover`: what would be followed, without following it.

use std::process::Output;

use serde_json::json;

use super::{Endpoint, Setup};
use crate::harness::{Dir, Gateway, run};

fn discover(dir: &Dir, arguments: &[&str]) -> (Option<i32>, String, String) {
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let all = ["discover", &file].into_iter().chain(arguments.iter().copied());
    let Output { status, stdout, stderr } = run(all);
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code(), text(stdout), text(stderr))
}

#[test]
fn discover_prints_what_would_be_followed() {
    let gateway = Gateway::start();
    let endpoint = Endpoint::listing(&[]);
    endpoint.list(&json!([
        { "targets": ["a1b2"], "labels": { "customer": "acme", "__param_kind": "text2video" } },
        { "id": "c3d4", "params": { "kind": "image2video" } },
        { "id": "bad-time-x", "enqueue_time": "yesterday", "params": { "kind": "k" } },
        "without-kind",
    ]));
    let down = Endpoint::listing(&[]);
    down.fail("502 Bad Gateway");
    let url = format!("http://{}/kling", gateway.address);
    let token = "basic_auth: { username: app, password: hunter2-of-lists }";
    let setup = |with_down: bool| {
        let setup = Setup::new("")
            .provider(format!("{{ name: kling, preset: kling, base_url: '{url}' }}"))
            .endpoint("jobs", &endpoint, token)
            .file("files", "jobs.txt", "");
        match with_down {
            true => setup.endpoint("down", &down, "").text(),
            false => setup.text(),
        }
    };
    let dir = Dir::with(&setup(false));
    dir.write("jobs.txt", "");
    let (code, out, errors) = discover(&dir, &[]);
    assert_eq!(code, Some(0), "{out}{errors}");
    for part in ["kling", "a1b2", "acme", "text2video", "c3d4", "image2video"] {
        assert!(out.contains(part), "{part} is not in {out}");
    }
    for part in ["bad-time-x", "without-kind"] {
        assert!(out.contains(part) || errors.contains(part), "{part}: {out}{errors}");
    }
    assert_eq!(gateway.stats()["requests"], 0, "nothing is polled");

    dir.write("aitask.yml", &setup(true));
    let (code, out, errors) = discover(&dir, &[]);
    assert_eq!(code, Some(1), "{out}{errors}");
    assert!(out.contains("a1b2") && errors.contains("502"), "{out}{errors}");
    assert!(!out.contains("hunter2") && !errors.contains("hunter2"), "{out}{errors}");
    // One of them alone.
    let (code, out, errors) = discover(&dir, &["jobs"]);
    assert_eq!(code, Some(0), "{out}{errors}");
    assert!(out.contains("a1b2"), "{out}");
    let (code, out, _) = discover(&dir, &["down"]);
    assert_eq!((code, out.contains("a1b2")), (Some(1), false));
    let (code, _, errors) = discover(&dir, &["nobody"]);
    assert_eq!(code, Some(2));
    assert!(errors.contains("nobody"), "{errors}");
}
