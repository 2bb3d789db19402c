//! What is wrong with a text that is not YAML, in our own words: those of a parser may echo values.

use granit_parser::{ErrorKind, ScanError};

use super::events::position;
use super::place::Position;

/// Why a text has no tree. Never holds anything of the text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Where, if it is about a place.
    pub position: Position,
    /// What is wrong.
    pub message: &'static str,
    /// What to do.
    pub hint: Option<&'static str>,
}

impl SyntaxError {
    /// Returns an error without a hint.
    pub const fn new(position: Position, message: &'static str) -> Self {
        Self { position, message, hint: None }
    }

    /// Adds what to do.
    #[must_use]
    pub const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

const INDENTATION: &str = "check the indentation of this line and of the ones above";
const SPACES: &str = "indent with spaces";

impl From<&ScanError> for SyntaxError {
    fn from(error: &ScanError) -> Self {
        let (message, hint) = explain(error.kind());
        let position = position(error.marker());
        Self { position, message, hint }
    }
}

fn explain(kind: &ErrorKind) -> (&'static str, Option<&'static str>) {
    match kind {
        ErrorKind::RecursionLimitExceeded => ("nested too deeply", None),
        ErrorKind::MappingValueNotAllowed
        | ErrorKind::InvalidColonPlacement
        | ErrorKind::MappingKeyNotAllowed
        | ErrorKind::InvalidMappingValueWhitespace
        | ErrorKind::FlowMappingValueAdjacentCollection => (
            "not valid YAML: a `:` where no key can be",
            Some("check the indentation, and quote text that holds `: `"),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            ("not valid YAML: expected a key", Some(INDENTATION))
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            ("not valid YAML: expected the next `- ` of a list", Some(INDENTATION))
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "not valid YAML: expected a `:` after a key",
            Some("a key needs a `:` and a space behind it"),
        ),
        ErrorKind::ExpectedFlowSequenceSeparator => ("not valid YAML: expected `,` or `]`", None),
        ErrorKind::ExpectedFlowMappingSeparator => ("not valid YAML: expected `,` or `}`", None),
        ErrorKind::ExpectedNodeContent | ErrorKind::UnexpectedEofImplicitFlowMapping => {
            ("not valid YAML: expected a value", None)
        }
        ErrorKind::UnclosedQuotedScalar
        | ErrorKind::UnclosedFlowCollection { .. }
        | ErrorKind::UnexpectedEofFlowSequence
        | ErrorKind::UnexpectedEofFlowMapping => {
            ("not valid YAML: a quote or bracket is never closed", None)
        }
        ErrorKind::MisplacedFlowCollectionEnd | ErrorKind::MismatchedFlowCollectionEnd { .. } => {
            ("not valid YAML: a bracket that closes nothing", None)
        }
        ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::BlockEntryInFlowCollection
        | ErrorKind::InvalidBlockEntryWhitespace => {
            ("not valid YAML: a list cannot begin here", None)
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("not valid YAML: text behind a closing quote", None)
        }
        ErrorKind::UnexpectedCharacter { .. } => (
            "not valid YAML: no value can begin with this character",
            Some("quote text that begins with a special character"),
        ),
        ErrorKind::TabNotAllowed
        | ErrorKind::TabInBlockIndentation
        | ErrorKind::TabInIndentation
        | ErrorKind::TabInPlainScalar
        | ErrorKind::TabAtBlockScalarStart => {
            ("not valid YAML: a tab where indentation is expected", Some(SPACES))
        }
        ErrorKind::UnknownQuotedScalarEscape
        | ErrorKind::InvalidQuotedScalarHexEscape
        | ErrorKind::InvalidUnicodeEscape
        | ErrorKind::InvalidLowSurrogate
        | ErrorKind::InvalidLowSurrogateHexEscape
        | ErrorKind::MissingLowSurrogate
        | ErrorKind::UnpairedLowSurrogate => {
            ("not valid YAML: unknown escape in a quoted text", None)
        }
        ErrorKind::UnknownAnchor => {
            ("not valid YAML: an alias to an anchor that does not exist", None)
        }
        ErrorKind::BomInsideDocument => ("not valid YAML: a byte-order mark within the file", None),
        _ => ("not valid YAML", None),
    }
}
