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

/// `aitask_exporter_storage_lost_bytes`
pub const STORAGE_LOST: Family = gauge(
    "aitask_exporter_storage_lost_bytes",
    &[],
    "How much of --storage.path was damaged when the exporter started; what was intact is used, and finished tasks are counted from 0. Of what is missing at least a byte for each change. A torn end, as a kill or a power failure leaves it, does not count. Absent without a storage path.",
);

/// `aitask_exporter_storage_up`
pub const STORAGE_UP: Family = gauge(
    "aitask_exporter_storage_up",
    &[],
    "1 while what is known of the tasks is written to --storage.path, 0 while the disk refuses it or hangs: a restart would forget, and finished tasks are not shown. Absent without a storage path.",
);

/// `aitask_exporter_connections`
pub const CONNECTIONS: Family = gauge(
    "aitask_exporter_connections",
    &[],
    "Connections of clients that are open, of all listen addresses together.",
);

/// `aitask_exporter_connections_closed_total`
pub const CONNECTIONS_CLOSED: Family = counter(
    "aitask_exporter_connections_closed_total",
    &["reason"],
    "Connections that the exporter closed: evicted (the idlest, for a new one), handshake (of TLS), head (of a request: late, too large or malformed), idle, slow_reader.",
);

/// `aitask_exporter_accept_errors_total`
pub const ACCEPT_ERRORS: Family = counter(
    "aitask_exporter_accept_errors_total",
    &[],
    "Attempts to accept a connection that failed, mostly for lack of file descriptors, of which some are kept for the next attempt. Compare process_open_fds with process_max_fds.",
);

/// `aitask_exporter_http_requests_rejected_total`
pub const REQUESTS_REJECTED: Family = counter(
    "aitask_exporter_http_requests_rejected_total",
    &["reason"],
    "Requests that were refused before anything was done for them: too_many_scrapes, too_many_pages, too_many_probes (503), host (400), cross_site (403), unauthorized (401).",
);

/// `probe_success`
pub const PROBE_SUCCESS: Family =
    gauge("probe_success", &[], "1 if the probe got a usable answer, else 0.");

/// `probe_duration_seconds`
pub const PROBE_DURATION: Family = gauge("probe_duration_seconds", &[], "How long the probe took.");
