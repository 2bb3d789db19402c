//! Sources that are HTTP endpoints, against servers whose responses a test writes byte by byte: every
//! kind of failure, validators, secrets, pages, and other forms of lists.

mod failures;
mod mapped;
mod pages;

use aitask_exporter::config::discovery::SourceKind;
use aitask_exporter::config::{Config, load_text};
use aitask_exporter::discovery::http::HttpSource;
use aitask_exporter::discovery::list::{Refresh, RefreshError, SourceList};
use aitask_exporter::fetch::resolver::Resolver;

use crate::harness::Dir;
use crate::harness::upstream::{Reply, Upstream, answer, json};

/// A source with what its refreshes need.
struct Source {
    config: Config,
    http: HttpSource,
    runtime: tokio::runtime::Runtime,
    dir: Dir,
}

impl Source {
    /// At a URL, with further keys in YAML's flow style.
    fn new(url: &str, more: &str) -> Self {
        Self::in_dir(Dir::new(), url, more)
    }

    /// The same with files in `dir`.
    fn in_dir(dir: Dir, url: &str, more: &str) -> Self {
        let text = format!(
            "providers: [{{ name: mj, preset: mjdjourney }}, {{ name: kling, preset: kling }}]\n\
             http_sd_configs: [{{ name: jobs, url: '{url}', provider: mj, {more} }}]\n"
        );
        let config = load_text("aitask.yml", &text, &dir.path("")).unwrap().config;
        let found = &config.discovery[0];
        let SourceKind::Http(http) = &found.kind else { panic!("{found:?}") };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .unwrap();
        let entered = runtime.enter();
        let http = HttpSource::new(found, http, &Resolver::system()).unwrap();
        drop(entered);
        Self { config, http, runtime, dir }
    }

    /// At a server of this test.
    fn of(upstream: &Upstream, more: &str) -> Self {
        Self::new(&format!("http://{}/open", upstream.address), more)
    }

    fn refresh(&mut self) -> Result<Refresh, RefreshError> {
        let refresh = self.http.refresh(&self.config.providers, self.config.label_limits);
        self.runtime.block_on(refresh)
    }

    fn list(&mut self) -> SourceList {
        match self.refresh().unwrap() {
            Refresh::List(list) => list,
            other => panic!("{other:?}"),
        }
    }

    /// Refreshes; returns the IDs, or the reason of the failure.
    fn ids(&mut self) -> Result<Vec<String>, String> {
        match self.refresh() {
            Ok(Refresh::List(list)) => Ok(ids(&list)),
            Ok(other) => Ok(vec![format!("{other:?}")]),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn ids(list: &SourceList) -> Vec<String> {
    list.tasks.iter().map(|listed| listed.task.id.to_string()).collect()
}

/// The tasks of a list, each as `provider/id label=value param:value @seconds`.
fn described(list: &SourceList) -> Vec<String> {
    let describe = |listed: &aitask_exporter::discovery::list::ListedTask| {
        let common = &listed.task.common;
        let mut words = vec![format!("{}/{}", common.provider, listed.task.id)];
        words.extend(common.labels.iter().map(|(name, value)| format!("{name}={value}")));
        words.extend(common.params.iter().map(|(name, value)| format!("{name}:{value}")));
        words.extend(listed.enqueue_time.map(|time| format!("@{}", time.micros() / 1_000_000)));
        words.join(" ")
    };
    list.tasks.iter().map(describe).collect()
}

/// Returns the rejected elements of a list, each with its reason and message.
fn rejected(list: &SourceList) -> Vec<String> {
    let describe = |rejected: &aitask_exporter::discovery::list::RejectedElement| {
        format!("{}: {}: {}", rejected.element, rejected.reason, rejected.message)
    };
    list.rejected.first().iter().map(describe).collect()
}

#[test]
fn the_request_is_that_of_prometheus() {
    let upstream = Upstream::saying(json(r#"["a"]"#));
    let more = "refresh_interval: 90s, http_headers: { X-Team: { values: [video] } },
        basic_auth: { username: me, password: p }";
    let mut source = Source::of(&upstream, more);
    assert_eq!(source.ids().unwrap(), ["a"]);
    let asked = &upstream.asked()[0];
    assert_eq!(asked.head[0], "GET /open HTTP/1.1");
    for (name, value) in [
        ("accept", "application/json"),
        ("accept-encoding", "gzip"),
        ("authorization", "Basic bWU6cA=="),
        ("user-agent", concat!("aitask_exporter/", env!("CARGO_PKG_VERSION"))),
        ("x-prometheus-refresh-interval-seconds", "90"),
        ("x-team", "video"),
    ] {
        assert_eq!(asked.header(name), Some(value), "{name}");
    }
    assert_eq!(asked.header("if-none-match"), None);
}

#[test]
fn a_list_of_all_shapes_is_read() {
    let body = r#"[{"targets":["42a28dda","8076"],"labels":{"provider":"kling",
        "__param_kind":"text2video","customer":"acme"}}, "bare", 7,
        {"id":"x","labels":{"customer":"b"},"enqueue_time":"2026-11-30T07:00:00Z"}, "bare", null]"#;
    let upstream = Upstream::saying(json(body));
    let mut source = Source::of(&upstream, "labels: { app: studio }");
    let list = source.list();
    let expected = [
        "kling/42a28dda app=studio customer=acme kind:text2video",
        "kling/8076 app=studio customer=acme kind:text2video",
        "mj/bare app=studio",
        "mj/7 app=studio",
        "mj/x app=studio customer=b @1796022000",
    ];
    assert_eq!(described(&list), expected);
    assert_eq!(rejected(&list), ["null: id: element 6: must be an ID or an object, not null"]);
}

/// A server of the list `["a"]` with an `ETag`.
fn tagged() -> Upstream {
    Upstream::start(|asked| {
        let headers = ["Content-Type: application/json", "ETag: W/\"1\""];
        Reply::Keep(match (asked.header("if-none-match"), asked.head[0].contains("/broken")) {
            (_, true) => answer("500 Oops", &[], b""),
            (Some("W/\"1\""), _) => answer("304 Not Modified", &[], b""),
            (_, _) => answer("200 OK", &headers, b"[\"a\"]"),
        })
    })
}

#[test]
fn a_list_that_has_not_changed_is_not_sent_again() {
    let upstream = tagged();
    let mut source = Source::of(&upstream, "");
    assert_eq!(source.ids().unwrap(), ["a"]);
    for _ in 0..2 {
        assert_eq!(source.refresh(), Ok(Refresh::Unchanged));
    }
    source.http.forget_validators();
    assert_eq!(source.ids().unwrap(), ["a"]);
    assert_eq!(source.refresh(), Ok(Refresh::Unchanged));
    let sent: Vec<_> =
        upstream.asked().iter().map(|a| a.header("if-none-match").is_some()).collect();
    assert_eq!(sent, [false, true, true, false, true]);
}

#[test]
fn the_validator_of_a_bad_list_is_not_kept() {
    let upstream = Upstream::start(|asked| {
        let headers = ["Content-Type: application/json", "ETag: \"1\""];
        Reply::Keep(match asked.header("if-none-match") {
            Some(_) => answer("304 Not Modified", &[], b""),
            None => answer("200 OK", &headers, b"{}"),
        })
    });
    let mut source = Source::of(&upstream, "");
    for _ in 0..2 {
        assert!(source.ids().unwrap_err().starts_with("decode: "));
    }
}

#[test]
fn secrets_are_read_again_before_each_request() {
    let upstream = Upstream::saying(json("[]"));
    let dir = Dir::new();
    dir.write("token", "first-token\n");
    let url = format!("http://{}", upstream.address);
    let mut source = Source::in_dir(dir, &url, "authorization: { credentials_file: token }");
    let asked =
        |number: usize| upstream.asked()[number].header("authorization").unwrap().to_owned();
    assert_eq!((source.ids(), asked(0)), (Ok(vec![]), "Bearer first-token".to_owned()));
    source.dir.write("token", "second-token\n");
    assert_eq!((source.ids(), asked(1)), (Ok(vec![]), "Bearer second-token".to_owned()));
    let file = source.dir.path("token");
    std::fs::remove_file(&file).unwrap();
    let error = source.ids().unwrap_err();
    assert!(error.starts_with("read: authorization: the secret file cannot be used: "), "{error}");
    assert_eq!(upstream.asked().len(), 2, "a request without credentials");
    source.dir.write("token", "third-token\n");
    assert_eq!((source.ids(), asked(2)), (Ok(vec![]), "Bearer third-token".to_owned()));
}

#[test]
fn a_secret_that_comes_back_is_masked_everywhere() {
    let secrets = ["zq-token-4711", "zq-query-4711", "zq-password-4711"];
    let upstream = Upstream::start(move |asked| {
        let said: Vec<String> = asked.head.iter().map(|line| line.replace('"', "'")).collect();
        let said = said.join(" ");
        let label = format!(r#"[{{"id":"a","labels":{{"x":"{said}"}}}},["{said}"]]"#);
        let long =
            format!("HTTP/1.1 200 OK\r\nContent-Type: {said}\r\nContent-Length: 2\r\n\r\n[]");
        Reply::Keep(match asked.number % 2 {
            0 => json(&label),
            _ => long.into_bytes(),
        })
    });
    let url = format!("http://u:zq-password-4711@{}/l?api_key=zq-query-4711", upstream.address);
    let bearer = "authorization: { credentials: zq-token-4711 }";
    let plain = format!("http://{}/l?api_key=zq-query-4711", upstream.address);
    for (url, more) in [(&url, ""), (&plain, bearer)] {
        let more = format!(
            "{more}{} response: {{ id: /id, labels: {{ x: /labels/x }} }}",
            if more.is_empty() { "" } else { "," }
        );
        let mut source = Source::new(url, &more);
        let first = source.refresh();
        let second = source.refresh();
        let shown = format!("{first:?}\n{second:?}\n{:?}\n{}", source.http, source.config.shown);
        for secret in secrets {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
        assert!(shown.contains("<secret>"), "{shown}");
        assert!(matches!(first, Ok(Refresh::List(_))), "{shown}");
    }
    // They were sent.
    let sent = format!("{:?}", upstream.asked());
    assert!(sent.contains(secrets[0]) && sent.contains(secrets[1]), "{sent}");
}
