//! The file of `--web.config.file`: TLS, headers and users of the web side, in the format of
//! Prometheus' exporter-toolkit (`docs/web-configuration.md` there). Each of its keys is honoured
//! or refused, because one that is silently ignored would leave a door open.

mod client;
mod files;
mod raw;
mod tls;
mod users;

use std::path::Path;
use std::sync::Arc;

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use rustls::ServerConfig;

use crate::config::decode::{Sink, nearest};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::read_yaml;
pub use files::Files;
pub use users::{User, Users};

/// The headers that can be set, as exporter-toolkit writes them, and the values that it takes
/// where not every value is good.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY, &[]),
    ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY, &[]),
    ("X-Content-Type-Options", header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-Frame-Options", header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-XSS-Protection", header::X_XSS_PROTECTION, &[]),
];

/// What the file says, checked. Its `Debug` shows neither keys nor hashes.
#[derive(Debug)]
pub struct WebConfig {
    /// How TLS is spoken; `None` for plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// What every answer carries.
    pub headers: HeaderMap,
    /// Who is let in; everybody where there are none.
    pub users: Arc<Users>,
}

/// Reads the file and those that it names, which are relative to its directory. Tells what was
/// read in any case, so that a change of it can be noticed.
pub fn load(path: &Path) -> (Result<WebConfig, Diagnostics>, Files) {
    let mut files = Files::default();
    let content = files.read(path);
    let dir = path.parent().unwrap_or(Path::new(""));
    let name = path.display().to_string();
    let config = read_yaml::read(&name, content, |raw: raw::Web, sink| {
        if let Some(place) = raw.rate_limit.location {
            let mistake = Diagnostic::new(place, "rate_limit is not supported");
            sink.borrow_mut().push(mistake.hint("--web.max-requests limits requests at once"));
        }
        let users = raw.basic_auth_users.get().map(|table| users::users(table, sink));
        let headers =
            raw.http_server_config.get().and_then(|http| Some(headers(http.headers.get()?, sink)));
        let tls = match raw.tls_server_config.located().filter(|(_, raw)| !tls::is_empty(raw)) {
            Some((place, raw)) => {
                let mut check = tls::Check { dir, files: &mut files, sink };
                Some(tls::server(place, raw, &mut check)?)
            }
            None => None,
        };
        Some(WebConfig {
            tls,
            headers: headers.unwrap_or_default(),
            users: Arc::new(users.unwrap_or_default()),
        })
    });
    (config, files)
}

fn headers(table: &raw::Headers, sink: &Sink) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let report = |mistake| sink.borrow_mut().push(mistake);
    for (key, value) in &table.0 {
        let (Some((place, name)), Some((value_place, value))) = (key.located(), value.located())
        else {
            continue;
        };
        let names = HEADERS.iter().map(|(name, ..)| *name);
        let Some((_, known, values)) = HEADERS.iter().find(|(known, ..)| known == name) else {
            let hint = match nearest(name, names.clone()) {
                Some(nearest) => format!("did you mean {nearest}?"),
                None => format!("the headers here are {}", names.collect::<Vec<_>>().join(", ")),
            };
            report(Diagnostic::new(place, "this HTTP header cannot be set").hint(hint));
            continue;
        };
        if value.0.is_empty() {
            continue;
        }
        match HeaderValue::from_str(&value.0) {
            Ok(_) if !values.is_empty() && !values.contains(&&*value.0) => {
                let message = format!("{name} is {}", values.join(" or "));
                report(Diagnostic::new(value_place, message));
            }
            Ok(value) => {
                headers.insert(known, value);
            }
            Err(_) => {
                report(Diagnostic::new(value_place, format!("{name} cannot have this value")))
            }
        }
    }
    headers
}
