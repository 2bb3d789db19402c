//! The credentials of sources of tasks: sent to their server, and shown nowhere, even if it sends them
//! back.

use crate::harness::upstream::{Reply, Upstream, json};
use crate::harness::{Dir, Exporter, run, until};

/// Each in a place of its own, with the text as it travels.
const SECRETS: [(&str, &str); 6] = [
    ("zq-source-bearer", "Bearer zq-source-bearer"),
    ("zq-source-file", "Bearer zq-source-file"),
    ("zq-source-basic", "enEtdXNlcjp6cS1zb3VyY2UtYmFzaWM="),
    ("zq-source-userinfo", "enEtdXNlcjp6cS1zb3VyY2UtdXNlcmluZm8="),
    ("zq-source-header", "zq-source-header"),
    ("zq-source-query", "zq-source-query"),
];

/// Sources with secrets at a server that sends them back. `{}` is replaced by its address.
const SOURCES: &str = "
  - { name: bearer, url: 'http://{}/l', authorization: { credentials: zq-source-bearer } }
  - { name: file, url: 'http://{}/l', authorization: { credentials_file: token } }
  - { name: basic, url: 'http://{}/l', basic_auth: { username: zq-user, password: zq-source-basic } }
  - { name: userinfo, url: 'http://zq-user:zq-source-userinfo@{}/l' }
  - { name: header, url: 'http://{}/l', http_headers: { X-Key: { secrets: [zq-source-header] } } }
  - { name: query, url: 'http://{}/l?api_key=zq-source-query' }
  - { name: refused, url: 'http://{}/refused', authorization: { credentials: zq-source-bearer } }
";

/// Responds with a task whose labels are the lines of the request, with an element that is rejected,
/// or with a content type that is the request.
fn echo() -> Upstream {
    Upstream::start(|asked| {
        let lines: Vec<_> = asked.head.iter().map(|line| line.replace('"', "'")).collect();
        let said = lines.join(" ");
        Reply::Keep(match asked.head[0].contains("/refused") {
            true => {
                format!("HTTP/1.1 200 OK\r\nContent-Type: {said}\r\nContent-Length: 2\r\n\r\n[]")
                    .into_bytes()
            }
            false => {
                let labels: Vec<_> = lines
                    .iter()
                    .enumerate()
                    .map(|(number, line)| format!(r#""line_{number}":"{line}""#))
                    .collect();
                let id = asked.head[0].len();
                json(&format!(
                    r#"[{{"id":"t{id}-{}","labels":{{{}}}}},{{"id":["{said}"]}},"{said}\u0000"]"#,
                    asked.connection,
                    labels.join(",")
                ))
            }
        })
    })
}

#[test]
fn no_secret_of_a_source_is_ever_said() {
    let upstream = echo();
    let sources = SOURCES.replace("{}", &upstream.address.to_string());
    let config = format!(
        "providers: [{{ name: mj, preset: mjdjourney, base_url: 'http://127.0.0.1:9' }}]\n\
         http_sd_configs:{sources}"
    );
    let dir = Dir::with(&config);
    dir.write("token", "zq-source-file");
    let exporter = Exporter::start_in(dir, &["--log.level=debug"]);
    until("every source has been asked", || {
        SECRETS.iter().all(|(_, sent)| {
            upstream.asked().iter().any(|asked| asked.head.iter().any(|line| line.contains(sent)))
        }) && exporter.get("/metrics").text().contains("<secret>")
    });
    let file = exporter.process.dir.path("aitask.yml");
    let mut said = vec![exporter.process.log()];
    for target in ["/", "/metrics", "/tasks", "/config", "/service-discovery", "/api/v1/tasks"] {
        let reply = exporter.get(target);
        assert_eq!(reply.status, 200, "{target}");
        said.push(format!("{:?} {}", reply.headers, reply.text()));
    }
    let discovered = run(["discover", "--config.file", file.to_str().unwrap()]);
    said.push(String::from_utf8([discovered.stdout, discovered.stderr].concat()).unwrap());
    for (from, to) in [
        ("credentials: zq-source-bearer", "credential: zq-source-bearer"),
        ("?api_key=zq-source-query", "?api_key=zq-source-query#x"),
        ("zq-source-userinfo@", "zq-source-userinfo@:x"),
        ("secrets: [zq-source-header]", "secrets: zq-source-header"),
        (
            "/l?api_key=zq-source-query'",
            "/l?api_key=zq-source-query', page: { number: { query: api_key } }",
        ),
    ] {
        let reply = exporter.reload(&config.replace(from, to));
        assert_eq!(reply.status, 500, "{to}");
        said.push(reply.text().to_owned());
    }
    said.push(exporter.process.log());
    for (secret, sent) in SECRETS {
        let sent = sent.trim_start_matches("Bearer ");
        for said in &said {
            assert!(!said.contains(secret) && !said.contains(sent), "{secret}: {said}");
        }
    }
}
