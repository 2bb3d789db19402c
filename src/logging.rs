//! Log lines: one event per line, in logfmt or JSON, on stderr. No value can break out of its
//! field, whatever a provider sends.

use std::borrow::Cow;
use std::fmt::{self, Write};
use std::panic::PanicHookInfo;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::prelude::*;
use tracing_subscriber::registry::LookupSpan;

use crate::cli::{LogFlags, LogFormat, LogLevel};
use crate::label::bounded;
use crate::printable::is_printable;

/// Starts logging to stderr, including panics. A second call has no effect.
pub fn init(flags: LogFlags) {
    let level = match flags.level {
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // Libraries log only warnings and errors.
    let targets = Targets::new()
        .with_target(env!("CARGO_CRATE_NAME"), level)
        .with_default(level.min(LevelFilter::WARN));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // It would report a closed stderr on stderr, and panic.
        .log_internal_errors(false)
        .event_format(LogLine(flags.format));
    // An error means that logging is set up already, for example in a test.
    let _ = tracing_subscriber::registry().with(lines.with_filter(targets)).try_init();
    std::panic::set_hook(Box::new(log_panic));
}

/// Calls `notify` at every panic from now on, in addition to the existing hooks.
pub fn on_panic(notify: impl Fn() + Send + Sync + 'static) {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        notify();
        before(panic);
    }));
}

/// Logs a panic, which the runtime and detached threads would swallow.
fn log_panic(panic: &PanicHookInfo<'_>) {
    let thread = std::thread::current();
    let thread = thread.name().unwrap_or_default();
    let place = panic.location().map(ToString::to_string).unwrap_or_default();
    let text = panic_text(panic.payload().downcast_ref(), panic.payload().downcast_ref());
    tracing::error!(thread, place, panic = &*text, "the exporter panicked: please report this");
}

/// Returns the part of a panic's message that is written in the code. A value formatted into it may
/// come from anywhere, such as a secret file.
fn panic_text<'p>(literal: Option<&'p &str>, formatted: Option<&'p String>) -> Cow<'p, str> {
    if let Some(literal) = literal {
        return Cow::Borrowed(literal);
    }
    let text = formatted.map_or("", String::as_str);
    let ends = [": ", " of `", "\n"].into_iter().filter_map(|end| text.find(end));
    bounded(ends.min().and_then(|end| text.get(..end)).unwrap_or(text))
}

struct LogLine(LogFormat);

impl<S, N> FormatEvent<S, N> for LogLine
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
        let mut pairs = EventFields(vec![
            ("time", Value::from(format!("{:.3}", jiff::Timestamp::now()))),
            ("level", Value::from(event.metadata().level().as_str().to_ascii_lowercase())),
        ]);
        event.record(&mut pairs);
        match self.0 {
            LogFormat::Logfmt => write_logfmt(&mut writer, &pairs.0)?,
            LogFormat::Json => {
                let object: Map<_, _> =
                    pairs.0.into_iter().map(|(k, v)| (k.to_owned(), v)).collect();
                write_json(&mut writer, &Value::Object(object))?;
            }
        }
        writeln!(writer)
    }
}

/// The fields of an event, in their order.
struct EventFields(Vec<(&'static str, Value)>);

impl EventFields {
    fn push(&mut self, field: &Field, value: Value) {
        match field.name() {
            // The message comes first, where people look for it.
            "message" => self.0.insert(self.0.len().min(2), ("msg", value)),
            name => self.0.push((name, value)),
        }
    }
}

impl Visit for EventFields {
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
            Value::String(text) if !needs_quotes(text) => out.write_str(text)?,
            other => write_json(out, other)?,
        }
    }
    Ok(())
}

fn needs_quotes(text: &str) -> bool {
    let bare = |c: char| is_printable(c) && !c.is_whitespace() && !"=\"\\`".contains(c);
    text.is_empty() || !text.chars().all(bare)
}

/// Writes a value as JSON, whose strings are also valid in logfmt.
///
/// JSON leaves characters such as the line separator unescaped, which some programs treat as the
/// end of a line; they are escaped as well.
fn write_json(out: &mut impl Write, value: &Value) -> fmt::Result {
    for c in value.to_string().chars() {
        if is_printable(c) {
            out.write_char(c)?;
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}")?;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_message_of_a_panic_ends_where_a_value_may_begin() {
        let text = |text: &str| panic_text(None, Some(&text.to_owned())).into_owned();
        for (message, logged) in [
            ("on purpose", "on purpose"),
            (
                "called `Option::unwrap()` on a `None` value",
                "called `Option::unwrap()` on a `None` value",
            ),
            (
                "called `Result::unwrap()` on an `Err` value: Token(\"sk-1\")",
                "called `Result::unwrap()` on an `Err` value",
            ),
            (
                "byte index 1 is not a char boundary; it is inside 'é' (bytes 0..2) of `é sk-1`",
                "byte index 1 is not a char boundary; it is inside 'é' (bytes 0..2)",
            ),
            (
                "assertion `left == right` failed\n  left: \"sk-1\"",
                "assertion `left == right` failed",
            ),
        ] {
            assert_eq!(text(message), logged);
        }
        assert_eq!(panic_text(Some(&"as it: is"), None), "as it: is");
        assert_eq!(panic_text(None, None), "");
    }

    fn line(text: &str) -> String {
        let mut out = String::new();
        write_logfmt(&mut out, &[("msg", Value::from(text)), ("n", Value::from(7))]).unwrap();
        out
    }

    #[test]
    fn a_value_stays_in_its_place() {
        assert_eq!(line("plain"), "msg=plain n=7");
        assert_eq!(line(""), "msg=\"\" n=7");
        assert_eq!(line("it's 已完成"), "msg=\"it's 已完成\" n=7");
        assert_eq!(line("a\nlevel=error msg=\"x\""), r#"msg="a\nlevel=error msg=\"x\"" n=7"#);
        assert_eq!(line("\u{1b}[2J\\"), r#"msg="\u001b[2J\\" n=7"#);
        for (c, escaped) in [('\u{85}', "0085"), ('\u{2028}', "2028"), ('\u{202e}', "202e")] {
            assert_eq!(line(&format!("a{c}b")), format!(r#"msg="a\u{escaped}b" n=7"#));
        }
    }

    proptest! {
        #[test]
        fn a_value_comes_back_and_nothing_beside_it(text in any::<String>()) {
            let line = line(&text);
            let value = line.strip_prefix("msg=").and_then(|rest| rest.strip_suffix(" n=7"));
            let value = value.unwrap();
            prop_assert!(line.chars().all(is_printable), "{line:?}");
            let read = match value.starts_with('"') {
                true => serde_json::from_str::<String>(value).unwrap(),
                false => {
                    prop_assert!(!value.contains([' ', '=', '"']), "{line}");
                    value.to_owned()
                }
            };
            prop_assert_eq!(&read, &text);
            let mut json = String::new();
            write_json(&mut json, &serde_json::json!({ "msg": text })).unwrap();
            prop_assert!(json.chars().all(is_printable), "{json:?}");
            let read: Value = serde_json::from_str(&json).unwrap();
            prop_assert_eq!(&read["msg"], &text);
        }
    }
}
