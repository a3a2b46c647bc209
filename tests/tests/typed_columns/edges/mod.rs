//! Texts at the edges of each type, to be given to PostgreSQL and to kcopy.

mod numbers;
mod others;
mod times;

use std::ops::Range;

/// Types with texts of theirs. What begins with `~` PostgreSQL takes and kcopy refuses, because it depends on
/// settings, on tables of the server, on its version, or on the time at which it is read, or because PostgreSQL makes
/// of it what nobody means.
pub(crate) type Edges = &'static [(&'static str, &'static [&'static str])];

/// Values at the edges of each type.
pub(crate) fn edges() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    [numbers::EDGES, times::EDGES, others::EDGES].into_iter().flatten().copied()
}

/// Later than all.
const ALWAYS: i32 = i32::MAX;

/// What begins with `~`, but is not for all versions of PostgreSQL: for which it is.
const VERSIONED: &[(Range<i32>, &str, &[&str])] = &[
    (0..16, "date", &["infinity 12:00"]),
    (0..16, "timetz", &["T040506-0830"]),
    (0..16, "timestamp", &["2024-02-29 epoch"]),
    (0..17, "interval", &["1 day ago ago", "day 1"]),
    (15..ALWAYS, "time", &["12:00:00."]),
    (
        15..ALWAYS,
        "interval",
        &[
            "5000000000 us",
            "1. day",
            "2147483648:00:00",
            "-2147483648:00:00",
            "2562047788:00:54.775807",
            "1 d 2147483648:00:00",
            "PT2147483648H",
            "2147483647 h 60 min",
            "1.5 d 2147483647:00:00",
            "PT2147483647.7S",
        ],
    ),
    (15..ALWAYS, "interval(0)", &["2147483647:59:59.5"]),
    (16..ALWAYS, "int2", &["0x10", "1_0"]),
    (16..ALWAYS, "date", &["+infinity"]),
    (17..ALWAYS, "interval", &["infinity"]),
    (17..ALWAYS, "int4[]", &["{{}}", "{{},{}}"]),
];

/// Whether this version of PostgreSQL takes what kcopy refuses.
pub(crate) fn is_taken(version: i32, type_name: &str, text: &str) -> bool {
    let known = VERSIONED.iter().find(|(_, of, texts)| *of == type_name && texts.contains(&text));
    known.is_none_or(|(versions, ..)| versions.contains(&version))
}
