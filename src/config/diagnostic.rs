//! Mistakes, and how they are told: where, what, the line, and what to do.

use std::fmt;

use super::document;
use super::place::{Place, Spot};
use super::privacy;
use crate::visible::is_plain;

/// How many mistakes are told; the rest are counted. More than a screen helps nobody.
const MAX_SHOWN: usize = 50;
/// How many bytes of files may be parsed again to find positions, each of which costs one parse:
/// a second or two of work. At least one position is always found.
const MAX_LOCATED_BYTES: usize = 128 << 20;
/// How many characters of a line are shown around the column.
const EXCERPT_CHARS: usize = 120;

/// Something wrong with the configuration, at a place.
#[derive(Clone, Debug)]
pub struct Mistake {
    /// Where.
    pub place: Place,
    /// What is wrong, in our own words: never holds text of the file.
    pub message: String,
    /// Text of the file. Left out where the line may hold a secret.
    pub detail: Option<String>,
    /// What to do, in our own words.
    pub hint: Option<String>,
    /// Where the same thing stands for the first time.
    pub first: Option<Place>,
    /// Whether the line must not be shown, whatever it looks like.
    pub private: bool,
}

impl Mistake {
    /// A mistake without detail and hint.
    pub fn new(place: Place, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { place, message, detail: None, hint: None, first: None, private: false }
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

    /// Adds what to do.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds where the same thing stands for the first time.
    #[must_use]
    pub const fn first(mut self, place: Place) -> Self {
        self.first = Some(place);
        self
    }

    /// Hides the line.
    #[must_use]
    pub const fn private(mut self) -> Self {
        self.private = true;
        self
    }
}

fn shorten(text: &str) -> String {
    const MOST: usize = 80;
    match text.char_indices().nth(MOST) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text.to_owned(),
    }
}

/// The text that a mistake is in.
#[derive(Clone, Debug)]
pub struct Source {
    /// The file's name as the user gave it.
    pub name: String,
    /// Its content without byte-order mark.
    pub text: String,
    /// Whether this is a list of IDs whose name says that it holds secrets instead.
    pub private: bool,
    /// What the text is.
    pub format: Format,
}

/// What the text of a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// YAML.
    Yaml,
    /// Meant to be YAML, but not even that, so that nothing tells which lines belong together.
    Broken,
    /// One task ID a line.
    Lines,
}

impl Source {
    /// A file's name and content.
    pub fn new(name: String, text: String, format: Format) -> Self {
        let file = name.rsplit('/').next().unwrap_or_default();
        let private =
            format == Format::Lines && file.split(['.', '-', '_']).any(privacy::sensitive);
        Self { name, text, private, format }
    }

    fn position(&self, place: Place) -> Option<(u32, u32)> {
        let (line, column) = match place.spot {
            Spot::File => None,
            Spot::At(line, column) => Some((line, column)),
            Spot::Node(node) => document::locate(&self.text, node),
        }?;
        // What is missing at the end is missing on a line that libyaml counts and nobody sees.
        match self.line(line) {
            Some(_) => Some((line, column)),
            None => self.end(),
        }
    }

    /// Behind the last line that is not blank.
    fn end(&self) -> Option<(u32, u32)> {
        let lines = (1_u32..).zip(privacy::lines(&self.text));
        let (line, text) = lines.filter(|(_, text)| !text.trim().is_empty()).last()?;
        Some((line, u32::try_from(text.chars().count()).ok()?.saturating_add(1)))
    }

    fn may_hold_secret(&self, line: u32) -> bool {
        self.private
            || match self.format {
                Format::Yaml => privacy::may_hold_secret(&self.text, line, false),
                Format::Broken => privacy::may_hold_secret(&self.text, line, true),
                Format::Lines => self.line(line).is_some_and(privacy::smells),
            }
    }

    fn line(&self, line: u32) -> Option<&str> {
        privacy::lines(&self.text).nth(usize::try_from(line).ok()?.checked_sub(1)?)
    }
}

/// All that is wrong with a configuration, ready to be printed. Holds no secret.
#[derive(Clone, Debug, Default)]
pub struct Diagnostics {
    shown: Vec<Diagnostic>,
    more: usize,
}

/// One mistake, ready to be printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The file's name as the user gave it.
    pub file: String,
    /// Line and column, from 1.
    pub position: Option<(u32, u32)>,
    /// What is wrong.
    pub message: String,
    /// The line, unless it may hold a secret, and how far to the right the mistake stands in it.
    pub excerpt: Option<(String, usize)>,
    /// What to do.
    pub hint: Option<String>,
}

impl Diagnostics {
    /// Looks up the places of mistakes and sorts them.
    pub fn new(mut mistakes: Vec<Mistake>, sources: &[Source]) -> Self {
        // Numbers of nodes rise with the text, and no file mixes them with lines and columns.
        mistakes.sort_by_key(|mistake| mistake.place);
        let (mut told, mut located_bytes) = (0, 0);
        let mut shown = Vec::new();
        for mistake in &mistakes {
            if shown.len() == MAX_SHOWN || located_bytes > MAX_LOCATED_BYTES {
                break;
            }
            told += 1;
            let Some(source) = source(sources, mistake.place) else { continue };
            located_bytes += source.text.len();
            // A block with an anchor is read once for each alias; its mistakes are told once.
            let diagnostic = Diagnostic::new(mistake, source, sources);
            if shown.last() != Some(&diagnostic) {
                shown.push(diagnostic);
            }
        }
        Self { shown, more: mistakes.len() - told }
    }

    /// The mistakes that are told, by file and position.
    pub fn shown(&self) -> &[Diagnostic] {
        &self.shown
    }
}

fn source(sources: &[Source], place: Place) -> Option<&Source> {
    sources.get(usize::try_from(place.document).ok()?)
}

impl Diagnostic {
    fn new(mistake: &Mistake, source: &Source, sources: &[Source]) -> Self {
        let position = source.position(mistake.place);
        let hidden =
            position.is_some_and(|(line, _)| mistake.private || source.may_hold_secret(line));
        let mut message = mistake.message.clone();
        if let Some(detail) = mistake.detail.as_deref().filter(|_| !hidden) {
            message.push_str(": ");
            message.extend(detail.chars().map(printable));
        }
        if hidden {
            message.push_str(" (line not shown: it may hold a secret)");
        }
        let excerpt = position
            .filter(|_| !hidden)
            .and_then(|(line, column)| excerpt(source.line(line)?, usize::try_from(column).ok()?));
        let first = mistake.first.and_then(|place| {
            let source = self::source(sources, place)?;
            let (line, column) = source.position(place)?;
            Some(format!("the first one is at {}:{line}:{column}", source.name))
        });
        let hint = mistake.hint.clone().or(first);
        Self { file: source.name.clone(), position, message, excerpt, hint }
    }
}

/// The part of a line around a column, and where the column stands in it.
fn excerpt(line: &str, column: usize) -> Option<(String, usize)> {
    let indent = line.chars().take_while(|c| c.is_whitespace()).count();
    let at = column.saturating_sub(1);
    let start = if at < EXCERPT_CHARS { indent.min(at) } else { at - EXCERPT_CHARS / 2 };
    let shown: String = line.chars().skip(start).take(EXCERPT_CHARS).map(printable).collect();
    let shown = shown.trim_end().to_owned();
    (!shown.is_empty()).then_some((shown, at - start))
}

fn printable(character: char) -> char {
    match character {
        '\t' => ' ',
        c if is_plain(c) => c,
        _ => '\u{fffd}',
    }
}

impl fmt::Display for Diagnostic {
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
