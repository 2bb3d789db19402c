//! JSON Pointers (RFC 6901) compiled into one trie, so that one pass over a body finds every
//! field and skips everything else unread.

use std::borrow::Cow;
use std::fmt;

use super::row::{FieldName, Found, Row};
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// As deep as serde_json recurses; no API nests its answers deeper than ten.
const MAX_DEPTH: usize = 128;

/// What stood where the tasks were looked for.
#[derive(Debug, Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a body, on the stack; a box would be an allocation a poll"
)]
pub enum Tasks<'de> {
    /// Nothing.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// Neither an object nor an array.
    Other(&'static str),
    /// One task.
    One(Row<'de>),
    /// The elements of an array that were asked for.
    Many {
        /// Those whose ID was wanted.
        wanted: Vec<Row<'de>>,
        /// Whether there are elements and none has a readable ID.
        unnamed: bool,
    },
}

/// All that a mapping looked for in one body.
#[derive(Debug, Default)]
pub struct Extract<'de> {
    /// Code and message, unless the task is the whole body: then they are in its row.
    pub envelope: Row<'de>,
    /// The tasks.
    pub tasks: Tasks<'de>,
}

/// The compiled paths of a mapping.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Paths {
    whole: Node,
    element: Node,
}

#[derive(Clone, Debug, Default, PartialEq)]
struct Node {
    fields: Vec<FieldName>,
    is_task: bool,
    children: Vec<(Box<str>, Node)>,
}

impl Node {
    fn child(&self, key: &str) -> Option<&Self> {
        self.children.iter().find(|(name, _)| **name == *key).map(|(_, node)| node)
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

impl Paths {
    /// Paths with the tasks at `task`.
    pub fn new(task: &[String]) -> Self {
        let mut paths = Self::default();
        paths.whole.at(task).is_task = true;
        paths
    }

    /// Looks for `field` at `pointer`: from the root for fields of the envelope, from the task for
    /// the others.
    pub fn add(&mut self, field: FieldName, pointer: &[String]) {
        let envelope = field.is_envelope() && !self.whole.is_task;
        let node = if envelope { &mut self.whole } else { &mut self.element };
        node.at(pointer).fields.push(field);
    }

    /// Reads `body` once. Of the elements of an array only those are kept whose ID is `wanted`, so
    /// that an answer cannot make us keep more than we asked for.
    ///
    /// # Errors
    /// When the body is not one JSON value, or nested deeper than 128.
    pub fn extract<'de>(
        &self,
        body: &'de [u8],
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Extract<'de>, String> {
        // Some gateways send a byte-order mark, which JSON's readers may ignore.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if too_deep(body) {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let mut envelope = Row::default();
        let mut sink = Sink { element: &self.element, wanted, tasks: Tasks::Missing };
        let mut json = serde_json::Deserializer::from_slice(body);
        Walk { node: &self.whole, row: &mut envelope, sink: Some(&mut sink) }
            .deserialize(&mut json)
            .and_then(|()| json.end())
            .map_err(|error| format!("line {} column {}", error.line(), error.column()))?;
        Ok(Extract { envelope, tasks: sink.tasks })
    }
}

/// Whether a value is nested deeper than [`MAX_DEPTH`]: serde_json counts only where it is asked
/// to look inside, and skips the rest however deep.
fn too_deep(body: &[u8]) -> bool {
    let opening = body.iter().filter(|byte| matches!(byte, b'[' | b'{')).count();
    if opening <= MAX_DEPTH {
        return false;
    }
    let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
    for byte in body {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return true;
        }
    }
    false
}

/// Collects the tasks of a body.
struct Sink<'s, 'de> {
    element: &'s Node,
    wanted: &'s dyn Fn(&str) -> bool,
    tasks: Tasks<'de>,
}

/// Visits one value with the part of the trie that is left for it.
struct Walk<'w, 's, 'de> {
    node: &'w Node,
    row: &'w mut Row<'de>,
    sink: Option<&'w mut Sink<'s, 'de>>,
}

impl<'de> Walk<'_, '_, 'de> {
    fn scalar(self, found: &Found<'de>, kind: &'static str) {
        for field in &self.node.fields {
            self.row.set(*field, found.clone());
        }
        if let (true, Some(sink)) = (self.node.is_task, self.sink) {
            sink.tasks = match found {
                Found::Null => Tasks::Null,
                _ => Tasks::Other(kind),
            };
        }
    }

    fn text(self, text: Cow<'de, str>, kind: &'static str) {
        self.scalar(&Found::Text(text), kind);
    }
}

impl<'de> DeserializeSeed<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Walk<'_, '_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any JSON value")
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.scalar(&Found::Null, "null");
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        self.scalar(&Found::Other("a boolean"), "a boolean");
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.text(itoa::Buffer::new().format(value).to_owned().into(), "a number");
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.text(itoa::Buffer::new().format(value).to_owned().into(), "a number");
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.text(value.to_string().into(), "a number");
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.text(value.to_owned().into(), "a string");
        Ok(())
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<(), E> {
        self.text(value.into(), "a string");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        if let (true, Some(sink)) = (self.node.is_task, self.sink.as_deref_mut()) {
            return sink.elements(seq);
        }
        for field in &self.node.fields {
            self.row.set(*field, Found::Other("an array"));
        }
        for index in 0_usize.. {
            let more = match self.node.child(itoa::Buffer::new().format(index)) {
                Some(node) => seq
                    .next_element_seed(Walk {
                        node,
                        row: self.row,
                        sink: self.sink.as_deref_mut(),
                    })?
                    .is_some(),
                None => seq.next_element::<IgnoredAny>()?.is_some(),
            };
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        if let (true, Some(sink)) = (self.node.is_task, self.sink.as_deref_mut()) {
            let mut row = Row::default();
            Walk { node: sink.element, row: &mut row, sink: None }.visit_map(map)?;
            sink.tasks = Tasks::One(row);
            return Ok(());
        }
        for field in &self.node.fields {
            self.row.set(*field, Found::Other("an object"));
        }
        while let Some(child) = map.next_key_seed(Key(self.node))? {
            match child {
                Some(node) => map.next_value_seed(Walk {
                    node,
                    row: self.row,
                    sink: self.sink.as_deref_mut(),
                })?,
                None => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> Sink<'_, 'de> {
    fn elements<A: SeqAccess<'de>>(&mut self, mut seq: A) -> Result<(), A::Error> {
        let (mut wanted, mut named, mut unnamed) = (Vec::<Row<'de>>::new(), false, false);
        loop {
            let mut row = Row::default();
            let walk = Walk { node: self.element, row: &mut row, sink: None };
            if seq.next_element_seed(walk)?.is_none() {
                break;
            }
            match row.get(FieldName::Id) {
                Found::Text(id) => {
                    named = true;
                    let told = |kept: &Row<'_>| kept.get(FieldName::Id) == row.get(FieldName::Id);
                    // The first of a task's elements counts; a million more take no space.
                    if (self.wanted)(id) && !wanted.iter().any(told) {
                        wanted.push(row);
                    }
                }
                Found::Missing | Found::Null | Found::Other(_) => unnamed = true,
            }
        }
        let unnamed = unnamed && !named;
        self.tasks = Tasks::Many { wanted, unnamed };
        Ok(())
    }
}

/// Finds the child that a key leads to, without keeping the key.
struct Key<'w>(&'w Node);

impl<'de, 'w> DeserializeSeed<'de> for Key<'w> {
    type Value = Option<&'w Node>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'w> Visitor<'_> for Key<'w> {
    type Value = Option<&'w Node>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        Ok(self.0.child(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(body: &str) -> Result<Found<'_>, String> {
        let mut paths = Paths::new(&["data".to_owned()]);
        paths.add(FieldName::Status, &["status".to_owned()]);
        paths.add(FieldName::Code, &["code".to_owned()]);
        let extract = paths.extract(body.as_bytes(), &|_| true)?;
        match extract.tasks {
            Tasks::One(row) => Ok(row.get(FieldName::Status).clone()),
            other => Err(format!("{other:?}")),
        }
    }

    #[test]
    fn one_pass_finds_what_is_there() {
        let text = |text: &'static str| Ok(Found::Text(text.into()));
        assert_eq!(status(r#"{"data": {"x": [{}], "status": "a"}, "code": 0}"#), text("a"));
        assert_eq!(status("\u{feff}{\"data\": {\"status\": 7}}"), text("7"));
        assert_eq!(status(r#"{"data": {"status": "a\u00e9"}}"#), text("aé"));
        // As JSON's readers mostly do, the last of two wins.
        assert_eq!(status(r#"{"data": {"status": "a", "status": "b"}}"#), text("b"));
        assert_eq!(status(r#"{"data": {"status": "a"}, "data": {}}"#), Ok(Found::Missing));
        assert_eq!(status(r#"{"data": {"status": {}}}"#), Ok(Found::Other("an object")));
        for broken in ["", "{", "{}}", "nil", "{\"data\": {}} x"] {
            assert!(status(broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn depth_is_bounded_wherever_it_is() {
        let nested = |depth: usize| {
            let (open, close) = ("[".repeat(depth), "]".repeat(depth));
            format!(r#"{{"data": {{"status": "[[[["}}, "skipped": {open}{close}}}"#)
        };
        assert!(status(&nested(MAX_DEPTH - 1)).is_ok());
        assert!(status(&nested(MAX_DEPTH)).is_err());
    }

    #[test]
    fn an_answer_cannot_make_us_keep_a_task_twice() {
        let mut paths = Paths::new(&[]);
        paths.add(FieldName::Id, &["id".to_owned()]);
        paths.add(FieldName::Status, &["status".to_owned()]);
        let body = r#"[{"id":"a","status":1},{"id":"a","status":2},{"id":"b"},{"id":"c"}]"#;
        let extract = paths.extract(body.as_bytes(), &|id| id != "c").unwrap();
        let Tasks::Many { wanted, .. } = extract.tasks else { panic!("{:?}", extract.tasks) };
        let told = wanted.iter().map(|row| [FieldName::Id, FieldName::Status].map(|f| row.get(f)));
        let text = |text: &'static str| Found::Text(text.into());
        let expected = [[&text("a"), &text("1")], [&text("b"), &Found::Missing]];
        assert_eq!(told.collect::<Vec<_>>(), expected);
    }

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
