//! A single YAML file of another kind, read with the same care and the same words for mistakes.

use std::io;

use schemars::JsonSchema;
use serde::Deserialize;

use super::diagnostic::{Diagnostics, Format, Mistake, Source};
use super::document::{self, Kind};
use super::place::{Place, Spot};
use super::placed::At;
use super::privacy::{self, Shape};
use super::{client, decode, merge_keys};

/// The file as a whole, where a mistake is about nothing in particular.
const FILE: Place = Place { document: 0, spot: Spot::File };

/// Decodes the `content` of the file `name`, and makes of it what `check` does. A section without a
/// value is an absent one.
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
        .map_err(|error| format!("cannot read the file: {}", client::reason(&error)))
        .and_then(|content| String::from_utf8(content).map_err(|_| "not UTF-8 text".to_owned()));
    let (text, unread) = match text {
        Ok(text) => (text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned(), None),
        Err(message) => (String::new(), Some(message)),
    };
    let mut source = Source::new(name.to_owned(), text, Format::Yaml);
    let wrong = |mistake: Mistake, source| Err(Diagnostics::new(mistake.into(), &[source]));
    if let Some(message) = unread {
        return wrong(Mistake::new(FILE, message), source);
    }
    let mut root = match document::parse(&source.text, 0) {
        Ok(root) => root,
        Err(error) => {
            source.format = Format::Broken;
            let place = Place { document: 0, spot: error.spot };
            let mut mistake = Mistake::new(place, error.message);
            mistake.hint = error.hint.map(str::to_owned);
            return wrong(mistake, source);
        }
    };
    let sink = decode::Sink::default();
    merge_keys::expand(&mut root, &mut |mistake| sink.borrow_mut().push(mistake));
    if let Kind::Map(sections) = &mut root.kind {
        sections.retain(|(_, section)| !matches!(section.kind, Kind::Null));
    }
    let decoded: At<T> = decode::decode(&root, &sink);
    let made = check(decoded.value.unwrap_or_default(), &sink);
    let mistakes = sink.into_inner();
    match made {
        Some(made) if mistakes.is_empty() => Ok(made),
        _ => {
            source.hidden = privacy::hidden(&root, &Shape::of::<T>());
            Err(Diagnostics::new(mistakes, &[source]))
        }
    }
}
