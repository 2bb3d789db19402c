//! The HTTP client block: where the API is, and what goes along with every request.

use std::io;
use std::path::Path;

use http::{HeaderName, header};
use percent_encoding::percent_decode_str;
use reqwest::Url;
use secrecy::{ExposeSecret, SecretString};

use super::check::{Check, unknown_preset};
use super::diagnostic::Mistake;
use super::place::Place;
use super::placed::{At, Table};
use super::privacy;
use super::scalar::{SecretText, Text, UrlText};
use super::secret::purpose::{self, Misuse, Purpose};
use super::secret::{Secret, SecretFile};
use super::{Auth, Client, raw};

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

/// A header that is sent, and where its value stands.
type Placed = (Place, HeaderName, Secret);

impl Check<'_> {
    /// The client block of a provider, and its base URL.
    pub fn client(&self, raw: &raw::Provider, block: Place) -> Option<(Url, Client)> {
        let url = self.base_url(raw, block);
        let headers = raw.http_headers.get();
        let credentials = credential_headers(raw.authorization.get());
        let headers = headers.map(|headers| self.headers(&headers.0, &credentials));
        let headers = headers.unwrap_or_default();
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
        let mut url = self.http_url(&raw.base_url)?;
        let place = raw.base_url.place?;
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

    fn http_url(&self, at: &At<UrlText>) -> Option<Url> {
        let (place, UrlText(text)) = at.placed()?;
        if purpose::is_unfilled(text) {
            let mistake = Mistake::new(place, "a placeholder that nothing fills");
            self.report(mistake.hint(purpose::UNFILLED));
            return None;
        }
        let wrong = match Url::parse(text) {
            Ok(url) if !matches!(url.scheme(), "http" | "https") => "not an http or https URL",
            Ok(url) if url.host_str().is_none_or(str::is_empty) => "a URL without a host",
            // What a URL may hold and a request may not, such as a quote in the host's name.
            Ok(url) if http::Uri::try_from(url.as_str()).is_err() => "no request can have this URL",
            Ok(url) => return Some(url),
            Err(_) => "not a URL",
        };
        self.report(Mistake::new(place, wrong).hint("write https://host or https://host/path"));
        None
    }

    /// The further headers. `credentials` are those that carry credentials: their values may never
    /// be seen, whatever they stand under.
    fn headers(&self, table: &Table<raw::Header>, credentials: &[&str]) -> Vec<Placed> {
        let mut headers: Vec<Placed> = Vec::new();
        for (place, name, values) in table.entries() {
            let Some(name) = self.header_name(place, name) else { continue };
            if let Some((first, ..)) = headers.iter().find(|(_, other, _)| *other == name) {
                self.report(Mistake::new(place, "duplicate header").first(*first));
            }
            let before = headers.len();
            let is_secret =
                is_among(&name, credentials) || is_among(&name, &privacy::CREDENTIAL_HEADERS);
            for (at, secret) in self.header_values(values, &name, is_secret) {
                self.usable(at, &secret, &Purpose::Header(name.clone()));
                headers.push((place, name.clone(), secret));
            }
            let is_mistaken = values.values.is_mistaken()
                || values.secrets.is_mistaken()
                || values.files.is_mistaken();
            if headers.len() == before && !is_mistaken {
                let mistake = Mistake::new(place, "a header without a value");
                self.report(mistake.hint("write values: […], secrets: […] or files: […]"));
            }
        }
        headers
    }

    fn header_values(
        &self,
        header: &raw::Header,
        name: &HeaderName,
        is_secret: bool,
    ) -> Vec<(Place, Secret)> {
        let values = header.values.get().into_iter().flatten().filter_map(At::placed);
        let values = values.map(|(at, Text(text))| match is_secret {
            true => (at, Secret::inline(text)),
            false => (at, Secret::Value(SecretString::from(&**text))),
        });
        let secrets = header.secrets.get().into_iter().flatten().filter_map(At::placed);
        let secrets = secrets.map(|(at, SecretText(text))| (at, Secret::Inline(text.clone())));
        let purpose = Purpose::Header(name.clone());
        let files = header.files.get().into_iter().flatten();
        let files = files.filter_map(|file| self.secret_file(file, &purpose));
        values.chain(secrets).chain(files).collect()
    }

    fn header_name(&self, place: Place, name: &str) -> Option<HeaderName> {
        let parsed = HeaderName::from_bytes(name.as_bytes());
        let name =
            parsed.map_err(|_| self.report(Mistake::new(place, "not a header's name"))).ok()?;
        if FORBIDDEN.contains(&name) {
            self.report(Mistake::new(place, "this header is the exporter's own business"));
        }
        Some(name)
    }

    /// Reports a secret that cannot be read, or cannot be what it is for.
    fn usable(&self, place: Place, secret: &Secret, purpose: &Purpose) {
        let (what, checked) = match secret {
            Secret::Inline(text) | Secret::Value(text) => {
                ("the value", purpose.check(text.expose_secret(), false).map_err(io::Error::other))
            }
            Secret::File(_) => ("the secret file", secret.read().map(drop)),
        };
        let fits = checked.and_then(|()| match purpose {
            Purpose::Token { scheme, .. } => secret.header_value(scheme).map(drop),
            Purpose::Header(_) => secret.header_value("").map(drop),
            Purpose::Key | Purpose::Password => Ok(()),
        });
        let Err(error) = fits else { return };
        let message = format!("{what} cannot be used: {}", reason(&error));
        let mut mistake = Mistake::new(place, message);
        if let Secret::File(file) = secret {
            mistake = mistake.detail(file.path.display().to_string());
        }
        let misuse = error.get_ref().and_then(|inner| inner.downcast_ref::<Misuse>());
        mistake = match (misuse, secret) {
            (Some(misuse), _) => mistake.hint(misuse.hint),
            (None, Secret::File(file)) => missing(mistake, &error, &file.path),
            (None, _) => mistake,
        };
        self.report(mistake);
    }

    /// A secret that stands under one of two keys.
    fn secret(
        &self,
        inline: &At<SecretText>,
        file: &At<String>,
        purpose: &Purpose,
    ) -> Option<Secret> {
        if let (Some(_), Some(place)) = (inline.place, file.place) {
            self.report(Mistake::new(place, "written twice: here and as a file"));
        }
        let (place, secret) = match inline.placed() {
            Some((place, SecretText(text))) if text.expose_secret().is_empty() => {
                self.report(Mistake::new(place, "must not be empty"));
                return None;
            }
            Some((place, SecretText(text))) => (place, Secret::Inline(text.clone())),
            None => self.secret_file(file, purpose)?,
        };
        self.usable(place, &secret, purpose);
        Some(secret)
    }

    fn secret_file(&self, file: &At<String>, purpose: &Purpose) -> Option<(Place, Secret)> {
        let (place, path) = self.path(file)?;
        self.named_as_secret.borrow_mut().insert(path.clone());
        Some((place, Secret::File(SecretFile { path, purpose: purpose.clone() })))
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
            self.report(Mistake::new(place, message).hint("remove one of them"));
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
        let names = credential_headers(raw);
        let mut found = headers.iter().filter(|(_, name, _)| is_among(name, &names));
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
        let purpose = Purpose::Token { header: name.clone(), scheme: scheme.into() };
        let credentials = self.secret(&raw.credentials, &raw.credentials_file, &purpose)?;
        Some(Auth::Header { name, scheme: scheme.into(), credentials })
    }

    /// Both keys of a signed token.
    fn kling_jwt(&self, raw: &raw::Authorization) -> Option<Auth> {
        for place in [raw.credentials.place, raw.credentials_file.place].into_iter().flatten() {
            let mistake = Mistake::new(place, "a kling-jwt has keys, not credentials");
            self.report(mistake.hint("write access_key_file and secret_key_file"));
        }
        let access_key = self.secret(&raw.access_key, &raw.access_key_file, &Purpose::Key);
        let secret_key = self.secret(&raw.secret_key, &raw.secret_key_file, &Purpose::Key);
        let absent =
            |one: &At<SecretText>, other: &At<String>| one.is_absent() && other.is_absent();
        if let Some(place) = raw.scheme.place
            && (absent(&raw.access_key, &raw.access_key_file)
                || absent(&raw.secret_key, &raw.secret_key_file))
        {
            let mistake = Mistake::new(place, "a kling-jwt needs an access key and a secret key");
            self.report(mistake.hint("write access_key_file and secret_key_file"));
        }
        Some(Auth::KlingJwt { access_key: access_key?, secret_key: secret_key? })
    }

    fn only_for_tokens(&self, place: Option<Place>) {
        if let Some(place) = place {
            self.report(Mistake::new(place, "this key belongs to `type: kling-jwt`"));
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
        if let Some((place, username)) = raw.username.placed()
            && purpose::is_unfilled(&username.0)
        {
            let mistake = Mistake::new(place, "a placeholder that nothing fills");
            self.report(mistake.hint(purpose::UNFILLED));
        }
        let password = self.secret(&raw.password, &raw.password_file, &Purpose::Password)?;
        Some(Auth::Basic { username: raw.username.get()?.0.clone(), password })
    }
}

/// Returns the names of the headers in which a provider takes credentials.
pub fn credential_headers(raw: Option<&raw::Authorization>) -> Vec<&str> {
    let own = raw.and_then(|raw| raw.header.get()).map_or("authorization", String::as_str);
    let alternatives = raw.and_then(|raw| raw.alternatives.get()).into_iter().flatten();
    let alternatives = alternatives.filter_map(At::get).map(String::as_str);
    alternatives.chain([own, "authorization"]).collect()
}

fn is_among(name: &HeaderName, names: &[&str]) -> bool {
    names.iter().any(|other| name.as_str().eq_ignore_ascii_case(other))
}

/// Adds to a mistake about a file that cannot be read what a shell would have made of its name.
pub fn missing(mistake: Mistake, error: &io::Error, path: &Path) -> Mistake {
    match error.kind() {
        io::ErrorKind::NotFound => unexpanded(mistake, &path.to_string_lossy()),
        _ => mistake,
    }
}

/// Adds to a mistake about files what a shell would have made of their name.
pub fn unexpanded(mistake: Mistake, name: &str) -> Mistake {
    match name {
        _ if has_tilde(name) => mistake.hint("`~` is not expanded: write the whole path"),
        _ if is_unexpanded(name) => mistake.hint(purpose::UNFILLED),
        _ => mistake,
    }
}

/// Reports whether a shell would have made another name of a file's.
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

/// What an error of the file system says, without the number that Rust adds.
pub fn reason(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}
