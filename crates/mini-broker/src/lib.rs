//! An in-memory Kafka cluster for tests.
#![forbid(unsafe_code)]

