//! Registrations of tasks as applications write them: the body for one task, and lists.

use serde_json::value::RawValue;

use super::element::{
    ElementDefaults, ElementResolver, ElementTime, ElementValue, RawProperties, Ttl, TtlRule,
};
use super::list::{ListedTask, RefreshError, RejectReason};
use super::list_builder::{ListBuilder, RegistrationDetails};
use super::list_parser::json::{AN_OBJECT, for_each_entry, table, value};
use super::list_parser::parse_json;
use crate::clock::Timestamp;
use crate::config::Config;
use crate::mapping::{MAX_DEPTH, too_deep};
use crate::store::registrations::Registration;
use crate::task::{Labels, Task};

/// Maximum number of elements of a list of registrations.
pub const MAX_REGISTRATIONS: usize = 100_000;
/// Maximum length of the labels and params of a registered task together, in bytes: with the rest of its
/// record they fit into a frame of the storage.
const MAX_PROPERTY_BYTES: usize = 36 << 10;

/// A valid registration.
#[derive(Debug)]
pub struct ParsedRegistration {
    /// The registration.
    pub registration: Registration,
    /// Index of its element in the list.
    pub index: usize,
    /// True if the application named a longer time than the registration lasts.
    pub is_cut: bool,
}

/// A list of registrations.
#[derive(Debug, Default)]
pub struct RegistrationList {
    /// The valid ones; of several with one provider and ID the first.
    pub tasks: Vec<ParsedRegistration>,
    /// Index and fault of each element, or target of an element, that is none.
    pub rejected: Vec<(usize, String)>,
}

/// Parses the body of a registration of the task of `provider` with this ID. An empty body has no
/// properties.
///
/// # Errors
/// Fails when the body is not an object with the known keys, or the task cannot have them.
pub fn parse_registration(
    config: &Config,
    provider: &str,
    id: &str,
    body: &[u8],
    now: Timestamp,
) -> Result<ParsedRegistration, String> {
    let mut raw = if body.trim_ascii().is_empty() {
        RawProperties::default()
    } else if too_deep(body) {
        return Err(format!("the body is nested deeper than {MAX_DEPTH}"));
    } else {
        let body: &RawValue = serde_json::from_slice(body).map_err(|error| {
            format!("the body is not JSON: line {} column {}", error.line(), error.column())
        })?;
        properties(body)?
    };
    if raw.labels.iter().any(|(name, _)| name == "provider") {
        return Err("the provider is named by the path, and cannot be a label".to_owned());
    }
    raw.provider = Some(ElementValue::Text(provider.into()));
    let mut resolver = resolver(config, None, now);
    let properties = resolver.properties(&raw).map_err(|error| error.message)?;
    let id = ElementValue::Text(id.into());
    let listed = resolver.task(&id, Ok(&properties)).map_err(|error| error.message)?;
    parsed(listed, 0, properties.ttl)
}

/// Parses the properties of a registration. `body` is any JSON value.
fn properties<'b>(body: &'b RawValue) -> Result<RawProperties<'b>, String> {
    if value(body.get()) != ElementValue::Other(AN_OBJECT) {
        return Err("the body must be a JSON object".to_owned());
    }
    let (mut known, mut fault) = ([None; KEYS.len()], None);
    for_each_entry(body.get(), &mut |key, value| {
        let found = KEYS.iter().zip(&mut known).find(|(name, _)| **name == key);
        match found {
            Some((_, slot @ None)) => *slot = Some(value),
            Some((name, Some(_))) => fault = Some(format!("duplicate key: {name}")),
            None => fault = Some(format!("unknown key; the keys are {}", KEYS.join(", "))),
        }
    })
    .map_err(str::to_owned)?;
    if let Some(fault) = fault {
        return Err(fault);
    }
    let [labels, params, enqueue_time, ttl] = known;
    let of = |raw: Option<&'b RawValue>| raw.map(|raw| value(raw.get()));
    Ok(RawProperties {
        provider: None,
        labels: table(labels, RejectReason::Labels, "labels").map_err(|error| error.message)?,
        params: table(params, RejectReason::Params, "params").map_err(|error| error.message)?,
        enqueue_time: of(enqueue_time).map(ElementTime::Unparsed),
        ttl: of(ttl),
    })
}

/// The keys of the body of a registration.
const KEYS: [&str; 4] = ["labels", "params", "enqueue_time", "ttl"];

/// Parses a list of registrations, in the format of the lists of sources.
///
/// # Errors
/// Fails when the body is not a JSON list, is nested too deep, or has too many elements.
pub fn parse_registrations(
    config: &Config,
    body: &[u8],
    now: Timestamp,
) -> Result<RegistrationList, RefreshError> {
    let only = match &*config.providers {
        [only] => Some(&*only.name),
        _ => None,
    };
    let resolver = resolver(config, only, now);
    let mut list = ListBuilder::of_registrations(resolver, MAX_REGISTRATIONS);
    parse_json(body, &mut list)?;
    let (listed, RegistrationDetails { tasks, mut rejected }) = list.finish_registrations();
    let mut valid = Vec::with_capacity(listed.len());
    for (listed, (index, ttl)) in listed.into_iter().zip(tasks) {
        match parsed(listed, index, ttl) {
            Ok(registration) => valid.push(registration),
            Err(fault) => rejected.push((index, fault)),
        }
    }
    Ok(RegistrationList { tasks: valid, rejected })
}

fn resolver<'c>(
    config: &'c Config,
    provider: Option<&'c str>,
    now: Timestamp,
) -> ElementResolver<'c> {
    let receiver = &config.task_receiver;
    let ttl = Some(TtlRule { default: receiver.ttl, max: receiver.max_ttl });
    let defaults = ElementDefaults { provider, labels: Labels::default(), ttl };
    ElementResolver::new(defaults, &config.providers, config.label_limits, now)
}

/// Returns the registration of a valid task, unless the storage cannot hold it.
fn parsed(listed: ListedTask, index: usize, ttl: Ttl) -> Result<ParsedRegistration, String> {
    let ListedTask { task, enqueue_time } = listed;
    if property_bytes(&task) > MAX_PROPERTY_BYTES {
        return Err("labels and params have more than 36 KiB together".to_owned());
    }
    let Ttl { duration: ttl, is_cut } = ttl;
    Ok(ParsedRegistration { registration: Registration { task, enqueue_time, ttl }, index, is_cut })
}

/// Returns the length of a task's labels and params in the storage, in bytes.
fn property_bytes(task: &Task) -> usize {
    let all = task.common.labels.iter().chain(&*task.common.params);
    // Each text has a length before it.
    all.map(|(name, value)| name.len() + value.len() + 4).sum()
}
