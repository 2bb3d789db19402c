//! Log lines: whatever comes from outside, each is one event whose fields are our own.

use std::collections::BTreeMap;

use aitask_exporter::printable::is_invisible;
use serde_json::{Value, json};

use crate::harness::{Dir, Exporter, Gateway, eventually};

/// Lines and fields of its own, and all that moves a cursor or turns the direction of writing.
const HOSTILE: &str = "x\n{\"level\":\"error\",\"msg\":\"forged\"}\r\ntime=1 level=error msg=forged\r\
                       \u{1b}[31m\u{9b}2J\u{7f}\u{8} \u{85}\u{2028}\u{2029}\u{202e}\u{2066} \
                       \"level=error\" \\\" \\ ` 'é' {} forged=1";

/// Our own fields.
const FIELDS: [&str; 17] = [
    "address",
    "api_message",
    "code",
    "detail",
    "error",
    "from",
    "level",
    "msg",
    "provider",
    "providers",
    "reason",
    "sources",
    "status",
    "task_id",
    "tasks",
    "time",
    "to",
];

type Event = BTreeMap<String, String>;

/// Reads a line of logfmt: `key=value` with one space between, values bare or strings of JSON.
fn logfmt(line: &str) -> Option<Event> {
    let mut event = Event::new();
    let mut rest = line;
    loop {
        let (key, behind) = rest.split_once('=')?;
        if key.is_empty() || !key.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return None;
        }
        let end = match behind.strip_prefix('"') {
            Some(text) => {
                let mut escaped = false;
                let closing = text.find(|c| {
                    let closes = c == '"' && !escaped;
                    escaped = c == '\\' && !escaped;
                    closes
                });
                closing? + 2
            }
            None => behind.find(' ').unwrap_or(behind.len()),
        };
        let (value, after) = behind.split_at(end);
        let value = match value.starts_with('"') {
            true => serde_json::from_str(value).ok()?,
            false => value.to_owned(),
        };
        let bare = !behind.starts_with('"');
        if bare && (value.is_empty() || value.contains(['=', '"', '\\', '`'])) {
            return None;
        }
        if event.insert(key.to_owned(), value).is_some() {
            return None;
        }
        match after.strip_prefix(' ') {
            Some(more) => rest = more,
            None => return after.is_empty().then_some(event),
        }
    }
}

fn object(line: &str) -> Option<Event> {
    let Value::Object(fields) = serde_json::from_str(line).ok()? else { return None };
    let text = |value: Value| value.as_str().map_or(value.to_string(), str::to_owned);
    // Serde takes the last of two fields in silence; we write none twice.
    let written = fields.keys().map(|key| line.matches(&format!("{key:?}:")).count());
    (written.sum::<usize>() == fields.len())
        .then(|| fields.into_iter().map(|(key, value)| (key, text(value))).collect())
}

fn events(log: &str, read: fn(&str) -> Option<Event>) -> Vec<Event> {
    let acts =
        |c: char| c != '\n' && c.is_control() || "\u{2028}\u{2029}\u{202e}\u{2066}".contains(c);
    assert!(!log.contains(acts), "{log:?}");
    // The last line may be under way.
    let (whole, _) = log.rsplit_once('\n').unwrap();
    let lines = whole.split('\n');
    let events = lines.map(|line| read(line).unwrap_or_else(|| panic!("malformed: {line}")));
    events.inspect(strict).collect()
}

fn strict(event: &Event) {
    assert!(event.keys().all(|key| FIELDS.contains(&key.as_str())), "{event:?}");
    assert!(event["time"].parse::<jiff::Timestamp>().is_ok(), "{event:?}");
    assert!(["debug", "info", "warn", "error"].contains(&&*event["level"]), "{event:?}");
    assert_ne!(event["msg"], "forged");
}

/// A text in YAML: what is not plain ASCII escaped, or YAML's reader would take it for a break.
fn yaml(text: &str) -> String {
    let escape = |unit: u16| match char::from_u32(unit.into()) {
        Some(c) if c.is_ascii_alphanumeric() => c.to_string(),
        _ => format!("\\u{unit:04x}"),
    };
    format!("\"{}\"", text.encode_utf16().map(escape).collect::<String>())
}

fn nothing_is_forged(format: &str, read: fn(&str) -> Option<Event>) {
    let gateway = Gateway::start();
    // An ID has no invisible characters, and the name of a provider has no control characters
    // either.
    let id = HOSTILE.replace(is_invisible, "");
    let name = id.replace(char::is_control, "");
    gateway.put(&id, &json!({ "steps": [{ "status": HOSTILE }] }));
    let code = json!({ "kind": "code", "code": HOSTILE, "message": HOSTILE });
    gateway.put("refused", &json!({ "fault": code }));
    let config = format!(
        "global: {{ poll_interval: 200ms }}\nproviders: [{}]\ntasks: [{}, refused]\n",
        gateway.provider(&yaml(&name), ""),
        yaml(&id)
    );
    let flags = ["--log.level=debug", &format!("--log.format={format}")];
    let exporter = Exporter::start_in(Dir::with(&config), &flags);
    let wrong = format!("{config}oops: {}\n", yaml(HOSTILE));
    assert_eq!(exporter.reload(&wrong.replace("refused", "{ id: x, labels: 1 }")).status, 500);
    for fields in [
        &[("task_id", &*id), ("status", HOSTILE)][..],
        &[("code", HOSTILE), ("detail", HOSTILE)],
        &[("code", HOSTILE), ("api_message", HOSTILE)],
    ] {
        eventually(&format!("an event has {fields:?}"), || {
            let events = events(&exporter.process.log(), read);
            let told = |event: &Event, field: &str, text: &str| {
                event.get(field).is_some_and(|value| value.contains(text))
            };
            let is_it = |event: &&Event| {
                let mut fields = fields.iter();
                told(event, "provider", &name) && fields.all(|(f, text)| told(event, f, text))
            };
            events.iter().find(is_it).map(|_| ())
        });
    }
    let events = events(&exporter.process.log(), read);
    assert!(events.iter().any(|event| event["msg"].starts_with("configuration not reloaded")));
}

#[test]
fn logfmt_cannot_be_forged() {
    nothing_is_forged("logfmt", logfmt);
}

#[test]
fn json_cannot_be_forged() {
    nothing_is_forged("json", object);
}

/// The readers themselves find what is forged.
#[test]
fn malformed_lines_are_found() {
    for line in ["a=1 b=\"x\\\"\\n\" c=2", "a=\"\""] {
        assert!(logfmt(line).is_some(), "{line}");
    }
    for line in
        ["", "a", "a=1  b=2", "a=1 a=2", "a=b=c", "a=\"x", "a=\"x\"y", "a=\"\\x\"", "a= b=1"]
    {
        assert!(logfmt(line).is_none(), "{line}");
    }
    assert!(object(r#"{"a":1,"b":"x"}"#).is_some());
    for line in ["", "[]", r#"{"a":1}{"#, r#"{"a":1,"a":2}"#] {
        assert!(object(line).is_none(), "{line}");
    }
}
