//! The options of `kcopy consume` for callers that keep the positions themselves, as `kcopy sql` does.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::plan::{Exact, parse_starts};

#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Exactly once")]
pub(super) struct ExactArgs {
    /// Exact starts: PARTITION:OFFSET[:EPOCH[:TOPIC_ID]],..; other partitions start as --from says
    ///
    /// With an epoch the log must not have been truncated below the offset, and with an id the topic must
    /// still be the same. An empty list is allowed. A * in it lets all other partitions start at their
    /// beginning, whatever --from says. No group is used beside it.
    #[arg(long, env = "KCOPY_START", value_name = "LIST", conflicts_with = "group")]
    pub(super) start: Option<String>,
    /// The id that the cluster must have
    #[arg(long, env = "KCOPY_CLUSTER_ID", value_name = "ID")]
    cluster_id: Option<String>,
    /// Where a start is gone, tell and go on with what there is
    #[arg(long, env = "KCOPY_ACCEPT_LOSS")]
    accept_loss: bool,
    /// Records that the columns cannot hold: fail, or skip and report them
    #[arg(long, env = "KCOPY_ON_ERROR", value_name = "WAY", default_value = "fail")]
    on_error: Way,
    /// Find out where partitions start and end, and read nothing
    #[arg(long, env = "KCOPY_DRY_RUN")]
    dry_run: bool,
    /// Make this file at the end, with the next offsets, what was skipped, the records of the rows, and the error, as JSON
    #[arg(long, env = "KCOPY_REPORT", value_name = "FILE")]
    report: Option<PathBuf>,
    /// Write each byte that is not ASCII as % and three octal digits, and % as %045
    ///
    /// For a reader that takes another encoding than UTF-8 and does not want to fail where that lacks a character.
    #[arg(long, env = "KCOPY_ESCAPE_BYTES")]
    pub(super) escape_bytes: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Way {
    Fail,
    Skip,
}

impl ExactArgs {
    pub(super) fn check(self, one_topic: bool) -> Result<Exact, String> {
        let mut items: Vec<&str> = self.start.iter().flat_map(|start| start.split(',')).collect();
        let count = items.len();
        items.retain(|item| *item != "*");
        let others_begin = items.len() < count;
        let starts = parse_starts(&items.join(",")).map_err(|reason| format!("--start: {reason}"))?;
        if (others_begin || !starts.is_empty()) && !one_topic {
            return Err("--start is about the partitions of one topic: name one".to_owned());
        }
        Ok(Exact {
            starts,
            others_begin,
            cluster_id: self.cluster_id,
            accept_loss: self.accept_loss,
            skips_errors: matches!(self.on_error, Way::Skip),
            dry_run: self.dry_run,
            report: self.report,
            escapes_bytes: self.escape_bytes,
        })
    }
}
