//! Routing: finds the system and the task IDs of a request.

use percent_encoding::percent_decode_str;
use serde::Deserialize;

use super::system::{Endpoint, IdLocation, System};
use super::system_table::SYSTEMS;

/// Name of the system that is also served without its prefix.
const ROOT_SYSTEM: &str = "mjdjourney";

/// The system and the endpoint to which a path leads.
pub(crate) struct Route {
    /// System that the path names.
    pub(crate) system: &'static System,
    /// Endpoint that matches the rest of the path.
    pub(crate) endpoint: &'static Endpoint,
    /// ID in the path; empty if the endpoint takes IDs from elsewhere. Of a list of what the gateway
    /// holds, the path below the system.
    id: Vec<u8>,
}

/// Finds the route of `path`, which is `/{system}/…` or a path of the system at the root; `None` if
/// the path belongs to no endpoint.
pub(crate) fn find_route(path: &str) -> Option<Route> {
    let (name, _) = path.strip_prefix('/')?.split_once('/')?;
    let (system, system_path) = match find_system(name) {
        Some(system) => (system, path.get(1 + name.len()..)?),
        None => (find_system(ROOT_SYSTEM)?, path),
    };
    let match_endpoint =
        |endpoint: &'static Endpoint| Some((endpoint, match_path(system_path, endpoint.path)?));
    let (endpoint, id) = system.endpoints.iter().find_map(match_endpoint)?;
    let id = match endpoint.id_location {
        IdLocation::Held(_) => system_path.as_bytes().to_vec(),
        _ => id,
    };
    Some(Route { system, endpoint, id })
}

fn find_system(name: &str) -> Option<&'static System> {
    SYSTEMS.iter().find(|system| system.name == name)
}

/// Returns the ID in a path that matches `pattern`, empty if the pattern has none; `None` if the
/// path does not match.
fn match_path(path: &str, pattern: &str) -> Option<Vec<u8>> {
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
    /// Extracts the requested IDs, any bytes, from the path, the query string or the body; `None`
    /// if there are none in the place that the endpoint defines.
    pub(crate) fn extract_ids(self, query_string: &str, body: &[u8]) -> Option<Vec<Vec<u8>>> {
        let ids: Vec<_> = match self.endpoint.id_location {
            IdLocation::Path | IdLocation::Held(_) => vec![self.id],
            IdLocation::Parameter(name) => vec![decode_form(find_parameter(query_string, name)?)],
            // A comma within an ID is percent-encoded.
            IdLocation::List(name) => {
                find_parameter(query_string, name)?.split(',').map(decode_form).collect()
            }
            IdLocation::Body => parse_ids(body)?,
            IdLocation::FirstOfBody => parse_ids(body)?.into_iter().take(1).collect(),
        };
        (!ids.is_empty()).then_some(ids)
    }
}

/// Returns the first value of a parameter that is not empty, still encoded.
pub(super) fn find_parameter<'a>(query_string: &'a str, name: &str) -> Option<&'a str> {
    let pairs = query_string.split('&').filter_map(|pair| pair.split_once('='));
    pairs.filter(|(key, _)| *key == name).map(|(_, value)| value).find(|value| !value.is_empty())
}

fn decode_form(text: &str) -> Vec<u8> {
    percent_decode_str(&text.replace('+', " ")).collect()
}

fn parse_ids(body: &[u8]) -> Option<Vec<Vec<u8>>> {
    #[derive(Deserialize)]
    struct IdList {
        ids: Vec<String>,
    }
    let IdList { ids } = serde_json::from_slice(body).ok()?;
    Some(ids.into_iter().map(String::into_bytes).collect())
}
