//! The sources of tasks as written. The keys that all sources have are the same in each struct.

use schemars::JsonSchema;
use serde::Deserialize;

use crate::yaml::scalar::{PositiveInteger, PrometheusDuration, PublicText};
use crate::yaml::span::{OrderedMap, Spanned};

/// An HTTP endpoint that lists tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name"]))]
pub struct RawHttpSource {
    /// The value of the `config` label. Unique among the sources of this section.
    pub name: Spanned<PublicText>,
    /// Provider of the tasks that name none; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// Labels of all tasks; those in the list come first.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Time between two requests for the list, at most 5m. Default 60s.
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time of a request, or of those for all pages. Default 10s, at most `refresh_interval`.
    pub timeout: Spanned<PrometheusDuration>,
    /// The most tasks of the list; further ones are rejected. Default 1000000.
    pub limit: Spanned<PositiveInteger>,
    /// Time for which an open task is followed that no source lists any more. Default: global's.
    pub keep_unlisted: Spanned<PrometheusDuration>,
}

/// Files that list tasks.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["name", "files"]))]
pub struct RawFileSource {
    /// The value of the `config` label. Unique among the sources of this section.
    pub name: Spanned<PublicText>,
    /// Globs, relative to this file, of `*.json`, `*.yml` and `*.yaml` (lists of tasks) and of
    /// `*.txt` (one ID per line).
    pub files: Spanned<Vec<Spanned<String>>>,
    /// Provider of the tasks that name none; optional if there is only one.
    pub provider: Spanned<PublicText>,
    /// Labels of all tasks; those in the list come first.
    pub labels: Spanned<OrderedMap<PublicText>>,
    /// Time after which the files are read even if they seem unchanged, at most 5m. Default 5m.
    pub refresh_interval: Spanned<PrometheusDuration>,
    /// Total time for reading the files. Default 10s, at most `refresh_interval`.
    pub timeout: Spanned<PrometheusDuration>,
    /// The most tasks of the list; further ones are rejected. Default 1000000.
    pub limit: Spanned<PositiveInteger>,
    /// Time for which an open task is followed that no source lists any more. Default: global's.
    pub keep_unlisted: Spanned<PrometheusDuration>,
}
