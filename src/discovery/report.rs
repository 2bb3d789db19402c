//! Report of a source's list for a person: its tasks, and the elements that are rejected.

use std::fmt::{self, Write};

use super::list::{ListedTask, SourceList};
use crate::config::discovery::SourceConfig;
use crate::printable::escape;

/// Returns a report in plain text. Texts of the list are escaped, so that they cannot add lines.
pub fn report(source: &SourceConfig, list: &SourceList) -> String {
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = write_report(&mut out, source, list);
    out
}

/// Returns mechanism and name of a source, as people may see them.
pub fn title(source: &SourceConfig) -> String {
    format!("{} {}", source.mechanism().as_str(), word(&source.name))
}

fn write_report(out: &mut String, source: &SourceConfig, list: &SourceList) -> fmt::Result {
    let rejected = list.rejected.total();
    let (title, tasks) = (title(source), counted(list.tasks.len(), "task"));
    writeln!(out, "{title}: {tasks}, {} rejected", counted(rejected, "element"))?;
    for listed in &list.tasks {
        write_task(out, listed)?;
    }
    for element in list.rejected.first() {
        let (reason, message) = (element.reason, escape(&element.message));
        writeln!(out, "  rejected, {reason}: {}: {message}", word(&element.element))?;
    }
    match rejected.saturating_sub(list.rejected.first().len()) {
        0 => Ok(()),
        more => writeln!(out, "  and {more} more rejected"),
    }
}

fn write_task(out: &mut String, ListedTask { task, enqueue_time }: &ListedTask) -> fmt::Result {
    let common = &task.common;
    write!(out, "  {} {}", word(&common.provider), word(&task.id))?;
    for (kind, pairs) in [("labels", &common.labels), ("params", &common.params)] {
        if !pairs.is_empty() {
            let pairs = pairs.iter().map(|(name, value)| format!("{name}={}", quoted(value)));
            write!(out, " {kind}{{{}}}", pairs.collect::<Vec<_>>().join(","))?;
        }
    }
    if let Some(time) = enqueue_time {
        let iso = jiff::Timestamp::from_microsecond(time.micros());
        write!(out, " enqueued {}", iso.map_or_else(|_| time.to_string(), |iso| iso.to_string()))?;
    }
    writeln!(out)
}

fn counted(count: usize, noun: &str) -> String {
    format!("{count} {noun}{}", if count == 1 { "" } else { "s" })
}

/// Returns a text from outside as one word, in quotes if it is several or none.
fn word(text: &str) -> String {
    match text.is_empty() || text.contains(|c: char| c.is_whitespace() || c == '"') {
        true => quoted(text),
        false => escape(text),
    }
}

/// Returns a text from outside in quotes.
fn quoted(text: &str) -> String {
    format!("\"{}\"", escape(&text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::clock::Timestamp;
    use crate::config;
    use crate::discovery::list::{RejectReason, RejectedElement};
    use crate::task::{Labels, Task, TaskCommon};

    fn source() -> Arc<SourceConfig> {
        let text = "providers: [{ name: p, preset: mjdjourney }]\n\
                    file_sd_configs: [{ name: my jobs, files: [a.json] }]\n";
        let loaded = config::load_text("c.yml", text, Path::new(".")).unwrap();
        Arc::clone(&loaded.config.discovery[0])
    }

    fn task(
        id: &str,
        labels: Labels,
        params: Labels,
        enqueue_time: Option<Timestamp>,
    ) -> ListedTask {
        let common = Arc::new(TaskCommon { provider: "p".into(), labels, params });
        ListedTask { task: Task { id: id.into(), common }, enqueue_time }
    }

    #[test]
    fn tasks_and_rejected_elements_are_lines() {
        let none = || Labels::from([]);
        let labels = Labels::from([
            ("customer".into(), "a \"b\"\n".into()),
            ("team".into(), "vidéo".into()),
        ]);
        let params = Labels::from([("kind".into(), "text2video".into())]);
        let enqueued = Some(Timestamp::from_micros(1_750_000_000_500_000));
        let mut list = SourceList {
            tasks: vec![
                task("42a28dda", labels, params, enqueued),
                task("a b\u{202e}", none(), none(), None),
            ],
            ..SourceList::default()
        };
        for number in 0..101 {
            list.rejected.add(RejectReason::Labels, || RejectedElement {
                element: format!("x{number}"),
                reason: RejectReason::Labels,
                message: "element 7: no\ntext".to_owned(),
            });
        }
        let report = report(&source(), &list);
        let lines: Vec<_> = report.lines().collect();
        assert_eq!(
            lines[..4],
            [
                "file \"my jobs\": 2 tasks, 101 elements rejected",
                r#"  p 42a28dda labels{customer="a \"b\"\n",team="vidéo"} params{kind="text2video"} enqueued 2025-06-15T15:06:40.5Z"#,
                r#"  p "a b\u{202e}""#,
                r"  rejected, labels: x0: element 7: no\ntext",
            ]
        );
        assert_eq!((lines.len(), lines[103]), (104, "  and 1 more rejected"));
    }
}
