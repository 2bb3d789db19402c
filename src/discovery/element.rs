//! Elements of a list: as they are written, and as tasks.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::Offset;

use super::list::{ListedTask, RejectReason};
use crate::clock::Timestamp;
use crate::config::task_rules::check_value;
use crate::config::{LabelLimits, Provider};
use crate::duration;
use crate::mapping::time::TimeFormat;
use crate::printable::excerpt;
use crate::task::{Labels, Task, TaskCommon};

/// The label that names the provider.
const PROVIDER: &str = "provider";
/// The label with the enqueue time.
const ENQUEUE_TIME: &str = "__enqueue_time__";
/// The prefix of labels that are params.
const PARAM: &str = "__param_";
/// The prefix of labels that Prometheus keeps for itself.
const RESERVED: &str = "__";
/// Maximum length of a name in a message, in characters.
const MAX_NAME_CHARS: usize = 80;

/// A value of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementValue<'e> {
    /// Text.
    Text(Cow<'e, str>),
    /// A number of JSON, as it is written.
    Number(Cow<'e, str>),
    /// Nothing, as a value.
    Null,
    /// Any other value, in words.
    Other(&'static str),
}

impl ElementValue<'_> {
    /// Returns the text.
    ///
    /// # Errors
    /// The end of a sentence that names the value.
    fn text(&self) -> Result<&str, String> {
        Err(format!(
            "must be text, not {}",
            match self {
                ElementValue::Text(text) => return Ok(text),
                ElementValue::Number(_) => "a number",
                ElementValue::Null => "null",
                ElementValue::Other(kind) => kind,
            }
        ))
    }
}

/// The enqueue time of an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ElementTime<'e> {
    /// A value to be parsed: RFC 3339, or seconds since the Unix epoch.
    Unparsed(ElementValue<'e>),
    /// The outcome of parsing it in another format.
    Parsed(Result<Option<Timestamp>, &'static str>),
}

/// An element as it is written, without its ID.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawProperties<'e> {
    /// The name of the provider.
    pub provider: Option<ElementValue<'e>>,
    /// Labels, including those that hold the provider, params and the enqueue time. Of several with
    /// one name the last counts.
    pub labels: Vec<(Cow<'e, str>, ElementValue<'e>)>,
    /// Params, which override those among the labels. Of several with one name the last counts.
    pub params: Vec<(Cow<'e, str>, ElementValue<'e>)>,
    /// The enqueue time, which overrides that among the labels.
    pub enqueue_time: Option<ElementTime<'e>>,
    /// The time for which a registration lasts.
    pub ttl: Option<ElementValue<'e>>,
}

/// The reason why an element is no task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ElementError {
    /// The kind of the reason.
    pub reason: RejectReason,
    /// The message, without the position of the element.
    pub message: String,
}

impl ElementError {
    /// Creates an error.
    pub fn new(reason: RejectReason, message: impl Into<String>) -> Self {
        Self { reason, message: message.into() }
    }
}

/// The validated properties of elements, without their IDs.
#[derive(Clone, Debug)]
pub struct TaskProperties<'r> {
    provider: &'r Provider,
    common: Arc<TaskCommon>,
    enqueue_time: Option<Timestamp>,
    /// The time for which a registration lasts; zero in lists of sources, which have none.
    pub ttl: Ttl,
}

/// The properties that elements have if they do not name others.
#[derive(Clone, Debug, Default)]
pub struct ElementDefaults<'r> {
    /// The provider.
    pub provider: Option<&'r str>,
    /// Labels, which those of an element override.
    pub labels: Labels,
    /// The rule for the time for which a registration lasts. In lists of sources there is none, and the
    /// elements' own time is ignored.
    pub ttl: Option<TtlRule>,
}

/// The time for which a registration lasts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ttl {
    /// The time.
    pub duration: Duration,
    /// True if the application named a longer one.
    pub is_cut: bool,
}

/// The rule for the time for which registrations last.
#[derive(Clone, Copy, Debug)]
pub struct TtlRule {
    /// The time of those that name none.
    pub default: Duration,
    /// The longest time.
    pub max: Duration,
}

impl TtlRule {
    fn parse(self, value: Option<&ElementValue<'_>>) -> Result<Ttl, ElementError> {
        let error = |wrong: &str| {
            let message = format!("the ttl is invalid: {}", wrong.replace('\n', ": "));
            ElementError::new(RejectReason::Time, message)
        };
        let duration = match value {
            None | Some(ElementValue::Null) => self.default,
            Some(value) => {
                let text = value.text().map_err(|wrong| error(&wrong))?;
                duration::parse(text).map_err(|wrong| error(&wrong))?
            }
        };
        if duration.is_zero() {
            return Err(error("must be greater than zero"));
        }
        Ok(Ttl { duration: duration.min(self.max), is_cut: duration > self.max })
    }
}

/// Makes tasks from the elements of one list.
pub struct ElementResolver<'r> {
    defaults: ElementDefaults<'r>,
    providers: HashMap<&'r str, &'r Provider>,
    limits: LabelLimits,
    now: Timestamp,
    /// Each combination of provider, labels and params, once.
    commons: HashSet<Arc<TaskCommon>>,
}

/// The properties of an element by name.
#[derive(Default)]
struct NamedValues<'v, 'e> {
    provider: Option<&'v ElementValue<'e>>,
    labels: BTreeMap<&'v str, &'v ElementValue<'e>>,
    params: BTreeMap<&'v str, &'v ElementValue<'e>>,
    enqueue_time: Option<&'v ElementValue<'e>>,
}

impl<'v, 'e> NamedValues<'v, 'e> {
    fn new(raw: &'v RawProperties<'e>) -> Self {
        let mut named = Self::default();
        for (name, value) in &raw.labels {
            match &**name {
                PROVIDER => named.provider = Some(value),
                ENQUEUE_TIME => named.enqueue_time = Some(value),
                name => match name.strip_prefix(PARAM) {
                    Some(param) => drop(named.params.insert(param, value)),
                    None if name.starts_with(RESERVED) => {}
                    None => drop(named.labels.insert(name, value)),
                },
            }
        }
        named.params.extend(raw.params.iter().map(|(name, value)| (&**name, value)));
        if let Some(value) = raw.provider.as_ref().filter(|value| **value != ElementValue::Null) {
            named.provider = Some(value);
        }
        named
    }
}

impl<'r> ElementResolver<'r> {
    /// Returns a resolver for a list that is read at `now`, in a configuration with `providers`.
    pub fn new(
        defaults: ElementDefaults<'r>,
        providers: &'r [Arc<Provider>],
        limits: LabelLimits,
        now: Timestamp,
    ) -> Self {
        let providers = providers.iter().map(|provider| (&*provider.name, &**provider)).collect();
        Self { defaults, providers, limits, now, commons: HashSet::new() }
    }

    /// Validates the properties of elements.
    ///
    /// # Errors
    /// The first rule that they break.
    pub fn properties(
        &mut self,
        raw: &RawProperties<'_>,
    ) -> Result<TaskProperties<'r>, ElementError> {
        let named = NamedValues::new(raw);
        let provider = self.provider(named.provider)?;
        let params = params(provider, &named.params)?;
        let labels = self.labels(&named.labels)?;
        let enqueue_time = match &raw.enqueue_time {
            Some(ElementTime::Parsed(parsed)) => parsed.map_err(time_error)?,
            Some(ElementTime::Unparsed(value)) if *value != ElementValue::Null => {
                self.time(value)?
            }
            _ => named.enqueue_time.map(|value| self.time(value)).transpose()?.flatten(),
        };
        let name = Arc::clone(&provider.name);
        let ttl = match self.defaults.ttl {
            Some(rule) => rule.parse(raw.ttl.as_ref())?,
            None => Ttl::default(),
        };
        let common = self.intern(TaskCommon { provider: name, labels, params });
        Ok(TaskProperties { provider, common, enqueue_time, ttl })
    }

    /// Makes the task with an ID and the properties of its element.
    ///
    /// # Errors
    /// The first rule that they break: of the ID as such, of the properties, of the ID at the provider.
    pub fn task(
        &self,
        id: &ElementValue<'_>,
        properties: Result<&TaskProperties<'_>, &ElementError>,
    ) -> Result<ListedTask, ElementError> {
        let invalid =
            |wrong: &str| ElementError::new(RejectReason::Id, format!("a task ID {wrong}"));
        let id = match id {
            ElementValue::Number(digits) => digits,
            other => other.text().map_err(|wrong| invalid(&wrong))?,
        };
        check_value(id).map_err(|violation| invalid(&violation.message))?;
        let TaskProperties { provider, common, enqueue_time, .. } =
            properties.map_err(Clone::clone)?;
        provider.check_id(id).map_err(invalid)?;
        let task = Task { id: id.into(), common: Arc::clone(common) };
        Ok(ListedTask { task, enqueue_time: *enqueue_time })
    }

    fn provider(&self, value: Option<&ElementValue<'_>>) -> Result<&'r Provider, ElementError> {
        let error = |message| ElementError::new(RejectReason::Provider, message);
        let name = match value {
            Some(value) => value.text().map_err(|wrong| error(format!("the provider {wrong}")))?,
            None => self
                .defaults
                .provider
                .ok_or_else(|| error("names no provider, and there is more than one".to_owned()))?,
        };
        let unknown = || error(format!("unknown provider: {}", quote(name)));
        self.providers.get(name).copied().ok_or_else(unknown)
    }

    /// Returns the default labels and those of an element.
    fn labels(&self, own: &BTreeMap<&str, &ElementValue<'_>>) -> Result<Labels, ElementError> {
        if own.is_empty() {
            return Ok(Arc::clone(&self.defaults.labels));
        }
        let mut labels: BTreeMap<&str, &str> =
            self.defaults.labels.iter().map(|(name, value)| (&**name, &**value)).collect();
        for (name, value) in own {
            let error = |wrong: &str| {
                ElementError::new(RejectReason::Labels, format!("label {}: {wrong}", quote(name)))
            };
            let value = value.text().map_err(|wrong| error(&wrong))?;
            let others = labels.len() - usize::from(labels.contains_key(name));
            self.limits.check(name, value, others).map_err(|wrong| error(&wrong))?;
            labels.insert(name, value);
        }
        Ok(labels.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }

    /// Parses an enqueue time; `None` if it is unset.
    fn time(&self, value: &ElementValue<'_>) -> Result<Option<Timestamp>, ElementError> {
        let (format, text) = match value {
            ElementValue::Null => return Ok(None),
            ElementValue::Number(digits) => (TimeFormat::EpochSeconds, &**digits),
            other => {
                let text = other.text().map_err(|wrong| time_error(&wrong))?;
                let is_number = text.trim().parse::<f64>().is_ok();
                let rfc3339 = TimeFormat::Rfc3339(Offset::UTC);
                (if is_number { TimeFormat::EpochSeconds } else { rfc3339 }, text)
            }
        };
        format.parse(text, self.now).map_err(time_error)
    }

    fn intern(&mut self, common: TaskCommon) -> Arc<TaskCommon> {
        if let Some(known) = self.commons.get(&common) {
            return Arc::clone(known);
        }
        let common = Arc::new(common);
        self.commons.insert(Arc::clone(&common));
        common
    }
}

/// Returns the params that the requests of a provider use. Others are ignored: an endpoint may serve
/// several programs.
fn params(
    provider: &Provider,
    given: &BTreeMap<&str, &ElementValue<'_>>,
) -> Result<Labels, ElementError> {
    let names: BTreeSet<&str> = provider.param_names().collect();
    let param = |name: &str| {
        let error = |wrong: &str| {
            ElementError::new(RejectReason::Params, format!("the param {} {wrong}", quote(name)))
        };
        let value = given.get(name).ok_or_else(|| error("is missing"))?;
        let value = value.text().map_err(|wrong| error(&wrong))?;
        check_value(value).map_err(|violation| error(&violation.message))?;
        provider.check_param(name, value).map_err(error)?;
        Ok((name.into(), value.into()))
    };
    names.into_iter().map(param).collect()
}

fn time_error(wrong: &str) -> ElementError {
    ElementError::new(RejectReason::Time, format!("the enqueue time is invalid: {wrong}"))
}

fn quote(name: &str) -> String {
    format!("{:?}", excerpt(name, MAX_NAME_CHARS))
}
