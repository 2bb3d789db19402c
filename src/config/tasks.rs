//! The list of tasks, from the main file and from task files.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::check::{Check, Global, Named};
use super::diagnostic::{Mistake, shorten};
use super::place::{Place, Spot, lines};
use super::placed::{At, Either, Table};
use super::scalar::Text;
use super::{decode, raw};
use crate::family;
use crate::task::index::Index;
use crate::task::{Common, DOT_SEGMENT, Labels, Task, check_id};
use crate::visible::find_invisible;

/// The length of a line with a short ID, in bytes. Room for a task takes five times as much.
const SHORT_LINE: usize = 16;

/// Collects tasks and refuses duplicates.
pub struct Tasks<'c> {
    check: &'c Check<'c>,
    global: &'c Global,
    providers: &'c [Named],
    by_name: HashMap<&'c str, usize>,
    /// Whether each provider of the file has a name, so that a task without one among them is wrong.
    all_named: bool,
    /// In the order of the files, without those that limits leave out.
    listed: Vec<Task>,
    /// Where each was listed.
    places: Vec<Place>,
    index: Index,
    /// Hashes of those that limits leave out, by which a second one of them is known: there may be a
    /// hundred million, and then two have the same hash in one case of three thousand.
    left_out: HashSet<u64>,
    kept_of: Vec<usize>,
    /// Every combination of provider, labels and params is there once.
    commons: HashSet<Arc<Common>>,
    no_labels: Labels,
}

impl<'c> Tasks<'c> {
    /// An empty list. `all_named` says whether `providers` are all that the file has.
    pub fn new(
        check: &'c Check<'c>,
        global: &'c Global,
        providers: &'c [Named],
        all_named: bool,
    ) -> Self {
        Self {
            check,
            global,
            providers,
            all_named,
            by_name: (0..).zip(providers).map(|(index, named)| (&*named.name, index)).collect(),
            listed: Vec::new(),
            places: Vec::new(),
            index: Index::default(),
            left_out: HashSet::new(),
            kept_of: vec![0; providers.len()],
            commons: HashSet::new(),
            no_labels: Arc::default(),
        }
    }

    /// Returns the number of mistakes so far.
    pub fn mistakes(&self) -> usize {
        self.check.sink.borrow().len()
    }

    /// The tasks within the limits, in the order of the files, and how many more there are.
    pub fn finish(self) -> (Vec<Task>, usize) {
        (self.listed, self.left_out.len())
    }

    /// Adds a task of a list in YAML. `provider` is its provider where it names none.
    pub fn add(&mut self, task: &At<Either<Text, raw::Task>>, provider: Option<usize>) {
        match task.placed() {
            Some((place, Either::Short(id))) => self.add_id(place, &id.0, provider),
            Some((place, Either::Long(task))) => self.add_task(place, task, provider),
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
        self.places.reserve(count);
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
                Place { document, spot: Spot::At(number, column) }
            };
            if let Some((byte, message, hint)) = odd_in_list(id) {
                self.check
                    .report_at(at(start + byte), |place| Mistake::new(place, message).hint(hint));
                continue;
            }
            self.add_id(at(start), id, provider);
        }
    }

    fn add_id(&mut self, place: Place, id: &str, provider: Option<usize>) {
        let provider = self.only_provider(place, provider);
        if let (true, Some(provider)) = (self.is_value(place, a_task_id, id), provider) {
            let none = Arc::clone(&self.no_labels);
            self.list(place, place, provider, id, &none, &none);
        }
    }

    fn add_task(&mut self, place: Place, raw: &raw::Task, provider: Option<usize>) {
        if raw.id.is_absent() {
            self.check.report(Mistake::new(place, "missing key: id"));
        }
        let provider = match raw.provider.placed() {
            Some((at, Text(name))) => self.find_provider(at, name),
            // A mistake in the name has been reported.
            None if raw.provider.place.is_some() => None,
            None => self.only_provider(place, provider),
        };
        let labels = raw.labels.get().map(|table| self.labels(table));
        let id = raw.id.get().map_or("", |Text(id)| id);
        let params = raw.params.get().map(|table| self.params(table, provider, id));
        let Some((at, Text(id))) = raw.id.placed() else { return };
        if let (true, Some(provider)) = (self.is_value(at, a_task_id, id), provider) {
            let labels = labels.unwrap_or_else(|| Arc::clone(&self.no_labels));
            let params = params.unwrap_or_else(|| Arc::clone(&self.no_labels));
            let params_at = raw.params.place.unwrap_or(place);
            self.list(at, params_at, provider, id, &labels, &params);
        }
    }

    fn list(
        &mut self,
        place: Place,
        params_at: Place,
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
        let is_id_enough = is_left_out || self.mistakes() > 0;
        let kept = |table: &Labels| Arc::clone(if is_id_enough { &self.no_labels } else { table });
        let (labels, kept_params) = (kept(labels), kept(params));
        let common = Common { provider: Arc::clone(&named.name), labels, params: kept_params };
        let task = Task { id: id.into(), common: self.common(common) };
        let (first, hash) = (self.index.find(&task, &self.listed), self.index.hash(&task));
        if first.is_some() || self.left_out.contains(&hash) {
            let first = first.and_then(|first| self.places.get(first).copied());
            return self.check.report_at(place, |place| {
                let mistake = Mistake::new(place, "duplicate task").quote(id);
                Mistake { first, ..mistake }
            });
        }
        if let Some(Err(wrong)) = named.provider.as_ref().map(|provider| provider.check_id(id)) {
            self.check.report_at(place, |place| Mistake::new(place, format!("a task ID {wrong}")));
        }
        self.fits(params_at, named, params);
        if is_left_out {
            self.left_out.insert(hash);
            return;
        }
        if let Some(kept_of) = self.kept_of.get_mut(provider) {
            *kept_of += 1;
        }
        self.index.insert(self.listed.len(), &task, &self.listed);
        self.listed.push(task);
        self.places.push(place);
    }

    fn common(&mut self, common: Common) -> Arc<Common> {
        if let Some(known) = self.commons.get(&common) {
            return Arc::clone(known);
        }
        let common = Arc::new(common);
        self.commons.insert(Arc::clone(&common));
        common
    }

    /// The provider of a task that names none.
    fn only_provider(&self, place: Place, default: Option<usize>) -> Option<usize> {
        if let (None, [_], true) = (default, self.providers, self.all_named) {
            return Some(0);
        }
        if default.is_none() && self.all_named {
            let mistake = match self.providers {
                [] => Mistake::new(place, "a task without a provider")
                    .hint("the configuration needs a provider"),
                _ => Mistake::new(place, "which provider?")
                    .hint("write { id: …, provider: … }, because there is more than one"),
            };
            self.check.report(mistake);
        }
        default
    }

    /// A provider by its name.
    pub fn find_provider(&self, place: Place, name: &str) -> Option<usize> {
        let found = self.by_name.get(name).copied();
        if found.is_none() && self.all_named {
            let names = self.providers.iter().map(|named| &*named.name);
            let mut mistake = Mistake::new(place, "unknown provider").quote(name);
            if let Some(nearest) = decode::nearest(name, names) {
                mistake = mistake.hint(format!("did you mean {nearest:?}?"));
            }
            self.check.report(mistake);
        }
        found
    }

    /// Reports a text that cannot be the ID of a task or a value of its request, which `what` names,
    /// and returns false.
    fn is_value(&self, place: Place, what: impl FnOnce() -> String, text: &str) -> bool {
        let (wrong, hint) = if let Err(wrong) = check_id(text) {
            (wrong.to_owned(), (wrong == DOT_SEGMENT).then_some(AS_GIVEN))
        } else if let Some((_, found)) = find_invisible(text) {
            (format!("holds {found}"), Some(REMOVE))
        } else if text.starts_with(['\n', '\r']) || text.ends_with(['\n', '\r']) {
            let hint = "write it on one line, without `|` or `>`";
            ("begins or ends with a line break".to_owned(), Some(hint))
        } else {
            return true;
        };
        self.check.report_at(place, |place| {
            let mut mistake = Mistake::new(place, format!("{} {wrong}", what()));
            mistake.hint = hint.map(str::to_owned);
            if text.is_empty() { mistake } else { mistake.quote(text) }
        });
        false
    }

    fn labels(&self, table: &Table<Text>) -> Labels {
        let global = self.global;
        let mut labels: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (place, name, Text(value)) in table.entries() {
            let wrong = if !is_label_name(name) {
                "not a label name: it has letters, digits and `_`, and does not begin with a digit"
                    .into()
            } else if name.starts_with("__") || family::has_label(name) {
                "a label name that the exporter or Prometheus uses itself".into()
            } else if name.len() > global.label_name_length_limit {
                format!("a label name of more than {} bytes", global.label_name_length_limit)
            } else if value.len() > global.label_value_length_limit {
                format!("a label value of more than {} bytes", global.label_value_length_limit)
            } else if value.contains('\0') {
                // It would end the input of Prometheus's lexer.
                "a label value with a NUL".into()
            } else if labels.len() >= global.label_limit {
                format!("more than {} labels", global.label_limit)
            } else {
                labels.push((name.into(), value.clone()));
                continue;
            };
            self.check.report(Mistake::new(place, wrong).quote(name));
        }
        labels.sort();
        labels.into()
    }

    /// The params of the task `id`.
    fn params(&self, table: &Table<Text>, provider: Option<usize>, id: &str) -> Labels {
        let named = provider.and_then(|provider| self.providers.get(provider));
        let provider = named.and_then(|named| named.provider.as_ref());
        let mut params: Vec<(Box<str>, Box<str>)> = Vec::new();
        for (place, name, Text(value)) in table.entries() {
            if self.is_value(
                place,
                || format!("the param {name:?} of task {:?}", shorten(id)),
                value,
            ) && let Some(Err(wrong)) =
                provider.map(|provider| provider.check_param(name, value))
            {
                self.check.report(Mistake::new(place, format!("a param {wrong}")));
            }
            params.push((name.into(), value.clone()));
        }
        params.sort();
        params.into()
    }

    /// Reports params that the provider's request does not use, and those that it lacks.
    fn fits(&self, place: Place, named: &Named, params: &Labels) {
        let Some(provider) = &named.provider else { return };
        for placeholder in provider.request.placeholders() {
            if !params.iter().any(|(name, _)| **name == *placeholder) {
                let mistake = Mistake::new(
                    place,
                    format!("a task of this provider needs the param {placeholder}"),
                );
                self.check.report(mistake.hint(format!("write params: {{ {placeholder}: … }}")));
            }
        }
        for (name, _) in params.iter() {
            if !provider.request.placeholders().any(|placeholder| *placeholder == **name) {
                let mistake =
                    Mistake::new(place, "a param that the provider's request does not use");
                self.check.report(mistake.quote(name));
            }
        }
    }
}

fn a_task_id() -> String {
    "a task ID".to_owned()
}

/// What to do about an ID with dot segments.
const AS_GIVEN: &str =
    "a gateway that decodes it would ask for another path: write it as the provider's API gave it";

/// What to do about a character that nobody sees.
const REMOVE: &str = "remove the character: it counts, though nobody sees it";

/// What a line of a text list holds beside an ID: at which byte, what, and what to do.
fn odd_in_list(id: &str) -> Option<(usize, String, &'static str)> {
    if let Some((at, found)) = find_invisible(id) {
        return Some((at, format!("a task ID holds {found}"), REMOVE));
    }
    let is_comment =
        |at: usize| id.get(..at).is_some_and(|before| before.ends_with(char::is_whitespace));
    let at = id.match_indices('#').map(|(at, _)| at).find(|at| is_comment(*at))?;
    let hint = "give the comment a line of its own, or list the ID in a YAML file";
    Some((at, "a `#` behind a task ID".to_owned(), hint))
}

fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}
