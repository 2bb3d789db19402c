//! Secrets that a provider sends back, in the message of a refusal say: taken out of its answers
//! before anything reads them.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue};
use memchr::memmem::Finder;

/// Shorter ones stand in words that mean something else.
const MIN_LENGTH: usize = 8;
const MASK: &[u8] = b"<secret>";

/// What is looked for.
#[derive(Default)]
pub struct Echoes(Vec<Finder<'static>>);

impl Echoes {
    /// Looks for `secret` too, as it is and as JSON may write it.
    pub fn add(&mut self, secret: &str) {
        if secret.len() < MIN_LENGTH {
            return;
        }
        let json = serde_json::Value::from(secret).to_string();
        let json = json.trim_matches('"');
        let mut forms = vec![secret.to_owned(), json.to_owned(), json.replace('/', "\\/")];
        forms.dedup();
        self.0.extend(forms.into_iter().map(|form| Finder::new(&form).into_owned()));
        // Of one that has another in it, all goes.
        self.0.sort_by_key(|finder| std::cmp::Reverse(finder.needle().len()));
    }

    /// The text without them; `None` where it has none.
    pub fn mask(&self, text: &[u8]) -> Option<Vec<u8>> {
        self.0.iter().fold(None, |masked: Option<Vec<u8>>, finder| {
            replace(masked.as_deref().unwrap_or(text), finder).or(masked)
        })
    }

    /// The beginning of a text without them, and without the beginning of one at its end.
    pub fn mask_cut(&self, start: Bytes) -> Bytes {
        let mut masked = self.mask(&start).map_or(start, Bytes::from);
        let begins = |length: &usize| {
            let end = masked.len().checked_sub(*length).and_then(|from| masked.get(from..));
            end.is_some_and(|end| self.0.iter().any(|finder| finder.needle().starts_with(end)))
        };
        // The first is the longest.
        let longest = self.0.first().map_or(0, |finder| finder.needle().len());
        let cut = (1..longest).rev().find(begins).unwrap_or(0);
        masked.truncate(masked.len().saturating_sub(cut));
        masked
    }

    /// Takes them out of headers.
    pub fn mask_headers(&self, headers: &mut HeaderMap) {
        for value in headers.values_mut() {
            let masked = self.mask(value.as_bytes());
            if let Some(Ok(masked)) = masked.map(|masked| HeaderValue::from_bytes(&masked)) {
                *value = masked;
            }
        }
    }
}

fn replace(text: &[u8], finder: &Finder<'_>) -> Option<Vec<u8>> {
    let (mut masked, mut rest) = (Vec::new(), text);
    while let Some((before, found)) = finder.find(rest).and_then(|at| rest.split_at_checked(at)) {
        masked.extend_from_slice(before);
        masked.extend_from_slice(MASK);
        rest = found.get(finder.needle().len()..).unwrap_or_default();
    }
    if masked.is_empty() {
        return None;
    }
    masked.extend_from_slice(rest);
    Some(masked)
}

impl fmt::Debug for Echoes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} texts", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn masked(secrets: &[&str], text: &str) -> Option<String> {
        let mut echoes = Echoes::default();
        for secret in secrets {
            echoes.add(secret);
        }
        assert!(secrets.iter().all(|secret| !format!("{echoes:?}").contains(secret)));
        echoes.mask(text.as_bytes()).map(|text| String::from_utf8(text).unwrap())
    }

    #[test]
    fn what_comes_back_is_masked() {
        let said = masked(&["token/12"], r#"{"a":"token/12","b":["token\/12 token/12"]}"#);
        assert_eq!(said.as_deref(), Some(r#"{"a":"<secret>","b":["<secret> <secret>"]}"#));
        assert_eq!(masked(&["12345678", "0123456789"], "0123456789"), Some("<secret>".into()));
        assert_eq!(masked(&["say \"it\"!"], r#"say \"it\"!"#), Some("<secret>".into()));
        assert_eq!(masked(&["12345678"], "12345678"), Some("<secret>".into()));
        // What is not there, what is too short, and nothing at all.
        assert_eq!(masked(&["12345678"], "1234567"), None);
        assert_eq!(masked(&["running"], "running"), None);
        assert_eq!(masked(&[], "token"), None);
        assert_eq!(masked(&["12345678"], ""), None);
    }

    #[test]
    fn half_a_secret_at_the_end_is_masked() {
        let mut echoes = Echoes::default();
        echoes.add("12345678");
        echoes.add("secret/0123456789");
        let masked = |text: &'static str| echoes.mask_cut(Bytes::from_static(text.as_bytes()));
        assert_eq!(masked("{\"m\": \"key secret/0123"), "{\"m\": \"key ");
        assert_eq!(masked("{\"m\": \"secret\\/0123456789 secret\\/"), "{\"m\": \"<secret> ");
        assert_eq!(masked("key 1234"), "key ");
        assert_eq!(masked("key 1234."), "key 1234.");
        assert_eq!(masked(""), "");
        assert_eq!(Echoes::default().mask_cut(Bytes::from_static(b"a")), "a");
    }

    #[test]
    fn in_headers_too() {
        let mut echoes = Echoes::default();
        echoes.add("12345678");
        let mut headers = HeaderMap::new();
        headers.append("x-key", HeaderValue::from_static("key 12345678"));
        headers.append("x-key", HeaderValue::from_static("none"));
        echoes.mask_headers(&mut headers);
        assert!(headers.get_all("x-key").iter().eq(["key <secret>", "none"]));
    }
}
