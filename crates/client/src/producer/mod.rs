//! Producing records.
//!
//! ```no_run
//! # async fn example(client: kcopy_client::Client) -> kcopy_client::Result<()> {
//! use kcopy_client::producer::{Producer, ProducerConfig, Record};
//!
//! let producer = Producer::new(&client, ProducerConfig::default());
//! let orders = producer.topic("orders").await?;
//! for line in ["one", "two", "three"] {
//!     producer.append(orders, &Record::value(line.as_bytes())).await?;
//! }
//! producer.flush().await?;
//! # Ok(())
//! # }
//! ```
//!
//! Records are copied once, by the caller, into the open batch of their partition: nothing is allocated,
//! locked or sent to a task for each of them. A batch is sealed when it is full, has lingered, or at a flush;
//! then a task sends it to the partition's leader, several batches one behind the other, those of several
//! partitions in one request, and again as long as it takes. The caller compresses what he fills.
//!
//! # In bursts
//! An [`Appender`] is the lock on the open batches. Whoever has many records at hand takes it once for all of
//! them:
//!
//! ```no_run
//! # use kcopy_client::producer::{AppendError, Producer, Record, Topic};
//! fn produce_lines(producer: &Producer, topic: Topic, block: &[u8]) -> Result<(), AppendError> {
//!     let mut appender = producer.appender();
//!     for line in block.split(|byte| *byte == b'\n') {
//!         appender.append_blocking(topic, &Record::value(line))?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Nothing lingers out while an appender lives, so do not keep it while waiting for input.
//!
//! # What was delivered
//! * [`Producer::flush`] and [`Producer::close`] wait until everything is settled and fail if any record was
//!   not delivered.
//! * [`Producer::take_failures`] says which ones, by partition and position, and whether they may have been
//!   written all the same ([`Error::persisted`](crate::Error::persisted));
//!   [`Producer::take_unlisted_failures`] counts what would not fit into a list.
//! * A [`Receipt`] is for the outcome of a single record.
//!
//! # Exactly once
//! With idempotence, which is the default, a record whose append succeeded is in the log once and in order, or
//! it is reported as failed. Time-outs, lost connections and moved leaders lead to another attempt under the
//! same sequence number, and only under another one once the broker has shown that it does not have the batch.
//! One case remains in which a broker can write a reported batch twice, as with every Kafka client: it finds
//! an old request in the socket of a connection that was given up before `delivery_timeout` ended, and the
//! one after it, both after it has refused the repetition of the latter.
//!
//! # Dropping
//! The last handle's drop gives up what is not acknowledged: use [`Producer::close`]. Dropping the future of
//! an append that waits for room means that the record was not appended; dropping that of a flush changes
//! nothing but that nobody waits.

mod accumulator;
mod acknowledgement;
mod batch;
mod config;
mod connections;
mod error;
mod handle;
mod machine;
mod partition;
mod queue;
mod sender;
mod split;

#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;

pub use self::{
    acknowledgement::{Receipt, RecordPlacement},
    config::{Acks, ProducerConfig, ProducerConfigBuilder},
    error::{AppendError, DeliveryFailure, RecordError},
    handle::{Appender, Producer},
};
pub use kcopy_wire::{
    partitioner::Partitioner,
    records::{Compression, Headers, HeadersBuf},
};

/// A topic that a [`Producer`] knows. Only of use with that one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Topic(u32);

/// What to append.
#[derive(Debug, Clone, Copy, Default)]
pub struct Record<'a> {
    /// Where to; the partitioner decides with `None`.
    pub partition: Option<i32>,
    /// Milliseconds since 1970; the present time with `None`.
    pub timestamp: Option<i64>,
    /// The key, which may be missing or empty.
    pub key: Option<&'a [u8]>,
    /// The value; without one the record is a tombstone.
    pub value: Option<&'a [u8]>,
    /// The headers.
    pub headers: Headers<'a>,
}

impl<'a> Record<'a> {
    /// A record that has only a value.
    pub fn value(value: &'a [u8]) -> Self {
        Record { value: Some(value), ..Record::default() }
    }

    /// A record with key and value.
    pub fn keyed(key: &'a [u8], value: &'a [u8]) -> Self {
        Record { key: Some(key), value: Some(value), ..Record::default() }
    }
}

/// Where a record was appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Position {
    /// The partition.
    pub partition: i32,
    /// How many records this producer appended to that partition before.
    pub index: u64,
}
