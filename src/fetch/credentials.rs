//! The headers of every request, secrets among them: read again when their files change, signed
//! again before a signature expires.

mod secrets;

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use http::header::AUTHORIZATION;
use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;
use percent_encoding::percent_decode_str;
use reqwest::Url;
use ring::hmac;
use secrecy::{ExposeSecret, SecretString};
use serde_json::json;

use super::client::BuildError;
use super::redact::Redactor;
use crate::config::secret::Secret;
use crate::config::{Auth, HttpClientConfig};
use crate::reading::Reading;
use crate::task::stable_hash;
use secrets::{SecretHistory, Secrets, basic};

/// How often a token is signed anew, and for how long it is valid: Kling's documents ask for 30
/// minutes at the most. A request in flight outlives neither.
const SIGN_EVERY: Duration = Duration::from_secs(600);
const VALID_FOR: Duration = Duration::from_secs(1800);
/// How far the provider's clock may be behind ours.
const CLOCK_SKEW: Duration = Duration::from_secs(60);

/// How long secrets may take to be read, while the provider's polls wait.
const PATIENCE: Duration = Duration::from_secs(2);

/// The headers that a provider is sent.
#[derive(Debug)]
pub struct Credentials {
    parts: Vec<Part>,
    proxy_url: Option<Secret>,
    current: Mutex<Current>,
    reading: Reading<Result<Read, BuildError>>,
}

#[derive(Debug, Default)]
struct Current {
    headers: HeaderMap,
    fingerprint: u64,
    history: SecretHistory,
}

/// What was read at one time.
#[derive(Debug, Default)]
struct Read {
    headers: HeaderMap,
    /// Hash of the headers without what a clock changes in them: another one once a secret changes.
    fingerprint: u64,
    secrets: Secrets,
}

/// One header: a secret and what becomes of it.
#[derive(Debug)]
struct Part {
    name: HeaderName,
    form: Form,
    secret: Secret,
}

#[derive(Debug)]
enum Form {
    Prefixed(Box<str>),
    Basic { username: Box<str> },
    KlingJwt { access_key: Secret },
}

impl Credentials {
    /// Reads every secret of a client's configuration.
    ///
    /// # Errors
    /// When a secret cannot be read, or is no header's value.
    pub fn read(client: &HttpClientConfig) -> Result<Self, BuildError> {
        let mut parts = Vec::new();
        let mut add = |name: &HeaderName, form, secret: &Secret| {
            parts.push(Part { name: name.clone(), form, secret: secret.clone() });
        };
        match &client.auth {
            Auth::None => {}
            Auth::Header { name, scheme, credentials } => {
                let space = if scheme.is_empty() { "" } else { " " };
                add(name, Form::Prefixed(format!("{scheme}{space}").into()), credentials);
            }
            Auth::Basic { username, password } => {
                add(&AUTHORIZATION, Form::Basic { username: username.clone() }, password);
            }
            Auth::KlingJwt { access_key, secret_key } => {
                let form = Form::KlingJwt { access_key: access_key.clone() };
                add(&AUTHORIZATION, form, secret_key);
            }
        }
        for (name, secret) in &client.headers {
            add(name, Form::Prefixed("".into()), secret);
        }
        let proxy_url = client.proxy.as_ref().map(|proxy| proxy.url.clone());
        let mut current = Current::default();
        current.replace(read_all(&parts, proxy_url.as_ref())?);
        let current = Mutex::new(current);
        Ok(Self { parts, proxy_url, current, reading: Reading::default() })
    }

    /// Returns the headers as they were last read, and what takes their secrets out of an answer.
    pub fn current(&self) -> (HeaderMap, Arc<Redactor>) {
        let current = self.current.lock();
        (current.headers.clone(), Arc::clone(&current.history.redactor))
    }

    /// Hash of the headers as they were last read, signatures aside.
    pub fn fingerprint(&self) -> u64 {
        self.current.lock().fingerprint
    }

    /// Whether the headers can change while the configuration does not.
    pub fn can_change(&self) -> bool {
        let in_file = |secret: &Secret| matches!(secret, Secret::File(_));
        self.parts
            .iter()
            .any(|part| in_file(&part.secret) || matches!(part.form, Form::KlingJwt { .. }))
    }

    /// Reads every secret once more. Returns whether one has changed.
    ///
    /// # Errors
    /// When a secret cannot be read or used; the headers stay as they were.
    pub async fn refresh(self: &Arc<Self>) -> Result<bool, BuildError> {
        let this = Arc::clone(self);
        let read = self
            .reading
            .read(PATIENCE, move || read_all(&this.parts, this.proxy_url.as_ref()))
            .await;
        let read = read.map_err(|error| BuildError::Secret(format!("secrets: {error}")))??;
        let mut current = self.current.lock();
        let before = current.fingerprint;
        current.replace(read);
        Ok(before != current.fingerprint)
    }
}

impl Current {
    fn replace(&mut self, Read { headers, fingerprint, secrets }: Read) {
        (self.headers, self.fingerprint) = (headers, fingerprint);
        self.history.push(secrets);
    }
}

fn read_all(parts: &[Part], proxy_url: Option<&Secret>) -> Result<Read, BuildError> {
    let Read { mut headers, mut fingerprint, mut secrets } = Read::default();
    // The pages of a proxy come back as answers.
    let proxy_url = proxy_url.and_then(|url| Url::parse(url.read().ok()?.expose_secret()).ok());
    if let Some(url) = proxy_url {
        let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
        let password = url.password().unwrap_or_default();
        secrets.add(password.into());
        secrets.add_user(&decode(url.username()), &decode(password));
    }
    for part in parts {
        let secret = part.read(&part.secret)?;
        // The account consists of this and the secret. Not of the token, which is another one every
        // ten minutes.
        let (text, account) = match &part.form {
            Form::Prefixed(prefix) => {
                if part.secret.is_masked() {
                    secrets.add_header(&part.name, secret.expose_secret());
                }
                (format!("{prefix}{}", secret.expose_secret()), SecretString::from(&**prefix))
            }
            Form::Basic { username } => {
                secrets.add_user(username, secret.expose_secret());
                let encoded = basic(username, secret.expose_secret());
                (format!("Basic {encoded}"), SecretString::from(&**username))
            }
            Form::KlingJwt { access_key } => {
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
            .map_err(|_| part.error(&"the secret is no header's value"))?;
        value.set_sensitive(true);
        headers.append(part.name.clone(), value);
    }
    Ok(Read { headers, fingerprint, secrets })
}

impl Part {
    fn read(&self, secret: &Secret) -> Result<SecretString, BuildError> {
        secret.read().map_err(|error| self.error(&error))
    }

    fn error(&self, error: &dyn std::fmt::Display) -> BuildError {
        BuildError::Secret(format!("{}: {error}", self.name))
    }
}

/// A token as Kling asks for it: a JWT (RFC 7519) signed with HMAC-SHA-256. It is the same for all
/// of [`SIGN_EVERY`], so that reading the secrets again does not look like a change.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::TlsConfig;

    /// Accounts that differ in any part of what is sent have different fingerprints at any time.
    #[test]
    fn a_fingerprint_stands_for_all_that_is_sent() {
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
        // Every moment has a token that is valid for at least 20 minutes more.
        for now in at..at + 1_300 {
            let claims = decode(token(now).split('.').nth(1).unwrap());
            let claims: serde_json::Value = serde_json::from_slice(&claims).unwrap();
            assert!(claims["exp"].as_u64().unwrap() >= now + 1_200);
        }
        assert_eq!(token(at - at % 600), token(at - at % 600 + 599));
    }
}
