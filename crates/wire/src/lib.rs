//! The Kafka protocol as bytes: no I/O, no clock, no tasks, no randomness.
//!
//! - [`messages`]: every request, response and piece of data, generated from the tables in `tables/`.
//! - [`frame`]: length-prefixed frames with their headers.
//! - [`records`]: record batches, which messages carry as bytes.
//! - [`codec`]: the reader and writer below them, bounded against hostile bytes.
#![forbid(unsafe_code)]

pub mod codec;
mod error_code;
pub mod frame;
pub mod messages;
pub mod partitioner;
pub mod records;

pub use codec::{
    DecodeError, EncodeError, Message, Reader, RecordBytes, Request, Str, TaggedFields, Uuid, Writer,
};
pub use error_code::ErrorCode;
pub use messages::ApiKey;
