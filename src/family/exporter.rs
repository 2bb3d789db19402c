//! The families of the exporter itself, and those of a probe.

use super::{Family, counter, gauge, histogram};

/// Families of the exporter itself, in the order of the documentation. The last seven have the
/// help of the process collector of the `prometheus` crate; this table only documents them.
pub const EXPORTER_FAMILIES: &[Family] = &[
    BUILD_INFO,
    RELOAD_SUCCESSFUL,
    RELOAD_TIMESTAMP,
    CONFIG_HASH,
    DROPPED_TASKS,
    SCRAPE_DURATION,
    PANICS,
    STORAGE_LOST,
    STORAGE_UP,
    CONNECTIONS,
    CONNECTIONS_CLOSED,
    ACCEPT_ERRORS,
    REQUESTS_REJECTED,
    REGISTRATIONS,
    counter(
        "process_cpu_seconds_total",
        &[],
        "CPU time used by all threads, in the kernel and in the program.",
    ),
    gauge("process_max_fds", &[], "Maximum number of file descriptors that the process can open."),
    gauge("process_open_fds", &[], "Open file descriptors, connections included."),
    gauge("process_resident_memory_bytes", &[], "Resident memory in use."),
    gauge("process_start_time_seconds", &[], "When the process started; a restart changes it."),
    gauge("process_threads", &[], "Number of operating-system threads."),
    gauge(
        "process_virtual_memory_bytes",
        &[],
        "Reserved address space; not a measure of memory use.",
    ),
];

/// Families that `/probe` shows besides those of the task.
pub const PROBE_FAMILIES: &[Family] = &[PROBE_SUCCESS, PROBE_DURATION];

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
    "1 if the configuration was applied when it was last read, else 0: the log gives the reason, \
     and the old configuration is in force.",
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
    "Hash of the content of the configuration in force: equal if the files are equal.",
);

/// `aitask_exporter_dropped_tasks`
pub const DROPPED_TASKS: Family = gauge(
    "aitask_exporter_dropped_tasks",
    &["reason"],
    "Tasks of the configuration that are not polled now, because of max_tasks or because the \
     credentials of their provider cannot be read.",
);

/// `aitask_exporter_scrape_duration_seconds`
pub const SCRAPE_DURATION: Family = histogram(
    "aitask_exporter_scrape_duration_seconds",
    &[],
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0],
    "Duration of writing an exposition, including the wait for its reader.",
);

/// `aitask_exporter_panics_total`
pub const PANICS: Family = counter(
    "aitask_exporter_panics_total",
    &[],
    "Panics in the exporter's code that ended a part of its work, which was then restarted or \
     answered with an error. The log has the location of each; please report them.",
);

/// `aitask_exporter_storage_lost_bytes`
pub const STORAGE_LOST: Family = gauge(
    "aitask_exporter_storage_lost_bytes",
    &[],
    "Bytes of --storage.path that were damaged when the exporter started; intact records are used, and finished tasks are counted from 0. Missing changes count as at least a byte each. A torn end, as left by a kill or a power failure, does not count. Absent without a storage path.",
);

/// `aitask_exporter_storage_up`
pub const STORAGE_UP: Family = gauge(
    "aitask_exporter_storage_up",
    &[],
    "1 while the history of the tasks can be written to --storage.path, 0 while writes fail or \
     hang: a restart would lose history, and finished tasks are not shown. Absent without a \
     storage path.",
);

/// `aitask_exporter_connections`
pub const CONNECTIONS: Family = gauge(
    "aitask_exporter_connections",
    &[],
    "Open client connections, over all listen addresses together.",
);

/// `aitask_exporter_connections_closed_total`
pub const CONNECTIONS_CLOSED: Family = counter(
    "aitask_exporter_connections_closed_total",
    &["reason"],
    "Connections that the exporter closed: evicted (the idlest, for a new one), handshake (of \
     TLS), head (request headers: late, too large or malformed), idle, slow_reader.",
);

/// `aitask_exporter_accept_errors_total`
pub const ACCEPT_ERRORS: Family = counter(
    "aitask_exporter_accept_errors_total",
    &[],
    "Failed attempts to accept a connection, mostly for lack of file descriptors, some of which \
     are reserved for the next attempt. Compare process_open_fds with process_max_fds.",
);

/// `aitask_exporter_http_requests_rejected_total`
pub const REQUESTS_REJECTED: Family = counter(
    "aitask_exporter_http_requests_rejected_total",
    &["reason"],
    "Requests that were rejected before any work was done: too_many_scrapes, too_many_pages, \
     too_many_probes, too_many_registrations (503), host (400), cross_site (403), unauthorized (401).",
);

/// `aitask_registrations_total`
pub const REGISTRATIONS: Family = counter(
    "aitask_registrations_total",
    &["result"],
    "Registrations by applications, by result: created, renewed (the task was registered already), \
     deleted (by the application), rejected (malformed, for an unknown provider, beyond a limit, or \
     while the storage path fails).",
);

/// `probe_success`
pub const PROBE_SUCCESS: Family =
    gauge("probe_success", &[], "1 if the probe got a usable answer, else 0.");

/// `probe_duration_seconds`
pub const PROBE_DURATION: Family = gauge("probe_duration_seconds", &[], "Duration of the probe.");
