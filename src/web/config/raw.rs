//! The file as written: what keys there are, and what kind of value each has.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::scalar::{PublicText, SecretText};
use crate::config::span::{OrderedMap, Spanned};

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// How TLS is spoken.
    pub tls_server_config: Spanned<Tls>,
    /// How HTTP is spoken.
    pub http_server_config: Spanned<Http>,
    /// A bcrypt hash for each user.
    pub basic_auth_users: Spanned<OrderedMap<SecretText>>,
    /// Known only to be refused.
    #[schemars(with = "OrderedMap<PublicText>")]
    pub rate_limit: Spanned<IgnoredAny>,
}

/// How TLS is spoken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
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
pub struct Http {
    /// Either value is fine: exporter-toolkit offers HTTP/2 and does not insist, and here HTTP/1.1
    /// is all there is.
    pub http2: Spanned<bool>,
    /// Headers of every answer.
    pub headers: Spanned<Headers>,
}

/// Headers by name.
pub type Headers = OrderedMap<PublicText>;
