//! The validated configuration: every value is valid by construction, mapping paths and request
//! templates are parsed. [`load`] and its variants are the only way to get one.

pub mod data_source;
pub mod discovery;
pub mod http_discovery;
pub(crate) mod http_client;
mod effective;
mod load;
mod notes;
pub mod preset;
pub mod provider_list;
pub(crate) mod privacy;
mod proxy;
mod raw;
pub(crate) mod read_yaml;
mod schema;
pub mod secret;
pub mod sql_discovery;
pub(crate) mod task_glob;
pub mod task_receiver;
pub(crate) mod task_rules;
mod tasks;
pub(crate) mod tls;
mod validate;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use reqwest::Url;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::duration;
use crate::mapping::Mapping;
use crate::request::Request;
use crate::task::Task;
use crate::yaml::diagnostic::{Diagnostics, shorten};
use discovery::SourceConfig;
pub use load::task_files::ConfigFiles;
pub use load::{
    Input, ProviderDiagnostic, load, load_after, load_text, load_valid_providers, load_with,
};
use privacy::MaskedHeaders;
use provider_list::ListSourceConfig;
pub use schema::schema;
use secret::Secret;
use task_receiver::TaskReceiverConfig;
pub use task_rules::LabelLimits;

/// The content of one set of configuration files.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration without the tasks.
    pub config: Config,
    /// The tasks in the order of the files, up to `max_tasks`; no provider and ID twice.
    pub tasks: Vec<Task>,
}

/// The configuration in force, without the tasks: there may be a million, and the store has them.
#[derive(Debug)]
pub struct Config {
    /// The providers in the order of the file.
    pub providers: Vec<Arc<Provider>>,
    /// The sources of tasks: HTTP before files before lists of providers, each in the order of the
    /// file.
    pub discovery: Vec<Arc<SourceConfig>>,
    /// The settings of the registrations by applications.
    pub task_receiver: TaskReceiverConfig,
    /// The limits of the labels of a task.
    pub label_limits: LabelLimits,
    /// Time for which an open task that no source lists any more is followed, where its sources set none.
    pub keep_unlisted: Duration,
    /// The number of tasks beyond `max_tasks`.
    pub dropped_tasks: usize,
    /// The maximum number of tasks of all providers.
    pub max_tasks: usize,
    /// The files that were read, without secret files, and a hash of their names and contents.
    pub files: ConfigFiles,
    /// The main file in YAML with defaults and presets filled in and `<secret>` for secrets.
    pub shown: String,
    /// Notes on what is valid but probably not meant, with their positions.
    pub notes: Diagnostics,
}

/// Maximum number of providers that an error message names.
const MAX_NAMED_PROVIDERS: usize = 20;

impl Config {
    /// Returns the provider with this name.
    ///
    /// # Errors
    /// There is none; the error is a sentence that names those that there are.
    pub fn find_provider(&self, name: &str) -> Result<&Arc<Provider>, String> {
        let found = self.providers.iter().find(|provider| *provider.name == *name);
        found.ok_or_else(|| {
            let name = shorten(name);
            format!("no provider {name:?} is configured: {}", self.describe_providers())
        })
    }

    /// Checks whether the configuration fits the flags, of which `has_web_config` is true if one names
    /// a web configuration.
    ///
    /// # Errors
    /// Fails when users are named and there is no web configuration that has them.
    pub fn check_flags(&self, has_web_config: bool) -> Result<(), Diagnostics> {
        match &self.task_receiver.users {
            Some(users) if !has_web_config => Err(users.without_web_config.clone()),
            _ => Ok(()),
        }
    }

    /// Returns the end of a sentence that names the providers, if there are not too many.
    pub fn describe_providers(&self) -> String {
        let names: Vec<_> = self
            .providers
            .iter()
            .take(MAX_NAMED_PROVIDERS)
            .map(|provider| &*provider.name)
            .collect();
        let more = match self.providers.len().saturating_sub(names.len()) {
            0 => String::new(),
            more => format!(" and {more} more"),
        };
        match &*names {
            [] => "there are no providers".to_owned(),
            [only] => format!("the only provider is {only}"),
            names => format!("the providers are {}{more}", names.join(", ")),
        }
    }
}

/// One upstream API account.
#[derive(Debug)]
pub struct Provider {
    /// Unique, not empty, at most 1,024 bytes.
    pub name: Arc<str>,
    /// The preset that the mapping started from.
    pub preset: Option<Box<str>>,
    /// `http` or `https`; without user, password, query and fragment; its path may be a prefix.
    pub base_url: Url,
    /// The request for one task.
    pub request: Request,
    /// The request for one task as people may see it: without the text that the configuration writes
    /// beside the placeholders of query and body.
    pub redacted_request: Option<Request>,
    /// The headers whose values are masked, in responses too.
    pub masked_headers: MaskedHeaders,
    /// The request for several tasks at once, where the API has one.
    pub batch: Option<Request>,
    /// The list of all tasks, where the API has one. The tasks in it are followed only if the provider
    /// is a source of tasks.
    pub list: Option<Arc<ListSourceConfig>>,
    /// The meaning of a response.
    pub mapping: Mapping,
    /// The settings of the HTTP client.
    pub client: HttpClientConfig,
    /// The limits of polls and probes.
    pub limits: Limits,
}

impl Provider {
    /// Checks whether the provider's requests can carry a task's ID, which is one.
    ///
    /// # Errors
    /// The end of a sentence that names it: a rule that it breaks.
    pub fn check_id(&self, id: &str) -> Result<(), &'static str> {
        self.requests().try_for_each(|request| request.check_id(id))
    }

    /// Checks whether the provider's requests can carry `value` as the param `name`.
    ///
    /// # Errors
    /// The end of a sentence that names it: a rule that it breaks.
    pub fn check_param(&self, name: &str, value: &str) -> Result<(), &'static str> {
        self.requests().try_for_each(|request| request.check_param(name, value))
    }

    /// Returns the names of the params that a task of the provider needs, for a request of its own or in
    /// a batch. A name may come more than once.
    pub fn param_names(&self) -> impl Iterator<Item = &str> {
        self.requests().flat_map(Request::param_names)
    }

    fn requests(&self) -> impl Iterator<Item = &Request> {
        std::iter::once(&self.request).chain(&self.batch)
    }
}

/// The HTTP client block.
#[derive(Debug)]
pub struct HttpClientConfig {
    /// The one header that carries credentials, unless `headers` has it.
    pub auth: Auth,
    /// Further headers, the preset's and the user's; a name may occur more than once.
    pub headers: Vec<(HeaderName, Secret)>,
    /// The TLS settings.
    pub tls: TlsConfig,
    /// The proxy on the way to the provider.
    pub proxy: Option<Proxy>,
    /// True if HTTP/2 is offered to servers of `https`.
    pub http2: bool,
    /// Secrets in the URL, such as a token in its query.
    pub url_secrets: Vec<Secret>,
}

impl HttpClientConfig {
    /// The default of `enable_http2`.
    pub const DEFAULT_HTTP2: bool = true;
}

/// A proxy that is used for every request of a provider.
#[derive(Debug)]
pub struct Proxy {
    /// `http`, `https`, `socks5` or `socks5h`; possibly with a user and a password.
    pub url: Secret,
    /// True where the environment names the proxy, and not the configuration.
    pub is_from_environment: bool,
}

/// The way in which credentials are sent.
#[derive(Debug)]
pub enum Auth {
    /// No credentials, or those in `http_headers`.
    None,
    /// `name: scheme credentials`, or `name: credentials` where the scheme is empty.
    Header {
        /// `authorization`, unless the preset or the user names another.
        name: HeaderName,
        /// `Bearer`, say; may be empty.
        scheme: Box<str>,
        /// The credentials behind the scheme.
        credentials: Secret,
    },
    /// RFC 7617.
    Basic {
        /// The user's name.
        username: Box<str>,
        /// The user's password.
        password: Secret,
    },
    /// A token behind `Bearer` that is signed again before it expires.
    KlingJwt {
        /// The access key.
        access_key: Secret,
        /// The key that signs.
        secret_key: Secret,
    },
}

/// The TLS settings of a provider.
#[derive(Debug, Default)]
pub struct TlsConfig {
    /// A bundle that replaces the system's certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// A client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Accept any certificate of the server.
    pub insecure_skip_verify: bool,
    /// The minimum version.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    #[serde(rename = "TLS12")]
    Tls12,
    /// 1.3
    #[serde(rename = "TLS13")]
    Tls13,
}

/// The tasks whose series are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PerTaskSeries {
    /// All tasks, final ones for `retain_finished`.
    #[default]
    All,
    /// Tasks that are not final.
    Active,
    /// No tasks. The families of the provider are exported nevertheless.
    None,
}

/// At most `requests` in `per`, after at most `burst` at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// At least 1.
    pub requests: u32,
    /// Above zero.
    pub per: Duration,
    /// At least 1.
    pub burst: u32,
}

impl RateLimit {
    /// The default of `per`.
    pub const DEFAULT_PER: Duration = Duration::from_secs(1);
}

/// The part of a provider's requests that may be those of `/probe`. Serialized as under `global`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct ProbeLimits {
    /// Probes under way at once; at least 1.
    pub max_in_flight: usize,
    /// The part of the requests while polls are due, from 0.001 to 1.
    pub share: f64,
}

impl ProbeLimits {
    /// The built-in defaults.
    pub const DEFAULT: Self = Self { max_in_flight: 1, share: 0.1 };

    /// Returns the number of requests for polls between two probes while polls are due: at least 1,
    /// so that no client takes every turn.
    pub fn polls_between(self) -> u32 {
        // The share itself is not exact: a third is three requests a probe, not four.
        let fits = |polls: &u32| self.share * f64::from(*polls + 1) > 1.0 - 1e-9;
        (1..1_000).find(fits).unwrap_or(1_000)
    }
}

impl Default for ProbeLimits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// The numbers of a provider, with `global`'s and the built-in defaults filled in. Serialized as under
/// `global`: without those that only a provider has.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Limits {
    /// Time between two polls of a task; at least 1 ms.
    #[serde(serialize_with = "duration::serialize")]
    pub poll_interval: Duration,
    /// Total time of one poll; above zero.
    #[serde(serialize_with = "duration::serialize")]
    pub poll_timeout: Duration,
    /// Time after which a task counts as stuck; above zero.
    #[serde(serialize_with = "duration::serialize")]
    pub stuck_after: Duration,
    /// Time for which a final task keeps its series.
    #[serde(serialize_with = "duration::serialize")]
    pub retain_finished: Duration,
    /// The tasks whose series are exported.
    pub per_task_series: PerTaskSeries,
    /// The limit of the rate of requests, if one is set.
    #[serde(skip)]
    pub rate_limit: Option<RateLimit>,
    /// Requests under way at once; at least 1.
    #[serde(skip)]
    pub max_in_flight: usize,
    /// Maximum number of tasks of one request; at least 1.
    #[serde(skip)]
    pub batch_size: usize,
    /// Time for which the first task of a batch waits for others.
    #[serde(skip)]
    pub batch_wait: Duration,
    /// Maximum size of a response that is read, in bytes.
    pub body_size_limit: usize,
    /// The part of the requests that may be those of `/probe`.
    pub probe: ProbeLimits,
    /// The maximum number of tasks of the provider, if it has one of its own.
    #[serde(skip)]
    pub max_tasks: Option<usize>,
}

impl Limits {
    /// The built-in defaults.
    pub const DEFAULT: Self = Self {
        poll_interval: Duration::from_secs(15),
        poll_timeout: Duration::from_secs(10),
        stuck_after: Duration::from_secs(600),
        retain_finished: Duration::from_secs(3600),
        per_task_series: PerTaskSeries::All,
        rate_limit: None,
        max_in_flight: 16,
        batch_size: 50,
        batch_wait: Duration::from_millis(200),
        body_size_limit: 1 << 20,
        probe: ProbeLimits::DEFAULT,
        max_tasks: None,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// `global`, with the built-in defaults filled in. `/config` shows it as it is serialized.
#[derive(Debug, Serialize)]
pub(crate) struct GlobalSettings {
    /// The limits of a provider that sets none.
    #[serde(flatten)]
    pub limits: Limits,
    /// Maximum number of tasks that are polled.
    pub max_tasks: usize,
    /// The limits of the labels of a task.
    #[serde(flatten)]
    pub labels: LabelLimits,
    /// Time for which an open task that no source lists any more is followed.
    #[serde(serialize_with = "duration::serialize")]
    pub keep_unlisted: Duration,
}

impl GlobalSettings {
    /// The built-in defaults.
    pub const DEFAULT: Self = Self {
        limits: Limits::DEFAULT,
        max_tasks: 1_000_000,
        labels: LabelLimits::DEFAULT,
        keep_unlisted: Duration::from_secs(86_400),
    };
}
