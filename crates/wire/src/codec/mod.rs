//! Reading and writing the protocol's primitives.

mod error;
mod reader;
mod types;
mod writer;

use std::{fmt, ops::RangeInclusive};

pub use self::{
    error::{DecodeError, DecodeErrorKind, EncodeError},
    reader::Reader,
    types::{RecordBytes, Str, TaggedFields, Uuid},
    writer::{TaggedWriter, Writer},
};

/// A message of the protocol: a request, a response, or bytes that travel inside one.
pub trait Message: Clone + Default + PartialEq + fmt::Debug + Sized {
    /// The name in the protocol's specification, such as `FetchRequest`.
    const NAME: &'static str;
    /// The versions that this crate speaks.
    const VERSIONS: RangeInclusive<i16>;

    /// Whether `version` has compact lengths and tagged fields (KIP-482).
    fn is_flexible(version: i16) -> bool;

    /// Appends the message in the form of `version`.
    ///
    /// # Errors
    /// An unknown version, a field that the version cannot carry, or a value that is too long.
    fn encode(&self, version: i16, w: &mut Writer) -> Result<(), EncodeError>;

    /// Reads a message in the form of `version`. Trailing bytes stay in the reader.
    ///
    /// # Errors
    /// Bytes that are not such a message; the error names the field and the position.
    fn decode(r: &mut Reader, version: i16) -> Result<Self, DecodeError>;
}

/// A request, and what answers it.
pub trait Request: Message {
    /// The API of the request.
    const API_KEY: crate::ApiKey;
    /// The answer.
    type Response: Message;
}

/// What generated code uses.
pub(crate) mod generated {
    pub(crate) use bytes::Bytes;

    pub(crate) use super::{
        DecodeError, EncodeError, Message, Reader, RecordBytes, Request, Str, TaggedFields, Uuid, Writer,
        check_decode_version, check_encode_version, error::Context as _,
    };
    pub(crate) use crate::{ApiKey, ErrorCode};
}

pub(crate) fn check_encode_version<M: Message>(version: i16) -> Result<(), EncodeError> {
    if M::VERSIONS.contains(&version) { Ok(()) } else { Err(EncodeError::version::<M>(version)) }
}

pub(crate) fn check_decode_version<M: Message>(r: &mut Reader, version: i16) -> Result<(), DecodeError> {
    r.begin(M::NAME, version);
    if M::VERSIONS.contains(&version) { Ok(()) } else { Err(r.error(DecodeErrorKind::UnknownVersion)) }
}
