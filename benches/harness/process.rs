//! Processes of benchmarks: the exporter, a responder, and the CPU time and memory of each.

#![allow(dead_code, reason = "each benchmark uses a part of it")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

/// A response of a real gateway: 977 bytes, with an ID of 36.
pub const ANSWER: &str = include_str!("../../simulator/src/recorded-response.json");
/// The ID in the response.
pub const ANSWERED_ID: &str = "42a28dda-dc7a-4186-ac86-6e16c1fcef17";

/// A process that is killed at the end of the benchmark.
pub struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Process {
    /// Starts a process that prints its address. Returns the address as well.
    pub fn start(command: &mut Command) -> (Self, String) {
        let mut child = command.stdout(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        (Self(child), line.trim().to_owned())
    }

    /// Starts this benchmark in another role.
    pub fn start_own(arguments: &[&str]) -> (Self, String) {
        Self::start(Command::new(std::env::current_exe().unwrap()).args(arguments))
    }

    /// Starts the exporter with a configuration. Returns once it listens, with its address.
    pub fn start_exporter(config: &Path) -> (Self, String) {
        Self::start_exporter_with(config, &[])
    }

    /// Starts the exporter with a configuration and further flags.
    pub fn start_exporter_with(config: &Path, flags: &[&str]) -> (Self, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_aitask_exporter"));
        command
            .arg("--config.file")
            .arg(config)
            .arg("--web.listen-address=127.0.0.1:0")
            .args(flags);
        let mut child = command.stderr(Stdio::piped()).stdin(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let address = lines.find_map(|line| {
            let line = line.unwrap();
            let address = line.contains("Listening on").then(|| line.split("address=").nth(1));
            address.flatten().map(str::to_owned)
        });
        // The rest of the log has to be read, or the exporter would block.
        thread::spawn(move || lines.for_each(drop));
        (Self(child), address.unwrap())
    }

    /// Sends a signal: `STOP`, `CONT`.
    pub fn signal(&self, name: &str) {
        let kill = format!("kill -{name} {}", self.0.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Returns the CPU time since [`Process::cpu`] returned `before`, without threads that have ended since.
    pub fn cpu_since(&self, before: Duration) -> Duration {
        self.cpu().saturating_sub(before)
    }

    /// Returns the CPU time of all running threads, to the nanosecond.
    pub fn cpu(&self) -> Duration {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.0.id())).unwrap();
        let nanos = tasks.map(|task| {
            let stat = fs::read_to_string(task.unwrap().path().join("schedstat"));
            let stat = stat.unwrap_or_default();
            stat.split(' ').next().and_then(|nanos| nanos.parse::<u64>().ok()).unwrap_or_default()
        });
        Duration::from_nanos(nanos.sum())
    }

    /// Returns the resident memory of the process, in megabytes.
    pub fn resident(&self) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<f64>().unwrap() * 1.024 / 1e3
    }
}

/// Writes a file of IDs and a configuration. Returns the path of the configuration.
pub fn write_config(name: &str, config: &str, ids: impl IntoIterator<Item = String>) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("ids.txt"), ids.into_iter().collect::<String>()).unwrap();
    let path = folder.join("aitask.yml");
    fs::write(&path, format!("{config}task_files: [ids.txt]\n")).unwrap();
    path
}

/// Scrapes `/metrics` and discards the response as fast as it arrives.
pub fn scrape(address: &str, headers: &str) {
    let mut stream = send(address, "GET /metrics", headers);
    let mut buffer = vec![0; 1 << 20];
    let mut read = stream.read(&mut buffer).unwrap();
    assert!(buffer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&buffer));
    while read > 0 {
        read = stream.read(&mut buffer).unwrap();
    }
}

fn send(address: &str, request: &str, headers: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).unwrap();
    // In one piece, since the other side reads only once.
    let request = format!("{request} HTTP/1.1\r\nHost: b\r\n{headers}Connection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    stream
}

/// Sends a request with these headers. Returns the body of the response.
pub fn ask(address: &str, request: &str, headers: &str) -> Vec<u8> {
    let mut answer = Vec::new();
    send(address, request, headers).read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 200"), "{}", String::from_utf8_lossy(&answer));
    let head = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap() + 4;
    answer.split_off(head)
}

/// Returns a number in the response of a process: the one after `before`.
pub fn number(address: &str, path: &str, before: &str) -> f64 {
    let body = ask(address, &format!("GET {path}"), "");
    let body = String::from_utf8_lossy(&body);
    body.lines().find_map(|line| line.strip_prefix(before)).unwrap().parse().unwrap()
}

/// Responds to every request, with a thread for each connection: `answer` returns the body for the request's
/// target and body.
pub fn respond(answer: fn(&str, &str) -> String) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let stream = stream.unwrap();
        stream.set_nodelay(true).unwrap();
        thread::spawn(move || converse(stream, answer));
    }
}

fn converse(mut stream: TcpStream, answer: fn(&str, &str) -> String) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut line = String::new();
    loop {
        line.clear();
        reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
        let target = line.split(' ').nth(1)?.to_owned();
        let mut length = 0;
        while line.trim_end() != "" {
            line.clear();
            reader.read_line(&mut line).ok().filter(|read| *read > 0)?;
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse().ok()?;
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = answer(&target, &String::from_utf8(body).ok()?);
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length";
        let answer = format!("{head}: {}\r\n\r\n{body}", body.len());
        stream.write_all(answer.as_bytes()).ok()?;
    }
}

/// Returns [`ANSWER`] for the ID in a target such as `/api/mj/task/{id}/fetch`.
pub fn answer_one(target: &str, _: &str) -> String {
    let id = target.split('/').nth(4).unwrap_or_default();
    ANSWER.replacen(ANSWERED_ID, id, 1)
}

/// Sends one request after another in each of `at_once` loops, reads each response to its end, and
/// serves the number of responses. All loops share one thread, as the workers of the exporter do: a
/// runtime of several threads spends more on waking them than on the requests.
pub fn ask_and_count(url: &str, body: Option<&str>, at_once: usize) {
    aitask_exporter::tls::install();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let count = Arc::new(AtomicU64::new(0));
    for _ in 0..at_once {
        let (client, url, count) = (client.clone(), url.to_owned(), Arc::clone(&count));
        let body = body.map(str::to_owned);
        runtime.spawn(async move {
            loop {
                let request = match &body {
                    Some(body) => client.post(&url).body(body.clone()),
                    None => client.get(&url),
                };
                request.send().await.unwrap().bytes().await.unwrap();
                count.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    thread::spawn(move || serve_count(&count));
    runtime.block_on(std::future::pending::<()>());
}

fn serve_count(count: &AtomicU64) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    println!("{}", listener.local_addr().unwrap());
    for stream in listener.incoming() {
        let mut stream = stream.unwrap();
        let _ = stream.read(&mut [0; 1_024]);
        let answer = format!("HTTP/1.1 200 OK\r\n\r\n{}\n", count.load(Ordering::Relaxed));
        let _ = stream.write_all(answer.as_bytes());
    }
}
