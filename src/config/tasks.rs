//! The list of tasks, from the main file and from task files.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use super::GlobalSettings;
use super::task_rules::{Violation, check_value, find_beside_id};
use super::validate::{NamedProvider, Validator};
use super::{notes, raw};
use crate::task::{Labels, Task, TaskCommon, TaskIndex};
use crate::yaml::decode;
use crate::yaml::diagnostic::{Diagnostic, shorten};
use crate::yaml::scalar::PublicText;
use crate::yaml::source::lines;
use crate::yaml::span::{Either, Location, OrderedMap, Position, Spanned};

/// The length of a line with a short ID, in bytes. Room for a task takes five times as much.
const SHORT_LINE: usize = 16;

/// Collects tasks and refuses duplicates.
pub struct TaskCollector<'c> {
    validator: &'c Validator<'c>,
    global: &'c GlobalSettings,
    providers: &'c [NamedProvider],
    by_name: HashMap<&'c str, usize>,
    /// True if each provider of the file has a name, so that a task with an unknown name is an error.
    all_named: bool,
    /// The tasks in the order of the files, without those beyond the limits.
    listed: Vec<Task>,
    /// The locations of the tasks in `listed`.
    locations: Vec<Location>,
    index: TaskIndex,
    /// Hashes of those that limits leave out, by which a second one of them is known: there may be a
    /// hundred million, and then two have the same hash in one case of three thousand.
    left_out: HashSet<u64>,
    kept_of: Vec<usize>,
    /// Each combination of provider, labels and params, once.
    commons: HashSet<Arc<TaskCommon>>,
    no_labels: Labels,
}

impl<'c> TaskCollector<'c> {
    /// Returns an empty collector. `all_named` is true if `providers` are all that the file has.
    pub fn new(
        validator: &'c Validator<'c>,
        global: &'c GlobalSettings,
        providers: &'c [NamedProvider],
        all_named: bool,
    ) -> Self {
        Self {
            validator,
            global,
            providers,
            all_named,
            by_name: (0..).zip(providers).map(|(index, named)| (&*named.name, index)).collect(),
            listed: Vec::new(),
            locations: Vec::new(),
            index: TaskIndex::default(),
            left_out: HashSet::new(),
            kept_of: vec![0; providers.len()],
            commons: HashSet::new(),
            no_labels: Arc::default(),
        }
    }

    /// Returns the number of diagnostics so far.
    pub fn diagnostics(&self) -> usize {
        self.validator.sink.len()
    }

    /// Returns the tasks within the limits, in the order of the files, and the number of the others.
    pub fn finish(self) -> (Vec<Task>, usize) {
        (self.listed, self.left_out.len())
    }

    /// Adds a task of a list in YAML. `provider` is its provider where it names none.
    pub fn add(
        &mut self,
        task: &Spanned<Either<PublicText, raw::RawTask>>,
        provider: Option<usize>,
    ) {
        match task.located() {
            Some((location, Either::Short(id))) => self.add_id(location, &id.0, provider),
            Some((location, Either::Long(task))) => self.add_task(location, task, provider),
            None => {}
        }
    }

    /// Adds the tasks of a text with one ID a line. Blank lines and lines that begin with `#`
    /// are none.
    pub fn add_lines(&mut self, text: &str, document: u32, provider: Option<usize>) {
        // Lines may be blank or hold one ID again and again, so room is made for few in a short text.
        let lines_of_text = text.bytes().filter(|byte| *byte == b'\n').count();
        let count = lines_of_text.min(text.len() / SHORT_LINE);
        self.listed.reserve(count);
        self.locations.reserve(count);
        self.index.reserve(count, &self.listed);
        for (number, line) in (1..).zip(lines(text)) {
            let id = line.trim();
            if id.is_empty() || id.starts_with('#') {
                continue;
            }
            let start = line.len() - line.trim_start().len();
            let at = |byte: usize| {
                let column = line.get(..byte).map_or(0, |before| before.chars().count());
                let column = u32::try_from(column).unwrap_or(u32::MAX).saturating_add(1);
                Location { document, position: Position::LineColumn(number, column) }
            };
            if let Some((byte, message, hint)) = find_beside_id(id) {
                self.validator.report_at(at(start + byte), |location| {
                    Diagnostic::new(location, message).hint(hint)
                });
                continue;
            }
            self.add_id(at(start), id, provider);
        }
    }

    fn add_id(&mut self, location: Location, id: &str, provider: Option<usize>) {
        let provider = self.only_provider(location, provider);
        if let (true, Some(provider)) = (self.is_value(location, a_task_id, id), provider) {
            let none = Arc::clone(&self.no_labels);
            self.list(location, location, provider, id, &none, &none);
        }
    }

    fn add_task(&mut self, location: Location, raw: &raw::RawTask, provider: Option<usize>) {
        if raw.id.is_absent() {
            self.validator.report(Diagnostic::new(location, "missing key: id"));
        }
        let provider = match raw.provider.located() {
            Some((at, PublicText(name))) => self.find_provider(at, name),
            // An error in the name has been reported.
            None if raw.provider.location.is_some() => None,
            None => self.only_provider(location, provider),
        };
        let labels =
            raw.labels.get().map(|table| self.validator.labels(table, &self.global.labels));
        let id = raw.id.get().map_or("", |PublicText(id)| id);
        let params = raw.params.get().map(|table| self.params(table, provider, id));
        let Some((at, PublicText(id))) = raw.id.located() else { return };
        if let (true, Some(provider)) = (self.is_value(at, a_task_id, id), provider) {
            let labels = labels.unwrap_or_else(|| Arc::clone(&self.no_labels));
            let params = params.unwrap_or_else(|| Arc::clone(&self.no_labels));
            let params_at = raw.params.location.unwrap_or(location);
            self.list(at, params_at, provider, id, &labels, &params);
        }
    }

    fn list(
        &mut self,
        location: Location,
        params_at: Location,
        provider: usize,
        id: &str,
        labels: &Labels,
        params: &Labels,
    ) {
        let Some(named) = self.providers.get(provider) else { return };
        let Some(kept_of) = self.kept_of.get(provider).copied() else { return };
        let is_left_out = self.listed.len() >= self.global.max_tasks
            || named.max_tasks.is_some_and(|most| kept_of >= most);
        // Where something is wrong nothing becomes of the tasks, and only their IDs count.
        let is_id_enough = is_left_out || self.diagnostics() > 0;
        let kept = |table: &Labels| Arc::clone(if is_id_enough { &self.no_labels } else { table });
        let (labels, kept_params) = (kept(labels), kept(params));
        let common = TaskCommon { provider: Arc::clone(&named.name), labels, params: kept_params };
        let task = Task { id: id.into(), common: self.common(common) };
        let (first, hash) = (self.index.find(&task, &self.listed), self.index.hash(&task));
        if first.is_some() || self.left_out.contains(&hash) {
            let first = first.and_then(|first| self.locations.get(first).copied());
            return self.validator.report_at(location, |location| {
                let diagnostic = Diagnostic::new(location, "duplicate task").quote(id);
                Diagnostic { first, ..diagnostic }
            });
        }
        if let Some(Err(wrong)) = named.provider.as_ref().map(|provider| provider.check_id(id)) {
            self.validator.report_at(location, |location| {
                Diagnostic::new(location, format!("a task ID {wrong}"))
            });
        }
        self.fits(params_at, named, params);
        notes::note_odd_id(self.validator.notes, location, id);
        if is_left_out {
            self.left_out.insert(hash);
            return;
        }
        if let Some(kept_of) = self.kept_of.get_mut(provider) {
            *kept_of += 1;
        }
        self.index.insert(self.listed.len(), &task, &self.listed);
        self.listed.push(task);
        self.locations.push(location);
    }

    fn common(&mut self, common: TaskCommon) -> Arc<TaskCommon> {
        if let Some(known) = self.commons.get(&common) {
            return Arc::clone(known);
        }
        let common = Arc::new(common);
        self.commons.insert(Arc::clone(&common));
        common
    }

    /// Returns the provider of a task that names none.
    fn only_provider(&self, location: Location, default: Option<usize>) -> Option<usize> {
        if let (None, [_], true) = (default, self.providers, self.all_named) {
            return Some(0);
        }
        if default.is_none() && self.all_named {
            let diagnostic = match self.providers {
                [] => Diagnostic::new(location, "a task without a provider")
                    .hint("the configuration needs a provider"),
                _ => Diagnostic::new(location, "the provider is ambiguous")
                    .hint("write { id: …, provider: … }: there is more than one provider"),
            };
            self.validator.report(diagnostic);
        }
        default
    }

    /// Finds a provider by its name.
    pub fn find_provider(&self, location: Location, name: &str) -> Option<usize> {
        let found = self.by_name.get(name).copied();
        if found.is_none() && self.all_named {
            let names = self.providers.iter().map(|named| &*named.name);
            let mut diagnostic = Diagnostic::new(location, "unknown provider").quote(name);
            if let Some(nearest) = decode::nearest(name, names) {
                diagnostic = diagnostic.hint(format!("did you mean {nearest:?}?"));
            }
            self.validator.report(diagnostic);
        }
        found
    }

    /// Reports a text that cannot be the ID of a task or a value of its request, which `what` names,
    /// and returns false.
    fn is_value(&self, location: Location, what: impl FnOnce() -> String, text: &str) -> bool {
        let Err(Violation { message, hint }) = check_value(text) else { return true };
        self.validator.report_at(location, |location| {
            let mut diagnostic = Diagnostic::new(location, format!("{} {message}", what()));
            diagnostic.hint = hint.map(str::to_owned);
            if text.is_empty() { diagnostic } else { diagnostic.quote(text) }
        });
        false
    }

    /// Validates the params of the task `id`.
    fn params(&self, table: &OrderedMap<PublicText>, provider: Option<usize>, id: &str) -> Labels {
        let named = provider.and_then(|provider| self.providers.get(provider));
        let provider = named.and_then(|named| named.provider.as_ref());
        let mut params: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (location, name, PublicText(value)) in table.entries() {
            if self.is_value(
                location,
                || format!("the param {name:?} of task {:?}", shorten(id)),
                value,
            ) && let Some(Err(wrong)) =
                provider.map(|provider| provider.check_param(name, value))
            {
                self.validator.report(Diagnostic::new(location, format!("a param {wrong}")));
            }
            params.push((name.into(), value.clone()));
        }
        params.sort();
        params.into()
    }

    /// Reports params that the provider's requests do not use, and those that are missing.
    fn fits(&self, location: Location, named: &NamedProvider, params: &Labels) {
        let Some(provider) = &named.provider else { return };
        let is_missing = |name: &&str| !params.iter().any(|(given, _)| **given == **name);
        let missing: BTreeSet<&str> = provider.param_names().filter(is_missing).collect();
        for name in missing {
            let diagnostic = Diagnostic::new(
                location,
                format!("a task of this provider needs the param {name}"),
            );
            self.validator.report(diagnostic.hint(format!("write params: {{ {name}: … }}")));
        }
        for (name, _) in params.iter() {
            if !provider.param_names().any(|used| *used == **name) {
                let diagnostic =
                    Diagnostic::new(location, "a param that the provider's request does not use");
                self.validator.report(diagnostic.quote(name));
            }
        }
    }
}

fn a_task_id() -> String {
    "a task ID".to_owned()
}
