//! Configuration as Apache Kafka 4.4 has it: names, types, defaults, valid values, layers and where a value comes
//! from.

mod broker_table;
mod layers;
#[cfg(test)]
mod tests;
mod topic_table;
mod validate;

pub use self::validate::{ConfigError, PropertyEffect, property_effect};
pub(crate) use self::{
    layers::{BrokerConfigs, Entry, Source, Synonym, TopicSettings},
    validate::TimestampType,
};

/// A property's type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Boolean,
    String,
    Int,
    Short,
    Long,
    Double,
    List,
    Class,
    Password,
}

impl Kind {
    /// The number that DescribeConfigs gives the type.
    pub(crate) fn id(self) -> i8 {
        match self {
            Self::Boolean => 1,
            Self::String => 2,
            Self::Int => 3,
            Self::Short => 4,
            Self::Long => 5,
            Self::Double => 6,
            Self::List => 7,
            Self::Class => 8,
            Self::Password => 9,
        }
    }
}

impl Kind {
    /// A valid value as DescribeConfigs shows it, whatever way it was written: as Java writes it again.
    pub(crate) fn shown(self, value: &str) -> String {
        let value = value.trim();
        match self {
            Self::Boolean => value.to_ascii_lowercase(),
            Self::Int | Self::Short | Self::Long => {
                value.parse::<i64>().map_or_else(|_| value.to_owned(), |number| number.to_string())
            }
            Self::Double => {
                value.parse::<f64>().map_or_else(|_| value.to_owned(), |number| format!("{number:?}"))
            }
            Self::List => {
                let parts: Vec<&str> = value.split(',').map(str::trim).collect();
                parts.join(",")
            }
            Self::String | Self::Class | Self::Password => value.to_owned(),
        }
    }
}

/// Whether a broker property can be changed while the broker runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    Dynamic,
}

/// A broker property: name, type, default, access, valid values.
#[derive(Debug)]
pub(crate) struct Row(
    pub(crate) &'static str,
    pub(crate) Kind,
    pub(crate) Option<&'static str>,
    pub(crate) Access,
    pub(crate) &'static str,
);

/// A topic or group property: name, type, default, broker synonyms, valid values.
#[derive(Debug)]
pub(crate) struct TopicRow(
    pub(crate) &'static str,
    pub(crate) Kind,
    pub(crate) Option<&'static str>,
    pub(crate) &'static str,
    pub(crate) &'static str,
);

/// A broker property by its name.
pub(crate) fn broker_row(name: &str) -> Option<&'static Row> {
    find(broker_table::ROWS, name, |row| row.0)
}

/// A topic property by its name.
pub(crate) fn topic_row(name: &str) -> Option<&'static TopicRow> {
    find(topic_table::TOPIC_ROWS, name, |row| row.0)
}

/// A group property by its name.
pub(crate) fn group_row(name: &str) -> Option<&'static TopicRow> {
    find(topic_table::GROUP_ROWS, name, |row| row.0)
}

/// The tables are sorted by name; a test checks it.
fn find<T>(rows: &'static [T], name: &str, name_of: fn(&T) -> &'static str) -> Option<&'static T> {
    rows.binary_search_by(|row| name_of(row).cmp(name)).ok().map(|index| &rows[index])
}
