//! The bytes are the query of a URL, as it comes over the wire and as text.

use aitask_exporter::visible::is_plain;
use aitask_exporter::web::probe::Question;
use http::Uri;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

pub fn run(data: &[u8]) {
    if let Ok(uri) = Uri::try_from([b"/probe?", data].concat()) {
        ask(uri.query().unwrap_or_default());
    }
    ask(&String::from_utf8_lossy(data));
}

fn ask(query: &str) {
    match Question::parse(query) {
        Ok(question) => assert_eq!(Question::parse(&written(&question)), Ok(question), "{query:?}"),
        Err(told) => {
            assert!(told.len() <= 6 * query.len() + 100, "{query:?}: {told}");
            assert!(told.chars().all(is_plain), "{query:?}: {told:?}");
        }
    }
}

fn written(question: &Question) -> String {
    let encode = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let mut pairs = vec![format!("debug={}", question.debug)];
    for (key, value) in [("provider", &question.provider), ("task_id", &question.task_id)] {
        pairs.extend(value.iter().map(|value| format!("{key}={}", encode(value))));
    }
    for (name, value) in &question.params {
        pairs.push(format!("{}={}", encode(&format!("param.{name}")), encode(value)));
    }
    pairs.join("&")
}
