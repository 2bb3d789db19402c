//! Host names: a name server that does not respond delays its own names, and nothing else.

use std::fs;
use std::process::Command;

use crate::harness::host::{GATE, name_servers};
use crate::harness::upstream::{Reply, Upstream};
use crate::harness::{Dir, Exporter, PROGRAM, Process, until};

/// More polls at once than there are threads for blocking work.
const SILENT_TASKS: usize = 700;

/// Returns a provider for the list `providers` whose host is given by name.
fn provider(name: &str, host: &str, upstream: &Upstream, more: &str) -> String {
    let url = format!("http://{host}:{}", upstream.address.port());
    format!("{{ name: {name}, preset: mjdjourney, base_url: '{url}', {more} }}")
}

/// Returns a configuration of providers that have silent name servers, except `well`; polls time
/// out after `timeout`, and the first provider has so many tasks.
fn config(upstream: &Upstream, timeout: &str, tasks: usize) -> String {
    let silent = format!("poll_timeout: {timeout}, max_in_flight: 10000");
    let port = upstream.address.port();
    let proxied = format!("{silent}, proxy_url: 'http://silent-3.test:{port}'");
    let providers = [
        provider("silent", "silent.test", upstream, &silent),
        provider("same", "silent.test", upstream, &silent),
        provider("other", "silent-2.test", upstream, &silent),
        provider("proxied", "well.test", upstream, &proxied),
        provider("well", "well.test", upstream, "authorization: { credentials_file: token }"),
    ];
    let tasks = (0..tasks).map(|number| format!("{{ id: s{number}, provider: silent }}"));
    let others = ["same", "other", "proxied", "well"];
    let others = others.map(|name| format!("{{ id: t, provider: {name} }}"));
    format!(
        "global: {{ poll_interval: 400ms }}\nproviders: [{}]\ntasks: [{}]\n",
        providers.join(", "),
        tasks.chain(others).collect::<Vec<_>>().join(", ")
    )
}

#[test]
fn a_silent_name_server_of_one_provider_stops_no_other() {
    // Each response closes its connection, so that the next poll looks the name up again.
    let upstream = Upstream::start(|asked| Reply::Close(asked.running()));
    let dir = Dir::with(&config(&upstream, "300ms", SILENT_TASKS));
    dir.write("token", "t0ken");
    dir.write(GATE, "");
    let mut exporter = Exporter::start_among_names(dir);
    let polls = |name: &str| {
        let samples = exporter.scrape();
        samples.value("aitask_polls_total", &[("provider", name)]).unwrap()
    };
    until("the silent provider has been polled often", || polls("silent") >= 2_000.0);
    let before = polls("well");
    until("the other provider goes on being polled", || polls("well") >= before + 10.0);
    let samples = exporter.scrape();
    let failures = |name| {
        let failures = samples.find("aitask_poll_failures_total", &[("provider", name)]);
        let failures = failures.into_iter().filter(|(_, count)| *count > 0.0);
        failures.map(|(labels, _)| labels["reason"].clone()).collect::<Vec<_>>()
    };
    assert_eq!(failures("well"), Vec::<String>::new());
    for name in ["silent", "same", "other", "proxied"] {
        assert_eq!(failures(name), ["timeout"], "{name}");
    }
    let log = exporter.process.log();
    for (through, host) in
        [("", "silent.test"), ("", "silent-2.test"), ("through proxy_url: ", "silent-3.test")]
    {
        let detail = "no complete answer within 300ms: the name server does not answer for";
        assert!(log.contains(&format!("detail=\"{through}{detail} {host}\"")), "{host}: {log}");
    }
    assert!(!log.contains("credentials"), "{log}");
    let probe = "/probe?provider=other&task_id=t&debug=true";
    let report = exporter.get(probe).text().to_owned();
    assert!(report.contains("the name server does not answer for silent-2.test"), "{report}");
    // One look-up per name, whichever provider needs it, and a thread for each.
    let asked = exporter.process.dir.read("names");
    let mut asked: Vec<_> = asked.lines().collect();
    asked.sort_unstable();
    assert_eq!(asked, ["silent-2.test", "silent-3.test", "silent.test"]);
    let threads: usize = exporter.process.status("Threads").parse().unwrap();
    assert!(threads < 100, "{threads} threads");

    fs::remove_file(exporter.process.dir.path(GATE)).unwrap();
    assert_eq!(exporter.reload(&config(&upstream, "10s", 1)).status, 200);
    for name in ["silent", "same", "other", "proxied"] {
        exporter.await_value("aitask_provider_up", &[("provider", name)], 1.0);
    }
    exporter.process.signal("TERM");
    assert!(exporter.process.wait().success());
}

/// A pending look-up delays neither the end of the process nor the end of a command.
#[test]
fn a_silent_name_server_holds_up_no_end() {
    let upstream = Upstream::start(|asked| Reply::Keep(asked.running()));
    let config = |timeout: &str| {
        let more = format!("poll_timeout: {timeout}");
        let provider = provider("silent", "silent.test", &upstream, &more);
        let dir = Dir::with(&format!(
            "global: {{ poll_interval: 200ms }}\nproviders: [{provider}]\ntasks: [t]\n"
        ));
        dir.write(GATE, "");
        dir
    };
    let mut exporter = Exporter::start_among_names(config("1h"));
    until("it is looked up", || !exporter.process.dir.read("names").is_empty());
    exporter.process.signal("TERM");
    assert!(exporter.process.wait().success());

    let dir = config("300ms");
    let mut command = Command::new(PROGRAM);
    name_servers(&mut command, &dir);
    command.args(["poll", "t", "--config.file"]).arg(dir.path("aitask.yml"));
    let mut poll = Process::start(dir, &mut command);
    assert_eq!(poll.wait().code(), Some(1));
    assert!(
        poll.log().contains("the name server does not answer for silent.test"),
        "{}",
        poll.log()
    );
}
