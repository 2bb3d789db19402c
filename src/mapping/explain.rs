//! What each path of a mapping found in an answer, for a person who debugs a mapping.

use super::extract::{Extract, Tasks};
use super::row::{FieldName, Found};
use super::{Answer, Mapping, Place};

/// As much of a value as tells what it is.
const MAX_CHARS: usize = 120;

impl Mapping {
    /// A line a field: its name, where it was looked for, what was there.
    pub fn explain(&self, answer: &Answer<'_>, id: &str) -> Vec<[String; 3]> {
        let mut repaired = Vec::new();
        let extract = self.extract(answer.body, &mut repaired, &|named| named == id);
        let extract = extract.and_then(Result::ok);
        let mut lines = Vec::new();
        if !self.ignores_body {
            let found = extract.as_ref().map_or("nothing".to_owned(), |e| describe_tasks(&e.tasks));
            lines.push(["task".to_owned(), format!("{:?}", self.task_pointer), found]);
        }
        for (name, source) in &self.fields {
            let found = match &source.place {
                Place::Json(_) => {
                    extract.as_ref().map_or("nothing".to_owned(), |e| describe(e, *name))
                }
                Place::HttpStatus => answer.status.to_string(),
                Place::Header(header) => match answer.headers.get(header) {
                    Some(value) => quote(&String::from_utf8_lossy(value.as_bytes())),
                    None => "nothing".to_owned(),
                },
            };
            let place = match &source.place {
                Place::Header(header) => format!("header {header}"),
                _ => source.describe().to_owned(),
            };
            lines.push([name.as_str().to_owned(), place, found]);
        }
        lines
    }
}

fn describe(extract: &Extract<'_>, name: FieldName) -> String {
    let row = match &extract.tasks {
        _ if name.is_envelope() => Some(&extract.envelope),
        Tasks::One(row) => Some(row),
        Tasks::Many { wanted, .. } => wanted.first(),
        Tasks::Missing | Tasks::Null | Tasks::Other(_) => None,
    };
    match row.map(|row| row.get(name)) {
        None | Some(Found::Missing) => "nothing".to_owned(),
        Some(Found::Null) => "null".to_owned(),
        Some(Found::Boolean(value)) => value.to_string(),
        Some(Found::Other(kind)) => (*kind).to_owned(),
        Some(Found::Text(text)) => quote(text),
    }
}

fn describe_tasks(tasks: &Tasks<'_>) -> String {
    match tasks {
        Tasks::Missing => "nothing".to_owned(),
        Tasks::Null => "null".to_owned(),
        Tasks::Other(kind) => (*kind).to_owned(),
        Tasks::One(_) => "an object".to_owned(),
        Tasks::Many { unnamed: true, .. } => "an array whose elements have no ID".to_owned(),
        Tasks::Many { wanted, .. } => format!("an array: {} of the task", wanted.len()),
    }
}

/// Quoted and escaped, so that an answer cannot write lines of its own.
fn quote(text: &str) -> String {
    match text.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}
