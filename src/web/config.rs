//! The file of `--web.config.file`: TLS, headers and users of the web side, in the format of
//! Prometheus' exporter-toolkit (`docs/web-configuration.md` there). Each of its keys is honoured
//! or refused, because one that is silently ignored would leave a door open.

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
use crate::config::decode::{Sink, nearest};
use crate::config::diagnostic::{Diagnostic, Diagnostics};
use crate::config::read_yaml;
use crate::config::scalar::{PublicText, SecretText};
use crate::config::span::{OrderedMap, Spanned};
use crate::task::stable_hash;

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
pub fn load(path: &Path) -> (Result<WebConfig, Diagnostics>, WatchedFiles) {
    let mut files = WatchedFiles::default();
    let content = files.read(path);
    let dir = path.parent().unwrap_or(Path::new(""));
    let name = path.display().to_string();
    let config = read_yaml::read(&name, content, |raw: RawWebConfig, sink| {
        if let Some(place) = raw.rate_limit.location {
            let mistake = Diagnostic::new(place, "rate_limit is not supported");
            sink.borrow_mut().push(mistake.hint("--web.max-requests limits requests at once"));
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
        Some(WebConfig {
            tls,
            headers: headers.unwrap_or_default(),
            users: Arc::new(users.unwrap_or_default()),
        })
    });
    (config, files)
}

fn headers(table: &RawHeaders, sink: &Sink) -> HeaderMap {
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

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawWebConfig {
    /// How TLS is spoken.
    pub tls_server_config: Spanned<RawTls>,
    /// How HTTP is spoken.
    pub http_server_config: Spanned<RawHttp>,
    /// A bcrypt hash for each user.
    pub basic_auth_users: Spanned<OrderedMap<SecretText>>,
    /// Known only to be refused.
    #[schemars(with = "OrderedMap<PublicText>")]
    pub rate_limit: Spanned<IgnoredAny>,
}

/// How TLS is spoken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTls {
    /// The server's certificate and those between it and the authority, in PEM. Not shown, because a
    /// text in PEM may have the key in it as well.
    pub cert: Spanned<SecretText>,
    /// The same as a file.
    pub cert_file: Spanned<String>,
    /// The certificate's key in PEM.
    pub key: Spanned<SecretText>,
    /// The same as a file.
    pub key_file: Spanned<String>,
    /// Whether clients need certificates, and whose.
    pub client_auth_type: Spanned<String>,
    /// The authorities of clients in PEM.
    pub client_ca: Spanned<SecretText>,
    /// The same as a file.
    pub client_ca_file: Spanned<String>,
    /// One of these names has to be in a client's certificate.
    pub client_allowed_sans: Spanned<Vec<Spanned<String>>>,
    /// The lowest version of TLS.
    pub min_version: Spanned<String>,
    /// The highest version of TLS.
    pub max_version: Spanned<String>,
    /// Which cipher suites are spoken.
    pub cipher_suites: Spanned<Vec<Spanned<String>>>,
    /// Whether the order of the suites counts, or the client's.
    pub prefer_server_cipher_suites: Spanned<bool>,
    /// Which groups keys are agreed on in.
    pub curve_preferences: Spanned<Vec<Spanned<String>>>,
}

/// How HTTP is spoken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHttp {
    /// Either value is fine: exporter-toolkit offers HTTP/2 and does not insist, and here HTTP/1.1
    /// is all there is.
    pub http2: Spanned<bool>,
    /// Headers of every answer.
    pub headers: Spanned<RawHeaders>,
}

/// Headers by name.
pub type RawHeaders = OrderedMap<PublicText>;

/// What bcrypt takes for a cost. Each more doubles the time.
const MIN_COST: u32 = 4;
/// The highest that exporter-toolkit speaks of: some twenty seconds, once for each user. More would
/// keep a core busy for minutes at every wrong password.
const MAX_COST: u32 = 18;

/// Who is let in, by name.
#[derive(Debug, Default)]
pub struct Users(Vec<User>);

/// A user.
#[derive(Clone)]
pub struct User {
    /// The name, which holds no `:`.
    pub name: Box<str>,
    /// A valid bcrypt hash of the password.
    pub hash: SecretString,
}

impl fmt::Debug for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: <secret>", self.name)
    }
}

impl Users {
    /// Whether there are none, so that no password is asked for.
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The user of this name.
    pub fn get(&self, name: &[u8]) -> Option<&User> {
        self.0.iter().find(|user| user.name.as_bytes() == name)
    }

    /// Any one of them, always the same for the same `number`.
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
pub fn users(table: &OrderedMap<SecretText>, sink: &Sink) -> Users {
    let mut users = Vec::new();
    let report = |mistake: Diagnostic| sink.borrow_mut().push(mistake);
    for (name, hash) in &table.0 {
        let (Some((name_place, name)), Some((place, SecretText(hash)))) =
            (name.located(), hash.located())
        else {
            continue;
        };
        if name.contains(':') {
            report(Diagnostic::new(name_place, "a user's name cannot hold `:`"));
        }
        match HashParts::from_str(hash.expose_secret()) {
            Ok(parts) if (MIN_COST..=MAX_COST).contains(&parts.get_cost()) => {}
            Ok(_) => {
                let message = format!("the hash has a cost outside {MIN_COST} to {MAX_COST}");
                report(
                    Diagnostic::new(place, message)
                        .hint("10 is usual, and takes a tenth of a second"),
                );
            }
            Err(_) => {
                let mistake = Diagnostic::new(place, "not a bcrypt hash");
                report(mistake.hint("make one with `htpasswd -nBC 10 \"\" | tr -d ':\\n'`"));
            }
        }
        users.push(User { name: name.as_str().into(), hash: hash.clone() });
    }
    Users(users)
}

/// The largest file that is read, in bytes: several times the bundle of all public authorities.
const MAX_BYTES: usize = 4 << 20;

/// WatchedFiles, and a hash of what was in each; `None` where it could not be read.
#[derive(Debug, Default)]
pub struct WatchedFiles(Vec<(PathBuf, Option<u64>)>);

impl WatchedFiles {
    /// Reads a file and remembers it.
    ///
    /// # Errors
    /// The file cannot be read, is not a regular one, or is larger than 4 MiB.
    pub fn read(&mut self, path: &Path) -> io::Result<Vec<u8>> {
        let content = bounded_file::read(path, MAX_BYTES);
        let hash = content.as_deref().ok().map(|content| stable_hash([content]));
        self.0.push((path.to_owned(), hash));
        content
    }

    /// Whether one of them is not what it was. Blocks on the file system.
    pub fn have_changed(&self) -> bool {
        self.0.iter().any(|(path, hash)| bounded_file::hash(path, MAX_BYTES).ok() != *hash)
    }
}
