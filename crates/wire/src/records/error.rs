//! What can be wrong with record batches.

use std::fmt;

/// Whose fault it is, in the terms a broker answers with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RecordsErrorKind {
    /// The bytes are damaged: a wrong checksum, an impossible length (`CORRUPT_MESSAGE`).
    Corrupt,
    /// The batch is whole but breaks the rules of its format (`INVALID_RECORD`).
    InvalidRecord,
    /// The checksum is right, and what was compressed cannot be decompressed: to send it again is no use.
    BrokenCompression,
    /// A message set of before Kafka 0.11, or a format newer than 2 (`UNSUPPORTED_FOR_MESSAGE_FORMAT`).
    UnsupportedMagic,
    /// A compression type that is not defined (`UNSUPPORTED_COMPRESSION_TYPE`).
    UnsupportedCompression,
    /// The timestamps contradict each other (`INVALID_TIMESTAMP`).
    InvalidTimestamp,
    /// The caller's limit is too small for this batch, or a batch would outgrow its format.
    TooLarge,
}

/// An error in a record batch, with the base offset of the batch where it is known.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordsError(Box<Inner>);

#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    kind: RecordsErrorKind,
    base_offset: Option<i64>,
    message: String,
}

impl RecordsError {
    #[cold]
    pub(crate) fn new(kind: RecordsErrorKind, message: impl Into<String>) -> Self {
        RecordsError(Box::new(Inner { kind, base_offset: None, message: message.into() }))
    }

    #[cold]
    pub(crate) fn corrupt(message: impl Into<String>) -> Self {
        Self::new(RecordsErrorKind::Corrupt, message)
    }

    #[cold]
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(RecordsErrorKind::InvalidRecord, message)
    }

    #[cold]
    pub(crate) fn too_large(message: impl Into<String>) -> Self {
        Self::new(RecordsErrorKind::TooLarge, message)
    }

    /// Names the batch, unless an inner error has done so already.
    #[cold]
    pub(crate) fn in_batch(mut self, base_offset: i64) -> Self {
        self.0.base_offset.get_or_insert(base_offset);
        self
    }

    /// What kind of error this is.
    pub fn kind(&self) -> RecordsErrorKind {
        self.0.kind
    }

    /// The base offset that the faulty batch claims, if its header could be read.
    pub fn base_offset(&self) -> Option<i64> {
        self.0.base_offset
    }
}

impl fmt::Display for RecordsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.base_offset {
            Some(base_offset) => write!(f, "record batch at offset {base_offset}: {}", self.0.message),
            None => f.write_str(&self.0.message),
        }
    }
}

impl std::error::Error for RecordsError {}
