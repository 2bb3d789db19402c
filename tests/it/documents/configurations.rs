//! The configurations of the documents are accepted by the programs that they are for.

use std::process::Command;

use aitask_exporter::config::{self, preset};
use serde_json::Value;

use super::markdown::{Block, blocks, spans};
use crate::harness::tools::said;
use crate::harness::{Dir, run};
use crate::web_config;

/// Writes the secret files that a configuration names, but for those of the web server.
fn write_secrets(dir: &Dir, text: &str) {
    let keys = text.split("_file: ").skip(1);
    let names = keys.map(|rest| rest.split([' ', '\n', '}', ',']).next().unwrap());
    for name in names.chain(["token"]) {
        let is_data_source = text.contains(&format!("data_source_name_file: {name}"));
        dir.write(
            name,
            if is_data_source { "postgres://app:t0ken@db.example/app" } else { "t0ken" },
        );
    }
}

/// Sections of which a configuration of the exporter in the documents has at least one.
const SECTIONS: [&str; 5] =
    ["providers", "http_sd_configs", "file_sd_configs", "sql_sd_configs", "task_receiver"];

/// The program that a configuration is for accepts it.
fn assert_is_right(block: &Block) -> &'static str {
    let (text, place) = (&*block.text, block.place());
    let parsed: Value =
        serde_yaml::from_str(text).unwrap_or_else(|error| panic!("{place}: {error}"));
    let has = |key: &str| parsed.get(key).is_some();
    let dir = Dir::new();
    let file = dir.write("aitask.yml", text);
    let file = file.to_str().unwrap();
    let (program, arguments) = match () {
        () if SECTIONS.iter().any(|key| has(key)) => {
            write_secrets(&dir, text);
            // The user of the registrations.
            let web = dir.write("web.yml", &web_config::users::file(&[("app", "word")]));
            let web = ["--web.config.file", web.to_str().unwrap()];
            let web = if has("task_receiver") { &web[..] } else { &[] };
            let output = run([&["--config.check", "--config.file", file], web].concat());
            let errors = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{place}: {errors}\n{text}");
            return "aitask_exporter";
        }
        () if has("tls_server_config") || has("basic_auth_users") => {
            web_config::files::assert_is_right(text);
            return "web";
        }
        () if has("scrape_configs") => ("promtool", ["check", "config", "--syntax-only"]),
        () if has("groups") => ("promtool", ["check", "rules", "--lint=all"]),
        () if has("route") => {
            said(Command::new("amtool").args(["check-config", file]));
            return "amtool";
        }
        () => panic!("{place}: nothing is known that reads this\n{text}"),
    };
    said(Command::new(program).args(arguments).arg(file));
    arguments[1]
}

#[test]
fn every_configuration_is_right() {
    let blocks = blocks().into_iter().filter(|block| block.kind == "yaml");
    let readers: Vec<_> = blocks.map(|block| assert_is_right(&block)).collect();
    for (reader, least) in [("aitask_exporter", 25), ("web", 1), ("config", 3), ("rules", 1)] {
        let count = readers.iter().filter(|name| **name == reader).count();
        assert!(count >= least, "{reader}: {count}");
    }
}

/// Parts of a configuration between backticks are right in some place of one.
#[test]
fn every_part_of_a_configuration_is_right_somewhere() {
    let mut count = 0;
    for span in spans() {
        let Some((key, value)) = span.text.split_once(": ") else { continue };
        let is_key = key.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        if !is_key || !value.starts_with(['{', '[']) {
            continue;
        }
        count += 1;
        let part = span.text.replace('…', "x");
        let dir = Dir::new();
        write_secrets(&dir, &part);
        let is_right = |text: String| config::load_text("part.yml", &text, &dir.path("")).is_ok();
        let provider = |preset: &str, keys: &str| {
            format!("{{ name: midjourney, preset: {preset}, base_url: 'http://a', {keys} }}")
        };
        let anywhere = preset::NAMES.iter().any(|name| {
            let somewhere = [
                format!("providers: [{}]\n{part}\n", provider(name, "")),
                format!("providers: [{}]\n", provider(name, &part)),
                format!("providers: [{}]\n", provider(name, &format!("request: {{ {part} }}"))),
                format!("providers: [{}]\n", provider(name, &format!("response: {{ {part} }}"))),
                format!("providers: [{}]\ntasks: [{{ id: a, {part} }}]\n", provider(name, "")),
            ];
            somewhere.into_iter().any(is_right)
        });
        assert!(anywhere, "{}: {part}", span.path);
    }
    assert!(count > 5, "{count}");
}

/// The smallest file that works, with the token in either header of its gateway.
#[test]
fn the_smallest_configuration_works() {
    let [bearer, secret] = [
        "authorization: { credentials_file: token }",
        "http_headers: { mj-api-secret: { files: [token] } }",
    ]
    .map(|credentials| {
        format!(
            "providers:\n  - name: mjdjourney\n    preset: mjdjourney\n    {credentials}\n\
                     tasks:\n  - 42a28dda-dc7a-4186-ac86-6e16c1fcef17\n"
        )
    });
    let documented =
        |block: &Block| block.text.ends_with(&bearer) && block.text.lines().count() < 8;
    assert!(blocks().iter().any(documented), "no document has it");
    for text in [bearer, secret] {
        let dir = Dir::with(&text);
        write_secrets(&dir, &text);
        let output =
            run(["--config.check", "--config.file", dir.path("aitask.yml").to_str().unwrap()]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
}

/// The password with which the documented Prometheus comes is that of the documented user.
#[test]
fn the_password_of_the_web_configuration_fits() {
    let of_page = |block: &Block| block.kind == "yaml" && block.path == "docs/web-configuration.md";
    let parsed =
        blocks().into_iter().filter(of_page).map(|block| serde_yaml::from_str(&block.text));
    let parsed: Vec<Value> = parsed.map(Result::unwrap).collect();
    let find = |pointer| parsed.iter().find_map(|block| block.pointer(pointer)).unwrap();
    let account = find("/scrape_configs/0/basic_auth");
    let [user, password] = ["username", "password"].map(|key| account[key].as_str().unwrap());
    let hash = find("/basic_auth_users")[user].as_str().unwrap();
    let dir = Dir::new();
    let file = dir.write("users", &format!("{user}:{hash}\n"));
    said(Command::new("htpasswd").arg("-vb").arg(file).args([user, password]));
}
