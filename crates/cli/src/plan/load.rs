//! Reading records and writing them into PostgreSQL, exactly once.

use std::{net::SocketAddr, time::Duration};

use kcopy_format::Columns;

use super::{Common, End, Start};
use crate::load::postgres::settings::Settings;

/// Kafka to PostgreSQL over the wire.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    /// Brokers, properties, verbosity.
    pub common: Common,
    /// Each topic and its table, as it is written in SQL. No topic twice.
    pub routes: Vec<Route>,
    /// Which partitions; None is all. Sorted, without duplicates.
    pub partitions: Option<Vec<i32>>,
    /// What fills the columns; None is the table's own columns.
    pub columns: Option<Columns>,
    /// Where a topic that was never loaded into its table starts.
    pub start: Start,
    /// The group whose offsets say it instead.
    pub import_group: Option<String>,
    /// The group that the positions are committed to as well.
    pub group: Option<String>,
    /// Whether the run ends at the partitions' ends.
    pub end: End,
    /// What becomes of rows with a key that is there.
    pub mode: Mode,
    /// Whether records without a value delete the row of their key.
    pub deletes_on_tombstone: bool,
    /// What becomes of records that the table cannot take.
    pub on_error: OnError,
    /// Whether records that are gone are passed over.
    pub accepts_loss: bool,
    /// Whether a table that is missing is made.
    pub creates_tables: bool,
    /// Whether SQL is only printed.
    pub is_dry_run: bool,
    /// When a transaction is full.
    pub batch: BatchLimits,
    /// How long PostgreSQL may leave a statement without an answer.
    pub write_timeout: Duration,
    /// Connections to PostgreSQL, each for a share of the partitions; at least 1.
    pub connections: usize,
    /// Where Prometheus asks.
    pub metrics: Option<SocketAddr>,
    /// Whether events are written to stdout as JSON lines.
    pub json: bool,
    /// How PostgreSQL is reached.
    pub server: Settings,
}

/// A topic and where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The topic.
    pub topic: String,
    /// The table as in SQL: `orders`, `shop."Orders"`.
    pub table: String,
}

/// What becomes of rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Each record is a new row.
    Append,
    /// A record replaces the row with its primary key; the last one wins.
    Upsert,
}

/// What becomes of records that the table cannot take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OnError {
    /// The run ends: behind all that is before one that cannot be converted, without the batch of one that PostgreSQL
    /// refuses.
    Fail,
    /// They are counted and left out.
    Skip,
    /// They go to kcopy.rejected, in the same transaction.
    RejectTable,
    /// They go to this topic, before the transaction ends.
    DeadLetter(String),
}

/// When a transaction is full: whatever comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchLimits {
    /// Records.
    pub rows: usize,
    /// Bytes of rows.
    pub bytes: usize,
    /// The time since its first record.
    pub time: Duration,
}
