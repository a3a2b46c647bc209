//! Reading records and writing them to stdout.

use std::path::PathBuf;
use std::time::Duration;

use kcopy_format::envelope::Envelope;
use kcopy_format::template::Template;
use kcopy_format::write::RecordWriter;
use kcopy_format::{FormatOptions, OptionError};

use super::Common;
use crate::properties::{IsolationLevel, OffsetReset};

/// Kafka to stdout.
#[derive(Debug, Clone, PartialEq)]
pub struct Consume {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// What to read.
    pub topics: TopicSelection,
    /// Which partitions; `None` is all. Sorted, without duplicates.
    pub partitions: Option<Vec<i32>>,
    /// Where each partition starts.
    pub start: Start,
    /// Where each partition stops, if not only at its end.
    pub stop: Option<Stop>,
    /// Whether the run ends at the partitions' ends.
    pub end: End,
    /// Further bounds of the run, over all partitions.
    pub limits: Limits,
    /// The group whose offsets are used.
    pub group: Option<GroupUse>,
    /// Whether open and aborted transactions are left out.
    pub isolation: IsolationLevel,
    /// How records are written.
    pub output: Output,
    /// Write each record as soon as it is there (`-u`).
    pub unbuffered: bool,
    /// Go on after errors of single partitions (`-E`).
    pub keep_going: bool,
    /// What a caller that keeps the positions itself asks for.
    pub exact: Exact,
}

/// What a caller asks for that keeps the positions itself, beside the rows: see `kcopy sql`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exact {
    /// Where partitions start that do not start as [`Consume::start`] says. Sorted by partition, each once.
    pub starts: Vec<PartitionStart>,
    /// All other partitions start at their beginning, whatever [`Consume::start`] says.
    pub others_begin: bool,
    /// The id that the cluster must have.
    pub cluster_id: Option<String>,
    /// Go on where a start is no longer there.
    pub accept_loss: bool,
    /// Leave records out that the output cannot hold, and report them.
    pub skips_errors: bool,
    /// Only find out where partitions start and end.
    pub dry_run: bool,
    /// A file to be made, for what was done.
    pub report: Option<PathBuf>,
    /// Write each byte that is not ASCII as `%` and three octal digits, and `%` like them.
    pub escapes_bytes: bool,
}

/// An exact start.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionStart {
    /// The partition.
    pub partition: i32,
    /// The offset to read first.
    pub offset: i64,
    /// The leader epoch of the record before it: the log must not have been truncated below.
    pub leader_epoch: Option<i32>,
    /// The id that the topic must have.
    pub topic_id: Option<String>,
}

/// The topics to read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TopicSelection {
    /// These, in this order.
    Names(Vec<String>),
    /// All whose name matches one of the regular expressions.
    Regex(Vec<String>),
}

/// Where a partition starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// At its first record.
    Beginning,
    /// At the end as it is when the run starts.
    End,
    /// At this offset.
    Offset(i64),
    /// So many records before the end.
    BeforeEnd(i64),
    /// At the first record with this timestamp (ms) or a later one; at the end if there is none.
    Timestamp(i64),
    /// At the group's committed offset; where it has none, as `otherwise` says. An offset out of range is an error.
    Committed {
        /// What a partition without a committed offset does.
        otherwise: OffsetReset,
    },
}

/// Where a partition stops before its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// Before this offset.
    Offset(i64),
    /// So many records before the end as it is when the run starts.
    BeforeEnd(i64),
    /// Before its first record with this timestamp (ms) or a later one.
    Timestamp(i64),
    /// At the group's committed offset.
    Committed,
}

/// Whether a run ends by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// At the ends as they are when the run starts.
    Pinned,
    /// Never: new records are waited for.
    Follow,
}

/// Bounds of a run. What was cut off is what the next run of the group starts with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Limits {
    /// Records to take at most, skipped ones among them.
    pub max_messages: Option<u64>,
    /// Bytes of keys and values to write at most; the record that reaches the bound is still written.
    pub max_bytes: Option<u64>,
    /// Time after which no further record is written.
    pub max_time: Option<Duration>,
}

/// A group whose committed offsets are read, written, or both, without joining it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupUse {
    /// The group's id.
    pub id: String,
    /// Whether positions are committed.
    pub commit: CommitPolicy,
}

/// Whether a run commits its positions, once everything is written, flushed and taken by the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommitPolicy {
    /// Never.
    Never,
    /// Only for partitions where the group has no committed offset yet: a look at a topic from another
    /// start never moves an existing group.
    WhereNoneYet,
    /// Always.
    Always,
}

/// How records are written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// kcat's `-f`, or what `-D` and `-K` describe.
    Template(Template),
    /// kcat's `-J`.
    Envelope(Envelope),
    /// One of `--format`, already checked.
    Format(FormatOptions),
}

impl Output {
    /// The writer of this output.
    ///
    /// # Errors
    /// The options do not fit together; those of a plan were checked when it was made.
    pub fn writer(&self) -> Result<RecordWriter, OptionError> {
        match self {
            Self::Template(template) => Ok(RecordWriter::template(template.clone())),
            Self::Envelope(envelope) => Ok(RecordWriter::envelope(envelope.clone())),
            Self::Format(options) => RecordWriter::new(options),
        }
    }
}
