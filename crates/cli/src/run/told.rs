//! What the libraries tell, one line each on standard error. Warnings: what the client goes on from, and yet somebody
//! should know, as a broker that cannot be reached, or records that a broker has lost. With `-d` what it does, by
//! librdkafka's contexts and in the form of its log.
//!
//! The subscribers log no errors of their own: they would with `eprintln!`, which panics where stderr has failed already.

use std::{
    fmt::{self, Debug, Write},
    io::Stderr,
    time::{SystemTime, UNIX_EPOCH},
};

use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
};
use tracing_subscriber::{
    filter::{LevelFilter, Targets},
    fmt::{
        FmtContext, FormatEvent, FormatFields, SubscriberBuilder,
        format::{DefaultFields, Format, Writer},
    },
    layer::SubscriberExt,
    registry::LookupSpan,
    util::SubscriberInitExt,
};

use crate::process;

/// Shows warnings from here on.
pub(super) fn warnings() {
    subscriber(LevelFilter::WARN).event_format(OneLine).init();
}

/// Shows warnings, and all that these contexts are about.
pub(super) fn contexts(contexts: &[String]) {
    subscriber(LevelFilter::TRACE).event_format(OneLine).finish().with(targets(contexts)).init();
}

/// Shows all that is of this level or worse, in the words of the library.
pub(super) fn all(level: LevelFilter) {
    subscriber(level).init();
}

fn subscriber(level: LevelFilter) -> SubscriberBuilder<DefaultFields, Format, LevelFilter, fn() -> Stderr> {
    let writer: fn() -> Stderr = std::io::stderr;
    tracing_subscriber::fmt().with_max_level(level).with_writer(writer).log_internal_errors(false)
}

fn targets(contexts: &[String]) -> Targets {
    let mut targets = Targets::new().with_default(LevelFilter::WARN);
    for context in contexts {
        if context.eq_ignore_ascii_case("all") {
            targets = targets.with_default(LevelFilter::TRACE);
            continue;
        }
        let context = context.to_ascii_lowercase();
        let part = match context.as_str() {
            "msg" | "eos" | "queue" => "producer",
            "fetch" => "consumer",
            own => own,
        };
        for target in [&*context, &format!("protocol::{context}"), part] {
            targets = targets.with_target(format!("{CLIENT}{target}"), LevelFilter::TRACE);
        }
    }
    targets
}

/// What the targets of the client's events begin with.
const CLIENT: &str = "kcopy_client::";

/// `% message: name value, name value, error` for warnings, and librdkafka's `%7|SECONDS|CONTEXT|NAME| ` in front of
/// what is for debugging.
struct OneLine;

impl<S, N> FormatEvent<S, N> for OneLine
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
        let mut line = Line::default();
        event.record(&mut line);
        if *event.metadata().level() <= Level::WARN {
            return writeln!(writer, "% {}", line.shown());
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let target = event.metadata().target();
        let context = target.strip_prefix(CLIENT).unwrap_or(target).split("::").next().unwrap_or_default();
        let context = context.to_ascii_uppercase();
        let (seconds, millis) = (now.as_secs(), now.subsec_millis());
        writeln!(writer, "%7|{seconds}.{millis:03}|{context}|kcopy| {}", line.shown())
    }
}

#[derive(Default)]
struct Line {
    message: String,
    fields: String,
}

impl Line {
    fn shown(self) -> String {
        process::shown(&(self.message + &self.fields)).into_owned()
    }
}

impl Visit for Line {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.record_debug(field, &format_args!("{value}"));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        let separator = if self.fields.is_empty() { ": " } else { ", " };
        // Writing to a string does not fail.
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            "error" => write!(self.fields, "{separator}{value:?}"),
            name => write!(self.fields, "{separator}{name} {value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contexts_choose_what_is_told() {
        for (contexts, told, untold) in [
            ("broker", &["broker"][..], &["metadata", "protocol::msg", "producer::sender"][..]),
            ("msg", &["producer::sender", "protocol::msg"], &["protocol::fetch", "broker", "protocol"]),
            ("Fetch,topic", &["fetch", "protocol::fetch", "consumer::driver", "topic"], &["metadata"]),
            ("protocol", &["protocol", "protocol::msg", "protocol::admin"], &["broker", "fetch"]),
            ("all", &["broker", "protocol::msg", "generic"], &[]),
            ("conf", &[], &["broker", "generic"]),
        ] {
            let contexts: Vec<String> = contexts.split(',').map(str::to_owned).collect();
            let targets = targets(&contexts);
            let is_told = |target: &str| targets.would_enable(&format!("{CLIENT}{target}"), &Level::DEBUG);
            assert!(told.iter().all(|target| is_told(target)), "{contexts:?}");
            assert!(!untold.iter().any(|target| is_told(target)), "{contexts:?}");
            assert!(targets.would_enable("kcopy_client::elsewhere", &Level::WARN));
        }
    }
}
