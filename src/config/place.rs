//! Where something stands in the files of a configuration, and the lines that places count.

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the files.
    pub document: u32,
    /// Where in it.
    pub spot: Spot,
}

impl Place {
    /// The number of the node that stands here, if the place is one of a node.
    pub const fn node(self) -> Option<u32> {
        match self.spot {
            Spot::Node(node) => Some(node),
            Spot::File | Spot::At(..) => None,
        }
    }
}

/// Where in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Spot {
    /// The file as a whole.
    File,
    /// Line and column, from 1; columns count characters.
    At(u32, u32),
    /// A node, by its number in the order of the text.
    Node(u32),
}

/// The lines of a text as libyaml counts them.
pub fn lines(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(text);
    std::iter::from_fn(move || {
        let text = rest?;
        let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
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
