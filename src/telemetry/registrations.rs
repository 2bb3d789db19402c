//! Metrics of registrations by applications.

use prometheus::IntCounter;

use super::{Telemetry, int_counter};
use crate::family::REGISTRATIONS;

/// The result of a registration: the values of the `result` label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistrationResult {
    /// The task was not registered before.
    Created,
    /// The task was registered already.
    Renewed,
    /// The application has ended the registration.
    Deleted,
    /// The registration was refused.
    Rejected,
}

impl RegistrationResult {
    /// Every result, in the order of its declaration.
    pub const ALL: [Self; 4] = [Self::Created, Self::Renewed, Self::Deleted, Self::Rejected];

    /// Returns the value of the `result` label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Renewed => "renewed",
            Self::Deleted => "deleted",
            Self::Rejected => "rejected",
        }
    }
}

/// The counters of registrations. Each series exists from the start.
#[derive(Clone, Debug)]
pub struct RegistrationTelemetry([(RegistrationResult, IntCounter); RegistrationResult::ALL.len()]);

impl RegistrationTelemetry {
    /// Creates counters that are not registered yet.
    pub(super) fn new() -> Self {
        Self(
            RegistrationResult::ALL.map(|result| {
                (result, int_counter(&REGISTRATIONS, &[("result", result.as_str())]))
            }),
        )
    }

    /// Registers the counters in the registry of `telemetry`.
    pub(super) fn register(&self, telemetry: &Telemetry) {
        self.0.iter().for_each(|(_, total)| telemetry.register(total.clone()));
    }

    /// Counts registrations with the same result.
    pub fn count(&self, result: RegistrationResult, count: usize) {
        let total = self.0.iter().find(|(known, _)| *known == result);
        total.inspect(|(_, total)| total.inc_by(u64::try_from(count).unwrap_or(u64::MAX)));
    }
}
