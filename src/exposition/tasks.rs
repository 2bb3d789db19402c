//! The families of the tasks: which lines the tasks of a block have in each.

use std::time::Duration;

use super::text::{Value, escape, write_value};
use crate::clock::Timestamp;
use crate::family::{self, Family};
use crate::record::Record;
use crate::store::area::Block;
use crate::store::facet::Facet;
use crate::task::{Task, TaskCommon};

/// The moment of the scrape, as far as a task shows it.
pub struct Moment {
    /// Now.
    pub now: Timestamp,
    /// After how long a task of the provider counts as stuck.
    pub stuck_after: Duration,
}

/// What a task shows in a family: the values of the labels after `provider` and `task_id`, and
/// the sample's value.
type Shown<'a> = ([&'a str; 2], Value);

/// A family's rule: what a task shows at a moment, if anything.
type Rule = for<'a> fn(&'a Record, &Moment) -> Option<Shown<'a>>;

const NO_LABELS: [&str; 2] = [""; 2];

/// A family of the tasks.
pub struct TaskFamily {
    /// Its entry in the table of families.
    pub family: Family,
    rule: Rule,
}

/// The family of a facet.
pub const fn family(facet: Facet) -> TaskFamily {
    let (family, rule): (Family, Rule) = match facet {
        Facet::JobType => (family::INFO, |task, _| Some(([task.job_type()?, ""], Value::ONE))),
        Facet::Status => {
            (family::STATUS, |task, _| Some(([task.state().as_str(), task.status()], Value::ONE)))
        }
        Facet::QueueAge => (family::QUEUE_AGE, |task, moment| {
            Some((NO_LABELS, Value::Duration(task.queue_age(moment.now)?)))
        }),
        Facet::Enqueued => (family::ENQUEUE_TIMESTAMP, |task, _| {
            Some(([task.enqueued_since(), ""], Value::Timestamp(task.enqueued())))
        }),
        Facet::StateSince => (family::STATE_TIMESTAMP, |task, _| {
            Some((NO_LABELS, Value::Timestamp(task.state_since())))
        }),
        Facet::Progress => {
            (family::PROGRESS, |task, _| Some((NO_LABELS, Value::Float(task.progress()?))))
        }
        Facet::Duration => {
            (family::DURATION, |task, _| Some((NO_LABELS, Value::Duration(task.duration()?))))
        }
        Facet::Stuck => (family::STUCK, |task, moment| {
            let stuck = u64::from(moment.is_stuck(task));
            (!task.is_final()).then_some((NO_LABELS, Value::Count(stuck)))
        }),
        Facet::Up => (family::UP, |task, _| Some((NO_LABELS, Value::Count(u64::from(task.up()?))))),
        Facet::Error => (family::ERROR, |task, _| {
            let (reason, code) = task.error()?;
            Some(([reason, code], Value::ONE))
        }),
        Facet::LastPoll => (family::LAST_POLL_TIMESTAMP, |task, _| {
            Some((NO_LABELS, Value::Timestamp(task.last_poll()?)))
        }),
        Facet::LastSuccess => (family::LAST_SUCCESS_TIMESTAMP, |task, _| {
            Some((NO_LABELS, Value::Timestamp(task.last_success()?)))
        }),
    };
    TaskFamily { family, rule }
}

/// What the lines of a block depend on besides its records; `None` where on the moment itself,
/// so that they cannot be kept.
pub fn marks(facet: Facet, block: &Block, moment: &Moment) -> Option<Vec<u64>> {
    match facet {
        Facet::QueueAge => None,
        Facet::Stuck => {
            let bits = |records: &[Record]| {
                records.iter().fold(0, |bits, task| bits << 1 | u64::from(moment.is_stuck(task)))
            };
            Some(block.records().chunks(64).map(bits).collect())
        }
        _ => Some(Vec::new()),
    }
}

impl Moment {
    fn is_stuck(&self, task: &Record) -> bool {
        task.is_stuck(self.stuck_after, self.now)
    }
}

impl TaskFamily {
    /// Writes the lines of a block's tasks.
    pub fn write(&self, block: &Block, moment: &Moment, lines: &mut Vec<u8>) {
        let mut line = Line::new(&self.family);
        for record in block.records() {
            if let Some((labels, value)) = (self.rule)(record, moment) {
                line.write(&record.task, labels, value, lines);
            }
        }
    }
}

/// The pieces of a line that are the same for many tasks.
struct Line<'a> {
    name: &'static str,
    of: Option<&'a TaskCommon>,
    before_id: Vec<u8>,
    after_id: Vec<u8>,
    /// The names of the labels that the rule fills.
    labels: Vec<String>,
}

impl<'a> Line<'a> {
    fn new(family: &Family) -> Self {
        let labels = family.labels.iter().skip(2).map(|name| format!("\",{name}=\"")).collect();
        Self { name: family.name, of: None, before_id: Vec::new(), after_id: Vec::new(), labels }
    }

    fn write(&mut self, task: &'a Task, labels: [&str; 2], value: Value, lines: &mut Vec<u8>) {
        let common = &*task.common;
        if !self.of.is_some_and(|of| std::ptr::eq(of, common)) {
            self.begin(common);
        }
        lines.extend_from_slice(&self.before_id);
        escape(lines, &task.id, true);
        lines.extend_from_slice(&self.after_id);
        for (name, value) in self.labels.iter().zip(labels) {
            lines.extend_from_slice(name.as_bytes());
            escape(lines, value, true);
        }
        lines.extend_from_slice(b"\"} ");
        write_value(lines, value);
        lines.push(b'\n');
    }

    fn begin(&mut self, common: &'a TaskCommon) {
        self.of = Some(common);
        self.before_id.clear();
        self.before_id.extend(self.name.as_bytes());
        self.before_id.extend(b"{provider=\"");
        escape(&mut self.before_id, &common.provider, true);
        self.before_id.extend(b"\",task_id=\"");
        self.after_id.clear();
        for (name, value) in &*common.labels {
            self.after_id.extend(b"\",");
            self.after_id.extend(name.as_bytes());
            self.after_id.extend(b"=\"");
            escape(&mut self.after_id, value, true);
        }
    }
}
