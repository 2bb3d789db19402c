//! Collects the tasks of a list, element by element.

use std::fmt;
use std::sync::Arc;

use super::element::{
    ElementDefaults, ElementError, ElementResolver, ElementValue, RawProperties, TaskProperties,
    Ttl,
};
use super::list::{ListedTask, RefreshError, RejectedElement, Rejections, SourceList};
use crate::clock::Timestamp;
use crate::config::discovery::SourceConfig;
use crate::config::{LabelLimits, Provider};
use crate::observation::Reason;
use crate::printable::excerpt;
use crate::task::TaskIndex;

/// Maximum length of an element in a message, in characters.
const MAX_EXCERPT_CHARS: usize = 80;

/// The position of an element in a list, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElementPosition {
    /// The number of the element.
    Element(usize),
    /// The number of the element, and of a target within it.
    Target(usize, usize),
    /// The number of the line.
    Line(usize),
    /// The number of the row of a result.
    Row(usize),
}

impl ElementPosition {
    /// Returns the number of the element, the line or the row, from 0.
    const fn index(self) -> usize {
        match self {
            Self::Element(number)
            | Self::Target(number, _)
            | Self::Line(number)
            | Self::Row(number) => number.saturating_sub(1),
        }
    }
}

impl fmt::Display for ElementPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Element(element) => write!(f, "element {element}"),
            Self::Target(element, target) => write!(f, "element {element}, target {target}"),
            Self::Line(line) => write!(f, "line {line}"),
            Self::Row(row) => write!(f, "row {row}"),
        }
    }
}

/// The properties of elements, or the reason why they have none.
pub type ElementProperties<'r> = Result<TaskProperties<'r>, ElementError>;

/// The parts of a list of registrations beside its tasks.
#[derive(Debug, Default)]
pub struct RegistrationDetails {
    /// For each task, the index of its element, and the time for which the registration lasts.
    pub tasks: Vec<(usize, Ttl)>,
    /// Every element, or target of one, that is no task: its index, and what is wrong with it.
    pub rejected: Vec<(usize, String)>,
}

/// A list that is being read.
pub struct ListBuilder<'r> {
    resolver: ElementResolver<'r>,
    /// The name of the list in messages, where a source has several.
    name: Option<&'r str>,
    /// The properties of elements that are nothing but an ID.
    bare: ElementProperties<'r>,
    tasks: Vec<ListedTask>,
    index: TaskIndex,
    rejected: Rejections,
    elements: usize,
    max_elements: usize,
    /// Present if the elements are registrations.
    registrations: Option<RegistrationDetails>,
}

impl<'r> ListBuilder<'r> {
    /// Returns an empty list of `source` that is read at `now`, in a configuration with `providers`,
    /// and that may have `max_elements` elements.
    pub fn new(
        source: &'r SourceConfig,
        providers: &'r [Arc<Provider>],
        limits: LabelLimits,
        now: Timestamp,
        max_elements: usize,
    ) -> Self {
        let (provider, labels) = (source.provider.as_deref(), Arc::clone(&source.labels));
        let defaults = ElementDefaults { provider, labels, ttl: None };
        Self::with(ElementResolver::new(defaults, providers, limits, now), max_elements)
    }

    /// Returns an empty list of registrations, which may have `max_elements` elements.
    pub fn of_registrations(resolver: ElementResolver<'r>, max_elements: usize) -> Self {
        let registrations = Some(RegistrationDetails::default());
        Self { registrations, ..Self::with(resolver, max_elements) }
    }

    fn with(mut resolver: ElementResolver<'r>, max_elements: usize) -> Self {
        let bare = resolver.properties(&RawProperties::default());
        Self {
            resolver,
            name: None,
            bare,
            tasks: Vec::new(),
            index: TaskIndex::default(),
            rejected: Rejections::default(),
            elements: 0,
            max_elements,
            registrations: None,
        }
    }

    /// Names the list in messages.
    #[must_use]
    pub fn with_name(self, name: &'r str) -> Self {
        Self { name: Some(name), ..self }
    }

    /// Names the part of the list from here on in messages.
    pub const fn set_name(&mut self, name: &'r str) {
        self.name = Some(name);
    }

    /// Validates the properties of elements.
    ///
    /// # Errors
    /// Fails when no task can have them.
    pub fn properties(&mut self, raw: &RawProperties<'_>) -> ElementProperties<'r> {
        self.resolver.properties(raw)
    }

    /// Adds an element that is nothing but an ID.
    ///
    /// # Errors
    /// The list has too many elements.
    pub fn add_bare(
        &mut self,
        position: ElementPosition,
        id: &ElementValue<'_>,
    ) -> Result<(), RefreshError> {
        let properties = self.bare.clone();
        self.add(position, id, &properties)
    }

    /// Adds an element with an ID and its properties.
    ///
    /// # Errors
    /// The list has too many elements.
    pub fn add(
        &mut self,
        position: ElementPosition,
        id: &ElementValue<'_>,
        properties: &ElementProperties<'r>,
    ) -> Result<(), RefreshError> {
        self.count()?;
        match self.resolver.task(id, properties.as_ref()) {
            Ok(listed) => {
                let ttl = properties.as_ref().map(|properties| properties.ttl);
                self.insert(listed, position, ttl.unwrap_or_default());
            }
            Err(error) => {
                let text = match id {
                    ElementValue::Text(text) | ElementValue::Number(text) => text,
                    ElementValue::Null => "null",
                    ElementValue::Other(kind) => kind,
                };
                self.add_rejected(position, text, &error);
            }
        }
        Ok(())
    }

    /// Adds an element without an ID. `text` is the element as it is written.
    ///
    /// # Errors
    /// The list has too many elements.
    pub fn reject(
        &mut self,
        position: ElementPosition,
        text: &str,
        error: &ElementError,
    ) -> Result<(), RefreshError> {
        self.count()?;
        self.add_rejected(position, text, error);
        Ok(())
    }

    /// Counts an element that lists nothing.
    ///
    /// # Errors
    /// The list has too many elements.
    pub fn count(&mut self) -> Result<(), RefreshError> {
        if self.elements >= self.max_elements {
            let message = format!("more than {} elements", self.max_elements);
            return Err(RefreshError::new(Reason::TooLarge, message));
        }
        self.elements += 1;
        Ok(())
    }

    /// Returns the number of elements so far.
    pub const fn elements(&self) -> usize {
        self.elements
    }

    /// Returns the registrations: their tasks, and the rest of the list.
    pub fn finish_registrations(self) -> (Vec<ListedTask>, RegistrationDetails) {
        (self.tasks, self.registrations.unwrap_or_default())
    }

    /// Returns the list.
    pub fn finish(self) -> SourceList {
        let (tasks, rejected) = (self.tasks, self.rejected);
        SourceList { tasks, rejected, ..SourceList::default() }
    }

    fn insert(&mut self, listed: ListedTask, position: ElementPosition, ttl: Ttl) {
        if self.index.find(&listed.task, &self.tasks).is_none() {
            self.index.insert(self.tasks.len(), &listed.task, &self.tasks);
            self.tasks.push(listed);
            if let Some(registrations) = &mut self.registrations {
                registrations.tasks.push((position.index(), ttl));
            }
        }
    }

    fn add_rejected(&mut self, position: ElementPosition, text: &str, error: &ElementError) {
        let ElementError { reason, message } = error;
        if let Some(registrations) = &mut self.registrations {
            let message = match position {
                ElementPosition::Target(_, target) => format!("target {target}: {message}"),
                ElementPosition::Element(_)
                | ElementPosition::Line(_)
                | ElementPosition::Row(_) => message.clone(),
            };
            return registrations.rejected.push((position.index(), message));
        }
        let name = self.name;
        self.rejected.add(*reason, || RejectedElement {
            element: excerpt(text, MAX_EXCERPT_CHARS),
            reason: *reason,
            message: match name {
                Some(name) => format!("{name}: {position}: {message}"),
                None => format!("{position}: {message}"),
            },
        });
    }
}
