//! The rows of a result, and the tasks in them. A column is what its name says: the ID, the provider,
//! a param, the enqueue time, or a label.

use std::collections::HashSet;
use std::sync::Arc;

use crate::clock::Timestamp;
use crate::config::discovery::SourceConfig;
use crate::config::{LabelLimits, Provider};
use crate::discovery::element::{ElementValue, RawProperties};
use crate::discovery::list::{
    MAX_ELEMENTS, MAX_LIST_BYTES, RefreshError, RefreshReason, SourceList,
};
use crate::discovery::list_builder::{ElementPosition, ListBuilder};
use crate::observation::Reason;
use crate::printable::excerpt;

/// The column with the ID.
const TASK_ID: &str = "task_id";
/// The column with the provider.
const PROVIDER: &str = "provider";
/// The prefix of columns that are no labels.
const RESERVED: &str = "__";
/// Number of bytes that a value counts for beside its text: roughly what it takes in memory, and less
/// than its punctuation in JSON.
const VALUE_BYTES: usize = 4;
/// Maximum length of a name in a message, in characters, and maximum number of names.
const MAX_NAME_CHARS: usize = 80;
const MAX_NAMES: usize = 20;

/// A value of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SqlValue<'v> {
    /// NULL.
    Null,
    /// Any value that is text, or that the server has converted to text.
    Text(&'v str),
    /// Bytes that are not text.
    Bytes,
}

/// A value without its text.
#[derive(Clone, Copy, Debug)]
enum SqlCell {
    Null,
    /// Length of the text, in bytes.
    Text(usize),
    Bytes,
}

/// The rows of a result so far.
#[derive(Debug)]
pub struct SqlRows {
    limits: LabelLimits,
    max_rows: usize,
    columns: Vec<Box<str>>,
    /// The values of all rows, one row after the other.
    cells: Vec<SqlCell>,
    /// The texts of the values, one after the other.
    text: String,
    rows: usize,
}

impl SqlRows {
    /// Returns an empty result, for labels within these limits.
    pub const fn new(limits: LabelLimits) -> Self {
        Self {
            limits,
            max_rows: MAX_ELEMENTS,
            columns: Vec::new(),
            cells: Vec::new(),
            text: String::new(),
            rows: 0,
        }
    }

    /// Sets the columns, before the first row.
    ///
    /// # Errors
    /// Fails when no row can be a task with these columns.
    pub fn set_columns<'n>(
        &mut self,
        names: impl Iterator<Item = &'n str>,
    ) -> Result<(), RefreshError> {
        let columns: Vec<Box<str>> = names.map(Box::from).collect();
        let mut known = HashSet::new();
        for name in &columns {
            let quoted = excerpt(name, MAX_NAME_CHARS);
            if !known.insert(&**name) {
                let message = format!(
                    "two columns are called {quoted:?}: give one of them another name with AS"
                );
                return Err(query_error(message));
            }
            let is_label = ![TASK_ID, PROVIDER].contains(&&**name) && !name.starts_with(RESERVED);
            if is_label && let Err(wrong) = self.limits.check(name, "", 0) {
                let message = format!(
                    "the column {quoted:?} is {wrong}; give it another name with AS, which may \
                     begin with `__` to leave it out"
                );
                return Err(query_error(message));
            }
        }
        if !known.contains(TASK_ID) {
            let names = columns.iter().take(MAX_NAMES).map(|name| excerpt(name, MAX_NAME_CHARS));
            let names = names.collect::<Vec<_>>().join(", ");
            let message = format!("the result has no column {TASK_ID}, only {names}");
            return Err(query_error(message));
        }
        self.columns = columns;
        Ok(())
    }

    /// Reports whether the columns have been set.
    pub const fn has_columns(&self) -> bool {
        !self.columns.is_empty()
    }

    /// Adds a row with a value for each column.
    ///
    /// # Errors
    /// Fails when the result is too large.
    pub fn add<'v>(
        &mut self,
        values: impl Iterator<Item = SqlValue<'v>>,
    ) -> Result<(), RefreshError> {
        let too_large = |most: String| RefreshError::new(Reason::TooLarge, most);
        if self.rows >= self.max_rows {
            return Err(too_large(format!("more than {} rows", self.max_rows)));
        }
        self.rows += 1;
        for value in values {
            self.cells.push(match value {
                SqlValue::Null => SqlCell::Null,
                SqlValue::Bytes => SqlCell::Bytes,
                SqlValue::Text(text) => {
                    self.text.push_str(text);
                    SqlCell::Text(text.len())
                }
            });
            if self.text.len() + self.cells.len() * VALUE_BYTES > MAX_LIST_BYTES {
                return Err(too_large(format!("more than {} MiB", MAX_LIST_BYTES >> 20)));
            }
        }
        Ok(())
    }

    /// Returns the list of a source that the rows are, read at `now` in a configuration with
    /// `providers`.
    ///
    /// # Errors
    /// Fails when there are too many rows.
    pub fn list(
        &self,
        source: &SourceConfig,
        providers: &[Arc<Provider>],
        limits: LabelLimits,
        now: Timestamp,
    ) -> Result<SourceList, RefreshError> {
        let mut list = ListBuilder::new(source, providers, limits, now, self.max_rows);
        let mut text = &*self.text;
        let mut properties = RawProperties::default();
        let width = self.columns.len().max(1);
        for (number, row) in (1..).zip(self.cells.chunks(width)) {
            properties.labels.clear();
            let mut id = ElementValue::Null;
            for (name, cell) in self.columns.iter().zip(row) {
                let value = match cell {
                    SqlCell::Null => continue,
                    SqlCell::Bytes => ElementValue::Other("bytes that are not UTF-8"),
                    SqlCell::Text(length) => {
                        let (value, rest) = text.split_at_checked(*length).unwrap_or((text, ""));
                        text = rest;
                        ElementValue::Text(value.into())
                    }
                };
                match &**name {
                    TASK_ID => id = value,
                    name => properties.labels.push((name.into(), value)),
                }
            }
            let checked = list.properties(&properties);
            list.add(ElementPosition::Row(number), &id, &checked)?;
        }
        Ok(list.finish())
    }
}

fn query_error(message: String) -> RefreshError {
    RefreshError::new(RefreshReason::Query, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(names: &[&str]) -> Result<SqlRows, String> {
        let mut rows = SqlRows::new(LabelLimits::DEFAULT);
        let set = rows.set_columns(names.iter().copied());
        set.map(|()| rows).map_err(|error| error.to_string())
    }

    #[test]
    fn columns_are_checked_before_the_first_row() {
        for names in [&["task_id"][..], &["a", "__x", "__x y", "provider", "task_id"]] {
            assert!(rows(names).unwrap().has_columns(), "{names:?}");
        }
        for (names, expected) in [
            (&["TASK_ID"][..], "query: the result has no column task_id, only TASK_ID"),
            (&["task_id", "task_id"], "query: two columns are called \"task_id\": give one"),
            (&["task_id", "a b"], "query: the column \"a b\" is not a label name"),
            (&["task_id", "state"], "query: the column \"state\" is a label name that"),
        ] {
            let error = rows(names).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn rows_are_limited_in_number_and_in_bytes() {
        let mut few = rows(&["task_id"]).unwrap();
        few.max_rows = 2;
        let one = || [SqlValue::Text("x")].into_iter();
        assert_eq!([few.add(one()), few.add(one())], [Ok(()), Ok(())]);
        assert_eq!(few.add(one()).unwrap_err().to_string(), "too_large: more than 2 rows");
        // Each value counts, also one without a text.
        let mut wide = rows(&["task_id", "a"]).unwrap();
        let nulls = || std::iter::repeat_n(SqlValue::Null, MAX_LIST_BYTES / VALUE_BYTES);
        assert_eq!(wide.add(nulls()), Ok(()));
        let error = wide.add([SqlValue::Bytes].into_iter()).unwrap_err();
        assert_eq!(error.to_string(), "too_large: more than 32 MiB");
        let mut long = rows(&["task_id"]).unwrap();
        let text = "x".repeat(MAX_LIST_BYTES - VALUE_BYTES + 1);
        assert!(long.add([SqlValue::Text(&text)].into_iter()).is_err());
    }
}
