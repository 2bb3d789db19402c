//! What is wrong with a text that is not YAML, in our own words: serde_yaml's may echo values.

use super::place::Spot;

/// Why a text has no tree. Never holds anything of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, if the parser knows.
    pub spot: Spot,
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub hint: Option<&'static str>,
}

impl SyntaxError {
    /// An error of our own words only.
    pub const fn new(spot: Spot, message: &'static str, hint: Option<&'static str>) -> Self {
        Self { spot, message, hint }
    }
}

/// Why our own walk stopped.
#[derive(Clone, Copy, Debug)]
pub enum Cause {
    /// A tag of the application's own, such as `!x`.
    Tag,
    /// More nodes than the text can hold.
    TooMany,
}

/// Line and column of an error, from 1.
pub fn position(error: &serde_yaml::Error) -> Option<(u32, u32)> {
    let location = error.location()?;
    Some((u32::try_from(location.line()).ok()?, u32::try_from(location.column()).ok()?))
}

/// What serde_yaml's errors begin with, what we say instead, and a hint.
const SENTENCES: &[(&str, &str, Option<&str>)] = &[
    (
        "mapping values are not allowed",
        "not valid YAML: a `:` where no key can be",
        Some("check the indentation, and quote text that holds `: `"),
    ),
    (
        "did not find expected key",
        "not valid YAML: expected a key",
        Some("check the indentation of this line and of the ones above"),
    ),
    (
        "did not find expected '-' indicator",
        "not valid YAML: expected the next `- ` of a list",
        Some("check the indentation of this line and of the ones above"),
    ),
    (
        "could not find expected ':'",
        "not valid YAML: expected a `:` after a key",
        Some("a key needs a `:` and a space behind it"),
    ),
    ("did not find expected ',' or ']'", "not valid YAML: expected `,` or `]`", None),
    ("did not find expected ',' or '}'", "not valid YAML: expected `,` or `}`", None),
    ("did not find expected node content", "not valid YAML: expected a value", None),
    ("found unexpected end of stream", "not valid YAML: a quote or bracket is never closed", None),
    ("block sequence entries are not allowed", "not valid YAML: a list cannot begin here", None),
    (
        "found character that cannot start any token",
        "not valid YAML: no value can begin with this character",
        Some("indent with spaces, and quote text that begins with a special character"),
    ),
    (
        "found a tab character",
        "not valid YAML: a tab where indentation is expected",
        Some("indent with spaces"),
    ),
    ("found unknown escape character", "not valid YAML: unknown escape in a quoted text", None),
    ("unknown anchor", "not valid YAML: an alias to an anchor that does not exist", None),
    ("control characters are not allowed", "not valid YAML: a control character", None),
    ("recursion limit exceeded", "nested too deeply", None),
    ("repetition limit exceeded", "aliases expand to more than the file can hold", None),
    (
        "deserializing from YAML containing more than one document",
        "more than one YAML document in the file",
        Some("remove the `---` between them"),
    ),
];

/// What an error means. `cause` is why our own walk stopped, if it did.
pub fn explain(error: &serde_yaml::Error, cause: Option<Cause>) -> SyntaxError {
    let spot = position(error).map_or(Spot::File, |(line, column)| Spot::At(line, column));
    match cause {
        Some(Cause::Tag) => {
            SyntaxError::new(spot, "YAML tags such as `!x` are not supported", None)
        }
        Some(Cause::TooMany) => {
            SyntaxError::new(spot, "aliases expand to more than the file can hold", None)
        }
        None => {
            let said = error.to_string();
            let spot = context(&said).unwrap_or(spot);
            let known = SENTENCES.iter().find(|(start, ..)| said.starts_with(start));
            known.map_or(SyntaxError::new(spot, "not valid YAML", None), |(_, message, hint)| {
                SyntaxError::new(spot, message, *hint)
            })
        }
    }
}

/// Where the quote, key or bracket began that has no end: more telling than where the parser gave
/// up. Errors name it last, after the place of the problem itself.
fn context(said: &str) -> Option<Spot> {
    const BEGUN: [&str; 2] = ["could not find expected ':'", "found unexpected end of stream"];
    let (line, column) = said.rsplit_once(" at line ")?.1.split_once(" column ")?;
    let begun = BEGUN.iter().any(|start| said.starts_with(start));
    begun.then_some(Spot::At(line.parse().ok()?, column.parse().ok()?))
}
