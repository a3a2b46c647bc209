//! `-X KEY=VALUE`: librdkafka's and Java's property names, one table with their documentation.
//!
//! Values are checked when they are set, whatever their source. The command line wins over files, files
//! win over defaults; within one source the last one wins. Names that are aliases of each other are one
//! property. [`PropertySet`] holds the checked texts, [`ClientProperties`] the typed result.

mod catalog;
mod consumer;
mod file;
mod general;
mod producer;
mod security;
mod set;
mod show;
mod typed;

pub use catalog::{Effect, Kind, Property, Scope, find, properties};
pub use file::{ConfigFileError, read_config};
pub use set::{PropertyError, PropertySet, Source};
pub use show::{dump, list};
pub use typed::{
    Acks, AddressFamily, ClientProperties, CompressionType, IsolationLevel, OffsetReset, Partitioner,
};
