//! Lists in pages: all of them, or none.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::Source;
use crate::harness::upstream::{Asked, Reply, Upstream, answer, json};

/// Returns the value of a query parameter of a request.
fn query<'a>(asked: &'a Asked, name: &str) -> Option<&'a str> {
    let target = asked.head[0].split(' ').nth(1).unwrap();
    let mut pairs = target.split_once('?')?.1.split('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(known, _)| *known == name).map(|(_, value)| value)
}

/// A server of the numbers from 0 to `count` in pages of `n`, of which `p` is the number.
fn numbered(count: usize) -> Upstream {
    Upstream::start(move |asked| {
        let number = |name| query(asked, name).unwrap().parse::<usize>().unwrap();
        let (page, size) = (number("p"), number("n"));
        let ids: Vec<_> = (0..count).skip((page - 1) * size).take(size).collect();
        Reply::Keep(json(&format!("{ids:?}")))
    })
}

const NUMBERED: &str =
    "page: { number: { query: p }, size: { query: n, value: 10 }, max_pages: 4 }";

#[test]
fn numbered_pages_are_one_list() {
    for (count, requests) in [(0, 1), (9, 1), (10, 2), (25, 3), (39, 4)] {
        let upstream = numbered(count);
        let found = Source::of(&upstream, NUMBERED).ids().unwrap();
        assert_eq!(found.len(), count);
        assert_eq!(upstream.asked().len(), requests, "{count}");
    }
    let error = Source::of(&numbered(40), NUMBERED).ids().unwrap_err();
    assert_eq!(error, "too_large: page 4: there are more than 4 pages");
}

#[test]
fn a_server_that_does_not_know_pages_is_found_out() {
    let upstream = Upstream::saying(json("[1,2,3,4,5,6,7,8,9,10]"));
    let error = Source::of(&upstream, NUMBERED).ids().unwrap_err();
    assert_eq!(error, "mapping: page 2: it is the page before: does the API know \"p\"?");
}

#[test]
fn a_failure_of_one_page_is_one_of_the_list() {
    for (bytes, expected) in [
        (answer("502 Bad Gateway", &[], b""), "http: page 2: HTTP status 502"),
        (json("{}"), "decode: page 2: "),
        (answer("200 OK", &["Content-Type: text/html"], b"x"), "decode: page 2: the content type"),
        (answer("304 Same", &["Content-Type: text/html"], b""), "http: page 2: HTTP status 304"),
    ] {
        let upstream = Upstream::start(move |asked| {
            Reply::Keep(match query(asked, "p") {
                Some("2") => bytes.clone(),
                _ => json("[1,2,3,4,5,6,7,8,9,10]"),
            })
        });
        let error = Source::of(&upstream, NUMBERED).ids().unwrap_err();
        assert!(error.starts_with(expected), "{error}");
    }
}

#[test]
fn cursors_lead_through_a_list() {
    let upstream = Upstream::start(|asked| {
        let after = query(asked, "after").map(|cursor| cursor.parse::<usize>().unwrap());
        let first = after.map_or(0, |after| after + 1);
        let ids: Vec<_> = (first..7).take(3).map(|id| format!("{{\"id\":{id}}}")).collect();
        let last = first + ids.len() - 1;
        let body = format!(
            "{{\"data\":[{}],\"has_more\":{},\"last_id\":{last}}}",
            ids.join(","),
            last < 6
        );
        Reply::Keep(json(&body))
    });
    let more = "response: { tasks: /data, id: /id },
        page: { cursor: { query: after, from: /last_id, while: /has_more } }";
    let found = Source::of(&upstream, more).ids().unwrap();
    assert_eq!(found, ["0", "1", "2", "3", "4", "5", "6"]);
    let asked = upstream.asked();
    let asked: Vec<_> = asked.iter().map(|asked| query(asked, "after")).collect();
    assert_eq!(asked, [None, Some("2"), Some("5")]);
}

const NEXT: &str = "response: { tasks: /data, id: '' }, page: { next: /next, max_pages: 9 },
    authorization: { credentials: secret-token }";

/// A server whose first page names `next`, and whose other pages are empty.
fn chained(next: String) -> Upstream {
    Upstream::start(move |asked| {
        Reply::Keep(match asked.head[0].contains(" /open ") {
            true => json(&format!(r#"{{"data":["a"],"next":"{next}"}}"#)),
            false => json(r#"{"data":["b"],"next":null}"#),
        })
    })
}

#[test]
fn the_next_page_may_be_relative_and_is_at_the_same_origin() {
    for next in ["/open/2", "open/2?x=1", "?page=2"] {
        let upstream = chained(next.to_owned());
        assert_eq!(Source::of(&upstream, NEXT).ids().unwrap(), ["a", "b"], "{next}");
        let second = &upstream.asked()[1];
        assert_eq!(second.header("authorization"), Some("Bearer secret-token"));
    }
    let other = Upstream::saying(json(r#"{"data":["c"]}"#));
    for next in [format!("http://{}/open/2", other.address), format!("//{}/", other.address)] {
        let upstream = chained(next);
        let error = Source::of(&upstream, NEXT).ids().unwrap_err();
        assert_eq!(error, "mapping: the next page is at another origin");
        assert_eq!(upstream.asked().len(), 1);
    }
    assert_eq!(other.asked().len(), 0);
}

#[test]
fn a_list_without_end_is_an_error() {
    let pages = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_| {
        let page = pages.fetch_add(1, Ordering::Relaxed);
        Reply::Keep(json(&format!(r#"{{"data":[{page}],"next":"?page={page}"}}"#)))
    });
    let error = Source::of(&upstream, NEXT).ids().unwrap_err();
    assert_eq!(error, "too_large: page 9: there are more than 9 pages");
    assert_eq!(upstream.asked().len(), 9);
    let circle = Upstream::saying(json(r#"{"data":[],"next":"?page=2"}"#));
    let error = Source::of(&circle, NEXT).ids().unwrap_err();
    assert_eq!(error, "mapping: page 2: it leads back to a page that was requested before");
}

#[test]
fn limits_apply_to_all_pages_together() {
    let large = json(&format!("[\"a\"{}]", " ".repeat(14 << 20)));
    let pages = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_| {
        // No page is the one before.
        let page = format!("[{}", pages.fetch_add(1, Ordering::Relaxed) % 10);
        let body = String::from_utf8(large.clone()).unwrap().replacen("[\"a\"", &page, 1);
        let length = body.split_once("\r\n\r\n").unwrap().1.len();
        let (_, body) = body.split_once("\r\n\r\n").unwrap();
        assert_eq!(length, body.len());
        Reply::Keep(json(body))
    });
    let mut source = Source::of(&upstream, "timeout: 1m, page: { number: { query: p } }");
    assert_eq!(source.ids().unwrap_err(), "too_large: page 3: more than 32 MiB");
}

#[test]
fn the_timeout_is_that_of_all_pages() {
    let pages = AtomicUsize::new(0);
    // Each page in time, and there is always another one.
    let upstream = Upstream::start(move |_| {
        std::thread::sleep(std::time::Duration::from_millis(100));
        Reply::Keep(json(&format!("[{}]", pages.fetch_add(1, Ordering::Relaxed))))
    });
    let more = "timeout: 1s, page: { number: { query: p }, max_pages: 1000000 }";
    let error = Source::of(&upstream, more).ids().unwrap_err();
    assert!(error.ends_with(": no complete list within 1s"), "{error}");
    assert!(error.starts_with("timeout: page "), "{error}");
}

#[test]
fn rejected_elements_are_named_with_their_page() {
    let upstream = Upstream::start(|asked| {
        Reply::Keep(json(match query(asked, "p") {
            Some("1") => r#"["a","a b",null]"#,
            Some("2") => "[true]",
            _ => "[]",
        }))
    });
    let list = Source::of(&upstream, "page: { number: { query: p } }").list();
    let rejected = super::rejected(&list);
    assert!(rejected.iter().any(|one| one.contains("page 1: element 3: ")), "{rejected:?}");
    assert!(rejected.iter().any(|one| one.contains("page 2: element 1: ")), "{rejected:?}");
}
