//! Sources of tasks: what lists them, and how it is read.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::GlobalSettings;
use super::http_discovery::HttpSourceConfig;
use super::provider_list::ListSourceConfig;
use super::raw;
use super::sql_discovery::SqlSourceConfig;
use super::task_glob::TaskGlob;
use super::tasks::TaskCollector;
use super::validate::{NamedProvider, Validator, check_name, count, duration};
use crate::task::Labels;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::scalar::{PositiveInteger, PrometheusDuration, PublicText};
use crate::yaml::span::{Location, OrderedMap, Spanned};
use crate::yaml::tree::YamlNode;

/// Maximum time between two refreshes, which bounds how old a list can be.
const MAX_REFRESH_INTERVAL: Duration = Duration::from_secs(300);
/// The kind of a source: the values of the `mechanism` label, in the order in which labels and params
/// of a task that several sources list are taken from them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mechanism {
    /// An entry of `http_sd_configs`.
    Http,
    /// An entry of `file_sd_configs`.
    File,
    /// An entry of `sql_sd_configs`.
    Sql,
    /// The list of a provider.
    List,
}

impl Mechanism {
    /// Every mechanism, in the order of its declaration.
    pub const ALL: [Self; 4] = [Self::Http, Self::File, Self::Sql, Self::List];

    /// Returns the value of the `mechanism` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::File => "file",
            Self::Sql => "sql",
            Self::List => "list",
        }
    }
}

/// A source of tasks.
#[derive(Debug)]
pub struct SourceConfig {
    /// The value of the `config` label, unique among the sources of its mechanism.
    pub name: Arc<str>,
    /// The provider of the tasks that name none: the only one of the configuration, if there is only
    /// one.
    pub provider: Option<Arc<str>>,
    /// Labels of all tasks, which labels in the list override.
    pub labels: Labels,
    /// Time between two refreshes: above zero, at most 5 minutes.
    pub refresh_interval: Duration,
    /// Time of one refresh: above zero, at most `refresh_interval`.
    pub timeout: Duration,
    /// Maximum number of tasks; at least 1.
    pub limit: usize,
    /// Time for which an open task that no source lists any more is followed.
    pub keep_unlisted: Duration,
    /// The settings of its mechanism.
    pub kind: SourceKind,
}

/// The settings of a source that depend on its mechanism.
#[derive(Debug)]
pub enum SourceKind {
    /// An HTTP endpoint.
    Http(Arc<HttpSourceConfig>),
    /// Files.
    File(Arc<FileSourceConfig>),
    /// A query of a database.
    Sql(Arc<SqlSourceConfig>),
    /// The list of a provider.
    List(Arc<ListSourceConfig>),
}

/// The settings of a source that consists of files.
#[derive(Debug)]
pub struct FileSourceConfig {
    /// The globs of its files, in the order of the configuration; at least one.
    pub globs: Vec<TaskGlob>,
    /// The canonical paths of the secret files of the configuration, which are never read as lists:
    /// their text would become IDs, which are not secret.
    pub secret_files: Arc<HashSet<PathBuf>>,
}

impl SourceConfig {
    /// The default time between two refreshes of a list that is asked for.
    pub const DEFAULT_REFRESH_INTERVAL: Duration = Duration::from_secs(60);
    /// The default time between two refreshes of files, which are read when they change.
    pub const DEFAULT_FILE_REFRESH_INTERVAL: Duration = Duration::from_secs(300);
    /// The default time of one refresh.
    pub const DEFAULT_TIMEOUT: Duration = Duration::from_secs(10);
    /// The default of the maximum number of tasks.
    pub const DEFAULT_LIMIT: usize = 1_000_000;

    /// Returns mechanism and name, which identify the source.
    pub fn key(&self) -> Arc<str> {
        format!("{}/{}", self.mechanism().as_str(), self.name).into()
    }

    /// Returns the mechanism.
    pub const fn mechanism(&self) -> Mechanism {
        match self.kind {
            SourceKind::Http(_) => Mechanism::Http,
            SourceKind::File(_) => Mechanism::File,
            SourceKind::Sql(_) => Mechanism::Sql,
            SourceKind::List(_) => Mechanism::List,
        }
    }
}

/// The format of a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ListFormat {
    /// JSON.
    Json,
    /// YAML.
    Yaml,
    /// One ID a line. Blank lines and lines that begin with `#` are skipped.
    Lines,
}

impl ListFormat {
    /// Every format with the extensions of its files.
    const EXTENSIONS: [(&str, Self); 4] =
        [(".json", Self::Json), (".yml", Self::Yaml), (".yaml", Self::Yaml), (".txt", Self::Lines)];

    /// Returns the format of a file with this name.
    pub fn of(name: &str) -> Option<Self> {
        let mut known = Self::EXTENSIONS.into_iter();
        known.find(|(extension, _)| name.ends_with(extension)).map(|(_, format)| format)
    }
}

/// The keys that all sources have.
struct CommonKeys<'r> {
    name: &'r Spanned<PublicText>,
    provider: &'r Spanned<PublicText>,
    settings: SettingKeys<'r>,
}

/// The keys that all sources have beside their names.
pub(super) struct SettingKeys<'r> {
    /// Labels of all tasks.
    pub labels: &'r Spanned<OrderedMap<PublicText>>,
    /// Time between two refreshes.
    pub refresh_interval: &'r Spanned<PrometheusDuration>,
    /// Time of one refresh.
    pub timeout: &'r Spanned<PrometheusDuration>,
    /// Maximum number of tasks.
    pub limit: &'r Spanned<PositiveInteger>,
    /// Time for which an open task that no source lists any more is followed.
    pub keep_unlisted: &'r Spanned<PrometheusDuration>,
}

/// The identity of a source.
pub(super) struct SourceIdentity {
    /// The value of the `config` label.
    pub name: Arc<str>,
    /// The provider of the tasks that name none.
    pub provider: Option<Arc<str>>,
}

/// Returns the common keys of `$raw`, whatever its mechanism.
macro_rules! common_keys {
    ($raw:expr) => {
        CommonKeys {
            name: &$raw.name,
            provider: &$raw.provider,
            settings: SettingKeys {
                labels: &$raw.labels,
                refresh_interval: &$raw.refresh_interval,
                timeout: &$raw.timeout,
                limit: &$raw.limit,
                keep_unlisted: &$raw.keep_unlisted,
            },
        }
    };
}

/// The sources of a configuration as written, by their mechanism.
pub(super) struct RawSources<'r> {
    /// `http_sd_configs`.
    pub http: &'r [Spanned<raw::RawHttpSource>],
    /// `file_sd_configs`.
    pub files: &'r [Spanned<raw::RawFileSource>],
    /// `sql_sd_configs`.
    pub sql: &'r [Spanned<raw::RawSqlSource>],
}

/// The context in which sources are validated.
pub(super) struct SourceValidator<'c> {
    /// The validator of the configuration.
    pub validator: &'c Validator<'c>,
    /// `global`.
    pub global: &'c GlobalSettings,
    /// The providers of the configuration.
    pub providers: &'c [NamedProvider],
    /// The collector of tasks, which finds a provider by its name.
    pub tasks: &'c TaskCollector<'c>,
}

impl SourceValidator<'_> {
    /// Validates all sources, and returns the valid ones: HTTP before files before queries, each in
    /// the order of the configuration. `http_blocks` are the nodes that those of HTTP were decoded
    /// from.
    pub fn sources(
        &self,
        raw: &RawSources<'_>,
        http_blocks: &[YamlNode],
    ) -> Vec<Arc<SourceConfig>> {
        const INTERVAL: Duration = SourceConfig::DEFAULT_REFRESH_INTERVAL;
        let (mut all, mut names) = (Vec::new(), HashMap::new());
        for (index, raw) in raw.http.iter().enumerate() {
            let Some((location, raw)) = raw.located() else { continue };
            let kind = self.http(location, raw, http_blocks.get(index));
            let kind = kind.map(|http| SourceKind::Http(Arc::new(http)));
            all.extend(self.source(location, &common_keys!(raw), INTERVAL, &mut names, kind));
        }
        // Before files, so that their secret files are known.
        names.clear();
        let mut queries = Vec::new();
        for (location, raw) in raw.sql.iter().filter_map(Spanned::located) {
            let kind = self.sql(location, raw).map(|sql| SourceKind::Sql(Arc::new(sql)));
            queries.extend(self.source(location, &common_keys!(raw), INTERVAL, &mut names, kind));
        }
        names.clear();
        let secret_files = Arc::new(self.validator.secret_files());
        for (location, raw) in raw.files.iter().filter_map(Spanned::located) {
            let globs = self.globs(location, &raw.files);
            let secret_files = Arc::clone(&secret_files);
            let kind = globs
                .map(|globs| SourceKind::File(Arc::new(FileSourceConfig { globs, secret_files })));
            all.extend(self.source(
                location,
                &common_keys!(raw),
                SourceConfig::DEFAULT_FILE_REFRESH_INTERVAL,
                &mut names,
                kind,
            ));
        }
        all.into_iter().chain(queries).map(Arc::new).collect()
    }

    /// Validates the common keys of a source. `names` has the first location of each name.
    fn source(
        &self,
        block: Location,
        keys: &CommonKeys<'_>,
        refresh_interval: Duration,
        names: &mut HashMap<Arc<str>, Location>,
        kind: Option<SourceKind>,
    ) -> Option<SourceConfig> {
        let name = self.name(block, keys.name, names);
        let provider = match keys.provider.located() {
            Some((location, PublicText(name))) => self.tasks.find_provider(location, name),
            None => (self.providers.len() == 1).then_some(0),
        };
        let provider = provider.and_then(|provider| self.providers.get(provider));
        let provider = provider.map(|provider| Arc::clone(&provider.name));
        let identity = name.map(|name| SourceIdentity { name, provider });
        let defaults = (refresh_interval, SourceConfig::DEFAULT_LIMIT);
        self.settings(identity, &keys.settings, defaults, kind)
    }

    /// Validates the keys of a source beside its names, of which `refresh_interval` and `limit` have
    /// these defaults.
    pub fn settings(
        &self,
        identity: Option<SourceIdentity>,
        keys: &SettingKeys<'_>,
        (refresh_interval, limit): (Duration, usize),
        kind: Option<SourceKind>,
    ) -> Option<SourceConfig> {
        let Self { validator, global, .. } = self;
        let labels = keys.labels.get().map(|table| validator.labels(table, &global.labels));
        let refresh_interval = validator.positive(keys.refresh_interval, refresh_interval);
        if let Some(location) = keys.refresh_interval.location
            && refresh_interval > MAX_REFRESH_INTERVAL
        {
            validator.report(Diagnostic::new(location, "must be at most 5m"));
        }
        let timeout =
            validator.positive(keys.timeout, SourceConfig::DEFAULT_TIMEOUT).min(refresh_interval);
        let SourceIdentity { name, provider } = identity?;
        Some(SourceConfig {
            name,
            provider,
            labels: labels.unwrap_or_default(),
            refresh_interval,
            timeout,
            limit: count(keys.limit, limit),
            keep_unlisted: duration(keys.keep_unlisted, global.keep_unlisted),
            kind: kind?,
        })
    }

    fn name(
        &self,
        block: Location,
        name: &Spanned<PublicText>,
        names: &mut HashMap<Arc<str>, Location>,
    ) -> Option<Arc<str>> {
        if name.is_absent() {
            self.validator.report(Diagnostic::new(block, "missing key: name"));
        }
        let (location, PublicText(name)) = name.located()?;
        if let Err(wrong) = check_name(name) {
            self.validator.report(Diagnostic::new(location, wrong));
            return None;
        }
        let name: Arc<str> = Arc::from(&**name);
        if let Some(first) = names.get(&name) {
            let diagnostic = Diagnostic::new(location, "duplicate source").quote(&name);
            self.validator.report(diagnostic.first(*first));
            return None;
        }
        names.insert(Arc::clone(&name), location);
        Some(name)
    }

    fn globs(
        &self,
        block: Location,
        files: &Spanned<Vec<Spanned<String>>>,
    ) -> Option<Vec<TaskGlob>> {
        match (files.location, files.get()) {
            (None, _) => self.validator.report(Diagnostic::new(block, "missing key: files")),
            (Some(location), Some(files)) if files.is_empty() => {
                self.validator.report(Diagnostic::new(location, "a source without files"));
            }
            _ => {}
        }
        let globs = files.get()?.iter().filter_map(Spanned::located);
        // All are validated, also after one that is invalid.
        let globs: Vec<_> = globs.map(|(location, text)| self.glob(location, text)).collect();
        globs.into_iter().collect()
    }

    fn glob(&self, location: Location, text: &str) -> Option<TaskGlob> {
        let glob = match () {
            () if ListFormat::of(text).is_none() => {
                Err("the name of a list must end in .json, .yml, .yaml or .txt".to_owned())
            }
            () if text.contains('\0') => Err("not a file name".to_owned()),
            () => TaskGlob::new(self.validator.dir, text)
                .map_err(|wrong| format!("not a glob: {wrong}")),
        };
        glob.map_err(|wrong| self.validator.report(Diagnostic::new(location, wrong).quote(text)))
            .ok()
    }
}
