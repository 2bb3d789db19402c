//! The queries of URLs, which are parsed strictly: unknown and ambiguous parameters are rejected.
//!
//! axum's `Query` would accept a parameter that is given twice, and replace bytes that are not
//! UTF-8.

pub mod cursor;
pub mod filter;
pub mod order;
mod search;

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::RangeInclusive;

use percent_encoding::percent_decode_str;

use cursor::Cursor;
use filter::{STATE, TaskFilter};
use order::TaskOrder;

/// Parses and decodes the parameters of `query`, in their order.
///
/// # Errors
/// A parameter is given twice or is not UTF-8 text; the error is a sentence that names it.
pub fn parse_pairs(query: &str) -> Result<Vec<(String, String)>, String> {
    parse_repeatable_pairs(query, None)
}

/// Parses parameters as [`parse_pairs`] does, of which one may be given several times.
fn parse_repeatable_pairs(
    query: &str,
    repeatable: Option<&str>,
) -> Result<Vec<(String, String)>, String> {
    let mut pairs = Vec::new();
    let mut seen = HashSet::new();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let key = decode(key).ok_or("the name of a parameter is not UTF-8 text")?;
        let value =
            decode(value).ok_or_else(|| format!("the parameter {key:?} is not UTF-8 text"))?;
        if !seen.insert(key.clone()) && repeatable != Some(&*key) {
            return Err(format!("the parameter {key:?} is given twice"));
        }
        pairs.push((key, value));
    }
    Ok(pairs)
}

/// Decodes a percent-encoded text, in which forms encode a space as `+`.
fn decode(text: &str) -> Option<String> {
    let spaced = text.replace('+', " ");
    percent_decode_str(&spaced).decode_utf8().ok().map(Cow::into_owned)
}

/// Maximum number of tasks on a page of the JSON. An answer without pages has all of them, and is not
/// sorted; a page is, in memory.
const MAX_LIMIT: usize = 1_000;

/// Maximum number of tasks on a page for people: what a person can read and a browser can draw at
/// once. A fleet may have a million tasks.
pub const MAX_ROWS: usize = 200;

/// A query of a list of tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TaskQuery {
    /// The filter of the tasks.
    pub filter: TaskFilter,
    /// The order, if one is given.
    pub sort: Option<TaskOrder>,
    /// Maximum number of tasks on a page, if it is given.
    pub limit: Option<usize>,
    /// The place from which the page goes on; its order is that of `sort` if both are given.
    pub cursor: Option<Cursor>,
}

impl TaskQuery {
    /// Parses a query.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse(query: &str) -> Result<Self, String> {
        Self::from_pairs(parse_repeatable_pairs(query, Some(STATE))?, MAX_LIMIT)
    }

    /// Parses the query of a page for people, in which an empty field of a form matches any task.
    ///
    /// # Errors
    /// The query is invalid; the error is a sentence.
    pub fn parse_form(query: &str) -> Result<Self, String> {
        let mut pairs = parse_repeatable_pairs(query, Some(STATE))?;
        pairs.retain(|(_, value)| !value.is_empty());
        Self::from_pairs(pairs, MAX_ROWS)
    }

    fn from_pairs(pairs: Vec<(String, String)>, max_limit: usize) -> Result<Self, String> {
        let mut query = Self::default();
        for (key, value) in pairs {
            match key.as_str() {
                "sort" => query.sort = Some(TaskOrder::parse(&value)?),
                "limit" => query.limit = Some(parse_limit(&value, 1..=max_limit)?),
                "cursor" => query.cursor = Some(parse_cursor(&value)?),
                _ => query.filter.set(&key, value)?,
            }
        }
        match (&query.cursor, query.sort) {
            (Some(Cursor { order, .. }), Some(sort)) if *order != sort => Err(format!(
                "the cursor belongs to the order {order}, and not to {sort}: leave out the cursor \
                 to start another list"
            )),
            _ => Ok(query),
        }
    }

    /// Returns the parameters from which [`TaskQuery::parse`] parses this query.
    pub fn pairs(&self) -> Vec<(Cow<'static, str>, Cow<'_, str>)> {
        let mut pairs = self.filter.pairs();
        pairs.extend(self.sort.map(|order| ("sort".into(), order.to_string().into())));
        pairs.extend(self.limit.map(|limit| ("limit".into(), limit.to_string().into())));
        let cursor = self.cursor.iter();
        pairs.extend(cursor.map(|cursor| ("cursor".into(), cursor.encode().into())));
        pairs
    }

    /// Returns the order of the list.
    pub fn order(&self) -> TaskOrder {
        let by_cursor = self.cursor.as_ref().map(|cursor| cursor.order);
        by_cursor.or(self.sort).unwrap_or(TaskOrder::WORST_FIRST)
    }

    /// Reports whether a page is asked for, and not all tasks in no order.
    pub fn has_pages(&self) -> bool {
        self.sort.is_some() || self.limit.is_some() || self.cursor.is_some()
    }
}

fn parse_limit(value: &str, allowed: RangeInclusive<usize>) -> Result<usize, String> {
    let is_number = value.bytes().all(|byte| byte.is_ascii_digit());
    let limit = value.parse().ok().filter(|limit| is_number && allowed.contains(limit));
    limit.ok_or_else(|| {
        let (least, most) = (allowed.start(), allowed.end());
        format!("limit must be a whole number from {least} to {most}")
    })
}

fn parse_cursor(value: &str) -> Result<Cursor, String> {
    Cursor::decode(value).ok_or_else(|| {
        "the cursor must be one that a page of this list gave, unchanged: leave it out to start \
         with the first page"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let owned = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<Vec<_>>()
        };
        for (query, expected) in [
            ("", &[][..]),
            ("&&", &[]),
            ("a=1&b=2", &[("a", "1"), ("b", "2")]),
            ("a", &[("a", "")]),
            ("=", &[("", "")]),
            ("a=b=c", &[("a", "b=c")]),
            ("task%5Fid=a+b%2B%26%C3%A9", &[("task_id", "a b+&é")]),
            ("a=100%&b=%zz", &[("a", "100%"), ("b", "%zz")]),
        ] {
            assert_eq!(parse_pairs(query), Ok(owned(expected)), "{query}");
        }
    }

    #[test]
    fn what_has_two_meanings_or_none_is_refused() {
        for (query, expected) in [
            ("a=1&a=1", r#"the parameter "a" is given twice"#),
            ("a=1&b=2&%61=3", r#"the parameter "a" is given twice"#),
            ("a=%FF", r#"the parameter "a" is not UTF-8 text"#),
            ("a=%C3", r#"the parameter "a" is not UTF-8 text"#),
            ("a=%ED%A0%80", r#"the parameter "a" is not UTF-8 text"#),
            ("%FF=a", "the name of a parameter is not UTF-8 text"),
        ] {
            assert_eq!(parse_pairs(query), Err(expected.to_owned()), "{query}");
        }
    }

    #[test]
    fn pages_are_asked_for_strictly() {
        let sort = |text| TaskOrder::parse(text).unwrap();
        let query = TaskQuery::parse("stuck=true&sort=-age&limit=1000").unwrap();
        assert_eq!((query.sort, query.limit), (Some(sort("-age")), Some(1_000)));
        assert_eq!((query.order(), query.has_pages()), (sort("-age"), true));
        let plain = TaskQuery::parse("stuck=true").unwrap();
        assert_eq!((plain.order(), plain.has_pages()), (TaskOrder::WORST_FIRST, false));
        assert_eq!(TaskQuery::parse_form("sort=&limit=&cursor="), Ok(TaskQuery::default()));
        let orders = "worst, provider, task_id, state, status, age, progress, error, last_poll, or \
                      one of them with - in front";
        for text in ["", "-", "--age", "Age", "age ", "enqueued"] {
            let message = format!("unknown order {text:?}: sort is one of {orders}");
            let query = format!("sort={}", text.replace(' ', "%20"));
            assert_eq!(TaskQuery::parse(&query), Err(message));
        }
        for text in ["", "0", "-1", "+1", "1001", "1.0", "a", "99999999999999999999"] {
            let message = "limit must be a whole number from 1 to 1000".to_owned();
            let query = format!("limit={}", text.replace('+', "%2B"));
            assert_eq!(TaskQuery::parse(&query), Err(message), "{text}");
        }
        let message = "limit must be a whole number from 1 to 200".to_owned();
        assert_eq!(TaskQuery::parse_form("limit=201"), Err(message));
        for text in ["", "AAAA", "%C3%A9", "a".repeat(9_999).as_str()] {
            let error = TaskQuery::parse(&format!("cursor={text}")).unwrap_err();
            assert!(error.starts_with("the cursor must be one that "), "{error}");
        }
    }
}
