//! The configuration as written: its keys and the types of their values.
//!
//! The JSON Schema and the tables of keys in `docs` are generated from these structs. A comment is
//! Markdown, and its links lead from `docs`. If the default is a value, it is the attribute `default`,
//! taken from the code; if it is not, the comment ends with a sentence such as "Default: none."

mod discovery;

use super::{
    GlobalSettings, HttpClientConfig, Limits, PerTaskSeries, ProbeLimits, RateLimit, TlsVersion,
    preset,
};
use crate::mapping::schema::RawResponse;
use crate::request::RawRequest;
use crate::yaml::scalar::{
    ByteSize, PositiveInteger, PrometheusDuration, PublicText, SchemeText, SecretText, Share,
    UrlText,
};
use crate::yaml::span::{Either, OrderedMap, Spanned};
use schemars::JsonSchema;
use serde::Deserialize;

pub use discovery::{RawFileSource, RawHttpSource, RawProviderList, RawSqlSource, RawTaskReceiver};

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
    /// Queries of databases that list tasks.
    pub sql_sd_configs: Spanned<Vec<Spanned<RawSqlSource>>>,
    /// Settings of the [registrations](discovery.md#registration) by applications, which
    /// `--web.enable-task-receiver` enables.
    pub task_receiver: Spanned<RawTaskReceiver>,
}

/// A list of tasks: IDs, or blocks with an ID.
pub type RawTasks = Vec<Spanned<Either<PublicText, RawTask>>>;

/// Defaults for all providers, and limits for the whole exporter.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawGlobal {
    /// Time between two polls of a task. Above zero.
    #[schemars(extend("default" = PrometheusDuration(Limits::DEFAULT.poll_interval)))]
    pub poll_interval: Spanned<PrometheusDuration>,
    /// Total time of one poll, from the connection to the last byte. Above zero.
    #[schemars(extend("default" = PrometheusDuration(Limits::DEFAULT.poll_timeout)))]
    pub poll_timeout: Spanned<PrometheusDuration>,
    /// Time without an end, or without a change, after which a task is [stuck](meaning.md#stuck);
    /// also the time over which a provider must answer "not found" before an ID that it never knew
    /// is [final](meaning.md#state). Above zero.
    #[schemars(extend("default" = PrometheusDuration(Limits::DEFAULT.stuck_after)))]
    pub stuck_after: Spanned<PrometheusDuration>,
    /// Time for which a final task keeps its series.
    #[schemars(extend("default" = PrometheusDuration(Limits::DEFAULT.retain_finished)))]
    pub retain_finished: Spanned<PrometheusDuration>,
    /// Time for which an open task is polled on after it has left all lists of its sources. `0`
    /// means not at all.
    #[schemars(extend("default" = PrometheusDuration(GlobalSettings::DEFAULT.keep_unlisted)))]
    pub keep_unlisted: Spanned<PrometheusDuration>,
    /// Tasks whose series are exported: `all`, `active` (not final) or `none`.
    #[schemars(extend("default" = Limits::DEFAULT.per_task_series))]
    pub per_task_series: Spanned<PerTaskSeries>,
    /// Maximum size of the part of an answer that is read. Values [before the
    /// limit](providers.md#large-answers) count.
    #[schemars(extend("default" = ByteSize(Limits::DEFAULT.body_size_limit)))]
    pub body_size_limit: Spanned<ByteSize>,
    /// Limits of the requests for `/probe`.
    pub probe: Spanned<RawProbe>,
    /// Maximum number of polled tasks of all providers together. Further tasks, in the order of the
    /// files, are dropped and counted in `aitask_exporter_dropped_tasks`.
    #[schemars(extend("default" = GlobalSettings::DEFAULT.max_tasks))]
    pub max_tasks: Spanned<PositiveInteger>,
    /// Maximum number of a task's own labels; more is an error.
    #[schemars(extend("default" = GlobalSettings::DEFAULT.labels.count))]
    pub label_limit: Spanned<PositiveInteger>,
    /// Maximum length of the name of a task's own label, in bytes.
    #[schemars(extend("default" = GlobalSettings::DEFAULT.labels.name_bytes))]
    pub label_name_length_limit: Spanned<PositiveInteger>,
    /// Maximum length of the value of a task's own label, in bytes.
    #[schemars(extend("default" = GlobalSettings::DEFAULT.labels.value_bytes))]
    pub label_value_length_limit: Spanned<PositiveInteger>,
}

/// A provider: an account at an API that runs tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RawProvider {
    /// The value of the label `provider`: unique, 1 to 1,024 bytes, no control characters, neither
    /// `.` nor `..`.
    pub name: Spanned<PublicText>,
    /// The name of a [preset](providers.md#the-presets), the mapping to start from. Other keys of the
    /// provider [override it](providers.md#overriding-a-preset).
    #[schemars(extend("enum" = preset::NAMES))]
    pub preset: Spanned<String>,
    /// Address of the API: `http` or `https`, optionally with a path, without `?` and `#`. A user
    /// and password in it count as `basic_auth`. Default: the preset's.
    pub base_url: Spanned<UrlText>,
    /// [Credentials](configuration.md#credentials) in one header. Default: the preset's.
    pub authorization: Spanned<RawAuthorization>,
    /// Credentials as user and password.
    pub basic_auth: Spanned<RawBasicAuth>,
    /// Further [headers](configuration.md#credentials) by name. Default: the preset's.
    pub http_headers: Spanned<RawHttpHeaders>,
    /// [TLS settings](configuration.md#tls_config).
    pub tls_config: Spanned<RawTlsConfig>,
    /// The [proxy](configuration.md#proxies) for the provider's requests: `http`, `https`, `socks5`
    /// or `socks5h`, optionally with a user and a password. With either SOCKS scheme, the proxy
    /// receives the host name. Default: none.
    pub proxy_url: Spanned<UrlText>,
    /// Hosts to reach without `proxy_url`, separated by commas; an error without `proxy_url`.
    /// Default: none.
    pub no_proxy: Spanned<String>,
    /// Use the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name, if any. An error together with
    /// `proxy_url` or `no_proxy`.
    #[schemars(extend("default" = false))]
    pub proxy_from_environment: Spanned<bool>,
    /// Offer HTTP/2 in the TLS handshake. Without TLS it is never used.
    #[schemars(extend("default" = HttpClientConfig::DEFAULT_HTTP2))]
    pub enable_http2: Spanned<bool>,
    /// Limit of the rate at which requests start. One request in ten seconds is `{ requests: 1,
    /// per: 10s }`. Default: none.
    pub rate_limit: Spanned<RawRateLimit>,
    /// Maximum number of concurrent requests.
    #[schemars(extend("default" = Limits::DEFAULT.max_in_flight))]
    pub max_in_flight: Spanned<PositiveInteger>,
    /// Maximum number of tasks in one request, if the API has [batches](configuration.md#batches).
    #[schemars(extend("default" = Limits::DEFAULT.batch_size))]
    pub batch_size: Spanned<PositiveInteger>,
    /// Time for which the first due task of a batch waits for others.
    #[schemars(extend("default" = PrometheusDuration(Limits::DEFAULT.batch_wait)))]
    pub batch_wait: Spanned<PrometheusDuration>,
    /// As under `global`. Default: `global`'s.
    pub poll_interval: Spanned<PrometheusDuration>,
    /// As under `global`. Default: `global`'s.
    pub poll_timeout: Spanned<PrometheusDuration>,
    /// As under `global`. Default: `global`'s.
    pub stuck_after: Spanned<PrometheusDuration>,
    /// As under `global`. Default: `global`'s.
    pub retain_finished: Spanned<PrometheusDuration>,
    /// As under `global`. Default: `global`'s.
    pub per_task_series: Spanned<PerTaskSeries>,
    /// As under `global`. Default: `global`'s.
    pub body_size_limit: Spanned<ByteSize>,
    /// As under `global`. Default: `global`'s.
    pub probe: Spanned<RawProbe>,
    /// Maximum number of polled tasks of this provider. Default: none.
    pub max_tasks: Spanned<PositiveInteger>,
    /// Follow the tasks that the provider [lists](configuration.md#lists-of-a-provider). `{}` switches
    /// it on with all defaults. Default: off.
    pub list: Spanned<RawProviderList>,
    /// The [request](providers.md#the-request) for a task. Keys that are given replace the
    /// preset's. Default: the preset's.
    pub request: Spanned<RawRequest>,
    /// The [meaning of an answer](providers.md#the-response). Keys that are given replace the
    /// preset's. Default: the preset's.
    pub response: Spanned<RawResponse>,
}

/// Credentials in a header.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAuthorization {
    /// The text before the token. `kling-jwt`: a signed token of Kling's, which the exporter makes
    /// from access key and secret key and renews before it expires. Default: `Bearer` in the header
    /// `Authorization`, nothing in any other.
    #[serde(rename = "type")]
    pub scheme: Spanned<SchemeText>,
    /// The token.
    pub credentials: Spanned<SecretText>,
    /// File with the token, re-read when it changes.
    pub credentials_file: Spanned<String>,
    /// The access key of a `kling-jwt`.
    pub access_key: Spanned<SecretText>,
    /// File with the access key, re-read when it changes.
    pub access_key_file: Spanned<String>,
    /// The key that signs a `kling-jwt`.
    pub secret_key: Spanned<SecretText>,
    /// File with the secret key, re-read when it changes.
    pub secret_key_file: Spanned<String>,
    /// The header. Default: the preset's, or else `Authorization`.
    pub header: Spanned<String>,
    /// Other headers in which the API accepts credentials. If `http_headers` contains one of them,
    /// that header is sent instead.
    pub alternatives: Spanned<Vec<Spanned<String>>>,
}

/// Credentials as user and password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawBasicAuth {
    /// The user's name.
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
    /// Values that may be shown, in `/config` and in answers that repeat them; those of a header
    /// that carries credentials are not.
    pub values: Spanned<Vec<Spanned<PublicText>>>,
    /// Values that must not be shown.
    pub secrets: Spanned<Vec<Spanned<SecretText>>>,
    /// Files that contain one value each, re-read when they change.
    pub files: Spanned<Vec<Spanned<String>>>,
}

/// TLS settings.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTlsConfig {
    /// Certificate authorities in PEM, instead of the system's, or the server's own certificate.
    /// Default: the system's.
    pub ca_file: Spanned<String>,
    /// A client certificate in PEM; only with `key_file`.
    pub cert_file: Spanned<String>,
    /// The key of the client certificate in PEM; only with `cert_file`.
    pub key_file: Spanned<String>,
    /// Accept any certificate.
    #[schemars(extend("default" = false))]
    pub insecure_skip_verify: Spanned<bool>,
    /// The lowest accepted TLS version: `TLS12` or `TLS13`.
    #[schemars(extend("default" = TlsVersion::default()))]
    pub min_version: Spanned<TlsVersion>,
}

/// Limit of the rate at which requests start.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["requests"]))]
pub struct RawRateLimit {
    /// Maximum number of requests that start in the time `per`.
    pub requests: Spanned<PositiveInteger>,
    /// Time in which `requests` may start. Above zero.
    #[schemars(extend("default" = PrometheusDuration(RateLimit::DEFAULT_PER)))]
    pub per: Spanned<PrometheusDuration>,
    /// Maximum number of requests that start at once after a pause. Default: the value of
    /// `requests`.
    pub burst: Spanned<PositiveInteger>,
}

/// Limits of the requests for `/probe`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawProbe {
    /// Maximum number of concurrent `/probe` requests to a provider, as part of its
    /// `max_in_flight`. For a provider, `global`'s value is the default.
    #[schemars(extend("default" = ProbeLimits::DEFAULT.max_in_flight))]
    pub max_in_flight: Spanned<PositiveInteger>,
    /// Maximum share of probes in a provider's requests [while polls are
    /// due](configuration.md#probes-and-polls): 0.001 to 1. For a provider, `global`'s value is the
    /// default.
    #[schemars(extend("default" = ProbeLimits::DEFAULT.share))]
    pub share: Spanned<Share>,
}

/// A task with further keys besides its ID.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id"]))]
pub struct RawTask {
    /// The ID that the provider gave: 1 to 4,096 bytes, without [dot
    /// segments](configuration.md#dot-segments), without invisible characters (U+200B, direction
    /// marks, a byte-order mark, control characters other than tabs and line breaks) and without a
    /// line break at either end.
    pub id: Spanned<PublicText>,
    /// The name of its provider. Optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// The task's own labels, added to all its series. Their names must be valid Prometheus label
    /// names, must not begin with `__`, and must not be names that the exporter uses.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Values for further placeholders of the provider's request and of its batch, such as
    /// `{kind}`. A missing or unused param is an error, and so is a value with [dot
    /// segments](configuration.md#dot-segments), or one that [`{+kind}`](providers.md#the-request)
    /// cannot take.
    pub params: Spanned<OrderedMap<PublicText>>,
}

/// Files with tasks of one provider.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["files"]))]
pub struct RawTaskFiles {
    /// A glob, relative to the configuration file.
    pub files: Spanned<String>,
    /// The provider of the tasks in the files that name none.
    pub provider: Spanned<PublicText>,
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
    key("RawProvider", "follow_redirects", "redirects are never followed: write the final URL"),
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
        "the certificate must be valid for the host in the URL: use a host that it names",
    ),
    key("RawAuthorization", "credentials_ref", REFERENCE),
    key("RawBasicAuth", "password_ref", REFERENCE),
    key("RawBasicAuth", "username_file", "write the name into username"),
    key("RawBasicAuth", "username_ref", "write the name into username"),
];

/// Returns the message and the hint for a key that Prometheus has in this block, and that is not
/// supported here. `block` is the name of the block's struct.
pub fn foreign_key(block: &str, name: &str) -> Option<(String, &'static str)> {
    // A source has the client block of a provider.
    let block = if block == "RawHttpSource" { "RawProvider" } else { block };
    let key = FOREIGN_KEYS.iter().find(|key| key.block == block && key.name == name)?;
    Some((format!("{}: this Prometheus key is not supported", key.name), key.hint))
}
