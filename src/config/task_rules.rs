//! The rules for IDs, values of params and labels of tasks: the same in the files of a configuration
//! and in the lists of sources.

use serde::Serialize;

use crate::family;
use crate::printable::find_invisible;
use crate::task::{DOT_SEGMENT, check_id};

/// Limits of the labels of a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct LabelLimits {
    /// Maximum number of labels of a task.
    #[serde(rename = "label_limit")]
    pub count: usize,
    /// Maximum length of a name, in bytes.
    #[serde(rename = "label_name_length_limit")]
    pub name_bytes: usize,
    /// Maximum length of a value, in bytes.
    #[serde(rename = "label_value_length_limit")]
    pub value_bytes: usize,
}

impl LabelLimits {
    /// The built-in defaults.
    pub const DEFAULT: Self = Self { count: 30, name_bytes: 128, value_bytes: 1_024 };

    /// Checks whether a task can have a label besides `others` labels.
    ///
    /// # Errors
    /// A message about the name or the value, without either.
    pub fn check(&self, name: &str, value: &str, others: usize) -> Result<(), String> {
        Err(if !is_label_name(name) {
            "not a label name: it must consist of letters, digits and `_`, and must not begin \
             with a digit"
                .into()
        } else if name.starts_with("__") || family::has_label(name) {
            "a label name that the exporter or Prometheus uses itself".into()
        } else if name.len() > self.name_bytes {
            format!("a label name of more than {} bytes", self.name_bytes)
        } else if value.len() > self.value_bytes {
            format!("a label value of more than {} bytes", self.value_bytes)
        } else if value.contains('\0') {
            // It would end the input of Prometheus's lexer.
            "a label value must not contain NUL".into()
        } else if others >= self.count {
            format!("more than {} labels", self.count)
        } else {
            return Ok(());
        })
    }
}

/// Reports whether a text can be the name of a label.
pub fn is_label_name(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// A rule that a text breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The end of a sentence that names the text.
    pub message: String,
    /// Advice.
    pub hint: Option<&'static str>,
}

/// Checks whether a text can be the ID of a task, or the value of a param.
///
/// # Errors
/// The first rule that it breaks.
pub fn check_value(text: &str) -> Result<(), Violation> {
    let (message, hint) = if let Err(wrong) = check_id(text) {
        (wrong.to_owned(), (wrong == DOT_SEGMENT).then_some(AS_GIVEN))
    } else if let Some((_, found)) = find_invisible(text) {
        (format!("contains {found}"), Some(REMOVE))
    } else if text.starts_with(['\n', '\r']) || text.ends_with(['\n', '\r']) {
        let hint = "write it on one line, without `|` or `>`";
        ("begins or ends with a line break".to_owned(), Some(hint))
    } else {
        return Ok(());
    };
    Err(Violation { message, hint })
}

/// Advice for an ID with dot segments.
const AS_GIVEN: &str =
    "a gateway that decodes the value would see another path: write it as the API returned it";

/// Advice for an invisible character.
const REMOVE: &str = "remove the character: it is invisible but is sent";

/// Finds text beside the ID in a line of a text list. Returns its byte, a message and a hint.
pub fn find_beside_id(line: &str) -> Option<(usize, String, &'static str)> {
    if let Some((at, found)) = find_invisible(line) {
        return Some((at, format!("a task ID contains {found}"), REMOVE));
    }
    let is_comment =
        |at: usize| line.get(..at).is_some_and(|before| before.ends_with(char::is_whitespace));
    let at = line.match_indices('#').map(|(at, _)| at).find(|at| is_comment(*at))?;
    let hint = "put the comment on a line of its own, or list the ID in a YAML file";
    Some((at, "a `#` after a task ID".to_owned(), hint))
}
