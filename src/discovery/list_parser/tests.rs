mod model;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::config::{self, Config};
use crate::discovery::list::{MAX_ELEMENTS, SourceList};

/// 2026-11-30T07:00:00Z
const NOW: i64 = 1_796_022_000_000_000;

/// Three providers, of which `kling` needs the param `kind`, and `ops` keeps the slashes of IDs, and a
/// source of tasks of `mj`.
const CONFIG: &str = "
global: { label_limit: 3, label_value_length_limit: 16 }
providers:
- { name: mj, preset: mjdjourney }
- { name: kling, preset: kling }
- name: ops
  base_url: https://ops.example
  request: { path: '/{+task_id}' }
  response: { status: /status, states: { running: [a] } }
file_sd_configs: [{ name: jobs, files: [a.txt], provider: mj, labels: { app: studio, team: a } }]
";

fn config(text: &str) -> Config {
    config::load_text("c.yml", text, Path::new("")).unwrap().config
}

fn parse_with(
    config: &Config,
    content: &[u8],
    format: ListFormat,
    max_elements: usize,
) -> Result<SourceList, RefreshError> {
    let now = Timestamp::from_micros(NOW);
    let (source, limits) = (&config.discovery[0], config.label_limits);
    let mut list = ListBuilder::new(source, &config.providers, limits, now, max_elements);
    parse(content.to_vec(), format, &mut list).map(|()| list.finish())
}

fn parse_text(content: &str, format: ListFormat) -> Result<SourceList, RefreshError> {
    parse_with(&config(CONFIG), content.as_bytes(), format, MAX_ELEMENTS)
}

/// The tasks of a list, each as `provider/id{label=value} [param=value] @seconds`.
fn tasks(list: &SourceList) -> Vec<String> {
    let pairs = |labels: &[(Box<str>, Box<str>)]| {
        let pairs: Vec<_> = labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
        pairs.join(",")
    };
    let text = |listed: &crate::discovery::list::ListedTask| {
        let common = &listed.task.common;
        let mut text = format!("{}/{}", common.provider, &*listed.task.id);
        text += &format!("{{{}}}", pairs(&common.labels));
        if !common.params.is_empty() {
            text += &format!(" [{}]", pairs(&common.params));
        }
        if let Some(time) = listed.enqueue_time {
            text += &format!(" @{time}");
        }
        text
    };
    list.tasks.iter().map(text).collect()
}

fn rejected(list: &SourceList) -> Vec<String> {
    let text = |element: &crate::discovery::list::RejectedElement| {
        format!("{} {}: {}", element.reason, element.element, element.message)
    };
    list.rejected.first().iter().map(text).collect()
}

#[test]
fn elements_of_all_shapes_mix() {
    let json = r#"[
        {"targets": ["a", 8076], "labels": {"provider": "kling", "__param_kind": "v/t2v",
            "__meta_x": 5, "__param_other": null, "team": "b", "__enqueue_time__": "1796021999.5"}},
        "bare", 1e3, -0.10,
        {"id": "x", "provider": "kling", "labels": {"customer": "c", "__param_kind": "no"},
            "params": {"kind": "i2v", "unused": [1]}, "enqueue_time": "2026-11-30T06:59:00Z",
            "status": {"deep": [1, 2]}},
        {"id": 9, "provider": null, "labels": null, "params": null, "enqueue_time": null},
        {"labels": {"app": "first", "app": "last"}, "id": "late", "id": "later"},
        {"targets": [], "labels": {"bad-name": "x"}},
        {"id": "two", "labels": {"b": "x", "__param_kind": "1", "team": "c", "provider": "mj",
            "__param_kind": "2", "provider": "kling"}},
        {"id": "esc\u0061ped \"\\\u00e9", "labels": {"t\u0065am": "\ud83d\ude00"}}
    ]"#;
    let yaml = "
- targets: [a, 8076]
  labels: { provider: kling, __param_kind: v/t2v, __meta_x: 5, __param_other: , team: b, __enqueue_time__: 1796021999.5 }
- bare
- 1e3
- -0.10
- id: x
  provider: kling
  labels: { customer: c, __param_kind: 'no' }
  params: { kind: i2v, unused: [1] }
  enqueue_time: 2026-11-30T06:59:00Z
  status: { deep: [1, 2] }
- { id: 9, provider: null, labels: ~, params: , enqueue_time: }
- { labels: { app: first, app: last }, id: late, id: later }
- { targets: [], labels: { bad-name: x } }
- { id: two, labels: { b: x, __param_kind: 1, team: c, provider: mj, __param_kind: 2, provider: kling } }
- { id: \"escaped \\\"\\\\é\", labels: { team: 😀 } }
";
    let expected = [
        "kling/a{app=studio,team=b} [kind=v/t2v] @1796021999.500000",
        "kling/8076{app=studio,team=b} [kind=v/t2v] @1796021999.500000",
        "mj/bare{app=studio,team=a}",
        "mj/1e3{app=studio,team=a}",
        "mj/-0.10{app=studio,team=a}",
        "kling/x{app=studio,customer=c,team=a} [kind=i2v] @1796021940.000000",
        "mj/9{app=studio,team=a}",
        "mj/later{app=last,team=a}",
        "kling/two{app=studio,b=x,team=c} [kind=2]",
        "mj/escaped \"\\é{app=studio,team=😀}",
    ];
    for (text, format) in [(json, ListFormat::Json), (yaml, ListFormat::Yaml)] {
        let list = parse_text(text, format).unwrap();
        assert_eq!(rejected(&list), [""; 0], "{format:?}");
        assert_eq!(tasks(&list), expected, "{format:?}");
        // Equal properties are held once.
        let [first, second, ..] = &list.tasks[..] else { panic!("{list:?}") };
        assert!(std::sync::Arc::ptr_eq(&first.task.common, &second.task.common));
    }
    let lines = "\u{feff}a\r\n# no\n\n  b # c\n c\u{200b}\n\u{3000}d \n#e\na\n..";
    let list = parse_text(lines, ListFormat::Lines).unwrap();
    assert_eq!(tasks(&list), ["mj/a{app=studio,team=a}", "mj/d{app=studio,team=a}"]);
    assert_eq!(
        rejected(&list),
        [
            "id b # c: line 4: a `#` after a task ID",
            "id c\u{200b}: line 5: a task ID contains the invisible character U+200B",
            "id ..: line 9: a task ID must not be `.` or `..`, which no URL can carry",
        ]
    );
}

#[test]
fn a_bad_element_is_named_and_harms_no_other() {
    let long = "x".repeat(17);
    for (element, expected) in [
        ("null", "id null: element 2: must be an ID or an object, not null"),
        ("true", "id true: element 2: must be an ID or an object, not true or false"),
        ("[1]", "id [1]: element 2: must be an ID or an object, not a list"),
        ("{}", "id {}: element 2: neither id nor targets"),
        (
            r#"{"id":"a","targets":[]}"#,
            "id {\"id\":\"a\",\"targets\":[]}: element 2: both id and targets",
        ),
        (r#"{"targets":"a"}"#, "id {\"targets\":\"a\"}: element 2: targets must be a list"),
        (r#"{"id":null}"#, "id null: element 2: a task ID must be text, not null"),
        (r#"{"id":["a"]}"#, "id a list: element 2: a task ID must be text, not a list"),
        (r#""""#, "id : element 2: a task ID must not be empty"),
        (
            r#""\ud800""#,
            "id \"\\ud800\": element 2: must be an ID or an object, not half of a surrogate pair",
        ),
        (
            r#"{"targets":["x",true]}"#,
            "id true or false: element 2, target 2: a task ID must be text, not true or false",
        ),
        (
            r#"{"id":"a","provider":"nobody"}"#,
            "provider a: element 2: unknown provider: \"nobody\"",
        ),
        (
            r#"{"id":"a","provider":7}"#,
            "provider a: element 2: the provider must be text, not a number",
        ),
        (
            r#"{"id":"a","labels":{"provider":null}}"#,
            "provider a: element 2: the provider must be text, not null",
        ),
        (r#"{"id":"a","provider":"kling"}"#, "params a: element 2: the param \"kind\" is missing"),
        (
            r#"{"id":"a","provider":"kling","params":{"kind":7}}"#,
            "params a: element 2: the param \"kind\" must be text, not a number",
        ),
        (
            r#"{"id":"a","provider":"kling","params":{"kind":""}}"#,
            "params a: element 2: the param \"kind\" must not be empty",
        ),
        (
            r#"{"id":"a","provider":"kling","params":{"kind":"a?"}}"#,
            "params a: element 2: the param \"kind\" must not contain `?`, `#` or `\\`, since its slashes are kept",
        ),
        (r#"{"id":"a","params":[]}"#, "params a: element 2: params must be an object, not a list"),
        (r#"{"id":"a","labels":"b"}"#, "labels a: element 2: labels must be an object, not text"),
        (
            r#"{"id":"a","labels":{"b":7}}"#,
            "labels a: element 2: label \"b\": must be text, not a number",
        ),
        (
            r#"{"id":"a","labels":{"b":null}}"#,
            "labels a: element 2: label \"b\": must be text, not null",
        ),
        (
            r#"{"id":"a","labels":{"status":"b"}}"#,
            "labels a: element 2: label \"status\": a label name that the exporter or Prometheus uses itself",
        ),
        (
            r#"{"id":"a","labels":{"b":"1","c":"1"}}"#,
            "labels a: element 2: label \"c\": more than 3 labels",
        ),
        (
            r#"{"id":"a","enqueue_time":true}"#,
            "time a: element 2: the enqueue time is invalid: must be text, not true or false",
        ),
        (
            r#"{"id":"a","enqueue_time":"soon"}"#,
            "time a: element 2: the enqueue time is invalid: not an RFC 3339 time: is the format correct?",
        ),
        (
            r#"{"id":"a","enqueue_time":1796022000000}"#,
            "time a: element 2: the enqueue time is invalid: days in the future: is the unit correct?",
        ),
        (
            r#"{"id":"a?b","provider":"ops"}"#,
            "id a?b: element 2: a task ID must not contain `?`, `#` or `\\`, since its slashes are kept",
        ),
        (
            r#"{"id":"a/../b","provider":"nobody"}"#,
            "id a/../b: element 2: a task ID must not have a segment `.` or `..` between slashes, percent-encoded or not",
        ),
    ] {
        let list = parse_text(&format!("[\"x\", {element}, \"y\"]"), ListFormat::Json).unwrap();
        assert_eq!(rejected(&list), [expected], "{element}");
        assert_eq!(
            tasks(&list),
            ["mj/x{app=studio,team=a}", "mj/y{app=studio,team=a}"],
            "{element}"
        );
    }
    let group = format!(r#"[{{"labels":{{"b":"{long}"}},"targets":["a",null,"b"]}}]"#);
    let list = parse_text(&group, ListFormat::Json).unwrap();
    let counts: Vec<_> = list.rejected.counts().filter(|(_, count)| *count > 0).collect();
    assert_eq!(counts, [(RejectReason::Id, 1), (RejectReason::Labels, 2)]);
    let keys: Map<String, Value> = (0..=MAX_KEYS).map(|n| (format!("__{n}"), json!(""))).collect();
    let list = parse_text(&json!([{ "id": "a", "labels": keys }]).to_string(), ListFormat::Json);
    assert_eq!(rejected(&list.unwrap()), ["labels a: element 1: labels has more than 1000 keys"]);
}

#[test]
fn yaml_has_elements_of_its_own() {
    let text = "
- &group { targets: [&a a, ~, [b], *a, b], labels: &labels { team: x } }
- *group
- { targets: &list [c, d], labels: *labels }
- { targets: *list, labels: { <<: *labels } }
- { <<: *labels, id: e }
- [f]
-
- 007
- 0x1F
- !!str null
- { targets: x, targets: [g] }
- { targets: [h], targets: &empty [] }
";
    let list = parse_text(text, ListFormat::Yaml).unwrap();
    let ids: Vec<_> = list.tasks.iter().map(|listed| &*listed.task.id).collect();
    assert_eq!(ids, ["a", "b", "c", "d", "007", "0x1F", "null", "g"]);
    assert_eq!(&*list.tasks[2].task.common.labels[1].1, "x");
    let group = [
        "id null: element 1, target 2: a task ID must be text, not null",
        "id a list: element 1, target 3: a task ID must be text, not a list",
    ];
    let again = group.map(|text| text.replace("element 1", "element 2"));
    let merge = "labels c: element 4, target 1: label \"<<\": must be text, not a block of keys";
    let expected = [
        group.map(str::to_owned).to_vec(),
        again.to_vec(),
        vec![
            merge.to_owned(),
            merge.replace("target 1", "target 2").replace("labels c", "labels d"),
        ],
        vec!["id { <<, id }: element 5: merge keys (`<<`) are not supported".to_owned()],
        vec!["id a list: element 6: must be an ID or a block of keys, not a list".to_owned()],
        vec!["id nothing: element 7: must be an ID or a block of keys, not nothing".to_owned()],
    ];
    assert_eq!(rejected(&list), expected.concat());
}

#[test]
fn what_is_no_list_fails_as_a_whole() {
    let deep = format!("[{}{}]", "[".repeat(128), "]".repeat(128));
    for (format, text, expected) in [
        (ListFormat::Json, "", "empty: a list without tasks is []"),
        (ListFormat::Json, " \n", "empty: a list without tasks is []"),
        (ListFormat::Json, "{\"a\": []}", "not a list of tasks, but an object"),
        (ListFormat::Json, "\"a\"", "not a list of tasks, but text"),
        (ListFormat::Json, "7", "not a list of tasks, but a number"),
        (ListFormat::Json, "null", "not a list of tasks, but null"),
        (ListFormat::Json, "<html>", "not JSON: line 1 column 1"),
        (ListFormat::Json, "[\"a\",", "the JSON is cut off"),
        (ListFormat::Json, "[\"a", "the JSON is cut off"),
        (ListFormat::Json, "[{\"id\": \"a\"", "the JSON is cut off"),
        (ListFormat::Json, "[\"a\"]\n]", "not JSON: line 2 column 1"),
        (ListFormat::Json, "[007]", "not JSON: line 1 column 3"),
        (ListFormat::Json, "[\"a\",]", "not JSON: line 1 column 6"),
        (ListFormat::Json, "[{\"id\": \"a\", }]", "not JSON: line 1 column 14"),
        (ListFormat::Json, &deep, "nested deeper than 128"),
        (ListFormat::Yaml, "", "not a list of tasks, but nothing"),
        (ListFormat::Yaml, "a: b", "not a list of tasks, but a block of keys"),
        (ListFormat::Yaml, "a", "not a list of tasks, but text"),
        (
            ListFormat::Yaml,
            "[a",
            "line 1 column 1: not valid YAML: a quote or bracket is never closed",
        ),
        (
            ListFormat::Yaml,
            "- a\n---\n- b",
            "line 2 column 1: more than one YAML document in the file",
        ),
        (ListFormat::Yaml, &deep, "line 1 column 65: nested too deeply"),
    ] {
        let error = parse_text(text, format).unwrap_err();
        assert_eq!(error, RefreshError::new(Reason::Decode, expected), "{text:?}");
    }
    for format in [ListFormat::Json, ListFormat::Yaml, ListFormat::Lines] {
        let error = parse_with(&config(CONFIG), b"[\"a\xff\"]", format, 1).unwrap_err();
        assert_eq!(error.reason, Reason::Decode.into(), "{format:?}");
    }
    let list = parse_text(&format!("[{}{}]", "[".repeat(127), "]".repeat(127)), ListFormat::Json);
    assert_eq!(list.unwrap().rejected.total(), 1);
}

#[test]
fn a_list_has_at_most_a_million_elements() {
    for (format, fits, exceeds) in [
        (ListFormat::Json, "[1, null, {}]", "[1, null, {}, 2]"),
        (ListFormat::Json, r#"[{"targets":[]},{"targets":[1,2]}]"#, r#"[{"targets":[1,1,1,1]}]"#),
        (ListFormat::Yaml, "[1, null, {}]", "[{targets: [1, 2]}, 3, 4]"),
        (ListFormat::Lines, "a\nb\n\n\n#\nc", "a\na\na\na"),
    ] {
        assert!(parse_with(&config(CONFIG), fits.as_bytes(), format, 3).is_ok(), "{fits}");
        let error = parse_with(&config(CONFIG), exceeds.as_bytes(), format, 3).unwrap_err();
        let expected = RefreshError::new(Reason::TooLarge, "more than 3 elements");
        assert_eq!(error, expected, "{exceeds}");
    }
}

#[test]
fn the_only_provider_is_that_of_all_tasks() {
    let one = "providers: [{ name: mj, preset: mjdjourney }]\nfile_sd_configs: [{ name: a, files: [a.txt] }]";
    let list = parse_with(&config(one), b"[\"a\"]", ListFormat::Json, 9).unwrap();
    assert_eq!(tasks(&list), ["mj/a{}"]);
    let two = CONFIG.replace("provider: mj, labels", "labels");
    let list = parse_with(&config(&two), b"[\"a\"]", ListFormat::Json, 9).unwrap();
    let expected = "provider a: element 1: names no provider, and there is more than one";
    assert_eq!(rejected(&list), [expected]);
}
