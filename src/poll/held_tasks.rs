//! The number of a provider's tasks that are not polled because a secret cannot be read.

use std::sync::Arc;

use crate::telemetry::Telemetry;
use crate::telemetry::provider::ProviderTelemetry;

/// Number of tasks reported as held back because a secret cannot be read; 0 once it is dropped.
#[derive(Debug)]
pub struct HeldTasks {
    total: Arc<Telemetry>,
    provider: Arc<ProviderTelemetry>,
    count: usize,
}

impl HeldTasks {
    /// Reports no tasks.
    pub fn new(total: &Arc<Telemetry>, provider: &Arc<ProviderTelemetry>) -> Self {
        Self { total: Arc::clone(total), provider: Arc::clone(provider), count: 0 }
    }

    /// Returns the number of tasks.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Sets the number of tasks.
    pub fn set(&mut self, tasks: usize) {
        self.total.tasks_without_credentials(self.count, tasks);
        self.provider.set_without_credentials(tasks);
        self.count = tasks;
    }
}

impl Drop for HeldTasks {
    fn drop(&mut self) {
        self.set(0);
    }
}
