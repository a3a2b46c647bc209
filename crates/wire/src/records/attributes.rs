//! The attribute bits of a batch header.

use std::{fmt, str::FromStr};

use super::error::{RecordsError, RecordsErrorKind};

/// How the records of a batch are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, RFC 1952.
    Gzip,
    /// Snappy in the framing of xerial's snappy-java.
    Snappy,
    /// The LZ4 frame format.
    Lz4,
    /// Zstandard, RFC 8878 (KIP-110).
    Zstd,
}

impl Compression {
    /// Every compression type, in the order of their numbers.
    pub const ALL: [Compression; 5] =
        [Compression::None, Compression::Gzip, Compression::Snappy, Compression::Lz4, Compression::Zstd];

    /// The number in a batch's attributes.
    pub fn id(self) -> u8 {
        self as u8
    }

    /// The compression with this number, if there is one.
    pub fn from_id(id: u8) -> Option<Self> {
        Self::ALL.get(usize::from(id)).copied()
    }

    /// The name in configurations (`compression.type`).
    pub fn name(self) -> &'static str {
        match self {
            Compression::None => "none",
            Compression::Gzip => "gzip",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
            Compression::Zstd => "zstd",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Compression {
    type Err = RecordsError;

    fn from_str(name: &str) -> Result<Self, RecordsError> {
        Self::ALL.into_iter().find(|c| c.name() == name).ok_or_else(|| {
            RecordsError::new(
                RecordsErrorKind::UnsupportedCompression,
                format!("unknown compression {name:?}: expected none, gzip, snappy, lz4 or zstd"),
            )
        })
    }
}

/// Who sets the timestamps of a batch (KIP-32).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer: each record has its own.
    #[default]
    CreateTime,
    /// The broker, on append: every record has the batch's `max_timestamp`.
    LogAppendTime,
}

const COMPRESSION: u16 = 0x07;
const LOG_APPEND_TIME: u16 = 0x08;
const TRANSACTIONAL: u16 = 0x10;
const CONTROL: u16 = 0x20;
const DELETE_HORIZON: u16 = 0x40;

/// The attributes of a batch. Unknown bits survive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    /// How the records are compressed.
    ///
    /// # Errors
    /// `UnsupportedCompression` for the numbers 5 to 7, which are not defined.
    pub fn compression(self) -> Result<Compression, RecordsError> {
        let id = (self.bits() & COMPRESSION) as u8;
        Compression::from_id(id).ok_or_else(|| {
            RecordsError::new(
                RecordsErrorKind::UnsupportedCompression,
                format!("unknown compression type {id}: 0 to 4 are defined"),
            )
        })
    }

    /// Who set the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(LOG_APPEND_TIME) { TimestampType::LogAppendTime } else { TimestampType::CreateTime }
    }

    /// Whether the batch belongs to a transaction.
    pub fn is_transactional(self) -> bool {
        self.has(TRANSACTIONAL)
    }

    /// Whether the batch holds control records, which no application may see.
    pub fn is_control(self) -> bool {
        self.has(CONTROL)
    }

    /// Whether `base_timestamp` is the time from which tombstones may be deleted (KIP-534).
    pub fn has_delete_horizon(self) -> bool {
        self.has(DELETE_HORIZON)
    }

    /// These attributes with another compression.
    #[must_use]
    pub fn with_compression(self, compression: Compression) -> Self {
        Self(((self.bits() & !COMPRESSION) | u16::from(compression.id())).cast_signed())
    }

    /// These attributes with another timestamp type.
    #[must_use]
    pub fn with_timestamp_type(self, timestamp_type: TimestampType) -> Self {
        self.with(LOG_APPEND_TIME, timestamp_type == TimestampType::LogAppendTime)
    }

    /// These attributes with the transactional bit set or cleared.
    #[must_use]
    pub fn with_transactional(self, on: bool) -> Self {
        self.with(TRANSACTIONAL, on)
    }

    /// These attributes with the control bit set or cleared.
    #[must_use]
    pub fn with_control(self, on: bool) -> Self {
        self.with(CONTROL, on)
    }

    /// These attributes with the delete-horizon bit set or cleared.
    #[must_use]
    pub fn with_delete_horizon(self, on: bool) -> Self {
        self.with(DELETE_HORIZON, on)
    }

    fn bits(self) -> u16 {
        self.0.cast_unsigned()
    }

    fn has(self, bit: u16) -> bool {
        self.bits() & bit != 0
    }

    fn with(self, bit: u16, on: bool) -> Self {
        let bits = if on { self.bits() | bit } else { self.bits() & !bit };
        Self(bits.cast_signed())
    }
}
