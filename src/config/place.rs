//! Where something stands in the files of a configuration.

/// Where something stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Which of the files.
    pub document: u32,
    /// Where in it.
    pub spot: Spot,
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
