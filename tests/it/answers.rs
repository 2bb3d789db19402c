//! Answers as the world writes them: what is wrong with a part of one costs that part.

mod codes;
mod cut;
mod times;
mod transfer;

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::harness::{Exporter, until};

/// An API that answers with any bytes. `GET /t/{id}` requests one task, `POST /batch` several.
struct Api {
    address: SocketAddr,
    answers: Arc<Mutex<HashMap<String, Vec<u8>>>>,
    asked: Arc<Mutex<Vec<(String, Instant)>>>,
}

impl Api {
    fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let api = Self { address, answers: Arc::default(), asked: Arc::default() };
        let (answers, asked) = (Arc::clone(&api.answers), Arc::clone(&api.asked));
        thread::spawn(move || {
            for stream in listener.incoming() {
                let (answers, asked) = (Arc::clone(&answers), Arc::clone(&asked));
                // A client that disconnects ends its connection.
                thread::spawn(move || serve(stream.unwrap(), &answers, &asked));
            }
        });
        api
    }

    /// Sets the body of the response at a path; the HTTP status is 200.
    fn answer(&self, path: &str, body: impl AsRef<[u8]>) {
        self.answer_with(path, "200 OK\r\n", body);
    }

    /// Sets the response at a path, with this status line and these header lines.
    fn answer_with(&self, path: &str, head: &str, body: impl AsRef<[u8]>) {
        let body = body.as_ref();
        let head = format!("HTTP/1.1 {head}Content-Length: {}\r\n\r\n", body.len());
        let answer = [head.as_bytes(), body].concat();
        self.answers.lock().insert(path.to_owned(), answer);
    }

    /// Returns the paths of all requests so far.
    fn asked(&self) -> Vec<String> {
        self.asked.lock().iter().map(|(path, _)| path.clone()).collect()
    }

    /// The longest time between two requests.
    fn longest_pause(&self) -> Duration {
        let asked = self.asked.lock();
        let pauses = asked.windows(2).map(|pair| pair[1].1 - pair[0].1);
        pauses.max().unwrap_or_default()
    }

    /// An exporter that polls `tasks` here, with this `response` and further keys of the provider,
    /// of which a `request` is one where it is not the usual one.
    fn exporter(&self, response: &str, more: &str, tasks: &str) -> Exporter {
        let usual =
            if more.contains("request:") { "" } else { "  request: { path: '/t/{task_id}' }" };
        Exporter::start(&format!(
            "global: {{ poll_interval: 200ms }}\n\
             providers:\n\
             - name: api\n\
             \x20 base_url: 'http://{}'\n\
             {usual}\n\
             \x20 response: {{ {response} }}\n\
             {more}\n\
             tasks: [{tasks}]\n",
            self.address
        ))
    }
}

fn serve(
    mut stream: TcpStream,
    answers: &Mutex<HashMap<String, Vec<u8>>>,
    asked: &Mutex<Vec<(String, Instant)>>,
) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        reader.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line)? <= 2 {
                break;
            }
            if let Some(value) = line.to_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().unwrap();
            }
        }
        reader.read_exact(&mut vec![0; length])?;
        let Some(path) = first.split(' ').nth(1) else { return Ok(()) };
        asked.lock().push((path.to_owned(), Instant::now()));
        let answer = answers.lock().get(path).cloned();
        let missing = b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_vec();
        stream.write_all(&answer.unwrap_or(missing))?;
    }
}

/// The mapping of most tests.
const USUAL: &str = "code: /code, message: /message, success: [0], task: /data, id: /id, \
    status: /status, failure_reason: /why, failure_code: /error, \
    states: { queued: [NEW], running: [RUN], succeeded: [DONE], failed: [FAIL] }";

const BATCH: &str = "  request: { batch: { method: POST, path: /batch, body: { ids: ['{task_ids}'] } }, \
    path: '/t/{task_id}' }";

#[test]
fn bad_text_costs_no_state() {
    let api = Api::start();
    let running = r#"{"code":0,"data":{"id":"ID","status":"RUN"}}"#;
    let failed: [(&str, &[u8]); 6] = [
        ("half", br#"{"code":0,"data":{"id":"half","status":"FAIL","why":"girl \ud83d","error":"e\ude00"}}"#),
        ("envelope", br#"{"code":0,"message":"so \ud83d\ud83d","data":{"id":"envelope","status":"FAIL"}}"#),
        ("key", br#"{"code":0,"data":{"\udfff":1,"id":"key","status":"FAIL"}}"#),
        ("bytes", b"{\"code\":0,\"data\":{\"id\":\"bytes\",\"status\":\"FAIL\",\"why\":\"caf\xe9 \xff\"}}"),
        ("lines", b"{\"code\":0,\"data\":{\"id\":\"lines\",\"status\":\"FAIL\",\"why\":\"a\nb\"}}"),
        ("escape", br#"{"code":0,"data":{"id":"escape","status":"FAIL","why":"it\'s"}}"#),
    ];
    for (id, _) in failed {
        api.answer(&format!("/t/{id}"), running.replace("ID", id));
    }
    let ids = failed.map(|(id, _)| id).join(", ");
    let exporter = api.exporter(USUAL, "", &ids);
    exporter.await_value("aitask_tasks", &[("state", "running")], 6.0);
    for (id, body) in failed {
        api.answer(&format!("/t/{id}"), body);
    }
    let samples = exporter.await_value("aitask_finished_total", &[("state", "failed")], 6.0);
    let half = [("task_id", "half"), ("reason", "task")];
    assert_eq!(samples.label("aitask_error", &half, "code"), Some("e\u{fffd}"));
    let failures = samples.find("aitask_poll_failures_total", &[]);
    assert!(failures.iter().all(|(_, count)| *count == 0.0), "{failures:?}");
    for (id, says) in [
        ("half", "\"girl \u{fffd}\""),
        ("envelope", "message: \"so \u{fffd}\u{fffd}\""),
        ("bytes", "\"caf\u{fffd} \u{fffd}\""),
        ("lines", r#""a\nb""#),
    ] {
        let reply = exporter.get(&format!("/probe?provider=api&task_id={id}&debug=true"));
        assert!(reply.text().contains(says), "{says}: {}", reply.text());
    }
}

#[test]
fn bad_text_of_one_task_costs_its_neighbours_nothing() {
    let api = Api::start();
    let element = |id: &str, why: &str| format!(r#"{{"id":"{id}","status":"FAIL","why":"{why}"}}"#);
    let elements = [element("a", "fine"), element("b", r"girl \ud83d"), element(r"\ud83d", "")];
    api.answer("/batch", format!(r#"{{"code":0,"data":[{}]}}"#, elements.join(",")));
    let exporter = api.exporter(USUAL, BATCH, "a, b");
    let samples = exporter.await_value("aitask_tasks", &[("state", "failed")], 2.0);
    let decode = [("reason", "decode")];
    assert_eq!(samples.value("aitask_poll_failures_total", &decode), Some(0.0));
}

/// The envelope is looked for from the top, whatever its path shares with the task's.
#[test]
fn code_and_message_may_stand_within_the_task() {
    let api = Api::start();
    api.answer("/t/refused", r#"{"r":{"error":{"code":"E7","text":"no \"money\""}}}"#);
    api.answer("/t/fine", r#"{"r":{"id":"fine","status":"RUN","error":{"code":"0"}}}"#);
    let response = "code: /r/error/code, message: /r/error/text, success: [0], task: /r, id: /id, \
        status: /status, states: { running: [RUN] }";
    let exporter = api.exporter(response, "", "refused, fine");
    let refused = [("task_id", "refused"), ("reason", "api"), ("code", "E7")];
    let samples = exporter.await_value("aitask_error", &refused, 1.0);
    // Born with 0, so that it counts a while later.
    assert!(samples.value("aitask_response_codes_total", &[("code", "E7")]).is_some());
    exporter.await_state("fine", "running");
    let reply = exporter.get("/probe?provider=api&task_id=refused&debug=true");
    assert!(reply.text().contains(r#"message: "no \"money\"""#), "{}", reply.text());
}

#[test]
fn a_blank_id_is_none() {
    let api = Api::start();
    api.answer("/t/a", r#"{"code":0,"data":{"id":"","status":"RUN"}}"#);
    api.answer("/t/b", r#"{"code":0,"data":{"id":" ","status":"RUN"}}"#);
    api.answer("/t/c", r#"{"code":0,"data":{"id":"d","status":"RUN"}}"#);
    let exporter = api.exporter(USUAL, "", "a, b, c");
    exporter.await_state("a", "running");
    exporter.await_state("b", "running");
    exporter.await_value("aitask_error", &[("task_id", "c"), ("reason", "mapping")], 1.0);
}

#[test]
fn a_body_can_ask_for_a_pause() {
    let api = Api::start();
    let response = format!("{USUAL}, retry_after: {{ path: [/wait, /error/retry_after] }}");
    // A response that reports success pauses no provider, whatever else it contains.
    for id in ["a", "asks"] {
        let answer = r#"{"code":0,"wait":599,"data":{"id":"ID","status":"RUN"}}"#;
        api.answer(&format!("/t/{id}"), answer.replace("ID", id));
    }
    let exporter = api.exporter(&response, "", "a, asks");
    until("both are polled again", || api.asked().len() > 5);
    // Of the two wishes the longer one counts.
    let busy = r#"{"code":9,"error":{"retry_after":"2.2"}}"#;
    api.answer_with("/t/asks", "429 Too Many Requests\r\nRetry-After: 1\r\n", busy);
    until("the pause is over", || api.longest_pause() >= Duration::from_millis(2_800));
    let limited = [("task_id", "asks"), ("reason", "rate_limited")];
    assert_eq!(exporter.scrape().value("aitask_error", &limited), Some(1.0));
    // A probe of an exporter whose provider is not paused.
    let idle = api.exporter(&response, "  poll_interval: 1y", "a");
    let reply = idle.get("/probe?provider=api&task_id=asks&debug=true");
    assert!(reply.text().contains("retry_after: 3s"), "{}", reply.text());
}

#[test]
fn slashes_of_a_value_are_kept_where_the_path_says_so() {
    let api = Api::start();
    let answer = r#"{"code":0,"data":{"status":"RUN"}}"#;
    api.answer("/v1/avatar/image2video/models/m:x/1", answer);
    api.answer("/v1/100%25/a", answer);
    let request = "  request: { path: '/v1/{+kind}/{+task_id}' }";
    let exporter = api.exporter(
        USUAL,
        request,
        "{ id: 'models/m:x/1', params: { kind: avatar/image2video } }, \
         { id: a, params: { kind: '100%' } }",
    );
    exporter.await_state("models/m:x/1", "running");
    exporter.await_state("a", "running");
    for (query, says) in [
        ("task_id=..%2Fadmin&param.kind=a", "a task ID must not have a segment"),
        ("task_id=a%2F%2Fb&param.kind=a", "a task ID must not have a segment"),
        ("task_id=a%3Fb&param.kind=a", "a task ID must not contain `?`"),
        ("task_id=b&param.kind=a%2F..%2Fb", "the param \"kind\" must not have a segment"),
        ("task_id=b&param.kind=a%5Cb", "the param \"kind\" must not contain `?`"),
    ] {
        let reply = exporter.get(&format!("/probe?provider=api&{query}"));
        assert_eq!(reply.status, 400, "{query}: {}", reply.text());
        assert!(reply.text().contains(says), "{query}: {}", reply.text());
    }
    let strange = api.asked().into_iter().filter(|path| !path.starts_with("/v1/"));
    assert_eq!(strange.collect::<Vec<_>>(), Vec::<String>::new());
}
