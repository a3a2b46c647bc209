//! What every verb that talks to brokers takes.

use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use crate::environment::Environment;
use crate::plan::{Common, Grammar, parse_duration};
use crate::properties::{ClientProperties, PropertySet, Scope, Source, dump, read_config};

const DEFAULT_BROKERS: &str = "localhost:9092";
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(30);

/// Brokers, properties, verbosity; the configuration file has its options in [`ConfigFileArgs`].
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct CommonArgs {
    /// Brokers to ask first [default: localhost:9092]
    #[arg(short, long, env = "KCOPY_BROKERS", value_name = "HOST:PORT,..")]
    pub(super) brokers: Option<String>,
    /// Set a property by librdkafka's or Java's name (-X list shows them, -X dump those in
    /// effect); may be repeated
    #[arg(short = 'X', long = "property", env = "KCOPY_PROPERTY", value_name = "KEY=VALUE")]
    pub(super) properties: Vec<String>,
    /// How long metadata and administration may take, and a lost broker is waited for [default: 30s]
    #[arg(long, env = "KCOPY_TIMEOUT", value_name = "DURATION", value_parser = parse_timeout)]
    pub(super) timeout: Option<Duration>,
    /// Hide information, never errors
    #[arg(short, long, env = "KCOPY_QUIET", conflicts_with = "verbose")]
    pub(super) quiet: bool,
    /// Tell more (-vv: everything)
    #[arg(short, long, env = "KCOPY_VERBOSE", action = clap::ArgAction::Count)]
    pub(super) verbose: u8,
}

/// The configuration file, for verbs whose `--config` is free for it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct ConfigFileArgs {
    /// File of KEY=VALUE lines, or none [default: ~/.config/kcopy.conf, else /etc/kcopy.conf]
    #[arg(short = 'F', long = "config", env = "KCOPY_CONFIG", value_name = "FILE")]
    pub(super) file: Option<OsString>,
}

/// The configuration file, for verbs whose `--config` sets something else.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Connection")]
pub(super) struct OtherConfigFileArgs {
    /// File of KEY=VALUE lines, or none [default: ~/.config/kcopy.conf, else /etc/kcopy.conf]
    #[arg(short = 'F', long = "config-file", env = "KCOPY_CONFIG", value_name = "FILE")]
    pub(super) file: Option<OsString>,
}

impl CommonArgs {
    /// 0 quiet, 1 normal, one more for each `-v`.
    pub(super) fn verbosity(&self) -> u8 {
        if self.quiet { 0 } else { self.verbose.saturating_add(1) }
    }

    /// Reads the properties: `options` are the verb's own options that are properties, which win over `-X`.
    pub(super) fn check(
        &self,
        file: Option<&OsString>,
        options: &[(&str, Option<&str>)],
        scope: Option<Scope>,
        environment: &Environment<'_>,
    ) -> Result<Common, String> {
        let mut set = PropertySet::default();
        let is_dump = |pair: &&String| *pair == "dump";
        for pair in self.properties.iter().filter(|pair| !is_dump(pair)) {
            set.set_pair(pair, Source::CommandLine).map_err(|error| error.to_string())?;
        }
        let brokers = ("bootstrap.servers", self.brokers.as_deref());
        for (name, value) in options.iter().copied().chain([brokers]) {
            if let Some(value) = value {
                set.set(name, value, Source::CommandLine).map_err(|error| error.to_string())?;
            }
        }
        read_config_file(file, &mut set, environment)?;
        if set.value("bootstrap.servers").is_none() {
            set.set("bootstrap.servers", DEFAULT_BROKERS, Source::File).map_err(|error| error.to_string())?;
        }
        Ok(Common {
            grammar: Grammar::Kcopy,
            properties: ClientProperties::from_set(&set)?,
            verbosity: self.verbosity(),
            notices: set.without_effect(scope, self.verbosity() > 1),
            timeout: Some(self.timeout.unwrap_or(DEFAULT_TIMEOUT)),
            dump: self.properties.iter().any(|pair| is_dump(&pair)).then(|| dump(&set)),
        })
    }
}

/// Reads the file that was named, or the first of the default ones that can be read: PostgreSQL's children
/// often have no home, or one that is not theirs.
fn read_config_file(
    file: Option<&OsString>,
    set: &mut PropertySet,
    environment: &Environment<'_>,
) -> Result<(), String> {
    let read = |path: &Path, content: &[u8], set: &mut PropertySet| {
        read_config(path, content, set).map_err(|error| error.to_string())
    };
    if let Some(file) = file {
        if file == "none" || file == "-" {
            return Ok(());
        }
        let path = Path::new(file);
        let content = (environment.read_file)(path)
            .map_err(|error| format!("cannot read the configuration file {}: {error}", path.display()))?;
        return read(path, &content, set);
    }
    let defaults = environment.user_config("kcopy.conf").into_iter().chain(["/etc/kcopy.conf".into()]);
    for path in defaults {
        if let Ok(content) = (environment.read_file)(&path) {
            return read(&path, &content, set);
        }
    }
    Ok(())
}

/// Reads a time within which something can be done at all.
fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        short if short < Duration::from_millis(1) => Err("expected at least 1ms".to_owned()),
        timeout => Ok(timeout),
    }
}

/// Reads an option's whole number, with an error that says what would be right.
pub(super) fn number<T>(least: T, most: T) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Copy,
{
    move |text| {
        let number = text.trim().parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| format!("expected a whole number from {least} to {most}"))
    }
}

/// Kafka's rule for topic names.
pub(super) fn check_topic(name: &str) -> Result<(), String> {
    let legal = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if name.is_empty() || name.len() > 249 || name == "." || name == ".." || !name.bytes().all(legal) {
        return Err(format!(
            "\"{name}\" is no topic name (expected 1 to 249 letters, digits, \".\", \"_\" and \"-\", and not \".\" or \"..\")"
        ));
    }
    Ok(())
}
