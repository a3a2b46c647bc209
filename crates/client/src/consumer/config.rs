//! How a consumer reads.

use std::time::Duration;

use kcopy_wire::{Str, records::DEFAULT_MAX_DECOMPRESSED_BYTES};

use crate::offsets::IsolationLevel;

/// How a [`Consumer`](super::Consumer) reads.
///
/// ```
/// use kcopy_client::{ConsumerConfig, IsolationLevel};
///
/// let mut config = ConsumerConfig::default();
/// config.isolation_level = IsolationLevel::ReadUncommitted;
/// assert!(config.check_crcs);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ConsumerConfig {
    /// Whether records of open and aborted transactions are seen; default only committed ones.
    pub isolation_level: IsolationLevel,
    /// What one answer may hold, in bytes; default 6 MiB, and never more than 4 MiB from brokers that are near. A
    /// larger batch comes all the same, alone.
    pub fetch_max_bytes: usize,
    /// What one answer may hold of one partition, in bytes; default 6 MiB. Partitions take turns.
    pub partition_max_bytes: usize,
    /// The broker waits until it has this many bytes, or `max_wait` is over; default 1.
    pub min_bytes: usize,
    /// How long the broker may wait for data; default 500 ms. Reading to a pinned end never waits.
    pub max_wait: Duration,
    /// What may lie fetched and not yet handed out, over all partitions, in bytes; default 48 MiB, of which
    /// half is used unless the brokers are far away (1 ms). Memory use grows with it.
    pub prefetch_bytes: usize,
    /// Whether the checksum of each batch is checked; default yes.
    pub check_crcs: bool,
    /// What one batch may decompress to, in bytes; a batch beyond it is an error.
    pub max_decompressed_bytes: usize,
    /// What happens when a partition does not have the offset that is due; default an error.
    pub offset_reset: OffsetReset,
    /// How long a partition may be out of reach, its leader unreachable or not known, until the
    /// consumer fails; default 60 s.
    pub unreachable_timeout: Duration,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            isolation_level: IsolationLevel::ReadCommitted,
            fetch_max_bytes: 6 << 20,
            partition_max_bytes: 6 << 20,
            min_bytes: 1,
            max_wait: Duration::from_millis(500),
            prefetch_bytes: 48 << 20,
            check_crcs: true,
            max_decompressed_bytes: DEFAULT_MAX_DECOMPRESSED_BYTES,
            offset_reset: OffsetReset::Error,
            unreachable_timeout: Duration::from_secs(60),
        }
    }
}

/// What happens when a partition does not have the offset that is due.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OffsetReset {
    /// An error that names the offsets that there are.
    #[default]
    Error,
    /// Reading goes on at the first offset that there is.
    Earliest,
    /// Reading goes on at the end.
    Latest,
}

/// A partition to read, and from where to where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// Where reading begins.
    pub start: StartOffset,
    /// Where it ends.
    pub end: EndOffset,
}

impl Assignment {
    /// A partition from a place to the end that it has at the start of the run.
    pub fn new(topic: impl Into<Str>, partition: i32, start: StartOffset) -> Assignment {
        Assignment { topic: topic.into(), partition, start, end: EndOffset::Latest }
    }

    /// Another end.
    #[must_use]
    pub fn until(mut self, end: EndOffset) -> Assignment {
        self.end = end;
        self
    }
}

/// Where reading begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartOffset {
    /// At this offset.
    Offset(i64),
    /// At the first one that there is.
    Earliest,
    /// At the end.
    Latest,
    /// At the first record of this time or later, in milliseconds since 1970; at the end if there is
    /// none.
    Timestamp(i64),
    /// This many offsets before the end, but not before the first.
    BeforeEnd(i64),
}

/// Where reading ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EndOffset {
    /// Nowhere: what comes later is read too.
    Never,
    /// Where the partition ends at the start of the run: the last stable offset, or the high watermark
    /// when reading uncommitted.
    Latest,
    /// Before this offset; it is waited for.
    Offset(i64),
    /// Before the first record of this time or later, in milliseconds since 1970; at the end that the
    /// partition has at the start of the run if there is none.
    Timestamp(i64),
}

/// A partition to read, with offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionRange {
    /// The topic.
    pub topic: Str,
    /// The partition.
    pub partition: i32,
    /// The first offset to read.
    pub start: i64,
    /// The offset before which reading ends; None for never.
    pub end: Option<i64>,
    /// The first offset that the partition had when it was asked.
    pub log_start_offset: i64,
    /// The end that it had: where the next record goes, as far as consumers see.
    pub high_watermark: i64,
    /// The end of what is committed; equal to `high_watermark` when reading uncommitted.
    pub last_stable_offset: i64,
    /// The newest leader epoch that may have written what is before `last_stable_offset`; None where the
    /// broker does not say (before 2.1).
    pub leader_epoch: Option<i32>,
    /// The leader epoch of the records before `start`, where the caller has read them: a log that parts from them there
    /// is an error instead of read. None at first.
    pub last_epoch: Option<i32>,
}
