//! Compilation of a definition into a mapping. Finds every mistake before anything is polled.

use std::sync::Arc;

use http::HeaderName;
use jiff::tz::Offset;

use super::definition::{Definition, Field};
use super::fields::{DelayFormat, FieldName, Paths, ProgressFormat, parse_pointer};
use super::time::{self, TimeFormat};
use super::{CodeMeaning, FieldSource, Mapping, Origin, Refinement, StatusPattern, same_word};
use crate::observation::{Reason, State};
use crate::yaml::diagnostic::BlockError;

/// Word for the HTTP status, in place of a JSON Pointer.
const HTTP_STATUS: &str = "http_status";

/// Most paths of a field; no known API has more than four.
const MAX_PATHS: usize = 16;

impl Mapping {
    /// Compiles a definition.
    ///
    /// # Errors
    /// When the definition has mistakes: all of them, not just the first.
    pub fn compile(definition: &Definition) -> Result<Self, Vec<BlockError>> {
        let mut compiler = Compiler { mistakes: Vec::new() };
        let mapping = compiler.mapping(definition);
        if compiler.mistakes.is_empty() { Ok(mapping) } else { Err(compiler.mistakes) }
    }
}

/// Compiler of one definition, with the mistakes found so far.
struct Compiler {
    mistakes: Vec<BlockError>,
}

impl Compiler {
    fn mapping(&mut self, definition: &Definition) -> Mapping {
        let task_pointer = definition.task.clone().unwrap_or_default();
        let task = self.pointer(&task_pointer, &["task"]);
        let id_until = definition.id.as_ref().and_then(|id| id.until.as_deref());
        let mut paths = Paths::new(&task, id_until);
        let ignores_body = match definition.body.as_deref() {
            None | Some("json") => false,
            Some("ignored") => true,
            Some(_) => {
                self.wrong(&["body"], "a body is `json` or `ignored`");
                false
            }
        };
        let mut fields = Vec::new();
        let mut code_paths = Vec::new();
        let mut failure_code_paths = Vec::new();
        for name in FieldName::ALL {
            let Some(field) = definition.field(name) else { continue };
            let Some(origin) = self.origin(field, name) else { continue };
            if let Origin::Body(_) = &origin {
                if ignores_body {
                    self.wrong(&[name.as_str()], "the body is ignored, so no path leads into it");
                }
                let pointers = self.pointers(field, name);
                for (rank, keys) in (0..).zip(&pointers) {
                    paths.add(name, rank, keys);
                }
                match name {
                    FieldName::Code => code_paths = pointers,
                    FieldName::FailureCode => failure_code_paths = pointers,
                    _ => {}
                }
            }
            if field.until.as_deref() == Some("") {
                self.wrong(&[name.as_str(), "until"], "`until` is empty");
            }
            fields.push((
                name,
                FieldSource { origin, until: field.until.as_deref().map(Into::into) },
            ));
        }
        let is_of_task = |code: &Vec<String>| {
            failure_code_paths.iter().any(|path| *code == [&*task, &**path].concat())
        };
        let task_code_rank = (0..).zip(&code_paths).find(|(_, code)| is_of_task(code));
        if definition.status.is_none() {
            self.wrong(&[], "the response has no `status`: nothing tells a task's state");
        }
        Mapping {
            accept: self.accept(&definition.accept),
            ignores_body,
            paths,
            task_pointer,
            success: definition.success.iter().map(|word| word.as_str().into()).collect(),
            codes: self.codes(definition),
            states: self.states(definition),
            refine: self.refinements(definition, &fields),
            enqueue_format: self.time_format(definition, FieldName::EnqueueTime),
            finish_format: self.time_format(definition, FieldName::FinishTime),
            progress_format: self.progress_format(definition),
            delay_format: self.delay_format(definition),
            task_code_rank: task_code_rank.map(|(rank, _)| rank),
            fields,
        }
    }

    fn wrong(&mut self, at: &[&str], message: impl Into<String>) {
        self.mistakes.push(BlockError::new(at, message));
    }

    fn hinted(&mut self, at: &[&str], message: impl Into<String>, hint: &str) {
        self.mistakes.push(BlockError::new(at, message).hint(hint));
    }

    fn pointer(&mut self, text: &str, at: &[&str]) -> Vec<String> {
        if let Some(name) = placeholder(text) {
            let message = format!("a path holds no placeholder: `{name}` would be taken literally");
            self.hinted(at, message, "an answer whose keys are IDs cannot be read");
        }
        parse_pointer(text).unwrap_or_else(|message| {
            self.hinted(at, message, "write a path like `/data/status`");
            Vec::new()
        })
    }

    /// Parses the JSON Pointers of a field.
    fn pointers(&mut self, field: &Field, name: FieldName) -> Vec<Vec<String>> {
        let paths = field.paths.iter().take(MAX_PATHS).enumerate();
        let pointers = paths.map(|(index, path)| {
            let at = [name.as_str(), "path", &index.to_string()];
            if path == HTTP_STATUS {
                self.wrong(&at, "`http_status` is no place in the body, and stands alone");
                return Vec::new();
            }
            self.pointer(path, &at)
        });
        pointers.collect()
    }

    fn origin(&mut self, field: &Field, name: FieldName) -> Option<Origin> {
        let key = name.as_str();
        match (&*field.paths, &field.header) {
            ([_, ..], Some(_)) => {
                self.wrong(&[key], "a field has a `path` or a `header`, not both");
                None
            }
            ([], None) => {
                self.wrong(&[key], "a field has a `path` or a `header`");
                None
            }
            ([path], None) if path == HTTP_STATUS => Some(Origin::HttpStatus),
            (paths, None) => {
                if paths.len() > MAX_PATHS {
                    self.wrong(&[key, "path"], format!("more than {MAX_PATHS} paths"));
                }
                Some(Origin::Body(paths.join(", ")))
            }
            ([], Some(header)) => match HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) => Some(Origin::Header(header)),
                Err(_) => {
                    self.wrong(&[key, "header"], "this is not the name of a header");
                    None
                }
            },
        }
    }

    fn accept(&mut self, accept: &[String]) -> Vec<StatusPattern> {
        if accept.is_empty() {
            return vec![StatusPattern::Hundred(2)];
        }
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

    fn codes(&mut self, definition: &Definition) -> Vec<(Box<str>, CodeMeaning)> {
        let mut codes: Vec<(Box<str>, CodeMeaning)> = Vec::new();
        for (key, words) in &definition.codes {
            let meaning = match key.as_str() {
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
                            format!("`{key}` is no meaning of a code"),
                            hint,
                        );
                        continue;
                    }
                },
            };
            for (index, word) in words.iter().enumerate() {
                let at = ["codes", key, &index.to_string()];
                if definition.success.iter().any(|success| same_word(success, word)) {
                    self.wrong(&at, format!("code `{word}` also means success"));
                }
                if codes.iter().any(|(other, _)| same_word(other, word)) {
                    self.wrong(&at, format!("code `{word}` has a meaning already"));
                }
                codes.push((word.as_str().into(), meaning));
            }
        }
        if definition.code.is_none() {
            for (key, given) in [
                ("codes", !definition.codes.is_empty()),
                ("success", !definition.success.is_empty()),
            ] {
                if given {
                    self.wrong(&[key], format!("`{key}` needs `code`: where the code stands"));
                }
            }
        }
        codes
    }

    fn states(&mut self, definition: &Definition) -> Vec<(Arc<str>, State)> {
        let mut states: Vec<(Arc<str>, State)> = Vec::new();
        for (key, words) in &definition.states {
            let Some(state) = self.state(key, &["states", key]) else { continue };
            for (index, word) in words.iter().enumerate() {
                if let Some((_, other)) = states.iter().find(|(other, _)| same_word(other, word)) {
                    let at = ["states", key, &index.to_string()];
                    self.wrong(&at, format!("status `{word}` already means {other}"));
                }
                states.push((word.as_str().into(), state));
            }
        }
        if definition.states.is_empty() {
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
                format!("`{word}` is no state"),
                "write one of queued, running, waiting, succeeded, failed, cancelled, not_found",
            );
        }
        state
    }

    fn refinements(
        &mut self,
        definition: &Definition,
        fields: &[(FieldName, FieldSource)],
    ) -> Vec<Refinement> {
        let mut refinements = Vec::new();
        for (index, refine) in definition.refine.iter().enumerate() {
            let number = index.to_string();
            let state = self.state(&refine.state, &["refine", &number, "state"]);
            if refine.when.is_empty() {
                self.wrong(&["refine", &number], "`if` says nothing, so it would always hold");
            }
            let mut when = Vec::new();
            for (key, word) in &refine.when {
                let mapped = fields.iter().map(|(name, _)| *name).find(|name| name.as_str() == key);
                match mapped {
                    Some(name) => when.push((name, word.as_str().into())),
                    None => self.hinted(
                        &["refine", &number, "if", key],
                        format!("`{key}` is no field of this response"),
                        "say first where it stands",
                    ),
                }
            }
            if let Some(state) = state {
                refinements.push(Refinement { when, state });
            }
        }
        refinements
    }

    fn time_format(&mut self, definition: &Definition, name: FieldName) -> TimeFormat {
        let utc = TimeFormat::Rfc3339(Offset::UTC);
        let Some(field) = definition.field(name) else { return utc };
        let named = |(word, _): &&(&str, _)| field.format.as_deref() == Some(*word);
        let Some((_, format)) = TimeFormat::NAMES.iter().find(named) else {
            self.hinted(
                &[name.as_str(), "format"],
                "a time needs a `format`",
                "write one of rfc3339, epoch_seconds, epoch_milliseconds, epoch",
            );
            return utc;
        };
        let Some(text) = &field.zone else { return *format };
        let at = [name.as_str(), "zone"];
        match (format, time::zone(text)) {
            (TimeFormat::Rfc3339(_), Some(zone)) => return TimeFormat::Rfc3339(zone),
            (TimeFormat::Rfc3339(_), None) => {
                self.hinted(&at, "a zone is an offset from UTC", "write it like `+08:00`");
            }
            _ => self.hinted(
                &at,
                "only times of the format `rfc3339` have a zone",
                "remove `zone`: an epoch is the same in every zone",
            ),
        }
        *format
    }

    fn delay_format(&mut self, definition: &Definition) -> DelayFormat {
        let format = definition.retry_after.as_ref().and_then(|field| field.format.as_deref());
        let Some(text) = format else { return DelayFormat::Seconds };
        match DelayFormat::NAMES.iter().find(|(word, _)| *word == text) {
            Some((_, format)) => *format,
            None => {
                self.hinted(
                    &["retry_after", "format"],
                    "this is no format of a delay",
                    "write `seconds` (the default) or `milliseconds`",
                );
                DelayFormat::Seconds
            }
        }
    }

    fn progress_format(&mut self, definition: &Definition) -> ProgressFormat {
        let Some(field) = &definition.progress else { return ProgressFormat::Ratio };
        let named = |(word, _): &&(&str, _)| field.format.as_deref() == Some(*word);
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

/// Returns the first placeholder in a pointer, with its braces.
fn placeholder(pointer: &str) -> Option<&str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    pointer.match_indices('{').find_map(|(start, _)| {
        let length = pointer.get(start..)?.find('}')? + 1;
        let placeholder = pointer.get(start..start + length)?;
        let name =
            placeholder.trim_start_matches('{').trim_start_matches('+').trim_end_matches('}');
        (!name.is_empty() && name.chars().all(is_part)).then_some(placeholder)
    })
}

/// Parses any state.
fn parse_state(word: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.as_str() == word)
}
