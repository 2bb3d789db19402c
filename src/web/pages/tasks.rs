//! `/tasks`: a table of tasks, page by page, the worst first unless another order is asked for.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::Extension;
use axum::extract::{RawQuery, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

use super::format::{self, FormattedTime};
use super::{PageHead, RenderedPage, ok_page, render};
use crate::clock::Timestamp;
use crate::observation;
use crate::store::TaskList;
use crate::task::{Labels, Task};
use crate::web::WebState;
use crate::web::list_page::{ListPage, select_page};
use crate::web::middleware::RequestPermit;
use crate::web::query::cursor::Cursor;
use crate::web::query::filter::TaskFilter;
use crate::web::query::order::{SortColumn, TaskOrder, TaskRow};
use crate::web::query::{MAX_ROWS, TaskQuery};

/// Maximum number of labels with a field of their own in the form. Links in the table and the
/// address filter by any other.
const MAX_LABEL_FIELDS: usize = 6;

/// Maximum number of labels of a task in the table; the page of the task has all of them.
const MAX_LABELS: usize = 6;

/// Maximum length of the filter that the links of labels repeat, as a link of its own. A page has a
/// thousand of them, and the filter comes from the client.
const MAX_REPEATED_BYTES: usize = 2_048;

#[derive(Template)]
#[template(path = "tasks.html")]
struct TasksPage<'a> {
    head: PageHead<'a>,
    filter: &'a TaskFilter,
    is_narrowed: bool,
    /// Names of the providers, each with its formatted name.
    providers: Vec<(&'a str, String)>,
    /// States, each with its word for people.
    states: [(observation::State, &'static str); observation::State::ALL.len()],
    /// The chosen state of each list of states, of which a form with a single state or none has one.
    chosen_states: Vec<Option<observation::State>>,
    /// Names of labels and the values that are asked for.
    labels: Vec<(String, String)>,
    /// The order, unless it is the default.
    sort: Option<String>,
    unknown_provider: Option<String>,
    json: String,
    headers: Vec<ColumnHeader>,
    rows: Vec<FormattedRow>,
    /// Number of tasks and their order.
    summary: String,
    /// True if the page shows the first tasks of several pages in the default order.
    has_hint: bool,
    is_worst_first: bool,
    worst_first: String,
    page_links: Vec<(&'static str, Option<&'static str>, String)>,
}

/// The header of a column.
struct ColumnHeader {
    name: &'static str,
    is_number: bool,
    /// Link to the table in the order of the column, or in the reverse order if it has that already.
    link: Option<String>,
    /// Value of `aria-sort`, if the table has the order of the column.
    sorted: Option<&'static str>,
}

/// A row of the table.
struct FormattedRow {
    provider: String,
    id: String,
    link: String,
    /// Labels, each with a link to the tasks that have it.
    labels: Vec<(String, Option<String>)>,
    state: &'static str,
    is_stuck: bool,
    is_unlisted: bool,
    is_bad: bool,
    status: String,
    age: String,
    progress: String,
    error: String,
    polled: Option<FormattedTime>,
}

/// Returns the table of the tasks that the query selects.
pub async fn page(
    State(web): State<Arc<WebState>>,
    Extension(permit): Extension<RequestPermit>,
    RawQuery(query): RawQuery,
) -> Response {
    match TaskQuery::parse_form(&query.unwrap_or_default()) {
        Ok(query) => render(web.compute_permits.clone(), permit, move || table(&web, &query)).await,
        Err(message) => (StatusCode::BAD_REQUEST, format!("{message}\n")).into_response(),
    }
}

fn table(web: &WebState, query: &TaskQuery) -> RenderedPage {
    let config = web.manager.config();
    let names = config.providers.iter().map(|provider| &*provider.name);
    let providers: Vec<_> = names.map(|name| (name, format::short(name))).collect();
    let filter = &query.filter;
    let asked = filter.provider.as_deref();
    let unknown = asked.filter(|asked| providers.iter().all(|(name, _)| name != asked));
    let (now, tasks) = web.manager.store.tasks(asked);
    let page = select_page(&tasks, query, now, query.limit.unwrap_or(MAX_ROWS));
    let order = query.order();
    let is_worst_first = order == TaskOrder::WORST_FIRST;
    let is_repeatable = format::tasks_query_link(&filter.pairs()).len() <= MAX_REPEATED_BYTES;
    let linked = is_repeatable.then_some(query);
    ok_page(&TasksPage {
        head: PageHead::new(web),
        filter,
        is_narrowed: *filter != TaskFilter::default(),
        states: observation::State::ALL.map(|state| (state, format::state(state, true))),
        chosen_states: chosen_states(filter),
        labels: label_fields(&tasks, filter),
        sort: (!is_worst_first).then(|| order.to_string()),
        unknown_provider: unknown.map(format::short),
        json: format::tasks_json_link(&filter.pairs()),
        headers: headers(query),
        summary: summary(&page, order),
        has_hint: is_worst_first && page.before == 0 && page.next.is_some(),
        is_worst_first,
        worst_first: link(query, TaskOrder::WORST_FIRST, None),
        page_links: page_links(query, &page),
        rows: page.rows.iter().map(|row| format_row(*row, linked, now)).collect(),
        providers,
    })
}

fn chosen_states(filter: &TaskFilter) -> Vec<Option<observation::State>> {
    match &*filter.states {
        [] => vec![None],
        states => states.iter().copied().map(Some).collect(),
    }
}

/// Returns the labels that are asked for, and the first names of others that tasks have.
fn label_fields(tasks: &[TaskList], filter: &TaskFilter) -> Vec<(String, String)> {
    let mut names = BTreeSet::new();
    let mut last: Option<&Labels> = None;
    for tracked in tasks.iter().flat_map(TaskList::tasks) {
        let labels = &tracked.task.common.labels;
        // Neighbours often share their labels.
        if last.is_some_and(|last| Arc::ptr_eq(last, labels)) {
            continue;
        }
        last = Some(labels);
        for (name, _) in labels.iter() {
            if !names.contains(&**name) {
                names.insert(&**name);
                if names.len() > MAX_LABEL_FIELDS {
                    names.pop_last();
                }
            }
        }
    }
    let others = names.into_iter().filter(|name| filter.labels.iter().all(|(own, _)| own != name));
    let others = others.map(|name| (name.to_owned(), String::new()));
    filter.labels.iter().cloned().chain(others).collect()
}

/// Returns the link to the table in an order, from its beginning or from a cursor on.
fn link(query: &TaskQuery, order: TaskOrder, cursor: Option<&Cursor>) -> String {
    let sort = (order != TaskOrder::WORST_FIRST).then_some(order);
    let query = TaskQuery { sort, cursor: cursor.cloned(), ..query.clone() };
    format::tasks_query_link(&query.pairs())
}

fn headers(query: &TaskQuery) -> Vec<ColumnHeader> {
    let current = query.order();
    let header = |(name, is_number, column): (&'static str, bool, Option<SortColumn>)| {
        let is_current = column == Some(current.column);
        // Of the ages, the largest are looked for.
        let is_descending = match is_current {
            true => !current.is_descending,
            false => column == Some(SortColumn::Age),
        };
        let order = column.map(|column| TaskOrder { column, is_descending });
        ColumnHeader {
            name,
            is_number,
            link: order.map(|order| link(query, order, None)),
            sorted: is_current.then_some(current.direction()),
        }
    };
    let columns = [
        ("Provider", false, Some(SortColumn::Provider)),
        ("Task", false, Some(SortColumn::TaskId)),
        ("State", false, Some(SortColumn::State)),
        ("Age", true, Some(SortColumn::Age)),
        ("Labels", false, None),
        ("Status", false, Some(SortColumn::Status)),
        ("Progress", true, Some(SortColumn::Progress)),
        ("Last error", false, Some(SortColumn::Error)),
        ("Last poll", true, Some(SortColumn::LastPoll)),
    ];
    columns.into_iter().map(header).collect()
}

/// Returns a sentence about the tasks on the page.
fn summary(page: &ListPage<'_>, order: TaskOrder) -> String {
    let shown = u64::try_from(page.rows.len()).unwrap_or(u64::MAX);
    let (total, is_worst_first) = (format::count(page.total), order == TaskOrder::WORST_FIRST);
    let by = match is_worst_first {
        true => "the worst first".to_owned(),
        false => format!("sorted by {}, {}", order.column.as_str(), order.direction()),
    };
    match (page.before, shown) {
        (0, 1) if page.total == 1 => "1 task.".to_owned(),
        (0, _) if shown == page.total => format!("{total} tasks, {by}."),
        (0, _) if is_worst_first => format!("The {} worst of {total} tasks.", format::count(shown)),
        (before, _) => {
            let (first, last) = (format::count(before + 1), format::count(before + shown));
            format!("Tasks {first} to {last} of {total}, {by}.")
        }
    }
}

/// Returns the links to other pages, each with its text and its `rel`.
fn page_links(
    query: &TaskQuery,
    page: &ListPage<'_>,
) -> Vec<(&'static str, Option<&'static str>, String)> {
    let order = query.order();
    let to = |cursor: &Cursor| link(query, order, Some(cursor));
    let first = query.cursor.as_ref().map(|_| ("First page", None, link(query, order, None)));
    let previous = page.previous.as_ref().map(|cursor| ("Previous page", Some("prev"), to(cursor)));
    let next = page.next.as_ref().map(|cursor| ("Next page", Some("next"), to(cursor)));
    first.into_iter().chain(previous).chain(next).collect()
}

/// Formats a row. Its labels link to the tasks that match `linked` and have the label as well.
fn format_row(row: TaskRow<'_>, linked: Option<&TaskQuery>, now: Timestamp) -> FormattedRow {
    let tracked = row.tracked;
    let (provider, id) = (&*tracked.task.common.provider, &*tracked.task.id);
    let took = || tracked.duration().map(|took| format!("took {}", format::rough(took)));
    let age = tracked.queue_age(now).map(format::rough).or_else(took);
    FormattedRow {
        provider: format::short(provider),
        id: format::short(id),
        link: format::task_link(provider, id),
        labels: labels(&tracked.task, linked),
        state: format::state(tracked.state(), tracked.last_poll().is_some()),
        is_stuck: row.is_stuck,
        is_unlisted: !tracked.listing.is_listed(),
        is_bad: row.is_bad(),
        status: format::short(tracked.status()),
        age: age.unwrap_or_default(),
        progress: tracked.progress().map(format::percent).unwrap_or_default(),
        error: error(&row),
        polled: tracked.last_poll().map(|at| FormattedTime::new(at, now)),
    }
}

/// Returns the first labels of a task, with links to the tasks that match `linked` and have them as
/// well.
fn labels(task: &Task, linked: Option<&TaskQuery>) -> Vec<(String, Option<String>)> {
    let labels = task.common.labels.iter().take(MAX_LABELS);
    let label = |(name, value): &(Box<str>, Box<str>)| {
        let text = format::short(&format!("{name}={value}"));
        // An empty field of the form matches any task.
        let link = linked.filter(|_| !value.is_empty()).map(|query| {
            let filter = query.filter.with_label(name, value);
            let query = TaskQuery { filter, cursor: None, ..query.clone() };
            format::tasks_query_link(&query.pairs())
        });
        (text, link)
    };
    let has_more = task.common.labels.len() > MAX_LABELS;
    labels.map(label).chain(has_more.then(|| ("…".to_owned(), None))).collect()
}

/// Formats the reason why the last poll or the task failed. For a failed task the code is enough,
/// because its state is beside it.
fn error(row: &TaskRow<'_>) -> String {
    match row.tracked.error() {
        None => String::new(),
        Some(("task", code)) => format::short(code),
        Some((reason, _)) => {
            let detail = row.tracked.error_detail().unwrap_or_default();
            format::short(&format!("{reason}, {detail}"))
        }
    }
}

#[cfg(test)]
mod tests;
