//! The bytes are the query of a URL, of `/probe` and of the lists of tasks, as it comes over the wire
//! and as text.

use aitask_exporter::printable::is_printable;
use aitask_exporter::web::probe::ProbeParams;
use aitask_exporter::web::query::TaskQuery;
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
    match ProbeParams::parse(query) {
        Ok(params) => {
            assert_eq!(ProbeParams::parse(&written(&params)), Ok(params), "{query:?}");
        }
        Err(error) => assert_plain(query, &error),
    }
}

fn list(query: &str) {
    let again = |params: &TaskQuery| {
        let pairs = params.pairs().into_iter();
        let pairs: Vec<_> =
            pairs.map(|(name, value)| format!("{name}={}", encode(&value))).collect();
        TaskQuery::parse(&pairs.join("&"))
    };
    match TaskQuery::parse(query) {
        Ok(params) => assert_eq!(again(&params), Ok(params), "{query:?}"),
        Err(error) => assert_plain(query, &error),
    }
    match TaskQuery::parse_form(query) {
        Ok(params) => assert_eq!(again(&params), Ok(params), "{query:?}"),
        Err(error) => assert_plain(query, &error),
    }
}

fn assert_plain(query: &str, error: &str) {
    assert!(error.len() <= 6 * query.len() + 300, "{query:?}: {error}");
    assert!(error.chars().all(is_printable), "{query:?}: {error:?}");
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn written(params: &ProbeParams) -> String {
    let mut pairs = vec![format!("debug={}", params.debug)];
    for (key, value) in [("provider", &params.provider), ("task_id", &params.task_id)] {
        pairs.extend(value.iter().map(|value| format!("{key}={}", encode(value))));
    }
    for (name, value) in &params.task_params {
        pairs.push(format!("{}={}", encode(&format!("param.{name}")), encode(value)));
    }
    pairs.join("&")
}
