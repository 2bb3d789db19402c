//! A mapping as written to a mapping as meant: every mistake is found before anything is polled.

use http::HeaderName;

use super::convert::{ProgressFormat, TimeFormat};
use super::definition::{Definition, Field, Mistake};
use super::path::{Paths, parse_pointer};
use super::row::FieldName;
use super::{CodeMeaning, Mapping, Place, Refinement, Source, StatusPattern, same_word};
use crate::observation::{Reason, State};

/// The word that stands for the HTTP status where a pointer could stand.
const HTTP_STATUS: &str = "http_status";

impl Mapping {
    /// Checks a definition.
    ///
    /// # Errors
    /// Every mistake in it, not just the first.
    pub fn compile(definition: &Definition) -> Result<Self, Vec<Mistake>> {
        let mut compiler = Compiler { mistakes: Vec::new() };
        let mapping = compiler.mapping(definition);
        if compiler.mistakes.is_empty() { Ok(mapping) } else { Err(compiler.mistakes) }
    }
}

struct Compiler {
    mistakes: Vec<Mistake>,
}

impl Compiler {
    fn mapping(&mut self, definition: &Definition) -> Mapping {
        let task_pointer = definition.task.clone().unwrap_or_default();
        let mut paths = Paths::new(&self.pointer(&task_pointer, &["task"]));
        let ignores_body = match definition.body.as_deref() {
            None | Some("json") => false,
            Some("ignored") => true,
            Some(_) => {
                self.wrong(&["body"], "a body is `json` or `ignored`");
                false
            }
        };
        let mut fields = Vec::new();
        for name in FieldName::ALL {
            let Some(field) = definition.field(name) else { continue };
            let Some(place) = self.place(field, name) else { continue };
            if let Place::Json(pointer) = &place {
                if ignores_body {
                    self.wrong(&[name.as_str()], "the body is ignored, so no path leads into it");
                }
                let keys = self.pointer(pointer, &[name.as_str()]);
                paths.add(name, &keys);
            }
            if field.until.as_deref() == Some("") {
                self.wrong(&[name.as_str(), "until"], "`until` is empty");
            }
            fields.push((name, Source { place, until: field.until.as_deref().map(Into::into) }));
        }
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
            fields,
        }
    }

    fn wrong(&mut self, at: &[&str], message: impl Into<String>) {
        self.mistakes.push(Mistake::new(at, message));
    }

    fn hinted(&mut self, at: &[&str], message: impl Into<String>, hint: &str) {
        self.mistakes.push(Mistake::new(at, message).hint(hint));
    }

    fn pointer(&mut self, text: &str, at: &[&str]) -> Vec<String> {
        parse_pointer(text).unwrap_or_else(|message| {
            self.hinted(at, message, "write a path like `/data/status`");
            Vec::new()
        })
    }

    fn place(&mut self, field: &Field, name: FieldName) -> Option<Place> {
        let key = name.as_str();
        match (&field.path, &field.header) {
            (Some(_), Some(_)) => {
                self.wrong(&[key], "a field has a `path` or a `header`, not both");
                None
            }
            (None, None) => {
                self.wrong(&[key], "a field has a `path` or a `header`");
                None
            }
            (Some(path), None) if path == HTTP_STATUS => Some(Place::HttpStatus),
            (Some(path), None) => Some(Place::Json(path.clone())),
            (None, Some(header)) => match HeaderName::from_bytes(header.as_bytes()) {
                Ok(header) => Some(Place::Header(header)),
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
                key => match state(key).filter(|state| state.is_final()) {
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

    fn states(&mut self, definition: &Definition) -> Vec<(std::sync::Arc<str>, State)> {
        let mut states: Vec<(std::sync::Arc<str>, State)> = Vec::new();
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

    /// A state that an answer can tell.
    fn state(&mut self, word: &str, at: &[&str]) -> Option<State> {
        let told = state(word).filter(|s| !matches!(s, State::Unknown | State::Unpolled));
        if told.is_none() {
            self.hinted(
                at,
                format!("`{word}` is no state"),
                "write one of queued, running, waiting, succeeded, failed, cancelled, not_found",
            );
        }
        told
    }

    fn refinements(
        &mut self,
        definition: &Definition,
        fields: &[(FieldName, Source)],
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
        let Some(field) = definition.field(name) else { return TimeFormat::Rfc3339 };
        let found =
            TimeFormat::NAMES.iter().find(|(word, _)| field.format.as_deref() == Some(*word));
        match found {
            Some((_, format)) => *format,
            None => {
                self.hinted(
                    &[name.as_str(), "format"],
                    "a time needs a `format`",
                    "write one of rfc3339, epoch_seconds, epoch_milliseconds",
                );
                TimeFormat::Rfc3339
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

fn state(word: &str) -> Option<State> {
    State::ALL.into_iter().find(|state| state.as_str() == word)
}
