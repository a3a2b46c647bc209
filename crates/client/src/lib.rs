//! An asynchronous Kafka client in pure Rust.
#![forbid(unsafe_code)]

pub mod admin;
mod backoff;
mod client;
mod config;
mod connection;
mod consumer;
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
    error::{Advice, Error, ErrorKind, Persisted, Result},
    groups::CommittedOffset,
    metadata::{Broker, Metadata, Partition, Topic},
    offsets::{IsolationLevel, ListedOffset, OffsetQuery, OffsetSpec},
    transport::{AddressFamily, BoxFuture, BoxStream, Connect, Stream, TcpConnect},
};
