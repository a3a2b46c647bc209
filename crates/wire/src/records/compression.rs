//! The codecs, behind one cap on what they may produce.

use bytes::Bytes;

use super::{
    attributes::Compression,
    error::{RecordsError, RecordsErrorKind},
};

/// The default of [`RecordLimits::max_decompressed_bytes`]: 128 MiB.
pub const DEFAULT_MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// What opening a batch may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct RecordLimits {
    /// How many bytes the records of one batch may decompress to. Batches that are not compressed are not
    /// affected.
    pub max_decompressed_bytes: usize,
}

impl RecordLimits {
    /// A limit on the decompressed bytes of a batch.
    pub const fn new(max_decompressed_bytes: usize) -> Self {
        RecordLimits { max_decompressed_bytes }
    }
}

impl Default for RecordLimits {
    fn default() -> Self {
        RecordLimits::new(DEFAULT_MAX_DECOMPRESSED_BYTES)
    }
}

/// Returns the records that `payload` compresses.
pub(super) fn decompress(
    compression: Compression,
    payload: Bytes,
    _limits: RecordLimits,
) -> Result<Bytes, RecordsError> {
    match compression {
        Compression::None => Ok(payload),
        other => Err(unsupported(other)),
    }
}

/// Appends the compressed `records` to `out`.
pub(super) fn compress(
    compression: Compression,
    _level: Option<i32>,
    records: &[u8],
    out: &mut Vec<u8>,
) -> Result<(), RecordsError> {
    match compression {
        Compression::None => {
            out.extend_from_slice(records);
            Ok(())
        }
        other => Err(unsupported(other)),
    }
}

fn unsupported(compression: Compression) -> RecordsError {
    RecordsError::new(
        RecordsErrorKind::UnsupportedCompression,
        format!("compression {compression} is not supported"),
    )
}
