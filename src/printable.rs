//! Printable and invisible characters.

/// Reports whether a character ends no line, moves no cursor and changes no direction of writing. Other
/// characters let a text pass for something else, such as a line of its own.
pub fn is_printable(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') && !turns
}

/// Escapes the characters of a text from outside that are not printable.
pub fn escape(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_printable(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_default()),
        }
    }
    shown
}

/// Reports whether a character is invisible, though it makes a text another one: those that Unicode
/// calls default-ignorable (zero-width ones, marks of direction, soft hyphens, tags), fillers,
/// separators of lines, and control characters other than tabs and line breaks.
pub fn is_invisible(c: char) -> bool {
    let is_ignorable = matches!(
        c,
        '\u{ad}'
            | '\u{34f}'
            | '\u{61c}'
            | '\u{115f}'..='\u{1160}'
            | '\u{17b4}'..='\u{17b5}'
            | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{2800}'
            | '\u{3164}'
            | '\u{fe00}'..='\u{fe0f}'
            | '\u{feff}'
            | '\u{ffa0}'
            | '\u{fff0}'..='\u{fffb}'
            | '\u{1bca0}'..='\u{1bca3}'
            | '\u{1d173}'..='\u{1d17a}'
            | '\u{e0000}'..='\u{e0fff}'
    );
    is_ignorable || c.is_control() && !matches!(c, '\t' | '\n' | '\r')
}

/// Finds the first invisible character of a text. Returns its byte offset, and its description:
/// `the invisible character U+200B`.
pub fn find_invisible(text: &str) -> Option<(usize, String)> {
    let (at, c) = text.char_indices().find(|(_, c)| is_invisible(*c))?;
    Some((at, format!("the invisible character U+{:04X}", u32::from(c))))
}

/// Returns the first `max` characters of a text from outside, `…` behind them where there are more,
/// and U+FFFD for each that is not printable.
pub fn excerpt(text: &str, max: usize) -> String {
    let shown = text.chars().take(max);
    let mut shown: String =
        shown.map(|c| if is_printable(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_invisible_character_is_named() {
        for (text, found) in [
            ("a\u{200b}b\u{202e}", Some((1, "the invisible character U+200B"))),
            ("é\u{feff}", Some((2, "the invisible character U+FEFF"))),
            ("\u{7}", Some((0, "the invisible character U+0007"))),
            ("\u{e0041}", Some((0, "the invisible character U+E0041"))),
            ("a b\tc\r\n\u{a0}\u{3000}é日本🦀", None),
        ] {
            let found = found.map(|(at, name)| (at, name.to_owned()));
            assert_eq!(find_invisible(text), found, "{text:?}");
        }
    }

    #[test]
    fn an_excerpt_is_short_and_plain() {
        assert_eq!(excerpt("gzip", 4), "gzip");
        assert_eq!(excerpt("g\u{202e}z\nip", 4), "g\u{fffd}z\u{fffd}…");
    }
}
