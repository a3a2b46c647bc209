//! An in-memory Kafka cluster for tests.
//!
//! One task owns all state; connections are readers and writers around it, and handlers are one file per API over
//! machines without I/O. Batches are stored as received and fetched as slices. See [`MiniCluster`] for the start, and
//! `SKIPPED.md` beside this crate for what Apache Kafka does and this does not.
#![forbid(unsafe_code)]

mod actor;
mod builder;
mod clock;
mod cluster;
mod config;
mod error;
mod faults;
mod fetch_session;
mod handlers;
mod journal;
mod log;
mod mini_cluster;
mod net;
mod observe;
mod producer_state;
mod validation;

pub use builder::MiniClusterBuilder;
pub use clock::Clock;
pub use config::{ConfigError, PropertyEffect, property_effect};
pub use error::Error;
pub use faults::{Fault, FaultAction};
pub use journal::SeenRequest;
pub use mini_cluster::{MemoryNetwork, MiniCluster};
pub use observe::{CommittedOffset, PartitionState, TopicState};
