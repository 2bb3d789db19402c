//! The families with series for each provider.

use super::{Family, counter, gauge, histogram};

/// Families with series for each provider, in the order of the documentation. The first six come
/// from the store, the others from the telemetry.
pub const PROVIDER_FAMILIES: &[Family] = &[
    TASKS,
    OLDEST_QUEUE_AGE,
    OLDEST_NET_QUEUE_AGE,
    OPEN_TASKS,
    STUCK_TASKS,
    UNLISTED_TASKS,
    FINISHED,
    TASK_DURATION,
    LOST_TASKS,
    POLLS,
    POLL_FAILURES,
    RESPONSE_CODES,
    HTTP_RESPONSES,
    UNKNOWN_STATUSES,
    ODD_ANSWERS,
    POLL_DURATION,
    POLL_LAG,
    POLLS_IN_FLIGHT,
    POLL_QUEUE_LENGTH,
    POLL_OVERDUE,
    WITHOUT_CREDENTIALS,
    PROBES,
    POLL_RETRIES,
    THROTTLED,
    PROVIDER_UP,
];

/// `aitask_tasks`
pub const TASKS: Family = gauge(
    "aitask_tasks",
    &["provider", "state"],
    "Tasks by state: those that the configuration or a source lists, final ones included, and those \
     that are unlisted and still followed.",
);

/// `aitask_oldest_queue_age_seconds`
pub const OLDEST_QUEUE_AGE: Family = gauge(
    "aitask_oldest_queue_age_seconds",
    &["provider", "state"],
    "Queue age of the oldest task in the non-final state; 0 if there is none.",
);

/// `aitask_oldest_net_queue_age_seconds`
pub const OLDEST_NET_QUEUE_AGE: Family = gauge(
    "aitask_oldest_net_queue_age_seconds",
    &["provider", "state"],
    "Largest queue age of a task in the non-final state, without the time in which it waited for \
     the user; 0 if there is none.",
);

/// `aitask_open_tasks`
pub const OPEN_TASKS: Family = gauge(
    "aitask_open_tasks",
    &["provider"],
    "Tasks that are not final, in any state, including those that wait for the user and IDs that the \
     provider does not know yet.",
);

/// `aitask_stuck_tasks`
pub const STUCK_TASKS: Family = gauge(
    "aitask_stuck_tasks",
    &["provider"],
    "Tasks that are stuck, as defined for aitask_stuck.",
);

/// `aitask_unlisted_tasks`
pub const UNLISTED_TASKS: Family = gauge(
    "aitask_unlisted_tasks",
    &["provider"],
    "Open tasks that no source lists any more, and that are polled until their end is seen or \
     keep_unlisted has passed.",
);

/// `aitask_finished_total`
pub const FINISHED: Family = counter(
    "aitask_finished_total",
    &["provider", "state"],
    "Tasks whose end in the state was observed, each once. A task that was final at first sight is \
     not counted. With --storage.path it continues across restarts, and includes a task once it is \
     durable on disk.",
);

/// `aitask_task_duration_seconds`
pub const TASK_DURATION: Family = histogram(
    "aitask_task_duration_seconds",
    &["provider", "state"],
    &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0],
    "Time from enqueueing to the end, for the tasks that aitask_finished_total counts and whose \
     end is known. It continues across restarts like that family.",
);

/// `aitask_lost_tasks_total`
pub const LOST_TASKS: Family = counter(
    "aitask_lost_tasks_total",
    &["provider"],
    "Open tasks that were dropped because no source had listed them for keep_unlisted: \
     their end was not seen.",
);

/// `aitask_polls_total`
pub const POLLS: Family = counter(
    "aitask_polls_total",
    &["provider"],
    "Completed polls of tasks, successful or not; a batch polls each of its tasks, and a list of the \
     provider each followed open task that it shows.",
);

/// `aitask_poll_failures_total`
pub const POLL_FAILURES: Family = counter(
    "aitask_poll_failures_total",
    &["provider", "reason"],
    "Polls that gave no usable answer for a task, by reason.",
);

/// `aitask_response_codes_total`
pub const RESPONSE_CODES: Family = counter(
    "aitask_response_codes_total",
    &["provider", "code"],
    "Answers by the code in their body, success included. Codes that the mapping names have a \
     series from the start; a series of any other code starts at 0 and receives its count 75 \
     seconds later. At most 64 codes of a provider, including those of the mapping and of \
     aitask_error; further ones count as code=\"other\".",
);

/// `aitask_http_responses_total`
pub const HTTP_RESPONSES: Family = counter(
    "aitask_http_responses_total",
    &["provider", "status_code"],
    "Answers by HTTP status. The usual ones have a series from the start; a series of any other \
     status starts at 0 and receives its count 75 seconds later. At most 64 statuses; further ones \
     count as status_code=\"other\".",
);

/// `aitask_unknown_statuses_total`
pub const UNKNOWN_STATUSES: Family = counter(
    "aitask_unknown_statuses_total",
    &["provider"],
    "Answers with a status that the mapping does not list. The log has each spelling once, up to 256 of them.",
);

/// `aitask_odd_answers_total`
pub const ODD_ANSWERS: Family = counter(
    "aitask_odd_answers_total",
    &["provider", "field"],
    "Implausible values of usable answers, which are left unset, by field: a time that cannot be \
     read, is before the year 2000 or is in the future.",
);

/// `aitask_poll_duration_seconds`
pub const POLL_DURATION: Family = histogram(
    "aitask_poll_duration_seconds",
    &["provider"],
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    "Duration of polls of tasks, from the request to the complete answer.",
);

/// `aitask_poll_lag_seconds`
pub const POLL_LAG: Family = histogram(
    "aitask_poll_lag_seconds",
    &["provider"],
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
    "How long after their due time polls started. If it is high, raise max_in_flight, rate_limit \
     or poll_interval.",
);

/// `aitask_polls_in_flight`
pub const POLLS_IN_FLIGHT: Family = gauge(
    "aitask_polls_in_flight",
    &["provider"],
    "Requests that currently wait for their answer; a batch is one request.",
);

/// `aitask_poll_queue_length`
pub const POLL_QUEUE_LENGTH: Family =
    gauge("aitask_poll_queue_length", &["provider"], "Polls that are due and have not started.");

/// `aitask_poll_overdue_seconds`
pub const POLL_OVERDUE: Family = gauge(
    "aitask_poll_overdue_seconds",
    &["provider"],
    "How long the longest-waiting due poll has been waiting to start; 0 if none is due.",
);

/// `aitask_tasks_without_credentials`
pub const WITHOUT_CREDENTIALS: Family = gauge(
    "aitask_tasks_without_credentials",
    &["provider"],
    "Tasks of the provider that are not polled now, because its credentials cannot be read. Their sum \
     is aitask_exporter_dropped_tasks{reason=\"credentials\"}.",
);

/// `aitask_probes_total`
pub const PROBES: Family = counter(
    "aitask_probes_total",
    &["provider", "result"],
    "Requests to /probe for the provider: success and failure if they had a turn, paused if the \
     provider was paused, busy if there was no turn in time. Of the other families, probes count \
     only in aitask_polls_in_flight.",
);

/// `aitask_poll_retries_total`
pub const POLL_RETRIES: Family = counter(
    "aitask_poll_retries_total",
    &["provider"],
    "Polls that were started because the previous poll of the task had failed.",
);

/// `aitask_throttled_seconds_total`
pub const THROTTLED: Family = counter(
    "aitask_throttled_seconds_total",
    &["provider"],
    "Time for which due polls were delayed by the rate limit or by the provider's Retry-After. It \
     grows while they are delayed.",
);

/// `aitask_provider_up`
pub const PROVIDER_UP: Family = gauge(
    "aitask_provider_up",
    &["provider"],
    "1 if the last poll of any task of the provider got a usable answer, else 0; 0 before the first.",
);
