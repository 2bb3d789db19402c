//! Lists in pages: how the next page is requested, as the configuration writes it.

use schemars::JsonSchema;
use serde::Deserialize;

use super::super::compile::Compiler;
use super::ListMapping;
use crate::yaml::scalar::{PositiveInteger, PublicText, WholeNumber};
use crate::yaml::span::Spanned;

/// Requests for the pages of a list. One of `number`, `cursor` and `next`.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPage {
    /// Pages by number. Default: none.
    pub number: Spanned<RawPageNumber>,
    /// Pages by cursor. Default: none.
    pub cursor: Spanned<RawPageCursor>,
    /// JSON Pointer to the URL of the next page, absolute or relative, at the same origin. The list
    /// ends with a page that has none. Default: none.
    pub next: Spanned<String>,
    /// The size of a page. Default: none.
    pub size: Spanned<RawPageSize>,
    /// Maximum number of pages. A longer list is an error.
    #[schemars(extend("default" = Paging::DEFAULT_MAX_PAGES))]
    pub max_pages: Spanned<PositiveInteger>,
}

/// Pages by number.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["query"]))]
pub struct RawPageNumber {
    /// Query parameter for the number. The list ends with a page that is empty or shorter than `size`.
    pub query: Spanned<PublicText>,
    /// Number of the first page.
    #[schemars(extend("default" = Paging::DEFAULT_FIRST))]
    pub first: Spanned<WholeNumber>,
    /// Difference between the numbers of a page and the next one: for an API that counts elements, the
    /// size of a page.
    #[schemars(extend("default" = Paging::DEFAULT_STEP))]
    pub step: Spanned<PositiveInteger>,
}

/// Pages by cursor.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["query", "from"]))]
pub struct RawPageCursor {
    /// Query parameter for the cursor. The request for the first page has none.
    pub query: Spanned<PublicText>,
    /// JSON Pointer to the cursor for the next page.
    pub from: Spanned<String>,
    /// JSON Pointer to a boolean that says whether there is a next page. Default: there is one if
    /// there is a cursor.
    #[serde(rename = "while")]
    pub more: Spanned<String>,
}

/// The size of a page.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
#[schemars(extend("required" = ["query", "value"]))]
pub struct RawPageSize {
    /// Query parameter for the size.
    pub query: Spanned<PublicText>,
    /// Number of elements of each page but the last one: at most as many as the API returns, since a
    /// shorter page ends the list.
    pub value: Spanned<PositiveInteger>,
}

/// The way in which the pages of a list are requested.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Paging {
    /// The next page after one.
    pub next: NextPage,
    /// The query parameter for the size, and the number of tasks of a page.
    pub size: Option<(Box<str>, usize)>,
    /// Maximum number of pages; at least 1.
    pub max_pages: usize,
    /// True if the list ends at the maximum number of pages. Otherwise a longer list is an error.
    pub is_window: bool,
}

/// The way to the next page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NextPage {
    /// By the next number.
    Number {
        /// The query parameter.
        query: Box<str>,
        /// The number of the first page.
        first: u32,
        /// Difference between the numbers of a page and the next one; at least 1.
        step: u32,
    },
    /// By the cursor in the page.
    Cursor {
        /// The query parameter.
        query: Box<str>,
        /// True if a boolean in the page says whether there is a next one.
        has_flag: bool,
    },
    /// By the URL in the page.
    Url,
}

impl Paging {
    /// The default of `max_pages`.
    pub const DEFAULT_MAX_PAGES: usize = 50;
    /// The default of `number.first`.
    pub const DEFAULT_FIRST: u32 = 1;
    /// The default of `number.step`.
    pub const DEFAULT_STEP: u32 = 1;

    /// Reports whether the way to the next page leads through a field of the page.
    pub fn needs_document(&self) -> bool {
        !matches!(self.next, NextPage::Number { .. })
    }

    /// Returns the query parameters that paging adds.
    pub fn queries(&self) -> impl Iterator<Item = &str> {
        let own = match &self.next {
            NextPage::Number { query, .. } | NextPage::Cursor { query, .. } => Some(&**query),
            NextPage::Url => None,
        };
        own.into_iter().chain(self.size.as_ref().map(|(query, _)| &**query))
    }
}

/// A field of a page beside its tasks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DocumentField {
    /// The cursor for the next page.
    Cursor,
    /// The boolean that is true if there is a next page.
    More,
    /// The URL of the next page.
    Next,
}

impl DocumentField {
    /// Number of fields.
    pub const COUNT: usize = 3;

    /// Returns the index of the field.
    pub const fn slot(self) -> usize {
        match self {
            Self::Cursor => 0,
            Self::More => 1,
            Self::Next => 2,
        }
    }
}

/// Compiles the block `page` of a source, whose paths it adds to the mapping. Reports errors with
/// their keys below the source.
pub(in crate::mapping) fn compile(
    raw: &RawPage,
    mapping: Option<&mut ListMapping>,
    compiler: &mut Compiler,
) -> Option<Paging> {
    let given = [
        (!raw.number.is_absent(), "number"),
        (!raw.cursor.is_absent(), "cursor"),
        (!raw.next.is_absent(), "next"),
    ];
    let given: Vec<&str> =
        given.into_iter().filter_map(|(is_given, key)| is_given.then_some(key)).collect();
    match &*given {
        [_] => {}
        [] => {
            let hint = "write one of `number`, `cursor` and `next`";
            compiler.hinted(&["page"], "it does not say how the next page is requested", hint);
        }
        [_, second, ..] => {
            let message = "`number`, `cursor` and `next` exclude each other";
            compiler.wrong(&["page", second], message);
        }
    }
    let mut fields = ListFields { mapping, compiler };
    let number = raw.number.get().map(|raw| fields.number(raw));
    let cursor = raw.cursor.get().map(|raw| fields.cursor(raw));
    let next = raw.next.get().map(|pointer| {
        fields.add(DocumentField::Next, pointer, &["page", "next"]);
        NextPage::Url
    });
    let size = raw.size.get().and_then(|raw| fields.size(raw));
    let next = number.or(cursor).unwrap_or(next)?;
    let max_pages = raw.max_pages.get().map_or(Paging::DEFAULT_MAX_PAGES, |pages| usize_of(*pages));
    let paging = Paging { next, size, max_pages, is_window: false };
    let mut queries = paging.queries();
    if let (Some(first), Some(second)) = (queries.next(), queries.next())
        && first == second
    {
        compiler.wrong(&["page", "size", "query"], "the other query parameter has this name too");
    }
    drop(queries);
    Some(paging)
}

/// Compiler of the fields of a page.
struct ListFields<'c> {
    mapping: Option<&'c mut ListMapping>,
    compiler: &'c mut Compiler,
}

impl ListFields<'_> {
    fn number(&mut self, raw: &RawPageNumber) -> Option<NextPage> {
        let query = self.query(&raw.query, "number");
        let first = raw.first.get().map_or(Paging::DEFAULT_FIRST, |WholeNumber(first)| *first);
        let step = raw.step.get().map_or(Paging::DEFAULT_STEP, |PositiveInteger(step)| *step);
        Some(NextPage::Number { query: query?, first, step })
    }

    fn cursor(&mut self, raw: &RawPageCursor) -> Option<NextPage> {
        let query = self.query(&raw.query, "cursor");
        match raw.from.get() {
            Some(pointer) => {
                self.add(DocumentField::Cursor, pointer, &["page", "cursor", "from"]);
            }
            None if raw.from.is_absent() => {
                self.compiler.wrong(&["page", "cursor"], "missing key: from");
            }
            None => {}
        }
        if let Some(pointer) = raw.more.get() {
            self.add(DocumentField::More, pointer, &["page", "cursor", "while"]);
        }
        Some(NextPage::Cursor { query: query?, has_flag: !raw.more.is_absent() })
    }

    fn size(&mut self, raw: &RawPageSize) -> Option<(Box<str>, usize)> {
        let query = self.query(&raw.query, "size");
        if raw.value.is_absent() {
            self.compiler.wrong(&["page", "size"], "missing key: value");
        }
        let size = raw.value.get().map(|value| usize_of(*value));
        Some((query?, size?))
    }

    /// Returns the name of a query parameter in the block `key`.
    fn query(&mut self, at: &Spanned<PublicText>, key: &str) -> Option<Box<str>> {
        if at.is_absent() {
            self.compiler.wrong(&["page", key], "missing key: query");
        }
        let PublicText(name) = at.get()?;
        if name.is_empty() {
            self.compiler.wrong(&["page", key, "query"], "a query parameter needs a name");
        }
        Some(name.clone())
    }

    /// Adds the path of a field, which must be beside the tasks.
    fn add(&mut self, field: DocumentField, pointer: &str, at: &[&str]) {
        let keys = self.compiler.pointer(pointer, at);
        match &mut self.mapping {
            None => {
                let message = "a response that is a list of tasks has no place beside them";
                let hint = "name the place of the tasks: response: { tasks: /…, id: /… }";
                self.compiler.hinted(at, message, hint);
            }
            Some(mapping) if mapping.is_in_tasks(&keys) => {
                self.compiler.wrong(at, "this path leads into the list of tasks");
            }
            Some(mapping) => mapping.add_document_field(field, &keys),
        }
    }
}

fn usize_of(PositiveInteger(count): PositiveInteger) -> usize {
    usize::try_from(count).unwrap_or(usize::MAX)
}
