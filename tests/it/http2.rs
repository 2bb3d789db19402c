//! HTTP/2, which a server of `https` offers in the handshake: a real Node server, with the
//! certificate that `openssl req -x509` makes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::harness::certificates::openssl_req;
use crate::harness::tools::said;
use crate::harness::{Dir, Exporter, Process, eventually, root};

/// A running server, in whose directory `server.pem` and `server.key` are.
struct Server {
    process: Process,
    address: SocketAddr,
}

impl Server {
    fn start() -> Self {
        let dir = Dir::new();
        openssl_req(&dir, "server", &["-addext", "subjectAltName=DNS:localhost"]);
        let mut command = Command::new("node");
        command.arg(root("tests/it/http2/server.js"));
        command.args(["server.key", "server.pem"].map(|name| dir.path(name)));
        let mut process = Process::start(dir, &mut command);
        let address = process.addresses(1)[0];
        Self { process, address }
    }

    fn provider(&self, name: &str, more: &str) -> String {
        let certificate = self.process.dir.path("server.pem");
        format!(
            "{{ name: {name}, preset: mjdjourney, base_url: 'https://localhost:{}', \
             tls_config: {{ ca_file: '{}' }}, {more} }}",
            self.address.port(),
            certificate.display()
        )
    }

    /// Its own counters.
    fn stats(&self) -> Value {
        let url = format!("https://localhost:{}/stats", self.address.port());
        let certificate = self.process.dir.path("server.pem");
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--http1.1", &url, "--cacert"]).arg(certificate);
        serde_json::from_str(&said(&mut curl)).unwrap()
    }
}

/// An exporter with one provider for each name, which is also the ID of its task.
fn poll(server: &Server, names: &[&str], more: &str) -> Exporter {
    let providers: Vec<_> = names.iter().map(|name| server.provider(name, more)).collect();
    let tasks: Vec<_> =
        names.iter().map(|name| format!("{{ id: {name}, provider: {name} }}")).collect();
    Exporter::start(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.join(", ")
    ))
}

/// Waits for so many polls of a provider; returns the numbers of failed ones by reason.
fn failures(exporter: &Exporter, provider: &str, polls: f64) -> Vec<(String, f64)> {
    let samples = eventually(&format!("{polls} polls of {provider}"), || {
        let samples = exporter.scrape();
        let count = samples.value("aitask_polls_total", &[("provider", provider)])?;
        (count >= polls).then_some(samples)
    });
    let failures = samples.find("aitask_poll_failures_total", &[("provider", provider)]);
    let failures = failures.into_iter().filter(|(_, count)| *count > 0.0);
    failures.map(|(labels, count)| (labels["reason"].clone(), count)).collect()
}

#[test]
fn many_polls_share_a_connection_and_no_more_than_may_are_under_way() {
    let server = Server::start();
    let tasks: Vec<_> = (0..40).map(|number| format!("slow-{number}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 400ms }}\nproviders: [{}]\ntasks: [{}]\n",
        server.provider("h2", "max_in_flight: 8"),
        tasks.join(", ")
    ));
    assert_eq!(failures(&exporter, "h2", 120.0), []);
    let stats = server.stats();
    assert!(stats["versions"]["2.0"].as_u64() >= Some(120), "{stats}");
    assert_eq!(stats["most_under_way"], 8, "{stats}");
    // Requests that start before the server is known to support HTTP/2 open connections of their
    // own.
    assert!(stats["sessions"].as_u64() <= Some(8), "{stats}");
}

#[test]
fn a_connection_that_ends_costs_no_poll() {
    let server = Server::start();
    let names = ["goaway", "destroyed", "refused"];
    let exporter = poll(&server, &names, "");
    for name in names {
        assert_eq!(failures(&exporter, name, 20.0), [], "{name}");
    }
    let stats = server.stats();
    assert!(stats["refused"].as_u64() >= Some(20), "{stats}");
    assert!(stats["sessions"].as_u64() >= Some(40), "{stats}");
}

#[test]
fn all_that_is_under_way_on_a_connection_that_breaks_is_sent_again() {
    let server = Server::start();
    let tasks: Vec<_> = (0..30).map(|number| format!("shaky-{number}")).collect();
    let exporter = Exporter::start(&format!(
        "global: {{ poll_interval: 300ms }}\nproviders: [{}]\ntasks: [{}]\n",
        server.provider("h2", ""),
        tasks.join(", ")
    ));
    assert_eq!(failures(&exporter, "h2", 480.0), []);
    let stats = server.stats();
    assert!(stats["sessions"].as_u64() >= Some(10), "{stats}");
}

/// Passes bytes on by connections that can all be forgotten: what is sent by them then goes nowhere, and
/// neither side hears of it.
struct Firewall {
    address: SocketAddr,
    forgotten: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
}

impl Firewall {
    fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (forgotten, connections) = (Arc::default(), Arc::default());
        let firewall = Self { address, forgotten, connections };
        let (forgotten, connections) =
            (Arc::clone(&firewall.forgotten), Arc::clone(&firewall.connections));
        thread::spawn(move || {
            for near in listener.incoming() {
                let (near, far) = (near.unwrap(), TcpStream::connect(to).unwrap());
                let number = connections.fetch_add(1, Ordering::SeqCst);
                let pairs = [(near.try_clone().unwrap(), far.try_clone().unwrap()), (far, near)];
                for (from, into) in pairs {
                    let forgotten = Arc::clone(&forgotten);
                    // Each side may leave.
                    thread::spawn(move || pass_on(from, into, number, &forgotten));
                }
            }
        });
        firewall
    }

    fn forget_all(&self) {
        let connections = self.connections.load(Ordering::SeqCst);
        self.forgotten.store(connections, Ordering::SeqCst);
    }
}

fn pass_on(
    mut from: TcpStream,
    mut into: TcpStream,
    number: usize,
    forgotten: &AtomicUsize,
) -> io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let read = from.read(&mut buffer)?;
        if number < forgotten.load(Ordering::SeqCst) {
            continue;
        }
        if read == 0 {
            return into.shutdown(Shutdown::Write);
        }
        into.write_all(&buffer[..read])?;
    }
}

#[test]
fn a_connection_that_a_firewall_has_forgotten_costs_no_poll() {
    let server = Server::start();
    let firewall = Firewall::start(server.address);
    let provider = server.provider("h2", "poll_interval: 1h");
    let port = |address: SocketAddr| format!("localhost:{}", address.port());
    let provider = provider.replace(&port(server.address), &port(firewall.address));
    let exporter = Exporter::start(&format!("providers: [{provider}]\ntasks: []\n"));
    let probe = || exporter.get("/probe?provider=h2&task_id=plain").text().to_owned();
    assert!(probe().contains("probe_success 1"));
    firewall.forget_all();
    // Silent for so long that the next request comes with a question whether it lives.
    thread::sleep(Duration::from_millis(10_500));
    let reply = probe();
    assert!(reply.contains("probe_success 1"), "{reply}");
    assert_eq!(firewall.connections.load(Ordering::SeqCst), 2);
}

#[test]
fn limits_and_reasons_are_those_of_http_1() {
    let server = Server::start();
    let names = ["headers", "huge", "bloated", "reset"];
    let exporter = poll(&server, &names, "");
    let reasons = |name| failures(&exporter, name, 1.0);
    assert_eq!(reasons("headers"), []);
    for (name, reason) in [("huge", "too_large"), ("bloated", "decode"), ("reset", "connect")] {
        assert!(
            reasons(name).iter().all(|(found, _)| found == reason),
            "{name}: {:?}",
            reasons(name)
        );
        assert!(!reasons(name).is_empty(), "{name}");
    }
}

#[test]
fn http_2_can_be_switched_off() {
    let server = Server::start();
    let exporter = poll(&server, &["plain"], "enable_http2: false");
    assert_eq!(failures(&exporter, "plain", 3.0), []);
    let versions = server.stats()["versions"].clone();
    assert!(versions["1.1"].as_u64() >= Some(3) && versions["2.0"].is_null(), "{versions}");
}
