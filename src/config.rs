//! The configuration as meant: every value here is valid by construction, mapping paths and
//! request templates are parsed, durations are durations. [`load`] is the only way to one.

pub mod http_client;
mod definition;
mod effective;
mod load;
pub mod preset;
pub mod privacy;
mod proxy;
mod raw;
pub mod read_yaml;
pub mod secret;
mod task_glob;
mod tasks;
pub mod tls;
mod validate;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderName;
use reqwest::Url;
use schemars::JsonSchema;
use serde::Deserialize;

use crate::mapping::Mapping;
use crate::request::Request;
use crate::task::Task;
use http_client::MaskedHeaders;
pub use load::task_files::Sources;
pub use load::{Input, Refusal, load, load_after, load_text, load_with};
pub use raw::schema;
use secret::Secret;

/// What one set of configuration files says.
#[derive(Debug)]
pub struct Loaded {
    /// All but the tasks.
    pub config: Config,
    /// In the order of the files, cut at `max_tasks`; no provider and ID twice.
    pub tasks: Vec<Task>,
}

/// What stays in force. The tasks are not here: there may be a million, and the store has them.
#[derive(Debug)]
pub struct Config {
    /// In the order of the file.
    pub providers: Vec<Arc<Provider>>,
    /// How many listed tasks `max_tasks` left out.
    pub dropped_tasks: usize,
    /// Every file that was read, secrets not included, and a hash of their names and contents.
    pub sources: Sources,
    /// The main file in YAML with defaults and presets filled in and `<secret>` for secrets.
    pub shown: String,
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
    /// How a task is asked for.
    pub request: Request,
    /// The same as people may see it: without what the configuration writes beside the placeholders
    /// of its query and body.
    pub redacted_request: Option<Request>,
    /// Headers whose values are not shown, in an answer neither.
    pub masked_headers: MaskedHeaders,
    /// How several tasks are asked for at once, where the API can.
    pub batch: Option<Request>,
    /// How an answer is understood.
    pub mapping: Mapping,
    /// How the provider is spoken to.
    pub client: HttpClientConfig,
    /// How often, how long, how much.
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
    /// Further headers, the preset's and the user's; a name may stand more than once.
    pub headers: Vec<(HeaderName, Secret)>,
    /// How TLS is spoken.
    pub tls: TlsConfig,
    /// The proxy on the way to the provider.
    pub proxy: Option<Proxy>,
    /// True where HTTP/2 is offered to servers of `https`.
    pub http2: bool,
}

/// A proxy that is used for every request of a provider.
#[derive(Debug)]
pub struct Proxy {
    /// `http`, `https`, `socks5` or `socks5h`; possibly with a user and a password.
    pub url: Secret,
    /// True where the environment names the proxy, and not the configuration.
    pub is_from_environment: bool,
}

/// How credentials travel.
#[derive(Debug)]
pub enum Auth {
    /// None, or in `http_headers`.
    None,
    /// `name: scheme credentials`, or `name: credentials` where the scheme is empty.
    Header {
        /// `authorization`, unless the preset or the user names another.
        name: HeaderName,
        /// `Bearer`, say; may be empty.
        scheme: Box<str>,
        /// What stands behind the scheme.
        credentials: Secret,
    },
    /// RFC 7617.
    Basic {
        /// The user's name.
        username: Box<str>,
        /// The user's password.
        password: Secret,
    },
    /// A token that is signed for each while, behind `Bearer`.
    KlingJwt {
        /// Who signs.
        access_key: Secret,
        /// With what.
        secret_key: Secret,
    },
}

/// `tls_config`.
#[derive(Debug, Default)]
pub struct TlsConfig {
    /// A bundle that replaces the system's certificate authorities.
    pub ca_file: Option<PathBuf>,
    /// A client certificate and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
    /// Accept any certificate of the server.
    pub insecure_skip_verify: bool,
    /// The lowest version that is spoken.
    pub min_version: TlsVersion,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
pub enum TlsVersion {
    /// 1.2
    #[default]
    #[serde(rename = "TLS12")]
    Tls12,
    /// 1.3
    #[serde(rename = "TLS13")]
    Tls13,
}

/// Whose series are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum PerTaskSeries {
    /// Every task's, final ones for `retain_finished`.
    #[default]
    All,
    /// Those of tasks that are not final.
    Active,
    /// Nobody's: the families of the provider go on counting.
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

/// The part of a provider's requests that may be those of `/probe`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbeLimits {
    /// Probes under way at once; at least 1. Default 1.
    pub max_in_flight: usize,
    /// The part of the requests while polls are due, from 0.001 to 1. Default 0.1.
    pub share: f64,
}

impl ProbeLimits {
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
        Self { max_in_flight: 1, share: 0.1 }
    }
}

/// The numbers of a provider, with `global`'s and the built-in defaults filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Time between two polls of a task; at least 1 ms. Default 15 s.
    pub poll_interval: Duration,
    /// Total time of one poll; above zero. Default 10 s.
    pub poll_timeout: Duration,
    /// After how long a task counts as stuck; above zero. Default 10 min.
    pub stuck_after: Duration,
    /// How long a final task keeps its series. Default 1 h.
    pub retain_finished: Duration,
    /// Whose series are exported.
    pub per_task_series: PerTaskSeries,
    /// No limit unless one is set.
    pub rate_limit: Option<RateLimit>,
    /// Requests under way at once; at least 1. Default 16.
    pub max_in_flight: usize,
    /// How many tasks one request asks for; at least 1. Default 50.
    pub batch_size: usize,
    /// How long the first task of a batch waits for others. Default 200 ms.
    pub batch_wait: Duration,
    /// The largest answer that is read, in bytes. Default 1 MiB.
    pub body_size_limit: usize,
    /// The part of the requests that may be those of `/probe`.
    pub probe: ProbeLimits,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
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
            probe: ProbeLimits::default(),
        }
    }
}
