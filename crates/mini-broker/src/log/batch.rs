//! The header fields of a stored record batch that the log looks at.
//!
//! Batches are validated once, on the connection that received them; what is stored is trusted, and only these few
//! fields are read again.

use bytes::{BufMut, Bytes, BytesMut};
use kcopy_wire::records::Attributes;

/// Bytes before the part that the CRC covers and the broker never changes: base offset, length, leader epoch.
pub(crate) const PREFIX_LEN: usize = 16;
/// Length of a batch's header.
pub(crate) const HEADER_LEN: usize = 61;

const ATTRIBUTES_AT: usize = 21;
const LAST_OFFSET_DELTA_AT: usize = 23;
const MAX_TIMESTAMP_AT: usize = 35;

/// Where a stored batch lies in offsets and bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct BatchBounds {
    pub(crate) base_offset: i64,
    pub(crate) next_offset: i64,
    pub(crate) max_timestamp: i64,
    pub(crate) len: usize,
}

impl BatchBounds {
    /// Reads the header at the start of `bytes`; `None` if no whole batch is there.
    pub(crate) fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.get(..HEADER_LEN)?;
        let base_offset = i64_at(header, 0);
        let length = usize::try_from(i32_at(header, 8)).ok()?;
        let len = length.checked_add(12)?;
        if len > bytes.len() {
            return None;
        }
        Some(Self {
            base_offset,
            next_offset: base_offset + i64::from(i32_at(header, LAST_OFFSET_DELTA_AT)) + 1,
            max_timestamp: i64_at(header, MAX_TIMESTAMP_AT),
            len,
        })
    }
}

/// Whether a batch is part of a transaction, or ends one.
pub(crate) fn is_transactional(batch: &[u8]) -> bool {
    let attributes = batch.get(ATTRIBUTES_AT..).and_then(|rest| rest.first_chunk());
    attributes.is_some_and(|attributes| Attributes(i16::from_be_bytes(*attributes)).is_transactional())
}

/// Walks the batches of a contiguous run.
pub(crate) fn batches(bytes: &Bytes) -> impl Iterator<Item = (BatchBounds, Bytes)> + '_ {
    let mut position = 0;
    std::iter::from_fn(move || {
        let bounds = BatchBounds::read(&bytes[position..])?;
        let batch = bytes.slice(position..position + bounds.len);
        position += bounds.len;
        Some((bounds, batch))
    })
}

/// The first [`PREFIX_LEN`] bytes of `batch` as they are stored: with the offset and epoch that the leader assigned.
pub(crate) fn prefix(batch: &[u8], base_offset: i64, leader_epoch: i32) -> Bytes {
    let mut prefix = BytesMut::with_capacity(PREFIX_LEN);
    prefix.put_i64(base_offset);
    prefix.put_slice(&batch[8..12]);
    prefix.put_i32(leader_epoch);
    prefix.freeze()
}

fn i64_at(bytes: &[u8], at: usize) -> i64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    i64::from_be_bytes(value)
}

fn i32_at(bytes: &[u8], at: usize) -> i32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(value)
}
