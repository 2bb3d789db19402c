//! As written to as meant: limits and providers. Whatever is wrong is reported, and checking
//! goes on with what is left.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::http_client::MaskedHeaders;
use super::load::Refusal;
use super::{Limits, PerTaskSeries, ProbeLimits, Provider, RateLimit, definition, raw};
use crate::mapping::Mapping;
use crate::printable::find_invisible;
use crate::request::Request;
use crate::task::TaskGroup;
use crate::task::{Task, TaskCommon};
use crate::yaml::diagnostic::{BlockError, Diagnostic, DiagnosticSink};
use crate::yaml::scalar::{self, PositiveInteger};
use crate::yaml::span::Location;
use crate::yaml::span::Spanned;
use crate::yaml::tree::YamlNode;

/// The longest name of a provider, in bytes: it is a label's value in every series.
const MAX_NAME_BYTES: usize = 1_024;

/// What every check needs.
pub struct Validator<'c> {
    /// Where relative files are.
    pub dir: &'c Path,
    /// Where mistakes go.
    pub sink: &'c DiagnosticSink,
    /// Files that are named as holding a secret.
    pub named_as_secret: RefCell<HashSet<PathBuf>>,
    /// Files of `tls_config` that were read, each with a hash of its content.
    pub pem_files: RefCell<Vec<(PathBuf, u64)>>,
}

/// `global`, with the built-in defaults filled in.
#[derive(Debug)]
pub struct GlobalSettings {
    /// The limits of a provider that sets none itself.
    pub limits: Limits,
    /// How many tasks are polled.
    pub max_tasks: usize,
    /// How many static labels a task may have.
    pub label_limit: usize,
    /// How many bytes a label's name may have.
    pub label_name_length_limit: usize,
    /// How many bytes a label's value may have.
    pub label_value_length_limit: usize,
}

impl Default for GlobalSettings {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            max_tasks: 1_000_000,
            label_limit: 30,
            label_name_length_limit: 128,
            label_value_length_limit: 1_024,
        }
    }
}

/// A provider that the file names, whether or not all of it is right.
#[derive(Debug)]
pub struct NamedProvider {
    /// The name, by which tasks find it.
    pub name: Arc<str>,
    /// Its position in the list.
    pub index: usize,
    /// How many of its tasks are polled.
    pub max_tasks: Option<usize>,
    /// `None` after mistakes.
    pub provider: Option<Arc<Provider>>,
}

impl<'c> Validator<'c> {
    /// A check of a configuration whose relative files are in `dir`.
    pub fn new(dir: &'c Path, sink: &'c DiagnosticSink) -> Self {
        Self { dir, sink, named_as_secret: RefCell::default(), pem_files: RefCell::default() }
    }
}

impl Validator<'_> {
    /// The secret files that were named so far, each as the file system resolves it.
    pub fn secret_files(&self) -> HashSet<PathBuf> {
        let named = self.named_as_secret.borrow();
        named.iter().filter_map(|path| path.canonicalize().ok()).collect()
    }

    /// Reports a mistake.
    pub fn report(&self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Reports a mistake at a place, which is made only where it is kept: a list may have millions.
    pub fn report_at(&self, location: Location, make: impl FnOnce(Location) -> Diagnostic) {
        if !self.sink.count_beyond(location) {
            self.report(make(location));
        }
    }

    /// A file that the configuration names, relative to its directory.
    pub fn path(&self, file: &Spanned<String>) -> Option<(Location, PathBuf)> {
        let (location, file) = file.located()?;
        if file.is_empty() || file.contains('\0') {
            self.report(Diagnostic::new(location, "not the name of a file"));
            return None;
        }
        Some((location, self.dir.join(file)))
    }

    /// `global` over the built-in defaults.
    pub fn global(&self, raw: &raw::RawGlobal) -> GlobalSettings {
        let built_in = GlobalSettings::default();
        let limits = Limits {
            poll_interval: self.positive(&raw.poll_interval, built_in.limits.poll_interval),
            poll_timeout: self.positive(&raw.poll_timeout, built_in.limits.poll_timeout),
            stuck_after: self.positive(&raw.stuck_after, built_in.limits.stuck_after),
            retain_finished: duration(&raw.retain_finished, built_in.limits.retain_finished),
            per_task_series: series(&raw.per_task_series, built_in.limits.per_task_series),
            body_size_limit: size(&raw.body_size_limit, built_in.limits.body_size_limit),
            probe: probe(&raw.probe, built_in.limits.probe),
            ..built_in.limits
        };
        GlobalSettings {
            limits,
            max_tasks: count(&raw.max_tasks, built_in.max_tasks),
            label_limit: count(&raw.label_limit, built_in.label_limit),
            label_name_length_limit: count(
                &raw.label_name_length_limit,
                built_in.label_name_length_limit,
            ),
            label_value_length_limit: count(
                &raw.label_value_length_limit,
                built_in.label_value_length_limit,
            ),
        }
    }

    fn limits(&self, raw: &raw::RawProvider, global: &Limits) -> Limits {
        Limits {
            poll_interval: self.positive(&raw.poll_interval, global.poll_interval),
            poll_timeout: self.positive(&raw.poll_timeout, global.poll_timeout),
            stuck_after: self.positive(&raw.stuck_after, global.stuck_after),
            retain_finished: duration(&raw.retain_finished, global.retain_finished),
            per_task_series: series(&raw.per_task_series, global.per_task_series),
            rate_limit: self.rate_limit(raw),
            max_in_flight: count(&raw.max_in_flight, global.max_in_flight),
            batch_size: count(&raw.batch_size, global.batch_size),
            batch_wait: duration(&raw.batch_wait, global.batch_wait),
            body_size_limit: size(&raw.body_size_limit, global.body_size_limit),
            probe: probe(&raw.probe, global.probe),
        }
    }

    /// A duration that must not be zero.
    fn positive(&self, at: &Spanned<scalar::PrometheusDuration>, default: Duration) -> Duration {
        if let Some((location, scalar::PrometheusDuration(Duration::ZERO))) = at.located() {
            self.report(Diagnostic::new(location, "must be more than zero"));
        }
        duration(at, default)
    }

    fn rate_limit(&self, raw: &raw::RawProvider) -> Option<RateLimit> {
        let (location, raw) = raw.rate_limit.located()?;
        if raw.requests.is_absent() {
            self.report(Diagnostic::new(location, "missing key: requests"));
        }
        let per = self.positive(&raw.per, Duration::from_secs(1));
        let PositiveInteger(requests) = *raw.requests.get()?;
        let burst = raw.burst.get().map_or(requests, |PositiveInteger(burst)| *burst);
        Some(RateLimit { requests, per, burst })
    }

    /// All providers. `blocks` are the nodes that `raw` was decoded from.
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

    /// Builds what the providers need that have no mistakes. `blocks` are the nodes that they were
    /// decoded from.
    pub fn build<B>(
        &self,
        named: &[NamedProvider],
        blocks: &[YamlNode],
        mut make: impl FnMut(&Arc<Provider>) -> Result<B, Refusal>,
    ) -> Vec<B> {
        let mut all = Vec::new();
        for NamedProvider { provider, index, .. } in named {
            let (Some(provider), Some(block)) = (provider, blocks.get(*index)) else { continue };
            match make(provider) {
                Ok(built) => all.push(built),
                Err(Refusal { key, message }) => {
                    let steps = key.split('.');
                    let node = steps.fold(block, |node, step| node.get(step).unwrap_or(node));
                    self.report(Diagnostic::new(node.location, message));
                }
            }
        }
        all
    }

    /// A provider's name. `places` is where each was given first.
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
        if name.is_empty() || name.len() > MAX_NAME_BYTES {
            self.report(Diagnostic::new(location, "a name has 1 to 1024 bytes"));
        } else if name.chars().any(char::is_control) {
            self.report(Diagnostic::new(location, "a name has no control characters"));
        } else if let Some((_, found)) = find_invisible(&name) {
            self.report(Diagnostic::new(location, format!("a name holds {found}")));
        } else if matches!(&*name, "." | "..") {
            self.report(
                Diagnostic::new(location, "a name is neither `.` nor `..`")
                    .hint("it stands in the address of a page, where they mean a folder"),
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
        let client = self.client(raw, block.location);
        let (base_url, client) = client?;
        let preset = raw.preset.get().map(|preset| preset.as_str().into());
        let (name, request, mapping) = (Arc::clone(name?), request?, mapping?);
        for (request, path) in [(Some(&request), "path"), (batch.as_ref(), "batch")] {
            self.check_target(&base_url, request, path, block);
        }
        let redacted = definition::redacted_request(raw.request.get()?, block);
        Some(Provider {
            name,
            preset,
            base_url,
            request,
            redacted_request: Request::compile(&redacted).ok(),
            masked_headers: MaskedHeaders::of(raw),
            batch,
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

    /// Reports a request that no URL can be made of: one that is too long, say.
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
            self.report(Diagnostic::new(location, "no URL can be made of base_url and this"));
        }
    }

    fn batch(&self, raw: &raw::RawProvider, block: &YamlNode) -> Option<Request> {
        let batch = raw.request.get()?.batch.get()?;
        self.compiled(Request::compile(&batch.into()), block.get("request")?.get("batch")?)
    }

    fn mapping(&self, raw: &raw::RawProvider, block: &YamlNode) -> Option<Mapping> {
        self.need(raw.response.is_absent() && !unknown_preset(raw), block, "response");
        let compiled = Mapping::compile(&definition::mapping(raw.response.get()?));
        self.compiled(compiled, block.get("response")?)
    }

    fn need(&self, missing: bool, block: &YamlNode, key: &str) {
        if missing {
            let diagnostic = Diagnostic::new(block.location, format!("missing key: {key}"));
            self.report(diagnostic.hint("name a preset, or write both request and response"));
        }
    }

    fn compiled<T>(&self, compiled: Result<T, Vec<BlockError>>, block: &YamlNode) -> Option<T> {
        let report = |diagnostics: Vec<BlockError>| {
            for diagnostic in diagnostics {
                self.report(diagnostic.locate(block));
            }
        };
        compiled.map_err(report).ok()
    }
}

/// A preset that was not found has been reported, and what it would bring is not missed.
pub fn unknown_preset(raw: &raw::RawProvider) -> bool {
    raw.preset.location.is_some()
        && raw.preset.get().is_none_or(|name| super::preset::get(name).is_none())
}

fn duration(at: &Spanned<scalar::PrometheusDuration>, default: Duration) -> Duration {
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

fn count(at: &Spanned<PositiveInteger>, default: usize) -> usize {
    at.get().map_or(default, |count| usize_of(*count))
}

fn usize_of(PositiveInteger(count): PositiveInteger) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
