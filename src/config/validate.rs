//! Validation of `global` and of the providers: from the blocks as written to the typed configuration.
//! Each error is reported, and validation goes on with the rest.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::load::ProviderDiagnostic;
use super::privacy::MaskedHeaders;
use super::task_rules::LabelLimits;
use super::{
    GlobalSettings, Limits, PerTaskSeries, ProbeLimits, Provider, RateLimit, effective, notes, raw,
};
use crate::mapping::Mapping;
use crate::printable::find_invisible;
use crate::request::Request;
use crate::task::{Labels, Task, TaskCommon, TaskGroup};
use crate::yaml::diagnostic::{BlockError, Diagnostic, DiagnosticSink};
use crate::yaml::scalar::{self, PositiveInteger, PublicText};
use crate::yaml::span::{Location, OrderedMap, Spanned};
use crate::yaml::tree::YamlNode;

/// Maximum length of a provider's name, in bytes: it is a label's value in every series.
const MAX_NAME_BYTES: usize = 1_024;

/// The context of the validation.
pub struct Validator<'c> {
    /// The directory of relative files.
    pub dir: &'c Path,
    /// The sink of the diagnostics.
    pub sink: &'c DiagnosticSink,
    /// The sink of the notes.
    pub notes: &'c DiagnosticSink,
    /// The secret files that were named so far.
    pub named_as_secret: RefCell<HashSet<PathBuf>>,
    /// Files of `tls_config` that were read, each with a hash of its content.
    pub pem_files: RefCell<Vec<(PathBuf, u64)>>,
}

/// A provider with a valid name, even if other parts of it are invalid.
#[derive(Debug)]
pub struct NamedProvider {
    /// The name.
    pub name: Arc<str>,
    /// The position of the provider in the list.
    pub index: usize,
    /// Maximum number of tasks of the provider that are polled.
    pub max_tasks: Option<usize>,
    /// The provider, if all of it is valid.
    pub provider: Option<Arc<Provider>>,
}

/// Returns the limits that both `global` and a provider may set, over those of `$default`.
macro_rules! shared_limits {
    ($validator:expr, $raw:expr, $default:expr) => {
        Limits {
            poll_interval: $validator.positive(&$raw.poll_interval, $default.poll_interval),
            poll_timeout: $validator.positive(&$raw.poll_timeout, $default.poll_timeout),
            stuck_after: $validator.positive(&$raw.stuck_after, $default.stuck_after),
            retain_finished: duration(&$raw.retain_finished, $default.retain_finished),
            per_task_series: series(&$raw.per_task_series, $default.per_task_series),
            body_size_limit: size(&$raw.body_size_limit, $default.body_size_limit),
            probe: probe(&$raw.probe, $default.probe),
            ..$default.clone()
        }
    };
}

impl<'c> Validator<'c> {
    /// Returns a validator of a configuration whose relative files are in `dir`.
    pub fn new(dir: &'c Path, sink: &'c DiagnosticSink, notes: &'c DiagnosticSink) -> Self {
        let (named_as_secret, pem_files) = (RefCell::default(), RefCell::default());
        Self { dir, sink, notes, named_as_secret, pem_files }
    }
}

impl Validator<'_> {
    /// Returns the canonical paths of the secret files that were named so far.
    pub fn secret_files(&self) -> HashSet<PathBuf> {
        let named = self.named_as_secret.borrow();
        named.iter().filter_map(|path| path.canonicalize().ok()).collect()
    }

    /// Reports a diagnostic.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Reports a diagnostic at a location. It is made only if it is kept: a list may have millions.
    pub fn report_at(&self, location: Location, make: impl FnOnce(Location) -> Diagnostic) {
        if !self.sink.count_beyond(location) {
            self.report(make(location));
        }
    }

    /// Resolves the name of a file, which is relative to the directory of the configuration.
    pub fn path(&self, file: &Spanned<String>) -> Option<(Location, PathBuf)> {
        let (location, file) = file.located()?;
        if file.is_empty() || file.contains('\0') {
            self.report(Diagnostic::new(location, "not a file name"));
            return None;
        }
        Some((location, self.dir.join(file)))
    }

    /// Validates `global`, and fills in the built-in defaults.
    pub fn global(&self, raw: &raw::RawGlobal) -> GlobalSettings {
        let built_in = GlobalSettings::DEFAULT;
        let limits = shared_limits!(self, raw, built_in.limits);
        GlobalSettings {
            limits,
            max_tasks: count(&raw.max_tasks, built_in.max_tasks),
            labels: LabelLimits {
                count: count(&raw.label_limit, built_in.labels.count),
                name_bytes: count(&raw.label_name_length_limit, built_in.labels.name_bytes),
                value_bytes: count(&raw.label_value_length_limit, built_in.labels.value_bytes),
            },
            keep_unlisted: duration(&raw.keep_unlisted, built_in.keep_unlisted),
        }
    }

    fn limits(&self, raw: &raw::RawProvider, global: &Limits) -> Limits {
        Limits {
            rate_limit: self.rate_limit(raw),
            max_tasks: raw.max_tasks.get().map(|count| usize_of(*count)),
            max_in_flight: count(&raw.max_in_flight, global.max_in_flight),
            batch_size: count(&raw.batch_size, global.batch_size),
            batch_wait: duration(&raw.batch_wait, global.batch_wait),
            ..shared_limits!(self, raw, global)
        }
    }

    /// Returns a duration that must not be zero.
    pub fn positive(
        &self,
        at: &Spanned<scalar::PrometheusDuration>,
        default: Duration,
    ) -> Duration {
        if let Some((location, scalar::PrometheusDuration(Duration::ZERO))) = at.located() {
            self.report(Diagnostic::new(location, "must be greater than zero"));
        }
        duration(at, default)
    }

    /// Validates the labels of a task, or of the tasks of a source.
    pub fn labels(&self, table: &OrderedMap<PublicText>, limits: &LabelLimits) -> Labels {
        let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (location, name, PublicText(value)) in table.entries() {
            match limits.check(name, value, labels.len()) {
                Ok(()) => {
                    notes::note_target_label(self.notes, location, name);
                    labels.push((name.into(), value.clone()));
                }
                Err(wrong) => self.report(Diagnostic::new(location, wrong).quote(name)),
            }
        }
        labels.sort();
        labels.into()
    }

    fn rate_limit(&self, raw: &raw::RawProvider) -> Option<RateLimit> {
        let (location, raw) = raw.rate_limit.located()?;
        if raw.requests.is_absent() {
            self.report(Diagnostic::new(location, "missing key: requests"));
        }
        let per = self.positive(&raw.per, RateLimit::DEFAULT_PER);
        let PositiveInteger(requests) = *raw.requests.get()?;
        let burst = raw.burst.get().map_or(requests, |PositiveInteger(burst)| *burst);
        Some(RateLimit { requests, per, burst })
    }

    /// Validates all providers. `blocks` are the nodes that `raw` was decoded from.
    pub fn providers(
        &self,
        raw: &[Spanned<raw::RawProvider>],
        blocks: &[YamlNode],
        global: &GlobalSettings,
    ) -> Vec<NamedProvider> {
        let (mut all, mut locations) = (Vec::new(), HashMap::new());
        for (index, (raw, block)) in raw.iter().zip(blocks).enumerate() {
            let Some((location, raw)) = raw.located() else { continue };
            let before = self.sink.len();
            let name = self.name(raw, location, &mut locations);
            let provider = self.provider(raw, block, name.as_ref(), global);
            let provider = provider.filter(|_| self.sink.len() == before).map(Arc::new);
            if let Some(name) = name {
                let max_tasks = raw.max_tasks.get().map(|count| usize_of(*count));
                all.push(NamedProvider { name, index, max_tasks, provider });
            }
        }
        all
    }

    /// Builds the clients of the valid providers with `make`. `blocks` are the nodes that they were
    /// decoded from.
    pub fn build<B>(
        &self,
        named: &[NamedProvider],
        blocks: &[YamlNode],
        mut make: impl FnMut(&Arc<Provider>) -> Result<B, ProviderDiagnostic>,
    ) -> Vec<B> {
        let mut all = Vec::new();
        for NamedProvider { provider, index, .. } in named {
            let (Some(provider), Some(block)) = (provider, blocks.get(*index)) else { continue };
            match make(provider) {
                Ok(built) => all.push(built),
                Err(ProviderDiagnostic { key, message }) => {
                    let steps = key.split('.');
                    let node = steps.fold(block, |node, step| node.get(step).unwrap_or(node));
                    self.report(Diagnostic::new(node.location, message));
                }
            }
        }
        all
    }

    /// Validates the name of a provider. `locations` has the first location of each name.
    fn name(
        &self,
        raw: &raw::RawProvider,
        block: Location,
        locations: &mut HashMap<Arc<str>, Location>,
    ) -> Option<Arc<str>> {
        if raw.name.is_absent() {
            self.report(Diagnostic::new(block, "missing key: name"));
        }
        let (location, name) = raw.name.located()?;
        let name: Arc<str> = Arc::from(&*name.0);
        if let Err(wrong) = check_name(&name) {
            self.report(Diagnostic::new(location, wrong));
        } else if matches!(&*name, "." | "..") {
            self.report(
                Diagnostic::new(location, "a name must not be `.` or `..`")
                    .hint("the name is part of the URL of a page, where these two mean a folder"),
            );
        } else if let Some(first) = locations.get(&name) {
            self.report(Diagnostic::new(location, "duplicate provider").quote(&name).first(*first));
            return None;
        }
        locations.insert(Arc::clone(&name), location);
        Some(name)
    }

    fn provider(
        &self,
        raw: &raw::RawProvider,
        block: &YamlNode,
        name: Option<&Arc<str>>,
        global: &GlobalSettings,
    ) -> Option<Provider> {
        let limits = self.limits(raw, &global.limits);
        let request = self.request(raw, block);
        let batch = self.batch(raw, block);
        let mapping = self.mapping(raw, block);
        let list = {
            let requests: Vec<&Request> = request.iter().chain(&batch).collect();
            self.list(raw, block, &requests, mapping.is_some())
        };
        let client = self.client(raw, block.location);
        let (base_url, client) = client?;
        notes::note_missing_credentials(self.notes, raw, &client);
        let preset = raw.preset.get().map(|preset| preset.as_str().into());
        let (name, request, mapping) = (Arc::clone(name?), request?, mapping?);
        for (request, path) in [(Some(&request), "path"), (batch.as_ref(), "batch")] {
            self.check_target(&base_url, request, path, block);
        }
        self.check_list_targets(&base_url, list.as_ref(), block);
        let redacted = effective::redacted_request(raw.request.get()?, block);
        Some(Provider {
            name,
            preset,
            base_url,
            request,
            redacted_request: Request::compile(&redacted).ok(),
            masked_headers: MaskedHeaders::of(raw),
            batch,
            list: list.map(Arc::new),
            mapping,
            client,
            limits,
        })
    }

    fn request(&self, raw: &raw::RawProvider, block: &YamlNode) -> Option<Request> {
        self.need(raw.request.is_absent() && !unknown_preset(raw), block, "request");
        let compiled = Request::compile(raw.request.get()?);
        self.compiled(compiled, block.get("request")?)
    }

    /// Reports a request from which no URL can be made, such as one that is too long.
    fn check_target(&self, base: &Url, request: Option<&Request>, key: &str, block: &YamlNode) {
        let common = TaskCommon { provider: "x".into(), labels: [].into(), params: [].into() };
        let task = Task { id: "x".into(), common: Arc::new(common) };
        let tasks = TaskGroup::one(task);
        let Some(target) = request.map(|request| request.target(&tasks)) else { return };
        let url = format!("{}{target}", base.as_str().trim_end_matches('/'));
        let url = Url::parse(&url).ok().map(|url| http::Uri::try_from(url.as_str()));
        if !matches!(url, Some(Ok(_))) {
            let request = block.get("request").unwrap_or(block);
            let location = request.get(key).unwrap_or(request).location;
            self.report(Diagnostic::new(location, "this and base_url do not form a valid URL"));
        }
    }

    fn batch(&self, raw: &raw::RawProvider, block: &YamlNode) -> Option<Request> {
        let batch = raw.request.get()?.batch.get()?;
        self.compiled(Request::compile_batch(batch), block.get("request")?.get("batch")?)
    }

    fn mapping(&self, raw: &raw::RawProvider, block: &YamlNode) -> Option<Mapping> {
        self.need(raw.response.is_absent() && !unknown_preset(raw), block, "response");
        let compiled = Mapping::compile(raw.response.get()?);
        self.compiled(compiled, block.get("response")?)
    }

    fn need(&self, missing: bool, block: &YamlNode, key: &str) {
        if missing {
            let diagnostic = Diagnostic::new(block.location, format!("missing key: {key}"));
            self.report(diagnostic.hint("name a preset, or write both request and response"));
        }
    }

    /// Returns what was compiled from a block, or reports the errors in it.
    pub fn compiled<T>(&self, compiled: Result<T, Vec<BlockError>>, block: &YamlNode) -> Option<T> {
        let report = |diagnostics: Vec<BlockError>| {
            for diagnostic in diagnostics {
                self.report(diagnostic.locate(block));
            }
        };
        compiled.map_err(report).ok()
    }
}

/// Checks whether a text can be the name of a provider or of a source, which is the value of a label.
///
/// # Errors
/// A message about the rule that it breaks.
pub fn check_name(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > MAX_NAME_BYTES {
        Err("a name must have 1 to 1024 bytes".to_owned())
    } else if name.chars().any(char::is_control) {
        Err("a name must not contain control characters".to_owned())
    } else if let Some((_, found)) = find_invisible(name) {
        Err(format!("a name contains {found}"))
    } else {
        Ok(())
    }
}

/// Reports whether a provider names a preset that does not exist. That has been reported, so the keys
/// which a preset would have are not reported as missing.
pub fn unknown_preset(raw: &raw::RawProvider) -> bool {
    raw.preset.location.is_some()
        && raw.preset.get().is_none_or(|name| super::preset::get(name).is_none())
}

/// Returns a duration, or the default where none is written.
pub fn duration(at: &Spanned<scalar::PrometheusDuration>, default: Duration) -> Duration {
    at.get().map_or(default, |scalar::PrometheusDuration(duration)| *duration)
}

fn size(at: &Spanned<scalar::ByteSize>, default: usize) -> usize {
    at.get().map_or(default, |scalar::ByteSize(bytes)| *bytes)
}

fn probe(at: &Spanned<raw::RawProbe>, default: ProbeLimits) -> ProbeLimits {
    let Some(raw) = at.get() else { return default };
    ProbeLimits {
        max_in_flight: count(&raw.max_in_flight, default.max_in_flight),
        share: raw.share.get().map_or(default.share, |scalar::Share(share)| *share),
    }
}

fn series(at: &Spanned<PerTaskSeries>, default: PerTaskSeries) -> PerTaskSeries {
    at.get().copied().unwrap_or(default)
}

/// Returns a count, or the default where none is written.
pub fn count(at: &Spanned<PositiveInteger>, default: usize) -> usize {
    at.get().map_or(default, |count| usize_of(*count))
}

fn usize_of(PositiveInteger(count): PositiveInteger) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
