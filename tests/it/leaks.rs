//! The whole program with a known text in every place that can hold a secret: none of them is ever
//! shown, whatever is requested and whatever goes wrong.

mod echo;
mod forms;
mod registrations;
mod sources;

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::{Dir, Exporter, Gateway, http, run, until};
use echo::{ACCESS_KEY, DIGITS, Echo, PASSWORD, PLACES, TOKEN};
use forms::{FORMS, Layers};

/// Each in a place of its own. No rule knows one by a word in it.
const SECRETS: [&str; 17] = [
    "zq-bearer-1",
    "zq-file-22",
    "zq-header-333",
    "zq-headerfile-4",
    "zq-basic-55555",
    "zq-basicfile-6",
    "zq-access-7777",
    "zq-signing-888888",
    "zq-signfile-9",
    "zq-userinfo-10",
    "zq-proxy-1111",
    // As it travels.
    "dTE6enEtYmFzaWMtNTU1NTU=",
    "zq-query-12",
    "zq-body-13",
    "zq-batch-14",
    "zq-value-15",
    "zq-cookie-16",
];

/// The texts that each provider could send back.
const ECHOES: [(&str, &[usize]); 10] = [
    ("bearer", &[0]),
    ("file", &[1]),
    ("headers", &[2, 3]),
    ("basic", &[4, 11]),
    ("basicfile", &[5]),
    ("kling", &[6, 7]),
    ("klingfile", &[6, 8]),
    ("proxied", &[9, 10]),
    ("asked", &[]),
    ("valued", &[15, 16]),
];

/// Providers with secrets. `{}` is replaced by the address of the gateway.
const PROVIDERS: &str = "
  - { name: bearer, preset: mjdjourney, base_url: 'http://{}', authorization: { credentials: zq-bearer-1 } }
  - { name: file, preset: mjdjourney, base_url: 'http://{}', authorization: { credentials_file: file } }
  - name: headers
    preset: mjdjourney
    base_url: http://{}
    http_headers: { mj-api-secret: { secrets: [zq-header-333] }, x-more: { files: [headerfile] } }
  - { name: basic, preset: mjdjourney, base_url: 'http://{}', basic_auth: { username: u1, password: zq-basic-55555 } }
  - { name: basicfile, preset: mjdjourney, base_url: 'http://{}', basic_auth: { username: u1, password_file: basicfile } }
  - name: kling
    preset: kling
    base_url: http://{}
    authorization: { type: kling-jwt, access_key: zq-access-7777, secret_key: zq-signing-888888 }
  - name: klingfile
    preset: kling
    base_url: http://{}
    authorization: { type: kling-jwt, access_key: zq-access-7777, secret_key_file: signfile }
  - name: proxied
    preset: mjdjourney
    base_url: http://u:zq-userinfo-10@{}
    proxy_url: http://u:zq-proxy-1111@{}
  - name: asked
    preset: mjdjourney
    base_url: http://{}
    request:
      method: POST
      query: { key: zq-query-12, id: '{task_id}' }
      body: { key: [zq-body-13], id: '{task_id}' }
      batch: { path: /nowhere, query: { key: 'zq-batch-14{task_ids}' } }
  - name: valued
    preset: mjdjourney
    base_url: http://{}
    http_headers: { Authorization: { values: [zq-value-15] }, Cookie: { values: [zq-cookie-16] } }
";

const FILES: [(&str, &str); 4] = [
    ("file", "zq-file-22"),
    ("headerfile", "zq-headerfile-4"),
    ("basicfile", "zq-basicfile-6"),
    ("signfile", "zq-signfile-9"),
];

/// Task IDs, each with the simulator's word for the behaviour of the provider.
const IDS: [&str; 8] = [
    "running-1",
    "unauthorized-1",
    "redirect-1",
    "broken-1",
    "missing-1",
    "code-1203-x",
    "reset-1",
    "weird-1",
];

fn config(gateway: &Gateway) -> (String, BTreeSet<String>) {
    let providers = PROVIDERS.replace("{}", &gateway.address.to_string());
    let names: BTreeSet<_> = providers
        .split(" name: ")
        .skip(1)
        .map(|rest| rest.split([',', '\n']).next().unwrap().to_owned())
        .collect();
    let task = |name: &String, id: &str| match name.starts_with("kling") {
        true => format!("  - {{ id: {id}, provider: {name}, params: {{ kind: text2video }} }}\n"),
        false => format!("  - {{ id: {id}, provider: {name} }}\n"),
    };
    let mut tasks: String = names.iter().flat_map(|name| IDS.map(|id| task(name, id))).collect();
    assert_eq!(names.len(), ECHOES.len());
    for (name, secrets) in ECHOES {
        let said: String = secrets.iter().map(|secret| format!(" {}", SECRETS[*secret])).collect();
        for (id, code, status) in [("code", &*said, ""), ("status", "0", &said)] {
            let id = format!("echo-{id}-{name}");
            let data =
                json!({ "taskId": id, "task_id": id, "status": status, "task_status": status });
            let answer =
                json!({ "code": code, "message": format!("no such token: {said}"), "data": data });
            gateway.put(&id, &json!({ "answer": answer }));
            tasks += &task(&name.to_owned(), &id);
        }
    }
    let text = format!(
        "global: {{ poll_interval: 200ms, poll_timeout: 1s }}\nproviders:{providers}tasks:\n{tasks}"
    );
    (text, names)
}

fn assert_silent(said: &str, where_: &str) {
    for secret in SECRETS {
        assert!(!said.contains(secret), "{secret} in {where_}");
    }
}

fn dir(config: &str) -> Dir {
    let dir = Dir::with(config);
    for (name, secret) in FILES {
        dir.write(name, secret);
    }
    dir
}

#[test]
fn no_secret_is_ever_said() {
    for format in ["logfmt", "json"] {
        let gateway = Gateway::start();
        let (config, names) = config(&gateway);
        let flags = ["--log.level=debug", "--log.format", format];
        let exporter = Exporter::start_in(dir(&config), &flags);
        until("every provider has been asked", || {
            let polls = exporter.scrape();
            let polls = polls.find("aitask_polls_total", &[]);
            polls.len() == names.len() && polls.iter().all(|(_, count)| *count > 0.0)
        });
        let mut targets: Vec<String> = [
            "/",
            "/metrics",
            "/tasks",
            "/config",
            "/api/v1/tasks",
            "/-/ready",
            "/probe",
            "/nowhere",
        ]
        .map(str::to_owned)
        .into();
        for name in &names {
            for id in IDS {
                let probe = format!("/probe?provider={name}&task_id={id}&param.kind=x");
                let page = format!("/tasks/{name}/{id}");
                targets.extend([format!("{probe}&debug=true"), probe, page]);
            }
            for echo in ["code", "status"] {
                let probe = format!("/probe?provider={name}&task_id=echo-{echo}-{name}");
                let page = format!("/tasks/{name}/echo-{echo}-{name}");
                targets.extend([format!("{probe}&debug=true"), probe, page]);
            }
        }
        for target in targets {
            let reply = exporter.get(&target);
            assert_silent(&format!("{:?}\n{}", reply.headers, reply.text()), &target);
        }
        // Errors on and beside the lines with secrets, and files that are gone.
        for (from, to) in [
            ("credentials: zq-bearer-1", "credentials: [zq-bearer-1]"),
            ("credentials: zq-bearer-1", "credential: zq-bearer-1"),
            ("password: zq-basic-55555", "password: { zq-basic-55555"),
            ("secrets: [zq-header-333]", "secrets: zq-header-333"),
            ("type: kling-jwt, access_key", "type: kling_jwt, access_key"),
            ("u:zq-userinfo-10@", "u:zq-userinfo-10@@:x"),
            ("u:zq-proxy-1111@", "zq-proxy-1111@ :"),
            ("credentials_file: file", "credentials_file: gone"),
            ("poll_interval: 200ms", "poll_interval: soon"),
            ("key: zq-query-12", "key: 'zq-query-12{', x: ['{']"),
            ("key: [zq-body-13]", "key: [zq-body-13, '{']"),
            ("key: 'zq-batch-14{", "key: 'zq-batch-14{{"),
            ("values: [zq-value-15]", "values: [zq-value-15, []]"),
            ("values: [zq-cookie-16]", "value: zq-cookie-16"),
            ("credentials: zq-bearer-1", "credentials: Bearer zq-bearer-1"),
            ("credentials: zq-bearer-1", "credentials: ${zq-bearer-1}"),
            ("credentials: zq-bearer-1", "zq-bearer-1"),
            ("credentials: zq-bearer-1", "credentials: &zq-bearer-1"),
            ("password: zq-basic-55555", "<<: { password: zq-basic-55555 }"),
            ("password: zq-basic-55555", "password zq-basic-55555"),
            ("tasks:\n", "zq: &zq zq-file-22\ntasks:\n  - { id: *zq, provider: *zq }\n"),
        ] {
            let broken = config.replace(from, to);
            assert_ne!(broken, config, "{from}");
            let reply = exporter.reload(&broken);
            assert_eq!(reply.status, 500, "{to}: {}", reply.text());
            assert_silent(reply.text(), &format!("the rejection of {to}"));
            if format == "json" {
                // A check knows no format.
                continue;
            }
            let file = exporter.process.dir.path("aitask.yml");
            let checked = run(["--config.check", "--config.file", file.to_str().unwrap()]);
            let said = [checked.stdout, checked.stderr].concat();
            assert_silent(&String::from_utf8_lossy(&said), &format!("the check of {to}"));
        }
        let file = exporter.process.dir.write("aitask.yml", &config);
        for name in &names {
            let arguments = ["poll", "--config.file", file.to_str().unwrap(), "--provider", name];
            let echoes = ["code", "status"].map(|echo| format!("echo-{echo}-{name}"));
            let ids = ["running-1", "unauthorized-1", &echoes[0], &echoes[1]];
            let polled = run(arguments.into_iter().chain(ids).chain(["--log.level=debug"]));
            let said = [polled.stdout, polled.stderr].concat();
            assert_silent(&String::from_utf8_lossy(&said), &format!("poll of {name}"));
        }
        // Replaced by nothing while they are in use.
        for (name, _) in FILES {
            exporter.process.dir.write(name, "");
        }
        let reply = http::send(exporter.address, "POST", "/-/reload", &[], "").unwrap();
        assert_silent(reply.text(), "the rejection of empty files");
        assert_silent(&exporter.process.log(), "the log");
        // They went where they belong and came back, or this test would show nothing.
        let masked = exporter.get("/metrics").text().matches("<secret>").count();
        assert!(masked >= 2 * names.len(), "{masked}");
        let asked = gateway.asked("running-1")["requests"].as_u64().unwrap();
        assert!(asked > 0);
    }
}

/// The mapping for the responses of the echo.
const ECHOED: &str = "
    request: { path: '/{task_id}' }
    response:
      code: /code
      success: ['0']
      message: /message
      id: /id
      status: /status
      job_type: /type
      failure_code: /fail
      failure_reason: /why
      enqueue_time: { path: /at, format: rfc3339 }
      states: { running: [run], failed: [bad] }
";

/// Providers that the echo knows, and their tasks by provider.
fn echoing(echo: &Echo) -> (String, Vec<(&'static str, String)>) {
    let (address, password) = (echo.address, http::encode(PASSWORD));
    let user = format!("http://{password}@{address}");
    let providers = [
        ("token", "", "authorization: { credentials_file: token }".to_owned()),
        ("digits", "", format!("authorization: {{ credentials: '{DIGITS}' }}")),
        ("basic", "", format!("basic_auth: {{ username: u1, password: '{PASSWORD}' }}")),
        ("named", &user, String::new()),
        (
            "scheme",
            "",
            format!("http_headers: {{ authorization: {{ secrets: ['Token {PASSWORD}'] }} }}"),
        ),
        ("cookie", "", format!("http_headers: {{ cookie: {{ secrets: ['a=1; b={PASSWORD}'] }} }}")),
        (
            "kling",
            "",
            format!(
                "authorization: {{ type: kling-jwt, access_key: {ACCESS_KEY}, secret_key: s }}"
            ),
        ),
        ("proxied", "", format!("proxy_url: 'http://u1:{password}@{address}'")),
    ];
    let mut text = "global: { poll_interval: 3s }\nproviders:".to_owned();
    let mut tasks = Vec::new();
    for (name, url, more) in providers {
        let url = if url.is_empty() { format!("http://{address}") } else { url.to_owned() };
        text += &format!("\n  - name: {name}\n    base_url: '{url}/{name}'\n    {more}{ECHOED}");
        let places = match name {
            "token" => &PLACES[..],
            "digits" => &["number", "name"],
            _ => &["status", "header"],
        };
        // All requests share one list of texts; the first provider shows that every form of each
        // text is found.
        let (forms, step) = match name {
            "token" => (&FORMS[..], 1),
            "digits" => (&FORMS[..1], 1),
            _ => (&FORMS[..], 3),
        };
        for place in places {
            let forms = forms.iter().step_by(step);
            tasks.extend(forms.map(|(form, _)| (name, format!("{place}.{form}"))));
        }
    }
    text += "tasks:\n";
    text.extend(tasks.iter().map(|(name, id)| format!("  - {{ provider: {name}, id: {id} }}\n")));
    (text, tasks)
}

#[test]
fn no_form_of_a_secret_that_comes_back_is_shown() {
    let echo = Echo::start();
    let (config, tasks) = echoing(&echo);
    let assert_silent = |said: &str, where_: &str| {
        let layers = Layers::of(said);
        for secret in &*echo.secrets.lock() {
            assert!(!layers.hold(secret), "{secret} in {where_}: {said}");
        }
    };
    for format in ["json", "logfmt"] {
        let dir = Dir::with(&config);
        dir.write("token", TOKEN);
        let flags = ["--log.level=debug", "--log.format", format, "--history.limit=2000"];
        let exporter = Exporter::start_in(dir, &flags);
        until("every task has been polled", || {
            let polled = exporter.scrape();
            polled.find("aitask_last_poll_timestamp_seconds", &[]).len() == tasks.len()
        });
        // From now on there is time for probes.
        assert_eq!(
            exporter.reload(&config.replace("poll_interval: 3s", "poll_interval: 1y")).status,
            200
        );
        let mut targets = vec!["/".to_owned(), "/metrics".to_owned(), "/tasks".to_owned()];
        targets.extend(["/config".to_owned(), "/api/v1/tasks".to_owned()]);
        // Once is enough: the texts are the same in each log format.
        for (name, id) in tasks.iter().filter(|_| format == "logfmt") {
            let probe = format!("/probe?provider={name}&task_id={id}");
            targets.extend([format!("{probe}&debug=true"), probe, format!("/tasks/{name}/{id}")]);
        }
        for target in targets {
            let reply = exporter.get(&target);
            assert_eq!(reply.status, 200, "{target}: {}", reply.text());
            assert_silent(&format!("{:?}\n{}", reply.headers, reply.text()), &target);
        }
        assert_silent(&exporter.process.log(), "the log");
        let file = exporter.process.dir.path("aitask.yml");
        let arguments = ["poll", "--config.file", file.to_str().unwrap(), "--provider", "token"];
        let ids = tasks.iter().filter(|(name, _)| *name == "token").map(|(_, id)| &**id);
        let polled = run(arguments.into_iter().chain(ids));
        let said = String::from_utf8(polled.stdout).unwrap();
        assert!(said.matches("<secret>").count() >= PLACES.len() * FORMS.len(), "{said}");
        assert_silent(&said, "poll");
    }
    // Two tokens, one of them of digits, two texts with the password, the key, and a signed token
    // with its signature, of which there may be another by the end.
    assert!(echo.secrets.lock().len() >= 7);
}
