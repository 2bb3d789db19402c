//! Keys of Prometheus' `http_config` that are not supported here: a block that is copied from there
//! is answered with what to do instead.

use super::diagnostic::Diagnostic;
use super::place::Location;

/// Advice where Prometheus would get a token by itself.
const TOKEN: &str =
    "have the token written to a file, and name it in authorization.credentials_file";
const REFERENCE: &str = "there is no secret manager: name a file instead";
const INLINE: &str = "write it to a file, and name the file";

/// A key that there is not.
struct ForeignKey {
    /// The struct of `raw` in whose block Prometheus has it.
    block: &'static str,
    name: &'static str,
    hint: &'static str,
}

const fn key(block: &'static str, name: &'static str, hint: &'static str) -> ForeignKey {
    ForeignKey { block, name, hint }
}

const KEYS: [ForeignKey; 20] = [
    key("RawProvider", "azuread", TOKEN),
    key("RawProvider", "bearer_token", "write authorization: { credentials: … }"),
    key("RawProvider", "bearer_token_file", "write authorization: { credentials_file: … }"),
    key(
        "RawProvider",
        "follow_redirects",
        "redirects are never followed: write the last address in base_url",
    ),
    key("RawProvider", "google_iam", TOKEN),
    key("RawProvider", "oauth2", TOKEN),
    key(
        "RawProvider",
        "proxy_connect_header",
        "write a user and a password into proxy_url; a proxy can be sent nothing else",
    ),
    key("RawProvider", "sigv4", "go through a proxy that signs requests"),
    key("RawTlsConfig", "ca", INLINE),
    key("RawTlsConfig", "ca_ref", REFERENCE),
    key("RawTlsConfig", "cert", INLINE),
    key("RawTlsConfig", "cert_ref", REFERENCE),
    key("RawTlsConfig", "key", INLINE),
    key("RawTlsConfig", "key_ref", REFERENCE),
    key(
        "RawTlsConfig",
        "max_version",
        "the newest version that both sides speak is taken; there is min_version",
    ),
    key(
        "RawTlsConfig",
        "server_name",
        "the certificate has to be for the host in base_url: write one that it is for",
    ),
    key("RawAuthorization", "credentials_ref", REFERENCE),
    key("RawBasicAuth", "password_ref", REFERENCE),
    key("RawBasicAuth", "username_file", "write the name in username"),
    key("RawBasicAuth", "username_ref", "write the name in username"),
];

/// Returns the mistake of a key that Prometheus has in this block, and that is not supported here.
pub fn diagnostic(block: &str, name: &str, location: Location) -> Option<Diagnostic> {
    let key = KEYS.iter().find(|key| key.block == block && key.name == name)?;
    let message = format!("{}: a key of Prometheus that is not supported here", key.name);
    Some(Diagnostic::new(location, message).hint(key.hint))
}
