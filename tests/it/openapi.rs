//! The description of the API, docs/openapi.json, against the program: what it says happens, and what
//! happens it says.

mod answers;
mod schemathesis;

use std::collections::BTreeSet;
use std::fs;
use std::process::Command;

use aitask_exporter::observation::State;
use aitask_exporter::web::query::order::SortColumn;
use serde_json::Value;

use crate::harness::tools::{said, test_tool};
use crate::harness::{Dir, Exporter, Gateway, http, root};
use crate::registration;

const PATH: &str = "docs/openapi.json";
/// The path at which the exporter serves it.
const TARGET: &str = "/api/v1/openapi.json";
/// Every method of HTTP that has a meaning here.
const METHODS: [&str; 6] = ["GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS"];

/// Starts an exporter that takes registrations for the provider `mj`, with further top-level keys in the
/// configuration and further flags.
fn start_receiver(gateway: &Gateway, keys: &str, flags: &[&str]) -> Exporter {
    let provider = gateway.provider("mj", "max_in_flight: 64");
    let dir = Dir::with(&format!("providers: [{provider}]\n{keys}"));
    let flags = registration::flags(&dir, flags);
    Exporter::start_in(dir, &flags)
}

fn description() -> Value {
    serde_json::from_str(&fs::read_to_string(root(PATH)).unwrap()).unwrap()
}

/// Returns each operation: path, method in capitals, description.
fn operations(description: &Value) -> Vec<(&str, String, &Value)> {
    let paths = description["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, item)| {
        let methods = item.as_object().unwrap().iter();
        methods.map(move |(method, operation)| (&**path, method.to_uppercase(), operation))
    });
    operations.collect()
}

/// Returns what a reference leads to; the value itself if it is none.
fn resolve<'d>(description: &'d Value, value: &'d Value) -> &'d Value {
    match value["$ref"].as_str() {
        Some(pointer) => description.pointer(&pointer[1..]).unwrap(),
        None => value,
    }
}

fn texts(value: &Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn it_is_valid_and_served_as_it_is_written() {
    said(Command::new(test_tool("openapi-spec-validator")).arg(root(PATH)));
    let exporter = Exporter::start("providers: []\n");
    let reply = exporter.get(TARGET);
    assert_eq!((reply.status, reply.header("content-type")), (200, Some("application/json")));
    assert_eq!(reply.text(), fs::read_to_string(root(PATH)).unwrap());
    assert_eq!(description()["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn it_has_the_names_of_the_code_and_of_the_document() {
    let description = description();
    let states = texts(&description["components"]["schemas"]["State"]["enum"]);
    assert_eq!(states, State::ALL.into_iter().map(State::as_str).collect());
    let list = &description["paths"]["/api/v1/tasks"]["get"];
    let parameters = list["parameters"].as_array().unwrap();
    let parameter = |name: &str| {
        let found = parameters.iter().find(|parameter| parameter["name"] == name);
        &found.unwrap_or_else(|| panic!("{name}"))["schema"]
    };
    let columns: Vec<_> = SortColumn::ALL.into_iter().map(SortColumn::as_str).collect();
    let reversed = columns.iter().map(|column| format!("-{column}"));
    let orders: BTreeSet<_> =
        columns.iter().map(|name| (*name).to_owned()).chain(reversed).collect();
    let described = texts(&parameter("sort")["enum"]).into_iter().map(str::to_owned).collect();
    assert_eq!(orders, described);
    // The error names all parameters. Those of the labels are one object in the description.
    let exporter = Exporter::start("providers: []\n");
    let error = exporter.get("/api/v1/tasks?oops=1").text().to_owned();
    let named = error.split_once("filters are ").unwrap().1.replace("; order and pages are", ",");
    let named = named.replace(" and ", ", ").replace("label.NAME", "labels");
    let named: BTreeSet<_> = named.trim().split(", ").collect();
    let described = parameters.iter().map(|parameter| parameter["name"].as_str().unwrap());
    assert_eq!(named, described.collect());
    // Its limits are the limits.
    let limit = parameter("limit");
    let (least, most) = (limit["minimum"].as_u64().unwrap(), limit["maximum"].as_u64().unwrap());
    for (value, status) in [(least, 200), (most, 200), (least - 1, 400), (most + 1, 400)] {
        assert_eq!(exporter.get(&format!("/api/v1/tasks?limit={value}")).status, status);
    }
    let labels = parameter("labels")["maxProperties"].as_u64().unwrap();
    let query = |count| (0..count).map(|n| format!("label.l{n}=a")).collect::<Vec<_>>().join("&");
    assert_eq!(exporter.get(&format!("/api/v1/tasks?{}", query(labels))).status, 200);
    assert_eq!(exporter.get(&format!("/api/v1/tasks?{}", query(labels + 1))).status, 400);
    // docs/api.md has the same fields.
    let document = fs::read_to_string(root("docs/api.md")).unwrap();
    for schema in ["Task", "TaskList", "History", "Registered", "RegisteredList"] {
        let fields =
            description["components"]["schemas"][schema]["properties"].as_object().unwrap();
        for field in fields.keys() {
            assert!(
                document.contains(&format!("`{field}`"))
                    || document.contains(&format!("\"{field}\"")),
                "{schema}: {field}"
            );
        }
    }
}

/// Returns the paths of the API that the code of the web server names, as the description writes
/// them.
fn paths_of_code() -> BTreeSet<String> {
    let mut files = vec![root("src/web.rs")];
    crate::architecture::files(&root("src/web"), &mut files);
    let mut paths = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let code = text.split("#[cfg(test)]").next().unwrap();
        let code = code.lines().filter(|line| !line.trim_start().starts_with("//"));
        for line in code {
            for path in line.split('"').skip(1).step_by(2).filter(|path| path.starts_with("/api/"))
            {
                paths.insert(path.replace("{*", "{"));
            }
        }
    }
    paths
}

#[test]
fn it_has_every_path_and_method() {
    let description = description();
    let operations = operations(&description);
    let described: BTreeSet<_> = operations.iter().map(|(path, ..)| (*path).to_owned()).collect();
    assert_eq!(described, paths_of_code());
    let gateway = Gateway::start();
    let exporter = start_receiver(&gateway, "", &[]);
    for path in described {
        let target = path.replace("{provider}", "mj").replace("{id}", "some-id");
        let methods = operations.iter().filter(|(known, ..)| **known == path);
        let known: BTreeSet<_> = methods.map(|(_, method, _)| &**method).collect();
        for method in METHODS {
            let reply = http::send(exporter.address, method, &target, &[], "").unwrap();
            assert_eq!(reply.status == 405, !known.contains(method), "{method} {path}: {reply:?}");
            if reply.status == 405 {
                let allowed = reply.header("allow").unwrap().split(',').map(str::trim);
                let allowed: BTreeSet<_> = allowed.filter(|method| *method != "HEAD").collect();
                assert_eq!(allowed, known, "{path}");
            }
        }
    }
}
