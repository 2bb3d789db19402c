//! Compilation of a `response` block into a mapping. Finds every error before anything is polled.

use std::sync::Arc;

use http::HeaderName;
use jiff::tz::Offset;

use super::fields::{DelayFormat, FieldName, ProgressFormat};
use super::paths::{Paths, parse_pointer};
use super::schema::{
    DEFAULT_ACCEPT, DEFAULT_BODY, RawField, RawResponse, find_placeholder, words, words_by_key,
};
use super::time::{self, TimeFormat};
use super::{CodeMeaning, FieldSource, Mapping, Origin, Refinement, StatusPattern, same_word};
use crate::observation::{Reason, State};
use crate::yaml::diagnostic::BlockError;
use crate::yaml::scalar::PublicText;
use crate::yaml::span::{OrderedMap, Spanned};

/// Word for the HTTP status, in place of a JSON Pointer.
pub(super) const HTTP_STATUS: &str = "http_status";

/// Advice for a time without a format that is known.
const TIME_FORMATS: &str = "write one of rfc3339, epoch_seconds, epoch_milliseconds, epoch";

/// Maximum number of paths of a field; no known API has more than four.
const MAX_PATHS: usize = 16;

impl Mapping {
    /// Compiles the `response` block of a provider.
    ///
    /// # Errors
    /// All errors of the block, with their keys below `response`.
    pub fn compile(raw: &RawResponse) -> Result<Self, Vec<BlockError>> {
        let mut compiler = Compiler::default();
        let mapping = compiler.mapping(raw, raw.task.get().map_or("", String::as_str));
        if compiler.errors.is_empty() { Ok(mapping) } else { Err(compiler.errors) }
    }
}

/// Compiler of one block, with the errors found so far.
#[derive(Default)]
pub(super) struct Compiler {
    pub errors: Vec<BlockError>,
}

impl Compiler {
    /// Compiles a block for responses with the tasks at `task_pointer`.
    pub fn mapping(&mut self, raw: &RawResponse, task_pointer: &str) -> Mapping {
        let task = self.pointer(task_pointer, &["task"]);
        let id_until = raw.id.get().and_then(RawField::until);
        let mut paths = Paths::new(&task, id_until);
        let ignores_body = match raw.body.get().map_or(DEFAULT_BODY, String::as_str) {
            "json" => false,
            "ignored" => true,
            _ => {
                self.wrong(&["body"], "`body` must be `json` or `ignored`");
                false
            }
        };
        let mut fields = Vec::new();
        let mut code_paths = Vec::new();
        let mut failure_code_paths = Vec::new();
        for name in FieldName::ALL {
            let Some(field) = raw.field(name) else { continue };
            self.check_format(field, name);
            let Some(origin) = self.origin(field, name) else { continue };
            if let Origin::Body(_) = &origin {
                if ignores_body {
                    self.wrong(
                        &[name.as_str()],
                        "the body is ignored, so a path into it has no effect",
                    );
                }
                let pointers = self.pointers(field, &[name.as_str()]);
                for (rank, keys) in (0..).zip(&pointers) {
                    paths.add(name, rank, keys);
                }
                match name {
                    FieldName::Code => code_paths = pointers,
                    FieldName::FailureCode => failure_code_paths = pointers,
                    _ => {}
                }
            }
            if field.until() == Some("") {
                self.wrong(&[name.as_str(), "until"], "`until` must not be empty");
            }
            fields.push((name, FieldSource { origin, until: field.until().map(Into::into) }));
        }
        let is_of_task = |code: &Vec<String>| {
            failure_code_paths.iter().any(|path| *code == [&*task, &**path].concat())
        };
        let task_code_rank = (0..).zip(&code_paths).find(|(_, code)| is_of_task(code));
        if raw.status.get().is_none() {
            self.wrong(&[], "the response has no `status`: the state of a task would be unknown");
        }
        Mapping {
            accept: self.accept(&words(&raw.accept)),
            ignores_body,
            paths,
            task_pointer: task_pointer.to_owned(),
            success: words(&raw.success).into_iter().map(Into::into).collect(),
            codes: self.codes(raw),
            states: self.states(raw),
            refine: self.refinements(raw, &fields),
            enqueue_format: self.time_format(raw, FieldName::EnqueueTime),
            finish_format: self.time_format(raw, FieldName::FinishTime),
            progress_format: self.progress_format(raw),
            delay_format: self.delay_format(raw),
            task_code_rank: task_code_rank.map(|(rank, _)| rank),
            fields,
        }
    }

    pub fn wrong(&mut self, at: &[&str], message: impl Into<String>) {
        self.errors.push(BlockError::new(at, message));
    }

    pub fn hinted(&mut self, at: &[&str], message: impl Into<String>, hint: &str) {
        self.errors.push(BlockError::new(at, message).hint(hint));
    }

    /// Parses a JSON Pointer.
    pub fn pointer(&mut self, text: &str, at: &[&str]) -> Vec<String> {
        if let Some(name) = find_placeholder(text) {
            let message =
                format!("a path must not contain placeholders: `{name}` would be taken literally");
            self.hinted(at, message, "answers whose keys are IDs are not supported");
        }
        parse_pointer(text).unwrap_or_else(|message| {
            self.hinted(at, message, "write a path like `/data/status`");
            Vec::new()
        })
    }

    /// Parses the JSON Pointers of the field with these keys.
    pub fn pointers(&mut self, field: &RawField, keys: &[&str]) -> Vec<Vec<String>> {
        let paths = field.paths().into_iter().take(MAX_PATHS).enumerate();
        let pointers = paths.map(|(index, path)| {
            let index = index.to_string();
            let at: Vec<&str> = keys.iter().copied().chain(["path", &index]).collect();
            if path == HTTP_STATUS {
                self.wrong(
                    &at,
                    "`http_status` is not a path into the body and cannot be combined with paths",
                );
                return Vec::new();
            }
            self.pointer(path, &at)
        });
        pointers.collect()
    }

    /// Reports a format or a zone of a field that cannot have one.
    fn check_format(&mut self, field: &RawField, name: FieldName) {
        if field.format().is_some() && !name.is_quantity() {
            let message = "only times, `progress` and `retry_after` have a `format`";
            self.hinted(&[name.as_str(), "format"], message, "remove `format`");
        }
        let is_time = matches!(name, FieldName::EnqueueTime | FieldName::FinishTime);
        if field.zone().is_some() && !is_time {
            self.hinted(&[name.as_str(), "zone"], "only times have a `zone`", "remove `zone`");
        }
    }

    fn origin(&mut self, field: &RawField, name: FieldName) -> Option<Origin> {
        let key = name.as_str();
        match (&*field.paths(), field.header()) {
            ([_, ..], Some(_)) => {
                self.wrong(&[key], "a field must have a `path` or a `header`, not both");
                None
            }
            ([], None) => {
                self.wrong(&[key], "a field needs a `path` or a `header`");
                None
            }
            ([path], None) if *path == HTTP_STATUS => Some(Origin::HttpStatus),
            (paths, None) => {
                self.check_count(paths.len(), &[key]);
                Some(Origin::Body(paths.join(", ")))
            }
            ([], Some(header)) => match HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) => Some(Origin::Header(header)),
                Err(_) => {
                    self.wrong(&[key, "header"], "this is not a header name");
                    None
                }
            },
        }
    }

    /// Reports too many paths of the field with these keys.
    pub fn check_count(&mut self, paths: usize, keys: &[&str]) {
        if paths > MAX_PATHS {
            self.wrong(&[keys, &["path"]].concat(), format!("more than {MAX_PATHS} paths"));
        }
    }

    fn accept(&mut self, accept: &[&str]) -> Vec<StatusPattern> {
        let accept = if accept.is_empty() { &DEFAULT_ACCEPT } else { accept };
        let mut patterns = Vec::new();
        for (index, text) in accept.iter().enumerate() {
            let hundred = text.strip_suffix("xx").and_then(|digit| digit.parse().ok());
            let pattern = match (hundred, text.parse()) {
                (Some(hundred @ 1..=5), _) => StatusPattern::Hundred(hundred),
                (None, Ok(code @ 100..=599)) => StatusPattern::Exactly(code),
                _ => {
                    let at = ["accept", &index.to_string()];
                    self.hinted(&at, "this is not an HTTP status", "write `200` or `2xx`");
                    continue;
                }
            };
            patterns.push(pattern);
        }
        patterns
    }

    fn codes(&mut self, raw: &RawResponse) -> Vec<(Box<str>, CodeMeaning)> {
        let mut codes: Vec<(Box<str>, CodeMeaning)> = Vec::new();
        let (success, by_meaning) = (words(&raw.success), words_by_key(&raw.codes));
        for (key, words) in &by_meaning {
            let meaning = match *key {
                "auth" => CodeMeaning::Fails(Reason::Auth),
                "rate_limited" => CodeMeaning::Fails(Reason::RateLimited),
                "not_found" => CodeMeaning::Fails(Reason::NotFound),
                key => match parse_state(key).filter(|state| state.is_final()) {
                    Some(state) => CodeMeaning::Ends(state),
                    None => {
                        let hint = "write one of auth, rate_limited, not_found, succeeded, failed, \
                                    cancelled";
                        self.hinted(
                            &["codes", key],
                            format!("`{key}` is not a meaning of codes"),
                            hint,
                        );
                        continue;
                    }
                },
            };
            for (index, word) in words.iter().enumerate() {
                let at = ["codes", key, &index.to_string()];
                if success.iter().any(|success| same_word(success, word)) {
                    self.wrong(&at, format!("code `{word}` also means success"));
                }
                if codes.iter().any(|(other, _)| same_word(other, word)) {
                    self.wrong(&at, format!("code `{word}` already has a meaning"));
                }
                codes.push(((*word).into(), meaning));
            }
        }
        if raw.code.get().is_none() {
            for (key, given) in
                [("codes", !by_meaning.is_empty()), ("success", !success.is_empty())]
            {
                if given {
                    self.wrong(&[key], format!("`{key}` needs `code`, the field of the code"));
                }
            }
        }
        codes
    }

    fn states(&mut self, raw: &RawResponse) -> Vec<(Arc<str>, State)> {
        let mut states: Vec<(Arc<str>, State)> = Vec::new();
        let by_state = words_by_key(&raw.states);
        for (key, words) in &by_state {
            let Some(state) = self.state(key, &["states", key]) else { continue };
            for (index, word) in words.iter().enumerate() {
                if let Some((_, other)) = states.iter().find(|(other, _)| same_word(other, word)) {
                    let at = ["states", key, &index.to_string()];
                    self.wrong(&at, format!("status `{word}` already means {other}"));
                }
                states.push(((*word).into(), state));
            }
        }
        if by_state.is_empty() {
            self.hinted(
                &[],
                "the response has no `states`: every status would be unknown",
                "write `states: {queued: [...], running: [...], succeeded: [...], failed: [...]}`",
            );
        }
        states
    }

    /// Parses a state that a response can have.
    fn state(&mut self, word: &str, at: &[&str]) -> Option<State> {
        let state = parse_state(word).filter(|s| !matches!(s, State::Unknown | State::Unpolled));
        if state.is_none() {
            self.hinted(
                at,
                format!("`{word}` is not a state"),
                "write one of queued, running, waiting, succeeded, failed, cancelled, not_found",
            );
        }
        state
    }

    fn refinements(
        &mut self,
        raw: &RawResponse,
        fields: &[(FieldName, FieldSource)],
    ) -> Vec<Refinement> {
        let mut refinements = Vec::new();
        let valid = raw.refine.get().into_iter().flatten().filter_map(Spanned::get);
        for (index, refine) in valid.enumerate() {
            let number = index.to_string();
            let state = self.state(
                refine.state.get().map_or("", String::as_str),
                &["refine", &number, "state"],
            );
            let conditions = refine.when.get().into_iter().flat_map(OrderedMap::entries);
            let conditions: Vec<_> = conditions.collect();
            if conditions.is_empty() {
                self.wrong(&["refine", &number], "`if` is empty, so it would always match");
            }
            let mut when = Vec::new();
            for (_, key, PublicText(word)) in conditions {
                let mapped = fields.iter().map(|(name, _)| *name).find(|name| name.as_str() == key);
                match mapped {
                    Some(name) => when.push((name, word.clone())),
                    None => self.hinted(
                        &["refine", &number, "if", key],
                        format!("this response has no field `{key}`"),
                        "add the field to the response",
                    ),
                }
            }
            if let Some(state) = state {
                refinements.push(Refinement { when, state });
            }
        }
        refinements
    }

    fn time_format(&mut self, raw: &RawResponse, name: FieldName) -> TimeFormat {
        let utc = TimeFormat::Rfc3339(Offset::UTC);
        let Some(field) = raw.field(name) else { return utc };
        match self.format_of_time(field, &[name.as_str()]) {
            Some(format) => format,
            None => {
                self.hinted(&[name.as_str(), "format"], "a time needs a `format`", TIME_FORMATS);
                utc
            }
        }
    }

    /// Returns the format of the time with these keys, if it is given. Reports an unknown one, and a
    /// wrong zone.
    pub fn format_of_time(&mut self, field: &RawField, keys: &[&str]) -> Option<TimeFormat> {
        let text = field.format()?;
        let Some((_, format)) = TimeFormat::NAMES.iter().find(|(word, _)| *word == text) else {
            let at = [keys, &["format"]].concat();
            self.hinted(&at, "this is not a format for a time", TIME_FORMATS);
            return Some(TimeFormat::Rfc3339(Offset::UTC));
        };
        let Some(text) = field.zone() else { return Some(*format) };
        let at = [keys, &["zone"]].concat();
        match (format, time::zone(text)) {
            (TimeFormat::Rfc3339(_), Some(zone)) => return Some(TimeFormat::Rfc3339(zone)),
            (TimeFormat::Rfc3339(_), None) => {
                self.hinted(&at, "a zone must be an offset from UTC", "write it like `+08:00`");
            }
            _ => self.hinted(
                &at,
                "only `rfc3339` times have a zone",
                "remove `zone`: an epoch is the same in every zone",
            ),
        }
        Some(*format)
    }

    fn delay_format(&mut self, raw: &RawResponse) -> DelayFormat {
        let format = raw.retry_after.get().and_then(RawField::format);
        let Some(text) = format else { return DelayFormat::Seconds };
        match DelayFormat::NAMES.iter().find(|(word, _)| *word == text) {
            Some((_, format)) => *format,
            None => {
                self.hinted(
                    &["retry_after", "format"],
                    "this is not a format for a delay",
                    "write `seconds` (the default) or `milliseconds`",
                );
                DelayFormat::Seconds
            }
        }
    }

    fn progress_format(&mut self, raw: &RawResponse) -> ProgressFormat {
        let Some(field) = raw.progress.get() else { return ProgressFormat::Ratio };
        let named = |(word, _): &&(&str, _)| field.format() == Some(*word);
        match ProgressFormat::NAMES.iter().find(named) {
            Some((_, format)) => *format,
            None => {
                self.hinted(
                    &["progress", "format"],
                    "progress needs a `format`",
                    "write `percent` (0 to 100) or `ratio` (0 to 1)",
                );
                ProgressFormat::Ratio
            }
        }
    }
}

/// Parses any state.
fn parse_state(word: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.as_str() == word)
}
