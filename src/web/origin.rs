//! The origin of a request.
//!
//! A browser sends requests for the pages of any site to any host that its user can reach. This
//! module rejects requests that such a page must not send.

use std::net::Ipv6Addr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Version, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::telemetry::Telemetry;
use crate::telemetry::web::RequestRejection;

/// Header in which a browser names the site of the page that sends a request.
const SEC_FETCH_SITE: &str = "sec-fetch-site";
/// Values of the header for pages of other sites, and of other hosts of the same site.
const FOREIGN_SITES: [&str; 2] = ["cross-site", "same-site"];
/// Values of the header for the exporter's own pages, and for addresses that a user typed.
const HARMLESS_SITES: [&str; 2] = ["same-origin", "none"];

/// A host and its port, as a client names them.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Host {
    /// Name or address, in lower case.
    name: String,
    port: Option<u16>,
}

impl Host {
    /// Parses `host[:port]`, where the host is a name or an address; `None` if it is anything else.
    fn parse(text: &str) -> Option<Self> {
        let (name, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, port) = rest.split_once(']')?;
                address.parse::<Ipv6Addr>().ok()?;
                (address, port.strip_prefix(':').or(port.is_empty().then_some(""))?)
            }
            None => text.split_once(':').unwrap_or((text, "")),
        };
        // The characters of a name in a URL (RFC 3986).
        let is_of_name = |c: char| c.is_ascii_alphanumeric() || "-._~%!$&'()*+,;=:".contains(c);
        if name.is_empty() || !name.chars().all(is_of_name) {
            return None;
        }
        // `parse` would accept a sign.
        if !port.chars().all(|c| c.is_ascii_digit()) {
            return None;
        }
        let port = if port.is_empty() { None } else { Some(port.parse().ok()?) };
        Some(Self { name: name.to_ascii_lowercase(), port })
    }
}

/// Returns the host that a request names; `Ok(None)` if an old client names none.
fn host(version: Version, headers: &HeaderMap) -> Result<Option<Host>, ()> {
    let mut hosts = headers.get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (None, _) if version < Version::HTTP_11 => Ok(None),
        (Some(host), None) => host.to_str().ok().and_then(Host::parse).map(Some).ok_or(()),
        _ => Err(()),
    }
}

/// Reports whether a browser sends the request to `host` for a page of another origin. The scheme
/// is ignored, because a proxy may terminate TLS for the exporter.
///
/// `Sec-Fetch-Site` is a single token (Fetch Metadata). If its value is unknown, `Origin` decides; without an
/// `Origin` the request counts as foreign.
fn is_foreign(host: Option<&Host>, headers: &HeaderMap) -> bool {
    let is_foreign_site = |value: &HeaderValue| {
        let mut tokens = value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
        tokens.any(|token| {
            FOREIGN_SITES.iter().any(|site| token.eq_ignore_ascii_case(site.as_bytes()))
        })
    };
    let is_ours = |origin: &str| {
        let (scheme, rest) = origin.split_once("://")?;
        let default = match scheme {
            "http" => Some(80),
            "https" => Some(443),
            _ => None,
        };
        let (origin, host) = (Host::parse(rest)?, host?);
        (origin.name == host.name && origin.port.or(default) == host.port.or(default)).then_some(())
    };
    let mut sites = headers.get_all(SEC_FETCH_SITE).iter();
    let has_harmless_site = match (sites.next(), sites.next()) {
        (None, _) => true,
        (Some(site), None) => HARMLESS_SITES.iter().any(|harmless| site == harmless),
        _ => false,
    };
    let mut origins = headers.get_all(header::ORIGIN).iter();
    headers.get_all(SEC_FETCH_SITE).iter().any(is_foreign_site)
        || origins.any(|origin| origin.to_str().ok().and_then(is_ours).is_none())
        || (!has_harmless_site && !headers.contains_key(header::ORIGIN))
}

/// Responds with 400 to a request that does not name exactly one valid host. In HTTP/1.0, which has
/// no `Host` header, it may be missing.
pub async fn require_host(
    State(telemetry): State<Arc<Telemetry>>,
    request: Request,
    next: Next,
) -> Response {
    if host(request.version(), request.headers()).is_ok() {
        return next.run(request).await;
    }
    telemetry.web.rejected(RequestRejection::Host);
    let message = "the header Host is missing, repeated or unreadable\n";
    (StatusCode::BAD_REQUEST, message).into_response()
}

/// Responds with 403 to a request that a browser sends for a page of another site. Used for
/// endpoints that change something or poll a provider.
pub async fn refuse_foreign(
    State(telemetry): State<Arc<Telemetry>>,
    request: Request,
    next: Next,
) -> Response {
    let host = host(request.version(), request.headers()).ok().flatten();
    if !is_foreign(host.as_ref(), request.headers()) {
        return next.run(request).await;
    }
    telemetry.web.rejected(RequestRejection::CrossSite);
    (StatusCode::FORBIDDEN, "pages of other sites must not request this\n").into_response()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            headers.append(name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        headers
    }

    #[test]
    fn a_host_is_a_name_or_an_address_and_a_port() {
        for (text, name, port) in [
            ("x", "x", None),
            ("Exporter.Example.com:10054", "exporter.example.com", Some(10_054)),
            ("x:", "x", None),
            ("127.0.0.1:80", "127.0.0.1", Some(80)),
            ("[::1]", "::1", None),
            ("[2001:DB8::1]:10054", "2001:db8::1", Some(10_054)),
            ("_svc.a-b~c", "_svc.a-b~c", None),
        ] {
            assert_eq!(Host::parse(text), Some(Host { name: name.to_owned(), port }), "{text}");
        }
        for text in [
            "",
            ":80",
            "a b",
            "a/b",
            "a@b",
            "user:pass@b",
            "x:80:80",
            "x:+80",
            "x:65536",
            "x:a",
            "http://x",
            "[::1",
            "::1",
            "[::1]80",
            "[x]",
            "x?y",
            "x#y",
            "x,y z",
            "é",
            "x\\y",
        ] {
            assert_eq!(Host::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_host_is_there_once() {
        let read = |version, values: &[&str]| {
            let pairs: Vec<_> = values.iter().map(|value| ("host", *value)).collect();
            host(version, &headers(&pairs)).map(|host| host.is_some())
        };
        assert_eq!(read(Version::HTTP_11, &["x"]), Ok(true));
        assert_eq!(read(Version::HTTP_10, &["x"]), Ok(true));
        assert_eq!(read(Version::HTTP_10, &[]), Ok(false));
        for (version, values) in [
            (Version::HTTP_11, &[][..]),
            (Version::HTTP_11, &["x", "x"]),
            (Version::HTTP_10, &["x", "y"]),
            (Version::HTTP_11, &[""]),
            (Version::HTTP_10, &["x/y"]),
        ] {
            assert_eq!(read(version, values), Err(()), "{version:?} {values:?}");
        }
    }

    #[test]
    fn what_another_page_asks_for_is_foreign() {
        let foreign = |host: &str, pairs: &[(&str, &str)]| {
            is_foreign(Host::parse(host).as_ref(), &headers(pairs))
        };
        for (host, pairs) in [
            // Prometheus and curl.
            ("x:10054", &[][..]),
            ("x:10054", &[("sec-fetch-site", "same-origin"), ("origin", "http://x:10054")]),
            // The user typed the address.
            ("x:10054", &[("sec-fetch-site", "none")]),
            ("x:10054", &[("origin", "https://X:10054")]),
            ("x", &[("origin", "http://x")]),
            ("x", &[("origin", "https://x")]),
            ("x:443", &[("origin", "https://x")]),
            ("x:80", &[("origin", "http://x")]),
            ("x", &[("origin", "http://x:80")]),
            // The value is unknown or missing, and the origin is that of the host.
            ("x", &[("sec-fetch-site", "same-planet"), ("origin", "http://x")]),
            ("x", &[("sec-fetch-site", "same-origin, none"), ("origin", "http://x")]),
            ("[::1]:10054", &[("origin", "http://[::1]:10054")]),
        ] {
            assert!(!foreign(host, pairs), "{host} {pairs:?}");
        }
        for (host, pairs) in [
            ("x", &[("sec-fetch-site", "cross-site")][..]),
            ("x", &[("sec-fetch-site", "Same-Site ")]),
            ("x", &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")]),
            ("x", &[("sec-fetch-site", "cross-site"), ("origin", "http://x")]),
            ("x", &[("sec-fetch-site", "same-origin, cross-site")]),
            ("x", &[("sec-fetch-site", "none,same-site"), ("origin", "http://x")]),
            ("x", &[("sec-fetch-site", "same-origin"), ("sec-fetch-site", "none")]),
            ("x", &[("sec-fetch-site", "same-planet")]),
            ("x", &[("sec-fetch-site", "same-planet"), ("origin", "http://y")]),
            ("x", &[("sec-fetch-site", "same-origin;a")]),
            ("x", &[("sec-fetch-site", "Same-Origin")]),
            ("x", &[("sec-fetch-site", "\u{e9}")]),
            ("x", &[("sec-fetch-site", "")]),
            ("x", &[("origin", "null")]),
            ("x", &[("origin", "")]),
            ("x", &[("origin", "x")]),
            ("x", &[("origin", "http://y")]),
            ("x", &[("origin", "http://x.y")]),
            ("x", &[("origin", "http://x:8080")]),
            ("x:10054", &[("origin", "http://x:10055")]),
            ("x:10054", &[("origin", "http://x")]),
            ("x:80", &[("origin", "https://x")]),
            ("x", &[("origin", "http://x/")]),
            ("x", &[("origin", "http://x@y")]),
            ("x", &[("origin", "http://x"), ("origin", "http://y")]),
            ("x", &[("sec-fetch-site", "same-origin"), ("origin", "http://y")]),
            ("", &[("origin", "http://x")]),
        ] {
            assert!(foreign(host, pairs), "{host} {pairs:?}");
        }
    }
}
