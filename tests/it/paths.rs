//! IDs and params that would lead to another path of a gateway, which is rejected; and response
//! headers that no report shows.

use aitask_exporter::config;

use crate::harness::raw::{Asked, RawGateway};
use crate::harness::{Dir, Exporter, http, run};

/// Each leads elsewhere once a gateway has decoded it, if not before.
const LEADING_ELSEWHERE: [&str; 16] = [
    ".",
    "..",
    "../../v1/dashboard",
    "..\\..\\v1",
    "a/../../v1",
    "a/./b",
    "a/..",
    "./a",
    "..%2F..%2Fv1%2Fdashboard",
    "%2e%2e%2fv1",
    "%2E./v1",
    "%252e%252e%252fv1",
    "%25252e%25252e%25255cv1",
    "..;/v1",
    "..%3b/v1",
    "a%2f.%09.%2fb",
];

/// None does, and some are those of real APIs.
const LEADING_NOWHERE: [&str; 9] = [
    "models/veo-3.1-generate/operations/abc",
    "projects/p/locations/us-central1/operations/1.2",
    "a.b",
    "v1..2",
    "...",
    "..a/.b/c..",
    "%2e%2e%2e",
    "100%",
    "a%2fb",
];

fn answer(asked: &Asked) -> (&'static str, Vec<u8>) {
    let id = asked.target.split('/').nth(4).unwrap_or_default();
    let id = percent_encoding::percent_decode_str(id).decode_utf8().unwrap().into_owned();
    let body = serde_json::json!({ "code": 0, "data": { "taskId": id, "status": "running" } });
    (
        "200 OK\r\nSet-Cookie: session=zq-cookie-11; Path=/\r\nset-cookie2: zq-cookie-22\r\n\
         Authentication-Info: nextnonce=\"zq-nonce-333\"\r\nmj-api-secret: zq-secret-444\r\n\
         X-Own: zq-own-5555\r\nX-Listed: zq-listed-6\r\nX-Auth-Token: zq-token-77\r\n\
         X-RateLimit-Remaining-Tokens: 88\r\nWWW-Authenticate: Bearer realm=\"shown\"",
        body.to_string().into_bytes(),
    )
}

fn config(gateway: &RawGateway, tasks: &str) -> String {
    format!(
        "global: {{ poll_interval: 1y }}\nproviders:\n- name: mj\n  preset: mjdjourney\n  \
         base_url: 'http://{}'\n  http_headers: {{ x-own: {{ secrets: [a-secret-of-ours] }} }}\n  \
         authorization: {{ credentials: another-one, alternatives: [x-listed] }}\n\
         - name: kinds\n  preset: mjdjourney\n  base_url: 'http://{}'\n  \
         request: {{ path: '/of/{{kind}}/{{task_id}}' }}\n{tasks}",
        gateway.address, gateway.address
    )
}

#[test]
fn no_id_and_no_param_leads_elsewhere() {
    let gateway = RawGateway::start(answer);
    let exporter = Exporter::start(&config(&gateway, ""));
    let file = format!("--config.file={}", exporter.process.dir.path("aitask.yml").display());
    for text in LEADING_ELSEWHERE {
        let encoded = http::encode(text);
        for target in [
            format!("/probe?provider=mj&task_id={encoded}"),
            format!("/probe?provider=mj&task_id={encoded}&debug=true"),
            format!("/probe?provider=kinds&task_id=a&param.kind={encoded}"),
        ] {
            let reply = exporter.get(&target);
            assert_eq!(reply.status, 400, "{target}: {}", reply.text());
            assert_eq!(reply.text().lines().count(), 1, "{target}: {}", reply.text());
            assert!(reply.text().contains("`.` or `..`"), "{target}: {}", reply.text());
        }
        let output = run(["poll", &file, "--provider=mj", "--", text]);
        assert_eq!(output.status.code(), Some(2), "{text}");
    }
    let asked = gateway.asked();
    assert!(asked.is_empty(), "{asked:?}");
    for text in LEADING_NOWHERE {
        let reply = exporter.get(&format!("/probe?provider=mj&task_id={}", http::encode(text)));
        assert!(reply.text().contains("probe_success 1"), "{text}: {}", reply.text());
    }
    assert_eq!(gateway.asked().len(), LEADING_NOWHERE.len());
}

/// In every list that a configuration has or names.
#[test]
fn a_listed_id_that_leads_elsewhere_is_a_mistake() {
    let gateway = RawGateway::start(answer);
    let dir = Dir::new();
    let quoted = |id: &str| format!("'{id}'");
    let lists = |id: &str| {
        [
            ("inline", format!("tasks: [{{ id: {}, provider: mj }}]\n", quoted(id))),
            ("yaml", "task_files: [{ files: list.yml, provider: mj }]\n".to_owned()),
            ("text", "task_files: [{ files: list.txt, provider: mj }]\n".to_owned()),
            (
                "param",
                format!(
                    "tasks: [{{ id: x, provider: kinds, params: {{ kind: {} }} }}]\n",
                    quoted(id)
                ),
            ),
        ]
    };
    let load = |id: &str, list: &str| {
        dir.write("list.yml", &format!("[{}]\n", quoted(id)));
        dir.write("list.txt", &format!("{id}\n"));
        let path = dir.write("aitask.yml", &config(&gateway, list));
        config::load(&path).map(|loaded| loaded.tasks.len()).map_err(|told| told.to_string())
    };
    for id in LEADING_ELSEWHERE {
        for (name, list) in lists(id) {
            let told = load(id, &list).expect_err(id);
            assert!(told.contains("`.` or `..`"), "{name}: {told}");
            assert!(told.contains(&format!("{id:?}")), "{name}: {told}");
            if name == "param" {
                assert!(told.contains("the param \"kind\" of task \"x\""), "{told}");
            }
        }
    }
    for id in LEADING_NOWHERE {
        for (name, list) in lists(id) {
            assert_eq!(load(id, &list), Ok(1), "{name} {id}");
        }
    }
}

#[test]
fn a_report_shows_no_header_that_may_carry_credentials() {
    let gateway = RawGateway::start(answer);
    let dir = Dir::with(&config(&gateway, ""));
    let file = format!("--config.file={}", dir.path("aitask.yml").display());
    let output = run(["poll", &file, "--provider=mj", "a"]);
    let polled = String::from_utf8(output.stdout).unwrap();
    let exporter = Exporter::start_in(dir, &[]);
    let probed = exporter.get("/probe?provider=mj&task_id=a&debug=true").text().to_owned();
    for report in [polled, probed] {
        for name in [
            "set-cookie",
            "set-cookie2",
            "authentication-info",
            "mj-api-secret",
            "x-own",
            "x-listed",
            "x-auth-token",
        ] {
            assert!(report.contains(&format!("\n  {name}: <secret>\n")), "{name}: {report}");
        }
        assert!(!report.contains("zq-"), "{report}");
        assert!(report.contains("\n  x-ratelimit-remaining-tokens: 88\n"), "{report}");
        assert!(report.contains("\n  www-authenticate: Bearer realm="), "{report}");
    }
}
