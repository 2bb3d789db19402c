//! A single YAML file of another kind, read with the same care and the same words for mistakes.

use std::io;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostic, Diagnostics, SourceFormat, SourceText};
use super::document;
use super::place::{Location, Position};
use super::privacy::{self, Shape};
use super::span::Spanned;
use super::{decode, http_client, merge_keys};

/// The file as a whole, where a mistake is about nothing in particular.
const FILE: Location = Location { document: 0, position: Position::File };

/// Decodes the `content` of the file `name`, and makes of it what `check` does.
///
/// # Errors
/// All mistakes: those of the file, and those that `check` has reported.
pub fn read<T, R>(
    name: &str,
    content: io::Result<Vec<u8>>,
    check: impl FnOnce(T, &decode::Sink) -> Option<R>,
) -> Result<R, Diagnostics>
where
    T: for<'de> Deserialize<'de> + Default + JsonSchema,
{
    let text = content
        .map_err(|error| format!("cannot read the file: {}", http_client::reason(&error)))
        .and_then(|content| String::from_utf8(content).map_err(|_| "not UTF-8 text".to_owned()));
    let (text, unread) = match text {
        Ok(text) => (text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned(), None),
        Err(message) => (String::new(), Some(message)),
    };
    let mut source = SourceText::new(name.to_owned(), text, SourceFormat::Yaml);
    let wrong =
        |diagnostic: Diagnostic, source| Err(Diagnostics::new(diagnostic.into(), &[source]));
    if let Some(message) = unread {
        return wrong(Diagnostic::new(FILE, message), source);
    }
    let mut root = match document::parse(&source.text, 0) {
        Ok(root) => root,
        Err(error) => {
            source.format = SourceFormat::Broken;
            let location = Location { document: 0, position: error.position };
            let mut diagnostic = Diagnostic::new(location, error.message);
            diagnostic.hint = error.hint.map(str::to_owned);
            return wrong(diagnostic, source);
        }
    };
    let sink = decode::Sink::default();
    merge_keys::expand(&mut root, &mut |diagnostic| sink.borrow_mut().push(diagnostic));
    let decoded: Spanned<T> = decode::decode(&root, &sink);
    let made = check(decoded.value.unwrap_or_default(), &sink);
    let diagnostics = sink.into_inner();
    match made {
        Some(made) if diagnostics.is_empty() => Ok(made),
        _ => {
            source.hidden = privacy::hidden(&root, &Shape::of::<T>());
            Err(Diagnostics::new(diagnostics, &[source]))
        }
    }
}
