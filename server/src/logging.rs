//! Log lines in the form etcd's users parse: one JSON object a line with `level`, `ts`, `caller`, `msg` and fields.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::sync::Mutex;
use std::time::{SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

use crate::config::LogFormat;

/// Sets the process's log up; called once.
pub fn start(level: &str, format: LogFormat, output: &str) -> io::Result<()> {
    let sink: Box<dyn Write + Send> = match output {
        "default" | "stderr" | "systemd/journal" => Box::new(io::stderr()),
        "stdout" => Box::new(io::stdout()),
        path => Box::new(OpenOptions::new().create(true).append(true).open(path)?),
    };
    let most = match level {
        "debug" => Level::DEBUG,
        "info" => Level::INFO,
        "warn" => Level::WARN,
        _ => Level::ERROR,
    };
    let lines = Lines { most, format, sink: Mutex::new(sink) };
    let subscriber = tracing_subscriber::registry().with(lines);
    tracing::subscriber::set_global_default(subscriber).map_err(io::Error::other)
}

struct Lines {
    most: Level,
    format: LogFormat,
    sink: Mutex<Box<dyn Write + Send>>,
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn enabled(&self, metadata: &tracing::Metadata<'_>, _: Context<'_, S>) -> bool {
        // The libraries below us speak of every frame at debug; that is their business.
        let ours = !metadata.target().starts_with("h2") && !metadata.target().starts_with("mio");
        *metadata.level() <= if ours { self.most } else { Level::WARN }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let line = render(self.format, SystemTime::now(), event.metadata(), &fields);
        let mut sink = self.sink.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        // A log that can't be written has nowhere to complain to.
        let _ = sink.write_all(line.as_bytes());
    }
}

#[derive(Default)]
struct Fields {
    message: String,
    rest: Vec<(&'static str, serde_json::Value)>,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        let text = format!("{value:?}");
        match field.name() {
            "message" => self.message = text,
            name => self.rest.push((name, text.into())),
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => value.clone_into(&mut self.message),
            name => self.rest.push((name, value.into())),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.rest.push((field.name(), value.into()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.rest.push((field.name(), value.into()));
    }
}

fn render(format: LogFormat, now: SystemTime, metadata: &tracing::Metadata<'_>, fields: &Fields) -> String {
    let level = match *metadata.level() {
        Level::ERROR => "error",
        Level::WARN => "warn",
        Level::INFO => "info",
        _ => "debug",
    };
    let caller = caller(metadata.file().unwrap_or("unknown"), metadata.line().unwrap_or(0));
    let ts = timestamp(now);
    let mut rest = serde_json::Map::new();
    for (name, value) in &fields.rest {
        rest.insert(name.replace('_', "-"), value.clone());
    }
    match format {
        LogFormat::Json => {
            let mut line = String::with_capacity(160);
            let quoted = |text: &str| serde_json::Value::from(text).to_string();
            let _ = write!(
                line,
                "{{\"level\":\"{level}\",\"ts\":\"{ts}\",\"caller\":{},\"msg\":{}",
                quoted(&caller),
                quoted(&fields.message)
            );
            for (name, value) in &rest {
                let _ = write!(line, ",{}:{value}", quoted(name));
            }
            line.push_str("}\n");
            line
        }
        LogFormat::Console => {
            let tail = match rest.is_empty() {
                true => String::new(),
                false => format!("\t{}", serde_json::Value::Object(rest)),
            };
            format!("{ts}\t{level}\t{caller}\t{}{tail}\n", fields.message)
        }
    }
}

/// `folder/file.rs:line`, as zap shortens it.
fn caller(file: &str, line: u32) -> String {
    let mut parts = file.rsplit('/');
    let name = parts.next().unwrap_or(file);
    match parts.find(|part| *part != "src") {
        Some(folder) => format!("{folder}/{name}:{line}"),
        None => format!("{name}:{line}"),
    }
}

/// UTC with microseconds: `2025-01-31T10:11:12.123456Z`.
fn timestamp(now: SystemTime) -> String {
    let since = now.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    // Days since 1970-01-01 to a date of the proleptic Gregorian calendar, counting years from March.
    let shifted = days as i64 + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:06}Z",
        second / 3600,
        second % 3600 / 60,
        second % 60,
        since.subsec_micros()
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn timestamps() {
        let cases = [
            (0, 0, "1970-01-01T00:00:00.000000Z"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999Z"),
            (951_782_400, 0, "2000-02-29T00:00:00.000000Z"),
            (1_738_318_272, 123_456, "2025-01-31T10:11:12.123456Z"),
            (4_102_444_800, 1, "2100-01-01T00:00:00.000001Z"),
        ];
        for (secs, micros, text) in cases {
            let at = UNIX_EPOCH + Duration::from_secs(secs) + Duration::from_micros(micros);
            assert_eq!(timestamp(at), text);
        }
    }

    #[test]
    fn callers_are_short() {
        assert_eq!(caller("server/src/apply/kv.rs", 7), "apply/kv.rs:7");
        assert_eq!(caller("server/src/main.rs", 7), "server/main.rs:7");
        assert_eq!(caller("main.rs", 7), "main.rs:7");
    }
}
