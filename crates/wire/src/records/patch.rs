//! Changing the header of a batch where it lies, as a leader does on append.

use super::{
    attributes::{Attributes, TimestampType},
    batch::{at, check_header, read_field},
    builder::ProducerStamp,
    crc::crc32c,
    error::RecordsError,
};

/// The header of a batch in a buffer of one's own.
#[derive(Debug)]
pub struct BatchMut<'a> {
    bytes: &'a mut [u8],
}

impl<'a> BatchMut<'a> {
    /// Takes bytes that are exactly one batch.
    ///
    /// # Errors
    /// If they are not exactly one batch of format 2.
    pub fn new(bytes: &'a mut [u8]) -> Result<Self, RecordsError> {
        check_header(bytes)?;
        Ok(BatchMut { bytes })
    }

    /// Assigns the offset of the first record. The checksum does not cover it.
    ///
    /// # Errors
    /// If the offset of the last record would exceed what 64 bits hold; nothing is changed then.
    pub fn set_base_offset(&mut self, base_offset: i64) -> Result<(), RecordsError> {
        let delta = i32::from_be_bytes(read_field(self.bytes, at::LAST_OFFSET_DELTA));
        if base_offset.checked_add(i64::from(delta) + 1).is_none() {
            return Err(RecordsError::invalid(format!(
                "base offset {base_offset} is too large for a batch that spans {delta} more"
            )));
        }
        self.set(at::BASE_OFFSET, base_offset.to_be_bytes());
        Ok(())
    }

    /// Sets the epoch of the leader that appends the batch. The checksum does not cover it.
    pub fn set_partition_leader_epoch(&mut self, leader_epoch: i32) {
        self.set(at::PARTITION_LEADER_EPOCH, leader_epoch.to_be_bytes());
    }

    /// Makes `timestamp` that of every record, and sets the checksum anew.
    pub fn set_log_append_time(&mut self, timestamp: i64) {
        self.set_max_timestamp(TimestampType::LogAppendTime, timestamp);
    }

    /// Sets the timestamp type and the largest timestamp, and the checksum anew if that changes anything.
    pub fn set_max_timestamp(&mut self, timestamp_type: TimestampType, max_timestamp: i64) {
        let old = Attributes(i16::from_be_bytes(read_field(self.bytes, at::ATTRIBUTES)));
        let new = old.with_timestamp_type(timestamp_type);
        if new == old && i64::from_be_bytes(read_field(self.bytes, at::MAX_TIMESTAMP)) == max_timestamp {
            return;
        }
        self.set(at::ATTRIBUTES, new.0.to_be_bytes());
        self.set(at::MAX_TIMESTAMP, max_timestamp.to_be_bytes());
        self.update_crc();
    }

    /// Gives the batch to another producer, epoch or sequence number, and sets the checksum anew: what an
    /// idempotent producer does with unsent batches after its epoch was raised (KIP-360).
    pub fn set_producer(&mut self, stamp: ProducerStamp) {
        let old = Attributes(i16::from_be_bytes(read_field(self.bytes, at::ATTRIBUTES)));
        self.set(at::ATTRIBUTES, old.with_transactional(stamp.transactional).0.to_be_bytes());
        self.set(at::PRODUCER_ID, stamp.id.to_be_bytes());
        self.set(at::PRODUCER_EPOCH, stamp.epoch.to_be_bytes());
        self.set(at::BASE_SEQUENCE, stamp.base_sequence.to_be_bytes());
        self.update_crc();
    }

    pub(super) fn update_crc(&mut self) {
        let crc = crc32c(&self.bytes[at::ATTRIBUTES..]);
        self.set(at::CRC, crc.to_be_bytes());
    }

    fn set<const N: usize>(&mut self, at: usize, field: [u8; N]) {
        self.bytes[at..at + N].copy_from_slice(&field);
    }
}
