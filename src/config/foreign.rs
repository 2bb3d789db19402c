//! Keys of Prometheus' `http_config` that are not supported here: a block that is copied from there
//! is answered with what to do instead.

use super::diagnostic::Mistake;
use super::place::Place;

/// Advice where Prometheus would get a token by itself.
const TOKEN: &str =
    "have the token written to a file, and name it in authorization.credentials_file";
const REFERENCE: &str = "there is no secret manager: name a file instead";
const INLINE: &str = "write it to a file, and name the file";

/// A key that there is not.
struct Key {
    /// The struct of `raw` in whose block Prometheus has it.
    block: &'static str,
    name: &'static str,
    hint: &'static str,
}

const fn key(block: &'static str, name: &'static str, hint: &'static str) -> Key {
    Key { block, name, hint }
}

const KEYS: [Key; 20] = [
    key("Provider", "azuread", TOKEN),
    key("Provider", "bearer_token", "write authorization: { credentials: … }"),
    key("Provider", "bearer_token_file", "write authorization: { credentials_file: … }"),
    key(
        "Provider",
        "follow_redirects",
        "redirects are never followed: write the last address in base_url",
    ),
    key("Provider", "google_iam", TOKEN),
    key("Provider", "oauth2", TOKEN),
    key(
        "Provider",
        "proxy_connect_header",
        "write a user and a password into proxy_url; a proxy can be sent nothing else",
    ),
    key("Provider", "sigv4", "go through a proxy that signs requests"),
    key("TlsConfig", "ca", INLINE),
    key("TlsConfig", "ca_ref", REFERENCE),
    key("TlsConfig", "cert", INLINE),
    key("TlsConfig", "cert_ref", REFERENCE),
    key("TlsConfig", "key", INLINE),
    key("TlsConfig", "key_ref", REFERENCE),
    key(
        "TlsConfig",
        "max_version",
        "the newest version that both sides speak is taken; there is min_version",
    ),
    key(
        "TlsConfig",
        "server_name",
        "the certificate has to be for the host in base_url: write one that it is for",
    ),
    key("Authorization", "credentials_ref", REFERENCE),
    key("BasicAuth", "password_ref", REFERENCE),
    key("BasicAuth", "username_file", "write the name in username"),
    key("BasicAuth", "username_ref", "write the name in username"),
];

/// Returns the mistake of a key that Prometheus has in this block, and that is not supported here.
pub fn mistake(block: &str, name: &str, place: Place) -> Option<Mistake> {
    let key = KEYS.iter().find(|key| key.block == block && key.name == name)?;
    let message = format!("{}: a key of Prometheus that is not supported here", key.name);
    Some(Mistake::new(place, message).hint(key.hint))
}
