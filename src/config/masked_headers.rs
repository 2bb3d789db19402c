//! Headers whose values are not shown, in a request or in the answer to it.

use http::HeaderName;

use super::http_client::credential_headers;
use super::privacy::CREDENTIAL_HEADERS;
use super::raw;

/// Headers by which a server hands out what a client then shows as its credentials.
const HANDED_OUT: [&str; 6] = [
    "authentication-info",
    "proxy-authentication-info",
    "proxy-authorization",
    "set-cookie",
    "set-cookie2",
    "www-authentication-info",
];
/// Ends of the names of headers that APIs have made up for their credentials.
const ENDINGS: [&str; 6] = ["-token", "-secret", "-password", "-api-key", "-apikey", "-cookie"];

/// The names of headers of which the configuration says that they carry a secret.
#[derive(Debug, Default)]
pub struct MaskedHeaders(Vec<HeaderName>);

impl MaskedHeaders {
    /// Returns those of a provider.
    pub fn of(raw: &raw::RawProvider) -> Self {
        let table = raw.http_headers.get().into_iter().flat_map(|headers| headers.0.entries());
        let secret =
            table.filter(|(_, _, header)| !header.secrets.is_absent() || !header.files.is_absent());
        let names = secret.map(|(_, name, _)| name);
        let names = names.chain(credential_headers(raw.authorization.get()));
        Self(names.filter_map(|name| name.parse().ok()).collect())
    }

    /// Reports whether the value of a header is not shown.
    pub fn contains(&self, name: &HeaderName) -> bool {
        let text = name.as_str();
        self.0.contains(name)
            || CREDENTIAL_HEADERS.contains(&text)
            || HANDED_OUT.contains(&text)
            || ENDINGS.iter().any(|ending| text.ends_with(ending))
    }
}
