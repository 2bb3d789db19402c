use super::super::paths::parse_pointer;
use super::*;

fn paths() -> Paths {
    let mut paths = Paths::new(&["data".to_owned()], None);
    paths.add(FieldName::Status, 0, &["status".to_owned()]);
    paths.add(FieldName::Id, 0, &["id".to_owned()]);
    paths.add(FieldName::Code, 0, &["code".to_owned()]);
    paths.add(FieldName::Message, 0, &["data".to_owned(), "error".to_owned(), "text".to_owned()]);
    paths
}

fn extract(body: &str, is_truncated: bool) -> Result<Extract<'_>, String> {
    paths().extract(body.as_bytes(), is_truncated, &|id| id != "unwanted")
}

fn status(body: &str) -> Result<FieldValue<'_>, String> {
    match extract(body, false)?.tasks {
        ExtractedTasks::One(task) => Ok(task.get(FieldName::Status).clone()),
        other => Err(format!("{other:?}")),
    }
}

fn text(text: &'static str) -> FieldValue<'static> {
    FieldValue::Text(text.into())
}

#[test]
fn one_pass_finds_what_is_there() {
    assert_eq!(status(r#"{"data": {"x": [{}], "status": "a"}, "code": 0}"#), Ok(text("a")));
    assert_eq!(status("\u{feff}{\"data\": {\"status\": 7}}"), Ok(text("7")));
    assert_eq!(status(r#"{"data": {"status": "a\u00e9"}}"#), Ok(text("aé")));
    // As JSON's readers mostly do, the last of two wins.
    assert_eq!(status(r#"{"data": {"status": "a", "status": "b"}}"#), Ok(text("b")));
    assert_eq!(status(r#"{"data": {"status": "a"}, "data": {}}"#), Ok(FieldValue::Missing));
    assert_eq!(status(r#"{"data": {"status": {}}}"#), Ok(FieldValue::Other("an object")));
    for broken in ["", "{", "{}}", "nil", "{\"data\": {}} x", "{\"data\": {\"status\": \"a\""] {
        assert!(status(broken).is_err(), "{broken}");
    }
}

#[test]
fn the_envelope_is_found_wherever_the_task_is() {
    for (task, code, body) in [
        ("/r", "/r/error/code", r#"{"r": {"error": {"code": 7}, "status": "a"}}"#),
        ("/r", "/r/code", r#"{"r": {"status": "a", "code": 7}}"#),
        ("", "/error/code", r#"{"status": "a", "error": {"code": 7}}"#),
        ("/r/task", "/r/code", r#"{"r": {"task": {"status": "a"}, "code": 7}}"#),
        ("/r/0", "/r/0/code", r#"{"r": [{"status": "a", "code": 7}, {"code": 8}]}"#),
        ("/r/0", "/r/1/code", r#"{"r": [{"status": "a"}, {"code": 7}]}"#),
        // The same place is both.
        ("/r", "/r/status", r#"{"r": {"status": 7}}"#),
    ] {
        let mut paths = Paths::new(&parse_pointer(task).unwrap(), None);
        paths.add(FieldName::Status, 0, &["status".to_owned()]);
        let code = parse_pointer(code).unwrap();
        paths.add(FieldName::Code, 0, &code);
        let extract = paths.extract(body.as_bytes(), false, &|_| true).unwrap();
        assert_eq!(*extract.envelope.get(FieldName::Code), text("7"), "{body}");
        let ExtractedTasks::One(task) = &extract.tasks else {
            panic!("{body}: {:?}", extract.tasks)
        };
        assert!(task.get(FieldName::Status).is_present(), "{body}");
    }
    // In an array an index leads from the top; of an element the same path is none.
    let body = r#"{"data": [{"id": "a", "error": {"text": "no"}}, {"id": "b"}]}"#;
    assert_eq!(
        *extract(body, false).unwrap().envelope.get(FieldName::Message),
        FieldValue::Missing
    );
    let mut paths = paths();
    let second = ["data", "1", "text"].map(str::to_owned);
    paths.add(FieldName::RetryAfter, 0, &second);
    let body = r#"{"data": [{"id": "a", "text": 1}, {"id": "b", "text": 2}]}"#;
    let extract = paths.extract(body.as_bytes(), false, &|_| true).unwrap();
    assert_eq!(*extract.envelope.get(FieldName::RetryAfter), text("2"));
    assert!(matches!(extract.tasks, ExtractedTasks::Many { wanted, .. } if wanted.len() == 2));
}

#[test]
fn of_a_cut_body_counts_what_is_whole() {
    let whole = r#"{"code": 70, "data": {"id": "x", "status": "done", "s": 12, "n": [1]}, "z": 1}"#;
    for end in 0..=whole.len() {
        let extract = extract(&whole[..end], true).unwrap();
        let stands = |part: &str| whole.find(part).unwrap() + part.len() <= end;
        let code = if stands("70,") { text("70") } else { FieldValue::Missing };
        assert_eq!(*extract.envelope.get(FieldName::Code), code, "{end}");
        let task = match &extract.tasks {
            ExtractedTasks::One(task) => Some(task),
            ExtractedTasks::Missing => None,
            other => panic!("{end}: {other:?}"),
        };
        assert_eq!(task.is_some(), stands("\"data\": {"), "{end}");
        let found = task.map_or(&FieldValue::Missing, |task| task.get(FieldName::Status));
        assert_eq!(*found, if stands("\"done\"") { text("done") } else { FieldValue::Missing });
        let expected = match task {
            Some(_) if stands("[1]}, \"z\": 1}") => ReadEnd::Whole,
            Some(_) if !stands("[1]}") => ReadEnd::InTasks,
            _ => ReadEnd::Outside,
        };
        assert_eq!(extract.end, expected, "{end}");
    }
    // What is no JSON so far never becomes any.
    assert!(extract(r#"{"data": {"status": "done"}} <"#, true).is_err());
    assert!(extract("<html>", true).is_err());
    let deep = format!(r#"{{"data": {{"status": "done"}}, "z": {}"#, "[".repeat(MAX_DEPTH));
    assert!(extract(&deep, true).is_err());
}

#[test]
fn complete_elements_of_a_truncated_array_count() {
    let whole = r#"{"data": [{"id": "a", "status": "x"}, {"id": "b", "status": "y"}], "z": [1]}"#;
    for end in whole.find('[').unwrap() + 1..whole.len() {
        let extract = extract(&whole[..end], true).unwrap();
        let ExtractedTasks::Many { wanted, unnamed: false, .. } = &extract.tasks else {
            panic!("{end}")
        };
        let count = whole[..end].matches("\"}").count();
        assert_eq!(wanted.len(), count, "{end}");
        let is_array_whole = end > whole.find(']').unwrap();
        assert_eq!(extract.end, if is_array_whole { ReadEnd::Outside } else { ReadEnd::InTasks });
    }
}

#[test]
fn depth_is_bounded_wherever_it_is() {
    let nested = |depth: usize| {
        let (open, close) = ("[".repeat(depth), "]".repeat(depth));
        format!(r#"{{"data": {{"status": "[[[["}}, "skipped": {open}{close}}}"#)
    };
    assert!(status(&nested(MAX_DEPTH - 1)).is_ok());
    assert!(status(&nested(MAX_DEPTH)).is_err());
}

#[test]
fn an_answer_cannot_make_us_keep_a_task_twice() {
    let body =
        r#"{"data": [{"id":"a","status":1},{"id":"a","status":1},{"id":"b"},{"id":"unwanted"}]}"#;
    let ExtractedTasks::Many { wanted, .. } = extract(body, false).unwrap().tasks else { panic!() };
    let kept = wanted.iter().map(|task| [FieldName::Id, FieldName::Status].map(|f| task.get(f)));
    let expected = [[&text("a"), &text("1")], [&text("b"), &FieldValue::Missing]];
    assert_eq!(kept.collect::<Vec<_>>(), expected);
}

#[test]
fn blank_ids_are_none() {
    let body = r#"{"data": [{"id":"","status":1},{"id":" "},{"id":null},{}]}"#;
    let tasks = extract(body, false).unwrap().tasks;
    assert!(matches!(tasks, ExtractedTasks::Many { unnamed: true, .. }), "{tasks:?}");
}

#[test]
fn an_id_ends_where_the_mapping_says_so() {
    let mut paths = Paths::new(&[], Some("-"));
    paths.add(FieldName::Id, 0, &["id".to_owned()]);
    let body = br#"[{"id": "a-1"}, {"id": "-2"}, {"id": "b"}]"#;
    let ExtractedTasks::Many { wanted, .. } = paths.extract(body, false, &|_| true).unwrap().tasks
    else {
        panic!();
    };
    let ids = wanted.iter().map(|row| paths.id(row).unwrap());
    assert_eq!(ids.collect::<Vec<_>>(), ["a", "b"]);
}
