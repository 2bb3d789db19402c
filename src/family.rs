//! Every family that the exporter can show: the one table from which the exposition, the
//! registry and `docs/metrics.md` are made.

pub mod document;
pub mod web;

use std::fmt;

/// What a family's samples are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A value that goes up and down.
    Gauge,
    /// A value that only goes up, and begins at 0 with the process unless its help says otherwise.
    Counter,
    /// Observations counted by size.
    Histogram,
}

impl Kind {
    /// The word of the `# TYPE` line.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Gauge => "gauge",
            Self::Counter => "counter",
            Self::Histogram => "histogram",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A family of samples.
#[derive(Clone, Copy, Debug)]
pub struct Family {
    /// The name, `_total` included.
    pub name: &'static str,
    /// The type.
    pub kind: Kind,
    /// The names of the labels; a task's own labels come after the first two.
    pub labels: &'static [&'static str],
    /// The `# HELP` line, which is also the family's description in the documentation.
    pub help: &'static str,
    /// The upper bounds of a histogram, `+Inf` left out; empty for other types.
    pub buckets: &'static [f64],
}

type Labels = &'static [&'static str];

const fn gauge(name: &'static str, labels: Labels, help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help, buckets: &[] }
}

const fn counter(name: &'static str, labels: Labels, help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help, buckets: &[] }
}

const fn histogram(
    name: &'static str,
    labels: Labels,
    buckets: &'static [f64],
    help: &'static str,
) -> Family {
    Family { name, kind: Kind::Histogram, labels, help, buckets }
}

/// `aitask_info`
pub const INFO: Family = gauge(
    "aitask_info",
    &["provider", "task_id", "job_type"],
    "Always 1; carries the facts of a task that never change. Absent before the first answer; job_type is empty where the provider does not tell. After 64 distinct kinds of a provider further ones are job_type=\"other\".",
);

/// `aitask_status`
pub const STATUS: Family = gauge(
    "aitask_status",
    &["provider", "task_id", "state", "status"],
    "Always 1, one series a task: its state now, and the provider's own word for it. After 64 distinct words of a provider, those of the mapping among them, further ones are status=\"other\".",
);

/// `aitask_queue_age_seconds`
pub const QUEUE_AGE: Family = gauge(
    "aitask_queue_age_seconds",
    &["provider", "task_id"],
    "How long ago the task was enqueued, at the moment of the scrape. Absent once the task is final.",
);

/// `aitask_enqueue_timestamp_seconds`
pub const ENQUEUE_TIMESTAMP: Family = gauge(
    "aitask_enqueue_timestamp_seconds",
    &["provider", "task_id", "since"],
    "When the task was enqueued: since=\"api\" is the provider's word, since=\"first_seen\" the moment the exporter first knew of the task.",
);

/// `aitask_state_timestamp_seconds`
pub const STATE_TIMESTAMP: Family = gauge(
    "aitask_state_timestamp_seconds",
    &["provider", "task_id"],
    "Since when the task has been in its state.",
);

/// `aitask_progress_ratio`
pub const PROGRESS: Family = gauge(
    "aitask_progress_ratio",
    &["provider", "task_id"],
    "How far the task is, from 0 to 1. Absent where the provider does not tell.",
);

/// `aitask_duration_seconds`
pub const DURATION: Family = gauge(
    "aitask_duration_seconds",
    &["provider", "task_id"],
    "From enqueueing to the end. Only of final tasks whose end is known.",
);

/// `aitask_stuck`
pub const STUCK: Family = gauge(
    "aitask_stuck",
    &["provider", "task_id"],
    "1 while the task is older than stuck_after, the time that it waited for the user left out, or has changed neither state nor progress for that long, else 0; 0 while it waits for the user. Absent once the task is final.",
);

/// `aitask_up`
pub const UP: Family = gauge(
    "aitask_up",
    &["provider", "task_id"],
    "1 if the last poll of the task got a usable answer, else 0. Absent before the first poll.",
);

/// `aitask_error`
pub const ERROR: Family = gauge(
    "aitask_error",
    &["provider", "task_id", "reason", "code"],
    "1 while the last poll of the task failed, or, with reason=\"task\", while the task itself has failed. The code is the provider's own, or empty. After 64 distinct codes of a provider, those of the mapping and of aitask_response_codes_total among them, further ones are code=\"other\".",
);

/// `aitask_last_poll_timestamp_seconds`
pub const LAST_POLL_TIMESTAMP: Family = gauge(
    "aitask_last_poll_timestamp_seconds",
    &["provider", "task_id"],
    "When the task was last polled, with success or without.",
);

/// `aitask_last_success_timestamp_seconds`
pub const LAST_SUCCESS_TIMESTAMP: Family = gauge(
    "aitask_last_success_timestamp_seconds",
    &["provider", "task_id"],
    "When a poll of the task last got a usable answer. Much older than the last poll: what is shown of the task is stale.",
);

/// `aitask_tasks`
pub const TASKS: Family = gauge(
    "aitask_tasks",
    &["provider", "state"],
    "Tasks of the configuration by state, final ones included.",
);

/// `aitask_oldest_queue_age_seconds`
pub const OLDEST_QUEUE_AGE: Family = gauge(
    "aitask_oldest_queue_age_seconds",
    &["provider", "state"],
    "The queue age of the oldest task in the state that is not final; 0 where there is none.",
);

/// `aitask_oldest_net_queue_age_seconds`
pub const OLDEST_NET_QUEUE_AGE: Family = gauge(
    "aitask_oldest_net_queue_age_seconds",
    &["provider", "state"],
    "The largest queue age of a task in the state that is not final, the time that it waited for the user left out; 0 where there is none.",
);

/// `aitask_stuck_tasks`
pub const STUCK_TASKS: Family =
    gauge("aitask_stuck_tasks", &["provider"], "Tasks that are stuck, as aitask_stuck says.");

/// `aitask_finished_total`
pub const FINISHED: Family = counter(
    "aitask_finished_total",
    &["provider", "state"],
    "Tasks that were seen to end in the state, each once. A task that was final at first sight is not counted. With --storage.path it continues over restarts, and shows a task once the disk has it for good.",
);

/// `aitask_task_duration_seconds`
pub const TASK_DURATION: Family = histogram(
    "aitask_task_duration_seconds",
    &["provider", "state"],
    &[1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 1800.0, 3600.0, 7200.0],
    "From enqueueing to the end, of the tasks that aitask_finished_total counts and whose end is known. It continues as that does.",
);

/// `aitask_polls_total`
pub const POLLS: Family = counter(
    "aitask_polls_total",
    &["provider"],
    "Polls of tasks that ended, with success or without; a batch polls each of its tasks.",
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
    "Answers by the code in their body, success included. Codes that the mapping names are there from the start; any other one begins at 0 and takes its count 75 seconds later. At most 64 codes of a provider, those of the mapping and of aitask_error among them; further ones count as code=\"other\".",
);

/// `aitask_http_responses_total`
pub const HTTP_RESPONSES: Family = counter(
    "aitask_http_responses_total",
    &["provider", "status_code"],
    "Answers by HTTP status. Usual ones are there from the start; any other one begins at 0 and takes its count 75 seconds later. At most 64 statuses; further ones count as status_code=\"other\".",
);

/// `aitask_unknown_statuses_total`
pub const UNKNOWN_STATUSES: Family = counter(
    "aitask_unknown_statuses_total",
    &["provider"],
    "Answers with a status that the mapping does not list. The log names each spelling once.",
);

/// `aitask_odd_answers_total`
pub const ODD_ANSWERS: Family = counter(
    "aitask_odd_answers_total",
    &["provider", "field"],
    "Values of usable answers that were not believed and so left unset, by field: a time that cannot be read, lies before the year 2000 or in the future.",
);

/// `aitask_poll_duration_seconds`
pub const POLL_DURATION: Family = histogram(
    "aitask_poll_duration_seconds",
    &["provider"],
    &[0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    "How long polls of tasks took, from the request to the whole answer.",
);

/// `aitask_poll_lag_seconds`
pub const POLL_LAG: Family = histogram(
    "aitask_poll_lag_seconds",
    &["provider"],
    &[0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0],
    "How much later than due polls started. High: raise max_in_flight, rate_limit or poll_interval.",
);

/// `aitask_polls_in_flight`
pub const POLLS_IN_FLIGHT: Family = gauge(
    "aitask_polls_in_flight",
    &["provider"],
    "Requests that wait for their answer now; a batch is one.",
);

/// `aitask_poll_queue_length`
pub const POLL_QUEUE_LENGTH: Family =
    gauge("aitask_poll_queue_length", &["provider"], "Polls that are due and have not started.");

/// `aitask_poll_overdue_seconds`
pub const POLL_OVERDUE: Family = gauge(
    "aitask_poll_overdue_seconds",
    &["provider"],
    "How long the first of the due polls has been waiting to start; 0 where none is due.",
);

/// `aitask_probes_total`
pub const PROBES: Family = counter(
    "aitask_probes_total",
    &["provider", "result"],
    "Requests to /probe for the provider: success and failure of those that had a turn, paused where the provider was in a pause, busy where there was no turn in time. Probes count in no other family but aitask_polls_in_flight.",
);

/// `aitask_poll_retries_total`
pub const POLL_RETRIES: Family = counter(
    "aitask_poll_retries_total",
    &["provider"],
    "Polls that were started because the one before had failed.",
);

/// `aitask_throttled_seconds_total`
pub const THROTTLED: Family = counter(
    "aitask_throttled_seconds_total",
    &["provider"],
    "Time that due polls were held back by the rate limit or by the provider's Retry-After. It grows while they are.",
);

/// `aitask_provider_up`
pub const PROVIDER_UP: Family = gauge(
    "aitask_provider_up",
    &["provider"],
    "1 if the last poll of any task of the provider got a usable answer, else 0; 0 before the first.",
);

/// `aitask_exporter_build_info`
pub const BUILD_INFO: Family = gauge(
    "aitask_exporter_build_info",
    &["version"],
    "Always 1; carries the version of the exporter.",
);

/// `aitask_exporter_config_last_reload_successful`
pub const RELOAD_SUCCESSFUL: Family = gauge(
    "aitask_exporter_config_last_reload_successful",
    &[],
    "1 if the configuration was applied when it was last read, else 0: the log says why, and the old one is in force.",
);

/// `aitask_exporter_config_last_reload_success_timestamp_seconds`
pub const RELOAD_TIMESTAMP: Family = gauge(
    "aitask_exporter_config_last_reload_success_timestamp_seconds",
    &[],
    "When a configuration was last applied.",
);

/// `aitask_exporter_config_hash`
pub const CONFIG_HASH: Family = gauge(
    "aitask_exporter_config_hash",
    &[],
    "A number that stands for the content of the configuration in force: equal where the files are equal.",
);

/// `aitask_exporter_dropped_tasks`
pub const DROPPED_TASKS: Family = gauge(
    "aitask_exporter_dropped_tasks",
    &["reason"],
    "Tasks of the configuration that are not polled now: max_tasks leaves them out, or the credentials of their provider cannot be read.",
);

/// `aitask_exporter_scrape_duration_seconds`
pub const SCRAPE_DURATION: Family = histogram(
    "aitask_exporter_scrape_duration_seconds",
    &[],
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
    "How long writing an exposition took, waiting for its reader included.",
);

/// `aitask_exporter_panics_total`
pub const PANICS: Family = counter(
    "aitask_exporter_panics_total",
    &[],
    "Mistakes of the exporter's own code that ended a part of its work, which then began again or was answered with an error. Each is in the log with its place; please report them.",
);

/// `aitask_exporter_storage_up`
pub const STORAGE_UP: Family = gauge(
    "aitask_exporter_storage_up",
    &[],
    "1 while what is known of the tasks is written to --storage.path, 0 while the disk refuses it or hangs: a restart would forget, and finished tasks are not shown. Absent without a storage path.",
);

/// `aitask_exporter_storage_lost_bytes`
pub const STORAGE_LOST: Family = gauge(
    "aitask_exporter_storage_lost_bytes",
    &[],
    "How much of --storage.path was damaged when the exporter started; what was intact is used, and finished tasks are counted from 0. Of what is missing at least a byte for each change. A torn end, as a kill or a power failure leaves it, does not count. Absent without a storage path.",
);

/// `probe_success`
pub const PROBE_SUCCESS: Family =
    gauge("probe_success", &[], "1 if the probe got a usable answer, else 0.");

/// `probe_duration_seconds`
pub const PROBE_DURATION: Family = gauge("probe_duration_seconds", &[], "How long the probe took.");

/// One series a task; the task's own labels come after `provider` and `task_id`.
pub const TASK: [Family; 12] = [
    INFO,
    STATUS,
    QUEUE_AGE,
    ENQUEUE_TIMESTAMP,
    STATE_TIMESTAMP,
    PROGRESS,
    DURATION,
    STUCK,
    UP,
    ERROR,
    LAST_POLL_TIMESTAMP,
    LAST_SUCCESS_TIMESTAMP,
];

/// What is known of each provider, whether or not its tasks have series.
pub const PROVIDER: [Family; 21] = [
    TASKS,
    OLDEST_QUEUE_AGE,
    OLDEST_NET_QUEUE_AGE,
    STUCK_TASKS,
    FINISHED,
    TASK_DURATION,
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
    PROBES,
    POLL_RETRIES,
    THROTTLED,
    PROVIDER_UP,
];

/// The exporter itself. The last seven have the help of the process collector of the `prometheus`
/// crate; this table only documents them.
pub const PROCESS: [Family; 20] = [
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    CONFIG_HASH,
    DROPPED_TASKS,
    SCRAPE_DURATION,
    PANICS,
    STORAGE_LOST,
    STORAGE_UP,
    web::CONNECTIONS,
    web::CONNECTIONS_CLOSED,
    web::ACCEPT_ERRORS,
    web::REQUESTS_REJECTED,
    counter(
        "process_cpu_seconds_total",
        &[],
        "CPU time used by all threads, in the kernel and in the program.",
    ),
    gauge("process_max_fds", &[], "How many file descriptors the process may open."),
    gauge("process_open_fds", &[], "Open file descriptors, connections included."),
    gauge("process_resident_memory_bytes", &[], "Memory in use."),
    gauge("process_start_time_seconds", &[], "When the process started: a restart moves it."),
    gauge("process_threads", &[], "Threads of the operating system."),
    gauge("process_virtual_memory_bytes", &[], "Address space reserved; says little."),
];

/// What `/probe` answers besides the families of the task.
pub const PROBE: [Family; 2] = [PROBE_SUCCESS, PROBE_DURATION];

/// Whether we use the label `name` ourselves, so that a task's own label cannot have it.
pub fn has_label(name: &str) -> bool {
    let mut families = TASK.iter().chain(&PROVIDER).chain(&PROCESS);
    name == "le" || families.any(|family| family.labels.contains(&name))
}

#[cfg(test)]
mod tests;
