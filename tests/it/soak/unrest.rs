//! The changes of the exporter's host during the soak test. Each change is repeated after polls
//! have gone on, so that a slow machine sees fewer of them.

use std::time::{Duration, Instant};

use aitask_simulator::Options;

use crate::harness::host::Host;
use crate::harness::samples::Samples;
use crate::harness::{Gateway, READ_TIMEOUT, now};

/// Hours by which the host's clock is ahead, one after the other: forward and back, over the true
/// time and over days.
const HOURS: [i64; 6] = [3, -2, 26, 1, -30, 0];
/// Number of polls of each task between two steps of the clock.
const ROUNDS: f64 = 5.0;

/// A clock that steps, and the provider `good`, whose polls must not care.
pub struct Clock<'a> {
    host: &'a Host,
    tasks: usize,
    interval: Duration,
    pub steps: usize,
    hours: i64,
    /// Time of the last step, and the number of polls at that time.
    since: Option<(Instant, f64)>,
}

impl<'a> Clock<'a> {
    /// Creates a clock that is right at first; `good` has so many tasks, each polled once per
    /// interval.
    pub fn of(host: &'a Host, tasks: usize, interval: Duration) -> Self {
        Self { host, tasks, interval, steps: 0, hours: 0, since: None }
    }

    /// Looks at a scrape, which began at a moment, and steps if it is time.
    pub fn tick(&mut self, scraped: Instant, samples: &Samples) {
        let polls = samples.value("aitask_polls_total", &[("provider", "good")]).unwrap();
        let (since, before) = *self.since.get_or_insert((scraped, polls));
        let (took, new) = (since.elapsed(), polls - before);
        let tasks = self.tasks as f64;
        // Each task at its own place in every interval, and once more where it was late.
        let most = tasks * (took.div_duration_f64(self.interval) + 2.0);
        assert!(new <= most, "{new} polls within {took:?} after step {}", self.steps);
        assert!(took < READ_TIMEOUT, "{new} polls in all that time after step {}", self.steps);
        if new >= ROUNDS * tasks && self.is_told(samples) {
            self.hours = HOURS[self.steps % HOURS.len()];
            self.host.set_clock(self.hours);
            self.steps += 1;
            self.since = Some((scraped, polls));
        }
    }

    /// Reports whether the exporter uses this clock and has polled every task since it was set.
    fn is_told(&self, samples: &Samples) -> bool {
        let time = now() + self.hours as f64 * 3_600.0;
        let last = samples.find("aitask_last_success_timestamp_seconds", &[("provider", "good")]);
        last.len() == self.tasks && last.iter().all(|(_, at)| (at - time).abs() < 60.0)
    }
}

/// A provider whose name is given another address again and again, where another gateway listens
/// while the one before it dies.
pub struct Nomad<'a> {
    host: &'a Host,
    gateway: Gateway,
    pub moves: u8,
}

impl<'a> Nomad<'a> {
    pub const NAME: &'static str = "nomad.test";
    pub const TASK: &'static str = "running-nomad";

    pub fn of(host: &'a Host) -> Self {
        host.set_name(Self::NAME, "127.0.0.2");
        Self { host, gateway: Gateway::at("127.0.0.2:0", Options::default()), moves: 0 }
    }

    /// Its URL, which never changes.
    pub fn url(&self) -> String {
        format!("http://{}:{}", Self::NAME, self.gateway.address.port())
    }

    /// Reports whether the current address was polled.
    pub fn is_found(&self) -> bool {
        self.gateway.requests(Self::TASK) > 0
    }

    /// Moves once it was found.
    pub fn move_on(&mut self) {
        if self.is_found() {
            self.moves += 1;
            let address = format!("127.0.0.{}", 3 + self.moves % 200);
            let port = self.gateway.address.port();
            let next = Gateway::at((&*address, port), Options::default());
            self.host.set_name(Self::NAME, &address);
            self.gateway = next;
        }
    }
}
