//! Log lines: one event a line, in logfmt or JSON, to stderr. A value cannot break out of its
//! place, whatever an upstream puts into it.

use std::fmt::{self, Write};

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{LogFlags, LogFormat, LogLevel};

/// Logs to stderr from now on. A second call changes nothing.
pub fn init(flags: LogFlags) {
    let level = match flags.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // An error says that somebody else has already set up logging, in a test, say.
    let _ = tracing_subscriber::fmt()
        .with_max_level(level)
        .with_writer(std::io::stderr)
        // It would tell of a stderr that is gone on stderr, and panic.
        .log_internal_errors(false)
        .event_format(Line(flags.format))
        .try_init();
}

struct Line(LogFormat);

impl<S, N> FormatEvent<S, N> for Line
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut pairs = Pairs(vec![
            ("time", Value::from(format!("{:.3}", jiff::Timestamp::now()))),
            ("level", Value::from(event.metadata().level().as_str().to_ascii_lowercase())),
        ]);
        event.record(&mut pairs);
        match self.0 {
            LogFormat::Logfmt => write_logfmt(&mut writer, &pairs.0)?,
            LogFormat::Json => {
                let object: Map<_, _> =
                    pairs.0.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                write!(writer, "{}", Value::Object(object))?;
            }
        }
        writeln!(writer)
    }
}

/// The fields of an event, in their order.
struct Pairs(Vec<(&'static str, Value)>);

impl Pairs {
    fn push(&mut self, field: &Field, value: Value) {
        match field.name() {
            // The message first, where the eye looks for it.
            "message" => self.0.insert(self.0.len().min(2), ("msg", value)),
            name => self.0.push((name, value)),
        }
    }
}

impl Visit for Pairs {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.push(field, Value::from(format!("{value:?}")));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.push(field, Value::from(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.push(field, Value::from(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.push(field, Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.push(field, Value::from(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.push(field, Value::from(value));
    }
}

fn write_logfmt(out: &mut impl Write, pairs: &[(&'static str, Value)]) -> fmt::Result {
    for (index, (key, value)) in pairs.iter().enumerate() {
        let space = if index == 0 { "" } else { " " };
        write!(out, "{space}{key}=")?;
        match value {
            Value::String(text) if needs_quotes(text) => write_quoted(out, text)?,
            Value::String(text) => out.write_str(text)?,
            other => write!(out, "{other}")?,
        }
    }
    Ok(())
}

fn needs_quotes(text: &str) -> bool {
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"=\"\\`".contains(c);
    text.is_empty() || !text.chars().all(plain)
}

/// In quotes, with quotes, backslashes and everything that moves a cursor escaped.
fn write_quoted(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    for c in text.chars() {
        match c {
            '\'' => out.write_char(c)?,
            _ => write!(out, "{}", c.escape_debug())?,
        }
    }
    out.write_char('"')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_in_its_place() {
        let line = |text: &str| {
            let mut out = String::new();
            write_logfmt(&mut out, &[("msg", Value::from(text)), ("n", Value::from(7))]).unwrap();
            out
        };
        assert_eq!(line("plain"), "msg=plain n=7");
        assert_eq!(line(""), "msg=\"\" n=7");
        assert_eq!(line("it's 已完成"), "msg=\"it's 已完成\" n=7");
        assert_eq!(line("a\nlevel=error msg=\"x\""), r#"msg="a\nlevel=error msg=\"x\"" n=7"#);
        assert_eq!(line("\u{1b}[2J\u{202e}\\"), r#"msg="\u{1b}[2J\u{202e}\\" n=7"#);
    }
}
