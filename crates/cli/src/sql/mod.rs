//! `kcopy sql`: the SQL that loads topics into tables, exactly once, inside PostgreSQL.
//!
//! | | |
//! |---|---|
//! | `begin.sql` | the transaction, what must hold before it, roles |
//! | `whole.sql` | that it is one transaction indeed |
//! | `known.sql`, `own.sql` | keep default privileges away from what is made; `kcopy load` shares them |
//! | `tables.sql` | what `offsets.sql` would make, and is there already |
//! | `offsets.sql` | positions and skipped records; `kcopy load` shares them |
//! | `upgrade.sql` | what an earlier version left |
//! | `program.sql` | running the program, its report, and the two functions with other rights than their caller's |
//! | `target.sql` | what a target is, and how its columns are filled |
//! | `insert.sql` | out of a stage into a target |
//! | `load.sql` | what people call |
//! | `end.sql` | grants |
//! | `uninstall.sql` | removes everything |
//! | `verdict.sql` | ends the session where nothing was installed, or removed |

use std::path::Path;

/// Who makes the schema has this advisory lock.
pub const LOCK: i64 = 0x6b63_6f70_795f_6f66;

const WHOLE: &str = include_str!("whole.sql");
const BEGIN: &str = include_str!("begin.sql");
const KNOWN: &str = include_str!("known.sql");
const TABLES: &str = include_str!("tables.sql");
const OFFSETS: &str = include_str!("offsets.sql");
const UPGRADE: &str = include_str!("upgrade.sql");
const PROGRAM: &str = include_str!("program.sql");
const TARGET: &str = include_str!("target.sql");
const INSERT: &str = include_str!("insert.sql");
const LOAD: &str = include_str!("load.sql");
const OWN: &str = include_str!("own.sql");
const END: &str = include_str!("end.sql");
const VERDICT: &str = include_str!("verdict.sql");
const UNINSTALL: &str = include_str!("uninstall.sql");

/// What makes the functions, in order.
const FUNCTIONS: [&str; 4] = [PROGRAM, TARGET, INSERT, LOAD];

/// What each function begins with.
const FUNCTION: &str = "CREATE OR REPLACE FUNCTION ";

/// The types that go through a stage as themselves. All others do as text, and become what they are in the INSERT.
/// Arrays of them do, too.
const TYPES: &[&str] = &[
    "bool",
    "bytea",
    "cidr",
    "date",
    "float4",
    "float8",
    "inet",
    "int2",
    "int4",
    "int8",
    "interval",
    "json",
    "jsonb",
    "macaddr",
    "numeric",
    "text",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "uuid",
];

/// The script that installs or upgrades everything. `program` is where the server finds this binary, and
/// `variables` are those of its environment that a load must not heed.
///
/// # Errors
/// A path that is not absolute, not UTF-8, or that no command line can hold.
pub fn install(program: &Path, variables: &[String]) -> Result<String, String> {
    let wrong = |what: &str| Err(format!("--program {}: {what}", program.display()));
    let Some(path) = program.to_str() else { return wrong("the path is not UTF-8") };
    if !program.is_absolute() {
        return wrong("the server needs an absolute path");
    }
    if path.contains(|letter: char| letter.is_control()) {
        return wrong("a path with control characters is not safe in a command line");
    }
    if path.contains("$body$") {
        return wrong("functions with it in their text would end at $body$");
    }
    let version = env!("CARGO_PKG_VERSION");
    let functions = FUNCTIONS.join("\n");
    let script =
        [BEGIN, &known(), TABLES, OFFSETS, "\n", UPGRADE, &functions, OWN, END, &verdict("INSTALLED")]
            .concat();
    Ok(script
        .replace("{whole}", &whole("installed"))
        .replace("{version_literal}", &literal(version))
        .replace("{version}", version)
        .replace("{heads}", &heads().map(literal).collect::<Vec<_>>().join(", "))
        .replace(
            "{names}",
            &literal(&format!("{{{}}}", heads().filter_map(name).collect::<Vec<_>>().join(","))),
        )
        .replace("{unset}", &variables.join(" "))
        .replace("{types}", &literal(&format!("{{{}}}", TYPES.join(","))))
        // Last: nothing in the path is taken for one of the names above.
        .replace("{program}", &literal(path)))
}

/// Makes the tables that keep positions and skipped records, within a transaction.
pub fn tables() -> String {
    [&known(), OFFSETS, OWN].concat()
}

fn known() -> String {
    KNOWN.replace("{lock}", &LOCK.to_string())
}

/// The script that removes everything.
pub fn uninstall() -> String {
    UNINSTALL.replace("{whole}", &whole("removed")) + &verdict("REMOVED")
}

/// The functions with their arguments and results.
fn heads() -> impl Iterator<Item = &'static str> {
    let functions = FUNCTIONS.into_iter().flat_map(|text| text.split(FUNCTION).skip(1));
    functions.map(|function| function.split("\nLANGUAGE").next().unwrap_or_default())
}

fn name(head: &str) -> Option<&str> {
    head.strip_prefix("kcopy.")?.split('(').next()
}

fn whole(done: &str) -> String {
    WHOLE.replace("{done}", done)
}

fn verdict(done: &str) -> String {
    VERDICT.replace("{done}", done)
}

/// A literal that means the same whatever `standard_conforming_strings` says.
fn literal(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn script(path: &str) -> Result<String, String> {
        install(Path::new(path), &["KCOPY_FOLLOW".to_owned()])
    }

    #[test]
    fn the_path_is_quoted_and_nothing_is_left_open() {
        let script = script("/opt/it's {version}\\x/kcopy").unwrap();
        assert!(script.contains("SELECT E'/opt/it''s {version}\\\\x/kcopy'::text"));
        assert!(script.contains("unset KCOPY_FOLLOW; exec"));
        for name in [
            "{program}",
            "{unset}",
            "{whole}",
            "{done}",
            "{heads}",
            "{names}",
            "{types}",
            "{version_literal}",
            "{lock}",
        ] {
            assert!(!script.contains(name), "{name}");
        }
    }

    #[test]
    fn paths_that_no_command_line_can_hold_are_refused() {
        for path in ["kcopy", "./kcopy", "/a\nb", "/a\0b", "/a\rb", "/a$body$b"] {
            assert!(script(path).unwrap_err().contains("--program"), "{path:?}");
        }
    }

    #[test]
    fn no_backslash_changes_its_meaning_with_the_session() {
        for text in FUNCTIONS.into_iter().chain([WHOLE, UNINSTALL, UPGRADE, TABLES, KNOWN, OWN, END]) {
            assert!(!text.contains('\\'), "{text}");
        }
    }

    #[test]
    fn every_function_fixes_its_search_path() {
        for text in FUNCTIONS {
            assert!(!text.contains("CREATE FUNCTION"), "it would not be replaced");
            for function in text.split(FUNCTION).skip(1) {
                let head = function.split("$body$").next().unwrap_or_default();
                assert!(head.contains("SET search_path = pg_catalog, pg_temp"), "{head}");
            }
        }
    }
}
