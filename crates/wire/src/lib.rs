//! The Kafka protocol as bytes: no I/O, no clock, no tasks, no randomness.
#![forbid(unsafe_code)]

pub mod partitioner;
