//! Batches: one request for many tasks, and what happens where a gateway has none.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::json;

use crate::harness::{Exporter, Gateway};

fn config(address: SocketAddr, prefix: &str) -> String {
    let ids: Vec<_> = (0..20).map(|number| format!("running-{number}")).collect();
    format!(
        "global: {{ poll_interval: 500ms }}\n\
         providers: [{{ name: mj, preset: midjourney-proxy, base_url: 'http://{address}{prefix}' }}]\n\
         tasks: [{}]\n",
        ids.join(", ")
    )
}

#[test]
fn many_tasks_are_asked_for_at_once() {
    let gateway = Gateway::start();
    let exporter = Exporter::start(&config(gateway.address, "/midjourney-proxy"));
    let running = [("provider", "mj"), ("state", "running")];
    let samples = exporter.await_value("aitask_tasks", &running, 20.0);
    let polls = samples.value("aitask_polls_total", &[]).unwrap();
    let answers = samples.value("aitask_http_responses_total", &[("status_code", "200")]).unwrap();
    assert!(answers <= polls / 2.0, "{polls} polls with {answers} requests");
    assert_eq!(gateway.stats()["max_in_flight_per_task"], 1);
}

/// A gateway that knows the query for one task and answers 404 to all others. Returns the first
/// lines of the requests.
fn without_batches() -> (SocketAddr, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    thread::spawn(move || {
        for stream in listener.incoming() {
            let seen = Arc::clone(&seen);
            // A client that leaves ends its connection.
            thread::spawn(move || answer(stream.unwrap(), &seen));
        }
    });
    (address, asked)
}

fn answer(mut stream: TcpStream, seen: &Mutex<Vec<String>>) -> std::io::Result<()> {
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
        let id = first.split('/').nth(3).filter(|_| first.starts_with("GET "));
        let (status, body) = match id {
            Some(id) => ("200 OK", format!(r#"{{"id": "{id}", "status": "IN_PROGRESS"}}"#)),
            None => ("404 Not Found", "{}".to_owned()),
        };
        seen.lock().unwrap().push(first);
        write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
    }
}

#[test]
fn a_gateway_without_batches_is_asked_for_each_task() {
    let (address, asked) = without_batches();
    let exporter = Exporter::start(&config(address, ""));
    let running = [("provider", "mj"), ("state", "running")];
    let samples = exporter.await_value("aitask_tasks", &running, 20.0);
    // No task looked lost on the way, and what was in vain is not tried again.
    assert_eq!(samples.value("aitask_poll_failures_total", &[("reason", "not_found")]), Some(0.0));
    exporter.await_value("aitask_up", &[("task_id", "running-0")], 1.0);
    let asked = asked.lock().unwrap();
    let batches = asked.iter().filter(|line| line.starts_with("POST ")).count();
    assert!((1..=16).contains(&batches) && asked.len() >= 20 + batches, "{batches} batches");
    assert!(exporter.process.log().contains("no batch query here"));
}

#[test]
fn answers_that_are_too_large_together_are_asked_for_in_smaller_batches() {
    let gateway = Gateway::start();
    // Twenty are 8 MB, and two fit into the limit of 1 MiB.
    let prompt = "x".repeat(400_000);
    for number in 0..20 {
        let id = format!("running-{number}");
        let answer = json!({ "id": id, "status": "IN_PROGRESS", "prompt": prompt });
        gateway.put(&id, &json!({ "answer": answer }));
    }
    let exporter = Exporter::start(&config(gateway.address, "/midjourney-proxy"));
    let running = [("provider", "mj"), ("state", "running")];
    let samples = exporter.await_value("aitask_tasks", &running, 20.0);
    assert_eq!(samples.value("aitask_poll_failures_total", &[("reason", "too_large")]), Some(0.0));
    assert!(exporter.process.log().contains("the answer to a batch is too large"));
}
