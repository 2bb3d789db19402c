//! Where something stands in the files of a configuration, and the lines that places count.

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Location {
    /// Which of the files.
    pub document: u32,
    /// Where in it.
    pub position: Position,
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Position {
    /// The file as a whole.
    File,
    /// Line and column, from 1; columns count characters.
    LineColumn(u32, u32),
}

/// The lines of a text list: whatever a program that has written it takes for a line break is one.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    split(text, &['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'])
}

/// The lines of a YAML text.
pub fn yaml_lines(text: &str) -> impl Iterator<Item = &str> {
    split(text, &['\n', '\r'])
}

fn split<'t>(text: &'t str, breaks: &'static [char]) -> impl Iterator<Item = &'t str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let Some((line, after)) = text.split_once(breaks) else {
            rest = None;
            return Some(text);
        };
        // "\r\n" is one break.
        let carriage_return = text.get(line.len()..).is_some_and(|tail| tail.starts_with("\r\n"));
        rest = if carriage_return { after.get(1..) } else { Some(after) };
        Some(line)
    })
}
