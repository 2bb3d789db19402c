//! The file as written: what keys there are, and what kind of value each has.

use schemars::JsonSchema;
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::config::placed::{At, Table};
use crate::config::scalar::{SecretText, Text};

/// The whole file.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Web {
    /// How TLS is spoken.
    pub tls_server_config: At<Tls>,
    /// How HTTP is spoken.
    pub http_server_config: At<Http>,
    /// A bcrypt hash for each user.
    pub basic_auth_users: At<Table<SecretText>>,
    /// Known only to be refused.
    #[schemars(with = "Table<Text>")]
    pub rate_limit: At<IgnoredAny>,
}

/// How TLS is spoken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Tls {
    /// The server's certificate and those between it and the authority, in PEM. Not shown, because a
    /// text in PEM may have the key in it as well.
    pub cert: At<SecretText>,
    /// The same as a file.
    pub cert_file: At<String>,
    /// The certificate's key in PEM.
    pub key: At<SecretText>,
    /// The same as a file.
    pub key_file: At<String>,
    /// Whether clients need certificates, and whose.
    pub client_auth_type: At<String>,
    /// The authorities of clients in PEM.
    pub client_ca: At<SecretText>,
    /// The same as a file.
    pub client_ca_file: At<String>,
    /// One of these names has to be in a client's certificate.
    pub client_allowed_sans: At<Vec<At<String>>>,
    /// The lowest version of TLS.
    pub min_version: At<String>,
    /// The highest version of TLS.
    pub max_version: At<String>,
    /// Which cipher suites are spoken.
    pub cipher_suites: At<Vec<At<String>>>,
    /// Whether the order of the suites counts, or the client's.
    pub prefer_server_cipher_suites: At<bool>,
    /// Which groups keys are agreed on in.
    pub curve_preferences: At<Vec<At<String>>>,
}

/// How HTTP is spoken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Http {
    /// Either value is fine: exporter-toolkit offers HTTP/2 and does not insist, and here HTTP/1.1
    /// is all there is.
    pub http2: At<bool>,
    /// Headers of every answer.
    pub headers: At<Headers>,
}

/// Headers by name.
pub type Headers = Table<Text>;
