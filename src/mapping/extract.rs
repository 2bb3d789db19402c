//! Extraction of the fields of a mapping from a body, in one pass.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::fields::{A_BOOLEAN, FieldName, FieldValue, Fields};
use super::paths::{MAX_DEPTH, PathNode, Paths, RankedField};

/// Value at the path of the tasks.
#[derive(Debug, Default)]
#[expect(
    clippy::large_enum_variant,
    reason = "one a body, on the stack; a box would be an allocation a poll"
)]
pub enum ExtractedTasks<'de> {
    /// Nothing.
    #[default]
    Missing,
    /// `null`.
    Null,
    /// Neither an object nor an array.
    Other(&'static str),
    /// One task.
    One(Fields<'de>),
    /// An array of tasks.
    Many {
        /// The tasks with a wanted ID.
        wanted: Vec<Fields<'de>>,
        /// True if the array has elements, none of them with a readable ID.
        unnamed: bool,
        /// True where an element is of a task that was not wanted.
        has_others: bool,
    },
}

/// All fields of a mapping in one body.
#[derive(Debug, Default)]
pub struct Extract<'de> {
    /// Fields of the envelope.
    pub envelope: Fields<'de>,
    /// Value at the path of the tasks.
    pub tasks: ExtractedTasks<'de>,
    /// End of the part that was read.
    pub end: ReadEnd,
    /// True if a word is a number that may have lost digits.
    pub has_rounded: bool,
}

/// End of the part of a body that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadEnd {
    /// End of the body.
    #[default]
    Whole,
    /// Before or after the tasks.
    Outside,
    /// Within the task, or the array of tasks.
    InTasks,
}

impl Paths {
    /// Extracts the fields from `body` in one pass. If the body `is_truncated`, the values that are
    /// complete in it count. Elements of an array are kept only if their ID `is_wanted`, so that a
    /// response cannot use more memory than the request asked for.
    ///
    /// # Errors
    /// Fails when the body is not one JSON value, or the beginning of one, or nested deeper than 128.
    pub fn extract<'de>(
        &self,
        body: &'de [u8],
        is_truncated: bool,
        is_wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Extract<'de>, String> {
        self.extract_with(body, is_truncated, is_wanted, &mut |_| {})
    }

    /// Gives each element of the array of tasks to `each`, in the order of the body.
    ///
    /// # Errors
    /// Fails as [`Self::extract`]; then `each` may have been given some elements.
    pub fn for_each_task<'de>(
        &self,
        body: &'de [u8],
        each: &mut dyn FnMut(&Fields<'de>),
    ) -> Result<(), String> {
        self.extract_with(body, false, &|_| false, each).map(|_| ())
    }

    fn extract_with<'de>(
        &self,
        body: &'de [u8],
        is_truncated: bool,
        is_wanted: &dyn Fn(&str) -> bool,
        each: &mut dyn FnMut(&Fields<'de>),
    ) -> Result<Extract<'de>, String> {
        // Some gateways send a byte-order mark, which RFC 8259 allows parsers to ignore.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if too_deep(body) {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let body = if is_truncated { without_last_number(body) } else { body };
        let mut extractor = Extractor {
            paths: self,
            is_wanted,
            each,
            envelope: Fields::default(),
            task: Fields::default(),
            tasks: ExtractedTasks::Missing,
            is_in_tasks: false,
            has_rounded: false,
        };
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = Walk { whole: Some(&self.whole), element: None, extractor: &mut extractor }
            .deserialize(&mut json)
            .and_then(|()| json.end());
        let end = match read {
            Ok(()) => ReadEnd::Whole,
            Err(error) if is_truncated && error.is_eof() && extractor.is_in_tasks => {
                ReadEnd::InTasks
            }
            Err(error) if is_truncated && error.is_eof() => ReadEnd::Outside,
            Err(error) => return Err(format!("line {} column {}", error.line(), error.column())),
        };
        let Extractor { envelope, tasks, has_rounded, .. } = extractor;
        Ok(Extract { envelope, tasks, end, has_rounded })
    }

    /// Returns the ID of a task, up to `id_until`; `None` if it is blank.
    pub fn id<'t>(&self, task: &'t Fields<'_>) -> Option<&'t str> {
        let FieldValue::Text(text) = task.get(FieldName::Id) else { return None };
        let id = match &self.id_until {
            Some(until) => text.split(&**until).next().unwrap_or_default(),
            None => text,
        };
        (!id.trim().is_empty()).then_some(id)
    }
}

/// Returns a truncated body without a number at its end, which may lack digits.
fn without_last_number(body: &[u8]) -> &[u8] {
    let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let end = body.iter().rposition(|byte| !is_of_number(byte)).map_or(0, |last| last + 1);
    body.get(..end).unwrap_or_default()
}

/// Reports whether a value is nested deeper than [`MAX_DEPTH`]: serde_json counts only the levels of
/// values that are deserialized, and skips the others however deep they are.
pub fn too_deep(body: &[u8]) -> bool {
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

/// State of an extraction.
struct Extractor<'p, 'de> {
    paths: &'p Paths,
    is_wanted: &'p dyn Fn(&str) -> bool,
    /// Receiver of the elements of the array of tasks.
    each: &'p mut dyn FnMut(&Fields<'de>),
    envelope: Fields<'de>,
    /// Fields of the current task.
    task: Fields<'de>,
    tasks: ExtractedTasks<'de>,
    /// True while the current value is within the tasks.
    is_in_tasks: bool,
    /// True once a word has been read as a float.
    has_rounded: bool,
}

/// Visitor of one value, with the trie nodes that lead to it.
struct Walk<'w, 'p, 'de> {
    /// Node from the top of the body.
    whole: Option<&'p PathNode<RankedField>>,
    /// Node from the task.
    element: Option<&'p PathNode<RankedField>>,
    extractor: &'w mut Extractor<'p, 'de>,
}

impl<'de> Walk<'_, '_, 'de> {
    fn is_task(&self) -> bool {
        self.whole.is_some_and(|node| node.is_task)
    }

    fn set(&mut self, value: &FieldValue<'de>) {
        let Extractor { envelope, task, .. } = &mut *self.extractor;
        for (node, fields) in [(self.whole, envelope), (self.element, task)] {
            for RankedField { name, rank } in node.into_iter().flat_map(|node| &node.fields) {
                fields.set(*name, *rank, value.clone());
            }
        }
    }

    fn scalar(mut self, value: &FieldValue<'de>, kind: &'static str) {
        self.set(value);
        if self.is_task() {
            self.extractor.tasks = match value {
                FieldValue::Null => ExtractedTasks::Null,
                _ => ExtractedTasks::Other(kind),
            };
        }
    }

    fn text(self, text: Cow<'de, str>, kind: &'static str) {
        self.scalar(&FieldValue::Text(text), kind);
    }

    /// Visits the entries of an object.
    fn entries<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.set(&FieldValue::Other("an object"));
        let Self { whole, element, extractor } = self;
        while let Some((whole, element)) = map.next_key_seed(KeySeed { whole, element })? {
            if whole.is_none() && element.is_none() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Walk { whole, element, extractor })?;
            }
        }
        Ok(())
    }

    /// Visits the elements of an array other than that of the tasks.
    fn elements<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.set(&FieldValue::Other("an array"));
        let Self { whole, element, extractor } = self;
        for index in 0_usize.. {
            let mut digits = itoa::Buffer::new();
            let KeySeed { whole, element } = KeySeed { whole, element }.child(digits.format(index));
            let is_there = if whole.is_none() && element.is_none() {
                seq.next_element::<IgnoredAny>()?.is_some()
            } else {
                seq.next_element_seed(Walk { whole, element, extractor })?.is_some()
            };
            if !is_there {
                break;
            }
        }
        Ok(())
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
        self.scalar(&FieldValue::Null, "null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(&FieldValue::Boolean(value), A_BOOLEAN);
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
        let nodes = [self.whole, self.element].into_iter().flatten();
        let is_word = nodes.flat_map(|node| &node.fields).any(|field| !field.name.is_quantity());
        self.extractor.has_rounded |= is_word;
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, seq: A) -> Result<(), A::Error> {
        if !self.is_task() {
            return self.elements(seq);
        }
        self.set(&FieldValue::Other("an array"));
        self.extractor.tasks(seq, self.whole.filter(|node| !node.is_leaf()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if !self.is_task() {
            return self.entries(map);
        }
        let Self { whole, extractor, .. } = self;
        let element = Some(&extractor.paths.element);
        extractor.task = Fields::default();
        extractor.is_in_tasks = true;
        let read = Walk { whole, element, extractor }.entries(map);
        // Also if the task is truncated.
        extractor.tasks = ExtractedTasks::One(std::mem::take(&mut extractor.task));
        extractor.is_in_tasks = read.is_err();
        read
    }
}

impl<'p, 'de> Extractor<'p, 'de> {
    /// Visits the tasks of an array, which may also contain fields of the envelope.
    fn tasks<A: SeqAccess<'de>>(
        &mut self,
        mut seq: A,
        whole: Option<&'p PathNode<RankedField>>,
    ) -> Result<(), A::Error> {
        self.is_in_tasks = true;
        let (mut named, mut unnamed) = (false, false);
        self.tasks = ExtractedTasks::Many { wanted: Vec::new(), unnamed, has_others: false };
        for index in 0_usize.. {
            self.task = Fields::default();
            let whole = whole.and_then(|node| node.child(itoa::Buffer::new().format(index)));
            let walk = Walk { whole, element: Some(&self.paths.element), extractor: self };
            if seq.next_element_seed(walk)?.is_none() {
                break;
            }
            let task = std::mem::take(&mut self.task);
            (self.each)(&task);
            let id = self.paths.id(&task);
            named |= id.is_some();
            unnamed |= id.is_none();
            if let (ExtractedTasks::Many { wanted, unnamed: is_unnamed, has_others }, id) =
                (&mut self.tasks, id)
            {
                *is_unnamed = unnamed && !named;
                *has_others |= id.is_some_and(|id| !(self.is_wanted)(id));
                let Some(id) = id.filter(|id| (self.is_wanted)(id)) else { continue };
                match wanted.iter_mut().find(|kept| self.paths.id(kept) == Some(id)) {
                    // A million more take no memory.
                    Some(kept) => kept.merge_status(&task),
                    None => wanted.push(task),
                }
            }
        }
        self.is_in_tasks = false;
        Ok(())
    }
}

/// Visitor of a key, which finds the nodes below it without keeping the key.
#[derive(Clone, Copy)]
struct KeySeed<'p> {
    whole: Option<&'p PathNode<RankedField>>,
    element: Option<&'p PathNode<RankedField>>,
}

impl KeySeed<'_> {
    fn child(self, key: &str) -> Self {
        let child = |node: Option<_>| node.and_then(|node: &PathNode<RankedField>| node.child(key));
        Self { whole: child(self.whole), element: child(self.element) }
    }
}

impl<'de, 'p> DeserializeSeed<'de> for KeySeed<'p> {
    type Value = (Option<&'p PathNode<RankedField>>, Option<&'p PathNode<RankedField>>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for KeySeed<'p> {
    type Value = (Option<&'p PathNode<RankedField>>, Option<&'p PathNode<RankedField>>);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_str<E>(self, key: &str) -> Result<Self::Value, E> {
        let Self { whole, element } = self.child(key);
        Ok((whole, element))
    }
}

#[cfg(test)]
mod tests;
