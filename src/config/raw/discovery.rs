//! The sources of tasks as written. The keys that all sources have are documented with those of an HTTP
//! endpoint.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::config::discovery::SourceConfig;
use crate::yaml::scalar::{PositiveInteger, PrometheusDuration, PublicText};
use crate::yaml::span::{OrderedMap, Spanned};

/// An HTTP endpoint that lists tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RawHttpSource {
    /// The value of the label `config`: unique in the section, 1 to 1,024 bytes, no control
    /// characters.
    pub name: Spanned<PublicText>,
    /// Provider of the tasks that name none; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// Labels of all tasks. Labels in the list override them.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Time between two refreshes: above zero, at most `5m`. It should be below the life of the
    /// shortest job.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_REFRESH_INTERVAL)))]
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time of a refresh. A longer one than `refresh_interval` counts as that.
    #[schemars(extend("default" = PrometheusDuration(SourceConfig::DEFAULT_TIMEOUT)))]
    pub timeout: Spanned<PrometheusDuration>,
    /// Maximum number of tasks in the list. Further tasks are rejected; those that are followed
    /// already come first.
    #[schemars(extend("default" = SourceConfig::DEFAULT_LIMIT))]
    pub limit: Spanned<PositiveInteger>,
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
