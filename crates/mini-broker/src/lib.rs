//! An in-memory Kafka cluster for tests.
#![forbid(unsafe_code)]

mod clock;
mod config;
mod log;
mod producer_state;

pub use clock::Clock;
pub use config::{ConfigError, PropertyEffect, property_effect};
