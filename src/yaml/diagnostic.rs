//! Diagnostics: location, message, excerpt and hint.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashMap};
use std::fmt;

use super::hidden::HiddenRegions;
use super::source::{FoundLines, SourceFormat, SourceText};
use super::span::{Location, Position};
use super::tree::{NodeKind, YamlNode};
use crate::printable::{is_invisible, is_printable};

/// Maximum number of diagnostics that are kept and shown, the first ones of the text. The rest are
/// counted, since a list may have millions. More than a screen helps no reader.
const MAX_SHOWN: usize = 50;
/// The number of characters of a line that are shown around the column.
const EXCERPT_CHARS: usize = 120;

/// An error in a file, at a location.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The location.
    pub location: Location,
    /// The message, in our own words: contains no text of the file but names.
    pub message: String,
    /// Text of the file. Left out if the value at the location may be a secret.
    pub detail: Option<String>,
    /// Advice, in our own words.
    pub hint: Option<String>,
    /// The location of the first occurrence of a duplicate.
    pub first: Option<Location>,
}

impl Diagnostic {
    /// Returns a diagnostic without detail and hint.
    pub fn new(location: Location, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { location, message, detail: None, hint: None, first: None }
    }

    /// Adds text of the file, in quotes.
    #[must_use]
    pub fn quote(self, text: &str) -> Self {
        self.detail(format!("{:?}", shorten(text)))
    }

    /// Adds words that may hold text of the file.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the location of the first occurrence.
    #[must_use]
    pub const fn first(mut self, location: Location) -> Self {
        self.first = Some(location);
        self
    }
}

/// An error in a block, at a path of keys, found by code that does not know the locations.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockError {
    /// The keys that lead to it, an index as its decimal digits: `["states", "running", "0"]`.
    pub keys: Vec<String>,
    /// The message, which may hold text of the file.
    pub message: String,
    /// Advice, in our own words.
    pub hint: Option<String>,
}

impl BlockError {
    /// Returns an error at these keys, without a hint.
    pub fn new(keys: &[&str], message: impl Into<String>) -> Self {
        let keys = keys.iter().map(|key| (*key).to_owned()).collect();
        Self { keys, message: message.into(), hint: None }
    }

    /// Adds a hint.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Returns the diagnostic at the node that the keys lead to below `block`, or at the last node on
    /// the way to it.
    pub fn locate(self, block: &YamlNode) -> Diagnostic {
        let mut node = block;
        for key in &self.keys {
            let below = match &node.kind {
                NodeKind::List(nodes) => key.parse().ok().and_then(|index: usize| nodes.get(index)),
                _ => node.get(key),
            };
            let Some(below) = below else { break };
            node = below;
        }
        let diagnostic = Diagnostic::new(node.location, "not valid").detail(self.message);
        Diagnostic { hint: self.hint, ..diagnostic }
    }
}

/// A function that returns the message and the hint for a key of another program, given the name of
/// the struct that does not have it and the key.
pub type ForeignKeys = fn(&str, &str) -> Option<(String, &'static str)>;

/// Collects diagnostics: keeps the first ones of the text, and counts the others.
#[derive(Debug)]
pub struct DiagnosticSink {
    found: RefCell<Found>,
    /// Explains unknown keys that another program has.
    pub foreign_keys: ForeignKeys,
}

/// The diagnostics that were found so far.
#[derive(Debug, Default)]
struct Found {
    /// The kept ones in the order of their locations, at most [`MAX_SHOWN`].
    kept: Vec<Diagnostic>,
    /// The number of distinct diagnostics that are not kept. Equals of a kept one are not counted.
    more: usize,
    /// The number of all diagnostics, equal ones included.
    total: usize,
}

impl Default for DiagnosticSink {
    fn default() -> Self {
        Self::new(|_, _| None)
    }
}

impl DiagnosticSink {
    /// Returns an empty sink.
    pub fn new(foreign_keys: ForeignKeys) -> Self {
        Self { found: RefCell::default(), foreign_keys }
    }

    /// Adds a diagnostic. A block with an anchor is decoded once for each alias; its diagnostics, which
    /// are then equal, are kept once.
    pub fn push(&self, diagnostic: Diagnostic) {
        if self.count_beyond(diagnostic.location) {
            return;
        }
        let Found { kept, more, total } = &mut *self.found.borrow_mut();
        let behind = kept.partition_point(|kept| kept.location <= diagnostic.location);
        let before = kept.get(..behind).unwrap_or_default();
        let mut same_location =
            before.iter().rev().take_while(|kept| kept.location == diagnostic.location);
        *total += 1;
        if same_location.any(|kept| *kept == diagnostic) {
            return;
        }
        kept.insert(behind, diagnostic);
        if kept.len() > MAX_SHOWN {
            kept.pop();
            *more += 1;
        }
    }

    /// Counts a diagnostic at a location behind all kept ones, so that it need not be made, and returns
    /// true. Returns false for one that is to be pushed.
    pub fn count_beyond(&self, location: Location) -> bool {
        let Found { kept, more, total } = &mut *self.found.borrow_mut();
        let is_beyond =
            kept.len() == MAX_SHOWN && kept.last().is_some_and(|last| last.location < location);
        *more += usize::from(is_beyond);
        *total += usize::from(is_beyond);
        is_beyond
    }

    /// Adds all diagnostics of another sink.
    pub fn append(&self, others: Self) {
        let Found { kept, more, total } = others.found.into_inner();
        let count = kept.len();
        for diagnostic in kept {
            self.push(diagnostic);
        }
        let found = &mut *self.found.borrow_mut();
        found.more += more;
        found.total += total.saturating_sub(count);
    }

    /// Returns the number of diagnostics, equal ones included.
    pub fn len(&self) -> usize {
        self.found.borrow().total
    }

    /// Reports whether there are no diagnostics.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl From<Diagnostic> for DiagnosticSink {
    fn from(diagnostic: Diagnostic) -> Self {
        let sink = Self::default();
        sink.push(diagnostic);
        sink
    }
}

/// Returns the first 80 characters of a text, to be quoted in a message.
pub fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// All diagnostics of a configuration, ready to be printed. Contains no secret.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    shown: Vec<RenderedDiagnostic>,
    more: usize,
}

/// One diagnostic, ready to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedDiagnostic {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line and column, from 1.
    pub position: Option<(u32, u32)>,
    /// The message.
    pub message: String,
    /// The line, unless it may hold a secret, with the offset of the column in it.
    pub excerpt: Option<(String, usize)>,
    /// Advice.
    pub hint: Option<String>,
}

impl Diagnostics {
    /// Renders the diagnostics of a sink with the texts that they refer to.
    pub fn new(sink: DiagnosticSink, sources: &[SourceText]) -> Self {
        let Found { kept, more, .. } = sink.found.into_inner();
        let mut wanted: HashMap<u32, BTreeSet<u32>> = HashMap::new();
        for location in kept
            .iter()
            .flat_map(|diagnostic| [Some(diagnostic.location), diagnostic.first])
            .flatten()
        {
            let lines = wanted.entry(location.document).or_default();
            if let Position::LineColumn(line, _) = location.position {
                lines.insert(line);
            }
        }
        let files: HashMap<u32, SourceView<'_>> = wanted
            .iter()
            .filter_map(|(document, wanted)| {
                let source = sources.get(usize::try_from(*document).ok()?)?;
                let hidden = HiddenRegions::find(&source.text, &source.hidden);
                Some((
                    *document,
                    SourceView { source, lines: FoundLines::find(source, wanted), hidden },
                ))
            })
            .collect();
        let shown = kept
            .iter()
            .filter_map(|diagnostic| RenderedDiagnostic::new(diagnostic, &files))
            .collect();
        Self { shown, more }
    }

    /// Adds the diagnostics of other files.
    #[must_use]
    pub fn and(mut self, others: Self) -> Self {
        self.shown.extend(others.shown);
        self.more += others.more + self.shown.len().saturating_sub(MAX_SHOWN);
        self.shown.truncate(MAX_SHOWN);
        self
    }

    /// Returns the diagnostics that are shown, by file and position.
    pub fn shown(&self) -> &[RenderedDiagnostic] {
        &self.shown
    }
}

/// A file with diagnostics.
struct SourceView<'s> {
    source: &'s SourceText,
    lines: FoundLines<'s>,
    hidden: HiddenRegions,
}

impl RenderedDiagnostic {
    fn new(diagnostic: &Diagnostic, files: &HashMap<u32, SourceView<'_>>) -> Option<Self> {
        let SourceView { source, lines, hidden } = files.get(&diagnostic.location.document)?;
        let found = lines.position(diagnostic.location.position);
        let is_secret = found.is_some() && hidden.has(diagnostic.location);
        let is_hidden = found.is_some_and(|((line, _), _)| {
            is_secret || source.format == SourceFormat::Broken || hidden.has_line(line)
        });
        let mut message = diagnostic.message.clone();
        if let Some(detail) = diagnostic.detail.as_deref().filter(|_| !is_secret) {
            message.push_str(": ");
            message.extend(detail.chars().map(printable));
        }
        if is_hidden {
            message.push_str(" (line not shown: it may contain a secret)");
        }
        let excerpt = found.filter(|_| !is_hidden).and_then(|((_, column), line)| {
            excerpt(line, usize::try_from(column).ok()?, source.format)
        });
        let first = diagnostic.first.and_then(|location| {
            let SourceView { source, lines, .. } = files.get(&location.document)?;
            let ((line, column), _) = lines.position(location.position)?;
            Some(format!("the first one is at {}:{line}:{column}", source.name))
        });
        let hint = diagnostic.hint.clone().or(first);
        let position = found.map(|(position, _)| position);
        Some(Self { file: source.name.clone(), position, message, excerpt, hint })
    }
}

/// Returns the part of a line around a column, with the offset of the column in it. YAML comments are
/// left out: they have no type, and may contain a former value.
fn excerpt(line: &str, column: usize, format: SourceFormat) -> Option<(String, usize)> {
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    let at = column.saturating_sub(1);
    let start = if at < EXCERPT_CHARS { indent.min(at) } else { at - EXCERPT_CHARS / 2 };
    let behind = line.char_indices().nth(at).map_or(line.len(), |(byte, _)| byte);
    let comment = line.match_indices('#').map(|(byte, _)| byte).find(|byte| {
        let is_behind_space = |before: &str| before.ends_with([' ', '\t']);
        *byte >= behind && line.get(..*byte).is_some_and(is_behind_space)
    });
    let end = comment.filter(|_| format != SourceFormat::Lines).unwrap_or(line.len());
    let code = line.get(..end)?;
    let shown: String = code.chars().skip(start).take(EXCERPT_CHARS).map(printable).collect();
    let shown = shown.trim_end().to_owned();
    (!shown.is_empty()).then_some((shown, at - start))
}

fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        c if is_printable(c) && !is_invisible(c) => c,
        _ => '\u{fffd}',
    }
}

impl fmt::Display for RenderedDiagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file)?;
        if let Some((line, column)) = self.position {
            write!(f, "{line}:{column}:")?;
        }
        write!(f, " {}", self.message)?;
        if let Some((line, column)) = &self.excerpt {
            write!(f, "\n    {line}\n    {:column$}^", "")?;
        }
        if let Some(hint) = &self.hint {
            write!(f, "\n    hint: {hint}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Diagnostics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, diagnostic) in self.shown.iter().enumerate() {
            let separator = if index == 0 { "" } else { "\n" };
            write!(f, "{separator}{diagnostic}")?;
        }
        match self.more {
            0 => Ok(()),
            more => write!(f, "\n… and {more} more"),
        }
    }
}

impl std::error::Error for Diagnostics {}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(line: u32) -> Location {
        Location { document: 0, position: Position::LineColumn(line, 1) }
    }

    /// Whatever the order in which they are found.
    #[test]
    fn the_first_mistakes_of_the_text_are_kept_and_the_others_counted() {
        let text = "a\n".repeat(1_000);
        let source = SourceText::new("list".to_owned(), text, SourceFormat::Lines);
        for step in [1, 7, 999] {
            let diagnostics = DiagnosticSink::default();
            for n in 0..1_000 {
                diagnostics.push(Diagnostic::new(at(n * step % 1_000 + 1), "wrong"));
            }
            assert_eq!(
                (diagnostics.len(), diagnostics.found.borrow().kept.len()),
                (1_000, MAX_SHOWN)
            );
            let all = DiagnosticSink::from(Diagnostic::new(at(7), "also wrong"));
            all.append(diagnostics);
            assert_eq!((all.len(), all.found.borrow().kept.len()), (1_001, MAX_SHOWN));
            let diagnostics = Diagnostics::new(all, std::slice::from_ref(&source));
            let lines = diagnostics.shown().iter().map(|d| d.position.unwrap().0);
            let expected =
                (1..=49).flat_map(|line| if line == 7 { vec![7, 7] } else { vec![line] });
            assert!(lines.eq(expected), "{diagnostics}");
            assert!(diagnostics.to_string().ends_with("\n… and 951 more"), "{diagnostics}");
        }
    }

    #[test]
    fn equal_mistakes_are_shown_once() {
        let diagnostics = DiagnosticSink::default();
        for n in 0..1_000 {
            diagnostics.push(Diagnostic::new(at(n % 3 + 1), "wrong"));
        }
        assert_eq!(diagnostics.len(), 1_000);
        let source = SourceText::new("list".to_owned(), "a\n".repeat(3), SourceFormat::Lines);
        let diagnostics = Diagnostics::new(diagnostics, &[source]);
        assert_eq!((diagnostics.shown().len(), diagnostics.more), (3, 0));
    }
}
