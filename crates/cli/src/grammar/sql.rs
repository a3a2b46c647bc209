//! `kcopy sql`, and the verb that its functions use.

use std::path::PathBuf;

use clap::{Arg, Args, Command};

use super::consume::ConsumeArgs;
use crate::plan::Plan;
use crate::sql;

/// The SQL that installs kcopy.load: Kafka into tables, exactly once, inside PostgreSQL
///
/// It installs and upgrades alike, in one transaction, as a superuser. What this binary's path is on the
/// server's machine is written into it. Where it is refused, psql ends with 3 at the first error; without
/// ON_ERROR_STOP it goes on to the end of the script, which ends the session, and psql with 2.
#[derive(Debug, clap::Args)]
#[command(before_help = EXAMPLES)]
pub(super) struct SqlArgs {
    /// The binary's absolute path on the server's machine [default: this one's]
    #[arg(long, env = "KCOPY_PROGRAM", value_name = "PATH", conflicts_with = "uninstall")]
    program: Option<PathBuf>,
    /// Remove everything, the positions as well
    #[arg(long, env = "KCOPY_UNINSTALL")]
    uninstall: bool,
}

const EXAMPLES: &str = "\
Examples:
  kcopy sql | psql -v ON_ERROR_STOP=1
  kcopy sql --program /usr/local/bin/kcopy | psql -v ON_ERROR_STOP=1 -d shop
  psql -d shop -c \"select * from kcopy.load('orders', 'orders')\"
  kcopy sql --uninstall | psql -v ON_ERROR_STOP=1 -d shop";

/// Prints a report as a row of COPY text, and removes it
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:\n  kcopy report /tmp/kcopy-report")]
pub(super) struct ReportArgs {
    /// What kcopy consume --report made
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Escape whatever is not ASCII, for readers of any encoding; each backslash of the JSON begins such an escape
    #[arg(long, env = "KCOPY_ASCII")]
    ascii: bool,
}

impl SqlArgs {
    pub(super) fn plan(self) -> Result<Plan, String> {
        if self.uninstall {
            return Ok(Plan::Print(sql::uninstall()));
        }
        let program = match self.program {
            Some(program) => program,
            None => std::env::current_exe().map_err(|error| {
                format!("this program's own path is not known ({error}): name it with --program PATH")
            })?,
        };
        sql::install(&program, &variables()).map(Plan::Print)
    }
}

/// The variables of `kcopy consume` that are the caller's to decide in SQL, not the server's.
fn variables() -> Vec<String> {
    let command = ConsumeArgs::augment_args(Command::new("consume"));
    let of_server = |arg: &Arg| arg.get_help_heading() == Some("Connection");
    let names = command.get_arguments().filter(|arg| !of_server(arg)).filter_map(Arg::get_env);
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

impl ReportArgs {
    pub(super) fn plan(self) -> Plan {
        Plan::TakeReport { path: self.file, is_ascii: self.ascii }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_decides_where_and_the_caller_what() {
        let variables = variables();
        for name in
            ["KCOPY_GROUP", "KCOPY_FOLLOW", "KCOPY_COLUMNS", "KCOPY_UNTIL", "KCOPY_START", "KCOPY_HEADER"]
        {
            assert!(variables.contains(&name.to_owned()), "{name}");
        }
        for name in ["KCOPY_BROKERS", "KCOPY_CONFIG", "KCOPY_PROPERTY", "KCOPY_TIMEOUT"] {
            assert!(!variables.contains(&name.to_owned()), "{name}");
        }
    }
}
