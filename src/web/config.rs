//! The file of `--web.config.file`: TLS, headers and users of the web endpoints, in the format of
//! Prometheus' exporter-toolkit (`docs/web-configuration.md` there). Each of its keys is honoured
//! or rejected, because a key that is silently ignored could leave a door open.

mod client;
pub mod reloadable;
mod tls;

use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::Arc;
use std::{fmt, io};

use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use bcrypt::HashParts;
use rustls::ServerConfig;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::bounded_file;
use crate::config::read_yaml;
use crate::task::stable_hash;
use crate::yaml::decode::nearest;
use crate::yaml::diagnostic::{Diagnostic, DiagnosticSink, Diagnostics};
use crate::yaml::scalar::{PublicText, SecretText};
use crate::yaml::span::{OrderedMap, Spanned};

/// The headers that can be set, in the spelling of exporter-toolkit, with the accepted values where
/// not every value is accepted.
const HEADERS: [(&str, HeaderName, &[&str]); 5] = [
    ("Content-Security-Policy", header::CONTENT_SECURITY_POLICY, &[]),
    ("Strict-Transport-Security", header::STRICT_TRANSPORT_SECURITY, &[]),
    ("X-Content-Type-Options", header::X_CONTENT_TYPE_OPTIONS, &["nosniff"]),
    ("X-Frame-Options", header::X_FRAME_OPTIONS, &["deny", "sameorigin"]),
    ("X-XSS-Protection", header::X_XSS_PROTECTION, &[]),
];

/// The validated web configuration. Its `Debug` output shows neither keys nor hashes.
#[derive(Debug)]
pub struct WebConfig {
    /// TLS configuration; `None` for plain HTTP.
    pub tls: Option<Arc<ServerConfig>>,
    /// Headers of every response.
    pub headers: HeaderMap,
    /// Users with access; if there are none, no password is required.
    pub users: Arc<Users>,
    /// True if every client needs a certificate that was verified.
    pub verifies_clients: bool,
}

/// Reads the file and the files that it names, which are relative to its directory.
///
/// Returns the files even in case of an error, so that a change of them can be noticed.
pub fn load(path: &Path) -> (Result<WebConfig, Diagnostics>, WatchedFiles) {
    let mut files = WatchedFiles::default();
    let content = files.read(path);
    let dir = path.parent().unwrap_or(Path::new(""));
    let name = path.display().to_string();
    let config = read_yaml::read(&name, content, |raw: RawWebConfig, sink| {
        if let Some(place) = raw.rate_limit.location {
            let diagnostic = Diagnostic::new(place, "rate_limit is not supported");
            sink.push(diagnostic.hint("--web.max-requests limits simultaneous scrapes"));
        }
        let users = raw.basic_auth_users.get().map(|table| users(table, sink));
        let headers =
            raw.http_server_config.get().and_then(|http| Some(headers(http.headers.get()?, sink)));
        let tls = match raw.tls_server_config.located().filter(|(_, raw)| !tls::is_empty(raw)) {
            Some((place, raw)) => {
                let mut check = tls::TlsCheck { dir, files: &mut files, sink };
                Some(tls::server_config(place, raw, &mut check)?)
            }
            None => None,
        };
        let policy = raw.tls_server_config.get().and_then(|tls| tls.client_auth_type.get());
        Some(WebConfig {
            verifies_clients: policy.is_some_and(|policy| policy == "RequireAndVerifyClientCert"),
            tls,
            headers: headers.unwrap_or_default(),
            users: Arc::new(users.unwrap_or_default()),
        })
    });
    (config, files)
}

fn headers(table: &RawResponseHeaders, sink: &DiagnosticSink) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let report = |diagnostic| sink.push(diagnostic);
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
                report(Diagnostic::new(value_place, format!("{name} cannot have this value")));
            }
        }
    }
    headers
}

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWebConfig {
    /// TLS settings.
    pub tls_server_config: Spanned<RawTls>,
    /// HTTP settings.
    pub http_server_config: Spanned<RawHttp>,
    /// A bcrypt hash for each user.
    pub basic_auth_users: Spanned<OrderedMap<SecretText>>,
    /// Known only to be rejected.
    #[schemars(with = "OrderedMap<PublicText>")]
    pub rate_limit: Spanned<IgnoredAny>,
}

/// TLS settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTls {
    /// The server's certificate chain in PEM. It is masked, because a text in PEM may contain the
    /// key as well.
    pub cert: Spanned<SecretText>,
    /// File with the server's certificate chain.
    pub cert_file: Spanned<String>,
    /// The key of the certificate in PEM.
    pub key: Spanned<SecretText>,
    /// File with the key of the certificate.
    pub key_file: Spanned<String>,
    /// The policy for client certificates.
    pub client_auth_type: Spanned<String>,
    /// The certificate authorities of clients in PEM.
    pub client_ca: Spanned<SecretText>,
    /// File with the certificate authorities of clients.
    pub client_ca_file: Spanned<String>,
    /// Names of which a client certificate must have one.
    pub client_allowed_sans: Spanned<Vec<Spanned<String>>>,
    /// Minimum version of TLS.
    pub min_version: Spanned<String>,
    /// Maximum version of TLS.
    pub max_version: Spanned<String>,
    /// Enabled cipher suites.
    pub cipher_suites: Spanned<Vec<Spanned<String>>>,
    /// True if the order of the suites counts, false if the client's does.
    pub prefer_server_cipher_suites: Spanned<bool>,
    /// Enabled key exchange groups.
    pub curve_preferences: Spanned<Vec<Spanned<String>>>,
}

/// HTTP settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHttp {
    /// Either value is accepted: exporter-toolkit offers HTTP/2 without insisting on it, and this
    /// exporter serves HTTP/1.1 only.
    pub http2: Spanned<bool>,
    /// Headers of every response.
    pub headers: Spanned<RawResponseHeaders>,
}

/// Headers by name.
pub type RawResponseHeaders = OrderedMap<PublicText>;

/// Minimum cost that bcrypt accepts. Each increment doubles the time.
const MIN_COST: u32 = 4;
/// Maximum cost that exporter-toolkit mentions: some twenty seconds, once per user. A higher cost
/// would occupy a core for minutes at every wrong password.
const MAX_COST: u32 = 18;

/// The users with access.
#[derive(Debug, Default)]
pub struct Users(Vec<User>);

/// A user.
#[derive(Clone)]
pub struct User {
    /// Name, which contains no `:`.
    pub name: Box<str>,
    /// Valid bcrypt hash of the password.
    pub hash: SecretString,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: <secret>", self.name)
    }
}

impl Users {
    /// Reports whether there are no users, so that no password is required.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of users.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the user with this name.
    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.0.iter().find(|user| user.name.as_bytes() == name)
    }

    /// Returns some user, always the same one for the same `number`.
    pub fn any(&self, number: u64) -> Option<&User> {
        let count = u64::try_from(self.0.len()).ok()?;
        self.0.get(usize::try_from(number.checked_rem(count)?).ok()?)
    }
}

impl FromIterator<User> for Users {
    fn from_iter<I: IntoIterator<Item = User>>(users: I) -> Self {
        Self(users.into_iter().collect())
    }
}

/// Checks names and hashes.
pub fn users(table: &OrderedMap<SecretText>, sink: &DiagnosticSink) -> Users {
    let mut users = Vec::new();
    let report = |diagnostic: Diagnostic| sink.push(diagnostic);
    for (name, hash) in &table.0 {
        let (Some((name_place, name)), Some((place, SecretText(hash)))) =
            (name.located(), hash.located())
        else {
            continue;
        };
        if name.contains(':') {
            report(Diagnostic::new(name_place, "a user name must not contain `:`"));
        }
        match HashParts::from_str(hash.expose_secret()) {
            Ok(parts) if (MIN_COST..=MAX_COST).contains(&parts.get_cost()) => {}
            Ok(_) => {
                let message = format!("the cost of the hash must be from {MIN_COST} to {MAX_COST}");
                report(
                    Diagnostic::new(place, message)
                        .hint("10 is usual and takes a tenth of a second"),
                );
            }
            Err(_) => {
                let diagnostic = Diagnostic::new(place, "not a bcrypt hash");
                report(diagnostic.hint("create one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`"));
            }
        }
        users.push(User { name: name.as_str().into(), hash: hash.clone() });
    }
    Users(users)
}

/// Maximum size of a file, in bytes: several times the bundle of all public certificate
/// authorities.
const MAX_BYTES: usize = 4 << 20;

/// Files, each with its fingerprint.
#[derive(Debug, Default)]
pub struct WatchedFiles(Vec<(PathBuf, Option<u64>)>);

impl WatchedFiles {
    /// Reads a file and adds it to the list.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular file, or is larger than 4 MiB.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = bounded_file::read(path, MAX_BYTES);
        let hash = content.as_deref().map(|content| stable_hash([content]));
        self.0.push((path.to_owned(), bounded_file::fingerprint(hash)));
        content
    }

    /// Reports whether the content of any file has changed. Blocks on the file system.
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, before)| {
            let hash = bounded_file::hash(path, MAX_BYTES);
            bounded_file::fingerprint(hash.as_ref().copied()) != *before
        })
    }
}
