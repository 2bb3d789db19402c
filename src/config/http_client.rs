//! The HTTP client block: the base URL, credentials, headers, and the headers that are masked.

mod auth;

use super::privacy::CREDENTIAL_HEADERS;
use super::secret::{self, Misuse, Purpose, Secret, SecretFile};
use super::validate::{Validator, unknown_preset};
use super::{HttpClientConfig, notes, raw};
use crate::mapping::schema::find_placeholder;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::scalar::{PublicText, SecretText, UrlText};
use crate::yaml::span::{Location, OrderedMap, Spanned};
use http::{HeaderName, header};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};
use std::io;
use std::path::Path;

/// Headers that belong to the connection, or that would change how a response must be read.
const FORBIDDEN: [HeaderName; 10] = [
    header::ACCEPT_ENCODING,
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::EXPECT,
    header::HOST,
    header::PROXY_AUTHORIZATION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

const PLACEHOLDERS: &str = "placeholders belong into request.path, request.query or request.body";

/// A header that is sent, with the location of its value.
type HeaderEntry = (Location, HeaderName, Secret);

/// The keys of a client block.
pub struct ClientKeys<'r> {
    url: &'r Spanned<UrlText>,
    authorization: &'r Spanned<raw::RawAuthorization>,
    basic_auth: &'r Spanned<raw::RawBasicAuth>,
    http_headers: &'r Spanned<raw::RawHttpHeaders>,
    tls_config: &'r Spanned<raw::RawTlsConfig>,
    pub(super) proxy_url: &'r Spanned<UrlText>,
    pub(super) no_proxy: &'r Spanned<String>,
    pub(super) proxy_from_environment: &'r Spanned<bool>,
    enable_http2: &'r Spanned<bool>,
}

/// Returns the keys of the client block in `$raw`, whose URL has the key `$url`.
macro_rules! client_keys {
    ($raw:expr, $url:ident) => {
        ClientKeys {
            url: &$raw.$url,
            authorization: &$raw.authorization,
            basic_auth: &$raw.basic_auth,
            http_headers: &$raw.http_headers,
            tls_config: &$raw.tls_config,
            proxy_url: &$raw.proxy_url,
            no_proxy: &$raw.no_proxy,
            proxy_from_environment: &$raw.proxy_from_environment,
            enable_http2: &$raw.enable_http2,
        }
    };
}

impl<'r> From<&'r raw::RawProvider> for ClientKeys<'r> {
    fn from(raw: &'r raw::RawProvider) -> Self {
        client_keys!(raw, base_url)
    }
}

impl<'r> From<&'r raw::RawHttpSource> for ClientKeys<'r> {
    fn from(raw: &'r raw::RawHttpSource) -> Self {
        client_keys!(raw, url)
    }
}

/// A user and a password.
type UserPassword = (String, Secret);

impl Validator<'_> {
    /// Validates the client block of a provider, and returns it with the base URL.
    pub fn client(
        &self,
        raw: &raw::RawProvider,
        block: Location,
    ) -> Option<(Url, HttpClientConfig)> {
        if raw.base_url.is_absent() && !unknown_preset(raw) {
            self.report(Diagnostic::new(block, "missing key: base_url"));
        }
        let url = self.http_url(&raw.base_url).and_then(|url| self.base_url(url, &raw.base_url));
        self.client_block(&raw.into(), url)
    }

    /// Validates a client block with this URL, and returns the URL without user and password.
    pub fn client_block(
        &self,
        keys: &ClientKeys<'_>,
        url: Option<Url>,
    ) -> Option<(Url, HttpClientConfig)> {
        let url = url.map(split_user);
        let credentials = credential_headers(keys.authorization.get());
        let headers = keys.http_headers.get();
        let headers = headers.map(|headers| self.headers(&headers.0, &credentials));
        let headers = headers.unwrap_or_default();
        let user = url.as_ref().and_then(|(_, user)| user.clone());
        let auth = self.auth(keys, user, &headers);
        let tls = keys.tls_config.get().map(|raw| self.tls(raw)).unwrap_or_default();
        let proxy = self.proxy(keys, url.as_ref().map(|(url, _)| url));
        let headers = headers.into_iter().map(|(_, name, value)| (name, value)).collect();
        let http2 = keys.enable_http2.get().copied().unwrap_or(HttpClientConfig::DEFAULT_HTTP2);
        let url_secrets = Vec::new();
        Some((url?.0, HttpClientConfig { auth, headers, tls, proxy, http2, url_secrets }))
    }

    /// Checks what only a base URL must not have.
    fn base_url(&self, url: Url, at: &Spanned<UrlText>) -> Option<Url> {
        let location = at.location?;
        if url.query().is_some() || url.fragment().is_some() {
            let diagnostic = Diagnostic::new(location, "a base URL must not contain `?` or `#`");
            self.report(diagnostic.hint("put query parameters into request.query"));
            return None;
        }
        if find_placeholder(&decode(url.path())).is_some() {
            let message = "a base URL holds no placeholder: it would be taken literally";
            self.report(Diagnostic::new(location, message).hint(PLACEHOLDERS));
            return None;
        }
        Some(url)
    }

    /// Validates a URL of `http` or `https`.
    pub fn http_url(&self, at: &Spanned<UrlText>) -> Option<Url> {
        let (location, UrlText(text)) = at.located()?;
        if secret::is_unfilled(text) {
            let diagnostic = Diagnostic::new(location, "an unresolved placeholder");
            self.report(diagnostic.hint(secret::UNFILLED));
            return None;
        }
        let wrong = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => "not an http or https URL",
            Ok(url) if url.host_str().is_none_or(str::is_empty) => "a URL without a host",
            // What a URL may hold and a request may not, such as a quote in the host's name.
            Ok(url) if http::Uri::try_from(url.as_str()).is_err() => {
                "no request can be made with this URL"
            }
            Ok(url) => return Some(url),
            Err(_) => "not a URL",
        };
        self.report(
            Diagnostic::new(location, wrong).hint("write https://host or https://host/path"),
        );
        None
    }

    /// Returns the further headers. `credentials` are the names of those that carry credentials: their
    /// values are never shown, under whichever key they are written.
    fn headers(
        &self,
        table: &OrderedMap<raw::RawHeader>,
        credentials: &[&str],
    ) -> Vec<HeaderEntry> {
        let mut headers: Vec<HeaderEntry> = Vec::new();
        for (location, name, values) in table.entries() {
            let Some(name) = self.header_name(location, name) else { continue };
            if let Some((first, ..)) = headers.iter().find(|(_, other, _)| *other == name) {
                self.report(Diagnostic::new(location, "duplicate header").first(*first));
            }
            let before = headers.len();
            let is_secret = is_among(&name, credentials) || is_among(&name, &CREDENTIAL_HEADERS);
            for (at, secret) in self.header_values(values, &name, is_secret) {
                self.usable(at, &secret, &Purpose::Header(name.clone()));
                headers.push((location, name.clone(), secret));
            }
            let is_invalid = values.values.is_invalid()
                || values.secrets.is_invalid()
                || values.files.is_invalid();
            if headers.len() == before && !is_invalid {
                let diagnostic = Diagnostic::new(location, "a header without a value");
                self.report(diagnostic.hint("write values: […], secrets: […] or files: […]"));
            }
        }
        headers
    }

    fn header_values(
        &self,
        header: &raw::RawHeader,
        name: &HeaderName,
        is_secret: bool,
    ) -> Vec<(Location, Secret)> {
        let values = header.values.get().into_iter().flatten().filter_map(Spanned::located);
        let values = values.inspect(|(at, PublicText(text))| {
            // Other words in braces may be meant.
            if ["{task_id}", "{task_ids}"].iter().any(|placeholder| text.contains(placeholder)) {
                let message = "a header holds no placeholder: it would be taken literally";
                self.report(Diagnostic::new(*at, message).hint(PLACEHOLDERS));
            }
        });
        let values = values.map(|(at, PublicText(text))| match is_secret {
            true => (at, Secret::inline(text)),
            false => (at, Secret::Value(SecretString::from(&**text))),
        });
        let secrets = header.secrets.get().into_iter().flatten().filter_map(Spanned::located);
        let secrets = secrets.map(|(at, SecretText(text))| (at, Secret::Inline(text.clone())));
        let purpose = Purpose::Header(name.clone());
        let files = header.files.get().into_iter().flatten();
        let files = files.filter_map(|file| self.secret_file(file, &purpose));
        values.chain(secrets).chain(files).collect()
    }

    fn header_name(&self, location: Location, name: &str) -> Option<HeaderName> {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let name =
            parsed.map_err(|_| self.report(Diagnostic::new(location, "not a header name"))).ok()?;
        if FORBIDDEN.contains(&name) {
            self.report(Diagnostic::new(location, "the exporter sets this header itself"));
        }
        Some(name)
    }

    /// Reports a secret that cannot be read, or cannot be what it is for.
    fn usable(&self, location: Location, secret: &Secret, purpose: &Purpose) {
        let (what, checked) = match secret {
            Secret::Inline(text) | Secret::Value(text) => {
                ("the value", purpose.check(text.expose_secret(), false).map_err(io::Error::other))
            }
            Secret::File(_) => ("the secret file", secret.read().map(drop)),
        };
        let fits = checked.and_then(|()| match purpose {
            Purpose::Token { scheme, .. } => secret.header_value(scheme).map(drop),
            Purpose::Header(_) => secret.header_value("").map(drop),
            Purpose::Key | Purpose::Password | Purpose::DataSourceName => Ok(()),
        });
        let Err(error) = fits else { return };
        let message = format!("{what} cannot be used: {}", reason(&error));
        let mut diagnostic = Diagnostic::new(location, message);
        if let Secret::File(file) = secret {
            diagnostic = diagnostic.detail(file.path.display().to_string());
        }
        let misuse = error.get_ref().and_then(|inner| inner.downcast_ref::<Misuse>());
        diagnostic = match (misuse, secret) {
            (Some(misuse), _) => diagnostic.hint(misuse.hint),
            (None, Secret::File(file)) => missing(diagnostic, &error, &file.path),
            (None, _) => diagnostic,
        };
        self.report(diagnostic);
    }

    /// Returns a secret that is written under one of two keys.
    pub(super) fn secret(
        &self,
        inline: &Spanned<SecretText>,
        file: &Spanned<String>,
        purpose: &Purpose,
    ) -> Option<Secret> {
        if let (Some(_), Some(location)) = (inline.location, file.location) {
            self.report(Diagnostic::new(location, "set twice: inline and as a file"));
        }
        let (location, secret) = match inline.located() {
            Some((location, SecretText(text))) if text.expose_secret().is_empty() => {
                self.report(Diagnostic::new(location, "must not be empty"));
                return None;
            }
            Some((location, SecretText(text))) => (location, Secret::Inline(text.clone())),
            None => self.secret_file(file, purpose)?,
        };
        self.usable(location, &secret, purpose);
        Some(secret)
    }

    fn secret_file(&self, file: &Spanned<String>, purpose: &Purpose) -> Option<(Location, Secret)> {
        let (location, path) = self.path(file)?;
        self.named_as_secret.borrow_mut().insert(path.clone());
        notes::note_readable_secret(self.notes, location, &path);
        Some((location, Secret::File(SecretFile { path, purpose: purpose.clone() })))
    }
}

/// Splits a URL into one without user and password, and these.
fn split_user(mut url: Url) -> (Url, Option<UserPassword>) {
    if url.username().is_empty() && url.password().is_none() {
        return (url, None);
    }
    let user = (decode(url.username()), Secret::inline(&decode(url.password().unwrap_or(""))));
    // Cannot fail: the URL has a host.
    let _ = url.set_username("").and_then(|()| url.set_password(None));
    (url, Some(user))
}

fn decode(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

/// Returns the names of the headers in which a provider takes credentials.
pub fn credential_headers(raw: Option<&raw::RawAuthorization>) -> Vec<&str> {
    let own = raw.and_then(|raw| raw.header.get()).map_or("authorization", String::as_str);
    let alternatives = raw.and_then(|raw| raw.alternatives.get()).into_iter().flatten();
    let alternatives = alternatives.filter_map(Spanned::get).map(String::as_str);
    alternatives.chain([own, "authorization"]).collect()
}

fn is_among(name: &HeaderName, names: &[&str]) -> bool {
    names.iter().any(|other| name.as_str().eq_ignore_ascii_case(other))
}

/// Adds a hint about the name to a diagnostic about a missing file, if a shell would expand the name.
pub fn missing(diagnostic: Diagnostic, error: &io::Error, path: &Path) -> Diagnostic {
    match error.kind() {
        io::ErrorKind::NotFound => unexpanded(diagnostic, &path.to_string_lossy()),
        _ => diagnostic,
    }
}

/// Adds a hint to a diagnostic about files, if a shell would expand their name.
pub fn unexpanded(diagnostic: Diagnostic, name: &str) -> Diagnostic {
    match name {
        _ if has_tilde(name) => diagnostic.hint("`~` is not expanded: write the full path"),
        _ if is_unexpanded(name) => diagnostic.hint(secret::UNFILLED),
        _ => diagnostic,
    }
}

/// Reports whether a shell would expand the name of a file.
pub fn is_unexpanded(name: &str) -> bool {
    let is_variable = |(at, _): (usize, &str)| {
        let behind = name.get(at + 1..).unwrap_or_default();
        behind.starts_with(|c: char| c.is_ascii_alphabetic() || "_{(".contains(c))
    };
    has_tilde(name) || name.contains("{{") || name.match_indices('$').any(is_variable)
}

fn has_tilde(name: &str) -> bool {
    name.starts_with("~/") || name.contains("/~/")
}

/// Returns the message of a file system error, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
