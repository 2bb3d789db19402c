//! The families of the web side: what clients cost, and what was refused to them.

use super::{Family, counter, gauge};

/// `aitask_exporter_http_requests_rejected_total`
pub const REQUESTS_REJECTED: Family = counter(
    "aitask_exporter_http_requests_rejected_total",
    &["reason"],
    "Requests that were refused before anything was done for them: too_many_scrapes, too_many_pages, too_many_probes (503), host (400), cross_site (403), unauthorized (401).",
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
