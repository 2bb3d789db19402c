//! The paths to the fields of a response, compiled into tries. Pure.

use super::fields::FieldName;

/// Maximum number of levels of nesting, which is where serde_json stops; no API nests its responses
/// deeper than ten.
pub const MAX_DEPTH: usize = 128;

/// The JSON Pointers (RFC 6901) of a mapping, compiled into tries, so that one pass over a body finds
/// all fields and skips everything else.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    /// Trie from the top of the body, with the fields of the envelope and the path of the tasks.
    pub whole: PathNode<RankedField>,
    /// Trie from a task.
    pub element: PathNode<RankedField>,
    /// Text that ends an ID.
    pub id_until: Option<Box<str>>,
}

/// A node of a trie: a place in a body, and the places below it. `F` names a field and the rank of
/// one of its paths.
#[derive(Clone, Debug, PartialEq)]
pub struct PathNode<F> {
    /// Fields whose value is here.
    pub fields: Vec<F>,
    /// True at the place of the tasks.
    pub is_task: bool,
    children: Vec<(Box<str>, Self)>,
}

impl<F> Default for PathNode<F> {
    fn default() -> Self {
        Self { fields: Vec::new(), is_task: false, children: Vec::new() }
    }
}

/// A field, and the rank of one of its paths.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RankedField {
    /// The field.
    pub name: FieldName,
    /// Number of paths of the field that are preferred to this one.
    pub rank: u8,
}

impl<F> PathNode<F> {
    /// Returns the node below `key`, if a path leads there.
    pub fn child(&self, key: &str) -> Option<&Self> {
        self.children.iter().find(|(name, _)| **name == *key).map(|(_, node)| node)
    }

    /// Reports whether all paths end here.
    pub fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// Returns the node at a JSON Pointer, which is added if there is none.
    pub fn at(&mut self, pointer: &[String]) -> &mut Self {
        let Some((key, rest)) = pointer.split_first() else { return self };
        let index = self.children.iter().position(|(name, _)| **name == **key);
        let index = index.unwrap_or_else(|| {
            self.children.push((key.as_str().into(), Self::default()));
            self.children.len() - 1
        });
        match self.children.get_mut(index) {
            Some((_, node)) => node.at(rest),
            None => unreachable!("the child was found or added above"),
        }
    }
}

impl Paths {
    /// Returns paths with the tasks at `task`, and IDs that end before `id_until`.
    pub fn new(task: &[String], id_until: Option<&str>) -> Self {
        let mut paths = Self { id_until: id_until.map(Into::into), ..Self::default() };
        paths.whole.at(task).is_task = true;
        paths
    }

    /// Adds a path of `name`: from the top for fields of the envelope, from the task for the others.
    /// Paths of a lower `rank` are preferred.
    pub fn add(&mut self, name: FieldName, rank: u8, pointer: &[String]) {
        let node = if name.is_envelope() { &mut self.whole } else { &mut self.element };
        node.at(pointer).fields.push(RankedField { name, rank });
    }
}

/// Parses a JSON Pointer into its keys.
///
/// # Errors
/// Fails when it is none, with a message for people.
pub fn parse_pointer(text: &str) -> Result<Vec<String>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text.strip_prefix('/').ok_or("a JSON Pointer must start with `/`")?;
    let unescape = |key: &str| {
        let mut parts = key.split('~');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (escaped, rest) = match part.as_bytes().first() {
                Some(b'0') => ('~', part.get(1..)),
                Some(b'1') => ('/', part.get(1..)),
                _ => return Err("in a JSON Pointer, `~` must be followed by `0` or `1`"),
            };
            out.push(escaped);
            out.push_str(rest.unwrap_or_default());
        }
        Ok(out)
    };
    if rest.split('/').nth(MAX_DEPTH).is_some() {
        return Err(
            "a JSON Pointer can have at most 128 keys: answers that are nested deeper are not read",
        );
    }
    rest.split('/').map(unescape).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pointers() {
        let keys = |text| parse_pointer(text);
        let deepest = "/a".repeat(MAX_DEPTH);
        assert_eq!(keys(&deepest).unwrap().len(), MAX_DEPTH);
        let deeper = deepest.clone() + "/a";
        assert!(keys(&deeper).is_err());
        assert_eq!(keys(""), Ok(vec![]));
        assert_eq!(keys("/a/0/b~1c~0d"), Ok(vec!["a".into(), "0".into(), "b/c~d".into()]));
        assert!(keys("a").is_err() && keys("/a~2").is_err() && keys("/a~").is_err());
    }
}
