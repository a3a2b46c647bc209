//! Checks of single property values, and how much of a property this broker honours.

use super::{Kind, broker_row, broker_table, topic_row};

/// Which time a topic's records carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TimestampType {
    CreateTime,
    LogAppendTime,
}

/// A property or value that cannot be used; says what would be right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// What setting a broker property does here.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum PropertyEffect {
    /// The broker behaves accordingly.
    Honoured,
    /// Apache Kafka knows it; here it is only shown by DescribeConfigs.
    ShownOnly,
}

/// Broker properties that change what this broker does; all others are only shown.
static HONOURED: &[&str] = &[
    "auto.create.topics.enable",
    "broker.rack",
    "compression.gzip.level",
    "compression.lz4.level",
    "compression.type",
    "compression.zstd.level",
    "connections.max.idle.ms",
    "default.replication.factor",
    "delete.topic.enable",
    "fetch.max.bytes",
    "log.cleanup.policy",
    "log.message.timestamp.after.max.ms",
    "log.message.timestamp.before.max.ms",
    "log.message.timestamp.type",
    "log.segment.bytes",
    "max.decompressed.message.bytes",
    "max.incremental.fetch.session.cache.slots",
    "message.max.bytes",
    "min.insync.replicas",
    "node.id",
    "num.partitions",
    "offset.metadata.max.bytes",
    "producer.id.expiration.ms",
    "socket.request.max.bytes",
];

/// Checks a broker property and says what it does here.
///
/// # Errors
/// An unknown name (the error names the nearest known one), or a value that Apache Kafka refuses.
pub fn property_effect(name: &str, value: &str) -> Result<PropertyEffect, ConfigError> {
    let Some(row) = broker_row(name) else {
        let hint = if topic_row(name).is_some() {
            format!("{name} is a topic property, not a broker property")
        } else {
            let names = broker_table::ROWS.iter().map(|row| row.0);
            format!("unknown broker property {name}{}", nearest(name, names))
        };
        return Err(ConfigError(hint));
    };
    check(name, row.1, row.4, value)?;
    Ok(if HONOURED.binary_search(&name).is_ok() {
        PropertyEffect::Honoured
    } else {
        PropertyEffect::ShownOnly
    })
}

/// `, did you mean NAME?` for the name with the smallest edit distance, if one is near.
pub(crate) fn nearest<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> String {
    known
        .map(|candidate| (edit_distance(name, candidate), candidate))
        .min()
        .filter(|(distance, _)| *distance <= name.len() / 3 + 1)
        .map_or_else(String::new, |(_, candidate)| format!(", did you mean {candidate}?"))
}

/// Checks `value` against a type and the notation of the tables: `MIN..MAX|OTHER`, `=ONE,TWO` (`~=`: any case), `!`
/// for not empty, `replicas` for a list of `PARTITION:BROKER` or `*`.
///
/// # Errors
/// The message that Apache Kafka gives.
pub(crate) fn check(name: &str, kind: Kind, valid: &str, value: &str) -> Result<(), ConfigError> {
    let value = value.trim();
    // Java shows the fraction of any.
    let shown = match (kind, value.parse::<f64>()) {
        (Kind::Double, Ok(number)) => format!("{number:?}"),
        _ => value.to_owned(),
    };
    let wrong =
        |why: String| Err(ConfigError(format!("Invalid value {shown} for configuration {name}: {why}")));
    let number = match kind {
        Kind::Boolean => {
            return if value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false") {
                Ok(())
            } else {
                wrong("Expected value to be either true or false".into())
            };
        }
        Kind::Int => value.parse::<i32>().map(f64::from).ok().ok_or("INT"),
        Kind::Short => value.parse::<i16>().map(f64::from).ok().ok_or("SHORT"),
        Kind::Long => value.parse::<i64>().map(|number| number as f64).ok().ok_or("LONG"),
        Kind::Double => value.parse::<f64>().ok().ok_or("DOUBLE"),
        Kind::String | Kind::List | Kind::Class | Kind::Password => {
            return check_text(name, kind, valid, value);
        }
    };
    let number = match number {
        Ok(number) => number,
        Err(kind) => return wrong(format!("Not a number of type {kind}")),
    };
    let (range, other) = valid.split_once('|').unwrap_or((valid, ""));
    if other.parse::<f64>().is_ok_and(|other| other == number) {
        return Ok(());
    }
    let Some((min, max)) = range.split_once("..") else {
        return Ok(());
    };
    let is_within = min.parse::<f64>().is_ok_and(|min| number >= min)
        && max.parse::<f64>().is_ok_and(|max| number <= max);
    if !other.is_empty() && !is_within {
        return wrong(format!("Value must be between {min} and {max} or equal to {other}"));
    }
    if min.parse::<f64>().is_ok_and(|min| number < min) {
        return wrong(format!("Value must be at least {min}"));
    }
    if max.parse::<f64>().is_ok_and(|max| number > max) {
        return wrong(format!("Value must be no more than {max}"));
    }
    Ok(())
}

fn check_text(name: &str, kind: Kind, valid: &str, value: &str) -> Result<(), ConfigError> {
    let wrong =
        |why: &str| Err(ConfigError(format!("Invalid value {value} for configuration {name}: {why}")));
    if valid == "!" && value.is_empty() {
        return wrong("String must be non-empty");
    }
    if valid == "replicas" {
        return check_replicas(name, value);
    }
    let any_case = valid.starts_with('~');
    let Some(allowed) = valid.trim_start_matches('~').strip_prefix('=') else {
        return Ok(());
    };
    let is_allowed = |text: &str| {
        allowed.split(',').any(|one| one == text || (any_case && one.eq_ignore_ascii_case(text)))
    };
    let fine = match kind {
        Kind::List => value.split(',').map(str::trim).filter(|one| !one.is_empty()).all(is_allowed),
        _ => is_allowed(value),
    };
    if fine { Ok(()) } else { wrong(&format!("String must be one of: {}", allowed.replace(',', ", "))) }
}

fn check_replicas(name: &str, value: &str) -> Result<(), ConfigError> {
    let replicas: Vec<&str> = value.split(',').map(str::trim).filter(|one| !one.is_empty()).collect();
    let is_id = |id: &str| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    let is_replica =
        |one: &&str| one.split_once(':').is_some_and(|(partition, broker)| is_id(partition) && is_id(broker));
    if replicas == ["*"] || replicas.iter().all(is_replica) {
        return Ok(());
    }
    Err(ConfigError(format!(
        "Invalid value [{}] for configuration {name}: {name} must be the literal '*' or a list of replicas in the \
         following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
        replicas.join(", ")
    )))
}

fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, l) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (index, r) in right.iter().enumerate() {
            let substitute = diagonal + usize::from(l != *r);
            diagonal = row[index + 1];
            row[index + 1] = substitute.min(row[index] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
