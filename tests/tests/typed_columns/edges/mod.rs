//! Texts at the edges of each type, to be given to PostgreSQL and to kcopy.

mod numbers;
mod others;
mod times;

/// Types with texts of theirs. What begins with `~` PostgreSQL takes and kcopy refuses, because it depends on
/// settings, on tables of the server, on its version, or on the time at which it is read, or because PostgreSQL makes
/// of it what nobody means.
pub(crate) type Edges = &'static [(&'static str, &'static [&'static str])];

/// Values at the edges of each type.
pub(crate) fn edges() -> impl Iterator<Item = (&'static str, &'static [&'static str])> {
    [numbers::EDGES, times::EDGES, others::EDGES].into_iter().flatten().copied()
}
