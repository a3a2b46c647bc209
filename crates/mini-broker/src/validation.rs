//! Checks of produced records, as Kafka's log makes them before an append. Checksums are made on the connection's task,
//! and what is compressed is checked beside it.

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use kcopy_wire::{
    ErrorCode, RecordBytes,
    records::{
        Batch, BatchBuilder, BatchMut, BatchOptions, Batches, Compression, NO_TIMESTAMP, OpenBatch,
        ProducerStamp, Record, RecordLimits, RecordsError, RecordsErrorKind,
        TimestampType as BatchTimestampType,
    },
};

use crate::{
    config::{TimestampType, TopicSettings},
    log::LARGE_BATCH_BYTES,
    producer_state::Stamp,
};

/// Never decompress a batch to more than this, whatever `max.decompressed.message.bytes` says, and to half of it where
/// the records are written anew.
const MAX_DECOMPRESSED_BYTES: usize = 128 << 20;

/// A batch that may be appended, but for its producer's sequence.
#[derive(Clone, Debug)]
pub(crate) struct ReadyBatch {
    /// Whole; offset and leader epoch are the log's to set.
    pub(crate) bytes: Bytes,
    pub(crate) stamp: Option<Stamp>,
    pub(crate) max_timestamp: i64,
    pub(crate) log_append_time: Option<i64>,
}

/// Why records are refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rejected {
    pub(crate) error: ErrorCode,
    /// What the producer is told; Kafka explains only which records are at fault.
    pub(crate) message: Option<String>,
    /// Whether the log itself refused: the answer then tells where the log starts.
    pub(crate) by_log: bool,
    /// Records at fault, by their place in the batch.
    pub(crate) records: Vec<(i32, String)>,
}

impl Rejected {
    pub(crate) fn new(error: ErrorCode) -> Self {
        Self { error, message: None, by_log: false, records: Vec::new() }
    }

    /// Refused by the log, with a reason for people who watch the broker.
    pub(crate) fn by_log(error: ErrorCode, reason: impl std::fmt::Display) -> Self {
        tracing::debug!(%error, %reason, "records refused");
        Self { by_log: true, ..Self::new(error) }
    }

    fn invalid_record(reason: impl std::fmt::Display) -> Self {
        Self::by_log(ErrorCode::INVALID_RECORD, reason)
    }
}

impl From<RecordsError> for Rejected {
    fn from(error: RecordsError) -> Self {
        let code = match error.kind() {
            RecordsErrorKind::Corrupt => ErrorCode::CORRUPT_MESSAGE,
            RecordsErrorKind::TooLarge => ErrorCode::MESSAGE_TOO_LARGE,
            RecordsErrorKind::InvalidTimestamp => ErrorCode::INVALID_TIMESTAMP,
            // Kafka expects neither a number that is not defined nor what its decompressors throw.
            RecordsErrorKind::UnsupportedCompression | RecordsErrorKind::BrokenCompression => {
                ErrorCode::UNKNOWN_SERVER_ERROR
            }
            _ => ErrorCode::INVALID_RECORD,
        };
        Self::by_log(code, error)
    }
}

/// What all batches of a request are checked against.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    pub(crate) now_ms: i64,
    pub(crate) produce_version: i16,
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) settings: Arc<TopicSettings>,
}

/// What is decompressed in no time, whatever becomes of it.
const SMALL_COMPRESSED_BYTES: usize = 1 << 10;

/// Whether to check these records is to decompress or to compress them.
pub(crate) fn takes_long(records: &RecordBytes, settings: &TopicSettings) -> bool {
    let batch = records.parts().next().and_then(|first| Batches::new(first.clone()).next()?.ok());
    let source = batch.and_then(|batch| batch.attributes().compression().ok()).unwrap_or(Compression::None);
    let compresses = target_compression(source, settings) != Compression::None;
    records.len() > SMALL_COMPRESSED_BYTES && (source != Compression::None || compresses)
}

/// Checks what was produced to one partition and brings it into the form that the topic wants.
///
/// # Errors
/// Why it is refused.
pub(crate) fn validate(records: Option<Bytes>, rules: &Rules) -> Result<ReadyBatch, Rejected> {
    let records = records.ok_or_else(|| Rejected::new(ErrorCode::UNKNOWN_SERVER_ERROR))?;
    let batch = only_batch(records, rules)?;
    check_header(&batch, rules)?;
    let stamp = batch.producer_id().map(|producer_id| Stamp {
        producer_id,
        producer_epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        record_count: batch.record_count(),
    });
    let source = batch.attributes().compression()?;
    let target = target_compression(source, &rules.settings);
    let most = rules.settings.max_decompressed_bytes.min(MAX_DECOMPRESSED_BYTES);
    // What is written anew is in memory twice.
    let most = if source == target { most } else { most / 2 };
    let open = batch.open(RecordLimits::new(most))?;
    let scan = scan_records(&open, rules)?;
    let log_append_time = match rules.settings.timestamp_type {
        TimestampType::LogAppendTime => Some(rules.now_ms),
        TimestampType::CreateTime => None,
    };
    let max_timestamp = log_append_time.unwrap_or(scan.max_timestamp);
    if source != Compression::None && target != Compression::None && !scan.offsets_are_consecutive {
        // Kafka would write such a batch anew, but fails at it.
        let reason = "the offsets within the batch are not consecutive";
        return Err(Rejected::by_log(ErrorCode::UNKNOWN_SERVER_ERROR, reason));
    }
    let bytes = if source != target {
        rewrite(&open, target, log_append_time, rules)?
    } else {
        // It shares the bytes, which can then be changed where they are.
        drop(open);
        with_timestamp(batch, log_append_time, max_timestamp)?
    };
    if bytes.len() > rules.settings.max_message_bytes {
        return Err(Rejected::new(ErrorCode::MESSAGE_TOO_LARGE));
    }
    if bytes.len() > rules.settings.segment_bytes {
        return Err(Rejected::new(ErrorCode::RECORD_LIST_TOO_LARGE));
    }
    Ok(ReadyBatch { bytes, stamp, max_timestamp, log_append_time })
}

/// Big batches stay slices of their request's frame. Where that would keep much else of the frame in memory, they
/// are copied out of it.
pub(crate) fn release_frame(batches: &mut [&mut ReadyBatch], frame_len: usize) {
    let large = |batch: &&mut ReadyBatch| batch.bytes.len() >= LARGE_BATCH_BYTES;
    let kept: usize = batches.iter().filter(|batch| large(batch)).map(|batch| batch.bytes.len()).sum();
    if kept * 10 >= frame_len * 9 {
        return;
    }
    for batch in batches.iter_mut().filter(|batch| large(batch)) {
        batch.bytes = Bytes::copy_from_slice(&batch.bytes);
    }
}

/// A request carries exactly one batch per partition (KIP-98).
fn only_batch(records: Bytes, rules: &Rules) -> Result<Batch, Rejected> {
    let version = rules.produce_version;
    let mut batches = Batches::new(records);
    let refused = |reason: &dyn std::fmt::Display, error| {
        tracing::debug!(%reason, version, "produce request refused");
        Rejected::new(error)
    };
    let batch = match batches.next() {
        None => return Err(refused(&"no batch", ErrorCode::INVALID_RECORD)),
        Some(Ok(batch)) => batch,
        Some(Err(error)) if error.kind() == RecordsErrorKind::Corrupt => {
            let message = Some(error.to_string());
            return Err(Rejected { message, ..refused(&error, ErrorCode::CORRUPT_MESSAGE) });
        }
        Some(Err(error)) if error.kind() == RecordsErrorKind::UnsupportedMagic => {
            return Err(refused(&error, ErrorCode::INVALID_RECORD));
        }
        Some(Err(error)) => return Err(error.into()),
    };
    match batches.next() {
        None => {}
        Some(Err(error)) if error.kind() == RecordsErrorKind::Corrupt => {
            return Err(refused(&error, ErrorCode::CORRUPT_MESSAGE));
        }
        Some(_) => return Err(refused(&"more than one batch", ErrorCode::INVALID_RECORD)),
    }
    if version < 7 && batch.attributes().compression() == Ok(Compression::Zstd) {
        return Err(Rejected::new(ErrorCode::UNSUPPORTED_COMPRESSION_TYPE));
    }
    Ok(batch)
}

fn check_header(batch: &Batch, rules: &Rules) -> Result<(), Rejected> {
    let place = format!("topic partition {}-{}", rules.topic, rules.partition);
    if batch.base_offset() != 0 {
        return Err(Rejected::invalid_record(format!(
            "The baseOffset of the record batch in the append to {}-{} should be 0, but it is {}",
            rules.topic,
            rules.partition,
            batch.base_offset()
        )));
    }
    if batch.size() > rules.settings.max_message_bytes {
        return Err(Rejected::new(ErrorCode::MESSAGE_TOO_LARGE));
    }
    batch.verify_crc().map_err(|_| Rejected::new(ErrorCode::CORRUPT_MESSAGE))?;
    let count = i64::from(batch.record_count());
    let range = i64::from(batch.last_offset_delta()) + 1;
    if range <= 0 {
        return Err(Rejected::invalid_record(format!(
            "Batch has an invalid offset range: [0, {}] in {place}",
            range - 1
        )));
    }
    if count <= 0 {
        return Err(Rejected::invalid_record(format!(
            "Invalid reported count for record batch: {count} in {place}"
        )));
    }
    if range != count {
        return Err(Rejected::invalid_record(format!(
            "Inconsistent batch offset range [0, {}] and count of records {count} in {place}",
            range - 1
        )));
    }
    if batch.attributes().is_control() {
        return Err(Rejected::invalid_record(format!(
            "Clients are not allowed to write control records in {place}"
        )));
    }
    if let Some(id) = batch.producer_id()
        && batch.base_sequence() < 0
    {
        return Err(Rejected::invalid_record(format!(
            "Invalid sequence number {} in record batch with producerId {id} in {place}",
            batch.base_sequence()
        )));
    }
    Ok(())
}

/// What a walk over the records found.
struct Scan {
    max_timestamp: i64,
    offsets_are_consecutive: bool,
}

fn scan_records(open: &OpenBatch, rules: &Rules) -> Result<Scan, Rejected> {
    let batch = open.batch();
    let mut scan = Scan { max_timestamp: NO_TIMESTAMP, offsets_are_consecutive: true };
    let mut faults = Vec::new();
    let mut bad_timestamps = false;
    let log_append_time = batch.attributes().timestamp_type() == BatchTimestampType::LogAppendTime;
    for (index, record) in (0..).zip(open.records()) {
        let record = record?;
        scan.max_timestamp = scan.max_timestamp.max(record.timestamp);
        scan.offsets_are_consecutive &= record.offset == batch.base_offset() + i64::from(index);
        if rules.settings.compact && record.key.is_none() {
            faults.push((
                index,
                format!(
                    "Compacted topic cannot accept message without key in topic partition {}-{}",
                    rules.topic, rules.partition
                ),
            ));
        } else if let Some(fault) = timestamp_fault(&record, log_append_time, rules) {
            bad_timestamps = true;
            faults.push((index, fault));
        }
    }
    if faults.is_empty() {
        return Ok(scan);
    }
    let (error, message) = if bad_timestamps {
        let message = "One or more records have been rejected due to invalid timestamp".to_owned();
        (ErrorCode::INVALID_TIMESTAMP, message)
    } else {
        let shown = faults.iter().take(3);
        let shown: Vec<String> = shown
            .map(|(index, fault)| format!("RecordError(batchIndex={index}, message='{fault}')"))
            .collect();
        let message = format!(
            "One or more records have been rejected due to {} record errors in total, and only showing the first three errors at most: [{}]",
            faults.len(),
            shown.join(", ")
        );
        (ErrorCode::INVALID_RECORD, message)
    };
    Err(Rejected { error, message: Some(message), by_log: true, records: faults })
}

/// What is wrong with a record's time: too far off, or claiming to be the broker's (KIP-32, KIP-937).
fn timestamp_fault(record: &Record<'_>, claims_log_append_time: bool, rules: &Rules) -> Option<String> {
    let settings = &rules.settings;
    // As in Kafka, a claim to be the broker's time is only looked at where the topic wants the broker's time, or
    // where there is no time at all; elsewhere it is corrected.
    if settings.timestamp_type == TimestampType::CreateTime && record.timestamp != NO_TIMESTAMP {
        let age = i128::from(rules.now_ms) - i128::from(record.timestamp);
        let (before, after) = (settings.timestamp_before_max_ms, settings.timestamp_after_max_ms);
        if age > i128::from(before) || -age > i128::from(after) {
            return Some(format!(
                "Timestamp {} of message with offset {} is out of range. The timestamp should be within [{}, {}]",
                record.timestamp,
                record.offset,
                rules.now_ms.saturating_sub(before),
                rules.now_ms.saturating_add(after),
            ));
        }
        return None;
    }
    claims_log_append_time.then(|| {
        "Invalid timestamp type in message. Producer should not set timestamp type to LogAppendTime."
            .to_owned()
    })
}

fn target_compression(source: Compression, settings: &TopicSettings) -> Compression {
    match settings.compression_type.as_str() {
        "uncompressed" => Compression::None,
        "gzip" => Compression::Gzip,
        "snappy" => Compression::Snappy,
        "lz4" => Compression::Lz4,
        "zstd" => Compression::Zstd,
        _ => source,
    }
}

/// Writes the records anew, in the topic's compression.
fn rewrite(
    open: &OpenBatch,
    compression: Compression,
    log_append_time: Option<i64>,
    rules: &Rules,
) -> Result<Bytes, Rejected> {
    let level = match compression {
        Compression::Gzip => rules.settings.gzip_level.filter(|level| *level > 0),
        Compression::Lz4 => rules.settings.lz4_level,
        Compression::Zstd => rules.settings.zstd_level,
        _ => None,
    };
    let batch = open.batch();
    if compression == Compression::None && open.record_bytes().len() > rules.settings.max_message_bytes {
        return Err(Rejected::new(ErrorCode::MESSAGE_TOO_LARGE));
    }
    let mut builder =
        BatchBuilder::new(BatchOptions { level, capacity: batch.size(), ..BatchOptions::new(compression) });
    for record in open.records() {
        let record = record?;
        if record.timestamp < NO_TIMESTAMP {
            // Only here: Kafka does not expect it.
            return Err(Rejected::by_log(ErrorCode::UNKNOWN_SERVER_ERROR, "a timestamp before 1970"));
        }
        builder.append(record.timestamp, record.key, record.value, record.headers)?;
    }
    let bytes = builder.finish(ProducerStamp {
        id: batch.producer_id().unwrap_or(-1),
        epoch: batch.producer_epoch(),
        base_sequence: batch.base_sequence(),
        transactional: batch.attributes().is_transactional(),
    })?;
    match log_append_time {
        Some(now_ms) => patch(bytes, BatchTimestampType::LogAppendTime, now_ms),
        None => Ok(bytes),
    }
}

/// Sets what the header says of time, if that differs.
fn with_timestamp(batch: Batch, log_append_time: Option<i64>, max_timestamp: i64) -> Result<Bytes, Rejected> {
    match log_append_time {
        Some(now_ms) => patch(batch.into_bytes(), BatchTimestampType::LogAppendTime, now_ms),
        None if batch.max_timestamp() == max_timestamp
            && batch.attributes().timestamp_type() == BatchTimestampType::CreateTime =>
        {
            Ok(batch.into_bytes())
        }
        None => patch(batch.into_bytes(), BatchTimestampType::CreateTime, max_timestamp),
    }
}

fn patch(bytes: Bytes, timestamp_type: BatchTimestampType, timestamp: i64) -> Result<Bytes, Rejected> {
    let mut bytes = bytes.try_into_mut().unwrap_or_else(|shared| BytesMut::from(shared.as_ref()));
    BatchMut::new(&mut bytes)?.set_max_timestamp(timestamp_type, timestamp);
    Ok(bytes.freeze())
}
