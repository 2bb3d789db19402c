//! Headers of every request, including secrets: read again when their files change, and signed again
//! before a signature expires.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use http::header::{AUTHORIZATION, COOKIE};
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::client::BuildError;
use super::redact::Redactor;
use crate::config::http_client::reason;
use crate::config::secret::Secret;
use crate::config::{Auth, HttpClientConfig};
use crate::single_flight::SingleFlight;
use crate::task::stable_hash;

/// Time between two signatures of a token, and validity of a token: Kling's documentation allows 30
/// minutes at most. No request in flight outlasts either.
const SIGN_EVERY: Duration = Duration::from_secs(600);
const VALID_FOR: Duration = Duration::from_secs(1800);
/// Tolerance for a server's clock that is behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// Time limit for reading secrets, during which the requests to the server wait.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// Number of generations of secrets that are masked in responses, including the current one: a gateway
/// may send back what it has received before. A signed token is valid for as long.
const GENERATIONS: usize = 4;

/// Headers for the requests to a server.
#[derive(Debug)]
pub struct Credentials {
    parts: Vec<HeaderPart>,
    proxy_url: Option<Secret>,
    url_secrets: Vec<Secret>,
    current: Mutex<CurrentCredentials>,
    refresh: SingleFlight<Result<ReadCredentials, BuildError>>,
}

#[derive(Debug, Default)]
struct CurrentCredentials {
    headers: HeaderMap,
    fingerprint: u64,
    history: SecretHistory,
}

/// Result of reading all secrets.
#[derive(Debug, Default)]
struct ReadCredentials {
    headers: HeaderMap,
    /// Hash of the headers without the parts that depend on the time: it changes with the secrets.
    fingerprint: u64,
    secrets: Secrets,
}

/// One header: its secret, and its form.
#[derive(Debug)]
struct HeaderPart {
    name: HeaderName,
    form: HeaderForm,
    secret: Secret,
}

#[derive(Debug)]
enum HeaderForm {
    Prefixed(Box<str>),
    Basic { username: Box<str> },
    KlingJwt { access_key: Secret },
}

impl Credentials {
    /// Reads every secret of a client's configuration.
    ///
    /// # Errors
    /// Fails when a secret cannot be read, or is not a valid value of a header.
    pub fn read(client: &HttpClientConfig) -> Result<Self, BuildError> {
        let mut parts = Vec::new();
        let mut add = |name: &HeaderName, form, secret: &Secret| {
            parts.push(HeaderPart { name: name.clone(), form, secret: secret.clone() });
        };
        match &client.auth {
            Auth::None => {}
            Auth::Header { name, scheme, credentials } => {
                let space = if scheme.is_empty() { "" } else { " " };
                add(name, HeaderForm::Prefixed(format!("{scheme}{space}").into()), credentials);
            }
            Auth::Basic { username, password } => {
                add(&AUTHORIZATION, HeaderForm::Basic { username: username.clone() }, password);
            }
            Auth::KlingJwt { access_key, secret_key } => {
                let form = HeaderForm::KlingJwt { access_key: access_key.clone() };
                add(&AUTHORIZATION, form, secret_key);
            }
        }
        for (name, secret) in &client.headers {
            add(name, HeaderForm::Prefixed("".into()), secret);
        }
        let proxy_url = client.proxy.as_ref().map(|proxy| proxy.url.clone());
        let url_secrets = client.url_secrets.clone();
        let mut current = CurrentCredentials::default();
        current.replace(read_all(&parts, proxy_url.as_ref(), &url_secrets)?);
        let current = Mutex::new(current);
        Ok(Self { parts, proxy_url, url_secrets, current, refresh: SingleFlight::default() })
    }

    /// Returns the headers as they were last read, and the redactor of their secrets.
    pub fn current(&self) -> (HeaderMap, Arc<Redactor>) {
        let current = self.current.lock();
        (current.headers.clone(), Arc::clone(&current.history.redactor))
    }

    /// Returns the hash of the headers as they were last read, without signatures.
    pub fn fingerprint(&self) -> u64 {
        self.current.lock().fingerprint
    }

    /// Reports whether the headers can change while the configuration stays the same.
    pub fn can_change(&self) -> bool {
        let in_file = |secret: &Secret| matches!(secret, Secret::File(_));
        self.parts
            .iter()
            .any(|part| in_file(&part.secret) || matches!(part.form, HeaderForm::KlingJwt { .. }))
    }

    /// Reads every secret again. Returns true if one has changed.
    ///
    /// # Errors
    /// Fails when a secret cannot be read or used; the headers stay as they were.
    pub async fn refresh(self: &Arc<Self>) -> Result<bool, BuildError> {
        let this = Arc::clone(self);
        let read = self
            .refresh
            .run(READ_TIMEOUT, move || {
                read_all(&this.parts, this.proxy_url.as_ref(), &this.url_secrets)
            })
            .await;
        let read = read.map_err(|error| BuildError::Secret(format!("secrets: {error}")))??;
        let mut current = self.current.lock();
        let before = current.fingerprint;
        current.replace(read);
        Ok(before != current.fingerprint)
    }
}

impl CurrentCredentials {
    fn replace(&mut self, ReadCredentials { headers, fingerprint, secrets }: ReadCredentials) {
        (self.headers, self.fingerprint) = (headers, fingerprint);
        self.history.push(secrets);
    }
}

fn read_all(
    parts: &[HeaderPart],
    proxy_url: Option<&Secret>,
    url_secrets: &[Secret],
) -> Result<ReadCredentials, BuildError> {
    let ReadCredentials { mut headers, mut fingerprint, mut secrets } = ReadCredentials::default();
    // A proxy may send its password back in an error page.
    let proxy_url = proxy_url.and_then(|url| Url::parse(url.read().ok()?.expose_secret()).ok());
    if let Some(url) = proxy_url {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = url.password().unwrap_or_default();
        secrets.add(password.into());
        secrets.add_user(&decode(url.username()), &decode(password));
    }
    secrets.0.extend(url_secrets.iter().filter_map(|secret| secret.read().ok()));
    for part in parts {
        let secret = part.read(&part.secret)?;
        // The account and the secret are hashed, not the token, which changes every ten minutes.
        let (text, account) = match &part.form {
            HeaderForm::Prefixed(prefix) => {
                if part.secret.is_masked() {
                    secrets.add_header(&part.name, secret.expose_secret());
                }
                (format!("{prefix}{}", secret.expose_secret()), SecretString::from(&**prefix))
            }
            HeaderForm::Basic { username } => {
                secrets.add_user(username, secret.expose_secret());
                let encoded = basic(username, secret.expose_secret());
                (format!("Basic {encoded}"), SecretString::from(&**username))
            }
            HeaderForm::KlingJwt { access_key } => {
                let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                let access_key = part.read(access_key)?;
                let token = kling_jwt(&access_key, &secret, now);
                secrets.add_token(&token);
                secrets.add(secret.clone());
                secrets.add(access_key.clone());
                (format!("Bearer {token}"), access_key)
            }
        };
        fingerprint = stable_hash([
            fingerprint.to_le_bytes().as_slice(),
            part.name.as_str().as_bytes(),
            account.expose_secret().as_bytes(),
            secret.expose_secret().as_bytes(),
        ]);
        let mut value = HeaderValue::from_bytes(text.as_bytes())
            .map_err(|_| part.error(&"the secret is not a valid header value"))?;
        value.set_sensitive(true);
        headers.append(part.name.clone(), value);
    }
    Ok(ReadCredentials { headers, fingerprint, secrets })
}

impl HeaderPart {
    fn read(&self, secret: &Secret) -> Result<SecretString, BuildError> {
        secret.read().map_err(|error| match secret {
            Secret::File(file) => {
                let (why, path) = (reason(&error), file.path.display());
                self.error(&format!("the secret file cannot be used: {why}: {path}"))
            }
            Secret::Inline(_) | Secret::Value(_) => self.error(&error),
        })
    }

    fn error(&self, error: &dyn std::fmt::Display) -> BuildError {
        BuildError::Secret(format!("{}: {error}", self.name))
    }
}

/// Returns a token for Kling: a JWT (RFC 7519) signed with HMAC-SHA-256. It stays the same for
/// [`SIGN_EVERY`], so that reading the secrets again does not look like a change.
fn kling_jwt(access_key: &SecretString, secret_key: &SecretString, now: Duration) -> String {
    let signed_at = now.as_secs() / SIGN_EVERY.as_secs() * SIGN_EVERY.as_secs();
    let header = json!({"alg": "HS256", "typ": "JWT"});
    let claims = json!({
        "iss": access_key.expose_secret(),
        "exp": signed_at + VALID_FOR.as_secs(),
        "nbf": signed_at.saturating_sub(CLOCK_SKEW.as_secs()),
    });
    let encode = |bytes: &[u8]| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let signed = format!(
        "{}.{}",
        encode(header.to_string().as_bytes()),
        encode(claims.to_string().as_bytes())
    );
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret_key.expose_secret().as_bytes());
    let signature = hmac::sign(&key, signed.as_bytes());
    format!("{signed}.{}", encode(signature.as_ref()))
}

/// All texts that are secrets by themselves.
#[derive(Debug, Default)]
struct Secrets(Vec<SecretString>);

impl Secrets {
    /// Adds a secret.
    fn add(&mut self, secret: SecretString) {
        self.0.push(secret);
    }

    /// Adds a user's password, and the encoded form of name and password. Without a password, the name is
    /// the secret.
    fn add_user(&mut self, username: &str, password: &str) {
        let secret = if password.is_empty() { username } else { password };
        let both = format!("{username}:{password}");
        self.0.extend([secret.into(), basic(username, password).into(), both.into()]);
    }

    /// Adds a header's value, and the parts that are secrets by themselves: the text after a scheme, a
    /// user's password, the value of a cookie.
    fn add_header(&mut self, name: &HeaderName, value: &str) {
        self.0.push(value.into());
        if *name == COOKIE {
            let values = value.split(';').filter_map(|pair| pair.split_once('='));
            self.0.extend(values.map(|(_, value)| value.trim().into()));
        } else if let Some((scheme, rest)) = value.split_once(' ') {
            self.0.push(rest.trim().into());
            let is_basic = scheme.eq_ignore_ascii_case("basic");
            let user = BASE64_STANDARD.decode(rest.trim()).ok().filter(|_| is_basic);
            let user = user.and_then(|user| String::from_utf8(user).ok());
            if let Some((username, password)) =
                user.as_deref().and_then(|user| user.split_once(':'))
            {
                self.add_user(username, password);
            }
        }
    }

    /// Adds a signed token and its parts, without the first one, which only names the algorithm.
    fn add_token(&mut self, token: &str) {
        self.0.extend(token.split('.').skip(1).chain([token]).map(SecretString::from));
    }

    fn exposed(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(ExposeSecret::expose_secret)
    }
}

/// The current secrets, and those that they have replaced.
#[derive(Debug, Default)]
struct SecretHistory {
    /// Newest first.
    generations: VecDeque<Secrets>,
    /// Redactor of all of them.
    redactor: Arc<Redactor>,
}

impl SecretHistory {
    /// Adds the current secrets, and keeps the previous ones.
    fn push(&mut self, secrets: Secrets) {
        if self.generations.front().is_some_and(|known| known.exposed().eq(secrets.exposed())) {
            return;
        }
        self.generations.push_front(secrets);
        self.generations.truncate(GENERATIONS);
        self.redactor = Arc::new(Redactor::new(self.generations.iter().flat_map(Secrets::exposed)));
    }
}

/// Encodes the credentials of RFC 7617.
fn basic(username: &str, password: &str) -> String {
    BASE64_STANDARD.encode(format!("{username}:{password}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsConfig;

    /// Accounts that differ in any part of the headers have different fingerprints at any time.
    #[test]
    fn a_fingerprint_covers_all_headers() {
        let secret = Secret::inline;
        let header = |name: &'static str, scheme: &str, text| Auth::Header {
            name: HeaderName::from_static(name),
            scheme: scheme.into(),
            credentials: secret(text),
        };
        let basic = |username: &str, text| Auth::Basic {
            username: username.into(),
            password: secret(text),
        };
        let kling = |access_key, secret_key| Auth::KlingJwt {
            access_key: secret(access_key),
            secret_key: secret(secret_key),
        };
        let all = || {
            [
                Auth::None,
                header("authorization", "Bearer", "a"),
                header("authorization", "Bearer", "b"),
                header("authorization", "Key", "a"),
                header("x-key", "Bearer", "a"),
                basic("me", "a"),
                basic("you", "a"),
                kling("a", "a"),
                kling("b", "a"),
                kling("a", "b"),
            ]
        };
        let fingerprints = || -> Vec<u64> {
            let client = |auth| HttpClientConfig {
                auth,
                headers: vec![],
                tls: TlsConfig::default(),
                proxy: None,
                http2: true,
                url_secrets: vec![],
            };
            let read = |auth| Credentials::read(&client(auth)).unwrap().fingerprint();
            all().map(read).into()
        };
        let mut found = fingerprints();
        assert_eq!(found, fingerprints());
        found.sort_unstable();
        found.dedup();
        assert_eq!(found.len(), all().len());
    }

    #[test]
    fn a_token_verifies_and_is_renewed_long_before_it_expires() {
        let (access_key, secret_key) = ("ak".into(), "sk".into());
        let token = |now| kling_jwt(&access_key, &secret_key, Duration::from_secs(now));
        let at = 1_750_402_472;
        let parts: Vec<String> = token(at).split('.').map(str::to_owned).collect();
        let decode = |part: &str| BASE64_URL_SAFE_NO_PAD.decode(part).unwrap();
        let claims: serde_json::Value = serde_json::from_slice(&decode(&parts[1])).unwrap();
        assert_eq!(claims["iss"], "ak");
        assert!(claims["nbf"].as_u64().unwrap() <= at && claims["exp"].as_u64().unwrap() > at);
        let key = hmac::Key::new(hmac::HMAC_SHA256, b"sk");
        let signed = format!("{}.{}", parts[0], parts[1]);
        hmac::verify(&key, signed.as_bytes(), &decode(&parts[2])).unwrap();
        // At any time the token is valid for at least 20 more minutes.
        for now in at..at + 1_300 {
            let claims = decode(token(now).split('.').nth(1).unwrap());
            let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            assert!(claims["exp"].as_u64().unwrap() >= now + 1_200);
        }
        assert_eq!(token(at - at % 600), token(at - at % 600 + 599));
    }

    fn joined(secrets: &Secrets) -> String {
        secrets.exposed().collect::<Vec<_>>().join(" | ")
    }

    #[test]
    fn parts_of_headers_are_secrets() {
        let parts = |name: HeaderName, value: &str| {
            let mut secrets = Secrets::default();
            secrets.add_header(&name, value);
            joined(&secrets)
        };
        assert_eq!(parts(AUTHORIZATION, "token"), "token");
        assert_eq!(parts(AUTHORIZATION, "Token  t 1"), "Token  t 1 | t 1");
        let basic = "bAsic dTpwOjE= | dTpwOjE= | p:1 | dTpwOjE= | u:p:1";
        assert_eq!(parts(AUTHORIZATION, "bAsic dTpwOjE="), basic);
        assert_eq!(parts(COOKIE, "a=1; b=x=y"), "a=1; b=x=y | 1 | x=y");
        let mut secrets = Secrets::default();
        secrets.add_user("token", "");
        secrets.add_token("a.b.c");
        assert_eq!(joined(&secrets), "token | dG9rZW46 | token: | b | c | a.b.c");
    }

    #[test]
    fn replaced_secrets_are_masked_for_some_time() {
        let secret = |number: usize| format!("secret-{number}");
        let mut history = SecretHistory::default();
        for number in 0..=GENERATIONS {
            // The same secrets are no new generation.
            history.push(Secrets(vec![secret(number).into()]));
            history.push(Secrets(vec![secret(number).into()]));
        }
        let is_known = |number: &usize| history.redactor.mask_text(&secret(*number)).is_some();
        let known: Vec<_> = (0..=GENERATIONS).filter(is_known).collect();
        assert_eq!(known, (1..=GENERATIONS).collect::<Vec<_>>());
    }
}
