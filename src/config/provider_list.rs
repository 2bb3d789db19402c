//! Lists of providers: the requests for all tasks that an API holds, and how the tasks are followed.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;

use super::discovery::{SettingKeys, SourceConfig, SourceIdentity, SourceKind, SourceValidator};
use super::task_rules::check_value;
use super::validate::Validator;
use super::{effective, preset, raw};
use crate::mapping::list::page::Paging;
use crate::mapping::task_list::TaskListMapping;
use crate::request::Request;
use crate::request::list::{ListQuery, RawListRequest};
use crate::yaml::diagnostic::{BlockError, Diagnostic};
use crate::yaml::scalar::PublicText;
use crate::yaml::span::{OrderedMap, Spanned};
use crate::yaml::tree::YamlNode;

/// The list of all tasks that a provider holds: how it is requested and mapped.
#[derive(Debug)]
pub struct ListSourceConfig {
    /// The requests for the list, or for its first pages; at least one.
    pub queries: Vec<ListQuery>,
    /// The requests in the same order as people may see them: without the text that the configuration
    /// writes beside the placeholders of query and body.
    pub redacted_queries: Vec<ListQuery>,
    /// The mapping of a response.
    pub mapping: TaskListMapping,
    /// The way in which the pages of each request are requested, if the list has pages.
    pub paging: Option<Paging>,
    /// True if the list holds only the newest tasks, so that a task may be missing from it while it is
    /// open.
    pub is_window: bool,
}

impl ListSourceConfig {
    /// The default time between two refreshes.
    pub const DEFAULT_REFRESH_INTERVAL: Duration = Duration::from_secs(15);
    /// The default of the maximum number of tasks.
    pub const DEFAULT_LIMIT: usize = 10_000;
}

impl Validator<'_> {
    /// Validates the list of a provider, if its mapping has one. What is wrong with a list of the preset
    /// is reported only if it is used.
    pub fn list(
        &self,
        raw: &raw::RawProvider,
        block: &YamlNode,
        requests: &[&Request],
        is_mapped: bool,
    ) -> Option<ListSourceConfig> {
        let request = raw.request.get()?;
        let (Some(list), Some(node)) =
            (request.list.get(), block.get("request").and_then(|request| request.get("list")))
        else {
            self.report_missing(raw);
            return None;
        };
        let is_used = !raw.list.is_absent() || node.location.document == block.location.document;
        let response = block.get("response").unwrap_or(block);
        let report = |errors: Vec<BlockError>, below: &YamlNode| {
            for error in errors.into_iter().filter(|_| is_used) {
                self.report(error.locate(below));
            }
        };
        let is_window = list.window.get().copied().unwrap_or_default();
        let task = list.task.get().map(String::as_str);
        let mapping =
            TaskListMapping::compile(raw.response.get()?, task, list.page.get(), is_window);
        let mapping = mapping.map_err(|errors| {
            report(errors.list, node);
            // The errors of a response that is no mapping at all are reported as such.
            report(errors.response.into_iter().filter(|_| is_mapped).collect(), response);
        });
        let paging = mapping.as_ref().ok().and_then(|(_, paging)| paging.as_ref());
        let queries = ListQuery::compile_all(list, paging).map_err(|errors| report(errors, node));
        let param_errors = check_params(requests, list);
        let is_valid = param_errors.is_empty();
        report(param_errors, node);
        let ((mapping, paging), queries) = (mapping.ok()?, queries.ok()?);
        let redacted = effective::redacted_list(list, node, block.location.document);
        let redacted_queries = ListQuery::compile_all(&redacted, None).unwrap_or_default();
        let list = ListSourceConfig { queries, redacted_queries, mapping, paging, is_window };
        is_valid.then_some(list)
    }

    /// Reports a list that is switched on at a provider whose mapping has none.
    fn report_missing(&self, raw: &raw::RawProvider) {
        let Some(location) = raw.list.location else { return };
        let diagnostic =
            Diagnostic::new(location, "the mapping of this provider has no request.list");
        let names = preset::WITH_LIST;
        let has_own = raw.preset.get().is_some_and(|preset| names.contains(&&**preset));
        self.report(
            diagnostic.hint(match has_own {
                true => {
                    "the preset's list belongs to the preset's request: write request.list as well"
                        .to_owned()
                }
                false => {
                    format!("write request.list; the presets with one are {}", names.join(", "))
                }
            }),
        );
    }

    /// Reports the requests of a list from which no URL can be made.
    pub fn check_list_targets(
        &self,
        base: &Url,
        list: Option<&ListSourceConfig>,
        block: &YamlNode,
    ) {
        let base = base.as_str().trim_end_matches('/');
        let is_url = |query: &ListQuery| {
            let url = Url::parse(&format!("{base}{}", query.target)).ok();
            url.is_some_and(|url| http::Uri::try_from(url.as_str()).is_ok())
        };
        if list.is_none_or(|list| list.queries.iter().all(is_url)) {
            return;
        }
        let request = block.get("request").unwrap_or(block);
        let location = request.get("list").unwrap_or(request).location;
        self.report(Diagnostic::new(location, "this and base_url do not form a valid URL"));
    }
}

/// Checks that the tasks of a list have the params that these requests for a task need, and no others.
fn check_params(requests: &[&Request], list: &RawListRequest) -> Vec<BlockError> {
    let mut errors = Vec::new();
    let own = Request::compile_list(list);
    let all = || requests.iter().copied().chain(own.as_ref().ok());
    let given = || list.params.get().into_iter().flat_map(OrderedMap::entries);
    let needed = requests.iter().flat_map(|request| request.param_names());
    for name in needed.collect::<BTreeSet<_>>() {
        if !list.params.is_invalid() && !given().any(|(_, known, _)| known == name) {
            let message = format!("the request for a task needs the param `{name}`");
            let hint = format!("write `params: {{ {name}: [...] }}`, with all its values");
            errors.push(BlockError::new(&[], message).hint(hint));
        }
    }
    for (_, name, values) in given() {
        if own.is_ok() && !all().flat_map(Request::param_names).any(|known| known == name) {
            let message = format!("no request of the provider has the placeholder `{{{name}}}`");
            errors.push(BlockError::new(&["params", name], message).hint("remove the param"));
        }
        for (index, value) in values.iter().enumerate() {
            let Some(PublicText(value)) = value.get() else { continue };
            let checked = check_value(value).map_err(|violation| violation.message);
            let checked = checked.and_then(|()| {
                let checked = all().try_for_each(|request| request.check_param(name, value));
                checked.map_err(str::to_owned)
            });
            if let Err(wrong) = checked {
                let at = ["params", name, &index.to_string()];
                errors.push(BlockError::new(&at, format!("the param {wrong}")));
            }
        }
    }
    errors
}

impl SourceValidator<'_> {
    /// Validates the lists that are switched on at providers, and returns the valid ones in the order of
    /// the providers.
    pub fn provider_lists(
        &self,
        raw: &[Spanned<raw::RawProvider>],
    ) -> impl Iterator<Item = SourceConfig> {
        self.providers.iter().filter_map(|named| {
            let list = raw.get(named.index)?.get()?.list.get()?;
            let keys = SettingKeys {
                labels: &list.labels,
                refresh_interval: &list.refresh_interval,
                timeout: &list.timeout,
                limit: &list.limit,
                keep_unlisted: &list.keep_unlisted,
            };
            let (name, provider) = (Arc::clone(&named.name), Some(Arc::clone(&named.name)));
            let defaults =
                (ListSourceConfig::DEFAULT_REFRESH_INTERVAL, ListSourceConfig::DEFAULT_LIMIT);
            let kind = named.provider.as_ref().and_then(|provider| provider.list.clone());
            let identity = SourceIdentity { name, provider };
            self.settings(Some(identity), &keys, defaults, kind.map(SourceKind::List))
        })
    }
}
