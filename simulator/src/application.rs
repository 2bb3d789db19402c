//! The list of a simulated application: its open jobs, which come, end and leave by themselves.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::registry::TaskRegistry;
use super::scenario;

/// Interval between the submissions of two jobs, in seconds.
const SUBMISSION_SECONDS: i64 = 3;
/// Time for which a job stays on the list after its end, as long as an application needs to fetch
/// the result.
const FETCH_TIME: Duration = Duration::from_secs(1);
/// Maximum age of a listed job, in seconds: the longest lifecycle of a task without a scenario, and
/// [`FETCH_TIME`].
const MAX_LISTED_SECONDS: i64 = 36;
/// Customers of the application, each with every third job.
const CUSTOMERS: [&str; 3] = ["acme", "globex", "initech"];

/// One job in the format of Prometheus' HTTP service discovery.
#[derive(Debug, Serialize)]
pub(crate) struct ListedJob {
    targets: [String; 1],
    labels: JobLabels,
}

#[derive(Debug, Serialize)]
struct JobLabels {
    customer: &'static str,
    #[serde(rename = "__enqueue_time__")]
    enqueue_time: String,
}

/// Returns the open jobs, and those that ended a moment ago, the oldest first.
///
/// The times of submission follow from the clock alone, so the list is the same for every client
/// and after a restart. The lifecycle of a listed job begins with its submission.
pub(crate) fn list_jobs(registry: &Arc<TaskRegistry>) -> Vec<ListedJob> {
    let now = registry.now();
    let latest = now.as_second() / SUBMISSION_SECONDS;
    let oldest = latest - MAX_LISTED_SECONDS / SUBMISSION_SECONDS;
    (oldest..=latest).filter_map(|number| list_job(registry, number, now)).collect()
}

/// Returns the job with this number if the application lists it.
fn list_job(registry: &Arc<TaskRegistry>, number: i64, now: Timestamp) -> Option<ListedJob> {
    let id = format!("job-{number}");
    let submitted_at = Timestamp::from_second(number * SUBMISSION_SECONDS).ok()?;
    let steps = scenario::build_script(&id).steps;
    let lifetime: Duration = steps.iter().filter_map(|step| step.duration).sum();
    if now > submitted_at + lifetime + FETCH_TIME {
        return None;
    }
    registry.submit(id.as_bytes(), submitted_at).ok()?;
    let customer = usize::try_from(number).ok()? % CUSTOMERS.len();
    let labels =
        JobLabels { customer: CUSTOMERS.get(customer)?, enqueue_time: submitted_at.to_string() };
    Some(ListedJob { targets: [id], labels })
}
