//! The configuration as written: what keys there are and what kind of value each has. The JSON
//! Schema is made from these structs, so their comments are what an editor shows.

use schemars::JsonSchema;
use serde::Deserialize;

use super::placed::{At, Either, OneOrMany, Table};
use super::scalar::{
    Count, Duration, SchemeText, SecretText, Share, Size, TemplateBody, TemplateText, Text, UrlText,
};
use super::{PerTaskSeries, TlsVersion, preset};

/// The configuration of `aitask_exporter`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(title = "aitask_exporter")]
pub struct Main {
    /// Defaults for all providers, and limits of the whole.
    pub global: At<Global>,
    /// The APIs that tasks run at.
    pub providers: At<Vec<At<Provider>>>,
    /// The tasks to poll.
    pub tasks: At<Tasks>,
    /// Files with further tasks: globs, relative to this file, of `*.yml`, `*.yaml` (the same
    /// list as `tasks`) and `*.txt` (one ID a line).
    pub task_files: At<Vec<At<Either<String, TaskFiles>>>>,
}

/// A list of tasks: IDs, or blocks with an ID.
pub type Tasks = Vec<At<Either<Text, Task>>>;

/// Defaults for all providers, and limits of the whole.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Global {
    /// Time between two polls of a task. Default 15s.
    pub poll_interval: At<Duration>,
    /// Total time of one poll. Default 10s.
    pub poll_timeout: At<Duration>,
    /// After how long a task counts as stuck. Default 10m.
    pub stuck_after: At<Duration>,
    /// How long a final task keeps its series. Default 1h.
    pub retain_finished: At<Duration>,
    /// Whose series are exported: of `all` tasks, of `active` ones, or `none`. Default all.
    pub per_task_series: At<PerTaskSeries>,
    /// The largest answer that is read. Default 1MiB.
    pub body_size_limit: At<Size>,
    /// How many of the requests may be those of `/probe`.
    pub probe: At<Probe>,
    /// How many tasks are polled, all providers together; further ones are counted and left
    /// out. Default 1000000.
    pub max_tasks: At<Count>,
    /// How many static labels a task may have. Default 30.
    pub label_limit: At<Count>,
    /// How many bytes a label's name may have. Default 128.
    pub label_name_length_limit: At<Count>,
    /// How many bytes a label's value may have. Default 1024.
    pub label_value_length_limit: At<Count>,
}

/// An API that tasks run at.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct Provider {
    /// The value of the `provider` label. Unique.
    pub name: At<Text>,
    /// The mapping to start from.
    #[schemars(extend("enum" = preset::NAMES))]
    pub preset: At<String>,
    /// Where the API is: `http` or `https`, possibly with a path. Default: the preset's.
    pub base_url: At<UrlText>,
    /// Credentials in a header.
    pub authorization: At<Authorization>,
    /// Credentials as user and password.
    pub basic_auth: At<BasicAuth>,
    /// Further headers by name.
    pub http_headers: At<Headers>,
    /// How TLS is spoken.
    pub tls_config: At<TlsConfig>,
    /// A proxy to go through: `http`, `https`, `socks5` or `socks5h`. Default: none.
    pub proxy_url: At<UrlText>,
    /// Hosts to ask without `proxy_url`, separated by commas: domains, IP addresses, networks.
    pub no_proxy: At<String>,
    /// Go through the proxy that HTTP_PROXY, HTTPS_PROXY and NO_PROXY name. Default false.
    pub proxy_from_environment: At<bool>,
    /// Speak HTTP/2 where a server of `https` does. Default true.
    pub enable_http2: At<bool>,
    /// How many requests may begin in a time. Default: no limit.
    pub rate_limit: At<RateLimit>,
    /// How many requests may be under way at once. Default 16.
    pub max_in_flight: At<Count>,
    /// How many tasks one request asks for, where the API has batches. Default 50.
    pub batch_size: At<Count>,
    /// How long the first task of a batch waits for others. Default 200ms.
    pub batch_wait: At<Duration>,
    /// Time between two polls of a task. Default: global's.
    pub poll_interval: At<Duration>,
    /// Total time of one poll. Default: global's.
    pub poll_timeout: At<Duration>,
    /// After how long a task counts as stuck. Default: global's.
    pub stuck_after: At<Duration>,
    /// How long a final task keeps its series. Default: global's.
    pub retain_finished: At<Duration>,
    /// Whose series are exported. Default: global's.
    pub per_task_series: At<PerTaskSeries>,
    /// The largest answer that is read. Default: global's.
    pub body_size_limit: At<Size>,
    /// How many of the requests may be those of `/probe`.
    pub probe: At<Probe>,
    /// How many tasks of this provider are polled. Default: no limit but global's.
    pub max_tasks: At<Count>,
    /// How a task is asked for. Keys that are given replace the preset's.
    pub request: At<Request>,
    /// How an answer is understood. Keys that are given replace the preset's.
    pub response: At<Response>,
}

/// Credentials in a header.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Authorization {
    /// What stands before the credentials. Default: Bearer in the header Authorization, nothing
    /// in others. `kling-jwt`: a signed token of Kling's, from access key and secret key.
    #[serde(rename = "type")]
    pub scheme: At<SchemeText>,
    /// The credentials.
    pub credentials: At<SecretText>,
    /// A file with the credentials, read again when it changes.
    pub credentials_file: At<String>,
    /// Who signs a `kling-jwt`.
    pub access_key: At<SecretText>,
    /// A file with the access key, read again when it changes.
    pub access_key_file: At<String>,
    /// What signs a `kling-jwt`.
    pub secret_key: At<SecretText>,
    /// A file with the secret key, read again when it changes.
    pub secret_key_file: At<String>,
    /// The header. Default: the preset's, else Authorization.
    pub header: At<String>,
    /// Other headers in which the API takes credentials. If `http_headers` has one of them, it
    /// is sent instead.
    pub alternatives: At<Vec<At<String>>>,
}

/// Credentials as user and password.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct BasicAuth {
    /// The user's name.
    pub username: At<Text>,
    /// The password.
    pub password: At<SecretText>,
    /// A file with the password, read again when it changes.
    pub password_file: At<String>,
}

/// Headers by name.
#[derive(Debug, Deserialize, JsonSchema)]
pub struct Headers(pub Table<Header>);

/// The values of a header; each is sent.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Header {
    /// Values that anybody may see, unless the header is one that carries credentials.
    pub values: At<Vec<At<Text>>>,
    /// Values that nobody may see.
    pub secrets: At<Vec<At<SecretText>>>,
    /// Files with a value each, read again when they change.
    pub files: At<Vec<At<String>>>,
}

/// How TLS is spoken.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct TlsConfig {
    /// Certificate authorities in PEM, instead of the system's, or the server's own certificate.
    pub ca_file: At<String>,
    /// A client certificate in PEM.
    pub cert_file: At<String>,
    /// The key of the client certificate in PEM.
    pub key_file: At<String>,
    /// Accept any certificate. Default false.
    pub insecure_skip_verify: At<bool>,
    /// The lowest version that is spoken. Default TLS12.
    pub min_version: At<TlsVersion>,
}

/// How many requests may begin in a time.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["requests"]))]
pub struct RateLimit {
    /// How many requests.
    pub requests: At<Count>,
    /// In which time. Default 1s.
    pub per: At<Duration>,
    /// How many may begin at once after a pause. Default: `requests`.
    pub burst: At<Count>,
}

/// How many of the requests may be those of `/probe`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Probe {
    /// How many may be under way at once. Default: global's, or 1.
    pub max_in_flight: At<Count>,
    /// Which part of the requests they may be while polls are due. Default: global's, or 0.1.
    pub share: At<Share>,
}

/// How a task is asked for.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Request {
    /// GET or POST. Default GET.
    pub method: At<String>,
    /// The path below `base_url`. `{task_id}` stands for the ID, other placeholders for the
    /// task's `params`; `{+kind}` keeps the slashes of a value.
    pub path: At<String>,
    /// Query parameters; values may hold placeholders. What stands beside them is not shown.
    pub query: At<Table<TemplateText>>,
    /// A JSON body; its texts may hold placeholders. What stands beside them is not shown.
    pub body: At<TemplateBody>,
    /// How several tasks are asked for at once, where the API can.
    pub batch: At<Batch>,
}

/// How several tasks are asked for at once. The answer has an array where `response.task` points.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Batch {
    /// GET or POST. Default GET.
    pub method: At<String>,
    /// The path below `base_url`. `{task_ids}` stands for the IDs with commas between them.
    pub path: At<String>,
    /// Query parameters; values may hold placeholders. What stands beside them is not shown.
    pub query: At<Table<TemplateText>>,
    /// A JSON body; `["{task_ids}"]` stands for the array of all IDs.
    pub body: At<TemplateBody>,
}

/// How an answer is understood.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Response {
    /// HTTP statuses whose body is read, such as 200 or 2xx. Default 2xx.
    pub accept: At<Words>,
    /// `json`, or `ignored` where the HTTP status tells the state. Default json.
    pub body: At<String>,
    /// Where the body's own code stands.
    pub code: At<Field>,
    /// Where the body's own message stands.
    pub message: At<Field>,
    /// The place of a delay, for which a refusal asks to be left alone.
    pub retry_after: At<Field>,
    /// Codes that mean success. Default: any.
    pub success: At<Words>,
    /// What codes mean: `auth`, `rate_limited`, `not_found`, or a final state.
    pub codes: At<Table<Words>>,
    /// Where the task stands, or an array of tasks. The paths below are relative to it.
    pub task: At<String>,
    /// Where the task's ID stands.
    pub id: At<Field>,
    /// Where the provider's word for the state stands.
    pub status: At<Field>,
    /// States, and the provider's words for each.
    pub states: At<Table<Words>>,
    /// Exceptions from `states`.
    pub refine: At<Vec<At<Refine>>>,
    /// Where the kind of job stands.
    pub job_type: At<Field>,
    /// Where the time stands at which the task was taken.
    pub enqueue_time: At<Field>,
    /// Where the time stands at which the task ended.
    pub finish_time: At<Field>,
    /// Where the progress stands.
    pub progress: At<Field>,
    /// Where the provider's code for a failure stands.
    pub failure_code: At<Field>,
    /// Where the provider's words for a failure stand.
    pub failure_reason: At<Field>,
}

/// Words of an API; numbers are words too.
pub type Words = Vec<At<Text>>;

/// A JSON Pointer, or a block that says more.
pub type Field = Either<String, LongField>;

/// Where a value stands and how it is written.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct LongField {
    /// A JSON Pointer, or a list of them of which the first with a value counts, or `http_status`.
    pub path: At<OneOrMany<String>>,
    /// A header of the answer, instead of a path.
    pub header: At<String>,
    /// The value's format: `rfc3339`, `epoch_seconds`, `epoch_milliseconds`, `epoch`;
    /// `percent`, `ratio`; `seconds`, `milliseconds`.
    pub format: At<String>,
    /// The offset from UTC of times without one, such as `+08:00`. Default UTC.
    pub zone: At<Text>,
    /// Only what stands before this text counts.
    pub until: At<Text>,
}

/// An exception from the table of states.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["if", "state"]))]
pub struct Refine {
    /// Fields and the text each must have.
    #[serde(rename = "if")]
    pub when: At<Table<Text>>,
    /// What the state is then.
    pub state: At<String>,
}

/// A task with more than an ID.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["id"]))]
pub struct Task {
    /// The ID that the provider gave.
    pub id: At<Text>,
    /// The provider's name. May be left out where there is one provider.
    pub provider: At<Text>,
    /// Static labels of the task's series.
    pub labels: At<Table<Text>>,
    /// Values of further placeholders of the provider's request.
    pub params: At<Table<Text>>,
}

/// Files with tasks of one provider.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["files"]))]
pub struct TaskFiles {
    /// A glob, relative to this file.
    pub files: At<String>,
    /// The provider of every task in them that names none.
    pub provider: At<Text>,
}

/// The JSON Schema of a configuration file.
pub fn schema() -> String {
    let schema = schemars::schema_for!(Main);
    let mut text = serde_json::to_string_pretty(&schema).unwrap_or_default();
    text.push('\n');
    text
}
