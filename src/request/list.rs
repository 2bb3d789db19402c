//! The requests for the list of all tasks that an API holds.

use std::fmt;
use std::sync::Arc;

use schemars::JsonSchema;
use serde::Deserialize;

use super::{DEFAULT_METHOD, RawRequest, Request};
use crate::mapping::list::page::{Paging, RawPage};
use crate::task::{Labels, Task, TaskCommon, TaskGroup};
use crate::yaml::diagnostic::BlockError;
use crate::yaml::scalar::{PublicText, TemplateBody, TemplateText};
use crate::yaml::span::{OrderedMap, Spanned};

/// Maximum number of requests for one list, without those for further pages; no known API has more
/// than a dozen kinds of tasks.
const MAX_QUERIES: usize = 64;

/// The request for all tasks that an API holds, as the configuration writes it.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawListRequest {
    /// `GET` or `POST`.
    #[schemars(extend("default" = DEFAULT_METHOD))]
    pub method: Spanned<String>,
    /// The path below `base_url`. Placeholders are replaced by the values in `params`.
    pub path: Spanned<String>,
    /// Parameters by name; values can hold placeholders. The text beside placeholders is not shown.
    pub query: Spanned<OrderedMap<TemplateText>>,
    /// A JSON body, written in YAML; for `POST`. Its texts can hold placeholders. The text beside
    /// placeholders is not shown.
    pub body: Spanned<TemplateBody>,
    /// Requests for the [pages](configuration.md#page) of the list; only for `GET`. Default: one
    /// request for all of it.
    pub page: Spanned<RawPage>,
    /// The list holds only the newest tasks, so that a task may be missing from it while it is open.
    /// Of its pages, no more than `page.max_pages` are requested.
    #[schemars(extend("default" = false))]
    pub window: Spanned<bool>,
    /// Pointer to the array of tasks. Default: `response.task`.
    pub task: Spanned<String>,
    /// Params of the tasks, each with its values: there is one request for each combination of
    /// values, and the tasks in the answer have these params. Default: none.
    pub params: Spanned<OrderedMap<Vec<Spanned<PublicText>>>>,
}

impl From<&RawListRequest> for RawRequest {
    fn from(list: &RawListRequest) -> Self {
        let RawListRequest { method, path, query, body, .. } = list.clone();
        Self { method, path, query, body, ..Self::default() }
    }
}

/// One request for a list, or for its first page.
#[derive(Clone, PartialEq)]
pub struct ListQuery {
    /// `GET` or `POST`.
    pub method: http::Method,
    /// The path and query, to be appended to the base URL.
    pub target: Box<str>,
    /// The JSON body.
    pub body: Option<Box<str>>,
    /// The params of the tasks in the response, sorted by their names.
    pub params: Labels,
}

impl fmt::Debug for ListQuery {
    /// Shows the params only: query and body may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ListQuery").field("params", &self.params).finish_non_exhaustive()
    }
}

impl ListQuery {
    /// Compiles the requests for a list: one for each combination of values of its params. Their pages
    /// are requested as `paging` says.
    ///
    /// # Errors
    /// Every error of the block, with its keys below `request.list`.
    pub fn compile_all(
        raw: &RawListRequest,
        paging: Option<&Paging>,
    ) -> Result<Vec<Self>, Vec<BlockError>> {
        let params = params(raw);
        let request = Request::compile_list(raw);
        let mut errors = check_params(raw, &params, request.as_ref().ok());
        errors.extend(check_pages(raw, paging));
        match request {
            Ok(request) if errors.is_empty() => {
                Ok(combinations(&params).into_iter().map(|params| fill(&request, params)).collect())
            }
            Ok(_) => Err(errors),
            Err(more) => Err(more.into_iter().chain(errors).collect()),
        }
    }
}

/// A param with its values.
type ListParam<'r> = (&'r str, Vec<&'r str>);

/// Returns the params with their valid values.
fn params(raw: &RawListRequest) -> Vec<ListParam<'_>> {
    let entries = raw.params.get().into_iter().flat_map(OrderedMap::entries);
    entries
        .map(|(_, name, values)| {
            let values = values.iter().filter_map(Spanned::get);
            (name, values.map(|PublicText(value)| &**value).collect())
        })
        .collect()
}

/// Checks the params against the placeholders of the request.
fn check_params(
    raw: &RawListRequest,
    params: &[ListParam<'_>],
    request: Option<&Request>,
) -> Vec<BlockError> {
    let mut errors = Vec::new();
    for (name, values) in params {
        let at = ["params", name];
        let is_filled = request.is_none_or(|request| request.param_names().any(|own| own == *name));
        let mut sorted = values.clone();
        sorted.sort_unstable();
        if values.is_empty() {
            errors.push(BlockError::new(&at, "a param needs at least one value"));
        } else if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            errors.push(BlockError::new(&at, "a value is there twice"));
        } else if values.len() > 1 && !is_filled {
            let message =
                format!("several values, but the request has no placeholder `{{{name}}}`");
            let hint = "write the placeholder into the path, the query or the body";
            errors.push(BlockError::new(&at, message).hint(hint));
        }
    }
    let total = params.iter().map(|(_, values)| values.len()).fold(1, usize::saturating_mul);
    if total > MAX_QUERIES {
        let message = format!("{total} requests for a list; there can be {MAX_QUERIES}");
        errors.push(BlockError::new(&["params"], message));
    }
    for name in request.into_iter().flat_map(Request::param_names) {
        if !params.iter().any(|(known, _)| *known == name) && !raw.params.is_invalid() {
            let message = format!("`{{{name}}}` has no value: a list is not about one task");
            let hint = format!("write `params: {{ {name}: [...] }}`, with all its values");
            let error = BlockError::new(&[], message).hint(hint);
            if !errors.contains(&error) {
                errors.push(error);
            }
        }
    }
    errors
}

/// Checks that the request can have pages.
fn check_pages(raw: &RawListRequest, paging: Option<&Paging>) -> Vec<BlockError> {
    let mut errors = Vec::new();
    if paging.is_some() && raw.method.get().is_some_and(|method| method == "POST") {
        let message = "the pages of a list cannot be requested with POST";
        let hint = "write `method: GET`, or remove `page` (`page: null` removes the preset's)";
        errors.push(BlockError::new(&["method"], message).hint(hint));
    }
    let query = raw.query.get().into_iter().flat_map(OrderedMap::entries);
    for (_, name, _) in query {
        if paging.into_iter().flat_map(Paging::queries).any(|own| own == name) {
            let message = "`page` sets this query parameter";
            errors.push(BlockError::new(&["query", name], message));
        }
    }
    errors
}

/// Returns each combination of the params' values, in their order; the last param changes first.
fn combinations(params: &[ListParam<'_>]) -> Vec<Labels> {
    let mut all: Vec<Vec<(Box<str>, Box<str>)>> = vec![Vec::new()];
    for (name, values) in params {
        let with = |known: &Vec<(Box<str>, Box<str>)>, value: &str| {
            let mut params = known.clone();
            params.push(((*name).into(), value.into()));
            params
        };
        all = all
            .iter()
            .flat_map(|known| values.iter().map(move |value| with(known, value)))
            .collect();
    }
    let sorted = |mut params: Vec<(Box<str>, Box<str>)>| {
        params.sort();
        params.into()
    };
    all.into_iter().map(sorted).collect()
}

/// Fills the placeholders of a request with the params.
fn fill(request: &Request, params: Labels) -> ListQuery {
    // The request has placeholders of params alone, so that any task with them fills it.
    let common = TaskCommon { provider: "".into(), labels: [].into(), params: Arc::clone(&params) };
    let task = TaskGroup::one(Task { id: "".into(), common: Arc::new(common) });
    ListQuery {
        method: request.method.clone(),
        target: request.target(&task).into(),
        body: request.body(&task).map(Into::into),
        params,
    }
}
