//! Reading records and writing them to stdout.

use std::time::Duration;

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
    /// Records to write at most.
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
    /// kcat's ways: delimiters, a template, JSON lines.
    Records(RecordOutput),
    /// One of `--format`: for COPY ... FROM, JSON lines, or bytes.
    Format(FormatSpec),
}

/// Records as kcat writes them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordOutput {
    /// What is written for a record.
    pub layout: RecordLayout,
    /// A NULL key or value is written as `NULL` (`-Z`), else as nothing.
    pub null_text: bool,
    /// How to unpack keys (`-s key=`), if not as they are.
    pub key_pack: Option<String>,
    /// How to unpack values (`-s value=`), if not as they are.
    pub value_pack: Option<String>,
    /// What JSON gets where bytes are not UTF-8.
    pub invalid_text: InvalidText,
}

/// What is written for a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RecordLayout {
    /// The key and its delimiter (`-K`) if asked for, the value, the delimiter (`-D`).
    Delimited {
        /// Between key and value; without it the key is not written.
        key_delimiter: Option<Vec<u8>>,
        /// After each record.
        delimiter: Vec<u8>,
    },
    /// kcat's JSON envelope (`-J`) and the delimiter.
    Json {
        /// After each record.
        delimiter: Vec<u8>,
    },
    /// A template in kcat's `-f` language, as it was typed.
    Template(Vec<u8>),
}

/// `--format` and what shapes it, as it was given; the formats check it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FormatSpec {
    /// `--format`.
    pub format: FormatName,
    /// `--columns`.
    pub columns: Option<String>,
    /// `--null`.
    pub null: Option<String>,
    /// `--delimiter`, with its escapes.
    pub delimiter: Option<String>,
    /// `--quote`.
    pub quote: Option<String>,
    /// `--header`.
    pub header: bool,
    /// `--invalid-text`.
    pub invalid_text: InvalidText,
}

/// The values of `--format`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "the names say it")]
pub enum FormatName {
    #[default]
    Text,
    Csv,
    Binary,
    Json,
    Raw,
}

/// What to do with bytes that are not valid text in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum InvalidText {
    /// Fail.
    #[default]
    Error,
    /// Write U+FFFD for each invalid sequence.
    Replace,
    /// Write the whole value in base64.
    Base64,
    /// Write the whole value in hexadecimal.
    Hex,
}
