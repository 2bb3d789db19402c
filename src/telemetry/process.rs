//! The families of the process.

use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::process_collector::ProcessCollector;
use prometheus::proto::{Counter, MetricFamily};
use rustix::time::{ClockId, clock_gettime};

/// The family whose value the crate rounds down to whole seconds.
const CPU_SECONDS: &str = "process_cpu_seconds_total";

/// The collector of the `prometheus` crate, with CPU time as fine as the kernel has it.
#[derive(Debug)]
pub struct Process(ProcessCollector);

impl Process {
    /// The process that runs this.
    pub fn new() -> Self {
        Self(ProcessCollector::for_self())
    }
}

impl Collector for Process {
    fn desc(&self) -> Vec<&Desc> {
        self.0.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.0.collect();
        for family in families.iter_mut().filter(|family| family.name() == CPU_SECONDS) {
            for metric in family.mut_metric() {
                let mut counter = Counter::default();
                counter.set_value(cpu_time().as_secs_f64());
                metric.set_counter(counter);
            }
        }
        families
    }
}

/// Returns the CPU time that all threads of the process have used, of the kernel and of the
/// program.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    // Neither is ever negative.
    let seconds = u64::try_from(time.tv_sec).unwrap_or_default();
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(process: &Process) -> f64 {
        let families = process.collect();
        let family = families.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
        family.get_metric()[0].get_counter().get_value()
    }

    #[test]
    fn cpu_time_has_the_resolution_of_the_kernel() {
        let process = Process::new();
        let start = shown(&process);
        let mut last = start;
        for _ in 0..100 {
            let next = std::iter::repeat_with(|| shown(&process)).find(|next| *next != last);
            let next = next.unwrap();
            assert!(next > last, "{next} after {last}");
            last = next;
        }
        // In whole seconds these would have been a hundred, which no work here takes.
        assert!(last - start < 60.0, "{start} to {last}");
        let whole = process.0.collect();
        let whole = whole.iter().find(|family| family.name() == CPU_SECONDS).unwrap();
        let whole = whole.get_metric()[0].get_counter().get_value();
        assert!(shown(&process) >= whole && last < whole + 60.0, "{last} and {whole}");
    }
}
