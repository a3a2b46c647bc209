//! The form of the property table, and how a name is looked up in it.

use super::{consumer, general, producer, security};

/// One property that kcopy knows.
#[derive(Debug)]
pub struct Property {
    /// The name that `-X dump` shows.
    pub name: &'static str,
    /// Other names for the same thing, librdkafka's and Java's.
    pub aliases: &'static [&'static str],
    /// Who uses it.
    pub scope: Scope,
    /// What values it takes.
    pub kind: Kind,
    /// The value where none is set, as text; empty means none.
    pub default: &'static str,
    /// What setting it does here.
    pub effect: Effect,
    /// One or two sentences for people.
    pub doc: &'static str,
}

/// Which side of a client a property belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scope {
    /// Producer and consumer.
    Both,
    /// Consumer only.
    Consumer,
    /// Producer only.
    Producer,
}

impl Scope {
    /// librdkafka's letter for it.
    pub fn letter(self) -> char {
        match self {
            Self::Both => '*',
            Self::Consumer => 'C',
            Self::Producer => 'P',
        }
    }
}

/// What values a property takes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// A whole number within bounds, both inclusive.
    Integer {
        /// Lowest value allowed.
        min: i64,
        /// Highest value allowed.
        max: i64,
    },
    /// A number with an optional fraction, within bounds.
    Number {
        /// Lowest value allowed.
        min: f64,
        /// Highest value allowed.
        max: f64,
    },
    /// true or false.
    Boolean,
    /// Exactly one of these words, in any case.
    OneOf(&'static [&'static str]),
    /// Any of these words, separated by commas.
    AnyOf(&'static [&'static str]),
    /// `all`, or the number of acknowledgements: -1 (all), 0 or 1.
    Acks,
    /// `host[:port]`, separated by commas.
    Servers,
    /// Any text.
    Text,
    /// Text that `-X dump` must not show.
    Secret,
}

impl Kind {
    /// The allowed values, for `-X list` and error messages; empty where any text goes.
    pub fn range(&self) -> String {
        match self {
            Self::Integer { min, max } => format!("{min} .. {max}"),
            Self::Number { min, max } => format!("{min} .. {max}"),
            Self::Boolean => "true, false".to_owned(),
            Self::OneOf(words) | Self::AnyOf(words) => words.join(", "),
            Self::Acks => "all, -1, 0, 1".to_owned(),
            Self::Servers => "host[:port], ..".to_owned(),
            Self::Text | Self::Secret => String::new(),
        }
    }

    /// The name of the type, for `-X list`.
    pub fn type_name(&self) -> &'static str {
        match self {
            Self::Integer { .. } => "integer",
            Self::Number { .. } => "number",
            Self::Boolean => "boolean",
            Self::OneOf(_) | Self::Acks => "enum",
            Self::AnyOf(_) | Self::Servers => "list",
            Self::Text | Self::Secret => "string",
        }
    }
}

/// What setting a property does in kcopy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// It does what it says.
    Applied,
    /// It is accepted, checked, and changes nothing: the text says why.
    Ignored(&'static str),
    /// It cannot be honoured yet, and ignoring it would be wrong: setting it is an error.
    Later(&'static str),
}

/// Every property, in the order of `-X list`.
pub fn properties() -> impl Iterator<Item = &'static Property> {
    general::PROPERTIES
        .iter()
        .chain(security::PROPERTIES)
        .chain(consumer::PROPERTIES)
        .chain(producer::PROPERTIES)
}

/// The property called `name`, by any of its names.
pub fn find(name: &str) -> Option<&'static Property> {
    properties().find(|property| property.name == name || property.aliases.contains(&name))
}

/// The known name that is nearest to `name`, if any is near enough to be a slip.
pub(super) fn nearest(name: &str) -> Option<&'static str> {
    let names = properties()
        .flat_map(|property| std::iter::once(property.name).chain(property.aliases.iter().copied()));
    crate::plan::nearest(name, names)
}

/// A property of the table; the arguments are the fields of [`Property`] in order.
pub(super) const fn property(
    name: &'static str,
    aliases: &'static [&'static str],
    scope: Scope,
    kind: Kind,
    default: &'static str,
    effect: Effect,
    doc: &'static str,
) -> Property {
    Property { name, aliases, scope, kind, default, effect, doc }
}

/// A whole number from `min` to `max`.
pub(super) const fn integer(min: i64, max: i64) -> Kind {
    Kind::Integer { min, max }
}

/// The largest value of librdkafka's integer properties.
pub(super) const INT_MAX: i64 = 2_147_483_647;

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::properties::set::check_value;

    #[test]
    fn every_name_is_unique_and_every_default_is_valid() {
        let mut seen = HashSet::new();
        for property in properties() {
            for name in std::iter::once(&property.name).chain(property.aliases) {
                assert!(seen.insert(*name), "{name} is in the table twice");
            }
            assert!(property.doc.ends_with('.'), "{}: the documentation is no sentence", property.name);
            if !property.default.is_empty() {
                check_value(property, property.name, property.default).unwrap();
            }
        }
        assert!(seen.len() > 150, "{}", seen.len());
    }

    #[test]
    fn a_slip_finds_the_name_that_was_meant() {
        assert_eq!(nearest("linger.mss"), Some("linger.ms"));
        assert_eq!(nearest("batch_size"), Some("batch.size"));
        assert_eq!(nearest("compresion.type"), Some("compression.type"));
        assert_eq!(nearest("completely.different.thing.that.is.far"), None);
    }
}
