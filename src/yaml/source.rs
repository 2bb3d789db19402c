//! The text of a file, and its lines.

use std::collections::{BTreeMap, BTreeSet};

use super::hidden::HiddenNode;
use super::span::Position;

/// The text of a file, to which diagnostics refer.
#[derive(Clone)]
pub struct SourceText {
    /// The file's name as the user gave it.
    pub name: String,
    /// The content without byte-order mark.
    pub text: String,
    /// The format of the text.
    pub format: SourceFormat,
    /// The scalars of it that must not be shown.
    pub hidden: Vec<HiddenNode>,
}

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SourceFormat {
    /// YAML.
    Yaml,
    /// Invalid YAML, so that the types of its values are unknown.
    Broken,
    /// One task ID a line.
    Lines,
}

impl SourceText {
    /// Returns a source in which nothing is hidden yet.
    pub const fn new(name: String, text: String, format: SourceFormat) -> Self {
        Self { name, text, format, hidden: Vec::new() }
    }
}

/// Some lines of a file, found in one pass.
#[derive(Default)]
pub struct FoundLines<'s> {
    found: BTreeMap<u32, &'s str>,
    /// The last line that is not blank.
    last: Option<(u32, &'s str)>,
}

impl<'s> FoundLines<'s> {
    /// Finds the lines with these numbers, from 1, in one pass.
    pub fn find(source: &'s SourceText, wanted: &BTreeSet<u32>) -> Self {
        let mut lines = Self::default();
        for (number, line) in (1..).zip(self::lines(&source.text)) {
            if wanted.contains(&number) {
                lines.found.insert(number, line);
            }
            if !line.trim().is_empty() {
                lines.last = Some((number, line));
            }
        }
        lines
    }

    /// Returns the line and column of a position, and the text of the line. A position at the end of the
    /// file is moved behind the last line that is not blank.
    pub fn position(&self, position: Position) -> Option<((u32, u32), &'s str)> {
        let Position::LineColumn(line, column) = position else { return None };
        let (last, text) = self.last?;
        if let Some(text) = self.found.get(&line).filter(|_| line <= last) {
            return Some(((line, column), text));
        }
        let line = last;
        let column = u32::try_from(text.chars().count()).ok()?.saturating_add(1);
        Some(((line, column), text))
    }
}

/// Returns the lines of a text, which may end as on any system.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some((line, after)) = text.split_once(['\n', '\r']) else {
            rest = None;
            return Some(text);
        };
        // "\r\n" is one break.
        let carriage_return = text.get(line.len()..).is_some_and(|tail| tail.starts_with("\r\n"));
        rest = if carriage_return { after.get(1..) } else { Some(after) };
        Some(line)
    })
}
