//! Which characters only stand in their place, wherever a person or a program reads them.

/// Whether a character ends no line, moves no cursor and turns no direction of writing. Those that
/// do let a text pass for something else: for a line of its own, say.
pub fn is_plain(c: char) -> bool {
    let turns = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    !c.is_control() && !matches!(c, '\u{2028}' | '\u{2029}') && !turns
}

/// Returns the first `max` characters of a text from outside, `…` behind them where there are more,
/// and U+FFFD for each that is not plain.
pub fn excerpt(text: &str, max: usize) -> String {
    let shown = text.chars().take(max);
    let mut shown: String =
        shown.map(|c| if is_plain(c) { c } else { char::REPLACEMENT_CHARACTER }).collect();
    if text.chars().nth(max).is_some() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_is_short_and_plain() {
        assert_eq!(excerpt("gzip", 4), "gzip");
        assert_eq!(excerpt("g\u{202e}z\nip", 4), "g\u{fffd}z\u{fffd}…");
    }
}
