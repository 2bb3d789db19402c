//! Which system a request asks, and for which tasks.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::system::{Ids, Query, System};
use super::table::SYSTEMS;

/// The system that is served at the root as well.
const AT_THE_ROOT: &str = "mjdjourney";

/// A path that leads to tasks.
pub struct Route {
    /// Whose path it is.
    pub system: &'static System,
    /// What it is there for.
    pub query: &'static Query,
    id: Vec<u8>,
}

/// What `path`, `/{system}/…` or the root's, leads to; `None` if it leads to no task.
pub fn route(path: &str) -> Option<Route> {
    let (name, _) = path.strip_prefix('/')?.split_once('/')?;
    let (system, native) = match named(name) {
        Some(system) => (system, path.get(1 + name.len()..)?),
        None => (named(AT_THE_ROOT)?, path),
    };
    let matching = |query: &'static Query| Some((query, id_in(native, query.path)?));
    let (query, id) = system.queries.iter().find_map(matching)?;
    Some(Route { system, query, id })
}

fn named(name: &str) -> Option<&'static System> {
    SYSTEMS.iter().find(|system| system.name == name)
}

/// The ID in a path of this `pattern`, empty if there is none in it; `None` for another path.
fn id_in(path: &str, pattern: &str) -> Option<Vec<u8>> {
    let mut id = Vec::new();
    let mut segments = path.split('/');
    for expected in pattern.split('/') {
        match segments.next()? {
            "" if expected.starts_with('{') => return None,
            found if expected == "{id}" => id = percent_decode_str(found).collect(),
            found if expected == found || expected.starts_with('{') => {}
            _ => return None,
        }
    }
    segments.next().is_none().then_some(id)
}

impl Route {
    /// The IDs that are asked for, any bytes; `None` if there are none, or not where they belong.
    pub fn ids(self, parameters: &str, body: &[u8]) -> Option<Vec<Vec<u8>>> {
        let ids: Vec<_> = match self.query.ids {
            Ids::Path => vec![self.id],
            Ids::Parameter(name) => vec![decoded(parameter(parameters, name)?)],
            // An ID's own comma is encoded.
            Ids::List(name) => parameter(parameters, name)?.split(',').map(decoded).collect(),
            Ids::Body => posted(body)?,
            Ids::FirstOfBody => posted(body)?.into_iter().take(1).collect(),
        };
        (!ids.is_empty()).then_some(ids)
    }
}

fn parameter<'a>(parameters: &'a str, name: &str) -> Option<&'a str> {
    let pairs = parameters.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).find(|value| !value.is_empty())
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

fn posted(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    #[derive(Deserialize)]
    struct Posted {
        ids: Vec<String>,
    }
    let Posted { ids } = serde_json::from_slice(body).ok()?;
    Some(ids.into_iter().map(String::into_bytes).collect())
}
