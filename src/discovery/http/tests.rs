use super::*;

#[test]
fn only_json_is_a_list() {
    let check = |values: &[&str]| {
        let values = values.iter().map(|value| (CONTENT_TYPE, value.parse().unwrap()));
        check_type(&values.collect()).map_err(|error| error.to_string())
    };
    for json in ["application/json", "Application/JSON; charset=utf-8", " application/json ;x"] {
        assert_eq!(check(&[json]), Ok(()), "{json}");
    }
    for (other, shown) in [
        ("text/html; charset=utf-8", "text/html"),
        ("application/jsonp", "application/jsonp"),
        ("application/problem+json", "application/problem+json"),
        ("", ""),
    ] {
        let said = format!("decode: the content type is {shown}, not application/json");
        assert_eq!(check(&[other]), Err(said));
    }
    assert!(check(&[]).unwrap_err().contains("no content type"));
}

#[test]
fn a_status_is_a_reason() {
    for (status, reason, message) in [
        (401, Reason::Auth, "HTTP status 401"),
        (403, Reason::Auth, "HTTP status 403"),
        (404, Reason::NotFound, "HTTP status 404"),
        (429, Reason::RateLimited, "HTTP status 429"),
        (302, Reason::Http, "HTTP status 302: redirects are not followed"),
        (308, Reason::Http, "HTTP status 308: redirects are not followed"),
        (304, Reason::Http, "HTTP status 304"),
        (204, Reason::Http, "HTTP status 204"),
        (502, Reason::Http, "HTTP status 502"),
    ] {
        assert_eq!(status_error(status), RefreshError::new(reason, message));
    }
}

#[test]
fn seconds_are_written_as_prometheus_does() {
    for (millis, text) in [(60_000, "60"), (300_000, "300"), (1_500, "1.5"), (1, "0.001")] {
        assert_eq!(seconds(Duration::from_millis(millis)), text);
    }
}
