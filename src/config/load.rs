//! Loading: reads the main file and the task files, and collects all diagnostics.

pub(super) mod task_files;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use schemars::JsonSchema;

use super::discovery::{RawSources, SourceValidator};
use super::http_client::reason;
use super::privacy::{self, Shape};
use super::read_yaml::expand_merge_keys;
use super::task_receiver::TaskReceiverConfig;
use super::tasks::TaskCollector;
use super::validate::Validator;
use super::{Config, Loaded, Provider, effective, preset, raw};
use crate::bounded_file;
use crate::yaml::decode;
use crate::yaml::diagnostic::{Diagnostic, DiagnosticSink, Diagnostics};
use crate::yaml::events::SyntaxError;
use crate::yaml::source::{SourceFormat, SourceText};
use crate::yaml::span::{Location, Position, Spanned};
use crate::yaml::tree::{self, LongList, NodeKind, YamlNode};
use task_files::{ConfigFiles, ExpandedGlob, FileHasher};

/// The list of tasks in the main file.
const TASKS: LongList = LongList::Section("tasks");
/// The key of the providers in the main file.
const PROVIDERS: &str = "providers";

/// The origin of a configuration.
#[derive(Clone, Copy, Debug)]
pub enum Input<'i> {
    /// A file; those that it names are relative to its directory.
    File(&'i Path),
    /// A text.
    Text {
        /// The name in diagnostics.
        name: &'i str,
        /// The text.
        text: &'i str,
        /// The directory of relative files.
        dir: &'i Path,
    },
}

/// The reason for which no client can be built for a provider, for a diagnostic at one of its keys.
#[derive(Debug)]
pub struct ProviderDiagnostic {
    /// The key below the provider, with dots between its parts; may be empty.
    pub key: &'static str,
    /// The message, without secrets.
    pub message: String,
}

/// Reads a configuration and everything that it names.
///
/// # Errors
/// All diagnostics of all files.
pub fn load(main: &Path) -> Result<Loaded, Diagnostics> {
    load_with(Input::File(main), |_| Ok(())).map(|(loaded, _)| loaded)
}

/// Reads a configuration from a text; files that it names are relative to `dir`.
///
/// # Errors
/// All diagnostics of all files.
pub fn load_text(name: &str, text: &str, dir: &Path) -> Result<Loaded, Diagnostics> {
    load_with(Input::Text { name, text, dir }, |_| Ok(())).map(|(loaded, _)| loaded)
}

/// Reads a configuration, and builds the client of each provider with `make`, so that one that
/// cannot be built is a diagnostic like any other.
///
/// # Errors
/// All diagnostics of all files.
pub fn load_with<B>(
    input: Input<'_>,
    make: impl FnMut(&Arc<Provider>) -> Result<B, ProviderDiagnostic>,
) -> Result<(Loaded, Vec<B>), Diagnostics> {
    load_after(input, &ConfigFiles::default(), make)
}

/// Reads a configuration as [`load_with`] does, where another is in force, which was read from `before`.
///
/// # Errors
/// All diagnostics of all files. One is a glob that matched files before and matches none now, while a
/// directory of these files is gone or cannot be read.
pub fn load_after<B>(
    input: Input<'_>,
    before: &ConfigFiles,
    make: impl FnMut(&Arc<Provider>) -> Result<B, ProviderDiagnostic>,
) -> Result<(Loaded, Vec<B>), Diagnostics> {
    load_input(input, before, false, make)
}

/// Reads a configuration as [`load_with`] does, without the providers that have errors of their own and
/// without the tasks of these providers.
///
/// # Errors
/// All other diagnostics of all files.
pub fn load_valid_providers<B>(
    input: Input<'_>,
    make: impl FnMut(&Arc<Provider>) -> Result<B, ProviderDiagnostic>,
) -> Result<(Loaded, Vec<B>), Diagnostics> {
    load_input(input, &ConfigFiles::default(), true, make)
}

fn load_input<B>(
    input: Input<'_>,
    before: &ConfigFiles,
    only_valid_providers: bool,
    mut make: impl FnMut(&Arc<Provider>) -> Result<B, ProviderDiagnostic>,
) -> Result<(Loaded, Vec<B>), Diagnostics> {
    let (dir, name, content) = match input {
        Input::File(path) => {
            let name = path.display().to_string();
            match bounded_file::read(path, tree::MAX_YAML_BYTES) {
                Ok(content) => (path.parent().unwrap_or(Path::new("")), name, content),
                Err(error) => {
                    let message = format!("cannot read the file: {}", reason(&error));
                    let source = SourceText::new(name, String::new(), SourceFormat::Yaml);
                    return Err(Diagnostics::new(
                        Diagnostic::new(file(0), message).into(),
                        &[source],
                    ));
                }
            }
        }
        Input::Text { name, text, dir } => (dir, name.to_owned(), text.as_bytes().to_vec()),
    };
    Loader { only_valid_providers, ..Loader::new(dir, before) }.load(name, content, &mut make)
}

fn file(document: u32) -> Location {
    Location { document, position: Position::File }
}

/// Reports whether each provider has a name. One without a name may be the one that a task means.
fn are_all_named(providers: &Spanned<Vec<Spanned<raw::RawProvider>>>) -> bool {
    let is_named =
        |raw: &Spanned<raw::RawProvider>| raw.get().is_some_and(|raw| raw.name.get().is_some());
    !providers.is_invalid() && providers.get().into_iter().flatten().all(is_named)
}

/// Returns the items of the list at a key of the main file.
fn items<'r>(root: &'r YamlNode, key: &str) -> &'r [YamlNode] {
    match root.get(key) {
        Some(YamlNode { kind: NodeKind::List(items), .. }) => items,
        _ => &[],
    }
}

/// The function that builds the client of a provider.
type Make<'m, B> = &'m mut dyn FnMut(&Arc<Provider>) -> Result<B, ProviderDiagnostic>;

/// The state of one load.
struct Loader<'d> {
    dir: &'d Path,
    /// The files of the configuration in force.
    before: &'d ConfigFiles,
    sources: Vec<SourceText>,
    files: Vec<PathBuf>,
    globs: Vec<ExpandedGlob>,
    /// The number of bytes of task files that may still be read.
    left: usize,
    /// The task files that have been read, each with its provider.
    lists: HashSet<(PathBuf, Option<usize>)>,
    /// The canonical paths of the secret files.
    secret_files: HashSet<PathBuf>,
    /// Files of `tls_config`, each with a hash of its content.
    pem_files: Vec<(PathBuf, u64)>,
    hasher: FileHasher,
    sink: DiagnosticSink,
    /// Notes on what is valid but probably not meant.
    notes: DiagnosticSink,
    /// True if providers with errors are left out.
    only_valid_providers: bool,
}

impl<'d> Loader<'d> {
    fn new(dir: &'d Path, before: &'d ConfigFiles) -> Self {
        Self {
            dir,
            before,
            sources: Vec::new(),
            files: Vec::new(),
            globs: Vec::new(),
            left: task_files::MAX_LIST_BYTES,
            lists: HashSet::new(),
            secret_files: HashSet::new(),
            pem_files: Vec::new(),
            hasher: FileHasher::new(dir),
            sink: DiagnosticSink::new(raw::foreign_key),
            notes: DiagnosticSink::default(),
            only_valid_providers: false,
        }
    }

    fn load<B>(
        mut self,
        name: String,
        content: Vec<u8>,
        make: Make<'_, B>,
    ) -> Result<(Loaded, Vec<B>), Diagnostics> {
        self.hasher.add(Path::new(&name), &content);
        self.files.push(PathBuf::from(&name));
        let number = self.source(name, content, SourceFormat::Yaml);
        let root = number.and_then(|number| self.outline(number, TASKS));
        let loaded = root.map(|root| self.config(root, make));
        let diagnostics = self.sink;
        match loaded {
            Some((mut loaded, built)) if diagnostics.is_empty() => {
                loaded.config.files =
                    ConfigFiles::new(self.files, self.hasher, self.globs, self.pem_files);
                if let Some(users) = &mut loaded.config.task_receiver.users {
                    let missing = users.missing_web_config().into();
                    users.without_web_config = Diagnostics::new(missing, &self.sources);
                }
                loaded.config.notes = Diagnostics::new(self.notes, &self.sources);
                Ok((loaded, built))
            }
            _ => Err(Diagnostics::new(diagnostics, &self.sources)),
        }
    }

    fn config<B>(&mut self, mut root: YamlNode, make: Make<'_, B>) -> (Loaded, Vec<B>) {
        let are_some_left_out =
            self.only_valid_providers && self.remove_invalid_providers(&mut root, make);
        self.fill_in_presets(&mut root);
        let (sink, notes) = (DiagnosticSink::new(raw::foreign_key), DiagnosticSink::default());
        let raw: Spanned<raw::RawConfig> = decode::decode(&root, &sink);
        let raw = raw.value.unwrap_or_default();
        let validator = Validator::new(self.dir, &sink, &notes);
        let global = validator.global(raw.global.get().unwrap_or(&raw::RawGlobal::default()));
        let blocks = items(&root, PROVIDERS);
        let all_named = !are_some_left_out && are_all_named(&raw.providers);
        let raw_providers = raw.providers.value.unwrap_or_default();
        let named = validator.providers(&raw_providers, blocks, &global);
        let built = validator.build(&named, blocks, make);
        let mut tasks = TaskCollector::new(&validator, &global, &named, all_named);
        let sources = SourceValidator {
            validator: &validator,
            global: &global,
            providers: &named,
            tasks: &tasks,
        };
        let raw_sources = RawSources {
            http: &raw.http_sd_configs.value.unwrap_or_default(),
            files: &raw.file_sd_configs.value.unwrap_or_default(),
            sql: &raw.sql_sd_configs.value.unwrap_or_default(),
        };
        let mut discovery = sources.sources(&raw_sources, items(&root, "http_sd_configs"));
        discovery.extend(sources.provider_lists(&raw_providers).map(Arc::new));
        let task_receiver = TaskReceiverConfig::new(&validator, &raw.task_receiver);
        self.secret_files = validator.secret_files();
        self.pem_files = validator.pem_files.take();
        // Those of an alias; any others are not in the tree.
        for task in raw.tasks.value.unwrap_or_default() {
            tasks.add(&task, None);
        }
        let mut shown_tasks = effective::EffectiveTasks::default();
        self.task_items(0, TASKS, &mut tasks, None, &mut |task| shown_tasks.push(task));
        for files in raw.task_files.value.unwrap_or_default() {
            self.task_files(&files, &mut tasks);
        }
        let (tasks, dropped_tasks) = tasks.finish();
        let providers = named.into_iter().filter_map(|named| named.provider).collect();
        let shown = effective::config(&root, &global, shown_tasks);
        self.sink.append(sink);
        self.notes.append(notes);
        if !self.sink.is_empty() || !self.notes.is_empty() || task_receiver.users.is_some() {
            self.hide::<raw::RawConfig>(&root);
        }
        let config = Config {
            providers,
            discovery,
            task_receiver,
            label_limits: global.labels,
            keep_unlisted: global.keep_unlisted,
            dropped_tasks,
            max_tasks: global.max_tasks,
            files: ConfigFiles::default(),
            shown,
            notes: Diagnostics::default(),
        };
        (Loaded { config, tasks }, built)
    }

    /// Removes the providers that have errors even if they are the only ones, and reports whether there
    /// were any.
    fn remove_invalid_providers<B>(&self, root: &mut YamlNode, make: Make<'_, B>) -> bool {
        const GLOBAL: &str = "global";
        let is = |key: &YamlNode, name| key.text() == Some(name);
        let around = YamlNode { kind: NodeKind::Null, ..*root };
        let with_kind = |kind| YamlNode { kind, ..around };
        let NodeKind::Map(sections) = &mut root.kind else { return false };
        let global = sections.iter().filter(|(key, _)| is(key, GLOBAL)).cloned();
        let global: Vec<_> = global.collect();
        let mut are_some_removed = false;
        for (key, providers) in sections.iter_mut().filter(|(key, _)| is(key, PROVIDERS)) {
            let NodeKind::List(blocks) = &mut providers.kind else { continue };
            blocks.retain(|block| {
                let list = with_kind(NodeKind::List(vec![block.clone()]));
                let sections = [&*global, &[(key.clone(), list)]].concat();
                let mut trial = Loader::new(self.dir, self.before);
                trial.sources.push(SourceText::new(
                    String::new(),
                    String::new(),
                    SourceFormat::Yaml,
                ));
                trial.config(with_kind(NodeKind::Map(sections)), make);
                are_some_removed |= !trial.sink.is_empty();
                trial.sink.is_empty()
            });
        }
        are_some_removed
    }

    /// Records the texts of a tree that must not be shown.
    fn hide<T: JsonSchema>(&mut self, root: &YamlNode) {
        for hidden in privacy::hidden(root, &Shape::of::<T>()) {
            let number = usize::try_from(hidden.location.document).ok();
            if let Some(source) = number.and_then(|number| self.sources.get_mut(number)) {
                source.hidden.push(hidden);
            }
        }
    }

    /// Merges each provider with its preset.
    fn fill_in_presets(&mut self, root: &mut YamlNode) {
        let NodeKind::Map(sections) = &mut root.kind else { return };
        let providers = sections.iter_mut().filter(|(key, _)| key.text() == Some(PROVIDERS));
        for (_, providers) in providers {
            let NodeKind::List(providers) = &mut providers.kind else { continue };
            for provider in providers {
                let Some(named) = provider.get("preset") else { continue };
                let Some(name) = named.text() else { continue };
                let Some(text) = preset::get(name) else {
                    let known = format!("the presets are {}", preset::NAMES.join(", "));
                    let hint = decode::nearest(name, preset::NAMES.iter().copied())
                        .map_or(known, |nearest| format!("did you mean {nearest:?}?"));
                    let diagnostic = Diagnostic::new(named.location, "unknown preset").quote(name);
                    self.sink.push(diagnostic.hint(hint));
                    continue;
                };
                let text = text.as_bytes().to_vec();
                let source = self.source(format!("preset {name}"), text, SourceFormat::Yaml);
                if let Some(preset) = source.and_then(|number| self.parse(number)) {
                    *provider = preset::merge(&preset, provider);
                }
            }
        }
    }

    fn report(&mut self, diagnostic: Diagnostic) {
        self.sink.push(diagnostic);
    }

    /// Keeps the text of a file, for excerpts, and returns its number.
    fn source(&mut self, name: String, content: Vec<u8>, format: SourceFormat) -> Option<u32> {
        let number = u32::try_from(self.sources.len()).ok()?;
        let (text, error) = tree::decode_utf8(content);
        self.sources.push(SourceText::new(name, text, format));
        match error {
            None => Some(number),
            Some(error) => {
                self.report_syntax(number, &error);
                None
            }
        }
    }

    /// Parses a text that has been kept.
    fn parse(&mut self, number: u32) -> Option<YamlNode> {
        self.outline(number, LongList::Nowhere)
    }

    /// Parses a text that has been kept, without the items of a long list.
    fn outline(&mut self, number: u32, list: LongList) -> Option<YamlNode> {
        let source = self.sources.get(usize::try_from(number).ok()?)?;
        let error = match tree::outline(&source.text, number, list) {
            Ok(mut root) => {
                expand_merge_keys(&mut root, &mut |diagnostic| self.sink.push(diagnostic));
                return Some(root);
            }
            Err(error) => error,
        };
        self.report_syntax(number, &error);
        None
    }

    /// Reports what is wrong with a text that has been kept.
    fn report_syntax(&mut self, number: u32, error: &SyntaxError) {
        let index = usize::try_from(number).ok();
        if let Some(source) = index.and_then(|index| self.sources.get_mut(index))
            && source.format == SourceFormat::Yaml
        {
            source.format = SourceFormat::Broken;
        }
        let location = Location { document: number, position: error.position };
        let mut diagnostic = Diagnostic::new(location, error.message);
        diagnostic.hint = error.hint.map(str::to_owned);
        self.report(diagnostic);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_made_for_a_provider_is_a_diagnostic_at_its_key() {
        let text = "providers:\n- { name: a, preset: mjdjourney, proxy_url: 'http://proxy' }\n\
                    - { name: b, preset: mjdjourney }\ntasks: [x]\n";
        let input = Input::Text { name: "c.yml", text, dir: Path::new("") };
        for (key, location) in [("proxy_url", "2:45"), ("tls_config.ca_file", "2:3"), ("", "2:3")] {
            let made = load_with(input, |provider| match &*provider.name {
                "a" => Err(ProviderDiagnostic { key, message: "cannot be made".to_owned() }),
                name => Ok(name.to_owned()),
            });
            let said = made.unwrap_err().to_string();
            assert!(said.starts_with(&format!("c.yml:{location}: cannot be made\n")), "{said}");
            // The other errors are reported as well.
            assert!(said.contains("c.yml:4:9: the provider is ambiguous"), "{said}");
        }
        let text = text.replace("[x]", "[]");
        let input = Input::Text { name: "c.yml", text: &text, dir: Path::new("") };
        let (loaded, names) = load_with(input, |provider| Ok(provider.name.clone())).unwrap();
        assert_eq!(names.iter().map(|name| &**name).collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(loaded.config.providers.len(), 2);
    }
}
