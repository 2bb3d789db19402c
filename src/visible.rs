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
