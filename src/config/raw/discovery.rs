//! The sources of tasks as written. The keys that all sources have are documented with those of an HTTP
//! endpoint.

use schemars::JsonSchema;
use serde::Deserialize;

use super::{RawAuthorization, RawBasicAuth, RawHttpHeaders, RawTlsConfig};
use crate::config::HttpClientConfig;
use crate::config::discovery::SourceConfig;
use crate::config::provider_list::ListSourceConfig;
use crate::config::task_receiver::TaskReceiverConfig;
use crate::mapping::list::RawListResponse;
use crate::mapping::list::page::RawPage;
use crate::yaml::scalar::{PositiveInteger, PrometheusDuration, PublicText, SecretText, UrlText};
use crate::yaml::span::{OrderedMap, Spanned};

/// An HTTP endpoint that lists tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "url"]))]
pub struct RawHttpSource {
    /// The value of the label `config`: unique in the section, 1 to 1,024 bytes, no control
    /// characters.
    pub name: Spanned<PublicText>,
    /// Address of the list: `http` or `https`. A user and password in it count as `basic_auth`. The
    /// query is never shown.
    pub url: Spanned<UrlText>,
    /// [Credentials](configuration.md#credentials) in one header. Default: none.
    pub authorization: Spanned<RawAuthorization>,
    /// Credentials as user and password. Default: none.
    pub basic_auth: Spanned<RawBasicAuth>,
    /// Further [headers](configuration.md#credentials) by name. Default: none.
    pub http_headers: Spanned<RawHttpHeaders>,
    /// [TLS settings](configuration.md#tls_config).
    pub tls_config: Spanned<RawTlsConfig>,
    /// The [proxy](configuration.md#proxies) for the requests. Default: none.
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
    /// The places of the tasks and their properties in a [response](configuration.md#response) that is
    /// no list of elements. Default: none.
    pub response: Spanned<RawListResponse>,
    /// Requests for the [pages](configuration.md#page) of the list. Default: one request for all of it.
    pub page: Spanned<RawPage>,
    /// Provider of the tasks that name none; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// Labels of all tasks. Labels in the list override them.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Time between two refreshes: above zero, at most `5m`. It should be below the life of the
    /// shortest job.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_REFRESH_INTERVAL)))]
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time of a refresh, all pages together. A longer one than `refresh_interval` counts as that.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_TIMEOUT)))]
    pub timeout: Spanned<PrometheusDuration>,
    /// Maximum number of tasks in the list. Further tasks are rejected; those that are followed
    /// already come first.
    #[schemars(extend("default" = SourceConfig::DEFAULT_LIMIT))]
    pub limit: Spanned<PositiveInteger>,
    /// As under `global`. Of several sources of a task, the longest time counts. Default: `global`'s.
    pub keep_unlisted: Spanned<PrometheusDuration>,
}

/// The list of the tasks that a provider holds.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawProviderList {
    /// Time between two refreshes: above zero, at most `5m`. It should be below the life of the
    /// shortest job.
    #[schemars(extend("default" = PrometheusDuration(ListSourceConfig::DEFAULT_REFRESH_INTERVAL)))]
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time of a refresh, all requests together. A longer one than `refresh_interval` counts as
    /// that.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_TIMEOUT)))]
    pub timeout: Spanned<PrometheusDuration>,
    /// Maximum number of tasks that are taken from the list. Further tasks are rejected; those that
    /// are followed already come first.
    #[schemars(extend("default" = ListSourceConfig::DEFAULT_LIMIT))]
    pub limit: Spanned<PositiveInteger>,
    /// Labels of all tasks in the list.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// As under `global`. Of several sources of a task, the longest time counts. Default: `global`'s.
    pub keep_unlisted: Spanned<PrometheusDuration>,
}

/// Files that list tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "files"]))]
pub struct RawFileSource {
    /// The value of the label `config`: unique in the section, 1 to 1,024 bytes, no control
    /// characters.
    pub name: Spanned<PublicText>,
    /// Globs of `*.json`, `*.yml` and `*.yaml` (lists of [elements](configuration.md#elements)) and of
    /// `*.txt` (one ID per line), relative to the configuration file.
    pub files: Spanned<Vec<Spanned<String>>>,
    /// Provider of the tasks that name none; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// Labels of all tasks. Labels in the list override them.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Time after which the files are read even if they seem unchanged: above zero, at most `5m`.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_FILE_REFRESH_INTERVAL)))]
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time for reading the files. A longer one than `refresh_interval` counts as that.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_TIMEOUT)))]
    pub timeout: Spanned<PrometheusDuration>,
    /// Maximum number of tasks in all files. Further tasks are rejected; those that are followed
    /// already come first.
    #[schemars(extend("default" = SourceConfig::DEFAULT_LIMIT))]
    pub limit: Spanned<PositiveInteger>,
    /// As under `global`. Of several sources of a task, the longest time counts. Default: `global`'s.
    pub keep_unlisted: Spanned<PrometheusDuration>,
}

/// A query of a database that lists tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "query"]))]
pub struct RawSqlSource {
    /// The value of the label `config`: unique in the section, 1 to 1,024 bytes, no control
    /// characters.
    pub name: Spanned<PublicText>,
    /// The URL of the database with user and password: of PostgreSQL, or of MySQL or MariaDB; see
    /// [there](configuration.md#data_source_name). Never shown. Give either it or its file.
    pub data_source_name: Spanned<SecretText>,
    /// File with that URL, re-read at each refresh.
    pub data_source_name_file: Spanned<String>,
    /// The query: one statement that returns a row for each task, by its
    /// [columns](configuration.md#columns-of-a-query).
    pub query: Spanned<String>,
    /// Provider of the tasks that name none; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// Labels of all tasks. Labels in the list override them.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Time between two refreshes: above zero, at most `5m`. It should be below the life of the
    /// shortest job.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_REFRESH_INTERVAL)))]
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time of a refresh, from the connection to the last row. A longer one than
    /// `refresh_interval` counts as that.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_TIMEOUT)))]
    pub timeout: Spanned<PrometheusDuration>,
    /// Maximum number of tasks in the result. Further tasks are rejected; those that are followed
    /// already come first.
    #[schemars(extend("default" = SourceConfig::DEFAULT_LIMIT))]
    pub limit: Spanned<PositiveInteger>,
    /// As under `global`. Of several sources of a task, the longest time counts. Default: `global`'s.
    pub keep_unlisted: Spanned<PrometheusDuration>,
}

/// Registrations of tasks by applications.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTaskReceiver {
    /// Maximum number of registered tasks that are not final. Further ones are refused.
    #[schemars(extend("default" = TaskReceiverConfig::DEFAULT_LIMIT))]
    pub limit: Spanned<PositiveInteger>,
    /// Time after which a registration ends that names no other time: above zero, at most `max_ttl`.
    #[schemars(extend("default" = PrometheusDuration(TaskReceiverConfig::DEFAULT_TTL)))]
    pub ttl: Spanned<PrometheusDuration>,
    /// Longest time for which a registration can last. A longer one is cut to it.
    #[schemars(extend("default" = PrometheusDuration(TaskReceiverConfig::DEFAULT_MAX_TTL)))]
    pub max_ttl: Spanned<PrometheusDuration>,
    /// Users of the file of `--web.config.file` who may register and delete tasks; an error without
    /// that file. Default: every client that may reach the exporter.
    pub users: Spanned<Vec<Spanned<PublicText>>>,
}
