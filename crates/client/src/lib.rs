//! An asynchronous Kafka client in pure Rust.
//!
//! | to | use |
//! |---|---|
//! | connect | [`ClientConfig::builder`], [`Client::connect`] |
//! | produce | [`producer::Producer`] |
//! | read partitions from given offsets to given ends | [`Client::resolve`], [`Client::consume`], [`Consumer`] |
//! | find offsets by place or time | [`Client::list_offsets`] |
//! | notice that a log was truncated below a position | [`Client::epoch_ends`] |
//! | read and commit a group's offsets without joining it | [`Client::committed_offsets`], [`Client::commit_offsets`], [`Client::ensure_no_members`] |
//! | create, change, delete, describe | [`Client::admin`] |
//! | send any request of the protocol | [`Client::request`], [`Client::retry`], [`wire::messages`] |
//!
//! ```no_run
//! use kcopy_client::{Assignment, Client, ClientConfig, ConsumerConfig, Event, Result, StartOffset};
//!
//! /// Prints the length of every value that the first partition of a topic has now.
//! async fn lengths(brokers: &str, topic: &str) -> Result<()> {
//!     let client = Client::connect(ClientConfig::builder().bootstrap_servers(brokers).build()?).await?;
//!     let config = ConsumerConfig::default();
//!     let assignment = Assignment::new(topic, 0, StartOffset::Earliest);
//!     let ranges = client.resolve(&[assignment], &config).await?;
//!     let mut consumer = client.consume(ranges, config)?;
//!     while let Some(event) = consumer.next().await? {
//!         if let Event::Batch(batch) = event {
//!             for record in batch.records() {
//!                 let record = record?;
//!                 println!("{}: {:?}", record.offset, record.value.map(<[u8]>::len));
//!             }
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! # How it behaves
//! - Everything runs on the tokio runtime on which it is made, of one thread or many; time and I/O need
//!   to be enabled. Connections come from a [`Connect`], so that client and broker can meet in memory
//!   and on simulated time.
//! - Each broker has one connection with one task: requests are pipelined, answers matched in order. A
//!   broker that breaks the protocol loses the connection, and nobody else notices. Where a fetch may
//!   wait for data it has a connection of its own ([`Lane`]).
//! - Operations try again, with growing pauses, what can pass by itself: lost connections, moved
//!   leaders, coordinators and controllers, brokers that restart. They end at `operation_timeout` with
//!   the last reason. [`Client::request`] is a single attempt.
//! - An [`Error`] names broker, API, topic and partition, and says what to do next ([`Error::advice`]).
//! - What it does it tells through `tracing`: warnings, and at the level of debugging connections, metadata, requests
//!   and answers, with targets by librdkafka's debug contexts (`kcopy_client::broker`, `kcopy_client::protocol`, ..).
//! - Dropping a future abandons what it waits for. What has been sent is not called back.
#![forbid(unsafe_code)]

pub mod admin;
mod backoff;
mod client;
mod config;
mod connection;
mod consumer;
mod context;
mod epochs;
mod error;
mod groups;
mod metadata;
mod offsets;
mod pool;
pub mod producer;
#[cfg(test)]
mod testing;
mod transport;

/// The protocol itself, for requests that have no function of their own here.
pub use kcopy_wire as wire;

pub use self::{
    backoff::Backoff,
    client::{Client, CoordinatorKind, Lane, Retry, Target},
    config::{ClientConfig, ClientConfigBuilder, HostPort},
    connection::{ApiVersionRanges, Connection, PendingResponse},
    consumer::{
        Assignment, Consumer, ConsumerConfig, EndOffset, Event, FetchedBatch, OffsetReset, PartitionRange,
        Records, StartOffset, TryNext,
    },
    epochs::{EpochEnd, EpochQuery},
    error::{Advice, Error, ErrorKind, Persisted, Result},
    groups::CommittedOffset,
    metadata::{Broker, Metadata, Partition, Topic},
    offsets::{IsolationLevel, ListedOffset, OffsetQuery, OffsetSpec},
    transport::{AddressFamily, BoxFuture, BoxStream, Connect, Stream, TcpConnect},
};
