//! `kcopy sql`, and the verb that its functions use.

use std::path::PathBuf;

use crate::plan::Plan;
use crate::sql;

/// The SQL that installs kcopy.load: Kafka into tables, exactly once, inside PostgreSQL
///
/// It installs and upgrades alike, in one transaction, as a superuser. What this binary's path is on the
/// server's machine is written into it.
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
  kcopy sql | psql
  kcopy sql --program /usr/local/bin/kcopy | psql -d shop
  psql -d shop -c \"select * from kcopy.load('orders', 'orders')\"
  kcopy sql --uninstall | psql -d shop";

/// Prints a report as a row of COPY text, and removes it
#[derive(Debug, clap::Args)]
#[command(before_help = "Examples:\n  kcopy report /tmp/kcopy-report")]
pub(super) struct ReportArgs {
    /// What kcopy consume --report made
    #[arg(value_name = "FILE")]
    file: PathBuf,
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
        sql::install(&program).map(Plan::Print)
    }
}

impl ReportArgs {
    pub(super) fn plan(self) -> Plan {
        Plan::TakeReport(self.file)
    }
}
