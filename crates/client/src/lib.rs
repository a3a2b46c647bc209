//! An asynchronous Kafka client in pure Rust.
#![forbid(unsafe_code)]

