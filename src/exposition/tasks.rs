//! The lines of tasks.

use super::text::{escape, write_value};
use crate::family::{Family, ScrapeContext, TaskFamily, TaskSample};
use crate::store::area::Block;
use crate::task::{Task, TaskCommon};

/// Writes the lines of a block's tasks in one family.
pub fn write_lines(family: &TaskFamily, block: &Block, scrape: &ScrapeContext, out: &mut Vec<u8>) {
    let mut line = Line::new(&family.family);
    for record in block.records() {
        if let Some(sample) = family.sample(record, scrape) {
            line.write(&record.task, sample, out);
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

    fn write(&mut self, task: &'a Task, sample: TaskSample<'_>, lines: &mut Vec<u8>) {
        let common = &*task.common;
        if !self.of.is_some_and(|of| std::ptr::eq(of, common)) {
            self.begin(common);
        }
        lines.extend_from_slice(&self.before_id);
        escape(lines, &task.id, true);
        lines.extend_from_slice(&self.after_id);
        for (name, value) in self.labels.iter().zip(sample.labels) {
            lines.extend_from_slice(name.as_bytes());
            escape(lines, value, true);
        }
        lines.extend_from_slice(b"\"} ");
        write_value(lines, sample.value);
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
