//! The families with series for each source of tasks: an entry of `http_sd_configs`,
//! `file_sd_configs` or `sql_sd_configs`, or the list of a provider.

use super::{Family, counter, gauge, histogram};

/// Families with series for each source, in the order of the documentation.
pub const DISCOVERY_FAMILIES: &[Family] = &[
    SD_DISCOVERED_TASKS,
    SD_REFRESHES,
    SD_REFRESH_FAILURES,
    SD_REFRESH_DURATION,
    SD_LAST_SUCCESS,
    SD_REJECTED_TASKS,
];

/// `aitask_sd_discovered_tasks`
pub const SD_DISCOVERED_TASKS: Family = gauge(
    "aitask_sd_discovered_tasks",
    &["mechanism", "config"],
    "Distinct usable tasks in the last good list of the source; 0 before the first.",
);

/// `aitask_sd_refreshes_total`
pub const SD_REFRESHES: Family = counter(
    "aitask_sd_refreshes_total",
    &["mechanism", "config"],
    "Completed attempts to read the list of the source, successful or not.",
);

/// `aitask_sd_refresh_failures_total`
pub const SD_REFRESH_FAILURES: Family = counter(
    "aitask_sd_refresh_failures_total",
    &["mechanism", "config", "reason"],
    "Attempts that failed, by reason; the last good list stays in force. The reasons are those of \
     aitask_poll_failures_total, and read (a file) and query (a database).",
);

/// `aitask_sd_refresh_duration_seconds`
pub const SD_REFRESH_DURATION: Family = histogram(
    "aitask_sd_refresh_duration_seconds",
    &["mechanism", "config"],
    &[0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0],
    "Duration of attempts to read the list of the source, all pages together.",
);

/// `aitask_sd_last_success_timestamp_seconds`
pub const SD_LAST_SUCCESS: Family = gauge(
    "aitask_sd_last_success_timestamp_seconds",
    &["mechanism", "config"],
    "When the list of the source was last read, or found unchanged; 0 before the first time.",
);

/// `aitask_sd_rejected_tasks`
pub const SD_REJECTED_TASKS: Family = gauge(
    "aitask_sd_rejected_tasks",
    &["mechanism", "config", "reason"],
    "Elements of the last good list that are not usable tasks, by reason; /service-discovery names \
     the first 100 of them.",
);
