//! A sealed batch on its way, and what becomes of it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kcopy_wire::records::{BatchMut, ProducerStamp, RecordsError};
use tokio::time::Instant;

use super::{acknowledgement::BatchAcknowledgement, error::Failure};

/// The producer id and epoch that a partition's batches carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) producer_id: i64,
    pub(super) producer_epoch: i16,
}

/// Identity and place of a batch among those of its partition: what makes a retry recognisable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp {
    pub(super) identity: Identity,
    pub(super) base_sequence: i32,
}

impl From<Stamp> for ProducerStamp {
    fn from(stamp: Stamp) -> Self {
        ProducerStamp {
            id: stamp.identity.producer_id,
            epoch: stamp.identity.producer_epoch,
            base_sequence: stamp.base_sequence,
            transactional: false,
        }
    }
}

/// The sequence number `count` records after `sequence`; 0 follows 2^31 - 1.
pub(super) fn advance_sequence(sequence: i32, count: u32) -> i32 {
    (sequence as u32).wrapping_add(count) as i32 & i32::MAX
}

/// A number for a partition of a topic within one producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct PartitionKey(pub(super) u32);

/// Records that are sent, retried and acknowledged as one.
#[derive(Debug)]
pub(super) struct SealedBatch {
    /// Unique within the producer.
    pub(super) number: u64,
    /// The final bytes; `None` while they are being compressed.
    pub(super) data: Option<Bytes>,
    /// What the bytes say; `None` for a batch that carries no sequence number.
    pub(super) stamp: Option<Stamp>,
    pub(super) record_count: u32,
    pub(super) deadline: Instant,
    /// How much of the buffer the batch occupies until it is released.
    pub(super) charge: usize,
    /// Taken once the caller has been told.
    pub(super) report: Option<Report>,
}

impl SealedBatch {
    pub(super) fn size(&self) -> usize {
        self.data.as_ref().map_or(0, Bytes::len)
    }

    /// Makes the bytes carry `stamp`. A copy is made where a connection still holds on to them.
    pub(super) fn set_stamp(&mut self, stamp: Option<Stamp>) -> Result<(), RecordsError> {
        if self.stamp == stamp {
            return Ok(());
        }
        if let Some(data) = self.data.take() {
            let mut bytes = data.try_into_mut().unwrap_or_else(|shared| BytesMut::from(&shared[..]));
            let patched = BatchMut::new(&mut bytes)
                .map(|mut batch| batch.set_producer(stamp.map_or(ProducerStamp::NONE, Into::into)));
            self.data = Some(bytes.freeze());
            patched?;
        }
        self.stamp = stamp;
        Ok(())
    }
}

/// Whom to tell about which records.
#[derive(Debug)]
pub(super) struct Report {
    /// The batch that the records were sealed in, though it may have been split since.
    pub(super) number: u64,
    /// How many records were appended to this partition before the first of these.
    pub(super) base_index: u64,
    pub(super) record_count: u32,
    /// The parts of a batch that was split are told apart from here on.
    pub(super) acknowledgement: Option<(Arc<BatchAcknowledgement>, u32)>,
}

/// Where the broker put a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Placement {
    pub(super) base_offset: Option<i64>,
    pub(super) log_append_time: Option<i64>,
}

/// What the machines tell their driver.
#[derive(Debug)]
pub(super) enum Output {
    /// These records have been written, or will not be tried again.
    Report { partition: PartitionKey, report: Report, result: Result<Placement, Failure> },
    /// The batch needs its memory no longer.
    Release { charge: usize, record_count: u32, data: Option<Bytes> },
}
