//! `compose.yml` starts what is there: files that exist, flags that the program has, addresses that
//! fit one another. No engine runs it here.

use std::fs;
use std::process::Command;

use aitask_exporter::cli::Cli;
use clap::Parser;

use crate::dashboards::rules;
use crate::harness::tools::said;
use crate::harness::{Dir, read_yaml, root, strings};

#[test]
fn every_file_that_is_mounted_exists() {
    let compose = read_yaml("compose.yml");
    let mut mounted = 0;
    for (name, service) in compose["services"].as_object().unwrap() {
        for volume in strings(&service["volumes"]) {
            let [host, _, mode] = volume.split(':').collect::<Vec<_>>()[..] else {
                panic!("{name}: {volume}")
            };
            assert!(root(host).exists() && mode == "ro", "{name}: {volume}");
            mounted += 1;
        }
        // A demo is for this machine alone.
        for port in strings(&service["ports"]) {
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
    assert!(mounted > 6);
}

#[test]
fn our_commands_are_commands() {
    let services = &read_yaml("compose.yml")["services"];
    for service in ["simulator", "exporter"] {
        let arguments = strings(&services[service]["command"]);
        let parsed = Cli::try_parse_from(std::iter::once("aitask_exporter").chain(arguments));
        assert!(parsed.is_ok(), "{service}: {:?}", parsed.err());
    }
    // The exporter polls the gateway at the address in the configuration of the demo.
    assert_eq!(services["exporter"]["network_mode"], "service:simulator");
    let demo = fs::read_to_string(root("config/demo.yml")).unwrap();
    assert!(demo.contains("base_url: http://127.0.0.1:10055/"));
    assert!(strings(&services["simulator"]["command"]).contains(&"--web.listen-address=:10055"));
}

#[test]
fn the_parts_find_one_another() {
    let services = &read_yaml("compose.yml")["services"];
    let prometheus = read_yaml("config/compose/prometheus.yml");
    let target = &prometheus["scrape_configs"][0]["static_configs"][0]["targets"][0];
    let alias = &services["simulator"]["networks"]["default"]["aliases"][0];
    assert_eq!(*target, format!("{}:10054", alias.as_str().unwrap()));
    let alertmanager =
        &prometheus["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"][0];
    assert_eq!(*alertmanager, "alertmanager:9093");
    assert!(services["alertmanager"].is_object());

    let source = &read_yaml("dashboards/provisioning/datasources/aitask.yml")["datasources"][0];
    assert_eq!(
        (&source["type"], &source["url"]),
        (&"prometheus".into(), &"http://prometheus:9090".into())
    );
    let interval = &prometheus["global"]["scrape_interval"];
    assert_eq!(source["jsonData"]["timeInterval"], *interval);

    let provider = &read_yaml("dashboards/provisioning/dashboards/aitask.yml")["providers"][0];
    let folder = provider["options"]["path"].as_str().unwrap();
    let volumes = strings(&services["grafana"]["volumes"]);
    for name in crate::dashboards::board::NAMES {
        let volume = format!("./dashboards/{name}.json:{folder}/{name}.json:ro");
        assert!(volumes.contains(&&*volume), "{volume}");
    }
    assert!(volumes.contains(&"./dashboards/provisioning:/etc/grafana/provisioning:ro"));
}

/// As in the container: the rules beside the configuration.
#[test]
fn the_configurations_are_right() {
    let dir = Dir::new();
    for (path, name) in [
        ("config/compose/prometheus.yml", "prometheus.yml"),
        ("dashboards/alerts/aitask.rules.yml", "aitask.rules.yml"),
    ] {
        fs::copy(root(path), dir.path(name)).unwrap();
    }
    for file in [dir.path("prometheus.yml"), root("config/prometheus.yml")] {
        let said = said(Command::new("promtool").args(["check", "config"]).arg(file));
        let count = format!("{} rules found", rules::all().len());
        assert!(said.contains(&count), "{said}");
    }
    said(Command::new("amtool").arg("check-config").arg(root("config/alertmanager.yml")));
}
