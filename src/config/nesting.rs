//! A cheap look at a text before libyaml gets it: depth costs libyaml time that is quadratic and
//! memory that is hundreds of bytes a character, long before `serde_yaml` refuses 128 levels.

use super::place::{Spot, lines};

/// How many flow collections may be open at once. The count does not know quotes, so it is well
/// above what `serde_yaml` accepts.
const MAX_FLOW_DEPTH: usize = 1_000;
/// How many `- ` may stand at the start of one line.
const MAX_COMPACT_DEPTH: usize = 128;

/// Where a text nests deeper than any configuration does.
pub fn too_deep(text: &str) -> Option<Spot> {
    let mut open = 0_usize;
    for (number, line) in (1..).zip(lines(text)) {
        let start = line.trim_start();
        if start.starts_with("- ") {
            // A list of blocks cannot begin inside brackets, so none is open any more, whatever
            // the brackets in the texts above made us count.
            open = 0;
        }
        let marks = start.bytes().take_while(|byte| matches!(byte, b'-' | b'?' | b':' | b' '));
        if marks.filter(|byte| *byte != b' ').count() > MAX_COMPACT_DEPTH
            && !start.starts_with("--")
        {
            return Some(Spot::At(number, 1));
        }
        let mut before = ' ';
        for (column, character) in (1..).zip(line.chars()) {
            match character {
                '[' | '{' if matches!(before, ' ' | '\t' | '[' | '{' | ',' | ':') => open += 1,
                ']' | '}' => open = open.saturating_sub(1),
                _ => {}
            }
            if open > MAX_FLOW_DEPTH {
                return Some(Spot::At(number, column));
            }
            before = character;
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_counted_as_everywhere() {
        let deep = "[".repeat(MAX_FLOW_DEPTH + 1);
        for (before, line) in [("\n\n", 3), ("\r\n\r\n", 3), ("\r\r", 3), ("a\u{2028}", 2)] {
            assert_eq!(too_deep(&format!("{before}{deep}")), Some(Spot::At(line, 1_001)));
        }
        assert_eq!(too_deep(&format!("\r\n{}x", "- ".repeat(129))), Some(Spot::At(2, 1)));
    }
}
