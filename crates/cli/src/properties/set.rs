//! Setting properties: look-up, checks, precedence.

use std::collections::BTreeMap;
use std::fmt;

use super::catalog::{Effect, Kind, Property, Scope, find, nearest, properties};
use super::typed::parse_servers;

/// Where a value came from; later variants win over earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// A configuration file.
    File,
    /// The command line.
    CommandLine,
}

/// Checked properties as they were set, each under its main name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PropertySet {
    entries: BTreeMap<&'static str, Entry>,
}

#[derive(Clone, PartialEq, Eq)]
struct Entry {
    value: String,
    source: Source,
    /// The name that was used, for messages.
    spelled: String,
}

impl fmt::Debug for Entry {
    /// Leaves the value out: it may be a password.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} from {:?}", self.spelled, self.source)
    }
}

impl PropertySet {
    /// Sets `name` to `value`, unless a stronger source has set it.
    ///
    /// `topic.` before the name is accepted, as librdkafka's tools do for properties of topics.
    ///
    /// # Errors
    /// The name is unknown, the value is not one that the property takes, or the property cannot be
    /// honoured yet.
    pub fn set(&mut self, name: &str, value: &str, source: Source) -> Result<(), PropertyError> {
        let property = match find(name) {
            Some(property) => property,
            None => lookup_topic_property(name)?,
        };
        if let Effect::Later(what) = property.effect {
            return Err(PropertyError::Later { name: name.to_owned(), what });
        }
        check_value(property, name, value)?;
        match self.entries.get(property.name) {
            Some(entry) if entry.source > source => {}
            _ => {
                let entry = Entry { value: value.to_owned(), source, spelled: name.to_owned() };
                self.entries.insert(property.name, entry);
            }
        }
        Ok(())
    }

    /// Sets a property from `key=value`.
    ///
    /// # Errors
    /// There is no `=`, or as for [`Self::set`].
    pub fn set_pair(&mut self, pair: &str, source: Source) -> Result<(), PropertyError> {
        let Some((name, value)) = pair.split_once('=') else {
            return Err(PropertyError::NoValue { pair: pair.to_owned() });
        };
        self.set(name, value, source)
    }

    /// The value that was set for `name` (any of its names), if one was.
    pub fn value(&self, name: &str) -> Option<&str> {
        self.entries.get(find(name)?.name).map(|entry| entry.value.as_str())
    }

    /// Where the value of `name` came from, if one was set.
    pub fn source(&self, name: &str) -> Option<Source> {
        self.entries.get(find(name)?.name).map(|entry| entry.source)
    }

    /// One line for every property of the command line (and of files too, if `files`) that has no effect here,
    /// saying why. `scope` is the kind of client that runs; `None` is neither a consumer nor a producer.
    pub fn without_effect(&self, scope: Option<Scope>, files: bool) -> Vec<String> {
        let reason = |property: &Property, entry: &Entry| match (property.effect, property.scope, scope) {
            _ if entry.source == Source::File && !files => None,
            (Effect::Ignored(why), ..) => Some(format!("{} has no effect: {why}", entry.spelled)),
            (_, Scope::Consumer, Some(Scope::Producer)) => Some(format!(
                "{} has no effect: it is a consumer's property, and this is a producer",
                entry.spelled
            )),
            (_, Scope::Producer, Some(Scope::Consumer)) => Some(format!(
                "{} has no effect: it is a producer's property, and this is a consumer",
                entry.spelled
            )),
            _ => None,
        };
        properties().filter_map(|property| reason(property, self.entries.get(property.name)?)).collect()
    }
}

/// The property behind a `topic.` prefix, or the error for an unknown name.
fn lookup_topic_property(name: &str) -> Result<&'static Property, PropertyError> {
    if let Some(property) = name.strip_prefix("topic.").and_then(find) {
        return Ok(property);
    }
    let through_api = name.ends_with("_cb")
        || ["opaque", "default_topic_conf", "ssl_key", "ssl_certificate", "ssl_ca", "interceptors"]
            .contains(&name);
    if through_api {
        return Err(PropertyError::ApiOnly { name: name.to_owned() });
    }
    if name.starts_with("schema.registry.") {
        return Err(PropertyError::Later { name: name.to_owned(), what: "the Schema Registry" });
    }
    Err(PropertyError::Unknown { name: name.to_owned(), nearest: nearest(name) })
}

/// Whether `value` is one that `property` takes; `name` is how the user called it.
pub(super) fn check_value(property: &Property, name: &str, value: &str) -> Result<(), PropertyError> {
    let out_of_range = || PropertyError::OutOfRange {
        name: name.to_owned(),
        value: value.to_owned(),
        range: property.kind.range().replace(' ', ""),
    };
    let invalid = || PropertyError::Invalid {
        name: name.to_owned(),
        value: if property.kind == Kind::Secret { "..".to_owned() } else { value.to_owned() },
        expected: property.kind.range(),
    };
    match property.kind {
        Kind::Integer { min, max } => match value.parse::<i64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            Ok(_) => Err(out_of_range()),
            Err(_) => Err(invalid()),
        },
        Kind::Number { min, max } => match value.parse::<f64>() {
            Ok(number) if (min..=max).contains(&number) => Ok(()),
            Ok(number) if number.is_finite() => Err(out_of_range()),
            _ => Err(invalid()),
        },
        Kind::Boolean => parse_boolean(value).map(|_| ()).ok_or_else(invalid),
        Kind::OneOf(words) => word(words, value).map(|_| ()).ok_or_else(invalid),
        Kind::AnyOf(words) => {
            let known = |part: &str| word(words, part.trim()).is_some();
            if value.split(',').all(known) { Ok(()) } else { Err(invalid()) }
        }
        Kind::Acks => {
            if parse_acks(value).is_some() {
                Ok(())
            } else {
                Err(invalid())
            }
        }
        Kind::Servers => match parse_servers(value) {
            Ok(_) => Ok(()),
            Err(reason) => Err(PropertyError::BadServers { name: name.to_owned(), reason }),
        },
        Kind::Text | Kind::Secret => Ok(()),
    }
}

/// The one of `words` that `value` is, in any case: Java writes `SASL_SSL` where librdkafka writes `sasl_ssl`.
pub(super) fn word(words: &'static [&'static str], value: &str) -> Option<&'static str> {
    words.iter().copied().find(|word| word.eq_ignore_ascii_case(value))
}

/// librdkafka's spellings of true and false.
pub(super) fn parse_boolean(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// Acknowledgements as the protocol's number.
pub(super) fn parse_acks(value: &str) -> Option<i16> {
    match value {
        "all" | "-1" => Some(-1),
        "1" => Some(1),
        "0" => Some(0),
        _ => None,
    }
}

/// Why a property was not set.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyError {
    /// No property has this name.
    Unknown {
        /// The name that was asked for.
        name: String,
        /// The known name that is nearest.
        nearest: Option<&'static str>,
    },
    /// The value is not of the property's kind.
    Invalid {
        /// The name that was used.
        name: String,
        /// The value, redacted if it is a secret.
        value: String,
        /// What would be right.
        expected: String,
    },
    /// The value is a number outside the bounds.
    OutOfRange {
        /// The name that was used.
        name: String,
        /// The value.
        value: String,
        /// The bounds.
        range: String,
    },
    /// A list of servers that is none.
    BadServers {
        /// The name that was used.
        name: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Honouring the property comes in a later release.
    Later {
        /// The name that was used.
        name: String,
        /// What is missing.
        what: &'static str,
    },
    /// A callback or an object: there is no text form of it.
    ApiOnly {
        /// The name that was used.
        name: String,
    },
    /// `-X` without `=`.
    NoValue {
        /// What was given.
        pair: String,
    },
}

impl fmt::Display for PropertyError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown { name, nearest } => {
                write!(formatter, "no such configuration property: \"{name}\"")?;
                match nearest {
                    Some(nearest) => write!(formatter, " (did you mean \"{nearest}\"?)"),
                    None => write!(formatter, " (-X list shows all)"),
                }
            }
            Self::Invalid { name, value, expected } if expected.is_empty() => {
                write!(formatter, "invalid value \"{value}\" for configuration property \"{name}\"")
            }
            Self::Invalid { name, value, expected } => write!(
                formatter,
                "invalid value \"{value}\" for configuration property \"{name}\" (expected {expected})"
            ),
            Self::OutOfRange { name, value, range } => write!(
                formatter,
                "configuration property \"{name}\" value {value} is outside allowed range {range}"
            ),
            Self::BadServers { name, reason } => {
                write!(formatter, "invalid value for configuration property \"{name}\": {reason}")
            }
            Self::Later { name, what } => write!(
                formatter,
                "configuration property \"{name}\" is known, but {what} cannot be used yet: it comes in a later release"
            ),
            Self::ApiOnly { name } => write!(
                formatter,
                "configuration property \"{name}\" is a callback or object of librdkafka's API and has no text form"
            ),
            Self::NoValue { pair } => write!(
                formatter,
                "expected -X property=value, not {pair}, use -X list to display available properties"
            ),
        }
    }
}

impl std::error::Error for PropertyError {}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(name: &str, value: &str) -> String {
        PropertySet::default().set(name, value, Source::CommandLine).unwrap_err().to_string()
    }

    #[test]
    fn wrong_names_and_values_are_errors_that_say_what_is_right() {
        for (name, value, expected) in [
            (
                "linger.mss",
                "5",
                "no such configuration property: \"linger.mss\" (did you mean \"linger.ms\"?)",
            ),
            (
                "linger.ms",
                "abc",
                "invalid value \"abc\" for configuration property \"linger.ms\" (expected 0 .. 900000)",
            ),
            (
                "linger.ms",
                "-1",
                "configuration property \"linger.ms\" value -1 is outside allowed range 0..900000",
            ),
            (
                "linger.ms",
                "NaN",
                "invalid value \"NaN\" for configuration property \"linger.ms\" (expected 0 .. 900000)",
            ),
            ("acks", "2", "invalid value \"2\" for configuration property \"acks\" (expected all, -1, 0, 1)"),
            (
                "compression.codec",
                "lzma",
                "invalid value \"lzma\" for configuration property \"compression.codec\" (expected none, gzip, snappy, lz4, zstd)",
            ),
            (
                "dr_cb",
                "x",
                "configuration property \"dr_cb\" is a callback or object of librdkafka's API and has no text form",
            ),
            (
                "bootstrap.servers",
                "h:99999",
                "invalid value for configuration property \"bootstrap.servers\": broker address \"h:99999\": a port is 1 to 65535",
            ),
        ] {
            assert_eq!(error(name, value), expected);
        }
        assert!(error("ssl.ca.location", "/ca.pem").contains("TLS cannot be used yet"));
        assert!(error("sasl.password", "hunter2").contains("SASL cannot be used yet"));
        assert!(!error("sasl.password", "hunter2").contains("hunter2"));
        assert!(error("transactional.id", "t").contains("transactions cannot be used yet"));
        assert!(error("schema.registry.url", "http://x").contains("Schema Registry"));
    }

    #[test]
    fn the_command_line_wins_over_files_and_the_last_of_equals_wins() {
        let mut set = PropertySet::default();
        set.set("linger.ms", "1", Source::CommandLine).unwrap();
        set.set("queue.buffering.max.ms", "2", Source::File).unwrap();
        assert_eq!(set.value("linger.ms"), Some("1"));
        set.set("queue.buffering.max.ms", "3.5", Source::CommandLine).unwrap();
        assert_eq!(set.value("linger.ms"), Some("3.5"));
        assert_eq!(set.source("linger.ms"), Some(Source::CommandLine));
        assert_eq!(set.value("acks"), None);
    }

    #[test]
    fn a_weaker_source_is_still_checked() {
        let mut set = PropertySet::default();
        set.set("acks", "1", Source::CommandLine).unwrap();
        set.set("acks", "seven", Source::File).unwrap_err();
    }

    #[test]
    fn topic_prefix_aliases_and_case_are_accepted() {
        let mut set = PropertySet::default();
        for (name, value) in [
            ("topic.acks", "all"),
            ("topic.auto.offset.reset", "Latest"),
            ("auto.commit.enable", "F"),
            ("security.protocol", "PLAINTEXT"),
            ("debug", "broker, topic"),
            ("metadata.broker.list", "a,b:1,[::1]:2"),
        ] {
            set.set(name, value, Source::CommandLine).unwrap();
        }
        assert_eq!(set.value("enable.auto.commit"), Some("F"));
        assert_eq!(set.value("bootstrap.servers"), Some("a,b:1,[::1]:2"));
    }

    #[test]
    fn what_has_no_effect_says_so() {
        let mut set = PropertySet::default();
        set.set("statistics.interval.ms", "1000", Source::CommandLine).unwrap();
        set.set("linger.ms", "1000", Source::CommandLine).unwrap();
        set.set("key.serializer", "x.Y", Source::File).unwrap();
        let statistics = "statistics.interval.ms has no effect: kcopy reports no metrics";
        let linger = "linger.ms has no effect: it is a producer's property, and this is a consumer";
        assert_eq!(set.without_effect(Some(Scope::Producer), false), [statistics]);
        assert_eq!(set.without_effect(Some(Scope::Consumer), false), [statistics, linger]);
        assert_eq!(set.without_effect(None, true).len(), 2);
    }
}
