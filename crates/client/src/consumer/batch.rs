//! What a consumer hands out.

use std::sync::Arc;

use kcopy_wire::{
    Str,
    records::{Batch, OpenBatch, Record, RecordIter, RecordLimits, RecordsError, TimestampType},
};

use super::{budget::Held, config::ConsumerConfig};
use crate::error::{Error, ErrorKind, Result};

/// A batch as it was fetched, not yet checked nor decompressed.
#[derive(Debug)]
pub(super) struct RawBatch {
    pub(super) topic: Str,
    pub(super) partition: i32,
    pub(super) batch: Batch,
    /// The first offset that is wanted of it.
    pub(super) from: i64,
    /// The first offset that is not wanted any more.
    pub(super) until: i64,
    pub(super) broker_id: i32,
    pub(super) high_watermark: i64,
    pub(super) held: Arc<Held>,
}

impl RawBatch {
    pub(super) fn open(self, config: &ConsumerConfig) -> Result<FetchedBatch> {
        let opened = self.check(config).map_err(|error| records_error(error, &self.topic, self.partition))?;
        Ok(FetchedBatch {
            topic: self.topic,
            partition: self.partition,
            from: self.from,
            until: self.until,
            broker_id: self.broker_id,
            high_watermark: self.high_watermark,
            batch: opened,
            _held: self.held,
        })
    }

    fn check(&self, config: &ConsumerConfig) -> Result<OpenBatch, RecordsError> {
        if config.check_crcs {
            self.batch.verify_crc()?;
        }
        self.batch.open(RecordLimits::new(config.max_decompressed_bytes))
    }
}

pub(super) fn records_error(error: RecordsError, topic: &str, partition: i32) -> Error {
    Error::new(ErrorKind::CorruptRecords, error.to_string())
        .with_source(error)
        .with_partition(topic, partition)
}

/// A batch of records of one partition.
///
/// It keeps the answer in which it came in memory, and counts against `prefetch_bytes` until it is
/// dropped: copy what shall live longer.
#[derive(Debug)]
pub struct FetchedBatch {
    topic: Str,
    partition: i32,
    from: i64,
    until: i64,
    broker_id: i32,
    high_watermark: i64,
    batch: OpenBatch,
    _held: Arc<Held>,
}

impl FetchedBatch {
    /// The topic.
    pub fn topic(&self) -> &Str {
        &self.topic
    }

    /// The partition.
    pub fn partition(&self) -> i32 {
        self.partition
    }

    /// The broker that it was fetched from.
    pub fn broker_id(&self) -> i32 {
        self.broker_id
    }

    /// The end of the partition when this was fetched.
    pub fn high_watermark(&self) -> i64 {
        self.high_watermark
    }

    /// The offset to go on at when all of [`FetchedBatch::records`] is done with.
    pub fn next_offset(&self) -> i64 {
        self.batch.batch().next_offset().min(self.until)
    }

    /// Whether timestamps are those of the producer or of the broker.
    pub fn timestamp_type(&self) -> TimestampType {
        self.batch.batch().attributes().timestamp_type()
    }

    fn has_offset(&self, offset: i64) -> bool {
        let batch = self.batch.batch();
        (batch.base_offset()..=batch.last_offset()).contains(&offset)
    }

    /// The batch with all its records, those outside of the wanted range as well.
    pub fn batch(&self) -> &OpenBatch {
        &self.batch
    }

    /// The records from the position of the consumer on, up to the pinned end; borrowed, read one at a
    /// time.
    pub fn records(&self) -> Records<'_> {
        Records { records: self.batch.records(), owner: self }
    }
}

/// The records of a [`FetchedBatch`].
#[derive(Clone)]
pub struct Records<'a> {
    records: RecordIter<'a>,
    owner: &'a FetchedBatch,
}

impl<'a> Iterator for Records<'a> {
    type Item = Result<Record<'a>>;

    #[inline(always)]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.records.next()? {
                Ok(record) if record.offset >= self.owner.from && record.offset < self.owner.until => {
                    return Some(Ok(record));
                }
                Ok(record) if !self.owner.has_offset(record.offset) => {
                    return Some(Err(self.is_outside(record.offset)));
                }
                Ok(record) if record.offset < self.owner.from => {}
                Ok(_) => return None,
                Err(error) => return Some(Err(self.failed(error))),
            }
        }
    }
}

impl Records<'_> {
    /// A record that is nowhere in its batch: what would be passed over as not wanted may well have been.
    #[cold]
    fn is_outside(&self, offset: i64) -> Error {
        let batch = self.owner.batch.batch();
        let (first, last) = (batch.base_offset(), batch.last_offset());
        let message = format!("the batch of offsets {first} to {last} holds a record of offset {offset}");
        Error::new(ErrorKind::CorruptRecords, message).with_partition(&self.owner.topic, self.owner.partition)
    }

    #[cold]
    fn failed(&self, error: RecordsError) -> Error {
        records_error(error, &self.owner.topic, self.owner.partition)
    }
}
