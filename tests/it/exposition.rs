//! The exposition in both forms, compressed and not: equal samples, and nothing that other
//! people's parsers object to.

use std::io::Read;

use flate2::read::GzDecoder;

use crate::harness::samples::Samples;
use crate::harness::{Dir, Exporter, Gateway, http, tools};

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0";

/// Reports whether a family differs between two scrapes of an exporter that polls nothing: ages,
/// open connections, and metrics of the process.
fn moves(name: &str) -> bool {
    name.contains("queue_age_seconds")
        || name == "aitask_exporter_connections"
        || name.starts_with("process_")
        || name.starts_with("aitask_exporter_scrape_duration_seconds")
}

/// The samples that stand still, with values, and the names and labels of all.
fn normalised(samples: Samples) -> (Samples, Vec<String>) {
    let mut still = Samples::default();
    let mut series = Vec::new();
    for ((name, mut labels), value) in samples.0 {
        if let Some(le) = labels.get_mut("le") {
            *le = le.parse::<f64>().unwrap().to_string();
        }
        series.push(format!("{name}{labels:?}"));
        if !moves(&name) {
            still.add(name, labels, value);
        }
    }
    series.sort();
    (still, series)
}

#[test]
fn both_forms_and_gzip_carry_equal_samples() {
    let gateway = Gateway::start();
    let provider = gateway.provider("mj", "");
    let tasks = "tasks: [42a28dda-dc7a-4186-ac86-6e16c1fcef17, queued-1, stuck-1, code-1203-x, \
                 { id: ok-\"x\\y, labels: { customer: 'é \"q\" \\' } }, weird-1, missing-1]";
    let config = |interval| {
        format!("global: {{ poll_interval: {interval} }}\nproviders: [{provider}]\n{tasks}\n")
    };
    let exporter = Exporter::start(&config("200ms"));
    exporter.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    exporter.await_state("missing-1", "not_found");
    // From now on nothing is polled.
    assert_eq!(exporter.reload(&config("1y")).status, 200);
    exporter.await_value("aitask_polls_in_flight", &[], 0.0);

    let fetch = |headers: &[(&str, &str)]| {
        http::send(exporter.address, "GET", "/metrics", headers, "").unwrap()
    };
    let text = fetch(&[]);
    let openmetrics = fetch(&[("Accept", OPENMETRICS)]);
    assert_eq!(text.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(
        openmetrics.header("content-type"),
        Some("application/openmetrics-text; version=1.0.0; charset=utf-8")
    );
    assert!(openmetrics.text().ends_with("\n# EOF\n"));
    assert_eq!(openmetrics.text().matches("# EOF").count(), 1);
    assert!(!text.text().contains("# EOF"));
    tools::assert_promtool_is_content(&text.body);

    let expected = normalised(Samples::parse(text.text()));
    assert!(expected.0.find("aitask_status", &[]).len() == 7, "{expected:?}");
    let gzip = ("Accept-Encoding", "gzip");
    let text_gzip = unzip(&fetch(&[gzip]));
    let openmetrics_gzip = unzip(&fetch(&[gzip, ("Accept", OPENMETRICS)]));
    for (form, samples) in [
        ("OpenMetrics", Samples::parse(openmetrics.text())),
        ("text in gzip", Samples::parse(&text_gzip)),
        ("OpenMetrics in gzip", Samples::parse(&openmetrics_gzip)),
        ("text, read by the Python client", tools::parse_text(&text.body)),
        ("OpenMetrics, read by the strict parser", tools::parse_openmetrics(&openmetrics.body)),
    ] {
        assert_eq!(normalised(samples), expected, "{form}");
    }
}

fn unzip(reply: &http::Reply) -> String {
    assert_eq!(reply.header("content-encoding"), Some("gzip"));
    let mut text = String::new();
    GzDecoder::new(&*reply.body).read_to_string(&mut text).unwrap();
    text
}

/// Every family of the documentation is there, with its type and its labels, and no other.
#[test]
fn the_documentation_lists_what_is_exported() {
    let gateway = Gateway::start();
    let dir = Dir::with(&format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [ok-1, broken-1]\n\
         file_sd_configs: [{{ name: jobs, files: ['jobs/*.json'] }}]\n",
        gateway.provider("mj", "")
    ));
    let storage = dir.path("state");
    let process = Exporter::start_in(dir, &["--storage.path", storage.to_str().unwrap()]);
    process.await_value("aitask_finished_total", &[("state", "succeeded")], 1.0);
    let reply = process.get("/metrics");
    let mut exported: Vec<_> = reply
        .text()
        .lines()
        .filter_map(|line| line.strip_prefix("# TYPE ")?.split_once(' '))
        .collect();
    let documentation = include_str!("../../docs/metrics.md");
    let mut documented: Vec<_> = documentation
        .lines()
        .filter_map(|line| {
            let mut cells = line.strip_prefix("| `")?.split(" | ");
            Some((cells.next()?.strip_suffix('`')?, cells.next()?))
        })
        // The gateway reports no progress; a probe is not a scrape.
        .filter(|(name, _)| *name != "aitask_progress_ratio" && !name.starts_with("probe_"))
        .collect();
    exported.sort_unstable();
    documented.sort_unstable();
    assert_eq!(exported, documented);
}
