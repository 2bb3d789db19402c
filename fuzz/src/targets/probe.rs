//! The bytes are the query of a URL, of `/probe` and of the lists of tasks, as it comes over the wire
//! and as text.

use aitask_exporter::printable::is_printable;
use aitask_exporter::web::probe::Question;
use aitask_exporter::web::task_filter;
use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub fn run(data: &[u8]) {
    if let Ok(uri) = Uri::try_from([b"/probe?", data].concat()) {
        ask(uri.query().unwrap_or_default());
        list(uri.query().unwrap_or_default());
    }
    ask(&String::from_utf8_lossy(data));
    list(&String::from_utf8_lossy(data));
}

fn ask(query: &str) {
    match Question::parse(query) {
        Ok(question) => assert_eq!(Question::parse(&written(&question)), Ok(question), "{query:?}"),
        Err(told) => assert_plain(query, &told),
    }
}

fn list(query: &str) {
    let again = |question: &task_filter::TaskFilter| {
        let pairs = question.pairs().into_iter();
        let pairs: Vec<_> =
            pairs.map(|(name, value)| format!("{name}={}", encode(value))).collect();
        task_filter::TaskFilter::parse(&pairs.join("&"))
    };
    match task_filter::TaskFilter::parse(query) {
        Ok(question) => assert_eq!(again(&question), Ok(question), "{query:?}"),
        Err(told) => assert_plain(query, &told),
    }
    match task_filter::TaskFilter::of_form(query) {
        Ok(question) => assert_eq!(again(&question), Ok(question), "{query:?}"),
        Err(told) => assert_plain(query, &told),
    }
}

fn assert_plain(query: &str, told: &str) {
    assert!(told.len() <= 6 * query.len() + 100, "{query:?}: {told}");
    assert!(told.chars().all(is_printable), "{query:?}: {told:?}");
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn written(question: &Question) -> String {
    let mut pairs = vec![format!("debug={}", question.debug)];
    for (key, value) in [("provider", &question.provider), ("task_id", &question.task_id)] {
        pairs.extend(value.iter().map(|value| format!("{key}={}", encode(value))));
    }
    for (name, value) in &question.params {
        pairs.push(format!("{}={}", encode(&format!("param.{name}")), encode(value)));
    }
    pairs.join("&")
}
