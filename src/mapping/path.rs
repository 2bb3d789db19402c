//! JSON Pointers (RFC 6901) compiled into tries, so that one pass over a body finds every field
//! and skips everything else unread.

use super::row::FieldName;

/// As deep as serde_json recurses; no API nests its answers deeper than ten.
pub const MAX_DEPTH: usize = 128;

/// The compiled paths of a mapping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    /// From the top of the body: the envelope's fields, and the place of the tasks.
    pub whole: Node,
    /// From a task.
    pub element: Node,
    /// The text that ends an ID.
    pub id_until: Option<Box<str>>,
}

/// A place in a body, and the places below it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Node {
    /// The fields whose value stands here.
    pub targets: Vec<Target>,
    /// True at the place of the tasks.
    pub is_task: bool,
    children: Vec<(Box<str>, Node)>,
}

/// A field, and how many of its places come before this one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Target {
    /// The field.
    pub field: FieldName,
    /// 0 for the field's first place.
    pub rank: u8,
}

impl Node {
    /// The node below `key`, where a path leads there.
    pub fn child(&self, key: &str) -> Option<&Self> {
        self.children.iter().find(|(name, _)| **name == *key).map(|(_, node)| node)
    }

    /// Reports whether no path leads further.
    pub fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    fn at(&mut self, pointer: &[String]) -> &mut Self {
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
    /// Paths with the tasks at `task`. An ID ends before `id_until`.
    pub fn new(task: &[String], id_until: Option<&str>) -> Self {
        let mut paths = Self { id_until: id_until.map(Into::into), ..Self::default() };
        paths.whole.at(task).is_task = true;
        paths
    }

    /// Adds a place of `field`: from the top for fields of the envelope, from the task for the
    /// others. Places of a lower `rank` come first.
    pub fn add(&mut self, field: FieldName, rank: u8, pointer: &[String]) {
        let node = if field.is_envelope() { &mut self.whole } else { &mut self.element };
        node.at(pointer).targets.push(Target { field, rank });
    }
}

/// The keys of a JSON Pointer.
///
/// # Errors
/// What is wrong with it, for a person.
pub fn parse_pointer(text: &str) -> Result<Vec<String>, &'static str> {
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let rest = text.strip_prefix('/').ok_or("a JSON Pointer starts with `/`")?;
    let unescape = |key: &str| {
        let mut parts = key.split('~');
        let mut out = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            let (escaped, rest) = match part.as_bytes().first() {
                Some(b'0') => ('~', part.get(1..)),
                Some(b'1') => ('/', part.get(1..)),
                _ => return Err("in a JSON Pointer `~` is followed by `0` or `1`"),
            };
            out.push(escaped);
            out.push_str(rest.unwrap_or_default());
        }
        Ok(out)
    };
    if rest.split('/').nth(MAX_DEPTH).is_some() {
        return Err("a JSON Pointer has at most 128 keys: no answer that is read is nested deeper");
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
