//! The way from one page of a list to the next.

use std::collections::HashSet;
use std::fmt;

use reqwest::Url;
use serde::de::{IgnoredAny, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use crate::config::http_discovery::HttpSourceConfig;
use crate::discovery::list::RefreshError;
use crate::mapping::fields::FieldValue;
use crate::mapping::list::ListPage;
use crate::mapping::list::page::{DocumentField, NextPage, Paging};
use crate::observation::Reason;
use crate::task::stable_hash;

/// Maximum length of the URL of a page, in bytes, which most servers accept.
const MAX_URL_BYTES: usize = 8 << 10;

/// The part of a page that decides on the pages after it.
#[derive(Debug, Default)]
pub struct PageSummary {
    elements: usize,
    /// Hash of the whole page.
    hash: u64,
    cursor: FieldValue<'static>,
    more: FieldValue<'static>,
    next: FieldValue<'static>,
}

impl PageSummary {
    /// Reads a page without its elements.
    ///
    /// # Errors
    /// The page is no list.
    pub fn read(http: &HttpSourceConfig, body: &[u8]) -> Result<Self, RefreshError> {
        let hash = stable_hash([body]);
        let Some(mapping) = &http.response else {
            let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
            // What is wrong with it is found out when its elements are read.
            let elements = serde_json::from_slice::<ItemCount>(body).map_or(0, |items| items.0);
            return Ok(Self { elements, hash, ..Self::default() });
        };
        Ok(Self::of(&mapping.read(body, &mut |_| {})?, body))
    }

    /// Returns the summary of a page whose elements have been read.
    pub fn of(page: &ListPage, body: &[u8]) -> Self {
        let get = |field| page.get(field).clone();
        Self {
            elements: page.elements,
            hash: stable_hash([body]),
            cursor: get(DocumentField::Cursor),
            more: get(DocumentField::More),
            next: get(DocumentField::Next),
        }
    }
}

/// The pages of one list, while they are requested.
#[derive(Debug)]
pub struct Pages<'p> {
    url: &'p Url,
    paging: &'p Paging,
    /// Number of pages that were received.
    received: usize,
    /// URL of the last page that was requested.
    current: Url,
    last_hash: u64,
    /// Hashes of the URLs of all pages but numbered ones.
    requested: HashSet<u64>,
}

impl<'p> Pages<'p> {
    /// Returns the pages of the list at `url`.
    pub fn new(url: &'p Url, paging: &'p Paging) -> Self {
        let (current, requested) = (url.clone(), HashSet::new());
        Self { url, paging, received: 0, current, last_hash: 0, requested }
    }

    /// Returns the URL of the first page.
    pub fn first(&mut self) -> Url {
        let value = match &self.paging.next {
            NextPage::Number { first, .. } => Some(first.to_string()),
            NextPage::Cursor { .. } | NextPage::Url => None,
        };
        self.current = self.with_queries(value.as_deref());
        self.requested.insert(hash_of(&self.current));
        self.current.clone()
    }

    /// Takes a page into account. Returns the URL of the next page, if there is one.
    ///
    /// # Errors
    /// The page does not say how the list goes on, or the list has too many pages.
    pub fn next(&mut self, page: &PageSummary) -> Result<Option<Url>, RefreshError> {
        self.received += 1;
        let next = match &self.paging.next {
            NextPage::Number { query, first, step } => {
                self.next_number(query, (*first, *step), page)?
            }
            NextPage::Cursor { has_flag, .. } => {
                let cursor = next_cursor(page, *has_flag)?;
                cursor.map(|cursor| self.with_queries(Some(cursor)))
            }
            NextPage::Url => self.next_url(page)?,
        };
        let Some(next) = next else { return Ok(None) };
        if !self.requested.insert(hash_of(&next)) {
            return Err(mapping_error("it leads back to a page that was requested before"));
        }
        if next.as_str().len() > MAX_URL_BYTES {
            return Err(mapping_error("the URL of the next page is too long"));
        }
        if self.received >= self.paging.max_pages {
            if self.paging.is_window {
                return Ok(None);
            }
            let message = format!("there are more than {} pages", self.paging.max_pages);
            return Err(RefreshError::new(Reason::TooLarge, message));
        }
        self.current = next.clone();
        Ok(Some(next))
    }

    fn next_number(
        &mut self,
        query: &str,
        (first, step): (u32, u32),
        page: &PageSummary,
    ) -> Result<Option<Url>, RefreshError> {
        let is_short = self.paging.size.as_ref().is_some_and(|(_, size)| page.elements < *size);
        if page.elements == 0 || is_short {
            return Ok(None);
        }
        if self.received > 1 && page.hash == self.last_hash {
            let message = format!("it is the page before: does the API know {query:?}?");
            return Err(mapping_error(message));
        }
        self.last_hash = page.hash;
        let before = u64::try_from(self.received).unwrap_or(u64::MAX).saturating_mul(step.into());
        let number = before.saturating_add(first.into());
        Ok(Some(self.with_queries(Some(&number.to_string()))))
    }

    fn next_url(&self, page: &PageSummary) -> Result<Option<Url>, RefreshError> {
        let text = match &page.next {
            FieldValue::Missing | FieldValue::Null | FieldValue::Boolean(false) => return Ok(None),
            FieldValue::Text(text) if text.trim().is_empty() => return Ok(None),
            FieldValue::Text(text) => text,
            FieldValue::Boolean(true) => {
                return Err(mapping_error("the URL of the next page is a boolean"));
            }
            FieldValue::Other(kind) => {
                return Err(mapping_error(format!("the URL of the next page is {kind}")));
            }
        };
        let next = self.current.join(text.trim());
        let mut next = next.map_err(|_| mapping_error("the URL of the next page is none"))?;
        next.set_fragment(None);
        // Credentials go to the origin of the source alone, and no others are sent.
        if next.origin() != self.url.origin() {
            return Err(mapping_error("the next page is at another origin"));
        }
        if !next.username().is_empty() || next.password().is_some() {
            return Err(mapping_error("the URL of the next page has a user"));
        }
        Ok(Some(next))
    }

    /// Returns the URL of the list with the query parameters of paging.
    fn with_queries(&self, value: Option<&str>) -> Url {
        let mut url = self.url.clone();
        let own = match &self.paging.next {
            NextPage::Number { query, .. } | NextPage::Cursor { query, .. } => Some(query),
            NextPage::Url => None,
        };
        let size = self.paging.size.as_ref().map(|(query, size)| (query, size.to_string()));
        if value.is_some() || size.is_some() {
            let mut pairs = url.query_pairs_mut();
            if let (Some(query), Some(value)) = (own, value) {
                pairs.append_pair(query, value);
            }
            if let Some((query, size)) = size {
                pairs.append_pair(query, &size);
            }
        }
        url
    }
}

/// Returns the cursor for the next page, if there is one.
fn next_cursor(page: &PageSummary, has_flag: bool) -> Result<Option<&str>, RefreshError> {
    if has_flag && !has_more(&page.more)? {
        return Ok(None);
    }
    match &page.cursor {
        FieldValue::Text(text) if !text.is_empty() => Ok(Some(text)),
        FieldValue::Other(kind) => Err(mapping_error(format!("the cursor is {kind}"))),
        FieldValue::Boolean(true) => Err(mapping_error("the cursor is a boolean")),
        _ if has_flag => Err(mapping_error("there is a next page, but no cursor for it")),
        _ => Ok(None),
    }
}

fn has_more(flag: &FieldValue<'_>) -> Result<bool, RefreshError> {
    match flag {
        FieldValue::Missing | FieldValue::Null => Ok(false),
        FieldValue::Boolean(flag) => Ok(*flag),
        FieldValue::Text(text) => match text.trim() {
            "true" | "1" => Ok(true),
            "false" | "0" | "" => Ok(false),
            _ => Err(mapping_error("`while` is neither true nor false")),
        },
        FieldValue::Other(kind) => Err(mapping_error(format!("`while` is {kind}"))),
    }
}

fn mapping_error(message: impl Into<String>) -> RefreshError {
    RefreshError::new(Reason::Mapping, message)
}

fn hash_of(url: &Url) -> u64 {
    stable_hash([url.as_str().as_bytes()])
}

/// The number of items of an array.
struct ItemCount(usize);

impl<'de> Deserialize<'de> for ItemCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ItemsVisitor;

        impl<'de> Visitor<'de> for ItemsVisitor {
            type Value = ItemCount;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an array")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<ItemCount, A::Error> {
                let mut count = 0;
                while seq.next_element::<IgnoredAny>()?.is_some() {
                    count += 1;
                }
                Ok(ItemCount(count))
            }
        }

        deserializer.deserialize_seq(ItemsVisitor)
    }
}

#[cfg(test)]
mod tests;
