//! Where the texts that must not be shown stand in a YAML file.

use std::collections::{BTreeSet, HashSet};

use super::locate;
use super::place::{self, Place};
use super::privacy::{Hidden, MAX_HIDDEN, What};

/// The lines and places of a file that must not be shown.
#[derive(Debug, Default)]
pub struct HiddenPlaces {
    /// The numbers of nodes.
    nodes: HashSet<u32>,
    /// Where texts begin. A text with an anchor is hidden wherever one of its aliases is.
    starts: HashSet<(u32, u32)>,
    lines: BTreeSet<u32>,
    /// Whether a place could not be found, so that it may be anywhere.
    everywhere: bool,
}

impl HiddenPlaces {
    /// Finds the places of nodes in the text that they were read from. Costs one parse of it.
    pub fn find(text: &str, hidden: &[Hidden]) -> Self {
        let mut found = Self { everywhere: hidden.len() > MAX_HIDDEN, ..Self::default() };
        if hidden.is_empty() || found.everywhere {
            return found;
        }
        let (mut numbers, mut scalars) = (BTreeSet::new(), Vec::new());
        for Hidden { place, what } in hidden {
            match (place.node(), what) {
                (Some(node), What::Collection) => found.nodes.extend([node]),
                (Some(node), what) => {
                    numbers.insert(node);
                    scalars.push((node, what));
                }
                (None, _) => {}
            }
        }
        let positions = locate::scalars(text, &numbers);
        let mut placed: Vec<_> = scalars
            .iter()
            .map(|(node, what)| (positions.get(node).copied(), *node, *what))
            .collect();
        // In the order of the text, which is then gone through once.
        placed.sort_by_key(|(position, ..)| *position);
        let mut cursor = Cursor::new(text);
        for (position, node, what) in placed {
            let Some((position, rest)) = position.zip(position.and_then(|at| cursor.seek(at)))
            else {
                found.everywhere = true;
                continue;
            };
            if is_shown(rest, what) {
                continue;
            }
            let Some(more) = further_lines(rest, what) else {
                found.everywhere = true;
                continue;
            };
            found.nodes.insert(node);
            found.starts.insert(position);
            let (first, _) = position;
            found.lines.extend(first..=first.saturating_add(more));
        }
        found
    }

    /// Reports whether a part of something hidden stands on a line.
    pub fn has_line(&self, line: u32) -> bool {
        self.everywhere || self.lines.contains(&line)
    }

    /// Reports whether what stands at a place is hidden: a node, or a text that begins at a line and
    /// column.
    pub fn has(&self, place: Place, position: (u32, u32)) -> bool {
        let is_hidden = |node| self.nodes.contains(&node);
        self.everywhere || place.node().is_some_and(is_hidden) || self.starts.contains(&position)
    }
}

/// A way through a text from its start to its end.
struct Cursor<'t> {
    text: &'t str,
    lines: Vec<&'t str>,
    /// Where it is: a line, a column and a byte of the line; line and column from 0.
    at: (usize, usize, usize),
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, lines: place::lines(text).collect(), at: (0, 0, 0) }
    }

    /// Returns the text from a line and column on, from 1, which are not before the last ones.
    fn seek(&mut self, (line, column): (u32, u32)) -> Option<&'t str> {
        let line = usize::try_from(line).ok()?.checked_sub(1)?;
        let column = usize::try_from(column).ok()?.checked_sub(1)?;
        let Some(own) = self.lines.get(line) else {
            // What is missing at the end is missing behind the last line.
            return (line == self.lines.len() && column == 0).then_some("");
        };
        let (at, before, byte) = if self.at.0 == line { self.at } else { (line, 0, 0) };
        let mut characters = own.get(byte..)?.char_indices().map(|(at, _)| byte + at);
        let byte = characters.nth(column.checked_sub(before)?).or_else(|| {
            // Behind the last character.
            (own.chars().count() == column).then_some(own.len())
        })?;
        self.at = (at, column, byte);
        self.text.get(own.as_ptr().addr() - self.text.as_ptr().addr() + byte..)
    }
}

/// Reports whether what stands at the start of `rest` may be shown after all.
fn is_shown(rest: &str, what: &What) -> bool {
    match what {
        What::BareKey(name) => length(rest, name)
            .and_then(|length| rest.get(length..))
            .is_some_and(|behind| behind.trim_start_matches([' ', '\t']).starts_with(':')),
        What::Nothing => !rest.starts_with(['&', '!']),
        What::Text(_) | What::Empty | What::Collection => false,
    }
}

/// How many further lines a scalar takes that stands at the start of `rest`; `None` where it does not.
fn further_lines(rest: &str, what: &What) -> Option<u32> {
    let (What::Text(text) | What::BareKey(text)) = what else { return Some(0) };
    let lines = place::lines(rest.get(..length(rest, text)?)?).count();
    u32::try_from(lines.saturating_sub(1)).ok()
}

/// How many bytes a scalar takes that stands at the start of `rest` and means `text`.
fn length(rest: &str, text: &str) -> Option<usize> {
    let mut scalar = rest;
    // An anchor or a tag stands before it, perhaps on a line of its own.
    while scalar.starts_with(['&', '!']) {
        let (_, behind) = scalar.split_once(char::is_whitespace)?;
        scalar = behind.trim_start();
    }
    let skipped = rest.len() - scalar.len();
    let own = match scalar.chars().next()? {
        '"' => 1 + closing_quote(scalar.get(1..)?)?,
        '\'' => 1 + closing_apostrophe(scalar.get(1..)?)?,
        '|' | '>' => {
            let header = place::lines(scalar).next()?.len();
            header + written(scalar.get(header..)?, text)?
        }
        _ => written(scalar, text)?,
    };
    Some(skipped + own)
}

/// How many bytes there are up to the end of a text in double quotes, the quote included.
fn closing_quote(rest: &str) -> Option<usize> {
    let mut is_escaped = false;
    let end = rest.char_indices().find(|(_, c)| {
        let ends = *c == '"' && !is_escaped;
        is_escaped = *c == '\\' && !is_escaped;
        ends
    });
    end.map(|(at, _)| at + 1)
}

/// The same in single quotes, where two of them stand for one.
fn closing_apostrophe(rest: &str) -> Option<usize> {
    let mut at = 0;
    loop {
        at += rest.get(at..)?.find('\'')? + 1;
        if !rest.get(at..)?.starts_with('\'') {
            return Some(at);
        }
        at += 1;
    }
}

/// How many bytes a text takes that is written as it is, except for its white space: folding
/// changes it, and indentation adds to it.
fn written(rest: &str, text: &str) -> Option<usize> {
    let mut characters = rest.char_indices().filter(|(_, c)| !c.is_whitespace());
    let mut end = 0;
    for expected in text.chars().filter(|c| !c.is_whitespace()) {
        let (at, found) = characters.next()?;
        if found != expected {
            return None;
        }
        end = at + found.len_utf8();
    }
    Some(end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::document::{self, Kind, Node};
    use crate::config::place::Spot;

    /// The lines of the texts that hold `x`, in a file that is hidden as far as they go.
    fn lines(text: &str) -> Vec<u32> {
        let mut hidden = Vec::new();
        collect(&document::parse(text, 0).expect(text), &mut hidden);
        assert!(!hidden.is_empty(), "{text}");
        let places = HiddenPlaces::find(text, &hidden);
        assert!(!places.everywhere, "{text}");
        places.lines.into_iter().collect()
    }

    fn collect(node: &Node, hidden: &mut Vec<Hidden>) {
        match &node.kind {
            Kind::List(items) => items.iter().for_each(|node| collect(node, hidden)),
            Kind::Map(entries) => entries.iter().for_each(|(key, value)| {
                if let (Kind::Null, Some(name)) = (&value.kind, key.text()) {
                    hidden.push(Hidden { place: key.place, what: What::BareKey(name.into()) });
                }
                collect(value, hidden);
            }),
            _ => match node.text() {
                Some(text) if text.contains('x') => {
                    hidden.push(Hidden { place: node.place, what: What::Text(text.into()) });
                }
                Some(_) => {}
                None => hidden.push(Hidden { place: node.place, what: What::Nothing }),
            },
        }
    }

    #[test]
    fn a_text_covers_the_lines_from_its_start_to_its_end() {
        for (text, expected) in [
            ("a: x", &[1][..]),
            ("a:\n  x\nb: c", &[2]),
            ("a: x\n  y\n\n  z\nb: c", &[1, 2, 3, 4]),
            ("{ a: \"x\\\"\n y\\\\\", b: c }", &[1, 2]),
            ("a: 'x''\n  y'\nb: c", &[1, 2]),
            ("a: |\n  x\n\n  y\n\nb: c", &[1, 2, 3, 4]),
            ("a: >2-  # why\n\n    x\n  y\nb: c", &[1, 2, 3, 4]),
            ("a: &n\n  x\nb: c\nd: *n", &[1, 2]),
            ("- !!str\n  x\n- b\n- x", &[1, 2, 4]),
            ("é: [é, x]", &[1]),
            ("b: c\r\na: x\r\n y\r\n", &[2, 3]),
            ("a: b\u{2028}c: x", &[2]),
            ("{ a: b,\n x }", &[2]),
            ("{ \"x y\"\n }", &[1]),
            ("a: x\nb: &x\nd:\n", &[1, 2]),
        ] {
            assert_eq!(lines(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_key_is_a_name_where_a_colon_follows() {
        for text in ["x:", "x :\ny: x", "{ \"x\": ,\n y: x }"] {
            let hidden = lines(text);
            assert!(!hidden.contains(&1), "{text}: {hidden:?}");
        }
    }

    /// A file in one line, which a search from its start for each text would take hours for.
    #[test]
    fn many_texts_are_found_in_one_way_through_the_file() {
        let text = format!("[{}]", "xé, ".repeat(MAX_HIDDEN - 1));
        assert_eq!(lines(&text), [1]);
        let hidden: Vec<_> = (0..=u32::try_from(MAX_HIDDEN).unwrap())
            .map(|node| Hidden {
                place: Place { document: 0, spot: Spot::Node(node) },
                what: What::Text("x".into()),
            })
            .collect();
        assert!(HiddenPlaces::find(&text, &hidden).has_line(2));
    }

    #[test]
    fn what_is_not_found_hides_everything() {
        let place = Place { document: 0, spot: Spot::Node(1) };
        let hidden = Hidden { place, what: What::Text("other".into()) };
        let places = HiddenPlaces::find("a: x\nb: c", &[hidden]);
        assert!(places.has_line(2) && places.has(place, (2, 1)));
    }
}
