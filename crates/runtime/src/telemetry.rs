use std::fmt;
use std::io::Write;

use leafgate_identity::UnixMs;
use serde::Deserialize;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::{Clock, SystemClock};

/// How log lines are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// `time LEVEL message key=value …`, for people.
    #[default]
    Text,
    /// One JSON object a line, for machines.
    Json,
}

/// Lines that may wait for a slow reader of the log before further ones are dropped: a stuck log
/// pipe must never keep devices out.
const WAITING_LINES_LIMIT: usize = 65_536;

/// Starts logging to standard output, with what `filter` lets through (`info`,
/// `leafgate_feed=debug,info`, …).
///
/// # Errors
/// A filter that can't be read, or a second call in one process.
pub fn init_telemetry(format: LogFormat, filter: &str) -> Result<LogOutput, InitTelemetryError> {
    let filter = EnvFilter::try_new(filter).map_err(|source| InitTelemetryError::Filter {
        filter: filter.to_owned(),
        source,
    })?;
    let output = LogOutput::new(format, std::io::stdout());
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(LineFormat {
            format,
            clock: SystemClock::start(),
        })
        .with_writer(output.writer.writer.clone())
        .try_init()
        .map_err(|_| InitTelemetryError::Twice)?;
    Ok(output)
}

/// Why logging could not start.
#[derive(Debug, thiserror::Error)]
pub enum InitTelemetryError {
    /// The filter's text is wrong.
    #[error(
        "{filter:?} is not a log filter; write a level (error, warn, info, debug, trace) or target=level, separated by commas"
    )]
    Filter {
        /// The text.
        filter: String,
        /// What is wrong with it.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Logging has been started before.
    #[error("logging was started twice in one process")]
    Twice,
}

/// Keeps the log flowing; dropped, it writes out what waits, for up to a second.
#[derive(Debug)]
pub struct LogOutput {
    writer: LogWriter,
    _flush_at_end: WorkerGuard,
}

impl LogOutput {
    /// Writes to `target`, from a thread of its own.
    pub fn new(format: LogFormat, target: impl Write + Send + 'static) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .buffered_lines_limit(WAITING_LINES_LIMIT)
            .lossy(true)
            .finish(target);
        Self {
            writer: LogWriter { writer, format },
            _flush_at_end: guard,
        }
    }

    /// A writer for lines that are made in bulk, past `tracing`.
    pub fn writer(&self) -> LogWriter {
        self.writer.clone()
    }
}

/// Appends finished lines to the log, never waiting for its reader.
#[derive(Debug, Clone)]
pub struct LogWriter {
    writer: NonBlocking,
    format: LogFormat,
}

impl LogWriter {
    /// The format that lines must have.
    pub fn format(&self) -> LogFormat {
        self.format
    }

    /// Hands over whole lines; dropped and counted where too many wait.
    pub fn write(&mut self, lines: &str) {
        // Lossy: a full queue drops the lines and counts them, and never returns an error.
        let _ = self.writer.write_all(lines.as_bytes());
    }

    /// Writes of this process that were dropped because the log's reader was too slow.
    pub fn dropped(&self) -> usize {
        self.writer.error_counter().dropped_lines()
    }
}

/// One log line under construction: time, level, message, then fields, each value escaped so that
/// no control byte and no forged field can enter the log.
#[derive(Debug)]
pub struct LogLine<'a> {
    line: &'a mut String,
    format: LogFormat,
}

impl<'a> LogLine<'a> {
    /// Begins a line at the end of `buffer`.
    pub fn begin(
        buffer: &'a mut String,
        format: LogFormat,
        at: UnixMs,
        level: Level,
        message: &str,
    ) -> Self {
        let mut line = Self {
            line: buffer,
            format,
        };
        match format {
            LogFormat::Text => line.push(format_args!("{at} {level:<5} {}", Escaped(message))),
            LogFormat::Json => {
                line.push(format_args!("{{\"time\":\"{at}\",\"level\":\"{level}\""));
                line.text("message", message);
            }
        }
        line
    }

    /// Adds a field with a text value.
    pub fn text(&mut self, key: &str, value: &str) {
        match self.format {
            LogFormat::Text if is_plain(value) => self.push(format_args!(" {key}={value}")),
            LogFormat::Text => self.push(format_args!(" {key}={value:?}")),
            LogFormat::Json => {
                self.push(format_args!(",\"{key}\":"));
                self.line
                    .push_str(&serde_json::Value::from(value).to_string());
            }
        }
    }

    /// Adds a field with a number.
    pub fn number(&mut self, key: &str, value: u64) {
        self.bare(key, &value);
    }

    /// Adds a field whose value needs no quotes in either format.
    fn bare(&mut self, key: &str, value: &dyn fmt::Display) {
        match self.format {
            LogFormat::Text => self.push(format_args!(" {key}={value}")),
            LogFormat::Json => self.push(format_args!(",\"{key}\":{value}")),
        }
    }

    /// Ends the line.
    pub fn end(self) {
        self.line.push_str(match self.format {
            LogFormat::Text => "\n",
            LogFormat::Json => "}\n",
        });
    }

    fn push(&mut self, text: fmt::Arguments<'_>) {
        // Writing to a String can't fail.
        let _ = fmt::Write::write_fmt(self.line, text);
    }
}

/// Whether a value can stand in a text line without quotes.
fn is_plain(value: &str) -> bool {
    !value.is_empty()
        && value.chars().all(|c| {
            c.is_alphanumeric() || (c.is_ascii_graphic() && !matches!(c, '"' | '=' | '\\'))
        })
}

/// Free text with escapes for what would steer a terminal: control characters, and those beyond
/// ASCII that don't print.
struct Escaped<'a>(&'a str);

impl fmt::Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| {
            if c == ' ' || c.is_ascii_graphic() {
                fmt::Write::write_char(f, c)
            } else {
                write!(f, "{}", c.escape_debug())
            }
        })
    }
}

/// Writes `tracing` events in the same two formats.
struct LineFormat {
    format: LogFormat,
    clock: SystemClock,
}

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let mut text = String::new();
        let level = *event.metadata().level();
        let mut line = LogLine::begin(
            &mut text,
            self.format,
            self.clock.now(),
            level,
            &fields.message,
        );
        for (key, value) in &fields.others {
            match value {
                Value::Text(text) => line.text(key, text),
                Value::Bare(text) => line.bare(key, text),
            }
        }
        line.end();
        writer.write_str(&text)
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, Value)>,
}

enum Value {
    Text(String),
    /// A number or a truth value.
    Bare(String),
}

impl Visit for Fields {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value.to_owned());
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.add_bare(field, value.to_string());
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.add_bare(field, value.to_string());
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.add_bare(field, value.to_string());
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut cause = value.source();
        while let Some(error) = cause {
            text.push_str(": ");
            text.push_str(&error.to_string());
            cause = error.source();
        }
        self.add(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format!("{value:?}"));
    }
}

impl Fields {
    fn add(&mut self, field: &Field, value: String) {
        if field.name() == "message" {
            self.message = value;
        } else {
            self.others.push((field.name(), Value::Text(value)));
        }
    }

    fn add_bare(&mut self, field: &Field, value: String) {
        self.others.push((field.name(), Value::Bare(value)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(format: LogFormat) -> String {
        let mut buffer = String::new();
        let at = UnixMs::new(1_795_226_584_117);
        let mut line = LogLine::begin(&mut buffer, format, at, Level::WARN, "decision denied");
        line.text("reason", "name-malformed");
        line.text("name", "a\nb\u{1b}[31m \"x\"=1");
        line.text("empty", "");
        line.number("micros", 71);
        line.end();
        buffer
    }

    #[test]
    fn a_text_line_keeps_foreign_text_inside_its_quotes() {
        assert_eq!(
            line(LogFormat::Text),
            "2026-11-21T02:03:04.117Z WARN  decision denied reason=name-malformed \
             name=\"a\\nb\\u{1b}[31m \\\"x\\\"=1\" empty=\"\" micros=71\n"
        );
    }

    #[test]
    fn a_text_line_shows_what_would_steer_a_terminal() {
        let mut buffer = String::new();
        let at = UnixMs::new(0);
        let message = "gerät\u{202e} \u{9b}";
        let mut line = LogLine::begin(&mut buffer, LogFormat::Text, at, Level::INFO, message);
        line.text("name", "a\u{202e}b");
        line.text("site", "Ærø");
        line.end();
        assert_eq!(
            buffer,
            "1970-01-01T00:00:00.000Z INFO  gerät\\u{202e} \\u{9b} name=\"a\\u{202e}b\" site=Ærø\n"
        );
    }

    #[test]
    fn a_json_line_is_one_object() {
        let text = line(LogFormat::Json);
        assert_eq!(text.matches('\n').count(), 1);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value["time"], "2026-11-21T02:03:04.117Z");
        assert_eq!(value["level"], "WARN");
        assert_eq!(value["name"], "a\nb\u{1b}[31m \"x\"=1");
        assert_eq!(value["micros"], 71);
    }
}
