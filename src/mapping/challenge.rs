//! Pages for browsers that stand in the way of an API: 401 and 403 with one say nothing of our
//! credentials. Pure.

use http::HeaderName;
use http::header::CONTENT_TYPE;

use super::{Answer, Body};

/// The header by which Cloudflare says that it has challenged a request or blocked it.
const CF_MITIGATED: HeaderName = HeaderName::from_static("cf-mitigated");
/// The first bytes of a page, where no header says what it is.
const BEGINNINGS: [&[u8]; 2] = [b"<!doctype html", b"<html"];

/// Returns words for the page that a refusal comes with; `None` for any other answer. A body that
/// `is_json` is no page, whatever its content type: some APIs never set one.
pub fn find(answer: &Answer<'_>, is_json: bool) -> Option<&'static str> {
    if !matches!(answer.status, 401 | 403) {
        return None;
    }
    if answer.headers.contains_key(CF_MITIGATED) {
        return Some("cf-mitigated: a challenge of Cloudflare's, not the API");
    }
    (!is_json && is_page(answer)).then_some("an HTML page: a challenge or a proxy, not the API")
}

fn is_page(answer: &Answer<'_>) -> bool {
    if let Some(value) = answer.headers.get(CONTENT_TYPE) {
        let kind = value.as_bytes().split(|byte| *byte == b';').next().unwrap_or_default();
        let kind = kind.trim_ascii();
        return [&b"text/html"[..], b"application/xhtml+xml"]
            .iter()
            .any(|page| kind.eq_ignore_ascii_case(page));
    }
    let Body::Whole(body) = answer.body else { return false };
    let body = body.strip_prefix("\u{feff}".as_bytes()).unwrap_or(body).trim_ascii_start();
    BEGINNINGS.iter().any(|beginning| {
        body.get(..beginning.len()).is_some_and(|start| start.eq_ignore_ascii_case(beginning))
    })
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, HeaderValue};

    use super::*;
    use crate::clock::Timestamp;

    fn found(status: u16, headers: &[(HeaderName, &'static str)], body: &[u8]) -> bool {
        let pairs =
            headers.iter().map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let headers: HeaderMap = pairs.collect();
        let is_json = serde_json::from_slice::<serde_json::Value>(body).is_ok();
        let sent = Timestamp::from_micros(0);
        let answer = Answer { status, headers: &headers, sent, body: Body::Whole(body) };
        find(&answer, is_json).is_some()
    }

    #[test]
    fn a_page_is_told_from_a_refusal() {
        let json = br#"{"code":401,"message":"no such key"}"#;
        for kind in ["text/html", "Text/HTML; charset=utf-8", " application/xhtml+xml ;q=1"] {
            let headers = [(CONTENT_TYPE, kind)];
            assert!(
                found(403, &headers, b"Just a moment...") && found(401, &headers, b""),
                "{kind}"
            );
            // What says that it is a page and is none, and other statuses.
            assert!(!found(403, &headers, json), "{kind}");
            assert!(!found(429, &headers, b"<html>") && !found(200, &headers, b"<html>"), "{kind}");
        }
        for kind in ["application/json", "text/plain", "text/htmlx", ""] {
            assert!(!found(403, &[(CONTENT_TYPE, kind)], b"<html>"), "{kind}");
        }
        let mitigated = [(CONTENT_TYPE, "application/json"), (CF_MITIGATED, "challenge")];
        assert!(found(403, &mitigated, json));
        for body in ["<!DOCTYPE html><p>", "\u{feff}\r\n <HTML>"] {
            assert!(found(403, &[], body.as_bytes()), "{body}");
        }
        for body in ["", "<", "forbidden", "<error>no</error>", "\u{feff}{}"] {
            assert!(!found(403, &[], body.as_bytes()), "{body}");
        }
    }
}
