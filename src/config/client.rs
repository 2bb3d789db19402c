//! The HTTP client block: where the API is, and what goes along with every request.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use http::{HeaderName, header};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};

use super::check::{Check, unknown_preset};
use super::diagnostic::Mistake;
use super::place::Place;
use super::placed::At;
use super::scalar::SecretText;
use super::secret::Secret;
use super::{Auth, Client, Tls, raw};

/// The largest PEM file, in bytes: several times the bundle of all public authorities.
const MAX_PEM_BYTES: u64 = 4 << 20;
/// Headers that belong to the connection, or that would change how an answer must be read.
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

/// The type of authorization whose token we sign ourselves.
const KLING_JWT: &str = "kling-jwt";

/// How a text is kept.
type Kind = fn(SecretString) -> Secret;

/// A header that is sent, and where its value stands.
type Placed = (Place, HeaderName, Secret);

impl Check<'_> {
    /// The client block of a provider, and its base URL.
    pub fn client(&self, raw: &raw::Provider, block: Place) -> Option<(Url, Client)> {
        let url = self.base_url(raw, block);
        let headers = raw.http_headers.get().map(|table| self.headers(table)).unwrap_or_default();
        let user = url.as_ref().and_then(|(_, user)| user.clone());
        let auth = self.auth(raw, user, &headers);
        let tls = raw.tls_config.get().map(|raw| self.tls(raw)).unwrap_or_default();
        let proxy = self.proxy(raw, url.as_ref().map(|(url, _)| url));
        let headers = headers.into_iter().map(|(_, name, value)| (name, value)).collect();
        let http2 = raw.enable_http2.get().copied().unwrap_or(true);
        Some((url?.0, Client { auth, headers, tls, proxy, http2 }))
    }

    /// The base URL without its user and password, and these.
    fn base_url(
        &self,
        raw: &raw::Provider,
        block: Place,
    ) -> Option<(Url, Option<(String, Secret)>)> {
        if raw.base_url.is_absent() && !unknown_preset(raw) {
            self.report(Mistake::new(block, "missing key: base_url"));
        }
        let (place, text) = raw.base_url.placed()?;
        let mut url = self.http_url(place, text)?;
        if url.query().is_some() || url.fragment().is_some() {
            let mistake = Mistake::new(place, "a base URL has neither `?` nor `#`");
            self.report(mistake.hint("query parameters belong into request.query"));
            return None;
        }
        if url.username().is_empty() && url.password().is_none() {
            return Some((url, None));
        }
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let user = (decode(url.username()), Secret::inline(&decode(url.password().unwrap_or(""))));
        // Cannot fail: the URL has a host.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        Some((url, Some(user)))
    }

    fn http_url(&self, place: Place, text: &str) -> Option<Url> {
        let wrong = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => "not an http or https URL",
            Ok(url) if url.host_str().is_none_or(str::is_empty) => "a URL without a host",
            Ok(url) => return Some(url),
            Err(_) => "not a URL",
        };
        self.report(Mistake::new(place, wrong).hint("write https://host or https://host/path"));
        None
    }

    fn headers(&self, table: &super::placed::Table<raw::Header>) -> Vec<Placed> {
        let mut headers: Vec<Placed> = Vec::new();
        for (place, name, values) in table.entries() {
            let Some(name) = self.header_name(place, name) else { continue };
            if FORBIDDEN.contains(&name) {
                self.report(Mistake::new(place, "this header is the exporter's own business"));
            }
            if let Some((first, ..)) = headers.iter().find(|(_, other, _)| *other == name) {
                self.report(Mistake::new(place, "duplicate header").first(*first));
            }
            let files = values.files.get().into_iter().flatten();
            let before = headers.len();
            let inline: [(_, Kind); 2] =
                [(&values.values, Secret::Value), (&values.secrets, Secret::Inline)];
            let inline = inline.into_iter().flat_map(|(list, kind)| {
                let texts = list.get().into_iter().flatten().filter_map(At::placed);
                texts.map(move |(at, SecretText(text))| (at, kind(text.clone())))
            });
            let files = files.filter_map(|file| self.path(file));
            let files = files.map(|(at, path)| (at, Secret::File(path)));
            for (at, secret) in inline.chain(files) {
                self.usable(at, &secret, "");
                headers.push((place, name.clone(), secret));
            }
            if headers.len() == before {
                let mistake = Mistake::new(place, "a header without a value");
                self.report(mistake.hint("write values: […], secrets: […] or files: […]"));
            }
        }
        headers
    }

    fn header_name(&self, place: Place, name: &str) -> Option<HeaderName> {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        parsed.map_err(|_| self.report(Mistake::new(place, "not a header's name"))).ok()
    }

    /// Reports a secret that cannot be read or cannot stand in a header.
    fn usable(&self, place: Place, secret: &Secret, scheme: &str) {
        if let Err(error) = secret.header_value(scheme) {
            let what = match secret {
                Secret::Inline(_) | Secret::Value(_) => "the value",
                Secret::File(_) => "the secret file",
            };
            self.report(Mistake::new(place, format!("{what} cannot be used: {}", reason(&error))));
        }
    }

    /// A secret that stands under one of two keys.
    fn secret(&self, inline: &At<SecretText>, file: &At<String>) -> Option<(Place, Secret)> {
        if let (Some(_), Some(place)) = (inline.place, file.place) {
            self.report(Mistake::new(place, "written twice: here and as a file").private());
        }
        match inline.placed() {
            Some((place, SecretText(text))) if text.expose_secret().is_empty() => {
                self.report(Mistake::new(place, "must not be empty"));
                None
            }
            Some((place, SecretText(text))) => Some((place, Secret::Inline(text.clone()))),
            None => self.path(file).map(|(place, path)| (place, Secret::File(path))),
        }
    }

    /// The one way in which credentials travel.
    fn auth(
        &self,
        raw: &raw::Provider,
        user: Option<(String, Secret)>,
        headers: &[Placed],
    ) -> Auth {
        let header = self.authorization(raw.authorization.get());
        let basic = raw.basic_auth.placed().and_then(|(place, raw)| self.basic_auth(place, raw));
        if let (Some(place), Some(Auth::Header { .. } | Auth::KlingJwt { .. })) =
            (raw.basic_auth.place, &header)
        {
            let mistake = Mistake::new(place, "both authorization and basic_auth have credentials");
            self.report(mistake.hint("remove one of them"));
        }
        let overridden = self.auth_header(raw.authorization.get(), headers);
        let others = header.is_some() || basic.is_some() || overridden;
        if let (true, true, Some(place)) = (user.is_some(), others, raw.base_url.place) {
            let message = "both the base URL and another key have credentials";
            self.report(Mistake::new(place, message).hint("remove one of them").private());
        }
        if overridden {
            return Auth::None;
        }
        let user =
            user.map(|(username, password)| Auth::Basic { username: username.into(), password });
        header.or(basic).or(user).unwrap_or(Auth::None)
    }

    /// Whether `http_headers` has a header that carries credentials, as `Authorization` does at any
    /// API. Reports more than one.
    fn auth_header(&self, raw: Option<&raw::Authorization>, headers: &[Placed]) -> bool {
        let own = raw.and_then(|raw| raw.header.get()).map_or("authorization", String::as_str);
        let alternatives = raw.and_then(|raw| raw.alternatives.get()).into_iter().flatten();
        let names: Vec<_> = alternatives
            .filter_map(At::get)
            .map(String::as_str)
            .chain([own, "authorization"])
            .collect();
        let mut found = headers.iter().filter(|(_, name, _)| {
            names.iter().any(|other| name.as_str().eq_ignore_ascii_case(other))
        });
        let first = found.next();
        if let (Some((first, ..)), Some((place, ..))) = (first, found.next()) {
            let mistake = Mistake::new(*place, "credentials in more than one header");
            self.report(mistake.first(*first).hint("send one: the API may take the wrong one"));
        }
        first.is_some()
    }

    fn authorization(&self, raw: Option<&raw::Authorization>) -> Option<Auth> {
        let raw = raw?;
        let name = match raw.header.placed() {
            Some((place, name)) => self.header_name(place, name)?,
            None => header::AUTHORIZATION,
        };
        let bearer = if name == header::AUTHORIZATION { "Bearer" } else { "" };
        let scheme = raw.scheme.get().map_or(bearer, |scheme| &scheme.0);
        if scheme == KLING_JWT {
            return self.kling_jwt(raw);
        }
        for key in [&raw.access_key, &raw.secret_key] {
            self.only_for_tokens(key.place);
        }
        for key in [&raw.access_key_file, &raw.secret_key_file] {
            self.only_for_tokens(key.place);
        }
        if let Some((place, _)) = raw.scheme.placed() {
            if scheme.eq_ignore_ascii_case("basic") {
                let mistake = Mistake::new(place, "basic authentication has a key of its own");
                self.report(mistake.hint("use basic_auth"));
            } else if !scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte))
            {
                self.report(Mistake::new(place, "not an authorization type"));
                return None;
            }
        }
        let (place, credentials) = self.secret(&raw.credentials, &raw.credentials_file)?;
        self.usable(place, &credentials, scheme);
        Some(Auth::Header { name, scheme: scheme.into(), credentials })
    }

    /// Both keys of a signed token.
    fn kling_jwt(&self, raw: &raw::Authorization) -> Option<Auth> {
        for place in [raw.credentials.place, raw.credentials_file.place].into_iter().flatten() {
            let mistake = Mistake::new(place, "a kling-jwt has keys, not credentials");
            self.report(mistake.hint("write access_key_file and secret_key_file").private());
        }
        let access_key = self.secret(&raw.access_key, &raw.access_key_file);
        let secret_key = self.secret(&raw.secret_key, &raw.secret_key_file);
        let absent =
            |one: &At<SecretText>, other: &At<String>| one.is_absent() && other.is_absent();
        if let Some(place) = raw.scheme.place
            && (absent(&raw.access_key, &raw.access_key_file)
                || absent(&raw.secret_key, &raw.secret_key_file))
        {
            let mistake = Mistake::new(place, "a kling-jwt needs an access key and a secret key");
            self.report(mistake.hint("write access_key_file and secret_key_file"));
        }
        let ((at, access_key), (also_at, secret_key)) = (access_key?, secret_key?);
        self.usable(at, &access_key, "");
        self.usable(also_at, &secret_key, "");
        Some(Auth::KlingJwt { access_key, secret_key })
    }

    fn only_for_tokens(&self, place: Option<Place>) {
        if let Some(place) = place {
            let mistake = Mistake::new(place, "this key belongs to `type: kling-jwt`");
            self.report(mistake.private());
        }
    }

    fn basic_auth(&self, place: Place, raw: &raw::BasicAuth) -> Option<Auth> {
        if raw.username.is_absent() {
            self.report(Mistake::new(place, "missing key: username"));
        }
        if raw.password.is_absent() && raw.password_file.is_absent() {
            let mistake = Mistake::new(place, "missing key: password");
            self.report(mistake.hint("write password or password_file"));
        }
        if let Some((place, username)) = raw.username.placed()
            && (username.0.contains(':') || username.0.chars().any(char::is_control))
        {
            self.report(Mistake::new(
                place,
                "a user's name has neither `:` nor control characters",
            ));
        }
        let (place, password) = self.secret(&raw.password, &raw.password_file)?;
        if let Err(error) = password.read() {
            let message = format!("the secret file cannot be used: {}", reason(&error));
            self.report(Mistake::new(place, message));
        }
        Some(Auth::Basic { username: raw.username.get()?.0.clone(), password })
    }

    fn tls(&self, raw: &raw::TlsConfig) -> Tls {
        let certificates = |pem: &[u8]| {
            let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
            all.is_ok_and(|all| !all.is_empty())
        };
        let key = |pem: &[u8]| PrivateKeyDer::from_pem_slice(pem).is_ok();
        let ca_file = self.pem(&raw.ca_file, "no certificate in this file", certificates);
        let cert = self.pem(&raw.cert_file, "no certificate in this file", certificates);
        let key = self.pem(&raw.key_file, "no private key in this file", key);
        for (one, other, message) in [
            (&raw.cert_file, &raw.key_file, "cert_file needs key_file"),
            (&raw.key_file, &raw.cert_file, "key_file needs cert_file"),
        ] {
            if let (Some(place), true) = (one.place, other.is_absent()) {
                self.report(Mistake::new(place, message));
            }
        }
        Tls {
            ca_file,
            identity: cert.zip(key),
            insecure_skip_verify: raw.insecure_skip_verify.get().copied().unwrap_or_default(),
            min_version: raw.min_version.get().copied().unwrap_or_default(),
        }
    }

    fn pem(&self, at: &At<String>, wrong: &str, right: impl Fn(&[u8]) -> bool) -> Option<PathBuf> {
        let (place, path) = self.path(at)?;
        match read_pem(&path) {
            Ok(pem) if right(&pem) => return Some(path),
            Ok(_) => self.report(Mistake::new(place, wrong)),
            Err(error) => {
                self.report(Mistake::new(
                    place,
                    format!("cannot read the file: {}", reason(&error)),
                ));
            }
        }
        None
    }
}

fn read_pem(path: &Path) -> io::Result<Vec<u8>> {
    let mut pem = Vec::new();
    File::open(path)?.take(MAX_PEM_BYTES).read_to_end(&mut pem)?;
    Ok(pem)
}

/// What an error of the file system says, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
