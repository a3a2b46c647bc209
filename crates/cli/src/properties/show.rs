//! `-X list` and `-X dump`.

use std::fmt::Write;

use super::catalog::{Effect, Kind, properties};
use super::set::PropertySet;

/// The table of all properties, as `-X list` prints it.
pub fn list() -> String {
    let mut text = String::new();
    let mut row = |name: &str, scope: &str, range: &str, default: &str, doc: &str| {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name:<42} | {scope:^3} | {range:<31} | {default:>17} | {doc}");
    };
    row("Property", "C/P", "Range", "Default", "Description");
    row(&"-".repeat(42), "---", &"-".repeat(31), &format!("{}:", "-".repeat(16)), &"-".repeat(26));
    for property in properties() {
        let effect = match property.effect {
            Effect::Applied => String::new(),
            Effect::Ignored(why) => format!(" No effect here: {why}."),
            Effect::Later(what) => format!(" Not yet: {what} cannot be used."),
        };
        let doc = format!("{}{effect} Type: {}", property.doc, property.kind.type_name());
        let scope = property.scope.letter().to_string();
        row(property.name, &scope, &property.kind.range(), property.default, &doc);
        for alias in property.aliases {
            let doc = format!("Alias for {}.", property.name);
            row(alias, &scope, &property.kind.range(), property.default, &doc);
        }
    }
    text.push_str("\nC = consumer, P = producer, * = both\n");
    text
}

/// The configuration in effect, as `-X dump` prints it; secrets are not shown.
pub fn dump(set: &PropertySet) -> String {
    let mut text = String::from("# Global config\n");
    for property in properties() {
        let value = match set.value(property.name) {
            Some(_) if property.kind == Kind::Secret => "[redacted]",
            Some(value) => value,
            None if property.default.is_empty() => continue,
            None => property.default,
        };
        // What cannot be used has no value in effect.
        if !matches!(property.effect, Effect::Later(_)) {
            let _ = writeln!(text, "{} = {value}", property.name);
        }
    }
    text.push('\n');
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::properties::Source;

    #[test]
    fn the_list_names_every_property_and_alias() {
        let list = list();
        for property in properties() {
            for name in std::iter::once(&property.name).chain(property.aliases) {
                assert!(list.lines().any(|line| line.starts_with(&format!("{name} "))), "{name}");
            }
        }
    }

    #[test]
    fn the_dump_shows_what_is_set_and_the_defaults() {
        let mut set = PropertySet::default();
        set.set("queue.buffering.max.ms", "7", Source::CommandLine).unwrap();
        let dump = dump(&set);
        assert!(dump.starts_with("# Global config\n"));
        assert!(dump.contains("\nlinger.ms = 7\n"));
        assert!(dump.contains("\nacks = all\n"));
        assert!(!dump.contains("group.id"));
        assert!(!dump.contains("sasl"));
    }
}
