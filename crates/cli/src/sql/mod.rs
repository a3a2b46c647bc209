//! `kcopy sql`: the SQL that loads topics into tables, exactly once, inside PostgreSQL.

use std::path::Path;

/// The tables that keep positions and skipped records.
pub const OFFSETS: &str = include_str!("offsets.sql");

/// The script that installs or upgrades everything; `program` is where the server finds this binary.
///
/// # Errors
/// A path that is not absolute, not UTF-8, or that no command line can hold.
pub fn install(program: &Path) -> Result<String, String> {
    let _ = program;
    Ok(OFFSETS.to_owned())
}

/// The script that removes everything.
pub fn uninstall() -> String {
    String::new()
}
