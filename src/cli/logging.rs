//! The log, on standard error: lines for people on a terminal, otherwise JSON as Google Cloud's
//! logging reads it.

use std::fmt;
use std::io::IsTerminal;

use serde_json::{Map, Value};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{JsonFields, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

use crate::clock::Clock;
use crate::config::overrides;

/// Libraries speak of every connection and statement at `info`; their warnings are enough.
const DEFAULT_FILTER: &str = "info,h2=warn,hyper=warn,hyper_util=warn,octocrab=warn,reqwest=warn,\
                              rustls=warn,sqlx=warn,tower=warn,google_cloud_auth=warn,\
                              google_cloud_gax=warn";

/// The demo narrates what happens; its log would bury that.
const DEMO_FILTER: &str = "warn";

/// Begins to log. In a process that logs already (tests) nothing changes.
pub fn start() {
    start_with(DEFAULT_FILTER);
}

/// Begins to log for the demo: what is wrong, unless `COUNTERSIGN_LOG` asks for more.
pub fn start_quietly() {
    start_with(DEMO_FILTER);
}

fn start_with(default_filter: &str) {
    let wanted = overrides::log_filter();
    let parsed = wanted.as_deref().map(EnvFilter::try_new);
    let (filter, fault) = match parsed {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new(default_filter), Some(error)),
        None => (EnvFilter::new(default_filter), None),
    };
    // A line that cannot be written (to a full disk) is lost. Telling so, on the same standard error,
    // would end whatever was being done.
    let builder = tracing_subscriber::fmt().log_internal_errors(false);
    let builder = builder.with_env_filter(filter).with_writer(std::io::stderr);
    // An error means that somebody logs already, which is what is wanted.
    let _ = if std::io::stderr().is_terminal() {
        builder.try_init()
    } else {
        builder.fmt_fields(JsonFields::new()).event_format(CloudLogging::default()).try_init()
    };
    if let Some(error) = fault {
        tracing::warn!(%error, "COUNTERSIGN_LOG is no filter: write info, or info,countersign=debug");
    }
}

/// One JSON object a line, with the names that Cloud Logging gives a meaning
/// (<https://cloud.google.com/logging/docs/structured-logging>); fields stand beside them.
#[derive(Default)]
struct CloudLogging {
    clock: Clock,
}

/// Where Cloud Logging looks for the trace that a line belongs to.
const TRACE: &str = "logging.googleapis.com/trace";

impl<S, N> FormatEvent<S, N> for CloudLogging
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> tracing_subscriber::fmt::FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut fields = Map::new();
        // What an outer span says holds for what happens in it, unless an inner one says otherwise.
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            let extensions = span.extensions();
            let text = extensions.get::<FormattedFields<N>>().map_or("", |text| text.as_str());
            if let Ok(outer) = serde_json::from_str::<Map<String, Value>>(text) {
                fields.extend(outer);
            }
        }
        event.record(&mut Fields(&mut fields));
        if let Some(trace) = fields.get("trace").cloned() {
            fields.insert(TRACE.to_owned(), trace);
        }
        let metadata = event.metadata();
        // Last, so that no field can take the place of what the line itself says.
        fields.insert("severity".to_owned(), severity(metadata.level()).into());
        fields.insert("time".to_owned(), self.clock.now().to_string().into());
        fields.insert("target".to_owned(), metadata.target().into());
        writeln!(writer, "{}", Value::Object(fields))
    }
}

/// Cloud Logging's name of a level; it has nothing below `DEBUG`.
fn severity(level: &Level) -> &'static str {
    match *level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        Level::DEBUG | Level::TRACE => "DEBUG",
    }
}

/// Takes the fields of an event as JSON values.
struct Fields<'a>(&'a mut Map<String, Value>);

impl Fields<'_> {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use super::*;

    /// Keeps what is written.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(act: impl FnOnce()) -> Vec<Value> {
        let kept = Kept::default();
        let writer = kept.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .fmt_fields(JsonFields::new())
            .event_format(CloudLogging::default())
            .finish();
        tracing::subscriber::with_default(subscriber, act);
        let text = String::from_utf8(kept.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    #[test]
    fn a_line_has_googles_names_and_the_fields_beside_them() {
        let lines = logged(|| {
            let error = std::io::Error::other("disk \"a\"\nis full");
            tracing::warn!(target: "countersign::storage", attempt = 3_u64, last = false, %error, "a write\nfailed");
        });
        let time: jiff::Timestamp = lines[0]["time"].as_str().unwrap().parse().unwrap();
        assert!(time > "2020-01-01T00:00:00Z".parse().unwrap());
        let mut line = lines[0].clone();
        line.as_object_mut().unwrap().remove("time");
        let expected = serde_json::json!({
            "severity": "WARNING",
            "message": "a write\nfailed",
            "target": "countersign::storage",
            "attempt": 3,
            "last": false,
            "error": "disk \"a\"\nis full",
        });
        assert_eq!((lines.len(), line), (1, expected));
    }

    #[test]
    fn every_level_has_a_severity() {
        let lines = logged(|| {
            tracing::error!("1");
            tracing::warn!("2");
            tracing::info!("3");
            tracing::debug!("4");
            tracing::trace!("5");
        });
        let severities: Vec<&str> =
            lines.iter().map(|line| line["severity"].as_str().unwrap()).collect();
        assert_eq!(severities, ["ERROR", "WARNING", "INFO", "DEBUG", "DEBUG"]);
    }

    #[test]
    fn spans_lend_their_fields_and_a_trace_is_named_for_google() {
        let lines = logged(|| {
            let outer = tracing::info_span!(
                "request",
                request_id = "r1",
                step = 1,
                trace = "projects/p/traces/t"
            );
            let _outer = outer.entered();
            tracing::info!(step = 2, "within");
        });
        assert_eq!(lines[0]["request_id"], "r1");
        assert_eq!(lines[0]["step"], 2);
        assert_eq!(lines[0][TRACE], "projects/p/traces/t");
    }

    #[test]
    fn no_field_can_forge_the_line() {
        let lines = logged(|| tracing::info!(severity = "EMERGENCY", time = "never", "as it is"));
        assert_eq!(lines[0]["severity"], "INFO");
        assert_ne!(lines[0]["time"], "never");
    }

    #[test]
    fn starting_twice_is_no_fault() {
        start();
        start();
    }
}
