//! The credentials of a client block.

use http::header;

use super::{ClientKeys, HeaderEntry, UserPassword, credential_headers, is_among};
use crate::config::secret::{self, Purpose};
use crate::config::validate::Validator;
use crate::config::{Auth, raw};
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::scalar::SecretText;
use crate::yaml::span::{Location, Spanned};

/// The type of authorization whose token we sign ourselves.
const KLING_JWT: &str = "kling-jwt";

impl Validator<'_> {
    /// Returns the one way in which credentials are sent.
    pub(super) fn auth(
        &self,
        keys: &ClientKeys<'_>,
        user: Option<UserPassword>,
        headers: &[HeaderEntry],
    ) -> Auth {
        let header = self.authorization(keys.authorization.get());
        let basic =
            keys.basic_auth.located().and_then(|(location, raw)| self.basic_auth(location, raw));
        if let (Some(location), Some(Auth::Header { .. } | Auth::KlingJwt { .. })) =
            (keys.basic_auth.location, &header)
        {
            let diagnostic =
                Diagnostic::new(location, "both authorization and basic_auth have credentials");
            self.report(diagnostic.hint("remove one of them"));
        }
        let overridden = self.auth_header(keys.authorization.get(), headers);
        let others = header.is_some() || basic.is_some() || overridden;
        if let (true, true, Some(location)) = (user.is_some(), others, keys.url.location) {
            let message = "both the URL and another key have credentials";
            self.report(Diagnostic::new(location, message).hint("remove one of them"));
        }
        if overridden {
            return Auth::None;
        }
        let user =
            user.map(|(username, password)| Auth::Basic { username: username.into(), password });
        header.or(basic).or(user).unwrap_or(Auth::None)
    }

    /// Returns true if `http_headers` has a header that carries credentials, as `Authorization` does at
    /// any API. Reports more than one.
    fn auth_header(&self, raw: Option<&raw::RawAuthorization>, headers: &[HeaderEntry]) -> bool {
        let names = credential_headers(raw);
        let mut found = headers.iter().filter(|(_, name, _)| is_among(name, &names));
        let first = found.next();
        if let (Some((first, ..)), Some((location, ..))) = (first, found.next()) {
            let diagnostic = Diagnostic::new(*location, "credentials in more than one header");
            self.report(diagnostic.first(*first).hint("send one: the API may use the wrong one"));
        }
        first.is_some()
    }

    fn authorization(&self, raw: Option<&raw::RawAuthorization>) -> Option<Auth> {
        let raw = raw?;
        let name = match raw.header.located() {
            Some((location, name)) => self.header_name(location, name)?,
            None => header::AUTHORIZATION,
        };
        let bearer = if name == header::AUTHORIZATION { "Bearer" } else { "" };
        let scheme = raw.scheme.get().map_or(bearer, |scheme| &scheme.0);
        if scheme == KLING_JWT {
            return self.kling_jwt(raw);
        }
        for key in [&raw.access_key, &raw.secret_key] {
            self.only_for_tokens(key.location);
        }
        for key in [&raw.access_key_file, &raw.secret_key_file] {
            self.only_for_tokens(key.location);
        }
        if let Some((location, _)) = raw.scheme.located() {
            if scheme.eq_ignore_ascii_case("basic") {
                let diagnostic =
                    Diagnostic::new(location, "basic authentication has a key of its own");
                self.report(diagnostic.hint("use basic_auth"));
            } else if !scheme
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || b"-._~+".contains(&byte))
            {
                self.report(Diagnostic::new(location, "not an authorization type"));
                return None;
            }
        }
        let purpose = Purpose::Token { header: name.clone(), scheme: scheme.into() };
        let credentials = self.secret(&raw.credentials, &raw.credentials_file, &purpose)?;
        Some(Auth::Header { name, scheme: scheme.into(), credentials })
    }

    /// Returns both keys of a signed token.
    fn kling_jwt(&self, raw: &raw::RawAuthorization) -> Option<Auth> {
        for location in
            [raw.credentials.location, raw.credentials_file.location].into_iter().flatten()
        {
            let diagnostic =
                Diagnostic::new(location, "kling-jwt takes keys instead of credentials");
            self.report(diagnostic.hint("write access_key_file and secret_key_file"));
        }
        let access_key = self.secret(&raw.access_key, &raw.access_key_file, &Purpose::Key);
        let secret_key = self.secret(&raw.secret_key, &raw.secret_key_file, &Purpose::Key);
        let absent = |one: &Spanned<SecretText>, other: &Spanned<String>| {
            one.is_absent() && other.is_absent()
        };
        if let Some(location) = raw.scheme.location
            && (absent(&raw.access_key, &raw.access_key_file)
                || absent(&raw.secret_key, &raw.secret_key_file))
        {
            let diagnostic =
                Diagnostic::new(location, "kling-jwt needs an access key and a secret key");
            self.report(diagnostic.hint("write access_key_file and secret_key_file"));
        }
        Some(Auth::KlingJwt { access_key: access_key?, secret_key: secret_key? })
    }

    fn only_for_tokens(&self, location: Option<Location>) {
        if let Some(location) = location {
            self.report(Diagnostic::new(location, "this key is only for `type: kling-jwt`"));
        }
    }

    fn basic_auth(&self, location: Location, raw: &raw::RawBasicAuth) -> Option<Auth> {
        if raw.username.is_absent() {
            self.report(Diagnostic::new(location, "missing key: username"));
        }
        if raw.password.is_absent() && raw.password_file.is_absent() {
            let diagnostic = Diagnostic::new(location, "missing key: password");
            self.report(diagnostic.hint("write password or password_file"));
        }
        if let Some((location, username)) = raw.username.located()
            && (username.0.contains(':') || username.0.chars().any(char::is_control))
        {
            self.report(Diagnostic::new(
                location,
                "a user name must not contain `:` or control characters",
            ));
        }
        if let Some((location, username)) = raw.username.located()
            && secret::is_unfilled(&username.0)
        {
            let diagnostic = Diagnostic::new(location, "an unresolved placeholder");
            self.report(diagnostic.hint(secret::UNFILLED));
        }
        let password = self.secret(&raw.password, &raw.password_file, &Purpose::Password)?;
        Some(Auth::Basic { username: raw.username.get()?.0.clone(), password })
    }
}
