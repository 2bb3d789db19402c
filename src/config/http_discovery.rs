//! Sources that are HTTP endpoints: the URL of the list, and how it is read.

use std::fmt;

use reqwest::Url;

use super::HttpClientConfig;
use super::discovery::SourceValidator;
use super::http_client::ClientKeys;
use super::raw;
use super::secret::Secret;
use crate::mapping::list::ListMapping;
use crate::mapping::list::page::Paging;
use crate::mapping::schema::RawField;
use crate::yaml::diagnostic::Diagnostic;
use crate::yaml::scalar::{SECRET, UrlText};
use crate::yaml::span::{Location, OrderedMap, Spanned};
use crate::yaml::tree::YamlNode;

/// Parts of the names of query parameters whose values are masked wherever they come back. Other values
/// are ordinary words, which a list may contain as well.
const CREDENTIAL_WORDS: [&str; 8] =
    ["auth", "cred", "key", "passw", "pwd", "secret", "sig", "token"];

/// The settings of an HTTP endpoint.
#[derive(Debug)]
pub struct HttpSourceConfig {
    /// The URL of the list, or of its first page.
    pub url: SourceUrl,
    /// The settings of the HTTP client.
    pub client: HttpClientConfig,
    /// The mapping of a list that does not consist of the standard elements.
    pub response: Option<ListMapping>,
    /// The way in which pages are requested, if the list has pages.
    pub page: Option<Paging>,
}

/// The URL of a list: `http` or `https`; without user, password and fragment. Its query may hold a
/// secret and is not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct SourceUrl(Url);

impl SourceUrl {
    /// Returns the URL with its query, for requests only.
    pub const fn expose(&self) -> &Url {
        &self.0
    }

    /// Returns the values of the query that are secrets, by the names of their parameters.
    fn secrets(&self) -> Vec<Secret> {
        let is_secret = |name: &str| {
            let name = name.to_lowercase();
            CREDENTIAL_WORDS.iter().any(|word| name.contains(word))
        };
        let pairs = self.0.query_pairs().filter(|(name, _)| is_secret(name));
        pairs.map(|(_, value)| Secret::inline(&value)).collect()
    }
}

impl fmt::Display for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (url, has_query) = match self.0.as_str().split_once('?') {
            Some((url, _)) => (url, true),
            None => (self.0.as_str(), false),
        };
        f.write_str(url)?;
        if has_query { write!(f, "?{SECRET}") } else { Ok(()) }
    }
}

impl fmt::Debug for SourceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl SourceValidator<'_> {
    /// Validates the keys of an HTTP source beside those that all sources have. `block` is the node that
    /// `raw` was decoded from.
    pub fn http(
        &self,
        location: Location,
        raw: &raw::RawHttpSource,
        block: Option<&YamlNode>,
    ) -> Option<HttpSourceConfig> {
        let url = self.url(location, &raw.url);
        let client = self.validator.client_block(&ClientKeys::from(raw), url);
        let compiled = ListMapping::compile(raw.response.get(), raw.page.get());
        let compiled = compiled.map_err(|errors| {
            for error in errors {
                self.validator.report(block.map_or_else(
                    || Diagnostic::new(location, "not valid").detail(error.message.clone()),
                    |block| error.clone().locate(block),
                ));
            }
        });
        for (location, name, _) in label_names(raw) {
            if let Err(wrong) = self.global.labels.check(name, "", 0) {
                self.validator.report(Diagnostic::new(location, wrong).quote(name));
            }
        }
        let (url, mut client) = client?;
        let (response, page) = compiled.ok()?;
        let url = SourceUrl(url);
        client.url_secrets = url.secrets();
        self.check_queries(&url, &raw.url, page.as_ref());
        Some(HttpSourceConfig { url, client, response, page })
    }

    fn url(&self, block: Location, at: &Spanned<UrlText>) -> Option<Url> {
        if at.is_absent() {
            self.validator.report(Diagnostic::new(block, "missing key: url"));
        }
        let url = self.validator.http_url(at)?;
        if let (Some(location), Some(_)) = (at.location, url.fragment()) {
            self.validator
                .report(Diagnostic::new(location, "the URL of a list must not contain `#`"));
            return None;
        }
        Some(url)
    }

    /// Reports a query parameter of the URL that paging sets.
    fn check_queries(&self, url: &SourceUrl, at: &Spanned<UrlText>, page: Option<&Paging>) {
        let set = page.into_iter().flat_map(Paging::queries);
        for query in set.filter(|query| url.0.query_pairs().any(|(name, _)| name == **query)) {
            if let Some(location) = at.location {
                let message = "the URL has a query parameter that `page` sets";
                self.validator.report(Diagnostic::new(location, message).quote(query));
            }
        }
    }
}

/// Returns the labels of a source's mapping, each with the location of its name.
fn label_names(raw: &raw::RawHttpSource) -> impl Iterator<Item = (Location, &str, &RawField)> {
    let labels = raw.response.get().and_then(|response| response.labels.get());
    labels.into_iter().flat_map(OrderedMap::entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_query() {
        let url = |text: &str| SourceUrl(Url::parse(text).unwrap());
        let secret = url("https://a.example/x?token=t&status=open");
        assert_eq!(format!("{secret} {secret:?}"), ["https://a.example/x?<secret>"; 2].join(" "));
        assert_eq!(secret.expose().query(), Some("token=t&status=open"));
        assert_eq!(url("http://a.example").to_string(), "http://a.example/");
    }

    #[test]
    fn values_of_credentials_are_secrets() {
        let text = "http://a/?status=open&access_token=t%20t&X-Amz-Signature=s&apiKEY=k&page=1";
        let secrets = SourceUrl(Url::parse(text).unwrap()).secrets();
        let secrets = secrets.iter().map(|secret| secret.header_value("").unwrap());
        assert_eq!(secrets.collect::<Vec<_>>(), ["t t", "s", "k"]);
    }
}
