//! Metrics of the web server.

use prometheus::{IntCounter, IntGauge};

use super::{Telemetry, int_counter, int_gauge};
use crate::family::{ACCEPT_ERRORS, CONNECTIONS, CONNECTIONS_CLOSED, REQUESTS_REJECTED};

/// The reason for rejecting a request before its handler runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestRejection {
    /// The maximum number of concurrent scrapes was reached.
    Scrapes,
    /// The maximum number of concurrent requests for pages, lists of tasks or the configuration was
    /// reached.
    Pages,
    /// The maximum number of concurrent probes was reached.
    Probes,
    /// The maximum number of concurrent registrations was reached.
    Registrations,
    /// The header `Host` is missing, duplicated or malformed.
    Host,
    /// A page of another site made the browser send the request.
    CrossSite,
    /// The password is missing or wrong.
    Unauthorized,
}

impl RequestRejection {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 7] = [
        Self::Scrapes,
        Self::Pages,
        Self::Probes,
        Self::Registrations,
        Self::Host,
        Self::CrossSite,
        Self::Unauthorized,
    ];

    /// Returns the value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scrapes => "too_many_scrapes",
            Self::Pages => "too_many_pages",
            Self::Probes => "too_many_probes",
            Self::Registrations => "too_many_registrations",
            Self::Host => "host",
            Self::CrossSite => "cross_site",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// The reason for closing a connection before its client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseReason {
    /// The connection was idle for the longest time, and a new one needed its slot.
    Evicted,
    /// The TLS handshake failed or took too long.
    Handshake,
    /// The head of a request was late, too large or malformed.
    Head,
    /// No further request arrived.
    Idle,
    /// The client read too little of a response for too long.
    SlowReader,
}

impl CloseReason {
    /// All reasons, in the order of the counters.
    pub const ALL: [Self; 5] =
        [Self::Evicted, Self::Handshake, Self::Head, Self::Idle, Self::SlowReader];

    /// Returns the value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Evicted => "evicted",
            Self::Handshake => "handshake",
            Self::Head => "head",
            Self::Idle => "idle",
            Self::SlowReader => "slow_reader",
        }
    }
}

/// The metrics of the web server. Each series exists from the start.
#[derive(Clone, Debug)]
pub struct WebTelemetry {
    rejected: [IntCounter; RequestRejection::ALL.len()],
    closed: [IntCounter; CloseReason::ALL.len()],
    connections: IntGauge,
    accept_errors: IntCounter,
}

impl WebTelemetry {
    /// Creates metrics that are not registered yet.
    pub(super) fn new() -> Self {
        let counter = |family, reason| int_counter(family, &[("reason", reason)]);
        Self {
            rejected: RequestRejection::ALL
                .map(|reason| counter(&REQUESTS_REJECTED, reason.as_str())),
            closed: CloseReason::ALL.map(|reason| counter(&CONNECTIONS_CLOSED, reason.as_str())),
            connections: int_gauge(&CONNECTIONS, &[]),
            accept_errors: int_counter(&ACCEPT_ERRORS, &[]),
        }
    }

    /// Registers the metrics in the registry of `telemetry`.
    pub(super) fn register(&self, telemetry: &Telemetry) {
        for counter in self.rejected.iter().chain(&self.closed) {
            telemetry.register(counter.clone());
        }
        telemetry.register(self.connections.clone());
        telemetry.register(self.accept_errors.clone());
    }

    /// Counts a rejected request.
    pub fn rejected(&self, reason: RequestRejection) {
        increment(reason, &RequestRejection::ALL, &self.rejected);
    }

    /// Counts a connection that the exporter closed.
    pub fn closed(&self, reason: CloseReason) {
        increment(reason, &CloseReason::ALL, &self.closed);
    }

    /// Counts a connection that was opened.
    pub(crate) fn connection_opened(&self) {
        self.connections.inc();
    }

    /// Counts a connection that has ended, for whatever reason.
    pub(crate) fn connection_ended(&self) {
        self.connections.dec();
    }

    /// Counts a failure to accept a connection.
    pub(crate) fn accept_failed(&self) {
        self.accept_errors.inc();
    }
}

/// Increments the counter with the position of `reason` in `all`.
fn increment<T: Copy + PartialEq>(reason: T, all: &[T], counters: &[IntCounter]) {
    let mut counters = all.iter().zip(counters);
    if let Some((_, counter)) = counters.find(|(known, _)| **known == reason) {
        counter.inc();
    }
}
