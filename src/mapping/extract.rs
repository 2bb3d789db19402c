//! One pass over a body: what stands where the paths of a mapping lead.

use std::borrow::Cow;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::path::{MAX_DEPTH, Node, Paths, Target};
use super::row::{A_BOOLEAN, FieldName, Found, Row};

/// The value at the place of the tasks.
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
        /// True where there are elements and none has a readable ID.
        unnamed: bool,
    },
}

/// All that a mapping looked for in one body.
#[derive(Debug, Default)]
pub struct Extract<'de> {
    /// Code, message and the like, which are looked for from the top.
    pub envelope: Row<'de>,
    /// The tasks.
    pub tasks: Tasks<'de>,
    /// The end of the part that was read.
    pub end: End,
}

/// The end of the part of a body that was read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum End {
    /// The end of the body.
    #[default]
    Whole,
    /// A place before or behind the tasks.
    Outside,
    /// A place in the task, or in the array of tasks.
    InTasks,
}

impl Paths {
    /// Reads `body` once. Where it `is_cut`, it is the beginning of one, and what stands whole in it
    /// counts. Of the elements of an array only those are kept whose ID is `wanted`, so that an
    /// answer cannot make us keep more than we asked for.
    ///
    /// # Errors
    /// When the body is not one JSON value, or the beginning of one, or nested deeper than 128.
    pub fn extract<'de>(
        &self,
        body: &'de [u8],
        is_cut: bool,
        wanted: &dyn Fn(&str) -> bool,
    ) -> Result<Extract<'de>, String> {
        // Some gateways send a byte-order mark, which JSON's readers may ignore.
        let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
        if too_deep(body) {
            return Err(format!("nested deeper than {MAX_DEPTH}"));
        }
        let body = if is_cut { without_last_number(body) } else { body };
        let mut collector = Collector {
            paths: self,
            wanted,
            envelope: Row::default(),
            task: Row::default(),
            tasks: Tasks::Missing,
            is_in_tasks: false,
        };
        let mut json = serde_json::Deserializer::from_slice(body);
        let read = Walk { whole: Some(&self.whole), element: None, collector: &mut collector }
            .deserialize(&mut json)
            .and_then(|()| json.end());
        let end = match read {
            Ok(()) => End::Whole,
            Err(error) if is_cut && error.is_eof() && collector.is_in_tasks => End::InTasks,
            Err(error) if is_cut && error.is_eof() => End::Outside,
            Err(error) => return Err(format!("line {} column {}", error.line(), error.column())),
        };
        Ok(Extract { envelope: collector.envelope, tasks: collector.tasks, end })
    }

    /// The ID in a row, as far as it counts.
    pub fn id<'r>(&self, row: &'r Row<'_>) -> Option<&'r str> {
        let Found::Text(text) = row.get(FieldName::Id) else { return None };
        let id = match &self.id_until {
            Some(until) => text.split(&**until).next().unwrap_or_default(),
            None => text,
        };
        (!id.trim().is_empty()).then_some(id)
    }
}

/// The beginning of a body without a number at its end, which may lack digits.
fn without_last_number(body: &[u8]) -> &[u8] {
    let is_of_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E');
    let end = body.iter().rposition(|byte| !is_of_number(byte)).map_or(0, |last| last + 1);
    body.get(..end).unwrap_or_default()
}

/// Reports whether a value is nested deeper than [`MAX_DEPTH`]: serde_json counts only where it is
/// asked to look inside, and skips the rest however deep.
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

/// Collects what a body holds.
struct Collector<'p, 'de> {
    paths: &'p Paths,
    wanted: &'p dyn Fn(&str) -> bool,
    envelope: Row<'de>,
    /// The task that is being read.
    task: Row<'de>,
    tasks: Tasks<'de>,
    /// True while the reader is within the tasks.
    is_in_tasks: bool,
}

/// Visits one value with the paths that lead through it.
struct Walk<'w, 'p, 'de> {
    /// From the top.
    whole: Option<&'p Node>,
    /// From the task.
    element: Option<&'p Node>,
    collector: &'w mut Collector<'p, 'de>,
}

impl<'de> Walk<'_, '_, 'de> {
    fn is_task(&self) -> bool {
        self.whole.is_some_and(|node| node.is_task)
    }

    fn set(&mut self, found: &Found<'de>) {
        let Collector { envelope, task, .. } = &mut *self.collector;
        for (node, row) in [(self.whole, envelope), (self.element, task)] {
            for Target { field, rank } in node.into_iter().flat_map(|node| &node.targets) {
                row.set(*field, *rank, found.clone());
            }
        }
    }

    fn scalar(mut self, found: &Found<'de>, kind: &'static str) {
        self.set(found);
        if self.is_task() {
            self.collector.tasks = match found {
                Found::Null => Tasks::Null,
                _ => Tasks::Other(kind),
            };
        }
    }

    fn text(self, text: Cow<'de, str>, kind: &'static str) {
        self.scalar(&Found::Text(text), kind);
    }

    /// Visits the entries of an object.
    fn entries<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        self.set(&Found::Other("an object"));
        let Self { whole, element, collector } = self;
        while let Some((whole, element)) = map.next_key_seed(Key { whole, element })? {
            if whole.is_none() && element.is_none() {
                map.next_value::<IgnoredAny>()?;
            } else {
                map.next_value_seed(Walk { whole, element, collector })?;
            }
        }
        Ok(())
    }

    /// Visits the elements of an array that is not the tasks'.
    fn elements<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
        self.set(&Found::Other("an array"));
        let Self { whole, element, collector } = self;
        for index in 0_usize.. {
            let mut digits = itoa::Buffer::new();
            let Key { whole, element } = Key { whole, element }.child(digits.format(index));
            let is_there = if whole.is_none() && element.is_none() {
                seq.next_element::<IgnoredAny>()?.is_some()
            } else {
                seq.next_element_seed(Walk { whole, element, collector })?.is_some()
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
        self.scalar(&Found::Null, "null");
        Ok(())
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(&Found::Boolean(value), A_BOOLEAN);
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

    fn visit_seq<A: SeqAccess<'de>>(mut self, seq: A) -> Result<(), A::Error> {
        if !self.is_task() {
            return self.elements(seq);
        }
        self.set(&Found::Other("an array"));
        self.collector.tasks(seq, self.whole.filter(|node| !node.is_leaf()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        if !self.is_task() {
            return self.entries(map);
        }
        let Self { whole, collector, .. } = self;
        let element = Some(&collector.paths.element);
        collector.task = Row::default();
        collector.is_in_tasks = true;
        let read = Walk { whole, element, collector }.entries(map);
        // Of a task that is cut as well.
        collector.tasks = Tasks::One(std::mem::take(&mut collector.task));
        collector.is_in_tasks = read.is_err();
        read
    }
}

impl<'p, 'de> Collector<'p, 'de> {
    /// Collects the tasks of an array, which may also hold what `whole` looks for.
    fn tasks<A: SeqAccess<'de>>(
        &mut self,
        mut seq: A,
        whole: Option<&'p Node>,
    ) -> Result<(), A::Error> {
        self.is_in_tasks = true;
        let (mut named, mut unnamed) = (false, false);
        self.tasks = Tasks::Many { wanted: Vec::new(), unnamed };
        for index in 0_usize.. {
            self.task = Row::default();
            let whole = whole.and_then(|node| node.child(itoa::Buffer::new().format(index)));
            let walk = Walk { whole, element: Some(&self.paths.element), collector: self };
            if seq.next_element_seed(walk)?.is_none() {
                break;
            }
            let row = std::mem::take(&mut self.task);
            let id = self.paths.id(&row);
            named |= id.is_some();
            unnamed |= id.is_none();
            if let (Tasks::Many { wanted, unnamed: is_unnamed }, id) = (&mut self.tasks, id) {
                *is_unnamed = unnamed && !named;
                let is_kept = |id| wanted.iter().any(|kept| self.paths.id(kept) == Some(id));
                // The first of a task's elements counts; a million more take no space.
                if id.is_some_and(|id| (self.wanted)(id) && !is_kept(id)) {
                    wanted.push(row);
                }
            }
        }
        self.is_in_tasks = false;
        Ok(())
    }
}

/// Finds the nodes that a key leads to, without keeping the key.
#[derive(Clone, Copy)]
struct Key<'p> {
    whole: Option<&'p Node>,
    element: Option<&'p Node>,
}

impl Key<'_> {
    fn child(self, key: &str) -> Self {
        let child = |node: Option<_>| node.and_then(|node: &Node| node.child(key));
        Self { whole: child(self.whole), element: child(self.element) }
    }
}

impl<'de, 'p> DeserializeSeed<'de> for Key<'p> {
    type Value = (Option<&'p Node>, Option<&'p Node>);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'p> Visitor<'_> for Key<'p> {
    type Value = (Option<&'p Node>, Option<&'p Node>);

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
