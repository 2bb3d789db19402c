//! Counters of the web side.

use prometheus::{IntCounter, IntGauge};

use super::{Telemetry, int_counter, int_gauge};
use crate::family::{ACCEPT_ERRORS, CONNECTIONS, CONNECTIONS_CLOSED, REQUESTS_REJECTED};

/// A reason for refusing a request before its handler sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejected {
    /// As many scrapes as are allowed were under way.
    Scrapes,
    /// As many pages, lists of tasks or configurations as are allowed were under way.
    Pages,
    /// As many probes as are allowed were under way.
    Probes,
    /// The header `Host` is missing, there twice or not readable.
    Host,
    /// The page of another site asks through its visitor's browser.
    CrossSite,
    /// The password is missing or wrong.
    Unauthorized,
}

impl Rejected {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 6] =
        [Self::Scrapes, Self::Pages, Self::Probes, Self::Host, Self::CrossSite, Self::Unauthorized];

    /// The value of the label `reason`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Scrapes => "too_many_scrapes",
            Self::Pages => "too_many_pages",
            Self::Probes => "too_many_probes",
            Self::Host => "host",
            Self::CrossSite => "cross_site",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// A reason for closing a connection before its client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Closed {
    /// It was the idlest, and another one needed its place.
    Evicted,
    /// Its TLS handshake failed or took too long.
    Handshake,
    /// The head of a request was late, too large or malformed.
    Head,
    /// No further request came.
    Idle,
    /// Its client took too little of an answer for too long.
    SlowReader,
}

impl Closed {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 5] =
        [Self::Evicted, Self::Handshake, Self::Head, Self::Idle, Self::SlowReader];

    /// The value of the label `reason`.
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

/// Handles on the families of the web side. Each series exists from the start.
#[derive(Clone, Debug)]
pub struct WebTelemetry {
    rejected: [IntCounter; Rejected::ALL.len()],
    closed: [IntCounter; Closed::ALL.len()],
    connections: IntGauge,
    accept_errors: IntCounter,
}

impl WebTelemetry {
    /// Handles that no registry shows yet.
    pub(super) fn new() -> Self {
        let counter = |family, reason| int_counter(family, &[("reason", reason)]);
        Self {
            rejected: Rejected::ALL.map(|reason| counter(&REQUESTS_REJECTED, reason.as_str())),
            closed: Closed::ALL.map(|reason| counter(&CONNECTIONS_CLOSED, reason.as_str())),
            connections: int_gauge(&CONNECTIONS, &[]),
            accept_errors: int_counter(&ACCEPT_ERRORS, &[]),
        }
    }

    /// Shows the families in the registry of `telemetry`.
    pub(super) fn register(&self, telemetry: &Telemetry) {
        for counter in self.rejected.iter().chain(&self.closed) {
            telemetry.register(counter.clone());
        }
        telemetry.register(self.connections.clone());
        telemetry.register(self.accept_errors.clone());
    }

    /// Counts a request that was refused.
    pub fn rejected(&self, reason: Rejected) {
        increment(reason, &Rejected::ALL, &self.rejected);
    }

    /// Counts a connection that the exporter closed.
    pub fn closed(&self, reason: Closed) {
        increment(reason, &Closed::ALL, &self.closed);
    }

    /// Counts a connection that was opened.
    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    /// Counts a connection that has ended, for whatever reason.
    pub fn connection_ended(&self) {
        self.connections.dec();
    }

    /// Counts a failure to accept a connection.
    pub fn accept_failed(&self) {
        self.accept_errors.inc();
    }
}

/// Increments the counter that stands where `reason` stands among all.
fn increment<T: Copy + PartialEq>(reason: T, all: &[T], counters: &[IntCounter]) {
    let mut counters = all.iter().zip(counters);
    if let Some((_, counter)) = counters.find(|(known, _)| **known == reason) {
        counter.inc();
    }
}
