//! Content negotiation: the format and the compression that the headers of a request accept. Pure.

use http::HeaderMap;
use http::header::{ACCEPT, ACCEPT_ENCODING, HeaderName};

use crate::exposition::Format;

/// Returns OpenMetrics if it is accepted by name, in version 1.0.0 or without a version, and
/// preferred at least as much as the text format; otherwise the text format, even if it is not
/// accepted.
pub fn format(headers: &HeaderMap) -> Format {
    let accepted = Accepted::of(headers, ACCEPT);
    let open_metrics = accepted.quality(|item| {
        item.is("application/openmetrics-text") && item.version().is_none_or(|v| v == "1.0.0")
    });
    let text = accepted
        .quality(|item| item.is("text/plain") && item.version().is_none_or(|v| v == "0.0.4"))
        .or_else(|| accepted.quality(|item| item.is("text/*")))
        .or_else(|| accepted.quality(|item| item.is("*/*")));
    match open_metrics {
        Some(quality) if quality > 0.0 && quality >= text.unwrap_or(0.0) => Format::OpenMetrics,
        _ => Format::Text,
    }
}

/// Reports whether gzip is accepted, and preferred at least as much as no compression.
pub fn gzip(headers: &HeaderMap) -> bool {
    let accepted = Accepted::of(headers, ACCEPT_ENCODING);
    let any = accepted.quality(|item| item.is("*"));
    let gzip = accepted.quality(|item| item.is("gzip") || item.is("x-gzip")).or(any);
    let identity = accepted.quality(|item| item.is("identity"));
    gzip.is_some_and(|quality| quality > 0.0 && quality >= identity.unwrap_or(0.0))
}

/// The items of a header, each with its quality from 0 to 1. Their number is bounded by the limit
/// on the head of a request.
struct Accepted<'a>(Vec<(Item<'a>, f32)>);

/// The name of an item and its parameters, including `q`.
#[derive(Clone, Copy)]
struct Item<'a> {
    name: &'a str,
    parameters: &'a str,
}

impl<'a> Accepted<'a> {
    /// Parses a header. Items whose `q` is not a number from 0 to 1 are ignored.
    fn of(headers: &'a HeaderMap, name: HeaderName) -> Self {
        let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
        let items = values.flat_map(|value| value.split(',')).map(|item| {
            let (name, parameters) = item.split_once(';').unwrap_or((item, ""));
            Item { name: name.trim(), parameters }
        });
        let wanted = items.filter_map(|item| {
            let quality = item.parameter("q").map_or(Ok(1.0), str::parse);
            Some((item, quality.ok().filter(|quality| (0.0..=1.0).contains(quality))?))
        });
        Self(wanted.collect())
    }

    /// Returns the highest quality of the items that match `wanted`.
    fn quality(&self, wanted: impl Fn(&Item<'a>) -> bool) -> Option<f32> {
        let items = self.0.iter().filter(|(item, _)| wanted(item));
        items.map(|(_, quality)| *quality).max_by(f32::total_cmp)
    }
}

impl<'a> Item<'a> {
    fn is(&self, name: &str) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }

    fn version(&self) -> Option<&'a str> {
        self.parameter("version")
    }

    fn parameter(&self, name: &str) -> Option<&'a str> {
        let mut parameters = self.parameters.split(';').filter_map(|pair| pair.split_once('='));
        let (_, value) = parameters.find(|(found, _)| found.trim().eq_ignore_ascii_case(name))?;
        Some(value.trim().trim_matches('"'))
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn headers(name: HeaderName, value: &'static str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_static(value))])
    }

    #[test]
    fn formats() {
        use Format::{OpenMetrics, Text};
        for (accept, expected) in [
            ("", Text),
            ("*/*", Text),
            ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", Text),
            ("application/json", Text),
            ("application/*", Text),
            ("application/openmetrics-text", OpenMetrics),
            ("Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=0.1", OpenMetrics),
            ("application/openmetrics-text;version=1.0.0;q=0", Text),
            ("application/openmetrics-text;version=0.0.1", Text),
            ("application/openmetrics-text;version=2.0.0,*/*;q=0.1", Text),
            ("application/openmetrics-text;q=0.5,text/plain;q=0.5", OpenMetrics),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.5", Text),
            ("application/openmetrics-text;q=0.4,text/plain;q=0.1,*/*", OpenMetrics),
            ("application/openmetrics-text;q=0.4,*/*", Text),
            ("application/openmetrics-text;q=2", Text),
            ("application/openmetrics-text;q=nan", Text),
            // Prometheus 2.42
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                OpenMetrics,
            ),
            // Prometheus 2.20
            (
                "application/openmetrics-text; version=0.0.1,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Text,
            ),
            // Prometheus 3
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                OpenMetrics,
            ),
        ] {
            assert_eq!(format(&headers(ACCEPT, accept)), expected, "{accept}");
        }
        assert_eq!(format(&HeaderMap::new()), Text);
    }

    #[test]
    fn encodings() {
        for (accept, expected) in [
            ("", false),
            ("gzip", true),
            ("GZIP;q=0.001", true),
            ("x-gzip", true),
            ("deflate, br", false),
            ("deflate, gzip;q=1.0, *;q=0.5", true),
            ("gzip;q=0", false),
            ("gzip; q=0.000, *", false),
            ("*", true),
            ("*;q=0", false),
            ("gzip;q=0.5, identity", false),
            ("gzip;q=0.5, identity;q=0.5", true),
            ("identity", false),
        ] {
            assert_eq!(gzip(&headers(ACCEPT_ENCODING, accept)), expected, "{accept}");
        }
        let mut two = headers(ACCEPT_ENCODING, "br");
        two.append(ACCEPT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(gzip(&two));
        assert!(!gzip(&HeaderMap::new()));
    }
}
