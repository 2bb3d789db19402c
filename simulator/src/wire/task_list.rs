//! Lists of the tasks that a gateway holds, each with the gaps of its system. Pure.

use http::Response;
use serde_json::{Value, json};

use super::super::lifecycle::Status;
use super::super::padded_body::PaddedBody;
use super::route::find_parameter;
use super::system::{BodyFormat, System};
use super::{TaskResponse, build_ok};

/// Number of tasks in a list that holds only the newest ones.
const NEWEST: usize = 100;
/// Number of elements on a page of Luma's list whose request does not say it.
const LUMA_PAGE: usize = 10;
/// Number of elements on a page of Kling's list whose request does not say it.
const KLING_PAGE: usize = 30;

/// A list of tasks that a gateway holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TaskList {
    /// The tasks that are queued or running.
    Queue,
    /// The newest hundred tasks, final ones included.
    Newest,
    /// All tasks, the newest first, in pages by `limit` and `offset`.
    Offset,
    /// All tasks of the kind at the end of the path, the newest first, in pages by `pageNum` and
    /// `pageSize`.
    Kind,
}

impl TaskList {
    /// Reports whether the list has tasks of this kind, if it has the path `path`.
    pub(crate) fn has_kind(self, path: &str, kind: &str) -> bool {
        self != Self::Kind || path.rsplit('/').next() == Some(kind)
    }

    /// Removes the tasks that the list does not have.
    fn select(self, tasks: &mut Vec<TaskResponse<'_>>) {
        let is_held = |task: &TaskResponse<'_>| match self {
            Self::Queue => matches!(task.state.status, Status::Queued | Status::Running),
            Self::Newest | Self::Offset | Self::Kind => task.state.status != Status::Missing,
        };
        tasks.retain(is_held);
        if self != Self::Queue {
            tasks.sort_by_key(|task| std::cmp::Reverse(task.state.enqueued_at));
        }
        if self == Self::Newest {
            tasks.truncate(NEWEST);
        }
    }
}

impl System {
    /// Builds the response with a list of `tasks`, which the gateway holds.
    pub(crate) fn respond_with_list(
        &self,
        list: TaskList,
        mut tasks: Vec<TaskResponse<'_>>,
        query_string: &str,
    ) -> Response<PaddedBody> {
        list.select(&mut tasks);
        let number = |name: &str, default: usize| {
            find_parameter(query_string, name)
                .and_then(|value| value.parse().ok())
                .unwrap_or(default)
        };
        let total = tasks.len();
        let (size, start) = match list {
            TaskList::Queue | TaskList::Newest => (total, 0),
            TaskList::Offset => (number("limit", LUMA_PAGE), number("offset", 0)),
            TaskList::Kind => {
                let size = number("pageSize", KLING_PAGE);
                (size, number("pageNum", 1).saturating_sub(1).saturating_mul(size))
            }
        };
        let page = tasks.iter().skip(start).take(size);
        let elements: Value = page.filter_map(|task| self.format_element(task)).collect();
        let BodyFormat::Json { wrap, .. } = self.body_format else { return build_ok("") };
        let body = match list {
            TaskList::Offset => json!({
                "has_more": start.saturating_add(size) < total,
                "count": total,
                "limit": size,
                "offset": start,
                "generations": elements,
            }),
            TaskList::Queue | TaskList::Newest | TaskList::Kind => wrap(&elements),
        };
        build_ok(body.to_string())
    }
}
