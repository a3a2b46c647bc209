//! kcopy moves data between Kafka and PostgreSQL: everything behind the `kcopy` binary.
//!
//! Two grammars (kcat's and kcopy's own) and Apache Kafka's `kafka-topics` flags are parsed into one
//! checked [`plan::Plan`]. Parsing only validates, running only runs.

pub mod dispatch;
pub mod environment;
pub mod format;
pub mod grammar;
pub mod kafka_topics;
pub mod kcat;
pub mod plan;
pub mod properties;
pub mod tables;
pub mod view;
