//! Elements of a list: as they are written, and as tasks.

use std::borrow::Cow;

use crate::clock::Timestamp;

/// A value of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementValue<'e> {
    /// Text.
    Text(Cow<'e, str>),
    /// A number of JSON, as it is written.
    Number(Cow<'e, str>),
    /// Any other value, in words.
    Other(&'static str),
}

/// The enqueue time of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementTime<'e> {
    /// A value to be parsed: RFC 3339, or seconds since the Unix epoch.
    Unparsed(ElementValue<'e>),
    /// A time that was parsed in another format.
    Parsed(Result<Option<Timestamp>, &'static str>),
}

/// An element as it is written, without its ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawProperties<'e> {
    /// The name of the provider.
    pub provider: Option<ElementValue<'e>>,
    /// Labels, and the params and the enqueue time that are written as labels; a later one of the same
    /// name overrides an earlier one.
    pub labels: Vec<(Cow<'e, str>, ElementValue<'e>)>,
    /// Params; these override labels of the name `__param_…`.
    pub params: Vec<(Cow<'e, str>, ElementValue<'e>)>,
    /// The enqueue time; overrides the label `__enqueue_time__`.
    pub enqueue_time: Option<ElementTime<'e>>,
}
