//! The events of a YAML text, one after another, so that memory is used only for those that are kept.

use super::span::Position;
use granit_parser::{
    ErrorKind, Event as Parsed, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, options,
};
use std::borrow::Cow;

/// The greatest depth of nested lists and blocks, in brackets and by indentation: trees are traversed
/// by recursion.
const MAX_DEPTH: usize = 64;

/// The range of a text in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSpan {
    /// The first byte.
    pub start: u32,
    /// The byte behind the last one.
    pub end: u32,
}

impl ByteSpan {
    /// Returns the bytes of a text.
    pub fn of(self, text: &str) -> Option<&str> {
        text.get(usize::try_from(self.start).ok()?..usize::try_from(self.end).ok()?)
    }
}

/// An event with its position.
#[derive(Debug)]
pub struct YamlEvent<'t> {
    /// The event.
    pub kind: EventKind<'t>,
    /// Line and column of its first character.
    pub position: Position,
    /// The bytes of the event in the text.
    pub bytes: ByteSpan,
    /// The number of its anchor, from 1.
    pub anchor: Option<usize>,
}

/// The kind of an event.
#[derive(Debug, PartialEq, Eq)]
pub enum EventKind<'t> {
    /// A scalar without quotes, which may be something else than text.
    Plain(Cow<'t, str>),
    /// Any other scalar.
    Text(Cow<'t, str>),
    /// A value that is not written.
    Nothing,
    /// The beginning of a list.
    List,
    /// The beginning of a block of keys.
    Map,
    /// The end of a list or a block.
    End,
    /// An alias to the anchor with this number.
    Alias(usize),
    /// The beginning of a document.
    Document,
    /// The end of all.
    Last,
}

/// The events of a text.
pub struct YamlEvents<'t> {
    text: &'t str,
    parser: Parser<'t, StrInput<'t>>,
    next: Option<(Parsed<'t>, Span)>,
    /// The end of the last scalar.
    behind: Marker,
}

impl<'t> YamlEvents<'t> {
    /// Reads a text without its byte-order mark.
    pub fn new(text: &'t str) -> Self {
        let options = options! {
            block_scalar_eof_without_line_feed: true,
            emit_anchor_events: true,
            emit_comments: false,
            flow_nesting_limit: MAX_DEPTH,
            block_nesting_limit: MAX_DEPTH,
        };
        let parser = Parser::new_from_str_with_options(text, options);
        Self { text, parser, next: None, behind: Marker::new(0, 1, 0).with_byte_offset(Some(0)) }
    }

    /// Returns the next event.
    ///
    /// # Errors
    /// The text is not YAML.
    pub fn next(&mut self) -> Result<YamlEvent<'t>, SyntaxError> {
        loop {
            let Some((event, span)) = self.take()? else {
                return Ok(YamlEvent {
                    kind: EventKind::Last,
                    position: Position::File,
                    bytes: ByteSpan::default(),
                    anchor: None,
                });
            };
            if let Some(event) = self.understand(event, span)? {
                return Ok(event);
            }
        }
    }

    fn take(&mut self) -> Result<Option<(Parsed<'t>, Span)>, SyntaxError> {
        if let Some(next) = self.next.take() {
            return Ok(Some(next));
        }
        self.parser.next_event().transpose().map_err(|error| SyntaxError::from(&error))
    }

    fn understand(
        &mut self,
        event: Parsed<'t>,
        span: Span,
    ) -> Result<Option<YamlEvent<'t>>, SyntaxError> {
        let (mut start, end) = (span.start, span.end);
        let behind = self.behind;
        let (kind, anchor, tag) = match event {
            Parsed::DocumentStart(..) => (EventKind::Document, 0, None),
            Parsed::SequenceEnd | Parsed::MappingEnd => (EventKind::End, 0, None),
            Parsed::SequenceStart(_, anchor, tag) => (EventKind::List, anchor, tag),
            Parsed::MappingStart(_, anchor, tag) => (EventKind::Map, anchor, tag),
            Parsed::Alias(id) => (EventKind::Alias(id), 0, None),
            Parsed::Scalar(text, style, anchor, tag) => {
                let is_typed = tag.as_ref().is_some_and(|tag| tag.is_yaml_core_schema_tag("str"));
                let kind = match style {
                    ScalarStyle::Plain if byte_offset(&start) == byte_offset(&end) => {
                        EventKind::Nothing
                    }
                    ScalarStyle::Plain if !is_typed => EventKind::Plain(text),
                    ScalarStyle::Literal | ScalarStyle::Folded => {
                        start = self.header(&behind, &start);
                        EventKind::Text(text)
                    }
                    _ => EventKind::Text(text),
                };
                self.behind = end;
                (kind, anchor, tag)
            }
            // The ends of documents and of all; anchors are asked for where they belong.
            _ => return Ok(None),
        };
        if tag.is_some_and(|tag| !CORE_TAGS.iter().any(|known| tag.is_yaml_core_schema_tag(known)))
        {
            let message = "YAML tags such as `!x` are not supported";
            return Err(SyntaxError::new(position(&self.tag(&behind, &start)), message));
        }
        if anchor > 0 {
            match self.take()? {
                // What begins with `&` may be a text that lacks its quotes.
                Some((Parsed::Anchor(..), span))
                    if !matches!(kind, EventKind::List | EventKind::Map) =>
                {
                    start = span.start;
                }
                Some((Parsed::Anchor(..), _)) | None => {}
                Some(other) => self.next = Some(other),
            }
        }
        let bytes = ByteSpan { start: byte_offset(&start), end: byte_offset(&end) };
        let is_colon = kind == EventKind::Nothing && self.text_from(bytes).starts_with(':');
        // It is missing behind the colon.
        let start = if is_colon { Marker::new(0, start.line(), start.col() + 1) } else { start };
        let anchor = (anchor > 0).then_some(anchor);
        Ok(Some(YamlEvent { kind, position: position(&start), bytes, anchor }))
    }

    fn text_from(&self, bytes: ByteSpan) -> &'t str {
        let start = usize::try_from(bytes.start).ok();
        start.and_then(|start| self.text.get(start..)).unwrap_or_default()
    }

    /// Returns the position of the header of a block scalar whose text starts at `start`.
    fn header(&self, behind: &Marker, start: &Marker) -> Marker {
        self.find(behind, start, |before, c| {
            matches!(c, '|' | '>') && before.is_none_or(char::is_whitespace)
        })
    }

    /// Returns the position of the tag before `start`.
    fn tag(&self, behind: &Marker, start: &Marker) -> Marker {
        self.find(behind, start, |before, c| {
            c == '!' && before.is_none_or(|c| !c.is_alphanumeric())
        })
    }

    /// Returns the first position between the last scalar and `start` at which `is_it` holds for the
    /// character and the one before it, or else `start`.
    fn find(
        &self,
        behind: &Marker,
        start: &Marker,
        is_it: impl Fn(Option<char>, char) -> bool,
    ) -> Marker {
        let bytes = ByteSpan { start: byte_offset(behind), end: byte_offset(start) };
        let (mut line, mut column) = (behind.line(), behind.col());
        let mut before = None;
        for (at, c) in bytes.of(self.text).unwrap_or_default().char_indices() {
            if is_it(before, c) {
                let byte = behind.byte_offset().map(|byte| byte + at);
                return Marker::new(0, line, column).with_byte_offset(byte);
            }
            // Of "\r\n" the first character is at the end of a line.
            (line, column) = match c {
                '\n' => (line + 1, 0),
                '\r' => (line, column),
                _ => (line, column + 1),
            };
            before = Some(c);
        }
        *start
    }
}

/// Tags that do not change the value.
const CORE_TAGS: [&str; 7] = ["str", "int", "float", "bool", "null", "seq", "map"];

fn byte_offset(marker: &Marker) -> u32 {
    marker.byte_offset().and_then(|byte| u32::try_from(byte).ok()).unwrap_or(u32::MAX)
}

/// Returns line and column of a marker, both from 1.
pub fn position(marker: &Marker) -> Position {
    let number = |number: usize| u32::try_from(number).unwrap_or(u32::MAX);
    Position::LineColumn(number(marker.line()), number(marker.col()).saturating_add(1))
}

/// The reason for which a text has no tree. Contains nothing of the text: messages of a parser may echo
/// values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// The position.
    pub position: Position,
    /// The message.
    pub message: &'static str,
    /// Advice.
    pub hint: Option<&'static str>,
}

impl SyntaxError {
    /// Returns an error without a hint.
    pub const fn new(position: Position, message: &'static str) -> Self {
        Self { position, message, hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub const fn hint(mut self, hint: &'static str) -> Self {
        self.hint = Some(hint);
        self
    }
}

const INDENTATION: &str = "check the indentation of this line and of the lines above it";
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
            Some("check the indentation, and quote text that contains `: `"),
        ),
        ErrorKind::ExpectedBlockMappingKey | ErrorKind::InvalidIndentation => {
            ("not valid YAML: expected a key", Some(INDENTATION))
        }
        ErrorKind::ExpectedBlockSequenceEntry => {
            ("not valid YAML: expected the next `- ` of a list", Some(INDENTATION))
        }
        ErrorKind::SimpleKeyExpected | ErrorKind::InvalidSimpleKey => (
            "not valid YAML: expected a `:` after a key",
            Some("a key needs a `:` and a space after it"),
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
            ("not valid YAML: a closing bracket without an opening one", None)
        }
        ErrorKind::BlockSequenceEntryNotAllowed
        | ErrorKind::BlockEntryInFlowCollection
        | ErrorKind::InvalidBlockEntryWhitespace => {
            ("not valid YAML: a list cannot begin here", None)
        }
        ErrorKind::InvalidTrailingSingleQuotedScalar
        | ErrorKind::InvalidTrailingDoubleQuotedScalar => {
            ("not valid YAML: text after a closing quote", None)
        }
        ErrorKind::UnexpectedCharacter { .. } => (
            "not valid YAML: a value cannot begin with this character",
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
            ("not valid YAML: unknown escape in quoted text", None)
        }
        ErrorKind::UnknownAnchor => {
            ("not valid YAML: an alias to an anchor that does not exist", None)
        }
        ErrorKind::BomInsideDocument => ("not valid YAML: a byte-order mark within the file", None),
        _ => ("not valid YAML", None),
    }
}
