//! The configuration as written: its keys and the types of their values. The JSON Schema is generated
//! from these structs, so editors show their comments.

mod discovery;

use super::{PerTaskSeries, TlsVersion, preset};
use crate::mapping::schema::RawResponse;
use crate::request::RawRequest;
use crate::yaml::scalar::{
    ByteSize, PositiveInteger, PrometheusDuration, PublicText, SchemeText, SecretText, Share,
    UrlText,
};
use crate::yaml::span::{Either, OrderedMap, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Map, Value, json};

pub use discovery::{RawFileSource, RawHttpSource};

/// The configuration of `aitask_exporter`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "aitask_exporter")]
pub struct RawConfig {
    /// Defaults for all providers, and limits for the whole exporter.
    pub global: Spanned<RawGlobal>,
    /// The providers: accounts at APIs that run tasks.
    pub providers: Spanned<Vec<Spanned<RawProvider>>>,
    /// The tasks to poll.
    pub tasks: Spanned<RawTasks>,
    /// Files with further tasks: globs, relative to this file, of `*.yml` and `*.yaml` (the same
    /// list as `tasks`) and of `*.txt` (one ID per line).
    pub task_files: Spanned<Vec<Spanned<Either<String, RawTaskFiles>>>>,
    /// HTTP endpoints that list tasks, as Prometheus' HTTP service discovery.
    pub http_sd_configs: Spanned<Vec<Spanned<RawHttpSource>>>,
    /// Files that list tasks and may change at any time.
    pub file_sd_configs: Spanned<Vec<Spanned<RawFileSource>>>,
}

/// A list of tasks: IDs, or blocks with an ID.
pub type RawTasks = Vec<Spanned<Either<PublicText, RawTask>>>;

/// Defaults for all providers, and limits for the whole exporter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGlobal {
    /// Time between two polls of a task. Default 15s.
    pub poll_interval: Spanned<PrometheusDuration>,
    /// Total time of one poll. Default 10s.
    pub poll_timeout: Spanned<PrometheusDuration>,
    /// Time after which a task counts as stuck. Default 10m.
    pub stuck_after: Spanned<PrometheusDuration>,
    /// Time for which a final task keeps its series. Default 1h.
    pub retain_finished: Spanned<PrometheusDuration>,
    /// Time for which an open task is followed that no source lists any more. Default 24h.
    pub keep_unlisted: Spanned<PrometheusDuration>,
    /// The tasks whose series are exported: `all`, `active` ones, or `none`. Default all.
    pub per_task_series: Spanned<PerTaskSeries>,
    /// Maximum size of the part of an answer that is read. Default 1MiB.
    pub body_size_limit: Spanned<ByteSize>,
    /// Limits of the requests for `/probe`.
    pub probe: Spanned<RawProbe>,
    /// Maximum number of tasks that are polled, all providers together; further ones are counted
    /// and left out. Default 1000000.
    pub max_tasks: Spanned<PositiveInteger>,
    /// Maximum number of static labels of a task. Default 30.
    pub label_limit: Spanned<PositiveInteger>,
    /// Maximum length of a label's name, in bytes. Default 128.
    pub label_name_length_limit: Spanned<PositiveInteger>,
    /// Maximum length of a label's value, in bytes. Default 1024.
    pub label_value_length_limit: Spanned<PositiveInteger>,
}

/// A provider: an account at an API that runs tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RawProvider {
    /// The value of the `provider` label. Unique.
    pub name: Spanned<PublicText>,
    /// The mapping to start from.
    #[schemars(extend("enum" = preset::NAMES))]
    pub preset: Spanned<String>,
    /// The URL of the API: `http` or `https`, possibly with a path. Default: the preset's.
    pub base_url: Spanned<UrlText>,
    /// Credentials in a header.
    pub authorization: Spanned<RawAuthorization>,
    /// Credentials as user and password.
    pub basic_auth: Spanned<RawBasicAuth>,
    /// Further headers by name.
    pub http_headers: Spanned<RawHttpHeaders>,
    /// TLS settings.
    pub tls_config: Spanned<RawTlsConfig>,
    /// Proxy for the requests: `http`, `https`, `socks5` or `socks5h`. Default: none.
    pub proxy_url: Spanned<UrlText>,
    /// Hosts to reach without `proxy_url`, separated by commas: domains, IP addresses, networks.
    pub no_proxy: Spanned<String>,
    /// Use the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name. Default false.
    pub proxy_from_environment: Spanned<bool>,
    /// Offer HTTP/2 in the TLS handshake. Default true.
    pub enable_http2: Spanned<bool>,
    /// Limit of the rate at which requests start. Default: no limit.
    pub rate_limit: Spanned<RawRateLimit>,
    /// Maximum number of requests in flight at once. Default 16.
    pub max_in_flight: Spanned<PositiveInteger>,
    /// Maximum number of tasks of one request, where the API has batches. Default 50.
    pub batch_size: Spanned<PositiveInteger>,
    /// Time for which the first task of a batch waits for others. Default 200ms.
    pub batch_wait: Spanned<PrometheusDuration>,
    /// Time between two polls of a task. Default: global's.
    pub poll_interval: Spanned<PrometheusDuration>,
    /// Total time of one poll. Default: global's.
    pub poll_timeout: Spanned<PrometheusDuration>,
    /// Time after which a task counts as stuck. Default: global's.
    pub stuck_after: Spanned<PrometheusDuration>,
    /// Time for which a final task keeps its series. Default: global's.
    pub retain_finished: Spanned<PrometheusDuration>,
    /// The tasks whose series are exported. Default: global's.
    pub per_task_series: Spanned<PerTaskSeries>,
    /// Maximum size of the part of an answer that is read. Default: global's.
    pub body_size_limit: Spanned<ByteSize>,
    /// Limits of the requests for `/probe`.
    pub probe: Spanned<RawProbe>,
    /// Maximum number of tasks of this provider that are polled. Default: no limit but global's.
    pub max_tasks: Spanned<PositiveInteger>,
    /// The request for a task. Keys that are given replace the preset's.
    pub request: Spanned<RawRequest>,
    /// The meaning of an answer. Keys that are given replace the preset's.
    pub response: Spanned<RawResponse>,
}

/// Credentials in a header.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAuthorization {
    /// The type before the credentials. Default: Bearer in the header Authorization, nothing
    /// in others. `kling-jwt`: a signed token of Kling's, from access key and secret key.
    #[serde(rename = "type")]
    pub scheme: Spanned<SchemeText>,
    /// The credentials, such as a token.
    pub credentials: Spanned<SecretText>,
    /// File with the credentials, re-read when it changes.
    pub credentials_file: Spanned<String>,
    /// The access key of a `kling-jwt`.
    pub access_key: Spanned<SecretText>,
    /// File with the access key, re-read when it changes.
    pub access_key_file: Spanned<String>,
    /// The key that signs a `kling-jwt`.
    pub secret_key: Spanned<SecretText>,
    /// File with the secret key, re-read when it changes.
    pub secret_key_file: Spanned<String>,
    /// Header for the credentials. Default: the preset's, or else Authorization.
    pub header: Spanned<String>,
    /// Other headers in which the API accepts credentials. If `http_headers` contains one of them,
    /// that header is sent instead.
    pub alternatives: Spanned<Vec<Spanned<String>>>,
}

/// Credentials as user and password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBasicAuth {
    /// The user name.
    pub username: Spanned<PublicText>,
    /// The password.
    pub password: Spanned<SecretText>,
    /// File with the password, re-read when it changes.
    pub password_file: Spanned<String>,
}

/// Headers by name.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct RawHttpHeaders(pub OrderedMap<RawHeader>);

/// Values of a header; each of them is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawHeader {
    /// Public values, unless the header is one that carries credentials.
    pub values: Spanned<Vec<Spanned<PublicText>>>,
    /// Secret values.
    pub secrets: Spanned<Vec<Spanned<SecretText>>>,
    /// Files that contain one value each, re-read when they change.
    pub files: Spanned<Vec<Spanned<String>>>,
}

/// TLS settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTlsConfig {
    /// Certificate authorities in PEM, instead of the system's, or the server's own certificate.
    pub ca_file: Spanned<String>,
    /// A client certificate in PEM.
    pub cert_file: Spanned<String>,
    /// The key of the client certificate in PEM.
    pub key_file: Spanned<String>,
    /// Accept any certificate. Default false.
    pub insecure_skip_verify: Spanned<bool>,
    /// The minimum version of TLS. Default TLS12.
    pub min_version: Spanned<TlsVersion>,
}

/// Limit of the rate at which requests start.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["requests"]))]
pub struct RawRateLimit {
    /// Maximum number of requests that start in the time `per`.
    pub requests: Spanned<PositiveInteger>,
    /// The time. Default 1s.
    pub per: Spanned<PrometheusDuration>,
    /// Maximum number of requests that start at once after a pause. Default: `requests`.
    pub burst: Spanned<PositiveInteger>,
}

/// Limits of the requests for `/probe`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawProbe {
    /// Maximum number of probes in flight at once. Default: global's, or 1.
    pub max_in_flight: Spanned<PositiveInteger>,
    /// The share of the requests that may be probes while polls are due. Default: global's, or 0.1.
    pub share: Spanned<Share>,
}

/// A task with further keys besides its ID.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id"]))]
pub struct RawTask {
    /// ID that the provider gave.
    pub id: Spanned<PublicText>,
    /// Name of the provider; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// The task's own labels, added to all its series.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Values for further placeholders of the provider's request.
    pub params: Spanned<OrderedMap<PublicText>>,
}

/// Files with tasks of one provider.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["files"]))]
pub struct RawTaskFiles {
    /// Glob, relative to this file.
    pub files: Spanned<String>,
    /// Provider of the tasks in the files that name none.
    pub provider: Spanned<PublicText>,
}

/// The blocks of a preset's mapping, in which null removes a key of the preset.
const MERGED: [&str; 4] = ["RawRequest", "RawBatch", "RawResponse", "RawLongField"];

/// Makes null a value of each key of a block, and of each key that stands in a table of it.
fn allow_null(properties: &mut Value) {
    for property in properties.as_object_mut().into_iter().flat_map(Map::values_mut) {
        if let Some(values) = property.get_mut("additionalProperties") {
            *values = json!({ "anyOf": [values.take(), { "type": "null" }] });
        }
        *property = json!({ "anyOf": [property.take(), { "type": "null" }] });
    }
}

/// The JSON Schema of a configuration file.
pub fn schema() -> String {
    let mut schema = schemars::schema_for!(RawConfig);
    for block in MERGED {
        if let Some(properties) = schema.pointer_mut(&format!("/$defs/{block}/properties")) {
            allow_null(properties);
        }
    }
    if let Some(provider) = schema.pointer_mut("/$defs/RawProvider").and_then(Value::as_object_mut)
    {
        let mapping = json!({ "required": ["request", "response"] });
        provider.insert("anyOf".to_owned(), json!([{ "required": ["preset"] }, mapping]));
    }
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}

/// Advice for keys by which Prometheus would get a token by itself.
const TOKEN: &str =
    "let another program write the token to a file named in authorization.credentials_file";
const REFERENCE: &str = "secret managers are not supported: name a file instead";
const INLINE: &str = "write it to a file, and name the file";

/// A key of Prometheus that is not supported here.
struct ForeignKey {
    /// The name of the struct in whose block Prometheus has the key.
    block: &'static str,
    name: &'static str,
    hint: &'static str,
}

const fn key(block: &'static str, name: &'static str, hint: &'static str) -> ForeignKey {
    ForeignKey { block, name, hint }
}

const FOREIGN_KEYS: [ForeignKey; 20] = [
    key("RawProvider", "azuread", TOKEN),
    key("RawProvider", "bearer_token", "write authorization: { credentials: … }"),
    key("RawProvider", "bearer_token_file", "write authorization: { credentials_file: … }"),
    key(
        "RawProvider",
        "follow_redirects",
        "redirects are never followed: write the final URL into base_url",
    ),
    key("RawProvider", "google_iam", TOKEN),
    key("RawProvider", "oauth2", TOKEN),
    key(
        "RawProvider",
        "proxy_connect_header",
        "write a user and a password into proxy_url; no other header can be sent to a proxy",
    ),
    key("RawProvider", "sigv4", "use a proxy that signs requests"),
    key("RawTlsConfig", "ca", INLINE),
    key("RawTlsConfig", "ca_ref", REFERENCE),
    key("RawTlsConfig", "cert", INLINE),
    key("RawTlsConfig", "cert_ref", REFERENCE),
    key("RawTlsConfig", "key", INLINE),
    key("RawTlsConfig", "key_ref", REFERENCE),
    key(
        "RawTlsConfig",
        "max_version",
        "the newest version that both sides support is used; only min_version can be set",
    ),
    key(
        "RawTlsConfig",
        "server_name",
        "the certificate must be valid for the host in base_url: use a host that it names",
    ),
    key("RawAuthorization", "credentials_ref", REFERENCE),
    key("RawBasicAuth", "password_ref", REFERENCE),
    key("RawBasicAuth", "username_file", "write the name into username"),
    key("RawBasicAuth", "username_ref", "write the name into username"),
];

/// Returns the message and the hint for a key that Prometheus has in this block, and that is not
/// supported here. `block` is the name of the block's struct.
pub fn foreign_key(block: &str, name: &str) -> Option<(String, &'static str)> {
    let key = FOREIGN_KEYS.iter().find(|key| key.block == block && key.name == name)?;
    Some((format!("{}: this Prometheus key is not supported", key.name), key.hint))
}
