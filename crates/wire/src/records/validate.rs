//! The checks that a leader makes before it appends a producer's batch, and the rewriting that it may have to
//! do. What depends on the topic (timestamp ranges, keys of compacted topics) is reported, not judged.

use bytes::{Bytes, BytesMut};

use super::{
    attributes::Compression,
    batch::{Batch, HEADER_LEN, LENGTH_OVERHEAD, OpenBatch, at},
    builder::{BatchBuilder, BatchOptions, ProducerStamp},
    compression::{Compressor, RecordLimits},
    error::RecordsError,
    patch::BatchMut,
    record::NO_TIMESTAMP,
};

/// What a leader wants to know about the records of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValidatedRecords {
    /// How many records there are, as many as the header says.
    pub count: i32,
    /// The largest timestamp of a record, whatever the header says; [`NO_TIMESTAMP`] if no record has one.
    pub max_timestamp: i64,
    /// The place in the batch of the first record with that timestamp: its offset is as far from the base
    /// offset that the leader assigns. -1 if no record has a timestamp.
    pub max_timestamp_delta: i32,
    /// The smallest timestamp of the records that have one ([`NO_TIMESTAMP`] means none).
    pub min_timestamp: Option<i64>,
    /// The place in the batch of the first record without a key: a compacted topic must refuse the batch.
    pub first_without_key: Option<i32>,
    /// Whether the offset deltas are 0, 1, 2, ... If they are not, the leader must write the batch anew, see
    /// [`Batch::renumbered`]: Kafka does so rather than refuse the batch, for the sake of old clients.
    pub offsets_are_sequential: bool,
    /// The size of the batch without compression.
    pub uncompressed_size: usize,
}

impl Batch {
    /// Checks the header of a batch that a producer sent, as far as Kafka does whatever the topic.
    ///
    /// # Errors
    /// `InvalidRecord` if the base offset is not 0, the offset range does not fit the record count, there are
    /// no records, it is a control batch, or it has a producer id but no sequence number.
    pub fn check_from_producer(&self) -> Result<(), RecordsError> {
        let count = self.record_count();
        let wrong = if self.base_offset() != 0 {
            "the base offset of a produced batch must be 0".to_owned()
        } else if count <= 0 {
            format!("invalid record count {count}")
        } else if self.last_offset_delta() != count - 1 {
            format!(
                "offset range [{}, {}] does not fit {count} records",
                self.base_offset(),
                self.last_offset()
            )
        } else if self.attributes().is_control() {
            "producers may not write control records".to_owned()
        } else if self.producer_id().is_some() && self.base_sequence() < 0 {
            format!("has a producer id, but the invalid sequence number {}", self.base_sequence())
        } else {
            return Ok(());
        };
        Err(RecordsError::invalid(wrong).in_batch(self.base_offset()))
    }

    /// Decompresses and walks all records, as a leader does before it appends them.
    ///
    /// # Errors
    /// As [`Batch::open`] and [`super::RecordIter`]; the checksum is not looked at.
    pub fn validate_records(&self, limits: RecordLimits) -> Result<ValidatedRecords, RecordsError> {
        self.open(limits)?.validate()
    }

    /// This batch with its records compressed in another way: what a leader does if the topic's
    /// `compression.type` asks for it. Everything else stays as it is.
    ///
    /// # Errors
    /// If the records cannot be decompressed within `limits`, or outgrow the format.
    pub fn recompress(
        &self,
        compression: Compression,
        level: Option<i32>,
        limits: RecordLimits,
    ) -> Result<Bytes, RecordsError> {
        self.open(limits)?.recompress(compression, level, &mut Compressor::new())
    }

    /// This batch with offset deltas 0, 1, 2, ... and the given compression.
    ///
    /// # Errors
    /// If the records cannot be read within `limits`, or outgrow the format.
    pub fn renumbered(
        &self,
        compression: Compression,
        level: Option<i32>,
        limits: RecordLimits,
    ) -> Result<Bytes, RecordsError> {
        let open = self.open(limits)?;
        let attributes = self.attributes();
        let mut builder = BatchBuilder::new(BatchOptions {
            compression,
            level,
            base_offset: self.base_offset(),
            partition_leader_epoch: Some(self.partition_leader_epoch()),
            capacity: HEADER_LEN + open.record_bytes().len(),
            ..BatchOptions::default()
        });
        for record in open.records() {
            let record = record?;
            builder.append(record.timestamp, record.key, record.value, record.headers)?;
        }
        let stamp = ProducerStamp {
            id: self.producer_id().unwrap_or(-1),
            epoch: self.producer_epoch(),
            base_sequence: self.base_sequence(),
            transactional: attributes.is_transactional(),
        };
        let bytes = builder.finish_as(stamp, attributes.is_control(), &mut Compressor::new())?;
        let mut bytes = BytesMut::from(bytes);
        BatchMut::new(&mut bytes)?.set_max_timestamp(attributes.timestamp_type(), self.max_timestamp());
        Ok(bytes.freeze())
    }
}

impl OpenBatch {
    /// [`Batch::validate_records`] for a batch that is open already.
    ///
    /// # Errors
    /// As [`super::RecordIter`].
    pub fn validate(&self) -> Result<ValidatedRecords, RecordsError> {
        let base_offset = self.batch().base_offset();
        let mut found = ValidatedRecords {
            count: self.batch().record_count(),
            max_timestamp: NO_TIMESTAMP,
            max_timestamp_delta: -1,
            min_timestamp: None,
            first_without_key: None,
            offsets_are_sequential: true,
            uncompressed_size: HEADER_LEN + self.record_bytes().len(),
        };
        for (place, record) in (0..).zip(self.records()) {
            let record = record?;
            if record.timestamp > found.max_timestamp {
                found.max_timestamp = record.timestamp;
                found.max_timestamp_delta = place;
            }
            if record.timestamp != NO_TIMESTAMP {
                found.min_timestamp =
                    Some(found.min_timestamp.map_or(record.timestamp, |min| min.min(record.timestamp)));
            }
            if record.key.is_none() && found.first_without_key.is_none() {
                found.first_without_key = Some(place);
            }
            found.offsets_are_sequential &= record.offset == base_offset.wrapping_add(i64::from(place));
        }
        Ok(found)
    }

    /// [`Batch::recompress`] for a batch that is open already.
    ///
    /// # Errors
    /// `TooLarge` if the records outgrow the format.
    pub fn recompress(
        &self,
        compression: Compression,
        level: Option<i32>,
        compressor: &mut Compressor,
    ) -> Result<Bytes, RecordsError> {
        let mut out = Vec::with_capacity(HEADER_LEN + self.record_bytes().len() / 2);
        out.extend_from_slice(&self.batch().bytes()[..HEADER_LEN]);
        compressor.compress(compression, level, self.record_bytes(), &mut out)?;
        let length = i32::try_from(out.len() - LENGTH_OVERHEAD)
            .map_err(|_| RecordsError::too_large("recompressed batch exceeds 2 GiB"))?;
        let attributes = self.batch().attributes().with_compression(compression);
        out[at::LENGTH..at::PARTITION_LEADER_EPOCH].copy_from_slice(&length.to_be_bytes());
        out[at::ATTRIBUTES..at::LAST_OFFSET_DELTA].copy_from_slice(&attributes.0.to_be_bytes());
        BatchMut::new(&mut out)?.update_crc();
        Ok(Bytes::from(out))
    }
}
